"""Every path, on each backend: the time of one call is that of `MESSAGES` of `benchmarks.paths`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from benchmarks.ask_paths import PATHS
from benchmarks.paths import Work


@pytest.mark.parametrize("name", PATHS)
def test_path(benchmark: Any, name: str, work_of: Callable[[str], Work]) -> None:
    benchmark(work_of(name))
