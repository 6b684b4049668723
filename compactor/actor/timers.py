"""``Timer`` and ``Ticks``: calls that are still to come, once or again and again.

Both watch the process whose event they will be, as a linker would, and end with it.  What they
do on the loop is touched on its thread only; any thread may call them off.
"""

from __future__ import annotations

import asyncio
import contextlib
import sys
from collections.abc import Callable
from typing import Any

from compactor.actor.dispatches import Dispatch
from compactor.actor.links import Links
from compactor.errors import ContextStopped, Reason
from compactor.net.portal import Portal
from compactor.pid import PID


def check_seconds(seconds: Any, what: str) -> None:
    """Raise ``ValueError`` for what is no finite number of seconds.

    Args:
        what: what takes so long, for the text of the error.
    """
    if not isinstance(seconds, (int, float)) or not abs(seconds) <= sys.float_info.max:
        raise ValueError(f"{what} must be a finite number of seconds, got {seconds!r}")


def check_interval(seconds: Any) -> None:
    """Raise ``ValueError`` for what cannot be the time from one tick to the next."""
    check_seconds(seconds, "the time from one tick to the next")
    if isinstance(seconds, bool):
        raise TypeError(f"the time from one tick to the next is a number, got {seconds!r}")
    if seconds <= 0:
        raise ValueError(f"the time from one tick to the next must be above 0, got {seconds!r}")


class Timer:
    """A call that is still to come: what ``delay`` and ``every`` return.

    Args:
        portal: leads to the thread of the loop.
        links: has the process of the call watched.
        call: made when it is time.
    """

    __slots__ = ("_call", "_handle", "_links", "_portal")

    def __init__(self, portal: Portal, links: Links, call: Callable[[], Any]) -> None:
        self._portal = portal
        self._links = links
        self._call: Callable[[], Any] | None = call
        self._handle: asyncio.TimerHandle | None = None

    def start(self, pid: PID, loop: asyncio.AbstractEventLoop, seconds: float) -> None:
        """Start to count down, on the loop's thread.

        Args:
            pid: the process, which lives.
        """
        if self._call is not None:
            self._links.add(self, pid)
            self._handle = loop.call_later(seconds, self._fire)

    def cancel(self) -> bool:
        """Call it off, from any thread; False if it was made or called off before."""
        call, self._call = self._call, None
        if call is None:
            return False
        if self._handle is not None:
            with contextlib.suppress(ContextStopped):
                self._portal.call(self._end)
        return True

    @property
    def is_pending(self) -> bool:
        """Whether it counts down; on the loop's thread."""
        handle = self._handle
        return self._call is not None and handle is not None and not handle.cancelled()

    @property
    def when(self) -> float:
        """The time of its loop at which it ends, or would have ended; once it was started."""
        assert self._handle is not None
        return self._handle.when()

    def exited(self, pid: PID, reason: Reason) -> None:
        """The process has ended."""
        self._end()

    def _end(self) -> None:
        if self._handle is not None:
            self._handle.cancel()
        self._links.drop(self)

    def _fire(self) -> None:
        call, self._call = self._call, None
        self._links.drop(self)
        if call is not None:
            call()


class Ticks(Timer):
    """A call at a fixed rate, each as a dispatch.

    Ticks come at multiples of the interval after the start, however late one of them was.  One
    that finds the last one still waiting or running is left out, as are those that the loop was
    held up for.

    Args:
        portal, links: as for ``Timer``.
        new: makes the dispatch of a tick; None if the process has ended.
    """

    __slots__ = ("_due", "_interval", "_last", "_loop", "_new")

    def __init__(self, portal: Portal, links: Links, new: Callable[[], Dispatch | None]) -> None:
        super().__init__(portal, links, self._put_one)
        self._new = new
        self._last: Dispatch | None = None

    def start(self, pid: PID, loop: asyncio.AbstractEventLoop, seconds: float) -> None:
        if self._call is not None:
            self._links.add(self, pid)
            self._loop = loop
            self._interval = seconds
            self._due = loop.time()
            self._wait()

    def cancel(self) -> bool:
        is_first = super().cancel()
        last = self._last
        if is_first and last is not None:
            last.cancel()  # if it still waits
        return is_first

    def _wait(self) -> None:
        """Wait for the next multiple of the interval."""
        now = self._loop.time()
        self._due += max((now - self._due) // self._interval + 1, 1) * self._interval
        if not self._due > now:  # the interval is below what the clock can tell
            self._due = now
        self._handle = self._loop.call_at(self._due, self._fire)

    def _fire(self) -> None:
        if self._call is not None:
            self._wait()
            self._call()

    def _put_one(self) -> None:
        if self._last is None or self._last.done():
            self._last = self._new()
            if self._last is None:
                self._end()
            else:
                self._last.put()
