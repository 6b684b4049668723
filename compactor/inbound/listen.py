"""The address of a context: the socket it listens on, and what its pids advertise."""

from __future__ import annotations

import errno
import ipaddress
import socket
from typing import Any

from compactor.errors import SocketError
from compactor.metrics.logs import logger
from compactor.net.keepalive import probe
from compactor.pid import Address
from compactor.settings import Settings
from compactor.system.system import system

log = logger("server")

BACKLOG = 1024  # connections that the kernel accepts before we do
# Never dialled: asking the kernel which address it would use for them sends no packet.
_ELSEWHERE = {socket.AF_INET: ("192.0.2.1", 9), socket.AF_INET6: ("2001:db8::1", 9)}
_has_warned = False  # this program, of an address that is open to others
_LOOPBACK = {socket.AF_INET: "127.0.0.1", socket.AF_INET6: "::1"}


def listen(settings: Settings, is_secure: bool = False) -> tuple[Any, Address]:
    """Bind and listen; connections wait in the kernel until a loop accepts them.

    Args:
        settings: the address.
        is_secure: whether only those can connect that the context knows.

    Returns:
        The socket, and the (ip, port) that pids carry.

    Raises:
        SocketError: the address cannot be bound; the text names it and says what would help.
    """
    sock = _bind(settings.ip, settings.port, settings.peer_timeout)
    bound: Address = sock.getsockname()[:2]
    if not is_secure and settings.warn_unprotected:
        _warn_if_open(*bound)
    ip = settings.advertise_ip or bound[0]
    if ip in ("0.0.0.0", "::"):
        ip = _own_address(sock.family)
    return sock, (ip, settings.advertise_port or bound[1])


def _bind(ip: str, port: int, peer_timeout: float) -> Any:
    host = ip.strip("[]")
    sock = None
    try:
        sock = system().bind(host, port)
        probe(sock, peer_timeout)  # accepted connections inherit it
        sock.listen(BACKLOG)
        sock.setblocking(False)
    except socket.gaierror as error:
        raise SocketError(
            errno.EADDRNOTAVAIL,
            f"cannot resolve the address to bind, {ip!r} ({error}); "
            "give a numeric one with ip= or LIBPROCESS_IP",
        ) from None
    except OSError as error:
        if sock is not None:
            sock.close()
        hint = {
            errno.EADDRINUSE: "give another port, or 0 for any, with port= or LIBPROCESS_PORT",
            errno.EADDRNOTAVAIL: "no interface has that address; see ip= or LIBPROCESS_IP",
            errno.EACCES: "ports below 1024 need privileges; see port= or LIBPROCESS_PORT",
        }.get(error.errno or 0, "see ip= and port=")
        raise SocketError(
            error.errno, f"cannot listen on {ip}:{port} ({error.strerror}); {hint}"
        ) from None
    return sock


def _warn_if_open(ip: str, port: int) -> None:
    global _has_warned
    if _has_warned or ipaddress.ip_address(ip.partition("%")[0]).is_loopback:
        return
    _has_warned = True
    log.warning(
        "%s:%d is open to whoever reaches it: without TLS every peer can send messages in every "
        "name. Bind to 127.0.0.1 (ip= or LIBPROCESS_IP), or turn TLS on (tls= or "
        "LIBPROCESS_SSL_ENABLED); Settings(warn_unprotected=False) says that it is meant so; "
        "see docs/errors.md#open-port",
        ip,
        port,
    )


def own_addresses() -> list[str]:
    """The addresses of this host that contexts on all interfaces advertise."""
    found = [_address_towards_others(family) for family in _ELSEWHERE]
    return [address for address in found if address]


def _own_address(family: int) -> str:
    """The address of the interface that leads elsewhere, or of loopback."""
    address = _address_towards_others(socket.AddressFamily(family))
    if address:
        return address
    ip = _LOOPBACK[socket.AddressFamily(family)]
    log.warning(
        "no network leads out of this host, so pids advertise %s, which other hosts "
        "cannot reach; set advertise_ip= or LIBPROCESS_ADVERTISE_IP to change that",
        ip,
    )
    return ip


def _address_towards_others(family: socket.AddressFamily) -> str:
    """The address of the interface that leads elsewhere; no name is resolved to find it."""
    return system().address_towards(family, _ELSEWHERE[family])
