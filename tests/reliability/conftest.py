"""Fixtures of the reliability tests: hosts, programs, and how long faults may last."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.reliability.hosts import Host, Network, make_network
from tests.reliability.programs import Program


@pytest.fixture
def network() -> Iterator[Network]:
    """Hosts of the test's own, and the wire between them."""
    yield from make_network()


@pytest.fixture
def start() -> Iterator[Callable[..., Program]]:
    """What starts programs; they are ended at the end."""
    programs: list[Program] = []

    def start_one(host: Host | None = None, **options: Any) -> Program:
        programs.append(Program(host, **options))
        return programs[-1]

    yield start_one
    for program in programs:
        program.close()
