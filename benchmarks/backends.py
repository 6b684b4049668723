"""Which kinds of compactor there are to measure here: compiled, pure Python, or only the latter."""

from __future__ import annotations

from collections.abc import Mapping

from compactor import wire

OURS = "compactor"
PURE = "compactor, pure Python"
PURE_ENVIRON = {"COMPACTOR_NO_SPEEDUPS": "1"}


def backends() -> dict[str, Mapping[str, str]]:
    """The environment variables of each backend, by its name; the fastest first."""
    try:
        wire.backend("cython")
    except ImportError:
        return {PURE: PURE_ENVIRON}
    return {OURS: {}, PURE: PURE_ENVIRON}
