"""The one place that knows which backends there are."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack

import pytest

from benchmarks.paths import CHOSEN, PATHS, Backend, Work
from compactor import decoder, frames, routes

PURE = Backend("py", frames.encode_message, decoder.FrameDecoder, routes.RouteTable)


@pytest.fixture(params=[PURE], ids=lambda backend: backend.name)
def backend(request: pytest.FixtureRequest) -> Backend:
    chosen: Backend = request.param
    return chosen


@pytest.fixture
def work_of(backend: Backend) -> Iterator[Callable[[str], Work]]:
    """Opens a path of a backend by its name, and closes it after the test."""
    with ExitStack() as stack:
        yield lambda name: stack.enter_context(PATHS[name](backend))


@pytest.fixture
def work_of_context() -> Iterator[Callable[[str], Work]]:
    """The same for paths through a `Context`, whose backend was chosen when it was imported."""
    with ExitStack() as stack:
        yield lambda name: stack.enter_context(PATHS[name](CHOSEN))
