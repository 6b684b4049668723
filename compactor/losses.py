"""``Losses``: reports of what will not be handled, made in turns."""

from __future__ import annotations

import asyncio
import collections
import itertools
import math
from collections.abc import Iterator
from time import perf_counter

from compactor.run_queue import TURN_SECONDS, RunQueue

_CHECK_EVERY = 32  # messages between two looks at the clock


class Losses:
    """Reports of what broken connections and ended processes lose: 100,000 messages and more.

    A report is an iterator that reports one message each time it is asked for the next.  What it
    does not manage at once, in the time of a turn, it does in later turns, so that others have
    theirs.  If a destination loses more before that, the first report is finished at once, so what
    is kept for reports is bounded by what may wait for each destination.

    Args:
        run_queue: the turns of the loop.
    """

    def __init__(self, run_queue: RunQueue) -> None:
        self._run_queue = run_queue
        self._unfinished: dict[object, Iterator[object]] = {}
        self._one_is_finished = asyncio.Event()
        self._is_scheduled = False
        self._is_closed = False

    def report(self, destination: object, report: Iterator[object]) -> None:
        """Make a report, behind an earlier one of that destination."""
        _finish(self._unfinished.pop(destination, iter(())))
        self._go_on(destination, report)

    async def reported(self, destination: object) -> None:
        """Wait until what a destination has lost is reported."""
        while destination in self._unfinished:
            self._one_is_finished.clear()
            await self._one_is_finished.wait()

    def _go_on(self, destination: object, report: Iterator[object]) -> None:
        end = math.inf if self._is_closed else perf_counter() + TURN_SECONDS
        for number, _ in enumerate(report, 1):
            if number % _CHECK_EVERY == 0 and perf_counter() > end:
                more = self._unfinished.get(destination)  # that a hook may have lost meanwhile
                rest = report if more is None else itertools.chain(report, more)
                self._unfinished[destination] = rest
                self._schedule()
                return
        self._one_is_finished.set()

    def _schedule(self) -> None:
        if self._unfinished and not self._is_scheduled:
            self._is_scheduled = True
            self._run_queue.loop.call_soon(self._next)

    def _next(self) -> None:
        self._is_scheduled = False
        if self._unfinished:
            destination = next(iter(self._unfinished))
            self._go_on(destination, self._unfinished.pop(destination))
        self._schedule()

    def close(self) -> None:
        """Finish all reports; those that are made from now on are finished at once."""
        self._is_closed = True
        while self._unfinished:
            _finish(self._unfinished.popitem()[1])
        self._one_is_finished.set()


def _finish(report: Iterator[object]) -> None:
    collections.deque(report, maxlen=0)
