"""Sockets of TCP: what is asked of the kernel about them that event loops do not ask."""

from __future__ import annotations

import asyncio
import contextlib
import math
import os
import socket
import struct
import sys
from collections.abc import Iterator
from typing import Any

try:
    import fcntl
    import termios
except ImportError:  # only POSIX has them
    fcntl = termios = None  # type: ignore[assignment]


_IDLE = getattr(socket, "TCP_KEEPIDLE", getattr(socket, "TCP_KEEPALIVE", None))  # macOS: the latter
_INTERVAL = getattr(socket, "TCP_KEEPINTVL", None)
_COUNT = getattr(socket, "TCP_KEEPCNT", None)
_INFO = getattr(socket, "TCP_INFO", None) if sys.platform == "linux" else None

# Not in the socket module.  Linux (6.15): the longest time between two attempts to get through, in
# milliseconds, else two minutes.  macOS: seconds after which unacknowledged data ends a connection.
_RTO_MAX_MS = 44 if sys.platform == "linux" else None
_RXT_CONNDROPTIME = 0x80 if sys.platform == "darwin" else None

# struct tcp_info begins with 8 bytes (tcpi_probes is the fourth) and 13 words.
_TCP_INFO = struct.Struct("@8B13I")
_PROBES, _UNACKED, _LAST_ACK_RECEIVED = 3, 8 + 4, 8 + 12

_SALVAGE_READ = 256 * 1024
_CAN_SEND_FILES = hasattr(os, "sendfile")


def bind(ip: str, port: int) -> socket.socket:
    """A socket that is bound to an address; see ``System``."""
    found = socket.getaddrinfo(ip, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    family, kind, protocol, _, address = found[0]
    sock = socket.socket(family, kind, protocol)
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.bind(address)
    except OSError:
        sock.close()
        raise
    return sock


async def connect(loop: asyncio.AbstractEventLoop, ip: str, port: int) -> socket.socket:
    """A socket that is connected to an address; see ``System``."""
    sock = socket.socket(socket.AF_INET6 if ":" in ip else socket.AF_INET)
    try:
        sock.setblocking(False)
        if isinstance(loop, asyncio.BaseEventLoop):
            await loop.sock_connect(sock, (ip, port))
        else:
            await _connect_on_uvloop(loop, sock, (ip, port))
    except BaseException:
        sock.close()
        raise
    return sock


async def _connect_on_uvloop(
    loop: asyncio.AbstractEventLoop, sock: socket.socket, address: tuple[str, int]
) -> None:
    """What uvloop's ``sock_connect`` does, without the threads that look up even numbers."""
    try:
        sock.connect(address)
        return
    except BlockingIOError:
        pass
    writable = asyncio.Event()
    loop.add_writer(sock, writable.set)
    try:
        await writable.wait()
    finally:
        loop.remove_writer(sock)
    code = sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
    if code:
        raise OSError(code, f"connecting to {address} failed: {os.strerror(code)}")


def address_towards(family: socket.AddressFamily, elsewhere: tuple[str, int]) -> str:
    """The own address from which packets would leave; none is sent to find it."""
    try:
        with socket.socket(family, socket.SOCK_DGRAM) as probe:
            probe.connect(elsewhere)
            return str(probe.getsockname()[0])
    except OSError:
        return ""


def keep_alive(
    sock: Any, idle: int, interval: int, count: int, timeout: float
) -> Iterator[tuple[str, str]]:
    """Set the options of TCP keepalive; see ``System``."""
    most = min(max(int(timeout * 100), 1_000), 120_000)  # milliseconds between two attempts
    for name, option, value in (
        ("TCP_KEEPIDLE", _IDLE, idle),
        ("TCP_KEEPINTVL", _INTERVAL, interval),
        ("TCP_KEEPCNT", _COUNT, count),
        ("TCP_RXT_CONNDROPTIME", _RXT_CONNDROPTIME, math.ceil(timeout)),
        ("TCP_RTO_MAX_MS", _RTO_MAX_MS, most),
    ):
        if option is not None:
            try:
                sock.setsockopt(socket.IPPROTO_TCP, option, value)
            except OSError as error:
                yield name, str(error)
        elif name.startswith("TCP_KEEP"):
            yield name, "this Python does not know it"
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    except OSError as error:  # it was reset before anybody could look
        yield "SO_KEEPALIVE", str(error)


def unacknowledged(sock: Any) -> int:
    """Bytes that the kernel holds until the peer's machine has them; see ``System``."""
    if sock is None or fcntl is None:
        return 0
    try:
        held = fcntl.ioctl(sock.fileno(), termios.TIOCOUTQ, bytes(4))  # pyright: ignore[reportOptionalMemberAccess]
    except (OSError, ValueError):  # ValueError: it is closed
        return 0
    return int.from_bytes(held, sys.byteorder)


def acknowledged(sock: Any) -> tuple[bool, float] | None:
    """Whether an acknowledgement is due, and seconds since the last one; see ``System``."""
    if sock is None or _INFO is None:
        return None
    try:
        data = sock.getsockopt(socket.IPPROTO_TCP, _INFO, _TCP_INFO.size)
    except (OSError, ValueError):  # ValueError: uvloop has no descriptor any more
        return None  # closed in this turn
    if len(data) < _TCP_INFO.size:
        return None
    info = _TCP_INFO.unpack(data)
    return bool(info[_UNACKED] or info[_PROBES]), info[_LAST_ACK_RECEIVED] / 1000


def unread(sock: Any) -> Iterator[bytes]:
    """What the receive queue of a socket has; see ``System``.

    Where there is no memory for it, it is lost.
    """
    if sock is None or sock.fileno() < 0:
        return
    with socket.socket(fileno=os.dup(sock.fileno())) as copy, contextlib.suppress(MemoryError):
        copy.setblocking(False)
        while True:
            try:
                data = copy.recv(_SALVAGE_READ)
            except OSError:
                return
            if not data:
                return
            yield data


def copy_of(sock: Any) -> int | None:
    """A descriptor of a connection for ``send_file``; see ``System``."""
    if not _CAN_SEND_FILES or sock is None:
        return None
    try:
        return os.dup(sock.fileno())
    except (OSError, ValueError):  # too many are open, or it is closed
        return None


def send_file(connection: int, file: int, start: int, size: int) -> int:
    """Have the kernel send some of a file; see ``System``."""
    sent = 0
    with contextlib.suppress(OSError):  # it takes no more, or no files of this kind
        while sent < size and (some := os.sendfile(connection, file, start + sent, size - sent)):
            sent += some
    return sent


def shut_down(descriptor: int) -> None:
    """End a connection in both directions, whoever else has descriptors of it; POSIX alone can."""
    if os.name == "posix":
        with (
            contextlib.suppress(OSError),
            socket.socket(fileno=os.dup(descriptor)) as copy,
        ):
            copy.shutdown(socket.SHUT_RDWR)
