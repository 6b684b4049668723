"""Counts to rates, and round trips to percentiles; both leave a warm-up out."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

from benchmarks.children import Report

PERCENTILES = (50, 90, 99, 99.9)


class Meter:
    """Turns running counts into one rate per second, reported once.

    The time starts at the first mark after the warm-up (a quarter of `seconds`, after the first
    mark) and ends at the first mark after `seconds` more.
    """

    def __init__(self, seconds: float, report: Report) -> None:
        self._seconds = seconds
        self._report = report
        self._opens = 0.0
        self._start: tuple[float, int] | None = None
        self._done = False

    def mark(self, count: int) -> bool:
        """Take note that `count` events have happened so far; True once the rate is reported."""
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


class Gate(Meter):
    """A meter that also holds a foreign thread back: four marks ahead of the last one.

    Args:
        mark_every: how many events apart the marks are.
    """

    def __init__(self, seconds: float, report: Report, mark_every: int) -> None:
        super().__init__(seconds, report)
        self._mark_every = mark_every
        self._room = threading.Semaphore(4)

    def mark(self, count: int) -> bool:
        self._room.release()
        return super().mark(count)

    def flood(self, send: Callable[[], object]) -> None:
        """Call `send` for ever, on this thread."""
        while True:
            self._room.acquire()
            for _ in range(self._mark_every):
                send()


def rate_of(counts: Callable[[], int], seconds: float) -> float:
    """The rate of a child that reports its running count again and again."""
    rates: list[float] = []
    meter = Meter(seconds, rates.append)
    while not meter.mark(counts()):
        pass
    return rates[0]


class Stopwatch:
    """Collects round trips for `seconds` after a quarter of that as warm-up.

    Reports their percentiles, in microseconds, once.
    """

    def __init__(self, seconds: float, report: Report) -> None:
        self._report = report
        self._opens = time.perf_counter() + seconds / 4
        self._closes = self._opens + seconds
        self._trips: list[float] = []
        self._begun = 0.0

    def start(self) -> None:
        self._begun = time.perf_counter()

    def stop(self) -> bool:
        """Take note that the round trip is over; True once the percentiles are reported."""
        now = time.perf_counter()
        if now >= self._opens:
            self._trips.append(now - self._begun)
        if now >= self._closes:
            self._closes = float("inf")
            self._report(percentiles(self._trips))
            return True
        return False


def percentiles(trips: list[float]) -> dict[str, float]:
    """The percentiles of round trips in seconds, as microseconds: `{"p50": ..., ...}`."""
    trips = sorted(trips)
    return {f"p{p:g}": trips[int(len(trips) * p / 100)] * 1e6 for p in PERCENTILES}


def trips_of(batches: Callable[[], list[float]], seconds: float) -> dict[str, float]:
    """The percentiles of a child that reports its round trips, in seconds, batch by batch."""
    batches()  # its time began before the child was ready
    opens = time.perf_counter() + seconds / 4
    while time.perf_counter() < opens:
        batches()
    trips = batches()
    while time.perf_counter() < opens + seconds:
        trips += batches()
    return percentiles(trips)
