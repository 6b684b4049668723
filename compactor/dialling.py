"""Dialling: from an address to an open connection, plain or TLS."""

from __future__ import annotations

import asyncio
import ipaddress
import socket
from collections.abc import Callable
from typing import TypeVar

from compactor.names import resolve
from compactor.pid import Address
from compactor.tls import Tls, TlsError, describe
from compactor.tls_transport import TlsTransport

SomeProtocol = TypeVar("SomeProtocol", bound=asyncio.Protocol)


async def dial(
    loop: asyncio.AbstractEventLoop,
    address: Address,
    make: Callable[[], SomeProtocol],
    timeout: float,
    tls: Tls | None,
) -> SomeProtocol:
    """Connect to a host, and connect a protocol to that.

    Args:
        loop: the running loop.
        address: IP address or host name, and port.
        make: makes the protocol.
        timeout: seconds for name lookup and connecting; a handshake has its own.
        tls: certificates and rules; None for plain connections.

    Raises:
        asyncio.TimeoutError: it took too long.
        TlsError: connected, but there is no TLS, and no downgrade is allowed.
        OSError, UnicodeError: it cannot be connected, or broke at once.
    """
    if tls is None:
        return await asyncio.wait_for(_connect(loop, address, make), timeout)
    place = f"{address[0]}:{address[1]}"
    try:
        protocol = await _dial_tls(loop, address, make, timeout, tls)
    except TlsError as error:
        if not tls.settings.support_downgrade:
            tls.failed(place, f"no TLS with {place}", error)
            raise
        tls.failed(place, f"no TLS with {place}, so it is dialled plainly", error)
        return await asyncio.wait_for(_connect(loop, address, make), timeout)
    tls.succeeded(place)
    return protocol


async def _dial_tls(
    loop: asyncio.AbstractEventLoop,
    address: Address,
    make: Callable[[], SomeProtocol],
    timeout: float,
    tls: Tls,
) -> SomeProtocol:
    name = tls.name_to_verify(address[0])
    shaken: asyncio.Future[None] = loop.create_future()

    def done(secure: TlsTransport, error: Exception | None) -> None:
        if shaken.done():
            return  # nobody waits any more
        if error is None:
            shaken.set_result(None)
        else:
            shaken.set_exception(TlsError(describe(error)))

    def make_secure() -> TlsTransport:
        return TlsTransport(
            loop,
            tls.dialling,
            False,
            name,
            tls.settings.handshake_timeout,
            tls.check if tls.needs_check(server_side=False) else None,
            done,
        )

    secure = await asyncio.wait_for(_connect(loop, address, make_secure), timeout)
    try:
        await shaken
        if secure.is_closing():  # a protocol above would never hear of it
            raise ConnectionResetError("the connection broke right behind the handshake")
    except BaseException:
        secure.abort()
        raise
    protocol = make()
    secure.open(protocol)
    return protocol


async def _connect(
    loop: asyncio.AbstractEventLoop, address: Address, make: Callable[[], SomeProtocol]
) -> SomeProtocol:
    """Connect to the first address of a host that accepts; the last error if none does."""
    host, port = address
    try:
        ipaddress.ip_address(host)
        hosts = [host]
    except ValueError:
        hosts = await resolve(host, port)
    error: OSError = socket.gaierror(f"{host} has no address")
    for candidate in hosts:
        try:
            _, protocol = await loop.create_connection(make, candidate, port)
            return protocol
        except OSError as failure:
            error = failure
    raise error
