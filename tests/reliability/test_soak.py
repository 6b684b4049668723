"""Under mixed load nothing grows; half an hour of it: ``python -m tests.reliability.soak``."""

from __future__ import annotations

import logging
import sys

import pytest

from tests.reliability.soak import Sample, Soak, soak


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="samples are read from /proc")
def test_memory_descriptors_tasks_and_threads_stay_flat_under_mixed_load() -> None:
    logging.disable(logging.WARNING)
    try:
        made = soak(20.0)
    finally:
        logging.disable(logging.NOTSET)
    assert made.growth() == [], made.report()
    counts = made.counts
    assert counts["messages"] > 1000, made.report()
    assert min(counts["programs killed"], counts["contexts replaced"], counts["exits"]) > 0


def test_what_grows_or_is_left_is_noticed() -> None:
    made = Soak(1.0)
    made.samples = [Sample(50, 20, 10, 4 + number) for number in range(10)]
    made.left = Sample(1, 2, 0, 0)
    assert made.growth() == [
        "descriptors: 2 were left at the end",
        "threads grew from 6 to 12",
    ]
