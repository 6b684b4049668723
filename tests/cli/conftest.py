"""Fixtures: contexts for commands to ask; which backend and loop they run on is not at issue."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from compactor import Context
from tests.ports import own_port
from tests.telling import watch

OF_COMMANDS = {"CA", "CERT", "KEY", "CREDENTIALS", "REALM", "TIMEOUT", "USER", "PASSWORD", "TOKEN"}


@pytest.fixture(autouse=True)
def nothing_is_set(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever runs tests may use the command as well."""
    for name in [name for name in os.environ if name.startswith("COMPACTOR_")]:
        if name.removeprefix("COMPACTOR_") in OF_COMMANDS:
            monkeypatch.delenv(name)


@pytest.fixture
def context() -> Iterator[Context]:
    """A started context on loopback."""
    context = watch(Context(ip="127.0.0.1", port=own_port()))
    context.start()
    yield context
    context.stop()
    context.join(10)
