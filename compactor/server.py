"""``Server``: the listening socket of a context, and which connections it takes."""

from __future__ import annotations

import asyncio
from typing import Any

from compactor.accepting import TlsAcceptor
from compactor.address import BACKLOG
from compactor.admission import Admission
from compactor.http import HttpDate
from compactor.senders import sender_rule
from compactor.server_connection import Receiver, ServerConnection

# asyncio tries to accept so many at a time, and as often in vain, with a line in the log for each,
# once a second while there are no file descriptors.
_ACCEPTS = 32


class Server:
    """The accepted connections of one context.

    Args:
        receiver: where messages and requests go.
    """

    def __init__(self, receiver: Receiver) -> None:
        self.receiver = receiver
        self.connections: set[ServerConnection] = set()
        self.date = HttpDate()
        self.is_closed = False
        self._one_ended = asyncio.Event()
        self._admission = Admission(receiver.settings)
        self._listener: asyncio.Server | None = None
        self._check: asyncio.TimerHandle | None = None
        self.sender_rule = sender_rule(receiver.settings, receiver.tls)
        self._acceptor: TlsAcceptor | None = None

    async def listen(self, sock: Any) -> None:
        """Accept connections on a bound socket."""
        loop = asyncio.get_running_loop()
        tls = self.receiver.tls

        def serve_one() -> ServerConnection:
            return ServerConnection(self, loop)

        if tls is not None:
            self._acceptor = TlsAcceptor(tls, loop, serve_one, self)
        self._listener = await loop.create_server(
            self._acceptor or serve_one, sock=sock, backlog=_ACCEPTS
        )
        sock.listen(BACKLOG)  # the loop has set it to what it accepts at a time
        self._cut_off_slow(loop)

    def admit(self, connection: ServerConnection, ip: str, descriptor: int) -> bool:
        """Take an accepted connection, or say in the log why not."""
        if not self.enter(ip, descriptor):
            return False
        self.connections.add(connection)
        return True

    def enter(self, ip: str, descriptor: int) -> bool:
        """Count an accepted connection, or say in the log why there are too many."""
        refusal = self._admission.refusal(ip, descriptor)
        if refusal is not None:
            self.receiver.metrics.connection_refused(ip, refusal)
            return False
        self._admission.enter(ip)
        return True

    def leave(self, ip: str) -> None:
        """A connection that was counted has ended, or is to be admitted."""
        self._admission.leave(ip)

    def forget(self, connection: ServerConnection, ip: str) -> None:
        """A connection has ended, admitted or not."""
        if connection in self.connections:
            self.connections.remove(connection)
            self.leave(ip)
            self._one_ended.set()

    def _cut_off_slow(self, loop: asyncio.AbstractEventLoop) -> None:
        """Look now and again for requests that take too long to arrive."""
        timeout = self.receiver.settings.request_timeout
        self._check = loop.call_later(timeout / 4, self._cut_off_slow, loop)
        for connection in list(self.connections):
            connection.cut_off_if_slow(loop.time(), timeout)

    def tls_failed(self) -> None:
        """Count a connection that was cut for its lack of TLS."""
        self.receiver.metrics.tls_failures += 1

    def close(self) -> None:
        """Accept no more, and close every connection once its finished answers have left."""
        self.is_closed = True
        if self._check is not None:
            self._check.cancel()
        if self._listener is not None:
            self._listener.close()
        if self._acceptor is not None:
            self._acceptor.close()
        for connection in list(self.connections):
            connection.close()

    async def answered(self) -> None:
        """Once closed, wait until all connections have ended that have something to send."""
        while any(connection.has_unsent for connection in self.connections):
            self._one_ended.clear()
            await self._one_ended.wait()

    def abort(self) -> None:
        """Cut every connection that is left."""
        for connection in list(self.connections):
            connection.abort()
