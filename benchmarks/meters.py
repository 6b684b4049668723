"""What benchmarks add to the meters of ``compactor bench``: children, threads and percentiles."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

from benchmarks.children import Report
from compactor.cli.bench.meters import Meter as Meter
from compactor.cli.bench.meters import Stopwatch as Stopwatch
from compactor.cli.bench.meters import percentile

PERCENTILES = (50, 90, 99, 99.9)


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


def stopwatch(seconds: float, report: Report) -> Stopwatch:
    """A stopwatch that reports the percentiles of what it collects."""
    return Stopwatch(seconds, lambda trips: report(percentiles(trips)))


def percentiles(trips: list[float]) -> dict[str, float]:
    """The percentiles of round trips in seconds, as microseconds: `{"p50": ..., ...}`."""
    trips = sorted(trips)
    return {f"p{p:g}": percentile(trips, p) for p in PERCENTILES}


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
