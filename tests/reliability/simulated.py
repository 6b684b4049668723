"""``python -m tests.reliability.simulated``: the ledger and the model of links on simulated hosts.

Each seed is a run of both; a line for each that fails, and the totals.  The same seed gives the
same run, event for event.
"""

from __future__ import annotations

import argparse
import logging
import os
import sys
import time
from collections import Counter
from concurrent.futures import ProcessPoolExecutor

from tests.reliability import simulated_links
from tests.reliability.ledger import simulated as simulated_ledger

_BATCH = 50  # seeds that a program takes at a time


def problems_of(seed: int) -> tuple[list[str], dict[str, int]]:
    """What is wrong with the runs of a seed, and its messages by what became of them."""
    problems = [f"links: {problem}" for problem in simulated_links.run(seed)]
    book = simulated_ledger.run(seed)
    problems += [f"ledger: {problem}" for problem in book.problems()]
    return problems, book.totals()


def _batch(seeds: range) -> tuple[dict[int, str], Counter[str]]:
    logging.disable(logging.WARNING)
    failed: dict[int, str] = {}
    totals: Counter[str] = Counter()
    for seed in seeds:
        try:
            problems, found = problems_of(seed)
        except Exception as error:
            failed[seed] = f"{type(error).__name__}: {error}"
            continue
        totals.update(found)
        if problems:
            failed[seed] = f"{len(problems)} problems, such as {problems[0]}"
    return failed, totals


def main() -> int:
    """Make the runs; 1 if any failed."""
    parser = argparse.ArgumentParser(prog="python -m tests.reliability.simulated")
    parser.add_argument("--seed", type=int, default=1, help="the first one")
    parser.add_argument("--runs", type=int, default=10_000, help="how many")
    options = parser.parse_args()
    end = options.seed + options.runs
    batches = [range(seed, min(seed + _BATCH, end)) for seed in range(options.seed, end, _BATCH)]
    failed: list[int] = []
    totals: Counter[str] = Counter()
    started = time.monotonic()
    with ProcessPoolExecutor(os.cpu_count()) as pool:
        for wrong, found in pool.map(_batch, batches):
            totals.update(found)
            for seed, problem in wrong.items():
                failed.append(seed)
                print(f"seed {seed}: {problem}", flush=True)
    seconds = time.monotonic() - started
    print(f"{options.runs} seeds from {options.seed} on, in {seconds:.0f} s; failed: {failed}")
    print(", ".join(f"{what}: {count}" for what, count in totals.items()))
    return bool(failed)


if __name__ == "__main__":
    sys.exit(main())
