"""What tests of programs that use compactor need."""

from __future__ import annotations

from compactor.testing.contexts import EphemeralContextTestCase, ephemeral_context
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
from compactor.testing.test_case import SimulationTestCase
from compactor.testing.trace import Trace, TraceEvent

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
    "SimulationTestCase",
    "Trace",
    "TraceEvent",
    "World",
    "ephemeral_context",
    "isolated",
    "memory_pair",
]
