"""The kinds of the hot path that the suite runs on, and where they are missing."""

from __future__ import annotations

import functools
import importlib.util
import os
from pathlib import Path
from typing import Any

import pytest

from compactor.runtime import hot_path
from compactor.runtime.hot_path import Backend

ROOT = Path(__file__).parents[1]


def why_missing(kind: str) -> str:
    """Why a kind cannot be tested in this program; empty if it can be."""
    if kind != "python" and os.environ.get("COMPACTOR_NO_SPEEDUPS", "") not in ("", "0"):
        return "COMPACTOR_NO_SPEEDUPS is set"
    try:
        hot_path.backend(kind)
    except ImportError as error:
        return f"compactor is installed without its extensions: {error}"
    return ""


def kinds() -> list[str]:
    """The kinds that can be tested in this program; ``python`` first."""
    return [kind for kind in hot_path.PACKAGES if not why_missing(kind)]


def backends() -> list[Backend]:
    """The backends that can be tested in this program; that of Python first."""
    return [hot_path.backend(kind) for kind in kinds()]


def both() -> tuple[Backend, Backend]:
    """Both backends, for a test that compares them; it skips where there is one alone."""
    reason = why_missing("cython")
    if reason:
        pytest.skip(reason)
    return hot_path.backend("python"), hot_path.backend("cython")


def outcome(call: Any, *args: Any) -> tuple[str, Any]:
    """What a call returns or raises, in a form that can be compared."""
    try:
        return "returned", call(*args)
    except Exception as error:
        return type(error).__name__, str(error)


EACH_KIND = [
    pytest.param(kind, marks=pytest.mark.skipif(bool(reason), reason=reason or "there"))
    for kind in hot_path.PACKAGES
    for reason in [why_missing(kind)]
]
"""Parameters: each kind, skipped with the reason where it is missing."""


PAIRS = (("asyncio", "python"), ("uvloop", "cython"))
"""Loop and backend: the two combinations in which each is met, and which users have most."""


def is_chosen(item: pytest.Item) -> bool:
    """Whether a test is to run in its combination of loop and backend.

    All four are for tests marked ``each_combination``, and for all tests where
    ``COMPACTOR_TEST_COMBINATIONS`` is ``all`` or a loop or a backend is missing.
    """
    combination = tuple(_params(item).get(name) for name in ("new_loop", "backend"))
    return (
        None in combination
        or combination in PAIRS
        or item.get_closest_marker("each_combination") is not None
        or os.environ.get("COMPACTOR_TEST_COMBINATIONS") == "all"
        or not _has_both()
    )


@functools.cache
def _has_both() -> bool:
    """Whether there are two loops and two backends; asked for thousands of tests."""
    try:
        return importlib.util.find_spec("uvloop") is not None and not why_missing("cython")
    except ModuleNotFoundError:  # it is hidden
        return False


def _params(item: pytest.Item) -> dict[str, Any]:
    callspec = getattr(item, "callspec", None)  # tests without parameters have none
    return callspec.params if callspec is not None else {}
