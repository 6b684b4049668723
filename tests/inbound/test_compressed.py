"""Bodies that come compressed: they wait as they came, and others are served meanwhile."""

from __future__ import annotations

import asyncio
import contextlib
import gzip
import socket
import tracemalloc
from collections.abc import Callable, Iterator

import pytest

from compactor import PID, Context, Process, Reason, Request, Settings, install, route
from tests.actors import TIMEOUT, Receiver, dead_letters, end, spawned, take_letter, wait_until
from tests.raw import frame, read_answer, read_until_end

Connect = Callable[[Context], socket.socket]

BIG = gzip.compress(bytes(1 << 24))  # 16 KB


def compressed(data: bytes) -> bytes:
    """A frame whose head says that its body is in gzip."""
    return data.replace(b"\r\nContent-Length", b"\r\nContent-Encoding: gzip\r\nContent-Length")


def put(path: str, body: bytes) -> bytes:
    head = f"PUT /{path} HTTP/1.1\r\nHost: x\r\nContent-Length: {len(body)}\r\n\r\n"
    return compressed(head.encode() + body)


def waiting(context: Context) -> int:
    """How many bodies wait to be inflated, or are."""
    return sum(line.count for line in context._runtime.server.state.inflations._lines.values())


class Slow(Receiver):
    """Says how large bodies are, once it may."""

    def initialize(self) -> None:
        self.gate = asyncio.Event()

    @route("/size")
    async def size(self, request: Request) -> str:
        await self.gate.wait()
        return str(len(request.body))

    def let_go(self) -> None:
        self.context._call(self.gate.set)


@pytest.fixture
def traced() -> Iterator[None]:
    tracemalloc.start()
    yield
    tracemalloc.stop()


@contextlib.contextmanager
def nothing_inflated(context: Context) -> Iterator[None]:
    """A time in which no large body is."""
    turn = context._runtime.server.state.inflations._slice
    other = spawned(context, Process("other"))
    context.dispatch(other.pid, turn.acquire).result(TIMEOUT)
    yield
    context.dispatch(other.pid, turn.release).result(TIMEOUT)


@pytest.mark.usefixtures("traced")
def test_what_waits_for_a_busy_process_takes_what_was_sent(
    context: Context, connect: Connect
) -> None:
    slow = spawned(context, Slow("slow"))
    socks = [connect(context) for _ in range(10)]
    for sock in socks:
        sock.sendall(put("slow/size", BIG))
    wait_until(lambda: waiting(context) == len(socks) - 2)  # one is handled, one in the mailbox
    mailbox = context._runtime.registry.live["slow"]
    wait_until(lambda: mailbox.large_bytes)
    assert tracemalloc.get_traced_memory()[0] < 3 << 24
    slow.let_go()
    assert [read_answer(sock) for sock in socks] == [(200, b"%d" % (1 << 24))] * len(socks)
    assert tracemalloc.get_traced_memory()[1] < 6 << 24  # another one, and its pieces
    wait_until(lambda: not waiting(context))
    assert context._runtime.backlog.total == 0


@pytest.mark.each_combination
def test_messages_that_came_compressed_keep_their_place(context: Context, connect: Connect) -> None:
    class Order(Receiver):
        @install("message")
        def message(self, from_pid: PID, body: bytes) -> None:
            self.received.put(len(body))

    order = spawned(context, Order())
    sock = connect(context)
    small = gzip.compress(b"small")
    bodies = [compressed(frame(order.pid, body=body)) for body in (BIG, small, b"", BIG, small)]
    sock.sendall(frame(order.pid, body=b"12").join(bodies))
    assert order.received.take_many(9) == [1 << 24, 2, 5, 2, 0, 2, 1 << 24, 2, 5]
    assert [read_answer(sock)[0] for _ in range(9)] == [202] * 9


@pytest.mark.parametrize("kind", ["request", "message"])
@pytest.mark.parametrize(
    ("body", "status"),
    [
        (gzip.compress(bytes(2_000_001)), 413),
        (gzip.compress(b"hi")[:15], 400),
        (gzip.compress(b"hi") + b"x", 400),
        (b"hi", 400),
        (gzip.compress(bytes(1_500_000)) + b"x", 400),
    ],
    ids=["large", "truncated", "a tail", "no gzip", "a tail, late"],
)
def test_what_cannot_be_inflated_is_refused_as_what_is_malformed(
    make_context: Callable[..., Context], connect: Connect, kind: str, body: bytes, status: int
) -> None:
    context = make_context(settings=Settings(max_inflated_bytes=2_000_000))
    slow = spawned(context, Slow("slow"))
    slow.let_go()
    sock = connect(context)
    bad = put("slow/size", body) if kind == "request" else compressed(frame(slow.pid, body=body))
    sock.sendall(frame(slow.pid, body=b"before") + bad + frame(slow.pid, body=b"behind"))
    assert read_answer(sock)[0] == 202
    found, text = read_answer(sock)
    assert found == status
    assert b"body" in text
    assert read_until_end(sock) == b""
    assert slow.received.take()[1] == b"before"
    assert slow.received.is_empty
    assert context.metrics.malformed == 1


def test_what_nobody_will_have_is_not_inflated(context: Context, connect: Connect) -> None:
    slow, letters = spawned(context, Slow("slow")), dead_letters(context)
    socks = [connect(context) for _ in range(2)]
    with nothing_inflated(context):
        socks[0].sendall(put("slow/size", BIG))
        socks[1].sendall(compressed(frame(slow.pid, body=BIG)))
        wait_until(lambda: waiting(context) == 2)
        end(slow)
    assert [read_answer(sock)[0] for sock in socks] == [404, 404]
    letter = take_letter(letters)
    assert (letter.reason, letter.size) == (Reason.NO_PROCESS, len(BIG))
    wait_until(lambda: not waiting(context))


def test_what_a_connection_brought_before_it_was_lost_is_served_in_order(
    context: Context, connect: Connect
) -> None:
    receiver = spawned(context, Receiver())
    sock = connect(context)
    with nothing_inflated(context):
        sock.sendall(compressed(frame(receiver.pid, body=BIG)) + frame(receiver.pid, body=b"2"))
        wait_until(lambda: waiting(context) == 1)
        (connection,) = context._runtime.server.connections
        context._call(connection.cut, "this test wants it")
        wait_until(lambda: not context._runtime.server.connections)
    assert [len(body) for _, body in receiver.received.take_many(2)] == [1 << 24, 1]


def test_others_are_served_while_a_body_waits(context: Context, connect: Connect) -> None:
    """By the same process, too."""
    slow = spawned(context, Slow("slow"))
    slow.let_go()
    sock, quick = connect(context), connect(context)
    with nothing_inflated(context):
        sock.sendall(put("slow/size", BIG))
        wait_until(lambda: waiting(context) == 1)
        for _ in range(3):
            quick.sendall(put("slow/size", gzip.compress(b"small")))
            assert read_answer(quick) == (200, b"5")
    assert read_answer(sock) == (200, b"%d" % (1 << 24))


@pytest.mark.each_combination
def test_a_body_is_inflated_in_many_turns(context: Context, connect: Connect) -> None:
    other = spawned(context, Receiver())

    async def turns() -> int:
        while not waiting(context):
            await asyncio.sleep(0)
        count = 0
        while waiting(context):
            await asyncio.sleep(0)
            count += 1
        return count

    counted = context.dispatch(other.pid, turns)
    connect(context).sendall(compressed(frame(other.pid, body=gzip.compress(bytes(60_000_000)))))
    assert counted.result(TIMEOUT) > 5


def test_who_has_the_id_by_then_is_given_the_body_inflated(
    context: Context, connect: Connect
) -> None:
    sock = connect(context)
    with nothing_inflated(context):
        slow = spawned(context, Slow("slow"))
        sock.sendall(compressed(frame(slow.pid, body=BIG)))
        wait_until(lambda: waiting(context) == 1)
        end(slow)
        next_one = spawned(context, Slow("slow"))
    assert len(next_one.received.take()[1]) == 1 << 24
    assert read_answer(sock)[0] == 202


@pytest.mark.parametrize("what", ["garbage", "expects", "end"])
@pytest.mark.each_combination
def test_what_stands_behind_a_body_that_is_inflated_is_answered_behind_it(
    context: Context, connect: Connect, what: str
) -> None:
    slow = spawned(context, Slow("slow"))
    slow.let_go()
    behind = {
        "garbage": b"nonsense\r\n\r\n",
        "expects": b"PUT /slow/size HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n"
        b"Expect: 100-continue\r\n\r\n",
        "end": b"",
    }[what]
    sock = connect(context)
    sock.sendall(put("slow/size", BIG) + behind)
    if what == "end":
        sock.shutdown(socket.SHUT_WR)
    assert read_answer(sock) == (200, b"%d" % (1 << 24))
    if what == "expects":
        assert sock.recv(100) == b"HTTP/1.1 100 Continue\r\n\r\n"
        sock.sendall(b"hi")
        assert read_answer(sock) == (200, b"2")
    else:
        assert read_until_end(sock).startswith(b"HTTP/1.1 400" if what == "garbage" else b"")
