"""``notifying``: systemd is told that a program is ready, that it lives, and that it stops."""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import AsyncIterator

from compactor.context import Context
from compactor.metrics.logs import logger
from compactor.system import notify

log = logger("context")

__all__ = ["notifying"]

_MOST_TEXT = 1000  # characters of a status


@contextlib.asynccontextmanager
async def notifying(context: Context, status: str = "") -> AsyncIterator[None]:
    """Tell systemd that the program is ready, for the length of an ``async with`` block::

        async def main(context):
            context.spawn(Service("service"))
            async with notifying(context):
                await asyncio.Event().wait()

        compactor.run(main, port=5050)

    It does nothing where systemd has not asked for it: its unit has ``Type=notify``.  With
    ``WatchdogSec=`` it is told that the loop turns, twice in that time.  A loop that lags behind by
    more than half of it says nothing, so systemd restarts a program that is stuck.  When the block
    ends, or the context begins to stop with a drain, it is told that the program stops.

    Args:
        context: is about to stop some time.
        status: one line for ``systemctl status``.
    """
    path = os.environ.get("NOTIFY_SOCKET", "")
    if not path:
        yield
        return
    told = _Told(path, _watchdog_seconds())
    context.on_drain(told.stopping)
    told.ready(status)
    try:
        yield
    finally:
        told.stopping()


def _watchdog_seconds() -> float:
    """How often systemd wants to hear of this OS process; 0 if it does not."""
    text, whose = os.environ.get("WATCHDOG_USEC", ""), os.environ.get("WATCHDOG_PID", "")
    if not text.isdecimal() or (whose and whose != str(os.getpid())):
        return 0.0
    return int(text) / 1e6


class _Told:
    """What is told, and when next.

    Args:
        path: of the socket.
        watchdog: seconds in which a sign of life has to come; 0 for none.
    """

    def __init__(self, path: str, watchdog: float) -> None:
        self._path = path
        self._pause = watchdog / 2
        self._loop = asyncio.get_running_loop()
        self._timer: asyncio.TimerHandle | None = None
        self._has_stopped = False

    def _tell(self, *lines: str) -> None:
        try:
            notify.send(self._path, "\n".join(lines).encode())
        except (OSError, ValueError) as error:
            log.warning("systemd cannot be told %s: %s", lines[0], error)

    def ready(self, status: str) -> None:
        """Say that it is ready, and from now on that it lives."""
        shown = " ".join(status.split())[:_MOST_TEXT]
        self._tell("READY=1", *([f"STATUS={shown}"] if shown else []))
        if self._pause:
            self._look(self._loop.time())

    def _look(self, due: float) -> None:
        now = self._loop.time()
        if now - due <= self._pause:
            self._tell("WATCHDOG=1")
        due = now + self._pause
        self._timer = self._loop.call_at(due, self._look, due)

    def stopping(self) -> None:
        """Say that it stops; it is still watched, for it may be stuck in that."""
        if not self._has_stopped:
            self._has_stopped = True
            self._tell("STOPPING=1")
