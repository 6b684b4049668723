"""``Snapshot``: the processes of a context and what it has counted, at one moment."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from compactor.cli.exits import Exit, Fault
from compactor.cli.http_client import HttpClient
from compactor.cli.targets import Target
from compactor.system import clock

_OF_PROCESSES = "processes/"
_MOST = 2.0**1023
_MOST_MS = 60_000  # that a gauge is waited for


@dataclass
class Snapshot:
    """What a context has said.

    Attributes:
        at: when, in seconds of the clock here.
        waiting: events that wait, by process.
        metrics: all numbers by name.
        of_processes: those of processes, by process and name.
        without: why there are no metrics; empty if there are.
    """

    at: float
    waiting: dict[str, int]
    metrics: dict[str, float] = field(default_factory=dict)
    of_processes: dict[str, dict[str, float]] = field(default_factory=dict)
    without: str = ""


@dataclass(frozen=True)
class Row:
    """What is shown of one process; None is not known.

    Attributes:
        id: of the process.
        waiting: events in its mailbox.
        peak: the most that ever were.
        rate: events handled in a second.
        handled: events handled in all.
        failures: handlers that raised.
        restarts: how often it was made anew.
        p99: milliseconds of its slowest handlers.
    """

    id: str
    waiting: int
    peak: float | None = None
    rate: float | None = None
    handled: float | None = None
    failures: float | None = None
    restarts: float | None = None
    p99: float | None = None


def look(client: HttpClient, target: Target) -> Snapshot:
    """What a context says now.

    Raises:
        Fault: it does not say who lives there.
    """
    listed = client.json(target, "/__processes__")
    try:
        waiting = {str(entry["id"]): _events(entry) for entry in listed}
    except (LookupError, TypeError, ValueError, OverflowError, AttributeError):
        raise Fault(Exit.REFUSED, f"{target.host} does not list processes as libprocess") from None
    found = Snapshot(clock.now(), waiting)
    try:
        found.metrics = numbers(client, target)
    except Fault as fault:
        if fault.code not in (Exit.NOT_FOUND, Exit.DENIED):
            raise
        found.without = fault.message
    for name, value in found.metrics.items():
        if name.startswith(_OF_PROCESSES):
            id_, _, what = name[len(_OF_PROCESSES) :].partition("/")
            id_ = id_.replace("%2F", "/").replace("%25", "%")
            found.of_processes.setdefault(id_, {})[what] = value
    return found


def _events(entry: dict[str, Any]) -> int:
    found = _number(entry.get("pending", len(entry["events"])))
    if found is None:
        raise ValueError("it is no number of events")
    return int(found)


def numbers(client: HttpClient, target: Target) -> dict[str, float]:
    """The metrics of a context; gauges that are not known in time are left out.

    Raises:
        Fault: it does not tell.
    """
    wait = min(int(client.access.timeout * 500), _MOST_MS)
    told = client.json(target, f"/metrics/snapshot?timeout={wait}ms")
    if not isinstance(told, dict):
        raise Fault(Exit.REFUSED, f"{target.host} has no metrics as libprocess has them")
    found = {name: _number(value) for name, value in sorted(told.items())}
    return {name: value for name, value in found.items() if value is not None}


def _number(value: Any) -> float | None:
    """A number, whole where it is; None for what JSON cannot say, or libprocess would not."""
    if type(value) not in (int, float) or not abs(value) < _MOST:
        return None
    return int(value) if value % 1 == 0 else float(value)


def rows(now: Snapshot, before: Snapshot | None = None) -> Iterator[Row]:
    """What is to be shown of each process.

    Args:
        now: the last snapshot.
        before: an earlier one, for rates.
    """
    for id_, waiting in now.waiting.items():
        told = now.of_processes.get(id_, {})
        rate = None
        if before is not None and now.at > before.at:
            earlier = before.of_processes.get(id_, {}).get("events_handled")
            later = told.get("events_handled")
            if earlier is not None and later is not None:
                rate = max(later - earlier, 0) / (now.at - before.at)
        yield Row(
            id_,
            waiting,
            told.get("mailbox_high_water"),
            rate,
            told.get("events_handled"),
            told.get("handler_failures"),
            told.get("restarts"),
            told.get("handler_ms/p99"),
        )
