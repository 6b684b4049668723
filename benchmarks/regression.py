"""The gate: instructions per message on each path, against a baseline that is committed.

    python -m benchmarks.regression check
    python -m benchmarks.regression renew --reason "why the figures have changed"
    python -m benchmarks.regression prove

Instructions, see `counting`, do not depend on what else the machine does.  They do depend on the
interpreter, valgrind, the compiler and the processor's kind: `baseline.json` names all but the
last, and where there are no figures for what is here, `check` says so and lets everything pass.
"""

from __future__ import annotations

import argparse
import json
import random
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from statistics import median
from typing import Any

from benchmarks.counting import CannotCount, Counts, build, count
from compactor.runtime import hot_path

BASELINE = Path(__file__).with_name("baseline.json")
TOLERANCE = 0.04  # of a new row: twice what other hash seeds do, and far below what must not pass
SLOWDOWN = 0.1  # which must not pass
ENCODERS = {"append", "encode"}  # the paths that the encoder is alone on
Row = Mapping[str, float]


class NoBaseline(Exception):
    """There is nothing to compare with."""


def load() -> dict[str, Any]:
    """For each backend and build: when and why, and the rows by path."""
    baseline: dict[str, Any] = json.loads(BASELINE.read_text()) if BASELINE.exists() else {}
    return baseline


def rows_of(kind: str) -> dict[str, Row]:
    """The baseline of a backend, for what is here.

    Raises:
        CannotCount: it cannot be measured here.
        NoBaseline: it was measured elsewhere only.
    """
    here, known = build(kind), load().get(kind, {})
    if here not in known:
        raise NoBaseline(
            f"this is {here}; baseline.json has figures for {'; '.join(known) or 'nothing'}"
        )
    rows: dict[str, Row] = known[here]["rows"]
    return rows


def verdict(counted: float, row: Row | None) -> str:
    """What to say of a path: "slower" fails the gate, nothing else does."""
    if row is None:
        return "no baseline: renew it"
    change = counted / row["instructions"] - 1
    if change > row["tolerance"]:
        return "slower"
    return "faster: renew the baseline" if change < -row["tolerance"] else "ok"


def compare(kind: str, counts: Counts, rows: Mapping[str, Row]) -> set[str]:
    """Print one line per path, and return the paths that got slower."""
    slower = set()
    for path, counted in counts.items():
        row, said = rows.get(path), verdict(counted, rows.get(path))
        print(f"{kind:8}{path:14}{counted:10.1f} instructions", end="")
        if row is not None:
            change = counted / row["instructions"] - 1
            print(f"  {change:+8.2%} of {row['tolerance']:.0%}", end="")
        print(f"  {said}")
        if said == "slower":
            slower.add(path)
    return slower


def check() -> int:
    """Compare with the baseline; 1 if a path takes more instructions than it tolerates."""
    baselines: dict[str, dict[str, Row]] = {}
    for kind in hot_path.PACKAGES:
        try:
            baselines[kind] = rows_of(kind)
        except (CannotCount, NoBaseline) as reason:
            print(f"{kind:8}skipped: {reason}")
    slower = [
        f"{path} ({kind})"
        for kind, counts in count_each(baselines).items()
        for path in compare(kind, counts, baselines[kind])
    ]
    if slower:
        print(f"slower: {', '.join(slower)}; if it must be, renew the baseline with the reason")
    return int(bool(slower))


def count_each(kinds: Mapping[str, object]) -> dict[str, Counts]:
    """Count the paths of some backends at the same time."""
    with ThreadPoolExecutor() as pool:
        return dict(zip(kinds, pool.map(count, kinds), strict=True))


def renew(reason: str) -> int:
    """Make what is measured now the baseline for what is here; tolerances and other builds stay."""
    baseline = load()
    builds = {}
    for kind in hot_path.PACKAGES:
        try:
            builds[kind] = build(kind)
        except CannotCount as why:
            print(f"{kind:8}stays as it is: {why}")
    for kind, counts in count_each(builds).items():
        old = baseline.get(kind, {}).get(builds[kind], {}).get("rows", {})
        compare(kind, counts, old)
        baseline.setdefault(kind, {})[builds[kind]] = {
            "date": time.strftime("%Y-%m-%d"),
            "reason": reason,
            "rows": {
                path: {
                    "instructions": round(counted, 1),
                    "tolerance": old.get(path, {}).get("tolerance", TOLERANCE),
                }
                for path, counted in counts.items()
            },
        }
    BASELINE.write_text(json.dumps(baseline, indent=2, sort_keys=True) + "\n")
    return int(not builds)


def prove(kind: str, runs: int, busy: int) -> int:
    """Show that the gate stays shut to an encoder that does 10 % more, and open in noise.

    Noise is: busy processes beside it, another hash seed and other addresses in every run.

    Args:
        runs: how many noisy runs.
        busy: how many busy processes.
    """
    try:
        rows = rows_of(kind)
    except (CannotCount, NoBaseline) as reason:
        print(f"{kind:8}cannot be proved: {reason}")
        return 1
    with busy_processes(busy):
        print(f"with an encoder that does {SLOWDOWN:.0%} more:")
        slower = compare(kind, count(kind, slowdown=SLOWDOWN), rows)
        samples = []
        for run in range(runs):
            samples.append(count(kind, environ=noise()))
            wrong = [path for path in rows if verdict(samples[-1][path], rows[path]) != "ok"]
            print(f"noisy run {run + 1} of {runs}: {', '.join(wrong) or 'ok'}", flush=True)
    print(f"{kind}, {runs} noisy runs of {build(kind)}:")
    flapped = 0
    for path, row in rows.items():
        counts = [sample[path] for sample in samples]
        wrong = [path for counted in counts if verdict(counted, row) != "ok"]
        flapped += len(wrong)
        spread = (max(counts) - min(counts)) / median(counts)
        print(
            f"{path:14}{median(counts):10.1f} instructions  spread {spread:6.2%}"
            f"  tolerance {row['tolerance']:.0%}  wrong {len(wrong)}"
        )
    is_caught = slower == ENCODERS
    print(f"the slow encoder was {'caught' if is_caught else 'not caught, or not alone'}")
    print(f"wrong verdicts in noise: {flapped} of {runs * len(rows)}")
    return int(not is_caught or flapped > 0)


def noise() -> dict[str, str]:
    """What moves hashes and addresses."""
    return {
        "PYTHONHASHSEED": str(random.randrange(1, 2**32)),
        "PADDING": "x" * random.randrange(8192),  # the stack begins below the environment
    }


@contextmanager
def busy_processes(number: int) -> Iterator[None]:
    program = "import os\nparent = os.getppid()\nwhile os.getppid() == parent: pass"
    busy = [subprocess.Popen([sys.executable, "-c", program]) for _ in range(number)]
    try:
        yield
    finally:
        for process in busy:
            process.kill()
            process.wait()


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.regression", description=__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("check", help="fail if a path got slower")
    renewing = commands.add_parser("renew", help="make what is measured now the baseline")
    renewing.add_argument("--reason", required=True)
    proving = commands.add_parser("prove", help="show that the gate catches and does not flap")
    proving.add_argument("--backend", choices=hot_path.PACKAGES, help="default: both")
    proving.add_argument("--runs", type=int, default=20, metavar="N", help="default: 20")
    proving.add_argument("--busy", type=int, default=2, metavar="N", help="busy processes beside")
    options = parser.parse_args()
    if options.command == "check":
        return check()
    if options.command == "renew":
        return renew(options.reason)
    kinds = [options.backend] if options.backend else list(hot_path.PACKAGES)
    return max(prove(kind, options.runs, options.busy) for kind in kinds)


if __name__ == "__main__":
    sys.exit(main())
