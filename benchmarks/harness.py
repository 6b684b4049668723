"""Scenarios, the contestants that play them, and the rounds in which they take turns.

One round plays every contestant of a scenario once, each in fresh OS processes, so that a slow
minute of the machine hits all of them.  Ratios are taken within a round.

To add a row: put a `Metric` into a scenario and have its contestants report a value of that key; a
scenario of its own is a module with a `SCENARIO`, listed in `__main__`.  Neither the table nor the
files, ratios and targets need to know of it.

To add a peer: write its roles in a module of its own, over the mixins of `traffic` or as a program
for another interpreter (`peers`), and name it among the `others` of a scenario.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace

from benchmarks.children import ChildFailed, Children, Report
from tests.interop.programs import Unavailable

Values = dict[str, float]
Play = Callable[[Children, float], Values]
Environ = Mapping[str, str]


@dataclass(frozen=True)
class Target:
    """A bound for one metric of ours.

    Args:
        ratio: how many times as good as the floor we have to be, whatever the unit: 0.8 is 0.8
            of its rate, or 1.25 times its latency.
        floor: the contestant that sets the floor; empty for ourselves (with `key`), or for none.
        key: the metric of the floor, if it is another one.
        value: the floor itself, where it is a plain figure for a quiet machine.
        pure: the ratio for the pure Python backend, where it is another one.
    """

    ratio: float = 1.0
    floor: str = ""
    key: str = ""
    value: float | None = None
    pure: float | None = None


@dataclass(frozen=True)
class Metric:
    """One figure that contestants report.

    Args:
        in_table: False for what only the JSON file and the plots show.
    """

    what: str
    unit: str
    higher_is_better: bool = True
    targets: tuple[Target, ...] = ()
    in_table: bool = True


@dataclass(frozen=True)
class Contestant:
    """Who plays, and with which environment variables set for its processes.

    Args:
        is_foreign: whether it runs in another interpreter, which may have to be installed first.
    """

    play: Play
    environ: Environ = field(default_factory=dict)
    is_foreign: bool = False


@dataclass(frozen=True)
class Scenario:
    """What is measured, and by whom.

    Args:
        metrics: by key; a contestant leaves out those that it cannot tell.
        ours: what compactor plays, once with each backend.
        others: floors and peers by name.
    """

    name: str
    metrics: Mapping[str, Metric]
    ours: Play
    others: Mapping[str, Contestant] = field(default_factory=dict)

    def without_foreign(self) -> Scenario:
        """The same without contestants that run in other interpreters."""
        others = {name: other for name, other in self.others.items() if not other.is_foreign}
        return replace(self, others=others)


def alone(role: Callable[[Report, float], None]) -> Play:
    """What a role plays that needs no partner and reports one rate."""
    return lambda children, seconds: {"rate": children.start(role, seconds)()}


@dataclass
class Result:
    """The samples of one scenario, round by round, and who could not deliver any."""

    scenario: Scenario
    ours: list[str]
    samples: dict[str, list[Values]]
    missing: dict[str, str] = field(default_factory=dict)
    has_failed: bool = False


def run(scenario: Scenario, backends: Mapping[str, Environ], rounds: int, seconds: float) -> Result:
    """Play `rounds` rounds.

    A contestant that is not available sits out; one that fails has no values in that round, and
    its error goes to stderr.
    """
    contestants = {
        **{name: Contestant(scenario.ours, environ) for name, environ in backends.items()},
        **scenario.others,
    }
    result = Result(scenario, list(backends), {name: [] for name in contestants})
    for number in range(rounds):
        for name in list(result.samples):
            print(f"{scenario.name} {number + 1}/{rounds}: {name}", file=sys.stderr, flush=True)
            _take_turn(result, name, contestants[name], seconds)
    return result


def _take_turn(result: Result, name: str, contestant: Contestant, seconds: float) -> None:
    values: Values = {}
    try:
        with Children(contestant.environ) as children:
            values = contestant.play(children, seconds)
    except Unavailable as reason:
        result.missing[name] = str(reason)
        del result.samples[name]
        return
    except ChildFailed as error:
        print(error, file=sys.stderr)
        result.has_failed = True
    result.samples[name].append(values)
