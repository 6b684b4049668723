"""What tests of simulations have in common: two hosts that count what they are sent."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Any

from compactor import PID, Process, Reason, answer, install
from compactor.testing.simulated.world import World
from compactor.testing.simulation import Run, Simulation

Scenario = Callable[[World], Coroutine[Any, Any, Any]]


def run(scenario: Scenario, seed: int = 7, **kw: Any) -> Run:
    return Simulation(seed, **kw).run(scenario)


class Counter(Process):
    """Counts what it is sent, and keeps what it hears of."""

    def __init__(self, name: str = "counter") -> None:
        super().__init__(name)
        self.bodies: list[bytes] = []
        self.exits: list[tuple[PID, Reason]] = []

    @install("count")
    def count(self, from_pid: PID, body: bytes) -> None:
        self.bodies.append(body)

    @answer("how_many")
    def how_many(self, from_pid: PID, body: bytes) -> bytes:
        return b"%d" % len(self.bodies)

    def exited(self, pid: PID, reason: Reason) -> None:
        self.exits.append((pid, reason))


def two(world: World) -> tuple[Counter, Counter]:
    """A counter on host ``a``, and one on host ``b``."""
    here, there = Counter("here"), Counter("there")
    world.host("a").context().spawn(here)
    world.host("b").context().spawn(there)
    return here, there
