"""What simulations cost: traffic, an idle day, a failover, a start, and many hosts."""

from __future__ import annotations

import resource
from time import process_time
from typing import Any

from benchmarks.children import Children, Report
from benchmarks.clusters import Cluster, last_of
from benchmarks.harness import Metric, Scenario, Target, Values
from compactor import PID, Process, Reason, install
from compactor.testing import Simulation
from compactor.testing.simulated.world import World

PAIRS = 50
HOSTS = 1_000
NAMES = ("a", "b", "c")


class Player(Process):
    """Answers each message by one, so many times."""

    def __init__(self, name: str, left: int) -> None:
        super().__init__(name)
        self.left = left

    @install("ball")
    def ball(self, from_pid: PID, body: bytes) -> None:
        if self.left:
            self.left -= 1
            self.send(from_pid, "ball", body)


class Watcher(Process):
    """Watches somebody."""

    def __init__(self, name: str, watched: PID) -> None:
        super().__init__(name)
        self.watched = watched

    def initialize(self) -> None:
        self.link(self.watched)

    def exited(self, pid: PID, reason: Reason) -> None: ...


def run_traffic(report: Report, messages: int) -> None:
    """Fifty pairs of processes on two hosts, in turn."""

    async def scenario(world: World) -> None:
        here, there = world.host("a").context(), world.host("b").context()
        players = [Player(f"player{number}", messages // PAIRS // 2) for number in range(2 * PAIRS)]
        for one, other in zip(players[::2], players[1::2], strict=True):
            here.spawn(one)
            there.spawn(other)
            one.send(other.pid, "ball", b"x" * 64)
        while any(player.left for player in players[::2]):
            await world.sleep(0.01)

    began = process_time()
    run = Simulation(1, keep=100).run(scenario)
    assert run.trace.count > 2 * messages
    report(messages / (process_time() - began))


async def linked(world: World) -> None:
    """Three hosts, each of which watches the next."""
    ports = [world.host(name).context(port=5000) for name in NAMES]
    for number, context in enumerate(ports):
        watched = PID(f"10.0.0.{(number + 1) % 3 + 1}", 5000, "watcher")
        context.spawn(Watcher("watcher", watched))
    await world.sleep(1.0)


def run_idle(report: Report, days: float) -> None:
    async def scenario(world: World) -> None:
        await linked(world)
        await world.sleep(86_400 * days)

    began = process_time()
    Simulation(1).run(scenario)
    report((process_time() - began) / days)


def run_failover(report: Report, times: int) -> None:
    """One of three hosts is cut off until the others know it."""

    async def scenario(world: World) -> None:
        await linked(world)
        a, b, c = (world.hosts[name] for name in NAMES)
        world.partition(a, [b, c])
        await world.exit(timeout=100)
        world.heal()
        await world.sleep(10)

    report(1e3 * seconds_of(scenario, times))


def run_start(report: Report, times: int) -> None:
    async def scenario(world: World) -> None:
        for name in NAMES:
            world.host(name).context().spawn(Process("process"))

    report(1e3 * seconds_of(scenario, times))


def seconds_of(scenario: Any, times: int) -> float:
    """The shortest of some runs; the first has imported what it needs."""
    taken = []
    for seed in range(times):
        began = process_time()
        Simulation(seed).run(scenario)
        taken.append(process_time() - began)
    return min(taken)


def run_hosts(report: Report, hosts: int) -> None:
    """Ten processes on each, all linked to one master and linked by it; MiB for 1,000 hosts."""

    async def scenario(world: World) -> None:
        await Cluster(world, hosts, beats=False).start(report)

    Simulation(1, keep=1000, max_block=600).run(scenario)
    report(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)


def play(children: Children, seconds: float) -> Values:
    is_long = seconds >= 2
    values: Values = {}
    for name, role, amount in (
        ("traffic", run_traffic, 200_000 if is_long else 5_000),
        ("idle", run_idle, 1.0 if is_long else 0.01),
        ("failover", run_failover, 20 if is_long else 2),
        ("start", run_start, 20 if is_long else 2),
        ("hosts", run_hosts, HOSTS if is_long else 10),
    ):
        with children.fresh() as alone:
            values[name] = last_of(alone.start(role, amount))
    return values


SCENARIO = Scenario(
    "simulated",
    {
        "traffic": Metric("simulated messages", "messages/s", targets=(Target(value=100_000.0),)),
        "idle": Metric(
            "an idle day of three linked hosts", "s", False, targets=(Target(value=1.0),)
        ),
        "failover": Metric("a failover of three hosts", "ms", False, targets=(Target(value=20.0),)),
        "start": Metric(
            "a world of three contexts, started", "ms", False, targets=(Target(value=2.0),)
        ),
        "hosts": Metric("1,000 hosts, all linked", "MiB", False, targets=(Target(value=500.0),)),
    },
    play,
)
