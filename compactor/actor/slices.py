"""``Slices``: work of many steps, done in slices of the time of a turn."""

from __future__ import annotations

import asyncio
import collections
import itertools
import math
from collections.abc import Iterator

from compactor.actor.run_queue import TURN_SECONDS, RunQueue
from compactor.system import clock

_CHECK_EVERY = 32  # steps between two looks at the clock


class Slices:
    """What may take long: the loss of 100,000 messages, the news of an end to 10,000 watchers.

    Such work is an iterator that does one step each time it is asked for the next.  What it does
    not manage at once, in the time of a turn, it does in later turns, so that others have theirs.

    Args:
        run_queue: the turns of the loop.
    """

    def __init__(self, run_queue: RunQueue) -> None:
        self.run_queue = run_queue
        self._unfinished: dict[object, Iterator[object]] = {}
        self._one_is_finished = asyncio.Event()
        self._is_scheduled = False
        self._is_closed = False

    def work(self, steps: Iterator[object], of: object | None = None) -> None:
        """Do some work.

        Args:
            steps: of the work; they raise nothing.
            of: what the work belongs to.  Work of one thing is done in order, and the first is
                finished at once when there is more, so what is kept for it is bounded by what
                there can be of one work.
        """
        key = steps if of is None else of
        _finish(self._unfinished.pop(key, iter(())))
        self._go_on(key, steps)

    async def finished(self, of: object) -> None:
        """Wait until the work of something is done."""
        while of in self._unfinished:
            self._one_is_finished.clear()
            await self._one_is_finished.wait()

    def _go_on(self, key: object, steps: Iterator[object]) -> None:
        end = math.inf if self._is_closed else clock.now() + TURN_SECONDS
        for number, _ in enumerate(steps, 1):
            if number % _CHECK_EVERY == 0 and clock.now() > end:
                more = self._unfinished.get(key)  # which a step may have brought
                rest = steps if more is None else itertools.chain(steps, more)
                self._unfinished[key] = rest
                self._schedule()
                return
        self._one_is_finished.set()

    def _schedule(self) -> None:
        if self._unfinished and not self._is_scheduled:
            self._is_scheduled = True
            self.run_queue.loop.call_soon(self._next)

    def _next(self) -> None:
        self._is_scheduled = False
        try:
            if self._unfinished:
                key = next(iter(self._unfinished))
                self._go_on(key, self._unfinished.pop(key))
        finally:
            self._schedule()

    def close(self) -> None:
        """Finish all work; what comes from now on is done at once."""
        self._is_closed = True
        while self._unfinished:
            _finish(self._unfinished.popitem()[1])
        self._one_is_finished.set()


def _finish(steps: Iterator[object]) -> None:
    collections.deque(steps, maxlen=0)
