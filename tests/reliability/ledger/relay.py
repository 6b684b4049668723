"""``Relay``: a TCP relay in front of a context, which cuts connections and holds bytes back."""

from __future__ import annotations

import asyncio
import contextlib
import socket


class Relay:
    """Passes bytes on, both ways, as late as it is told.

    Attributes:
        port: where it listens.
        target: the port that it leads to.
        delay: seconds that each piece is held back.
    """

    def __init__(self, sock: socket.socket) -> None:
        self.port = int(sock.getsockname()[1])
        self.target = 0
        self.delay = 0.0
        self._sock = sock
        self._server: asyncio.Server | None = None
        self._open: set[asyncio.StreamWriter] = set()
        self._tasks: set[asyncio.Task[None]] = set()

    async def start(self) -> None:
        """Accept connections."""
        self._server = await asyncio.start_server(self._accepted, sock=self._sock)

    def cut(self) -> None:
        """Break every connection, with all that is in it."""
        for writer in self._open:
            writer.transport.abort()

    async def close(self) -> None:
        """End everything."""
        if self._server is not None:
            self._server.close()
        self.cut()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _accepted(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        self._open.add(writer)
        try:
            there = await asyncio.open_connection("127.0.0.1", self.target)
            self._open.add(there[1])
            try:
                await asyncio.gather(self._pass(reader, there[1]), self._pass(there[0], writer))
            finally:
                self._open.discard(there[1])
                there[1].transport.abort()
        except (OSError, RuntimeError, asyncio.CancelledError):
            pass  # it was cut, or leads nowhere
        finally:
            self._tasks.discard(task)
            self._open.discard(writer)
            writer.transport.abort()

    async def _pass(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(65536):
            if self.delay:
                await asyncio.sleep(self.delay)
            writer.write(data)
            await writer.drain()
        with contextlib.suppress(OSError, RuntimeError):  # cut in this moment
            writer.write_eof()
