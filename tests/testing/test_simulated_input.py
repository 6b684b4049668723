"""What simulations are given that makes no sense is refused where it is given."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable
from typing import Any

import pytest

from compactor.testing.simulated.chaos import KINDS
from compactor.testing.simulated.errors import SimulationError
from compactor.testing.simulated.world import World
from compactor.testing.simulation import Simulation
from tests.testing.worlds import run

UNSEEN = ["", "a b", "a\tb", "a\nb", "\x00", "a\x1b[31m", "\ud800", "\u2028", "\xa0"]
ADDRESSES = ["localhost", "10.0.0.1", "::1", "fe80::1%eth0"]
NAMES = ["a", "h-1.rack_2.example", "\xfcber", "h;->>h", "10.0.0", "1" * 300]


@pytest.mark.parametrize("name", [*UNSEEN, *ADDRESSES])
def test_names_of_hosts_that_nobody_could_use_are_refused(name: str) -> None:
    async def scenario(world: World) -> None:
        with pytest.raises(ValueError, match=r"host has (characters|an address)"):
            world.host(name)
        assert not world.hosts

    run(scenario)


@pytest.mark.parametrize("name", NAMES)
def test_other_names_are_those_of_hosts(name: str) -> None:
    async def scenario(world: World) -> None:
        host = world.host(name)
        assert world.hosts == {name: host}
        host.crash()
        host.restart()

    done = run(scenario)
    assert {event.host for event in done.trace} == {name}
    assert name in "\n".join(done.trace.lines())
    assert done.trace.diagram()
    assert done.trace.mermaid()


@pytest.mark.parametrize("seed", ["\ud800", 10**5000], ids=["surrogate", "too many digits"])
def test_seeds_that_no_chance_can_be_made_of_are_refused_at_once(seed: Any) -> None:
    with pytest.raises(ValueError, match="a seed must have a text in UTF-8"):
        Simulation(seed)


@pytest.mark.parametrize("seed", [0, -1, 2**64, "", "\x00", "a b", "\U0001f600"])
def test_other_seeds_are_taken(seed: Any) -> None:
    async def scenario(world: World) -> float:
        world.host("a").context()
        await world.sleep(1)
        return world.random.random()

    one, other = Simulation(seed).run(scenario), Simulation(seed).run(scenario)
    assert (one.digest, one.result) == (other.digest, other.result)


@pytest.mark.parametrize(
    ("error", "arguments", "told"),
    [
        (TypeError, {"max_events": "many"}, "max_events must be a number, got 'many'"),
        (TypeError, {"max_block": None}, "max_block must be a number, got None"),
        (ValueError, {"max_events": 0}, "max_events must be positive, got 0"),
        (ValueError, {"max_block": math.nan}, "max_block must be positive, got nan"),
        (ValueError, {"keep": 0}, "keep must be at least 1 event, got 0"),
        (TypeError, {"keep": 1.5}, "keep must be a number of events"),
        (TypeError, {"latency": "1"}, "latency must be seconds, or the least and the most"),
        (TypeError, {"latency": (1, 2, 3)}, r"latency must be .* got \(1, 2, 3\)"),
        (TypeError, {"latency": [0.1, 0.2]}, r"latency must be .* got \[0.1, 0.2\]"),
        (ValueError, {"latency": math.inf}, "latency must be .* got inf"),
        (ValueError, {"latency": math.nan}, "latency must be .* got nan"),
        (ValueError, {"latency": (2, 1)}, r"latency must be .* got \(2, 1\)"),
    ],
)
def test_settings_of_simulations_are_refused_at_once(
    error: type[Exception], arguments: dict[str, Any], told: str
) -> None:
    with pytest.raises(error, match=told):
        Simulation(**arguments)


USES_OF_HOSTS: dict[str, Callable[[World, Any], object]] = {
    "partition": lambda world, host: world.partition(world.hosts["a"], host),
    "heal": lambda world, host: world.heal(host),
    "reset": lambda world, host: world.reset(host, world.hosts["a"]),
    "half_open": lambda world, host: world.half_open(world.hosts["a"], [host]),
    "set_way": lambda world, host: world.set_way(world.hosts["a"], host, latency=1),
    "latency_of": lambda world, host: world.latency_of(host, world.hosts["a"]),
    "chaos": lambda world, host: world.chaos(1, hosts=[world.hosts["a"], host]),
}


@pytest.mark.parametrize("use", USES_OF_HOSTS)
def test_hosts_of_another_world_are_refused(use: str) -> None:
    async def make(world: World) -> Any:
        world.host("a")
        return world.host("b")

    stranger = run(make).result

    async def scenario(world: World) -> None:
        world.host("a")
        world.host("b")  # has the address of the stranger
        with pytest.raises(SimulationError, match="must be of this world"):
            USES_OF_HOSTS[use](world, stranger)
        with pytest.raises(TypeError, match="must be a host, or several, got 'b'"):
            USES_OF_HOSTS[use](world, "b")
        assert not world.chaoses

    run(scenario)


def test_a_way_from_a_host_to_itself_is_refused() -> None:
    async def scenario(world: World) -> None:
        a = world.host("a")
        with pytest.raises(SimulationError, match="host 'a' has no network to itself"):
            world.set_way(a, a, latency=1)

    run(scenario)


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ({"kinds": []}, "kinds and hosts must not be empty"),
        ({"hosts": []}, "kinds and hosts must not be empty"),
        ({"kinds": "crash"}, "kinds is a list of kinds of faults, got 'crash'"),
    ],
)
def test_chaos_in_which_nothing_can_happen_is_refused(arguments: Any, told: str) -> None:
    async def scenario(world: World) -> None:
        world.host("a")
        with pytest.raises(ValueError, match=told):
            world.chaos(1, **arguments)

    run(scenario)


def test_a_fault_that_fails_fails_the_run(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: Any) -> None:
        raise OSError("no such switch")

    monkeypatch.setitem(KINDS, "reset", (2, fail))

    async def scenario(world: World) -> None:
        world.host("a")
        world.host("b")
        world.chaos(1, kinds=["reset"])
        await world.sleep(60)

    with pytest.raises(OSError, match="no such switch"):
        run(scenario)


def test_no_time_is_behind_all_times() -> None:
    async def scenario(world: World) -> None:
        await world.sleep(math.inf)

    with pytest.raises(SimulationError, match="nothing is left that could happen"):
        run(scenario)


@pytest.mark.parametrize("method", ["call_at", "call_later"])
@pytest.mark.parametrize("drift", [1.0, 1.5])
def test_timers_of_no_time_are_refused(method: str, drift: float) -> None:
    async def scenario(world: World) -> None:
        host = world.host("a")
        host.drift(drift)
        loop = asyncio.get_running_loop()
        with pytest.raises(ValueError, match="a timer needs a number of seconds, got NaN"):
            host.do(getattr(loop, method), math.nan, print)

    run(scenario)
