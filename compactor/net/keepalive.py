"""Whether the machine of a peer still answers: TCP keepalive, and a watch over what was sent.

A living machine acknowledges every probe and all data, also while its program is stopped or reads
nothing.  So its silence says that it, or the way to it, is gone, and a slow program is never
taken for a dead one.  Linux's ``TCP_USER_TIMEOUT`` is not used: it also ends a connection whose
peer has not made room for that long, which a process with a full mailbox does.
"""

from __future__ import annotations

import asyncio
import functools
import math
import socket
import struct
import sys
from collections.abc import Callable
from typing import Any

from compactor.metrics.logs import log

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

_SHORTEST = 2.0  # seconds: a living machine may put an acknowledgement off for 40 ms and more
_LONGEST = 32_767  # seconds, in Linux's keepalive
_CHECKS = 8  # looks at unacknowledged data within one timeout


def probe(sock: Any, timeout: float) -> None:
    """Have the kernel end a silent connection once its peer's machine answered no probe.

    Args:
        sock: the socket of a connection, or of a listener for all that it accepts; or None.
        timeout: seconds from the last sign of life to the end, at least 2 in effect; infinity
            for no probes.
    """
    if sock is None or not math.isfinite(timeout):
        return
    idle = min(max(1, int(timeout / 3)), _LONGEST)
    interval = min(max(1, int(timeout / 15)), _LONGEST)
    count = max(1, int((timeout - idle) / interval))
    _set(sock, "TCP_KEEPIDLE", _IDLE, idle)
    _set(sock, "TCP_KEEPINTVL", _INTERVAL, interval)
    _set(sock, "TCP_KEEPCNT", _COUNT, min(count, 127))
    _set(sock, "TCP_RXT_CONNDROPTIME", _RXT_CONNDROPTIME, math.ceil(timeout))
    _set(sock, "TCP_RTO_MAX_MS", _RTO_MAX_MS, min(max(int(timeout * 100), 1_000), 120_000))
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    except OSError as error:  # it was reset before anybody could look
        log.debug("no keepalive on a connection: %s", error)


def _set(sock: Any, name: str, option: int | None, value: int) -> None:
    if option is None:
        if name.startswith("TCP_KEEP"):
            _tell_missing(name, "this Python does not know it")
        return
    try:
        sock.setsockopt(socket.IPPROTO_TCP, option, value)
    except OSError as error:
        _tell_missing(name, str(error))


@functools.cache
def _tell_missing(name: str, why: str) -> None:
    """Say once what this system lacks: a vanished host is then noticed later."""
    log.debug("%s cannot be set (%s): a vanished host is noticed late", name, why)


def unacknowledged(sock: Any) -> int:
    """Bytes that the kernel holds until the peer's machine has them, the end of the stream among
    them as one; 0 where it does not tell.
    """
    if sock is None or fcntl is None:
        return 0
    try:
        held = fcntl.ioctl(sock.fileno(), termios.TIOCOUTQ, bytes(4))
    except (OSError, ValueError):  # ValueError: it is closed
        return 0
    return int.from_bytes(held, sys.byteorder)


class AckWatch:
    """Notices, on Linux, that nothing which was sent is acknowledged any more.

    Keepalive is silent while data is on its way, and the kernel then gives up after a quarter of
    an hour only.

    Args:
        transport: the open connection.
        timeout: seconds without any acknowledgement while one is due, at least 2 in effect;
            infinity watches nothing.
        vanished: called once when they have passed.
    """

    __slots__ = ("_due_since", "_handle", "_loop", "_sock", "_timeout", "_vanished")

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        transport: asyncio.BaseTransport,
        timeout: float,
        vanished: Callable[[], None],
    ) -> None:
        self._loop = loop
        self._sock = transport.get_extra_info("socket")
        self._timeout = max(timeout, _SHORTEST)
        self._vanished = vanished
        self._due_since: float | None = None
        self._handle: asyncio.TimerHandle | None = None
        if _INFO is not None and self._sock is not None and math.isfinite(timeout):
            self._look_later()

    def close(self) -> None:
        """Watch no more."""
        if self._handle is not None:
            self._handle.cancel()
            self._handle = None

    def _look_later(self) -> None:
        self._handle = self._loop.call_later(self._timeout / _CHECKS, self._look)

    def _look(self) -> None:
        self._handle = None
        try:
            data = self._sock.getsockopt(socket.IPPROTO_TCP, _INFO, _TCP_INFO.size)
        except (OSError, ValueError):  # ValueError: uvloop has no descriptor any more
            return  # closed in this turn
        if len(data) < _TCP_INFO.size:
            return
        info = _TCP_INFO.unpack(data)
        now = self._loop.time()
        if not info[_UNACKED] and not info[_PROBES]:
            self._due_since = None
        elif self._due_since is None or info[_LAST_ACK_RECEIVED] < (now - self._due_since) * 1000:
            self._due_since = now
        # One look less for noticing late that something is due, one for noticing late that it is
        # overdue.
        elif now - self._due_since >= self._timeout * (_CHECKS - 2) / _CHECKS:
            self._vanished()
            return
        self._look_later()
