"""Runs the scenarios and prints one table; exits with 1 if a contestant failed."""

from __future__ import annotations

import argparse
import json
import os
import platform
import sys
import time
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import compactor
from benchmarks import (
    asking,
    bodies,
    clusters,
    crowd,
    dispatching,
    lifecycle,
    local,
    one_way,
    ping_pong,
    pipelined,
    protobuf,
    ratios,
    senders,
    simulated,
    tls,
    typed,
    web,
)
from benchmarks.backends import backends
from benchmarks.harness import Result, run
from benchmarks.plots import plot_all
from benchmarks.report import FOOTNOTE, Row, as_json, results_of, rows_of, summary, table
from compactor.cli.source_tree import stale, without_extensions

SCENARIOS = (
    one_way.SCENARIO,
    bodies.SCENARIO,
    ping_pong.SCENARIO,
    pipelined.SCENARIO,
    senders.SCENARIO,
    tls.SCENARIO,
    local.HANDLER,
    local.THREAD,
    dispatching.SCENARIO,
    asking.SCENARIO,
    web.SCENARIO,
    lifecycle.SPAWN,
    lifecycle.THREAD_SPAWN,
    lifecycle.RESTART,
    lifecycle.IDLING,
    crowd.SCENARIO,
    protobuf.SCENARIO,
    typed.SCENARIO,
    simulated.SCENARIO,
    clusters.SCENARIO,
)
NAMES = [scenario.name for scenario in SCENARIOS]


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    length = parser.add_mutually_exclusive_group()
    length.add_argument("--quick", action="store_true", help="one short round")
    length.add_argument(
        "--smoke", action="store_true", help="the shortest one, of one backend, without peers"
    )
    parser.add_argument("--only", action="append", choices=NAMES, help="may be repeated")
    parser.add_argument("--rounds", type=int, metavar="N", help="default: 5, or 1 short one")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write every sample, too")
    parser.add_argument("--plot", type=Path, metavar="DIR", help="draw PNG and SVG files there")
    parser.add_argument("--from", type=Path, dest="file", metavar="FILE", help="of --json: no run")
    parser.add_argument("--check", action="store_true", help="fail if a ratio in ratios.json fell")
    parser.add_argument("--renew", metavar="REASON", help="write the ratios to ratios.json")
    options = parser.parse_args()
    if options.file:
        saved = json.loads(options.file.read_text())
        results, where = results_of(saved, SCENARIOS), saved["machine"]
    else:
        results, where = measure(options), machine()
    rows = [row for result in results for row in rows_of(result)]
    show(results, rows, where)
    if options.json:
        options.json.write_text(json.dumps(as_json(results, rows, where), indent=1))
    if options.plot:
        for file in plot_all(results, options.plot):
            print(f"drawn: {file}")
    has_failed = any(result.has_failed for result in results)
    if options.check:
        has_failed = bool(ratios.check(rows)) or has_failed
    if options.renew:
        ratios.renew(rows, options.renew, where)
    return int(has_failed)


def measure(options: argparse.Namespace) -> list[Result]:
    is_short = options.quick or options.smoke
    rounds = options.rounds or (1 if is_short else 5)
    seconds = 0.05 if options.smoke else 0.3 if options.quick else 2.0
    for note in filter(None, (without_extensions(), stale())):
        print(note, file=sys.stderr)
    kinds = backends()
    if options.smoke:
        kinds = dict([*kinds.items()][:1])
    return [
        run(scenario.without_foreign() if options.smoke else scenario, kinds, rounds, seconds)
        for scenario in SCENARIOS
        if not options.only or scenario.name in options.only
    ]


def show(results: list[Result], rows: list[Row], where: dict[str, str]) -> None:
    print(table(rows))
    print(FOOTNOTE)
    print(summary(results, rows))
    print(" ".join(f"{key}={value}" for key, value in where.items()))


def machine() -> dict[str, str]:
    """What the numbers depend on."""
    return {
        "date": time.strftime("%Y-%m-%d"),
        "python": platform.python_version(),
        "machine": platform.machine(),
        "cpus": str(os.cpu_count()),
        "compactor": compactor.__version__,
        **{name: installed(name) for name in ("uvloop", "httptools", "protobuf", "pyzmq", "pykka")},
    }


def installed(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return "none"


if __name__ == "__main__":
    sys.exit(main())
