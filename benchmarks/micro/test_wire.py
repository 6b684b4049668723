"""Frames and routes, on each backend."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from benchmarks.paths import Work


def test_encode(benchmark: Any, work_of: Callable[[str], Work]) -> None:
    benchmark(work_of("encode"))


def test_decode(benchmark: Any, work_of: Callable[[str], Work]) -> None:
    benchmark(work_of("decode"))


def test_decode_mixed(benchmark: Any, work_of: Callable[[str], Work]) -> None:
    benchmark(work_of("decode_mixed"))


def test_route(benchmark: Any, work_of: Callable[[str], Work]) -> None:
    benchmark(work_of("route"))
