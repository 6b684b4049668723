"""Fixtures: contexts for commands to ask; which backend and loop they run on is not at issue."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from compactor import Context
from tests.ports import own_port
from tests.telling import watch


@pytest.fixture
def context() -> Iterator[Context]:
    """A started context on loopback."""
    context = watch(Context(ip="127.0.0.1", port=own_port()))
    context.start()
    yield context
    context.stop()
    context.join(10)
