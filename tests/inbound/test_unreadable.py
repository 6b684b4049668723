"""Messages whose bytes are nothing of their type: who reads answers is told with 400."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable
from dataclasses import dataclass

import pytest

from compactor import PID, Ask, Context, Process, ProtobufProcess, Settings, answer, install
from tests.actors import Receiver, settle, spawned, wait_until
from tests.raw import SENDER, frame, read_answer

pytest.importorskip("msgspec", reason="typed messages are read by msgspec")

Connect = Callable[[Context], socket.socket]

ASKING = PID("127.0.0.1", 9, "__req_res__(7)")


@dataclass
class Note:
    """A message without an answer."""

    text: str


@dataclass
class Add(Ask[int]):
    """One with an answer."""

    a: int


@dataclass
class Slow:
    """One that takes its time."""

    text: str


class Reader(Receiver):
    """Reads both."""

    @install(Note)
    def note(self, from_pid: PID, message: Note) -> None:
        self.received.put(message)

    @answer(Add)
    def add(self, from_pid: PID, message: Add) -> int:
        self.received.put(message)
        return message.a

    @install(Slow, concurrent=True)
    async def slow(self, from_pid: PID, message: Slow) -> None:
        await asyncio.sleep(0)
        self.received.put(message)

    @install("raw")
    def raw(self, from_pid: PID, body: bytes) -> None:
        self.received.put(body)


@pytest.mark.each_combination
@pytest.mark.parametrize("sender", [SENDER, ASKING], ids=["sent", "asked"])
@pytest.mark.parametrize(
    ("name", "good", "bad"),
    [
        ("Note", b'{"text": "x"}', b'{"text": 5}'),
        ("Add", b'{"a": 1}', b'{"a": "x"}'),
        ("Slow", b'{"text": "x"}', b"{"),
    ],
)
def test_what_does_not_decode_is_answered_with_400(
    context: Context, connect: Connect, sender: PID, name: str, good: bytes, bad: bytes
) -> None:
    reader = spawned(context, Reader())
    sock = connect(context)
    # The first of each path takes another way than those that come after it.
    bodies = [bad, good, bad, bad, good]
    sock.sendall(b"".join(frame(reader.pid, name, body, sender=sender) for body in bodies))
    for body in bodies:
        status, text = read_answer(sock)
        assert status == (202 if body is good else 400)
        assert (f"do not parse as {name}: ".encode() in text) == (body is bad)
    assert len(reader.received.take_many(2)) == 2
    wait_until(lambda: context.metrics.handler_failures == 3)
    assert reader.received.is_empty


def test_a_mailbox_that_is_busy_makes_no_difference(context: Context, connect: Connect) -> None:
    class Busy(Reader):
        gate = asyncio.Event()

        @install("hold")
        async def hold(self, from_pid: PID, body: bytes) -> None:
            await self.gate.wait()

    busy = spawned(context, Busy())
    sock = connect(context)
    sock.sendall(frame(busy.pid, "hold") + frame(busy.pid, "Note", b"{") * 3)
    assert [read_answer(sock)[0] for _ in range(4)] == [202, 400, 400, 400]
    context._runtime.run_queue.loop.call_soon_threadsafe(busy.gate.set)
    wait_until(lambda: context.metrics.handler_failures == 3)


def test_who_reads_no_answers_gets_none(context: Context, connect: Connect) -> None:
    reader = spawned(context, Reader())
    sock = connect(context)
    sock.sendall(frame(reader.pid, "Note", b"{", agent=True) * 2)
    wait_until(lambda: context.metrics.handler_failures == 2)
    sock.sendall(frame(reader.pid, "raw", b"{"))
    assert read_answer(sock) == (202, b"")


def test_protocol_buffers_are_answered_alike(context: Context, connect: Connect) -> None:
    pytest.importorskip("google.protobuf")
    from google.protobuf.wrappers_pb2 import StringValue

    class Buffers(ProtobufProcess):
        @ProtobufProcess.install(StringValue)
        def text(self, from_pid: PID, message: StringValue) -> None: ...

    class Plain(Process):
        @install(StringValue)
        def text(self, from_pid: PID, message: StringValue) -> None: ...

    for process in (Buffers("buffers"), Plain("plain")):
        context.spawn(process)
        sock = connect(context)
        sock.sendall(frame(process.pid, "google.protobuf.StringValue", b"\xff") * 2)
        sock.sendall(frame(process.pid, "google.protobuf.StringValue", b""))
        assert [read_answer(sock)[0] for _ in range(3)] == [400, 400, 202]


def test_a_codec_may_raise_anything(context: Context, connect: Connect) -> None:
    def read(body: bytes) -> Note:
        raise SystemExit("of a codec")

    context.codec(Note, lambda note: note.text.encode(), read, "text/plain")
    reader = spawned(context, Reader())
    sock = connect(context)
    sock.sendall(frame(reader.pid, "Note", b"x") * 2 + frame(reader.pid, "raw"))
    answers = [read_answer(sock) for _ in range(3)]
    assert answers == [(400, b"SystemExit"), (400, b"SystemExit"), (202, b"")]
    wait_until(lambda: context.metrics.handler_failures == 2)


def test_large_ones_are_too(connect: Connect, make_context: Callable[..., Context]) -> None:
    context = make_context(settings=Settings(max_body_bytes=10_000_000))
    reader = spawned(context, Reader())
    sock = connect(context)
    for _ in range(2):
        sock.sendall(frame(reader.pid, "Note", b'{"text": "' + b"x" * 1_000_000))
        assert read_answer(sock)[0] == 400
    settle(reader)
    assert context._registry.live["receiver"].large_bytes == 0
