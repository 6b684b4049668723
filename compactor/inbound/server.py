"""``Server``: the listening socket of a context, from the first connection to the last."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from compactor.inbound.connection import ServerConnection
from compactor.inbound.listen import BACKLOG
from compactor.inbound.server_state import ServerOwner, ServerState
from compactor.system.system import is_this_machine

if TYPE_CHECKING:
    from compactor.net.handover import Offer
    from compactor.tls.acceptor import TlsAcceptor

# asyncio tries to accept so many at a time, and as often in vain, with a line in the log for each,
# once a second while there are no file descriptors.
_ACCEPTS = 32


class Server:
    """The accepted connections of one context.

    Args:
        owner: where messages and requests go.

    Attributes:
        state: what they share.
    """

    def __init__(self, owner: ServerOwner) -> None:
        self.state = ServerState(owner)
        self._owner = owner
        self._listener: asyncio.Server | None = None
        self._acceptor: TlsAcceptor | None = None
        self._check: asyncio.TimerHandle | None = None
        self._offer: Offer | None = None  # for contexts of this OS process

    @property
    def connections(self) -> dict[ServerConnection, None]:
        """Those that were taken and have not ended."""
        return self.state.connections

    async def listen(self, sock: Any) -> None:
        """Accept connections on a bound socket."""
        loop, state = asyncio.get_running_loop(), self.state
        tls = self._owner.tls

        def serve_one() -> ServerConnection:
            return ServerConnection(state, loop)

        def accept() -> asyncio.Protocol:
            if state.is_closed:  # in the moment of the acceptance; asyncio drops the socket then
                raise ConnectionAbortedError("the server is closed")
            return serve_one() if self._acceptor is None else self._acceptor()

        if tls is not None:
            from compactor.tls.acceptor import TlsAcceptor  # few contexts have TLS

            self._acceptor = TlsAcceptor(tls, loop, serve_one, state)
        # It does not wait so, and cannot be cancelled before there is something to close.
        self._listener = await loop.create_server(
            accept, sock=sock, backlog=_ACCEPTS, start_serving=False
        )
        await self._listener.start_serving()
        sock.listen(BACKLOG)  # the loop has set it to what it accepts at a time
        if self._owner.settings.local_handover and tls is None and is_this_machine():
            from compactor.net.handover import Offer

            self._offer = Offer((self._owner.ip, self._owner.port), loop, accept)
        self._look_for_slow(loop)

    def _look_for_slow(self, loop: asyncio.AbstractEventLoop) -> None:
        """Look now and again for requests that take too long to arrive, and answers to be read."""
        settings = self._owner.settings
        timeout = settings.request_timeout
        pause = min(timeout, settings.unread_timeout) / 4
        self._check = loop.call_later(pause, self._look_for_slow, loop)
        self._owner.run_queue.look_again()
        self._owner.slices.work(self._cut_off_slow(loop.time(), timeout), self)

    def _cut_off_slow(self, now: float, timeout: float) -> Iterator[None]:
        yield from self.state.unread.cut_idle()
        for connection in list(self.connections):
            connection.cut_off_if_slow(now, timeout)
            yield

    def refuse_new(self) -> None:
        """Accept no more connections, messages and requests; answer those that were taken."""
        self.state.is_closed = self.state.is_draining = True
        routes = self._owner.routes
        routes.known.clear()  # so all that comes from now on is unusual, and looked at
        routes.pages.clear()
        self._owner.pages.is_closed = True
        self._shut()

    def close(self) -> None:
        """Accept no more, and close every connection once its finished answers have left."""
        self.state.is_closed = True
        if self._check is not None:
            self._check.cancel()
        self._shut()
        for connection in list(self.connections):
            connection.close()

    def withdraw(self) -> None:
        """Be met in memory no more."""
        if self._offer is not None:
            self._offer.withdraw()

    def _shut(self) -> None:
        self.withdraw()
        if self._listener is not None:
            self._listener.close()
        if self._acceptor is not None:
            self._acceptor.close()

    async def answered(self) -> None:
        """Once closed, wait until all connections have ended that have something to send."""
        while any(connection.has_unsent for connection in self.connections):
            self.state.one_ended.clear()
            await self.state.one_ended.wait()

    def abort(self) -> None:
        """Cut every connection that is left."""
        for connection in list(self.connections):
            connection.abort()
        if self._offer is not None:
            self._offer.end()
