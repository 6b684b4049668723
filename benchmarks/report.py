"""Results to rows, and rows to a table: ours against each floor, peer and target."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass
from math import isnan, nan
from statistics import median
from typing import Any

from benchmarks.backends import OURS, PURE
from benchmarks.harness import Metric, Result, Scenario, Target

FOOTNOTE = """\
Medians over the rounds. ratio: how many times as good as the floor (above 1 is better, whatever
the unit), median of the rounds' own ratios. target: the ratio to reach. spread: (max - min) /
median, of value and of floor. A floor called "target" is a plain figure for a quiet machine."""


@dataclass
class Row:
    """One metric of one of ours, against one floor; or alone, with no floor."""

    scenario: str
    metric: Metric
    ours: str
    values: list[float]
    floor: str = ""
    floors: list[float] | None = None
    target: float | None = None

    @property
    def ratio(self) -> float:
        """How many times as good as the floor."""
        pairs = list(zip(self.values, self.floors or [], strict=False))
        if not self.metric.higher_is_better:
            pairs = [(floor, value) for value, floor in pairs]
        return _median([better / worse for better, worse in pairs])

    @property
    def mark(self) -> str:
        """Whether the target is met; empty if there is none, or nothing to tell it by."""
        if self.target is None or isnan(self.ratio):
            return ""
        return "met" if self.ratio >= self.target else "missed"

    def as_json(self) -> dict[str, Any]:
        return {
            "scenario": self.scenario,
            "what": self.metric.what,
            "unit": self.metric.unit,
            "contestant": self.ours,
            "value": _median(self.values),
            "floor": self.floor,
            "floor value": _median(self.floors or []),
            "ratio": self.ratio,
            "target": self.target,
            "mark": self.mark,
        }


def rows_of(result: Result) -> Iterator[Row]:
    """For each metric and each of ours: its targets, then the contestants that set none."""
    scenario = result.scenario
    for key, metric in scenario.metrics.items():
        if not metric.in_table:
            continue
        for ours in result.ours:
            row = Row(scenario.name, metric, ours, _samples(result, ours, key))
            compared = [_against(row, result, ours, key, target) for target in metric.targets]
            named = {target.floor for target in metric.targets}
            for other in result.samples:
                if other not in named and other not in result.ours:
                    floors = _samples(result, other, key)
                    compared.append(_with_floor(row, other, floors))
            yield from compared or [row]


def _against(row: Row, result: Result, ours: str, key: str, target: Target) -> Row:
    ratio = target.pure if ours == PURE and target.pure is not None else target.ratio
    if target.value is not None:
        return _with_floor(row, "target", [target.value] * len(row.values), ratio)
    floors = _samples(result, target.floor or ours, target.key or key)
    name = target.floor or result.scenario.metrics[target.key].what
    return _with_floor(row, name, floors, ratio)


def _with_floor(row: Row, name: str, floors: list[float], target: float | None = None) -> Row:
    return Row(row.scenario, row.metric, row.ours, row.values, name, floors, target)


def _samples(result: Result, contestant: str, key: str) -> list[float]:
    return [values.get(key, nan) for values in result.samples.get(contestant, [])]


def table(rows: list[Row]) -> str:
    """The rows under one heading; a cell that repeats the one above it is left empty."""
    heading = ("what", "contestant", "value", "unit", "floor", "value", "ratio", "target")
    lines = [(*heading, "", "spread")]
    above = ("", "")
    for row in rows:
        who = (row.metric.what, row.ours)
        ours = (*who, number(_median(row.values)), row.metric.unit) if who != above else ("",) * 4
        floors = row.floors or []
        goal = "" if row.target is None else f"{row.target:.2f}"
        spreads = f"{spread(row.values)} / {spread(floors)}" if floors else spread(row.values)
        floor = (row.floor, number(_median(floors)) if floors else "")
        ratio = number(row.ratio) if floors else ""
        lines.append((*ours, *floor, ratio, goal, row.mark, spreads))
        above = who
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    return "\n".join(
        "  ".join(
            cell.rjust(width) if index in (2, 5, 6, 7, 9) else cell.ljust(width)
            for index, (cell, width) in enumerate(zip(line, widths, strict=True))
        ).rstrip()
        for line in lines
    )


def summary(results: list[Result], rows: list[Row]) -> str:
    """How many targets are met, and who could not take part and why."""
    marks = [row.mark for row in rows if row.target is not None]
    lines = [
        f"targets: {marks.count('met')} met, {marks.count('missed')} missed, "
        f"{marks.count('')} not to be told"
    ]
    missing = {name: why for result in results for name, why in result.missing.items()}
    lines += [f"missing: {name}: {why}" for name, why in missing.items()]
    return "\n".join(lines)


def as_json(results: list[Result], rows: list[Row], machine: dict[str, str]) -> dict[str, Any]:
    """Everything that was measured, for files and plots."""
    return {
        "machine": machine,
        "rows": [row.as_json() for row in rows],
        "missing": {name: why for result in results for name, why in result.missing.items()},
        "scenarios": {
            result.scenario.name: {
                "metrics": {key: asdict(m) for key, m in result.scenario.metrics.items()},
                "samples": result.samples,
            }
            for result in results
        },
    }


def results_of(saved: Mapping[str, Any], scenarios: Iterable[Scenario]) -> list[Result]:
    """What `as_json` was made from, for scenarios of today."""
    return [
        Result(
            scenario,
            [name for name in (OURS, PURE) if name in samples],
            samples,
            {name: why for name, why in saved["missing"].items() if name in scenario.others},
        )
        for scenario in scenarios
        if (samples := saved["scenarios"].get(scenario.name, {}).get("samples"))
    ]


def _median(samples: list[float]) -> float:
    known = [sample for sample in samples if not isnan(sample)]
    return median(known) if known else nan


def number(value: float) -> str:
    if isnan(value):
        return "-"
    return f"{value:,.0f}" if value >= 100 else f"{value:#.3g}"


def spread(samples: list[float]) -> str:
    known = [sample for sample in samples if not isnan(sample)]
    return f"{(max(known) - min(known)) / median(known):.0%}" if known else "-"
