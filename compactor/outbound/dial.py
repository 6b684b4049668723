"""Dialling: from an address to an open connection, plain or TLS."""

from __future__ import annotations

import asyncio
import errno
import ipaddress
import os
import socket
from collections.abc import Callable
from logging import DEBUG
from typing import TYPE_CHECKING, TypeVar

from compactor.metrics.logs import fields, logger, place_of
from compactor.outbound.reasons import why_not_dialled
from compactor.pid import Address
from compactor.system.system import system
from compactor.tls.failures import TlsError, describe

if TYPE_CHECKING:
    from compactor.tls.credentials import Tls
    from compactor.tls.transport import TlsTransport

log = logger("peers")

SomeProtocol = TypeVar("SomeProtocol", bound=asyncio.Protocol)


async def dial(
    loop: asyncio.AbstractEventLoop,
    address: Address,
    make: Callable[[], SomeProtocol],
    timeout: float,
    tls: Tls | None,
    is_local: bool = False,
) -> SomeProtocol:
    """Connect to a host, and connect a protocol to that, with a line of the log about it.

    Args:
        loop: the running loop.
        address: IP address or host name, and port.
        make: makes the protocol.
        timeout: seconds for name lookup and connecting; a handshake has its own.
        tls: certificates and rules; None for plain connections.
        is_local: whether contexts of this OS process are met in memory, if they want that, too.

    Raises:
        asyncio.TimeoutError: it took too long.
        TlsError: connected, but there is no TLS, and no downgrade is allowed.
        OSError, UnicodeError: it cannot be connected, or broke at once.
    """
    try:
        protocol = await _dial(loop, address, make, timeout, tls, is_local)
    except (OSError, UnicodeError, asyncio.TimeoutError) as error:
        if log.isEnabledFor(DEBUG):
            place, reason = place_of(address), why_not_dialled(error)
            told = fields("dial", peer=place, reason=reason, detail=error)
            log.debug("cannot connect to %s: %s (%s)", place, reason, error, extra=told)
        raise
    if log.isEnabledFor(DEBUG):
        place = place_of(address)
        log.debug("connected to %s", place, extra=fields("dial", peer=place))
    return protocol


async def _dial(
    loop: asyncio.AbstractEventLoop,
    address: Address,
    make: Callable[[], SomeProtocol],
    timeout: float,
    tls: Tls | None,
    is_local: bool,
) -> SomeProtocol:
    if tls is None:
        met = _meet(loop, address, make) if is_local else None
        return met or await _open(loop, address, make, timeout)
    place = f"{address[0]}:{address[1]}"
    try:
        protocol = await _dial_tls(loop, address, make, timeout, tls)
    except TlsError as error:
        if not tls.settings.support_downgrade:
            tls.failed(place, f"no TLS with {place}", error)
            raise
        tls.failed(place, f"no TLS with {place}, so it is dialled plainly", error)
        return await _open(loop, address, make, timeout)
    tls.succeeded(place)
    return protocol


def _meet(
    loop: asyncio.AbstractEventLoop, address: Address, make: Callable[[], SomeProtocol]
) -> SomeProtocol | None:
    """Connect in memory to a context of this OS process; None if none there wants that."""
    from compactor.net import handover

    offer = handover.offer_of(address)
    return None if offer is None else handover.connect(offer, loop, make)


async def _dial_tls(
    loop: asyncio.AbstractEventLoop,
    address: Address,
    make: Callable[[], SomeProtocol],
    timeout: float,
    tls: Tls,
) -> SomeProtocol:
    name = tls.verifier.name_to_verify(address[0])
    shaken: asyncio.Future[Exception | None] = loop.create_future()

    from compactor.tls.transport import TlsTransport  # few contexts have TLS

    def done(secure: TlsTransport, error: Exception | None) -> None:
        if not shaken.done():  # else nobody waits any more
            shaken.set_result(error)

    def make_secure() -> TlsTransport:
        return TlsTransport(
            loop,
            tls.dialling,
            False,
            name,
            tls.settings.handshake_timeout,
            tls.verifier.check_of(server_side=False),
            done,
        )

    secure = await _open(loop, address, make_secure, timeout)
    try:
        error = await shaken
        if error is not None:
            raise TlsError(describe(error))
        if secure.is_closing():  # a protocol above would never hear of it
            raise ConnectionResetError("the connection broke right behind the handshake")
    except BaseException:
        secure.abort()
        raise
    protocol = make()
    secure.open(protocol)
    return protocol


async def _open(
    loop: asyncio.AbstractEventLoop,
    address: Address,
    make: Callable[[], SomeProtocol],
    timeout: float,
) -> SomeProtocol:
    """Connect to a host, and connect a protocol to that; when cancelled, there is no connection.

    A protocol of uvloop whose ``create_connection`` was cancelled late never hears of its end.
    """
    connecting = loop.create_task(_connect(loop, address, loop.time() + timeout))
    sock = await _within(timeout, connecting)
    attaching = loop.create_task(_attach(loop, sock, make))
    # All tasks of a loop may be cancelled, before they run, when it ends.
    attaching.add_done_callback(lambda task: sock.close() if task.cancelled() else None)
    try:
        _, protocol = await asyncio.shield(attaching)
    except asyncio.CancelledError:
        attaching.add_done_callback(_drop_connection)
        raise
    return protocol


async def _connect(
    loop: asyncio.AbstractEventLoop, address: Address, until: float
) -> socket.socket:
    """A socket that is connected to the first address of a host that accepts.

    Each address has its share of the time: one that answers nothing leaves some for the others.

    Raises:
        OSError, asyncio.TimeoutError, UnicodeError: none does; the error of the last.
    """
    host, port = address
    try:
        ipaddress.ip_address(host)
        hosts = [host]
    except ValueError:
        hosts = await system().addresses_of(host, port)
    error: Exception = socket.gaierror(f"{host} has no address")
    for tried, candidate in enumerate(hosts):
        share = (until - loop.time()) / (len(hosts) - tried)
        try:
            connecting = loop.create_task(_connect_socket(loop, candidate, port))
            return await _within(share, connecting)
        except (OSError, asyncio.TimeoutError) as failure:
            error = failure
    raise error


async def _within(seconds: float, connecting: asyncio.Task[socket.socket]) -> socket.socket:
    """The socket of a task; without one, when time is up or this is cancelled, none stays open.

    ``asyncio.wait_for`` may not see that it was cancelled.

    Raises:
        OSError, asyncio.TimeoutError, UnicodeError: as the task, and when time is up.
    """
    try:
        await asyncio.wait([connecting], timeout=seconds)
        if not connecting.done():
            raise asyncio.TimeoutError
    except BaseException:
        connecting.add_done_callback(_drop_socket)
        connecting.cancel()
        raise
    return connecting.result()


async def _connect_socket(loop: asyncio.AbstractEventLoop, ip: str, port: int) -> socket.socket:
    sock: socket.socket = await system().connect(loop, ip, port)
    try:
        if sock.getsockname() == sock.getpeername():
            # The kernel has chosen the port that is dialled for this end, and TCP lets the two ends
            # of a connection be one.  Then nobody listens there, and all that is sent comes back.
            raise ConnectionRefusedError(errno.ECONNREFUSED, os.strerror(errno.ECONNREFUSED))
    except BaseException:
        sock.close()
        raise
    return sock


async def _attach(
    loop: asyncio.AbstractEventLoop, sock: socket.socket, make: Callable[[], SomeProtocol]
) -> tuple[asyncio.Transport, SomeProtocol]:
    try:
        transport, protocol = await loop.create_connection(make, sock=sock)
    except BaseException:
        sock.close()
        raise
    if transport.is_closing() and not isinstance(transport, asyncio.Transport):
        # It broke in this moment.  uvloop has closed the descriptor, but not told the socket, which
        # would close whatever has that number when it is collected.
        sock.detach()
    return transport, protocol


def _drop_socket(connecting: asyncio.Task[socket.socket]) -> None:
    """Nobody waits for it any more."""
    if not connecting.cancelled() and connecting.exception() is None:
        connecting.result().close()


def _drop_connection(attaching: asyncio.Task[tuple[asyncio.Transport, SomeProtocol]]) -> None:
    """Nobody waits for it any more."""
    if not attaching.cancelled() and attaching.exception() is None:
        attaching.result()[0].abort()
