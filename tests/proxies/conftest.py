"""Fixtures: contexts behind proxies."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from compactor import Context
from tests.actors import TIMEOUT


@pytest.fixture
def make_local() -> Iterator[Callable[..., Context]]:
    """What makes contexts; which loop and backend they have makes no difference to a proxy."""
    made: list[Context] = []

    def make(**kw: object) -> Context:
        made.append(Context(ip="127.0.0.1", **kw))  # type: ignore[arg-type]
        made[-1].start()
        return made[-1]

    yield make
    for context in made:
        context.stop()
        context.join(TIMEOUT)
