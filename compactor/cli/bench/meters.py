"""Counts to rates, and round trips to times; both leave a warm-up out."""

from __future__ import annotations

import time
from collections.abc import Callable


class Meter:
    """Turns running counts into one rate per second, reported once.

    The time starts at the first mark after the warm-up (a quarter of ``seconds``, after the first
    mark) and ends at the first mark after ``seconds`` more.
    """

    def __init__(self, seconds: float, report: Callable[[float], object]) -> None:
        self._seconds = seconds
        self._report = report
        self._opens = 0.0
        self._start: tuple[float, int] | None = None
        self._done = False

    def mark(self, count: int) -> bool:
        """Take note that ``count`` events have happened so far; True once the rate is reported."""
        now = time.perf_counter()
        if not self._opens:
            self._opens = now + self._seconds / 4
        elif self._start is None:
            if now >= self._opens:
                self._start = (now, count)
        elif not self._done and now >= self._start[0] + self._seconds:
            self._done = True
            self._report((count - self._start[1]) / (now - self._start[0]))
        return self._done


class Stopwatch:
    """Collects round trips for ``seconds`` after a quarter of that as warm-up.

    Reports them once, in seconds.
    """

    def __init__(self, seconds: float, report: Callable[[list[float]], object]) -> None:
        self._report = report
        self._opens = time.perf_counter() + seconds / 4
        self._closes = self._opens + seconds
        self._trips: list[float] = []
        self._begun = 0.0

    def start(self) -> None:
        """A round trip begins."""
        self._begun = time.perf_counter()

    def stop(self) -> bool:
        """Take note that the round trip is over; True once all are reported."""
        now = time.perf_counter()
        if now >= self._opens:
            self._trips.append(now - self._begun)
        if now >= self._closes:
            self._closes = float("inf")
            self._report(self._trips)
            return True
        return False


def percentile(trips: list[float], percent: float) -> float:
    """A percentile of round trips in seconds, as microseconds."""
    return sorted(trips)[int(len(trips) * percent / 100)] * 1e6
