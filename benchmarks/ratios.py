"""The second gate: ratios to the floors of the same run, against those that are committed.

Absolute times say nothing on a shared machine; how we do next to a floor that ran turn about says
something, if the tolerance is wide.  `regression` finds small losses, this one finds large ones
that no single path shows: a wake-up too many, a buffer copied twice.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from math import isnan
from pathlib import Path
from typing import Any

from benchmarks.report import Row, number

FILE = Path(__file__).with_name("ratios.json")
TOLERANCE = 0.4  # of a new row: ratios of quiet runs differ by up to a quarter
TAIL_TOLERANCE = 0.7  # of p99, which one interruption by another program doubles
Key = tuple[str, str, str]
"""What is measured, who plays, and against which floor."""


def load() -> dict[str, Any]:
    """When and why, and the rows."""
    ratios: dict[str, Any] = json.loads(FILE.read_text()) if FILE.exists() else {"rows": []}
    return ratios


def known() -> dict[Key, dict[str, Any]]:
    return {(row["what"], row["contestant"], row["floor"]): row for row in load()["rows"]}


def measured(rows: Iterable[Row]) -> Iterator[tuple[Key, float]]:
    """The ratios of rows that have a floor of the same run."""
    for row in rows:
        if row.floors and row.floor != "target" and not isnan(row.ratio):
            yield (row.metric.what, row.ours, row.floor), row.ratio


def verdict(ratio: float, row: dict[str, Any]) -> str:
    """What to say of a ratio: "fell" fails the gate, nothing else does."""
    change = ratio / row["ratio"] - 1
    if change < -row["tolerance"]:
        return "fell"
    return "rose: renew" if change > row["tolerance"] else "ok"


def check(rows: Iterable[Row]) -> int:
    """Print how the ratios have changed; 1 if one fell by more than it tolerates, or none is known.

    What is known but was not measured now is not looked at.
    """
    baseline = known()
    compared = [(key, ratio) for key, ratio in measured(rows) if key in baseline]
    said = {key: verdict(ratio, baseline[key]) for key, ratio in compared}
    for key, ratio in compared:
        row = baseline[key]
        print(
            f"{said[key]:12}{number(ratio):>7} instead of {number(row['ratio']):>7}, "
            f"tolerated {row['tolerance']:.0%}: {' | '.join(key)}"
        )
    fell = sum(verdict == "fell" for verdict in said.values())
    print(f"ratios: {len(compared)} compared with {FILE.name}, {fell} fell")
    return int(fell > 0 or not compared)


def renew(rows: Iterable[Row], reason: str, machine: dict[str, str]) -> None:
    """Write down the ratios of a run; tolerances, and what it has not measured, stay."""
    kept = known()
    for key, ratio in measured(rows):
        what, contestant, floor = key
        tolerance = TAIL_TOLERANCE if "p99" in what else TOLERANCE
        kept[key] = {
            "what": what,
            "contestant": contestant,
            "floor": floor,
            "ratio": float(f"{ratio:.3g}"),
            "tolerance": kept.get(key, {}).get("tolerance", tolerance),
        }
    ratios = {"machine": machine, "reason": reason, "rows": [kept[key] for key in sorted(kept)]}
    FILE.write_text(json.dumps(ratios, indent=2) + "\n")
