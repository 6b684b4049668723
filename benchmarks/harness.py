"""Lets contestants play turn about, each in fresh OS processes, and makes medians of the rounds.

One round plays every contestant of a scenario once, so that a slow minute of the machine hits all
of them; the ratio in the table is the median of the rounds' own ratios.

To add a peer: write its roles in a module of its own, over the mixins of `traffic`, and name it
among the `contestants` of a scenario, guarded by `find_spec` as pyzmq is in `one_way`.
"""

from __future__ import annotations

import multiprocessing
import sys
import threading
import time
import traceback
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from math import nan
from multiprocessing.connection import Connection
from statistics import median
from typing import Any

DEADLINE = 60.0  # seconds; a child that says nothing for so long has lost a message or hangs

Report = Callable[[Any], None]
Values = dict[str, float]


@dataclass(frozen=True)
class Metric:
    what: str
    unit: str
    higher_is_better: bool = True


@dataclass(frozen=True)
class Scenario:
    """What is measured, and by whom.

    Args:
        metrics: by key; every contestant returns a value for each of these keys.
        contestants: by name; called with the seconds to measure for. The first is ours, and is
            compared with each of the others, which are floors or peers.
    """

    name: str
    metrics: Mapping[str, Metric]
    contestants: Mapping[str, Callable[[float], Values]]


class ChildFailed(Exception):
    """A child process raised, died or fell silent."""


class Children:
    """The child processes of one contestant in one round; all are killed at the end."""

    def __init__(self) -> None:
        self._spawn = multiprocessing.get_context("spawn")
        self._children: list[multiprocessing.process.BaseProcess] = []

    def __enter__(self) -> Children:
        return self

    def __exit__(self, *exc_info: object) -> None:
        for child in reversed(self._children):
            child.kill()
            child.join()

    def start(self, role: Callable[..., None], *args: Any) -> Callable[[], Any]:
        """Run `role(report, *args)` in a new process; returns a function that waits for reports."""
        ours, theirs = self._spawn.Pipe()
        child = self._spawn.Process(target=_play, args=(theirs, role, args), daemon=True)
        child.start()
        theirs.close()
        self._children.append(child)
        return lambda: _receive(ours, role.__name__)


def alone(role: Callable[..., None], *args: Any) -> Any:
    """The first report of a role that needs no partner."""
    with Children() as children:
        return children.start(role, *args)()


def _play(connection: Connection, role: Callable[..., None], args: tuple[Any, ...]) -> None:
    try:
        role(connection.send, *args)
    except Exception:
        connection.send(ChildFailed(traceback.format_exc()))
    threading.Event().wait()  # other threads may still be at work; the parent kills us


def _receive(connection: Connection, name: str) -> Any:
    if not connection.poll(DEADLINE):
        raise ChildFailed(f"{name} reported nothing for {DEADLINE:.0f} s")
    try:
        report = connection.recv()
    except EOFError:
        raise ChildFailed(f"{name} died") from None
    if isinstance(report, ChildFailed):
        raise report
    return report


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


@dataclass
class Row:
    """One metric of ours against one other contestant, sample by sample."""

    scenario: str
    metric: Metric
    floor_name: str
    values: list[float]
    floors: list[float]

    @property
    def ratio(self) -> float:
        """How many times as good as the floor: above 1 is better, whatever the unit."""
        pairs = list(zip(self.values, self.floors, strict=True))
        if not self.metric.higher_is_better:
            pairs = [(floor, value) for value, floor in pairs]
        return median(better / worse for better, worse in pairs)


def run(scenario: Scenario, rounds: int, seconds: float) -> list[Row]:
    """Play `rounds` rounds; a contestant that fails gets NaN, and its error goes to stderr."""
    samples: dict[str, list[Values]] = {name: [] for name in scenario.contestants}
    for number in range(rounds):
        for name, play in scenario.contestants.items():
            print(f"{scenario.name} {number + 1}/{rounds}: {name}", file=sys.stderr, flush=True)
            samples[name].append(_one_turn(play, seconds))
    return list(_rows(scenario, samples))


def _one_turn(play: Callable[[float], Values], seconds: float) -> Values:
    try:
        return play(seconds)
    except ChildFailed as error:
        print(error, file=sys.stderr)
        return {}


def _rows(scenario: Scenario, samples: dict[str, list[Values]]) -> Iterator[Row]:
    for key, metric in scenario.metrics.items():
        ours, *floors = ([s.get(key, nan) for s in turns] for turns in samples.values())
        for name, floor in zip(list(samples)[1:], floors, strict=True):
            yield Row(scenario.name, metric, name, ours, floor)
