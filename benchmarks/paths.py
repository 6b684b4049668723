"""The paths of one message, each cut out to be measured alone: encode, decode, receive, and so on.

Each is a context manager that takes a backend and yields a function, which does the path's work
for `MESSAGES` messages.  `micro/` times them; `counting` counts their instructions.  Nothing here
touches a socket or another thread, and no loop but asyncio's own is needed.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from importlib import import_module
from typing import Any

from benchmarks.countdown import Countdown
from compactor import PID, Context, Process, Request, install, route
from compactor.actor.routes import RouteTable
from compactor.inbound.connection import ServerConnection
from compactor.runtime import hot_path
from compactor.runtime.hot_path import Backend
from compactor.wire.encoder import encode_numbered, message_prefix

MESSAGES = 50  # fewer than a mailbox serves in one go, so that no clock is asked in between
ENCODED = MESSAGES  # by the encoder's paths; the proof of the gate makes it more
BODY = b"x" * 64
SENDER = PID("127.0.0.1", 50000, "source")
FIRST_ASK = 4611686018427387904  # the number of an ask has 19 digits, mostly
RECEIVER = PID("127.0.0.1", 50001, "sink")

Work = Callable[[], object]
Path = Callable[[Backend], AbstractContextManager[Work]]
PATHS: dict[str, Path] = {}


def path(generator: Callable[[Backend], Iterator[Work]]) -> Path:
    """Put a path among `PATHS`."""
    made = PATHS[generator.__name__] = contextmanager(generator)
    return made


# Bytes


@path
def encode(backend: Backend) -> Iterator[Work]:
    """A body to a frame; what does not depend on the body is encoded already, as for a repeat."""
    encode_message = backend.encode_message
    prefix = message_prefix(SENDER, RECEIVER, "work")

    def work() -> None:
        for _ in range(ENCODED):
            encode_message(prefix, BODY)

    yield work


@path
def append(backend: Backend) -> Iterator[Work]:
    """The same into a block of frames, as a send queue does it."""
    encoder = import_module(f"{hot_path.PACKAGES[backend.kind]}.wire.encoder")
    append_message, new_buffer, reuse = encoder.append_message, encoder.new_buffer, encoder.reuse
    prefix = message_prefix(SENDER, RECEIVER, "work")

    def work() -> None:
        block = new_buffer()
        for _ in range(ENCODED):
            append_message(block, prefix, BODY)
        reuse(block)

    yield work


def block_of(backend: Backend, *names: str) -> bytes:
    """As many frames as a path takes, their names by turns."""
    prefixes = [message_prefix(SENDER, RECEIVER, name) for name in names]
    frames = [
        backend.encode_message(prefixes[number % len(prefixes)], BODY) for number in range(MESSAGES)
    ]
    return b"".join(frames)


@path
def decode(backend: Backend) -> Iterator[Work]:
    """A block of frames to heads and bodies, all with the same head."""
    decoder = backend.RequestDecoder(80 * 1024, 1024 * 1024)
    block = block_of(backend, "work")
    yield lambda: decoder.feed(block)


@path
def decode_mixed(backend: Backend) -> Iterator[Work]:
    """A block of frames to heads and bodies, each with another head than the one before."""
    decoder = backend.RequestDecoder(80 * 1024, 1024 * 1024)
    block = block_of(backend, "work", "rest", "play")
    yield lambda: decoder.feed(block)


@path
def decode_asks(backend: Backend) -> Iterator[Work]:
    """A block of asks between compactors: heads that repeat, each with a number of its own."""
    decoder = backend.RequestDecoder(80 * 1024, 1024 * 1024)
    prefix = message_prefix(SENDER, RECEIVER, "work")
    block = b"".join(
        encode_numbered(prefix, b"a", FIRST_ASK + number, BODY) for number in range(MESSAGES)
    )
    yield lambda: decoder.feed(block)


@path
def decode_temporary(backend: Backend) -> Iterator[Work]:
    """A block of asks of libprocess, each from a pid of its own."""
    decoder = backend.RequestDecoder(80 * 1024, 1024 * 1024)
    pids = [PID(SENDER.ip, SENDER.port, f"__req_res__({n})") for n in range(MESSAGES)]
    block = b"".join(
        backend.encode_message(message_prefix(pid, RECEIVER, "work"), BODY) for pid in pids
    )
    yield lambda: decoder.feed(block)


@path
def parse(backend: Backend) -> Iterator[Work]:
    """A head that no decoder has seen before."""
    parse_head = backend.parse_head
    head = message_prefix(SENDER, RECEIVER, "work") + b"Transfer-Encoding: chunked\r\n\r\n"

    def work() -> None:
        for _ in range(MESSAGES):
            parse_head(head)

    yield work


@path
def match(backend: Backend) -> Iterator[Work]:
    """The path of an HTTP request, split and matched with the routes of its process."""
    split_path, match_route = backend.split_path, backend.match_route
    routes = {"/": "root", "/a": "a", "/a/b": "b"}

    def work() -> None:
        for _ in range(MESSAGES):
            match_route(routes, split_path(b"/slave%281%29/a/b/c")[1])

    yield work


class Target:
    """What a path leads to: a mailbox, seen from the routes."""

    paths: list[bytes] | None = None

    def call_for(self, name: str) -> Callable[[Any, Any], Any]:
        return divmod  # any callable will do


@path
def resolve(backend: Backend) -> Iterator[Work]:
    """The path of a first message to its mailbox, and forgetting it."""
    target = Target()
    routes = RouteTable({"sink": target}.get)
    paths = [f"/sink/work{number}".encode() for number in range(MESSAGES)]

    def work() -> None:
        for path in paths:
            routes.resolve(path)
        routes.forget(target)

    yield work


# Processes

Batch = Countdown[asyncio.Event]


class Sink(Process):
    def __init__(self, batch: Batch) -> None:
        super().__init__("sink")
        self.batch = batch

    @install("work")
    def work(self, from_pid: PID, body: bytes) -> None:
        self.batch.received()

    def add(self, number: int) -> int:
        self.batch.received()
        return number

    @route("/page")
    def page(self, request: Request) -> str:
        self.batch.received()
        return "hello, world\n"


class Echo(Process):
    def __init__(self) -> None:
        super().__init__("sink")

    @install("work")
    def work(self, from_pid: PID, body: bytes) -> None:
        self.send(from_pid, "work", body)


class Pump(Process):
    def __init__(self) -> None:
        super().__init__("source")

    def pump(self, sink: PID) -> None:
        for _ in range(MESSAGES):
            self.send(sink, "work", BODY)

    def call(self, sink: PID) -> None:
        dispatch = self.context.dispatch
        for _ in range(MESSAGES):
            dispatch(sink, "add", 1)

    async def ask_all(self, sink: PID) -> None:
        dispatch = self.context.dispatch
        for _ in range(MESSAGES):
            await dispatch(sink, "add", 1)


class Mortal(Process):
    def __init__(self, name: str, batch: Batch) -> None:
        super().__init__(name)
        self.batch = batch

    def finalize(self) -> None:
        self.batch.received()


class Transport(asyncio.Transport):
    """Takes what is written at once, and forgets it; its socket leads nowhere."""

    def __init__(self, sock: socket.socket | None = None) -> None:
        super().__init__({"socket": sock})
        self.written = 0

    def write(self, data: Any) -> None:
        self.written += len(data)

    def is_closing(self) -> bool:
        return False

    def get_write_buffer_size(self) -> int:
        return 0

    def close(self) -> None: ...
    def abort(self) -> None: ...
    def pause_reading(self) -> None: ...
    def resume_reading(self) -> None: ...


@contextmanager
def running(backend: Backend) -> Iterator[tuple[Context, asyncio.AbstractEventLoop]]:
    """A context of that backend, and the loop of this thread on which it runs."""
    before, hot_path.chosen = hot_path.chosen, backend
    try:
        context = Context(ip="127.0.0.1", port=0)
    finally:
        hot_path.chosen = before
    loop = asyncio.new_event_loop()
    loop.run_until_complete(context.__aenter__())
    try:
        yield context, loop
    finally:
        loop.run_until_complete(context.__aexit__(None, None, None))
        loop.close()


@contextmanager
def pumping(backend: Backend, method: str = "pump", is_same: bool = True) -> Iterator[Work]:
    """What a process has another one of its context do, until that has done it.

    Args:
        method: of `Pump`.
        is_same: whether the receiver is named by the very pid that it has, or by an equal one.
    """
    with running(backend) as (context, loop):
        batch = Batch(asyncio.Event())
        pid, source = context.spawn(Sink(batch)), context.spawn(Pump())
        sink = pid if is_same else PID.from_string(str(pid))

        async def one() -> None:
            batch.expect(MESSAGES)
            context.dispatch(source, method, sink)
            await batch.is_done.wait()

        yield lambda: loop.run_until_complete(one())


@path
def mailbox(backend: Backend) -> Iterator[Work]:
    """Local messages, from `Process.send` in a handler through the mailbox to a handler."""
    with pumping(backend) as work:
        yield work


@path
def equal_pid(backend: Backend) -> Iterator[Work]:
    """The same to a pid that came through text, as most pids that programs keep."""
    with pumping(backend, is_same=False) as work:
        yield work


@path
def dispatch(backend: Backend) -> Iterator[Work]:
    """Calls of a method of another process, from a handler that does not look at their results."""
    with pumping(backend, "call") as work:
        yield work


@path
def awaited(backend: Backend) -> Iterator[Work]:
    """Calls of a method of another process, from a handler that awaits the result of each."""
    with pumping(backend, "ask_all") as work:
        yield work


@path
def dispatch_elsewhere(backend: Backend) -> Iterator[Work]:
    """Calls of a method of a process from another thread than that of its loop."""
    with running(backend) as (context, loop):
        batch = Batch(asyncio.Event())
        sink = context.spawn(Sink(batch))
        loop.run_until_complete(asyncio.sleep(0))
        portal = context._portal

        async def one() -> None:
            batch.expect(MESSAGES)
            own, portal.thread = portal.thread, -1  # as another thread sees it
            for _ in range(MESSAGES):
                context.dispatch(sink, "add", 1)
            portal.thread = own
            await batch.is_done.wait()

        yield lambda: loop.run_until_complete(one())


@path
def spawn(backend: Backend) -> Iterator[Work]:
    """A process spawned and terminated."""
    with running(backend) as (context, loop):
        batch = Batch(asyncio.Event())

        async def one() -> None:
            batch.expect(MESSAGES)
            pids = [context.spawn(Mortal(f"mortal({n})", batch)) for n in range(MESSAGES)]
            for pid in pids:
                context.terminate(pid)
            await batch.is_done.wait()

        yield lambda: loop.run_until_complete(one())


@contextmanager
def receiving(backend: Backend, block: bytes) -> Iterator[Work]:
    """A block handed to an accepted connection again and again, until its handlers have run."""
    with socket.socket() as sock, running(backend) as (context, loop):
        batch = Batch(asyncio.Event())
        context.spawn(Sink(batch))
        connection = ServerConnection(context._runtime.server.state, loop)
        connection.connection_made(Transport(sock))

        def work() -> None:
            batch.expect(MESSAGES)
            connection.data_received(block)
            if batch.left:  # the first block comes before its path is known; or time was over
                loop.run_until_complete(batch.is_done.wait())

        work()
        yield work


@path
def receive(backend: Backend) -> Iterator[Work]:
    """The whole receive side: from a block of frames, through `Delivery`, to installed handlers."""
    with receiving(backend, block_of(backend, "work")) as work:
        yield work


@path
def request(backend: Backend) -> Iterator[Work]:
    """HTTP requests from a block of bytes through a route to the bytes of their answers."""
    block = b"GET /sink/page HTTP/1.1\r\nHost: 127.0.0.1:50001\r\n\r\n" * MESSAGES
    with receiving(backend, block) as work:
        yield work


@path
def send(backend: Backend) -> Iterator[Work]:
    """The whole send side: from `Process.send` to the bytes at the transport."""
    with running(backend) as (context, _):
        source = Pump()
        context.spawn(source)
        runtime, transport = context._runtime, Transport()
        peer = runtime.peer(RECEIVER.address)
        peer.send_queue.open(transport)
        frames = len(block_of(backend, "work"))

        def work() -> None:
            before = transport.written
            runtime.run_queue.begin_turn()
            source.pump(RECEIVER)
            runtime.run_queue.end_turn()
            if transport.written != before + frames:
                raise RuntimeError(f"{transport.written - before} of {frames} bytes were written")

        yield work


@path
def round_trip(backend: Backend) -> Iterator[Work]:
    """One message at a time: received, answered by its handler, and the answer written."""
    with socket.socket() as sock, running(backend) as (context, loop):
        context.spawn(Echo())
        transport = Transport()
        peer = context._runtime.peer(SENDER.address)  # kept here: a peer without frames is not
        peer.send_queue.open(transport)
        connection = ServerConnection(context._runtime.server.state, loop)
        connection.connection_made(Transport(sock))
        frame = backend.encode_message(message_prefix(SENDER, RECEIVER, "work"), BODY)

        def work() -> None:
            before = transport.written
            for _ in range(MESSAGES):
                connection.data_received(frame)
                if transport.written == before:
                    raise RuntimeError("an answer was not written at once")
                before = transport.written

        connection.data_received(frame)  # comes before its path is known, and takes a turn
        loop.run_until_complete(asyncio.sleep(0))
        yield work
