"""``Reading``: a value of a metric, and all of them as one flat dict of numbers."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from typing import NamedTuple

from compactor.metrics.histogram import Histogram


class Reading(NamedTuple):
    """One value.

    Attributes:
        name: as in the catalog.
        value: a number, or times.
        label: what stands for ``<what>`` in the name.
        process: the id of a process whose it is; None if it is of the context.
        kind: of what a program measures itself: ``counter``, ``gauge`` or ``timer``.
    """

    name: str
    value: float | Histogram
    label: str = ""
    process: str | None = None
    kind: str = ""

    @property
    def path(self) -> str:
        """Its name in the snapshot."""
        if self.kind:
            ending = "_ms" if self.kind == "timer" else ""
            return f"{escaped(self.process or '')}/{self.name}{ending}"
        base, mark, _ = self.name.partition("<")
        name = base + self.label if mark else self.name
        return name if self.process is None else f"processes/{escaped(self.process)}/{name}"


def escaped(part: str) -> str:
    """A part of a name, in which there is no slash."""
    return part.replace("%", "%25").replace("/", "%2F")


def flat(readings: Iterable[Reading]) -> dict[str, float]:
    """Readings by name, as libprocess shows them: of times there are several."""
    found: dict[str, float] = {}
    for reading in readings:
        if isinstance(reading.value, Histogram):
            found.update(of_times(reading.path, reading.value))
        elif math.isfinite(reading.value):
            found[reading.path] = reading.value
    return found


def of_times(name: str, times: Histogram) -> Iterator[tuple[str, float]]:
    """What is shown of times, in milliseconds: the last, their number, percentiles."""
    if times.count:
        yield name, times.last * 1000
        yield f"{name}/count", times.count
        yield f"{name}/max", times.most * 1000
        yield f"{name}/min", times.least * 1000
        for percentile, seconds in times.percentiles():
            yield f"{name}/{percentile}", seconds * 1000
