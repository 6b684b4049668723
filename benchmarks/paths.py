"""The paths of one message, each cut out to be measured alone: encode, decode, route, and so on.

Each is a context manager that takes a backend and yields a function, which does the path's work
for `MESSAGES` messages.  `micro/` times them; `regression` counts their instructions.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from typing import Any

from compactor import PID, Context, Process, install, wire
from compactor.frames import message_prefix
from compactor.routes import RouteTable

MESSAGES = 50  # fewer than a mailbox serves in one go, so that no clock is asked in between
BODY = b"x" * 64
SENDER = PID("127.0.0.1", 50000, "source")
RECEIVER = PID("127.0.0.1", 50001, "sink")


@dataclass(frozen=True)
class Backend:
    """The hot path's parts, compiled or not."""

    name: str
    encode_message: Callable[[bytes, bytes], bytes]
    FrameDecoder: Callable[[int, int], Any]
    RouteTable: Callable[[Callable[[str], Any]], Any]


CHOSEN = Backend("chosen", wire.chosen.encode_message, wire.chosen.FrameDecoder, RouteTable)
"""What `compactor` itself uses in this OS process."""

Work = Callable[[], object]
Path = Callable[[Backend], AbstractContextManager[Work]]


@contextmanager
def encode(backend: Backend) -> Iterator[Work]:
    """A body to a frame; what does not depend on the body is encoded already, as for a repeat."""
    encode_message = backend.encode_message
    prefix = message_prefix(SENDER, RECEIVER, "work")

    def work() -> None:
        for _ in range(MESSAGES):
            encode_message(prefix, BODY)

    yield work


def chunk_of(backend: Backend, *names: str) -> bytes:
    """As many frames as a path takes, their names by turns."""
    prefixes = [message_prefix(SENDER, RECEIVER, name) for name in names]
    frames = [
        backend.encode_message(prefixes[number % len(prefixes)], BODY) for number in range(MESSAGES)
    ]
    return b"".join(frames)


@contextmanager
def decode(backend: Backend) -> Iterator[Work]:
    """A chunk of frames to heads and bodies, all with the same head."""
    decoder = backend.FrameDecoder(80 * 1024, 1024 * 1024)
    chunk = chunk_of(backend, "work")
    yield lambda: decoder.feed(chunk)


@contextmanager
def decode_mixed(backend: Backend) -> Iterator[Work]:
    """A chunk of frames to heads and bodies, each with another head than the one before."""
    decoder = backend.FrameDecoder(80 * 1024, 1024 * 1024)
    chunk = chunk_of(backend, "work", "rest", "play")
    yield lambda: decoder.feed(chunk)


class Target:
    """What a path leads to: a mailbox, seen from the routes."""

    def __init__(self) -> None:
        self.paths: list[bytes] = []

    def call_for(self, name: str) -> Work:
        return Target  # any callable will do


@contextmanager
def route(backend: Backend) -> Iterator[Work]:
    """The path of a first message to its mailbox, and forgetting it."""
    target = Target()
    routes = backend.RouteTable({"sink": target}.get)
    paths = [f"/sink/work{number}".encode() for number in range(MESSAGES)]

    def work() -> None:
        for path in paths:
            routes.resolve(path)
        routes.forget(target)

    yield work


class Counter:
    """Tells the loop when a batch is done."""

    def __init__(self) -> None:
        self.left = 0
        self.is_done = asyncio.Event()

    def expect(self, number: int) -> None:
        self.left = number
        self.is_done.clear()

    def count(self) -> None:
        self.left -= 1
        if not self.left:
            self.is_done.set()


class Sink(Process):
    def __init__(self, counter: Counter) -> None:
        super().__init__("sink")
        self.counter = counter

    @install("work")
    def work(self, from_pid: PID, body: bytes) -> None:
        self.counter.count()


class Pump(Process):
    def pump(self, sink: PID) -> None:
        for _ in range(MESSAGES):
            self.send(sink, "work", BODY)


@contextmanager
def on_context(context: Context) -> Iterator[asyncio.AbstractEventLoop]:
    """A loop of this thread's own, on which the context runs whenever the loop does."""
    loop = asyncio.new_event_loop()
    loop.run_until_complete(context.__aenter__())
    yield loop
    loop.run_until_complete(context.__aexit__(None, None, None))
    loop.close()


@contextmanager
def mailbox(backend: Backend) -> Iterator[Work]:
    """Local messages, from `Process.send` in a handler through the mailbox to a handler."""
    context = Context(ip="127.0.0.1", port=0)
    with on_context(context) as loop:
        counter = Counter()
        sink, source = context.spawn(Sink(counter)), context.spawn(Pump("source"))

        async def batch() -> None:
            counter.expect(MESSAGES)
            context.dispatch(source, "pump", sink)
            await counter.is_done.wait()

        yield lambda: loop.run_until_complete(batch())


class Mortal(Process):
    def __init__(self, name: str, counter: Counter) -> None:
        super().__init__(name)
        self.counter = counter

    def finalize(self) -> None:
        self.counter.count()


@contextmanager
def spawn(backend: Backend) -> Iterator[Work]:
    """A process spawned and terminated."""
    context = Context(ip="127.0.0.1", port=0)
    with on_context(context) as loop:
        counter = Counter()

        async def batch() -> None:
            counter.expect(MESSAGES)
            pids = [context.spawn(Mortal(f"mortal({n})", counter)) for n in range(MESSAGES)]
            for pid in pids:
                context.terminate(pid)
            await counter.is_done.wait()

        yield lambda: loop.run_until_complete(batch())


PATHS: dict[str, Path] = {
    path.__name__: path for path in (encode, decode, decode_mixed, route, mailbox, spawn)
}
