"""``Histogram``: how long things took, in fixed memory, with bounds that all histograms share."""

from __future__ import annotations

import math
from array import array
from bisect import bisect_left
from collections.abc import Iterator, Sequence

_FIRST_DECADE, _LAST_DECADE = -7, 2  # from a tenth of a microsecond to a quarter of an hour
_STEPS = 90  # of a decade: 1.1, 1.2, ... 10 times its beginning

BOUNDS = [10.0**_FIRST_DECADE] + [
    (step + 11) / 10 * 10.0**decade
    for decade in range(_FIRST_DECADE, _LAST_DECADE + 1)
    for step in range(_STEPS)
]
"""Seconds that the buckets end at, theirs too; behind the last one there is one more bucket."""

PERCENTILES = (
    ("p50", 0.5),
    ("p90", 0.9),
    ("p95", 0.95),
    ("p99", 0.99),
    ("p999", 0.999),
    ("p9999", 0.9999),
)
"""Their names, as libprocess has them, and the share of all that is below."""


class Histogram:
    """Times in buckets of a tenth of their decade: a percentile is off by 5 % at most.

    Times may be samples that stand for others, too; then ``count`` and ``sum`` are estimates.

    Attributes:
        count: how many there were.
        sum: seconds in all.
        last, least, most: seconds of single ones; 0.0 if there was none.
    """

    __slots__ = ("_buckets", "count", "last", "least", "most", "sum")

    def __init__(self) -> None:
        self.count = 0
        self.sum = 0.0
        self.last = self.least = self.most = 0.0
        self._buckets: array[int] = array("Q", bytes(8 * (len(BOUNDS) + 1)))

    def record(self, seconds: float, weight: int = 1) -> None:
        """Add a time.

        Args:
            weight: how many it stands for.
        """
        if not self.count or seconds < self.least:
            self.least = seconds
        if seconds > self.most:
            self.most = seconds
        self.last = seconds
        self.count += weight
        self.sum += seconds * weight
        self._buckets[bisect_left(BOUNDS, seconds)] += weight

    def merge(self, other: Histogram) -> None:
        """Add all times of another one, which may be recorded to meanwhile."""
        if not other.count:
            return
        self.least = min(self.least, other.least) if self.count else other.least
        self.most = max(self.most, other.most)
        self.last = other.last
        self.count += other.count
        self.sum += other.sum
        for index, number in enumerate(other._buckets):
            if number:
                self._buckets[index] += number

    def percentiles(self) -> Iterator[tuple[str, float]]:
        """Each of ``PERCENTILES`` with its seconds; nothing if there were no times."""
        if not self.count:
            return
        shares, passed, wanted = iter(PERCENTILES), 0, 0.0
        name, share = next(shares)
        for index, number in enumerate(self._buckets):
            passed += number
            wanted = share * self.count
            while number and passed >= wanted:
                yield name, self._middle(index)
                try:
                    name, share = next(shares)
                except StopIteration:
                    return
                wanted = share * self.count

    def _middle(self, index: int) -> float:
        """A time of a bucket, and one that there may have been."""
        low = BOUNDS[index - 1] if index else 0.0
        high = BOUNDS[index] if index < len(BOUNDS) else math.inf
        middle = (low + high) / 2
        return min(max(middle, self.least), self.most)

    def below(self, bounds: Sequence[float]) -> list[int]:
        """How many times were at most as long as each of some ascending ``BOUNDS``."""
        found, passed, begin = [], 0, 0
        for bound in bounds:
            end = bisect_left(BOUNDS, bound) + 1
            passed += sum(self._buckets[begin:end])
            begin = end
            found.append(passed)
        return found
