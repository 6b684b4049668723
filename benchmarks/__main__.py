"""Runs the scenarios and prints one table; exits with 1 if a contestant failed."""

from __future__ import annotations

import argparse
import json
import os
import platform
import sys
import time
from dataclasses import asdict
from importlib.metadata import PackageNotFoundError, version
from math import isnan
from pathlib import Path
from statistics import median

import compactor
from benchmarks import crowd, lifecycle, local, one_way, ping_pong
from benchmarks.harness import Row, run

SCENARIOS = (
    one_way.SCENARIO,
    ping_pong.SCENARIO,
    local.HANDLER,
    local.THREAD,
    lifecycle.SPAWN,
    lifecycle.IDLING,
    crowd.SCENARIO,
)
FOOTNOTE = """\
Medians over the rounds. ratio: how many times as good as the floor (above 1 is better, whatever
the unit), median of the rounds' own ratios. spread: (max - min) / median, of value and of floor."""


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="short rounds: a smoke test")
    parser.add_argument("--only", action="append", choices=[s.name for s in SCENARIOS])
    parser.add_argument("--rounds", type=int, default=5, metavar="N")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write every sample, too")
    options = parser.parse_args()

    rows: list[Row] = []
    for scenario in SCENARIOS:
        if not options.only or scenario.name in options.only:
            rows += run(scenario, options.rounds, 0.4 if options.quick else 2.0)
    print(table(rows))
    print(FOOTNOTE)
    print(" ".join(f"{key}={value}" for key, value in machine().items()))
    if options.json:
        samples = [{**asdict(row), "ratio": row.ratio} for row in rows]
        options.json.write_text(json.dumps({"machine": machine(), "rows": samples}, indent=1))
    return int(any(isnan(row.ratio) for row in rows))


def table(rows: list[Row]) -> str:
    lines = [("what", "value", "unit", "floor", "of", "ratio", "spread")]
    for row in rows:
        values, floors = median(row.values), median(row.floors)
        spreads = f"{spread(row.values)} / {spread(row.floors)}"
        ratio = number(row.ratio)
        ours = (row.metric.what, number(values), row.metric.unit)
        lines.append((*ours, number(floors), row.floor_name, ratio, spreads))
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    return "\n".join(
        "  ".join(
            cell.rjust(width) if index in (1, 3, 5, 6) else cell.ljust(width)
            for index, (cell, width) in enumerate(zip(line, widths, strict=True))
        ).rstrip()
        for line in lines
    )


def number(value: float) -> str:
    if isnan(value):
        return "-"
    return f"{value:,.0f}" if value >= 100 else f"{value:#.3g}"


def spread(samples: list[float]) -> str:
    middle = median(samples)
    return "-" if isnan(middle) else f"{(max(samples) - min(samples)) / middle:.0%}"


def machine() -> dict[str, str]:
    """What the numbers depend on."""
    return {
        "date": time.strftime("%Y-%m-%d"),
        "python": platform.python_version(),
        "machine": platform.machine(),
        "cpus": str(os.cpu_count()),
        "compactor": compactor.__version__,
        **{name: installed(name) for name in ("uvloop", "httptools", "pyzmq")},
    }


def installed(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return "none"


if __name__ == "__main__":
    sys.exit(main())
