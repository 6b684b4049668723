"""A flood meets bounds: nothing is lost silently, memory is bounded, others are answered."""

from __future__ import annotations

import pytest

from tests.reliability.flood import flood

pytestmark = pytest.mark.slow


@pytest.mark.parametrize("waits", [False, True], ids=["sender goes on", "sender waits"])
def test_a_flood_is_handled_or_reported_and_memory_is_bounded(waits: bool) -> None:
    seen = flood(messages=600_000, handle_seconds=15e-6, waits=waits)

    assert seen["handled"] + seen["dead letters"] == 600_000
    assert (seen["dead letters"] == 0) == waits
    before, most = seen["sender MiB, at the start and at most"]
    assert most - before < (24 if waits else 64 + 24)  # parked_high_water_bytes, max_parked_bytes
    assert seen["receiver MiB at most"] < 64
    median, worst = seen["others are answered within ms, median and worst of 100"]
    assert median < 10
    assert worst < 200  # this machine has other things to do
