"""The one place that knows which backends there are."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack

import pytest

from benchmarks.ask_paths import PATHS
from benchmarks.paths import Work
from compactor.runtime import hot_path


@pytest.fixture(params=hot_path.PACKAGES)
def work_of(request: pytest.FixtureRequest) -> Iterator[Callable[[str], Work]]:
    """Opens a path of each backend by its name, and closes it after the test."""
    try:
        backend = hot_path.backend(request.param)
    except ImportError as error:
        pytest.skip(f"there are no extensions here: {error}")
    with ExitStack() as stack:
        yield lambda name: stack.enter_context(PATHS[name](backend))
