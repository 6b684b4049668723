"""``SimulationTestCase``: tests of ``unittest`` that run in a simulation."""

from __future__ import annotations

import asyncio
import unittest
import zlib
from typing import Any, ClassVar

from compactor.testing.simulated.world import World
from compactor.testing.simulation import Simulation


class SimulationTestCase(unittest.TestCase):
    """A test case whose ``async def test_...`` run in a world each, ``self.world``.

    Attributes:
        seeds: how many seeds each test is run with; the first is made from the name of the test.
        simulation: what ``Simulation`` takes besides the seed.
        world: of the test that runs.
    """

    seeds = 1
    simulation: ClassVar[dict[str, Any]] = {}
    world: World

    def _callTestMethod(self, method: Any) -> None:
        if not asyncio.iscoroutinefunction(method):
            method()
            return
        if self.seeds < 1:
            raise ValueError(f"seeds must be at least 1, got {self.seeds}")
        first = zlib.crc32(self._testMethodName.encode())

        async def scenario(world: World) -> None:
            self.world = world
            await method()

        for number in range(self.seeds):
            Simulation(first + number, **self.simulation).run(scenario)
