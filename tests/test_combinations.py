"""Which combinations of backend and loop a test runs in."""

from __future__ import annotations

import importlib.util
from types import SimpleNamespace
from typing import Any

import pytest

from tests import backends, conftest
from tests.backends import ROOT, is_chosen, why_missing

ALL = {(loop, backend) for loop in ("asyncio", "uvloop") for backend in ("python", "cython")}
PAIRS = {("asyncio", "python"), ("uvloop", "cython")}


def chosen(*marks: str) -> set[Any]:
    """The combinations in which a test with these marks runs."""

    def item(loop: str, backend: str) -> Any:
        callspec = SimpleNamespace(params={"new_loop": loop, "backend": backend})
        return SimpleNamespace(
            callspec=callspec, get_closest_marker=lambda name: name if name in marks else None
        )

    return {combination for combination in ALL if is_chosen(item(*combination))}


@pytest.fixture
def _all_there(monkeypatch: pytest.MonkeyPatch) -> None:
    if why_missing("cython") or importlib.util.find_spec("uvloop") is None:
        pytest.skip("a backend or a loop is missing here")
    monkeypatch.delenv("COMPACTOR_TEST_COMBINATIONS", raising=False)


@pytest.mark.usefixtures("_all_there")
def test_each_backend_and_each_loop_is_met_once_and_in_all_combinations_if_asked_for(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert chosen() == chosen("smoke") == PAIRS
    assert chosen("each_combination") == ALL
    monkeypatch.setenv("COMPACTOR_TEST_COMBINATIONS", "all")
    assert chosen() == ALL


def test_nothing_is_left_out_where_a_loop_or_a_backend_is_missing(
    monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest
) -> None:
    request.addfinalizer(backends._has_both.cache_clear)
    backends._has_both.cache_clear()
    monkeypatch.setattr("tests.backends.why_missing", lambda kind: kind == "cython" and "missing")
    assert chosen() == ALL


def test_a_test_with_one_of_both_runs_on_all_of_that(request: pytest.FixtureRequest) -> None:
    assert is_chosen(request.node)


def processes(**given: Any) -> Any:
    """In how many processes a run is begun, given what its command line says."""
    options = {"collectonly": False, "usepdb": False, "capture": "fd", "numprocesses": None}
    option = SimpleNamespace(**{**options, "dist": "no", "markexpr": "", **given})
    source = pytest.Config.ArgsSource.TESTPATHS
    manager = SimpleNamespace(hasplugin=lambda name: name == "xdist")
    config: Any = SimpleNamespace(option=option, args_source=source, pluginmanager=manager)
    conftest.pytest_cmdline_main(config)
    return option.numprocesses


def test_a_whole_run_uses_all_cores_and_its_processes_start_no_more(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv("PYTEST_XDIST_WORKER", raising=False)
    assert processes() == min(2 * conftest.cores(), conftest.MOST_PROCESSES)
    assert processes(numprocesses=0) == 0
    assert processes(capture="no") is None
    assert processes(markexpr="not build") == processes()
    assert processes(markexpr="smoke") is None
    monkeypatch.setenv("PYTEST_XDIST_WORKER", "gw0")
    assert processes() is None


def test_tests_that_share_what_is_expensive_run_in_one_process() -> None:
    for file in conftest.KEPT_TOGETHER:
        assert (ROOT / file).is_file()
        assert conftest.scope_of(f"{file}::test_a") == conftest.scope_of(f"{file}::test_b[1::2]")
    apart = ["tests/test_pid.py::test_a", "tests/test_pid.py::test_b"]
    assert [conftest.scope_of(nodeid) for nodeid in apart] == apart
