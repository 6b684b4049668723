"""The kinds of the hot path that the suite runs on, and whether its extensions fit its sources."""

from __future__ import annotations

import os
import runpy
from pathlib import Path
from typing import Any

import pytest

from compactor import wire
from compactor.wire import Backend

ROOT = Path(__file__).parents[1]


def why_missing(kind: str) -> str:
    """Why a kind cannot be tested in this program; empty if it can be."""
    if kind != "python" and os.environ.get("COMPACTOR_NO_SPEEDUPS", "") not in ("", "0"):
        return "COMPACTOR_NO_SPEEDUPS is set"
    try:
        wire.backend(kind)
    except ImportError as error:
        return f"compactor is installed without its extensions: {error}"
    return ""


def kinds() -> list[str]:
    """The kinds that can be tested in this program; ``python`` first."""
    return [kind for kind in wire.PACKAGES if not why_missing(kind)]


def backends() -> list[Backend]:
    """The backends that can be tested in this program; that of Python first."""
    return [wire.backend(kind) for kind in kinds()]


def both() -> tuple[Backend, Backend]:
    """Both backends, for a test that compares them; it skips where there is one alone."""
    reason = why_missing("cython")
    if reason:
        pytest.skip(reason)
    return wire.backend("python"), wire.backend("cython")


def outcome(call: Any, *args: Any) -> tuple[str, Any]:
    """What a call returns or raises, in a form that can be compared."""
    try:
        return "returned", call(*args)
    except Exception as error:
        return type(error).__name__, str(error)


EACH_KIND = [
    pytest.param(kind, marks=pytest.mark.skipif(bool(reason), reason=reason or "there"))
    for kind in wire.PACKAGES
    for reason in [why_missing(kind)]
]
"""Parameters: each kind, skipped with the reason where it is missing."""


def stale() -> str:
    """What is wrong with extensions that were built in the source tree; empty if nothing is.

    They are used as they are, whatever their sources have become since.
    """
    if why_missing("cython") or not (ROOT / "setup.py").is_file():
        return ""
    frames: Any = wire.backend("cython").encode_message.__self__  # a builtin's module
    if not Path(frames.__file__).is_relative_to(ROOT / "compactor"):
        return ""
    wanted = runpy.run_path(str(ROOT / "setup.py"), run_name="setup")["source_digest"]()
    built = getattr(frames, "SOURCES", "unknown")
    if built == wanted:
        return ""
    return (
        f"the extensions in compactor/_speedups were built from other sources (digest {built}) "
        f"than those beside them ({wanted}); run: python setup.py build_ext --inplace"
    )
