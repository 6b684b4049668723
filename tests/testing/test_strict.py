"""``strict=True``: tasks and timers that are left over fail the run, and are named."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest

from compactor import PID, Context, Process, install
from compactor.testing.simulated.errors import SimulationError
from compactor.testing.simulated.host import Host
from compactor.testing.simulated.world import World
from tests.testing.worlds import Counter, run


class Busy(Process):
    """Begins what takes longer than the test."""

    @install("work")
    async def work(self, from_pid: PID, body: bytes) -> None:
        await asyncio.sleep(1000)

    @install("tick")
    def tick(self, from_pid: PID, body: bytes) -> None:
        self.every(5, "beat")

    @install("late")
    def late(self, from_pid: PID, body: bytes) -> None:
        self.delay(50, self.beat)

    def beat(self) -> None: ...


async def forever(*_: Any) -> None:
    await asyncio.sleep(1000)


def on_loop(world: World) -> None:
    asyncio.get_running_loop().call_later(99, partial(print, "x"))


LEFT: dict[str, Callable[[World], Any]] = {
    r"task '.*' of the scenario: forever\(\)": lambda world: asyncio.ensure_future(forever()),
    r"task 'named' of the scenario: forever\(\)": lambda world: world.loop.create_task(
        forever(), name="named"
    ),
    r"task '.*' of host 'h': forever\(\)": lambda world: world.host("h").run(forever),
    r"task '.*' of host 'b': Busy.work\(\)": lambda world: tell(world, "work"),
    r"timer 'beat' of busy@10.*, every 5 s": lambda world: tell(world, "tick"),
    r"timer 'beat' of busy@10[^,]*\.": lambda world: tell(world, "late"),
    r"timer of the scenario: print\(\)": on_loop,
    r"task '.*' of the scenario: Chaos._run\(\)": lambda world: world.chaos(rate=1e-9),
}


def tell(world: World, what: str) -> None:
    context = world.host("b").context()
    busy = context.spawn(Busy("busy"))
    context.spawn(teller := Process("teller"))
    teller.send(busy, what)


@pytest.mark.parametrize("what", LEFT)
def test_what_is_left_over_is_named(what: str) -> None:
    async def scenario(world: World) -> None:
        LEFT[what](world)
        await world.sleep(1)

    run(scenario)
    with pytest.raises(SimulationError, match=rf"left over at 1.000000 s, .*: {what}"):
        run(scenario, strict=True)


def test_what_has_ended_is_not_left_over() -> None:
    async def program(host: Host) -> None:
        async with Context(ip=host.ip) as context:
            context.spawn(Busy("busy"))
            await asyncio.sleep(1000)

    async def scenario(world: World) -> None:
        for what in ("work", "tick", "late"):
            world.name(what, world.host(what))
            context = world.hosts[what].context()
            busy = context.spawn(Busy("busy"))
            context.spawn(teller := Counter("teller"))
            teller.send(busy, what)
            teller.link(busy)
        world.host("crashes").run(program)
        world.host("stops").run(program)
        world.host("killed").run(program)
        await world.sleep(2)
        world.hosts["crashes"].crash()
        world.hosts["killed"].kill()
        for name in ("work", "tick", "late", "stops"):
            await world.hosts[name].stop()
        cancelled = asyncio.get_running_loop().call_later(99, print)
        cancelled.cancel()

    run(scenario, strict=True)


def test_a_linked_cluster_that_idles_is_not_left_over() -> None:
    """Contexts have timers and tasks of their own, which nobody has begun."""

    async def scenario(world: World) -> None:
        there = world.host("a").context().spawn(Counter("there"))
        world.host("b").context().spawn(here := Counter("here"))
        here.link(there)
        here.link(PID("10.99.0.1", 1, "nobody"))  # is being dialled
        await world.sleep(1)

    run(scenario, strict=True)


def test_a_scenario_that_fails_tells_its_own_error() -> None:
    async def scenario(world: World) -> None:
        world.host("a").run(forever)
        raise KeyError("x")

    with pytest.raises(KeyError):
        run(scenario, strict=True)
