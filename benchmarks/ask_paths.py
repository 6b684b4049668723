"""The paths of asks, of their answers and of typed messages, among those of `benchmarks.paths`."""

from __future__ import annotations

import asyncio
import re
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from benchmarks.paths import (
    BODY,
    FIRST_ASK,
    MESSAGES,
    PATHS,
    RECEIVER,
    SENDER,
    Batch,
    Transport,
    Work,
    path,
    running,
)
from compactor import PID, Context, Process, answer, install
from compactor.inbound.connection import ServerConnection
from compactor.outbound.send_queue import TAKEN
from compactor.runtime.hot_path import Backend
from compactor.wire.encoder import encode_numbered, message_prefix

__all__ = ["PATHS"]  # all paths, those of `benchmarks.paths` and these

_NUMBER = re.compile(rb";a=(\d+)")


class Answerer(Process):
    def __init__(self) -> None:
        super().__init__("sink")

    @answer("get")
    def get(self, from_pid: PID, body: bytes) -> bytes:
        return body


class Asker(Process):
    def __init__(self) -> None:
        super().__init__("source")

    async def one_by_one(self, to: PID, is_done: asyncio.Event) -> None:
        for _ in range(MESSAGES):
            await self.ask(to, "get", BODY)
        is_done.set()

    async def at_once(self, to: PID, is_done: asyncio.Event) -> None:
        for asked in [self.ask(to, "get", BODY) for _ in range(MESSAGES)]:
            await asked
        is_done.set()


class Watched(Transport):
    """Tells what was written."""

    def __init__(self, written: Callable[[bytes], None]) -> None:
        super().__init__()
        self.told = written

    def write(self, data: Any) -> None:
        super().write(data)
        self.told(bytes(data))


@contextmanager
def connected(context: Context, address: tuple[str, int], transport: Transport) -> Iterator[None]:
    """With a connection to an address that tells of its processes, and takes numbers."""
    peer: Any = context._runtime.peer(address)
    peer.send_queue.open(transport)
    peer.send_queue.numbers = TAKEN
    peer._connection = transport
    peer.links._is_open = True
    yield
    peer._connection = None


@path
def ask(backend: Backend) -> Iterator[Work]:
    """Asks of another process of the context, each awaited before the next."""
    with running(backend) as (context, loop):
        sink, source = context.spawn(Answerer()), context.spawn(Asker())

        async def one() -> None:
            is_done = asyncio.Event()
            context.dispatch(source, "one_by_one", sink, is_done)
            await is_done.wait()

        yield lambda: loop.run_until_complete(one())


def asking(backend: Backend, method: str) -> Iterator[Work]:
    """Asks of a process elsewhere, whose answers come as soon as they are written."""
    with socket.socket() as sock, running(backend) as (context, loop):
        source = context.spawn(Asker())
        here = PID(context.ip, context.port, "__req_res__")
        prefix = message_prefix(RECEIVER, here, "get")
        connection = ServerConnection(context._runtime.server.state, loop)
        connection.connection_made(Transport(sock))

        def written(data: bytes) -> None:
            numbers = map(int, _NUMBER.findall(data))
            frames = [encode_numbered(prefix, b"r", number, BODY) for number in numbers]
            if frames:  # it was not the link of a process that is asked for the first time
                loop.call_soon(connection.data_received, b"".join(frames))

        async def one() -> None:
            is_done = asyncio.Event()
            context.dispatch(source, method, RECEIVER, is_done)
            await is_done.wait()

        with connected(context, RECEIVER.address, Watched(written)):
            yield lambda: loop.run_until_complete(one())


@path
def ask_elsewhere(backend: Backend) -> Iterator[Work]:
    """Asks of a compactor elsewhere, each awaited before the next."""
    yield from asking(backend, "one_by_one")


@path
def ask_many(backend: Backend) -> Iterator[Work]:
    """The same, all at once."""
    yield from asking(backend, "at_once")


@path
def answer_many(backend: Backend) -> Iterator[Work]:
    """A block of asks from a compactor elsewhere, to the bytes of their answers."""
    with socket.socket() as sock, running(backend) as (context, loop):
        context.spawn(Answerer())
        transport = Transport()
        connection = ServerConnection(context._runtime.server.state, loop)
        connection.connection_made(Transport(sock))
        prefix = message_prefix(SENDER, RECEIVER, "get")
        asks = range(FIRST_ASK, FIRST_ASK + MESSAGES)
        block = b"".join(encode_numbered(prefix, b"a", number, BODY) for number in asks)

        def work() -> None:
            before = transport.written
            connection.data_received(block)
            while transport.written < before + size:  # time was over
                loop.run_until_complete(asyncio.sleep(0))

        with connected(context, SENDER.address, transport):
            connection.data_received(block)  # comes before its path is known, and takes a turn
            loop.run_until_complete(asyncio.sleep(0))
            size = transport.written
            yield work


@dataclass
class Point:
    x: int
    y: int


class Plotter(Process):
    def __init__(self, batch: Batch) -> None:
        super().__init__("sink")
        self.batch = batch

    @install(Point)
    def plot(self, from_pid: PID, point: Point) -> None:
        self.batch.received()


class Drawer(Process):
    def __init__(self) -> None:
        super().__init__("source")

    def draw(self, to: PID) -> None:
        point = Point(1, 2)
        for _ in range(MESSAGES):
            self.send(to, point)


@path
def typed(backend: Backend) -> Iterator[Work]:
    """Local messages of a small type, as `mailbox` those of bytes."""
    with running(backend) as (context, loop):
        batch = Batch(asyncio.Event())
        sink, source = context.spawn(Plotter(batch)), context.spawn(Drawer())

        async def one() -> None:
            batch.expect(MESSAGES)
            context.dispatch(source, "draw", sink)
            await batch.is_done.wait()

        yield lambda: loop.run_until_complete(one())
