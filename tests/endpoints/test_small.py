"""``/version`` and ``/system/stats.json``."""

from __future__ import annotations

import os
import platform
from collections.abc import Callable

import pytest

import compactor
from compactor import Context
from compactor.system import machine
from tests.endpoints.asking import fetch, recorded

MakeContext = Callable[..., Context]


def test_stats_are_those_of_libprocess(make_context: MakeContext) -> None:
    told, theirs = fetch(make_context(), "/system/stats.json"), recorded("system_stats.json")

    assert (told.status, told.type) == (theirs.status, theirs.type)
    assert list(told.json) == list(theirs.json)
    assert list(map(type, told.json.values())) == list(map(type, theirs.json.values()))
    assert 0 < told.json["mem_free_bytes"] < told.json["mem_total_bytes"]
    assert told.json["cpus_total"] == os.cpu_count()


def test_stats_are_a_script_as_in_libprocess(make_context: MakeContext) -> None:
    theirs = recorded("system_stats.json_jsonp=f")

    told = fetch(make_context(), "/system/stats.json?jsonp=f")

    assert (told.status, told.type, told.body[:20]) == (200, theirs.type, theirs.body[:20])
    assert told.body[-2:] == theirs.body[-2:]


def test_what_a_system_does_not_tell_is_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    def fails() -> None:
        raise OSError

    monkeypatch.setattr(machine, "_MEMINFO", "/nowhere")
    monkeypatch.setattr(os, "getloadavg", fails)
    monkeypatch.setattr(os, "cpu_count", lambda: None)

    assert machine.load() == {}
    assert list(machine.memory()) == ["mem_total_bytes"]
    monkeypatch.delattr(os, "sysconf")
    assert machine.memory() == {}


def test_the_version_is_told(make_context: MakeContext) -> None:
    context = make_context()

    assert fetch(context, "/version").json == {
        "hot_path": context._runtime.backend.kind,
        "name": "compactor",
        "python": platform.python_version(),
        "version": compactor.__version__,
    }
