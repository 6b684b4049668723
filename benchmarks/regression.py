"""The gate: instructions per message on each path, against a baseline that is committed.

    python -m benchmarks.regression check
    python -m benchmarks.regression renew --reason "why the figures have changed"
    python -m benchmarks.regression prove

Instructions are counted by `valgrind --tool=callgrind`, so other programs on the machine do not
matter.  One OS process runs every path a few times; for each path another one runs it many times
more.  The difference of their counts, divided by the messages between, has neither start-up nor
imports in it.  The hash seed is fixed, the clock stands still, the garbage collector is off.
Counts depend on how Python was built and on the processor's kind: for another build than those in
`baseline.json` there is nothing to compare with.
"""

from __future__ import annotations

import argparse
import gc
import json
import os
import platform
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Collection, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from benchmarks.backends import backends
from benchmarks.paths import CHOSEN, MESSAGES, PATHS

BASELINE = Path(__file__).with_name("baseline.json")
BUILD = f"{platform.python_implementation()} {platform.python_version()}, " + ", ".join(
    (platform.python_compiler(), platform.machine())
)
CALLGRIND = ["valgrind", "--tool=callgrind", "--callgrind-out-file=/dev/null"]
FIXED = {"PYTHONHASHSEED": "0"}
FEW = 10  # calls of a path's work, in every process: they specialise Python's bytecode
MORE = {"encode": 1500, "decode": 200, "decode_mixed": 75, "route": 75, "mailbox": 75, "spawn": 15}
"""Calls on top where a path is counted: enough, compiled too, to make little of the 0.3 million
instructions by which processes that do the same can differ."""
TOLERANCE = 0.04  # far above what repeated runs differ by, far below the 10 % that must not pass
SLOWDOWN = 0.1
Counts = dict[str, float]
"""Instructions per message, by path."""


def measure(path: str, slowdown: float) -> None:
    """What one counted process does: every path a few times, and one of them many times more.

    Args:
        path: the path to repeat; empty for none.
        slowdown: the share of work that this path does on top, as if it had become slower.
    """
    gc.disable()
    time.perf_counter = float  # stands still, so that no turn of the loop ends by the clock
    for name, opened in PATHS.items():
        more = MORE[name] if name == path else 0
        with opened(CHOSEN) as work:
            for _ in range(FEW + more + round(more * slowdown)):
                work()


def _program(path: str, slowdown: float) -> str:
    return f"from benchmarks.regression import measure; measure({path!r}, {slowdown})"


def _collected(path: str, slowdown: float, environ: Mapping[str, str]) -> int:
    """The instructions of one counted process."""
    command = [*CALLGRIND, sys.executable, "-c", _program(path, slowdown)]
    done = subprocess.run(command, env=environ, capture_output=True, text=True)
    collected = re.search(r"Collected : (\d+)", done.stderr)
    if done.returncode or collected is None:
        raise RuntimeError(f"{path} could not be measured: {done.stderr[-2000:]}")
    return int(collected[1])


def count_all(
    environ: Mapping[str, str], paths: Collection[str] = PATHS.keys(), slowdown: float = 0.0
) -> Counts:
    """Instructions per message on each of the paths; as many at a time as there are CPUs."""
    with TemporaryDirectory() as bytecode, ThreadPoolExecutor(os.cpu_count()) as pool:
        environ = {**os.environ, **environ, **FIXED, "PYTHONPYCACHEPREFIX": bytecode}
        environ.pop("PYTHONDONTWRITEBYTECODE", None)
        # Compile everything first, what is imported late too: each process must find the same.
        subprocess.run([sys.executable, "-c", _program("", 0.0)], env=environ, check=True)
        counted = pool.map(lambda path: _collected(path, slowdown, environ), ["", *paths])
        few, *many = counted
    return {
        path: (count - few) / (MORE[path] * MESSAGES)
        for path, count in zip(paths, many, strict=True)
    }


def load() -> dict[str, Any]:
    baseline: dict[str, Any] = json.loads(BASELINE.read_text()) if BASELINE.exists() else {}
    return baseline


def verdict(path: str, counted: float, row: Mapping[str, float] | None) -> str:
    """What to say of a path: "slower" fails the gate, nothing else does."""
    if row is None:
        return "no baseline"
    change = counted / row["instructions"] - 1
    if change > row["tolerance"]:
        return "slower"
    return "faster: renew the baseline" if change < -row["tolerance"] else "ok"


def compare(backend: str, counts: Counts) -> list[str]:
    """Print one line per path, and return the paths that got slower."""
    rows = load().get(BUILD, {}).get(backend, {}).get("rows", {})
    verdicts = {path: verdict(path, counted, rows.get(path)) for path, counted in counts.items()}
    for path, said in verdicts.items():
        row = rows.get(path)
        change = f"{counts[path] / row['instructions'] - 1:+.2%}" if row else ""
        print(f"{backend:24}{path:14}{counts[path]:10.1f} instructions  {change:>8}  {said}")
    return [path for path, said in verdicts.items() if said == "slower"]


def check() -> int:
    """Compare with the baseline."""
    slower = [
        path for name, environ in backends().items() for path in compare(name, count_all(environ))
    ]
    print(f"{BUILD}: {'slower: ' + ', '.join(slower) if slower else 'nothing is slower'}")
    return int(bool(slower))


def renew(reason: str) -> int:
    """Make what is measured now the baseline of this build of Python; others stay."""
    baseline = load()
    for name, environ in backends().items():
        counts = count_all(environ)
        compare(name, counts)
        baseline.setdefault(BUILD, {})[name] = {
            "date": time.strftime("%Y-%m-%d"),
            "reason": reason,
            "rows": {
                path: {"instructions": round(counted, 1), "tolerance": TOLERANCE}
                for path, counted in counts.items()
            },
        }
    BASELINE.write_text(json.dumps(baseline, indent=2, sort_keys=True) + "\n")
    return 0


def prove(runs: int, noise: int) -> int:
    """Show that the gate stays shut to an encoder that does 10 % more work, and open in noise.

    Args:
        runs: how often to ask for both verdicts.
        noise: how many busy processes run meanwhile.
    """
    name, environ = next(iter(backends().items()))
    busy = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(noise)]
    try:
        wrong = 0
        for run in range(runs):
            print(f"run {run + 1} of {runs}: as it is, then with an encoder that does 10 % more")
            wrong += bool(compare(name, count_all(environ)))
            wrong += not compare(name, count_all(environ, ["encode"], SLOWDOWN))
    finally:
        for process in busy:
            process.kill()
            process.wait()
    print(f"wrong verdicts: {wrong} of {2 * runs}")
    return int(bool(wrong))


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.regression", description=__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("check", help=check.__doc__)
    renewing = commands.add_parser("renew", help=renew.__doc__)
    renewing.add_argument("--reason", required=True)
    proving = commands.add_parser("prove", help="show that the gate catches and does not flap")
    proving.add_argument("--runs", type=int, default=20, metavar="N")
    proving.add_argument("--noise", type=int, default=2, metavar="N", help="busy processes")
    options = parser.parse_args()

    if not shutil.which("valgrind"):
        print("valgrind is not installed (Debian's package valgrind)")
        return 1
    if options.command == "check":
        return check()
    if options.command == "renew":
        return renew(options.reason)
    return prove(options.runs, options.noise)


if __name__ == "__main__":
    sys.exit(main())
