"""``python -m tests.testing.digests 200``: the digests of so many seeds, each run twice.

What it prints must be the same on every machine, Python, backend and ``PYTHONHASHSEED``; its end
is 1 if a seed has two.
"""

from __future__ import annotations

import logging
import sys

from tests.reliability import simulated_links
from tests.reliability.ledger import simulated as simulated_ledger


def digest_of(seed: int) -> str:
    """The digest of one run."""
    run = simulated_ledger.Run(seed) if seed % 2 else simulated_links.Run(seed)
    return run.play().digest


def main() -> int:
    logging.disable(logging.CRITICAL)
    is_same = True
    for seed in range(int(sys.argv[1])):
        first, second = digest_of(seed), digest_of(seed)
        print(seed, first)
        if first != second:
            print(f"seed {seed} again: {second}", file=sys.stderr)
            is_same = False
    return not is_same


if __name__ == "__main__":
    sys.exit(main())
