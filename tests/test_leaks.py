"""A million messages, bad ones included, leave memory as it was, on each backend."""

from __future__ import annotations

import gc
import os
import socket
import sys
import tracemalloc
from collections.abc import Callable
from importlib import import_module
from typing import Any

import pytest

from compactor import PID, Context, Process
from compactor.runtime import hot_path
from compactor.runtime.hot_path import Backend
from compactor.wire.encoder import message_prefix
from tests.actors import TIMEOUT, Receiver, dead_letters, end, settle, wait_until
from tests.backends import outcome
from tests.raw import SENDER, frame, read_answer, read_until_end
from tests.wire.test_decoder import ACCEPTED, REFUSED

pytestmark = pytest.mark.skipif(
    not getattr(sys, "getallocatedblocks", int)(), reason="nothing counts the blocks of memory"
)

MESSAGES = 1_000_000
CHUNK = 1000  # messages that are decoded at a time
ROUNDS = 10

SPARE_BLOCKS = 300  # of the allocator, for what Python itself keeps
SPARE_BYTES = 32 * 1024  # the same, as tracemalloc counts
SPARE_RSS = 32 * 1024 * 1024  # pages that the C library has not given back yet

PREFIX = message_prefix(SENDER, PID("127.0.0.1", 1, "receiver"), "message")
BODIES = [b"", b"x" * 64, b"x" * 5000]


def resident() -> int:
    """Bytes of this program in memory; 0 where no file says so."""
    try:
        with open("/proc/self/statm") as statm:
            return int(statm.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except OSError:
        return 0


def blocks() -> int:
    """Blocks of memory that hold Python objects."""
    gc.collect()
    return sys.getallocatedblocks()


def assert_flat(work: Callable[[], Any], rounds: int, warm_up: int = 2) -> None:
    """Repeat ``work``: it must keep no block, no object of the collector, and no page."""
    for _ in range(warm_up):  # caches and pools fill
        work()
    before = blocks(), len(gc.get_objects()), resident()
    for _ in range(rounds):
        work()
    after = blocks(), len(gc.get_objects()), resident()
    more = [new - old for new, old in zip(after, before, strict=True)]
    assert more[0] < SPARE_BLOCKS, f"{rounds} rounds keep {more[0]} blocks"
    assert more[1] < SPARE_BLOCKS, f"{rounds} rounds keep {more[1]} objects"
    assert more[2] < SPARE_RSS, f"{rounds} rounds keep {more[2]} bytes of memory"


def assert_flat_to_the_byte(work: Callable[[], Any]) -> None:
    """The same in bytes, large objects included; it takes several times as long."""
    tracemalloc.start()
    try:
        work()
        gc.collect()
        before = tracemalloc.get_traced_memory()[0]
        for _ in range(ROUNDS):
            work()
        gc.collect()
        more = tracemalloc.get_traced_memory()[0] - before
    finally:
        tracemalloc.stop()
    assert more < SPARE_BYTES, f"{ROUNDS} rounds keep {more} bytes"


@pytest.mark.parametrize("size", [40, 5000], ids=["small", "large"])
def test_a_leak_of_one_object_in_a_thousand_messages_would_be_seen(size: int) -> None:
    kept: list[bytes] = []
    with pytest.raises(AssertionError, match=r"rounds keep .* blocks"):
        assert_flat(lambda: kept.append(bytes(size)), MESSAGES // CHUNK)
    with pytest.raises(AssertionError, match=r"rounds keep .* bytes"):
        assert_flat_to_the_byte(lambda: kept.append(bytes(SPARE_BYTES // ROUNDS + size)))


def good(backend: Backend) -> Callable[[], None]:
    """Encodes and decodes a chunk of messages, whole and in pieces, on one connection."""
    frames: Any = import_module(f"{hot_path.PACKAGES[backend.kind]}.wire.encoder")
    decoder = backend.RequestDecoder(80 * 1024, 1 << 20)
    body = b"x" * 64
    stream = bytearray()

    def work() -> None:
        stream.clear()
        for _ in range(CHUNK // 2):
            frames.append_message(stream, PREFIX, body)
        data = bytes(stream) + backend.encode_message(PREFIX, body) * (CHUNK - CHUNK // 2)
        events = decoder.feed(data[:7001]) + decoder.feed(data[7001:])
        assert len(events) == 2 * CHUNK

    return work


def bad(backend: Backend) -> Callable[[], None]:
    """Feeds all that is refused, each on a connection of its own, and values of wrong types."""
    frames: Any = import_module(f"{hot_path.PACKAGES[backend.kind]}.wire.encoder")
    streams = [*REFUSED.values(), *(stream for stream, _ in ACCEPTED.values())]

    def work() -> None:
        for number, stream in enumerate(streams):
            for at in (len(stream), len(stream) // 2):
                decoder = backend.RequestDecoder(80 * 1024, 1 << 20)
                decoder.feed(stream[:at])
                decoder.feed(stream[at:])
                assert (decoder.error is not None) is (number < len(REFUSED))
        unfinished = backend.RequestDecoder(80 * 1024, 1 << 20)
        unfinished.feed(
            b"POST /a HTTP/1.1\r\nHost: x\r\nContent-Length: 5000\r\n\r\n" + bytes(4000)
        )
        for wrong in (None, 5, "text", [b"x"]):
            outcome(unfinished.feed, wrong)
            outcome(backend.encode_message, PREFIX, wrong)
            outcome(backend.encode_response, b"HTTP/1.1 200 OK", b"now", [wrong], wrong)
            outcome(frames.append_message, bytearray(), wrong, b"body")
            outcome(backend.split_path, wrong)
            outcome(backend.match_route, {}, wrong)
        for body in BODIES:
            frames.message_parts(PREFIX, body)
            backend.encode_response(b"HTTP/1.1 200 OK", b"now", [b"A: b"], body)
        for path in (b"/slave%281%29/a", b"/a+b", b"/a/b/c", b"/%zz/a"):
            outcome(backend.split_path, path)
        assert backend.match_route({"/": 1, "/a": 2}, "a/b/c") == ("/a", 2)

    return work


def test_a_million_messages_leave_memory_flat(backend: Backend) -> None:
    assert_flat(good(backend), MESSAGES // CHUNK)
    assert_flat_to_the_byte(good(backend))


def test_what_is_refused_leaves_memory_flat(backend: Backend) -> None:
    assert_flat(bad(backend), 50)
    assert_flat_to_the_byte(bad(backend))


def test_values_that_pass_through_keep_their_reference_counts(backend: Backend) -> None:
    head = message_prefix(SENDER, PID("127.0.0.1", 1, "counted"), "message")
    body, path, line = b"b" * 100, b"/counted/message", b"X-Counted: 1"
    routes = {"/counted": body}
    buffer = bytearray()
    frames: Any = import_module(f"{hot_path.PACKAGES[backend.kind]}.wire.encoder")

    def pass_through() -> None:
        buffer.clear()
        frames.append_message(buffer, head, body)
        frames.message_parts(head, body)
        backend.encode_response(path, path, [line], body)
        backend.split_path(path)
        backend.match_route(routes, "counted/more")
        decoder = backend.RequestDecoder(1000, 1000)
        decoder.feed(backend.encode_message(head, body))
        outcome(decoder.feed, routes)
        outcome(backend.encode_message, head, routes)

    pass_through()
    values: list[Any] = [head, body, path, line, routes, buffer, backend.RequestDecoder]
    before = [sys.getrefcount(value) for value in values]
    for _ in range(1000):
        pass_through()
    assert [sys.getrefcount(value) for value in values] == before


class Counting(Process):
    """Counts messages; some make it fail."""

    def __init__(self) -> None:
        super().__init__("counting")
        self.count = 0

    def handle_message(self, name: str, from_pid: PID, body: bytes) -> None:
        self.count += 1
        if name == "fail":
            raise LookupError(name)


@pytest.fixture
def busy(context: Context, make_context: Any, caplog: Any) -> Callable[[], None]:
    """A round in the life of two contexts: messages, failures, dead letters, links, ends."""
    caplog.set_level("CRITICAL")  # what is logged is kept for the report of a test
    there = make_context()
    sender, target = Receiver("sender"), Counting()
    context.spawn(sender)
    there.spawn(target)
    letters = dead_letters(there)
    gone = PID(there.ip, there.port, "gone")
    wrong = b"POST /counting/x HTTP/1.1\r\nContent-Length: nonsense\r\n\r\n"

    def work() -> None:
        wanted = target.count + 2002

        def send() -> None:
            for number in range(1000):
                sender.send(target.pid, "message", BODIES[number % 3])
                sender.send(sender.pid, "message", b"local")
            for name in ("fail", "large"):
                sender.send(target.pid, name, bytes(100_000))
            sender.send(gone, "message", b"lost")

        context.dispatch(sender.pid, send).result(TIMEOUT)
        for _ in range(1000):
            sender.send(target.pid, "message", b"from another thread")
            sender.received.take()
        wait_until(lambda: target.count == wanted)
        assert letters.take().to == gone
        short = Receiver("short")
        context.spawn(short)
        short.link(target.pid)
        sender.link(short.pid)
        end(short)
        assert sender.exits.take()[0] == short.pid
        with socket.create_connection((there.ip, there.port), timeout=TIMEOUT) as sock:
            sock.sendall(frame(target.pid, "message", b"raw") + wrong)
            assert read_answer(sock)[0] == 202
            read_until_end(sock)
        target.count -= 1
        settle(sender, target)

    return work


def test_two_busy_contexts_leave_memory_flat(busy: Callable[[], None]) -> None:
    assert_flat(busy, ROUNDS, warm_up=3)
