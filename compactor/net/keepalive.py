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
from collections.abc import Callable
from typing import Any

from compactor.metrics.logs import logger
from compactor.system.system import system

log = logger("context")

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
    count = min(max(1, int((timeout - idle) / interval)), 127)
    for name, why in system().keep_alive(sock, idle, interval, count, timeout):
        if name == "SO_KEEPALIVE":
            log.debug("no keepalive on a connection: %s", why)
        else:
            _tell_missing(name, why)


@functools.cache
def _tell_missing(name: str, why: str) -> None:
    """Say once what this system lacks: a vanished host is then noticed later."""
    log.debug("%s cannot be set (%s): a vanished host is noticed late", name, why)


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

    __slots__ = ("_due_since", "_handle", "_loop", "_sock", "_system", "_timeout", "_vanished")

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
        self._system = system()
        if math.isfinite(timeout) and self._system.acknowledged(self._sock) is not None:
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
        told = self._system.acknowledged(self._sock)
        if told is None:
            return  # closed in this turn
        now = self._loop.time()
        if not told.is_due:
            self._due_since = None
        elif self._due_since is None or told.ago < now - self._due_since:
            self._due_since = now
        # One look less for noticing late that something is due, one for noticing late that it is
        # overdue.
        elif now - self._due_since >= self._timeout * (_CHECKS - 2) / _CHECKS:
            self._vanished()
            return
        self._look_later()
