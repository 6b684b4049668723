"""Protocols that tell what they see, on connections in memory or of sockets."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator, Callable
from typing import Any

from compactor.testing import memory_pair
from tests.actors import TIMEOUT
from tests.ports import own_port


class Watched:
    """What both kinds of protocols have: what was seen, and a way to wait for it."""

    keeps_open = False
    transport: Any

    def __init__(self) -> None:
        self.seen: list[str] = []
        self.data = b""
        self.sizes: list[int] = []
        self.error: BaseException | None = None
        self.changed = asyncio.Event()

    def see(self, what: str) -> None:
        self.seen.append(what)
        self.changed.set()

    async def until(self, condition: Callable[[], object]) -> None:
        """Wait for something that this protocol can see."""

        async def wait() -> None:
            while not condition():
                self.changed.clear()
                await self.changed.wait()

        await asyncio.wait_for(wait(), TIMEOUT)

    async def lost(self) -> None:
        await self.until(lambda: "lost" in self.seen)

    def connection_made(self, transport: Any) -> None:
        self.transport = transport
        self.see("made")

    def take(self, data: bytes) -> None:
        self.data += data
        self.sizes.append(len(data))
        self.changed.set()

    def eof_received(self) -> bool:
        self.see("end")
        return self.keeps_open

    def pause_writing(self) -> None:
        self.see("paused")

    def resume_writing(self) -> None:
        self.see("resumed")

    def connection_lost(self, error: BaseException | None) -> None:
        self.error = error
        self.see("lost")


class Seeing(Watched, asyncio.Protocol):
    def data_received(self, data: bytes) -> None:
        assert type(data) is bytes
        self.take(data)


class Buffered(Watched, asyncio.BufferedProtocol):
    """Has a buffer of 7 bytes."""

    def __init__(self) -> None:
        super().__init__()
        self.buffer = bytearray(7)

    def get_buffer(self, sizehint: int) -> bytearray:
        return self.buffer

    def buffer_updated(self, nbytes: int) -> None:
        self.take(bytes(self.buffer[:nbytes]))


class Keeping(Seeing):
    keeps_open = True


def abort(*ends: Any) -> None:
    """Close what is still open; sockets cannot be closed again."""
    for end in ends:
        if "lost" not in end.seen:
            end.transport.abort()


@contextlib.asynccontextmanager
async def in_memory(client: Any, server: Any) -> AsyncIterator[None]:
    """Two protocols connected by transports in memory."""
    memory_pair(client, server)
    yield
    abort(client, server)
    await asyncio.sleep(0)


@contextlib.asynccontextmanager
async def by_sockets(client: Any, server: Any) -> AsyncIterator[None]:
    """Two protocols connected by TCP on the running loop."""
    loop = asyncio.get_running_loop()
    with socket.create_server(("127.0.0.1", own_port())) as listening:
        there = socket.create_connection(listening.getsockname(), TIMEOUT)
        here, _ = listening.accept()
    for sock in (here, there):
        sock.setblocking(False)
    await loop.create_connection(lambda: client, sock=there)
    await loop.connect_accepted_socket(lambda: server, here)
    yield
    abort(client, server)
    await asyncio.sleep(0.01)
