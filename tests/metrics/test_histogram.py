"""Histogram: percentiles within 5 %, bounds that add up, merging, and what samples stand for."""

from __future__ import annotations

import random

import pytest

from compactor.metrics.histogram import BOUNDS, Histogram
from compactor.metrics.samples import Samples


def filled(times: list[float]) -> Histogram:
    histogram = Histogram()
    for seconds in times:
        histogram.record(seconds)
    return histogram


def test_percentiles_are_off_by_five_percent_at_most():
    chance = random.Random(7)
    times = sorted(10 ** chance.uniform(-6, 1) for _ in range(10_000))
    found = dict(filled(times).percentiles())
    for name, share in (("p50", 0.5), ("p90", 0.9), ("p99", 0.99), ("p999", 0.999)):
        assert found[name] == pytest.approx(times[int(share * len(times)) - 1], rel=0.06)


def test_one_time_is_all_its_percentiles():
    assert set(dict(filled([0.0123]).percentiles()).values()) == {0.0123}
    assert not list(Histogram().percentiles())


@pytest.mark.parametrize("seconds", [0.0, 1e-9, 1e6])
def test_times_beyond_all_bounds_are_counted(seconds):
    assert dict(filled([seconds] * 3).percentiles())["p999"] == seconds


def test_weight_counts_for_those_that_a_sample_stands_for():
    histogram = Histogram()
    histogram.record(0.001, 98)
    histogram.record(0.1, 2)
    assert (histogram.count, round(histogram.sum, 6)) == (100, 0.298)
    found = dict(histogram.percentiles())
    assert found["p90"] == pytest.approx(0.001, rel=0.06)
    assert found["p99"] == pytest.approx(0.1, rel=0.06)


def test_merged_is_as_recorded_together():
    some, others = [0.001, 0.002, 5.0], [0.0001, 0.3]
    merged = filled(some)
    merged.merge(filled(others))
    merged.merge(Histogram())
    both = filled(some + others)
    assert list(merged.percentiles()) == list(both.percentiles())
    assert (merged.count, merged.least, merged.most) == (5, 0.0001, 5.0)
    assert merged.sum == pytest.approx(both.sum)


def test_what_is_below_a_bound_includes_the_bound():
    assert {0.001, 0.0025, 0.1, 1.0} <= {round(bound, 9) for bound in BOUNDS}
    bounds = [min(BOUNDS, key=lambda b, wanted=wanted: abs(b - wanted)) for wanted in (0.001, 1.0)]
    assert filled([0.001, 0.5, 1.0, 1.2]).below(bounds) == [1, 3]


def test_samples_are_rare_when_events_are_many_and_each_when_they_are_few():
    samples = Samples()
    assert [samples.taken(n * 1e-5) for n in range(1, 20)][-1] == 1024
    assert [samples.taken(n * 0.01) for n in range(1, 20)][-1] == 1
