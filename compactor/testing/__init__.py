"""What tests of programs that use compactor need."""

from __future__ import annotations

import contextlib
import unittest
from collections.abc import Iterator
from typing import Any

from compactor.context import Context
from compactor.testing.isolated import Isolated, isolated
from compactor.testing.isolated_records import AskedOther, Outcome, Sent
from compactor.testing.memory_pair import memory_pair
from compactor.testing.memory_transport import MemoryTransport
from compactor.testing.simulated.errors import SimulationError
from compactor.testing.simulated.filters import Filter
from compactor.testing.simulated.host import Host
from compactor.testing.simulated.observing import SimulatedExit, SimulatedMessage
from compactor.testing.simulated.world import World
from compactor.testing.simulation import Run, Simulation
from compactor.testing.trace import Trace, TraceEvent

_JOIN_SECONDS = 5.0

__all__ = [
    "AskedOther",
    "EphemeralContextTestCase",
    "Filter",
    "Host",
    "Isolated",
    "MemoryTransport",
    "Outcome",
    "Run",
    "Sent",
    "SimulatedExit",
    "SimulatedMessage",
    "Simulation",
    "SimulationError",
    "Trace",
    "TraceEvent",
    "World",
    "ephemeral_context",
    "isolated",
    "memory_pair",
]


@contextlib.contextmanager
def ephemeral_context(**kw: Any) -> Iterator[Context]:
    """A started context for the length of a ``with`` block; stopped whatever happens in it.

    Args:
        kw: what ``Context`` takes.
    """
    context = Context(**kw)
    try:
        context.start()
        yield context
    finally:
        context.stop()
        context.join(_JOIN_SECONDS)


class EphemeralContextTestCase(unittest.TestCase):
    """A test case whose tests each have a started context, ``self.context``."""

    context: Context

    def setUp(self) -> None:
        self.context = Context()
        self.addCleanup(self.context.join, _JOIN_SECONDS)
        self.addCleanup(self.context.stop)
        self.context.start()
