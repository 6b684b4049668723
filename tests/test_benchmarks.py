"""The benchmark harness itself: who plays, what a row says, what the gate lets through."""

from __future__ import annotations

import argparse
import itertools
import json
import os
import shutil
import sys
from math import isnan
from pathlib import Path

import pytest

from benchmarks import counting, one_way, ratios, regression
from benchmarks.__main__ import SCENARIOS, measure
from benchmarks.ask_paths import PATHS
from benchmarks.backends import OURS, PURE, PURE_ENVIRON, backends
from benchmarks.children import ChildFailed, Children
from benchmarks.harness import Contestant, Metric, Scenario, Target, run
from benchmarks.meters import percentiles, rate_of
from benchmarks.report import as_json, results_of, rows_of, summary, table
from benchmarks.traffic import SIZES, load_of
from compactor.runtime import hot_path
from compactor.system import clock
from tests.interop.programs import Unavailable


def scenario(metric: Metric, ours: float, **others: float) -> Scenario:
    def plays(value: float):
        return lambda children, seconds: {"key": value}

    contestants = {name: Contestant(plays(value)) for name, value in others.items()}
    return Scenario("toy", {"key": metric}, plays(ours), contestants)


def rows(toy: Scenario, ours: str = "compactor"):
    return list(rows_of(run(toy, {ours: {}}, rounds=1, seconds=0.0)))


@pytest.mark.parametrize(
    ("higher_is_better", "ours", "mark"),
    [(True, 80.0, "met"), (True, 79.0, "missed"), (False, 125.0, "met"), (False, 126.0, "missed")],
)
def test_target_is_a_ratio_to_the_floor_of_the_same_run(higher_is_better, ours, mark):
    metric = Metric("toy", "toys", higher_is_better, targets=(Target(0.8, "floor"),))
    (row,) = rows(scenario(metric, ours, floor=100.0))
    assert row.mark == mark


def test_plain_figure_is_a_target_too_and_peers_without_a_target_follow():
    metric = Metric("toy", "toys", targets=(Target(value=50.0),))
    ours, peer = rows(scenario(metric, 100.0, peer=25.0))
    assert (ours.floor, ours.ratio, ours.mark) == ("target", 2.0, "met")
    assert (peer.floor, peer.ratio, peer.mark) == ("peer", 4.0, "")


def test_pure_python_has_a_target_of_its_own_where_one_is_given():
    metric = Metric("toy", "toys", targets=(Target(1.6, "peer", pure=0.4),))
    assert rows(scenario(metric, 0.5, peer=1.0))[0].mark == "missed"
    assert rows(scenario(metric, 0.5, peer=1.0), PURE)[0].mark == "met"


def test_contestant_that_cannot_run_here_is_named_as_missing():
    def absent(children, seconds):
        raise Unavailable("no such interpreter")

    metric = Metric("toy", "toys", targets=(Target(0.8, "peer"),))
    toy = Scenario("toy", {"key": metric}, lambda *_: {"key": 1.0}, {"peer": Contestant(absent)})
    result = run(toy, {"compactor": {}}, rounds=2, seconds=0.0)
    (row,) = rows_of(result)
    assert (isnan(row.ratio), row.mark, result.has_failed) == (True, "", False)
    text = table([row]) + summary([result], [row])
    assert "missing: peer: no such interpreter" in text
    assert json.loads(json.dumps(as_json([result], [row], {})))["missing"] == result.missing


def test_contestant_that_fails_has_no_value_and_is_told_apart(capsys):
    def failing(children, seconds):
        raise ChildFailed("it broke")

    toy = Scenario("toy", {"key": Metric("toy", "toys")}, failing)
    result = run(toy, {"compactor": {}}, rounds=1, seconds=0.0)
    assert result.has_failed
    assert "it broke" in capsys.readouterr().err


PROGRAM = """
import json, os, sys
print(json.dumps(os.environ.get("TOY")))
print(json.dumps(sys.argv[1:]))
print("last words", file=sys.stderr)
"""


def test_program_reports_lines_of_json_and_has_the_variables_of_its_contestant():
    with Children({"TOY": "set"}) as children:
        receive = children.start_program([sys.executable, "-c", PROGRAM, "sink"])
        assert receive() == "set"
        assert receive() == ["sink"]
        with pytest.raises(ChildFailed, match="last words"):
            receive()
    assert "TOY" not in os.environ


def test_rate_and_percentiles():
    counts = iter(range(0, 10**9, 1000))
    assert rate_of(lambda: next(counts), 0.001) > 0
    trips = percentiles([n * 1e-6 for n in range(1000)])
    assert trips == pytest.approx({"p50": 500, "p90": 900, "p99": 990, "p99.9": 999})


@pytest.mark.parametrize("size", SIZES.values(), ids=SIZES)
def test_loads_keep_a_source_going(size):
    load = load_of(size)
    assert load.ack_every + load.burst <= load.window


def test_one_way_from_end_to_end():
    own = Scenario("one_way", one_way.SCENARIO.metrics, one_way.play)
    result = run(own, {PURE: PURE_ENVIRON}, rounds=1, seconds=0.05)
    assert result.samples[PURE][0]["rate"] > 0
    assert not result.has_failed


def test_names_of_scenarios_differ_and_floors_play():
    assert len({scenario.name for scenario in SCENARIOS}) == len(SCENARIOS)
    for each in SCENARIOS:
        for metric in each.metrics.values():
            for target in metric.targets:
                assert not target.floor or target.floor in each.others
                assert not target.key or target.key in each.metrics
                assert target.value or target.floor or target.key


def test_pure_python_is_among_the_backends():
    assert backends()[PURE] == PURE_ENVIRON


def test_samples_that_were_written_down_make_the_same_rows(tmp_path):
    metric = Metric("toy", "toys", targets=(Target(0.8, "floor"),))
    toy = scenario(metric, 80.0, floor=100.0)
    result = run(toy, {OURS: {}, PURE: {}}, rounds=2, seconds=0.0)
    text = json.dumps(as_json([result], list(rows_of(result)), {}))
    (read,) = results_of(json.loads(text), [toy, Scenario("not run", {}, toy.ours)])
    assert list(rows_of(read)) == list(rows_of(result))


def test_smoke_run_installs_no_interpreter():
    toy = scenario(Metric("toy", "toys"), 1.0, near=1.0)
    far = {"far": Contestant(toy.ours, is_foreign=True)}
    both = Scenario(toy.name, toy.metrics, toy.ours, {**toy.others, **far})
    assert list(both.without_foreign().others) == ["near"]
    foreign = {name for s in SCENARIOS for name, c in s.others.items() if c.is_foreign}
    assert {"casty", "xoscar", "compactor 0.3.0", "casty ask", "xoscar call"} <= foreign


@pytest.fixture
def ratio_file(monkeypatch, tmp_path):
    file = tmp_path / "ratios.json"
    monkeypatch.setattr(ratios, "FILE", file)
    return file


def test_ratio_fails_only_when_it_fell_by_more_than_it_tolerates(ratio_file, capsys):
    metric = Metric("toy", "toys", targets=(Target(0.8, "floor"),))
    ratios.renew(rows(scenario(metric, 100.0, floor=100.0)), "first", {})
    (row,) = json.loads(ratio_file.read_text())["rows"]
    assert row["ratio"] == 1
    assert row["tolerance"] == ratios.TOLERANCE
    for ours, status in ((61.0, 0), (59.0, 1), (200.0, 0)):
        assert ratios.check(rows(scenario(metric, ours, floor=100.0))) == status
    said = capsys.readouterr().out
    assert [line.split()[0] for line in said.splitlines()] == [
        *("ok", "ratios:", "fell", "ratios:", "rose:", "ratios:")
    ]


def test_a_check_that_compares_nothing_fails(ratio_file):
    assert ratios.check(rows(scenario(Metric("toy", "toys"), 1.0, floor=1.0))) == 1


def test_plain_targets_are_no_floors_of_the_same_run(ratio_file):
    metric = Metric("toy", "toys", targets=(Target(value=50.0),))
    assert [key for key, _ in ratios.measured(rows(scenario(metric, 1.0, peer=1.0)))] == [
        ("toy", "compactor", "peer")
    ]


def test_renewing_ratios_keeps_tolerances_and_what_was_not_measured(ratio_file):
    metric = Metric("toy", "toys")
    ratios.renew(rows(scenario(metric, 1.0, floor=1.0, peer=1.0)), "first", {})
    saved = json.loads(ratio_file.read_text())
    for row in saved["rows"]:
        row["tolerance"] = 0.1
    ratio_file.write_text(json.dumps(saved))
    ratios.renew(rows(scenario(metric, 3.0, floor=1.0)), "better", {})
    saved = json.loads(ratio_file.read_text())
    assert saved["reason"] == "better"
    assert {row["floor"]: (row["ratio"], row["tolerance"]) for row in saved["rows"]} == {
        "floor": (3.0, 0.1),
        "peer": (1.0, 0.1),
    }


def test_committed_ratios_are_of_rows_that_there_are():
    whats = {metric.what for s in SCENARIOS for metric in s.metrics.values()}
    floors = {name for s in SCENARIOS for name in s.others} | whats
    assert ratios.load()["reason"]
    for what, contestant, floor in ratios.known():
        assert what in whats
        assert contestant in (OURS, PURE)
        assert floor in floors


@pytest.mark.parametrize("kind", hot_path.PACKAGES)
@pytest.mark.parametrize("name", ["receive", "request"])
def test_path_works_on_a_machine_that_is_slow(name, kind, monkeypatch):
    """The time of a turn is over before the block is served."""
    try:
        backend = hot_path.backend(kind)
    except ImportError:
        pytest.skip("there are no extensions here")
    a_second_each = map(float, itertools.count()).__next__
    monkeypatch.setattr(clock, "now", a_second_each)
    with PATHS[name](backend) as work:
        work()
        work()


@pytest.mark.parametrize("kind", hot_path.PACKAGES)
@pytest.mark.parametrize("name", PATHS)
def test_path_works_more_than_once(name, kind):
    try:
        backend = hot_path.backend(kind)
    except ImportError:
        pytest.skip("there are no extensions here")
    before = hot_path.chosen
    with PATHS[name](backend) as work:
        assert hot_path.chosen is before
        work()
        work()


def test_gate_fails_only_what_got_slower_than_its_tolerance():
    row = {"instructions": 1000.0, "tolerance": 0.04}
    assert regression.verdict(1041.0, row) == "slower"
    assert regression.verdict(1039.0, row) == "ok"
    assert regression.verdict(959.0, row).startswith("faster")
    assert regression.verdict(900.0, None).startswith("no baseline")


def test_baseline_knows_every_path_and_the_reason_for_its_figures():
    assert set(regression.load()) == set(hot_path.PACKAGES)
    for builds in regression.load().values():
        for baseline in builds.values():
            assert baseline["reason"]
            assert set(baseline["rows"]) == set(PATHS)


def gate(monkeypatch, tmp_path, counts, baseline):
    """Has `regression` count and know what it is told here."""
    file = tmp_path / "baseline.json"
    file.write_text(json.dumps(baseline))
    monkeypatch.setattr(regression, "BASELINE", file)
    monkeypatch.setattr(regression, "build", lambda kind: "here")
    monkeypatch.setattr(regression, "count", lambda kind: counts[kind])
    return file


def baseline_of(build, **instructions):
    rows = {path: {"instructions": n, "tolerance": 0.04} for path, n in instructions.items()}
    return {build: {"date": "2026-01-01", "reason": "a test", "rows": rows}}


def test_check_fails_if_one_path_of_one_backend_is_slower(monkeypatch, tmp_path, capsys):
    baseline = {
        "python": baseline_of("here", encode=100.0, decode=100.0),
        "cython": baseline_of("here", encode=10.0),
    }
    counts = {"python": {"encode": 100.0, "decode": 96.5}, "cython": {"encode": 10.3}}
    gate(monkeypatch, tmp_path, counts, baseline)
    assert regression.check() == 0
    counts["cython"]["encode"] = 10.5
    assert regression.check() == 1
    assert "slower: encode (cython)" in capsys.readouterr().out


def test_check_skips_what_was_measured_on_another_build(monkeypatch, tmp_path, capsys):
    baseline = {"python": baseline_of("elsewhere", encode=1.0)}
    gate(monkeypatch, tmp_path, {}, baseline)
    assert regression.check() == 0
    said = capsys.readouterr().out
    assert "python  skipped: this is here; baseline.json has figures for elsewhere" in said
    assert "cython  skipped: this is here; baseline.json has figures for nothing" in said


def test_check_skips_where_valgrind_is_missing(monkeypatch, capsys):
    monkeypatch.setenv("PATH", "")
    assert regression.check() == 0
    assert capsys.readouterr().out.count("skipped: valgrind is not installed") == 2


def test_renewing_keeps_tolerances_and_other_builds_and_says_why(monkeypatch, tmp_path):
    baseline = {"python": baseline_of("here", encode=100.0) | baseline_of("elsewhere", encode=1.0)}
    baseline["python"]["here"]["rows"]["encode"]["tolerance"] = 0.01
    counts = {"python": {"encode": 120.0}, "cython": {"encode": 12.0}}
    file = gate(monkeypatch, tmp_path, counts, baseline)
    assert regression.renew("it does more") == 0
    renewed = json.loads(file.read_text())
    assert renewed["python"]["elsewhere"] == baseline["python"]["elsewhere"]
    assert renewed["python"]["here"]["reason"] == "it does more"
    assert renewed["python"]["here"]["rows"]["encode"] == {"instructions": 120.0, "tolerance": 0.01}
    assert renewed["cython"]["here"]["rows"]["encode"]["tolerance"] == regression.TOLERANCE


@pytest.mark.skipif(not shutil.which("valgrind"), reason="valgrind is not installed")
@pytest.mark.timeout(300)  # under valgrind Python starts slowly
@pytest.mark.slow
def test_counts_are_those_of_the_path_and_see_a_slower_encoder():
    counted, slower = counting.counts("python", ["encode", "send"], [0.0, 0.1])
    assert list(counted) == ["encode", "send"]
    assert 500 < counted["encode"] < counted["send"] < 50_000
    assert 1.08 < slower["encode"] / counted["encode"] < 1.12
    assert slower["send"] / counted["send"] == pytest.approx(1, abs=0.02)


def test_callgrind_that_fails_is_an_error_and_no_figure(tmp_path, monkeypatch):
    broken = tmp_path / "valgrind"
    broken.write_text("#!/bin/sh\necho it broke >&2\nexit 3\n")
    broken.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    with pytest.raises(counting.CannotCount, match="valgrind ended with 3: it broke"):
        counting.count("python", ["encode"])


def test_a_source_tree_without_extensions_says_so_once(monkeypatch, capsys):
    def missing(kind):
        raise ImportError(f"no {kind} here")

    monkeypatch.setattr(hot_path, "backend", missing)
    measure(argparse.Namespace(quick=True, smoke=False, rounds=1, only=["nothing"]))
    said = capsys.readouterr().err
    assert said.count("There are no compiled extensions here") == 1
    if (Path(hot_path.__file__).parents[2] / "setup.py").is_file():
        assert "python setup.py build_ext --inplace" in said
