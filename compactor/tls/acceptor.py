"""``TlsAcceptor``: what becomes of a connection between its acceptance and its first request."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Protocol, cast

from compactor.tls.credentials import Tls
from compactor.tls.transport import TlsTransport

_SNIFFED = 6  # bytes that tell TLS from all else


class AcceptorOwner(Protocol):
    """What an acceptor asks of its server."""

    def enter(self, ip: str, descriptor: int) -> bool: ...
    def leave(self, ip: str) -> None: ...
    def tls_failed(self) -> None: ...


class TlsAcceptor:
    """Makes the protocols of accepted connections: TLS, or plain where that is allowed.

    Args:
        tls: certificates and rules.
        loop: the loop that accepts.
        make: makes the protocol that is to serve a connection.
        server: counts all connections, also those that are not served yet.
    """

    def __init__(
        self,
        tls: Tls,
        loop: asyncio.AbstractEventLoop,
        make: Callable[[], asyncio.Protocol],
        server: AcceptorOwner,
    ) -> None:
        self._tls = tls
        self._loop = loop
        self._make = make
        self._server = server
        self._waiting: dict[asyncio.Transport, str] = {}  # not served yet, with their addresses
        self._is_closed = False

    def __call__(self) -> asyncio.Protocol:
        """The protocol of the next connection."""
        return _Sniffer(self) if self._tls.settings.support_downgrade else _Handshake(self)

    def close(self) -> None:
        """Cut every connection that is not served yet; the context stops."""
        self._is_closed = True
        for transport in list(self._waiting):
            transport.abort()

    def enter(self, transport: asyncio.BaseTransport) -> bool:
        """Count a connection; False if it was cut instead."""
        accepted = cast(asyncio.Transport, transport)  # uvloop's are no subclass
        ip = (accepted.get_extra_info("peername") or ("",))[0]
        descriptor = accepted.get_extra_info("socket").fileno()
        if self._is_closed or not self._server.enter(ip, descriptor):
            accepted.abort()
            return False
        self._waiting[accepted] = ip
        return True

    def leave(self, transport: asyncio.BaseTransport) -> None:
        """A connection has ended, or is to be served."""
        ip = self._waiting.pop(cast(asyncio.Transport, transport), None)
        if ip is not None:
            self._server.leave(ip)

    def give_up_later(self, transport: asyncio.BaseTransport) -> asyncio.TimerHandle:
        """Cut a connection once the time of a handshake is over."""
        return self._loop.call_later(self._tls.settings.handshake_timeout, transport.abort)  # type: ignore[attr-defined]

    def shake_hands(self, transport: asyncio.BaseTransport, data: bytes) -> None:
        """Make a connection TLS.

        Args:
            transport: the connection, which has entered.
            data: what was read from it already.
        """
        tls = self._tls
        raw = cast(asyncio.Transport, transport)
        ip = self._waiting[raw]

        def done(secure: TlsTransport, error: Exception | None) -> None:
            self.leave(raw)
            if error is None:
                tls.succeeded(ip)
                secure.open(self._make())
            elif not self._is_closed:
                tls.failed(ip, f"no TLS with the peer that connects from {ip}", error)
                self._server.tls_failed()

        secure = TlsTransport(
            self._loop,
            tls.accepting,
            True,
            None,
            tls.settings.handshake_timeout,
            tls.verifier.check_of(server_side=True),
            done,
        )
        raw.set_protocol(secure)
        secure.connection_made(raw)
        if data:
            secure.data_received(data)

    def serve_plainly(self, transport: asyncio.BaseTransport, data: bytes) -> asyncio.Protocol:
        """Serve a connection without TLS; return its protocol."""
        self.leave(transport)
        protocol = self._make()
        cast(asyncio.Transport, transport).set_protocol(protocol)
        protocol.connection_made(transport)
        if data:
            protocol.data_received(data)
        return protocol


class _Handshake(asyncio.Protocol):
    """A connection that must be TLS."""

    def __init__(self, acceptor: TlsAcceptor) -> None:
        self._acceptor = acceptor

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        if self._acceptor.enter(transport):
            self._acceptor.shake_hands(transport, b"")


class _Sniffer(asyncio.Protocol):
    """A connection whose first bytes will tell.

    One that stays silent may wait for ever: it may be a plain peer that watches whether we live.
    From its first byte on it has the time of a handshake.
    """

    def __init__(self, acceptor: TlsAcceptor) -> None:
        self._acceptor = acceptor
        self._transport: asyncio.BaseTransport
        self._data = b""
        self._timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport
        self._acceptor.enter(transport)

    def data_received(self, data: bytes) -> None:
        self._data += data
        is_tls = sniff(self._data)
        if is_tls is not None:
            self._stop_timer()
        elif self._timer is None:
            self._timer = self._acceptor.give_up_later(self._transport)
        if is_tls:
            self._acceptor.shake_hands(self._transport, self._data)
        elif is_tls is not None:
            self._acceptor.serve_plainly(self._transport, self._data)

    def eof_received(self) -> bool:
        self._stop_timer()
        protocol = self._acceptor.serve_plainly(self._transport, self._data)
        return bool(protocol.eof_received())

    def connection_lost(self, exc: Exception | None) -> None:
        self._stop_timer()
        self._acceptor.leave(self._transport)

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()


def sniff(data: bytes) -> bool | None:
    """Whether a connection that starts with ``data`` is TLS, as libprocess judges it.

    libprocess decides on whatever the first packet brought; None says that it takes more to know.
    """
    if not data:
        return None
    if data[0] & 0x80:  # the hello of SSL 2, in which TLS was once offered
        return None if len(data) < 3 else data[2] == 1
    if data[0] != 0x16 or data[1:2] not in (b"", b"\x03"):
        return False
    return None if len(data) < _SNIFFED else data[5] == 1
