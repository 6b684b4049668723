"""``python -m tests.reliability.ledger``: many runs, a line for each that fails, and the totals."""

from __future__ import annotations

import argparse
import logging
import sys
import time
from collections import Counter

from tests.reliability.ledger import contexts, programs


def main() -> int:
    """Make the runs; 1 if any failed."""
    parser = argparse.ArgumentParser(prog="python -m tests.reliability.ledger")
    parser.add_argument("--seed", type=int, default=1, help="the number of the first run")
    parser.add_argument("--runs", type=int, default=1000, help="how many")
    parser.add_argument("--kill", action="store_true", help="programs, which are killed")
    options = parser.parse_args()
    run = programs.run if options.kill else contexts.run
    logging.disable(logging.WARNING)
    totals: Counter[str] = Counter()
    failed = []
    started = time.monotonic()
    for seed in range(options.seed, options.seed + options.runs):
        book = run(seed)
        totals.update(book.totals())
        problems = list(book.problems())
        if problems:
            failed.append(seed)
            print(f"run {seed}: {len(problems)} problems, such as {problems[0]}", flush=True)
    seconds = time.monotonic() - started
    print(f"{options.runs} runs from {options.seed} on, in {seconds:.0f} s; failed: {failed}")
    print(", ".join(f"{what}: {count}" for what, count in totals.items()))
    return bool(failed)


if __name__ == "__main__":
    sys.exit(main())
