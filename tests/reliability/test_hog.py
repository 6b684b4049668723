"""Whatever one connection floods with, others are answered."""

from __future__ import annotations

import statistics

import pytest

from tests.reliability.hog import KINDS, times

pytestmark = pytest.mark.slow


@pytest.mark.parametrize("kind", KINDS)
def test_others_are_answered_while_one_connection_floods(kind: str) -> None:
    found = times(kind, seconds=1)
    assert statistics.median(found) < 0.01
    assert found[-1] < 0.2  # this machine has other things to do
