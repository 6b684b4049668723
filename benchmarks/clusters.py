"""Clusters that are larger than one machine, on simulated hosts, networks and time.

Seconds are those of the world: what latencies and timeouts take.  What programs compute takes no
time there, so handlers whose time matters sleep for it.  Only the cost of a master is real: it is
what its turns take of the processor of this machine.
"""

from __future__ import annotations

import asyncio
import gc
from time import thread_time
from typing import Any

from benchmarks.children import Children, Receive, Report
from benchmarks.harness import Metric, Scenario, Target, Values
from compactor import PID, Process, Reason, install
from compactor.testing import Simulation
from compactor.testing.simulated.host import Host
from compactor.testing.simulated.world import World

PORT = 5000
PER_HOST = 10
SIZES = (10, 100, 1_000)  # hosts
BEATS = 10.0  # seconds of heartbeats that are measured, one a second from each process
WORK = 100e-6  # seconds that the master takes for a registration
OUTAGE = 5.0
CROWD = 10_000  # processes that are told something
CROWD_HOSTS = 50
FANOUT = 10
ROUND = 0.1  # seconds between two rounds of gossip
TOLD_A_ROUND = 3

GOES_ON = "goes on"

MASTER = PID("10.0.0.1", PORT, "master")  # the first host of a world


class Master(Process):
    """Watches whoever registers."""

    def __init__(self) -> None:
        super().__init__("master")
        self.registered: set[PID] = set()
        self.beats = 0

    @install("register")
    async def register(self, from_pid: PID, body: bytes) -> None:
        await asyncio.sleep(WORK)
        self.link(from_pid)
        self.registered.add(from_pid)

    @install("beat")
    def beat(self, from_pid: PID, body: bytes) -> None:
        self.beats += 1

    def exited(self, pid: PID, reason: Reason) -> None:
        self.registered.discard(pid)


class Worker(Process):
    """Registers, again when the master is lost, and tells each second that it lives."""

    def __init__(self, name: str, beats: bool) -> None:
        super().__init__(name)
        self.beats = beats

    def initialize(self) -> None:
        self.register()
        if self.beats:
            self.every(1.0, self.beat)

    def register(self) -> None:
        self.link(MASTER)
        self.send(MASTER, "register")

    def beat(self) -> None:
        self.send(MASTER, "beat")

    def exited(self, pid: PID, reason: Reason) -> None:
        self.delay(0.1, self.register)


class Cluster:
    """A master, and hosts of ten workers each.

    Attributes:
        master: the one that runs.
    """

    def __init__(self, world: World, hosts: int, beats: bool) -> None:
        self.workers = hosts * PER_HOST
        self.master: Any = None
        self._world = world
        self._hosts = hosts
        self._beats = beats
        self.host = world.host("master")
        self.host.run(self._run_master)

    async def _run_master(self, host: Host) -> None:
        context = host.context(port=PORT)
        context.spawn(master := Master())
        self.mailbox = context._runtime.registry.live["master"]
        self.master = master
        await asyncio.sleep(10**9)

    async def start(self, report: Report) -> None:
        """Start all workers, one host after the other, and wait until they are registered."""
        for number in range(self._hosts):
            if number % 100 == 99:
                report(GOES_ON)
            host = self._world.host(f"h{number}")
            host.do(self._start_workers, host)
            await self._world.sleep(0.001)
        await self.all_registered(report)

    def _start_workers(self, host: Host) -> None:
        context = host.context(port=PORT)
        for number in range(PER_HOST):
            context.spawn(Worker(f"worker{number}", self._beats))

    async def all_registered(self, report: Report) -> None:
        """Wait until all workers are known to the master."""
        while self.master is None or len(self.master.registered) < self.workers:
            report(GOES_ON)
            await self._world.sleep(0.01)


def last_of(receive: Receive) -> Any:
    """What a child reports in the end; it is not taken for dead as long as it goes on."""
    while (report := receive()) == GOES_ON:
        pass
    return report


def cost_of(loop: Any, name: str) -> Any:
    """What tells the seconds that the turns of a host have taken from now on."""
    seconds = began = 0.0
    enter, leave = loop._enter, loop._leave

    def entered(turns: Any) -> None:
        nonlocal began
        enter(turns)
        began = thread_time()

    def left(turns: Any) -> None:
        nonlocal seconds
        if turns.name == name:
            seconds += thread_time() - began
        leave(turns)

    loop._enter, loop._leave = entered, left
    return lambda: seconds


def run_heartbeats(report: Report, hosts: int) -> None:
    async def scenario(world: World) -> None:
        cluster = Cluster(world, hosts, beats=True)
        await cluster.start(report)
        report(GOES_ON)
        gc.collect()
        gc.freeze()  # what all the other hosts have is not in the memory of a real master
        before, cost = cluster.master.beats, cost_of(world.loop, "master")
        await world.sleep(BEATS)
        beats = cluster.master.beats - before
        assert abs(beats / (cluster.workers * BEATS) - 1) < 0.11, beats
        report(1e6 * cost() / beats)

    Simulation(1, keep=1000, max_block=600).run(scenario)


def run_reconnect(report: Report, hosts: int) -> None:
    """The machine of the master loses its power for a while."""

    async def scenario(world: World) -> None:
        cluster = Cluster(world, hosts, beats=True)
        await cluster.start(report)
        report(GOES_ON)
        cluster.host.crash()
        await world.sleep(OUTAGE)
        cluster.master = None
        cluster.host.restart()
        began, backlog = world.time, 0

        def look() -> None:
            nonlocal backlog
            backlog = max(backlog, len(cluster.mailbox.queue))

        world.always(look)
        await cluster.all_registered(report)
        report((world.time - began, backlog))

    Simulation(1, keep=1000, max_block=600).run(scenario)


class Heard(Process):
    """Hears something, and tells others: those below it in a tree, or any."""

    def __init__(self, number: int, everybody: list[PID], world: World) -> None:
        super().__init__(f"heard{number}")
        self.number = number
        self.everybody = everybody
        self.world = world
        self.at: float | None = None
        self.count = 0

    @install("broadcast")
    def broadcast(self, from_pid: PID, body: bytes) -> None:
        self.count += 1
        self.at = self.world.time
        first = self.number * FANOUT + 1
        for pid in self.everybody[first : first + FANOUT]:
            self.send(pid, "broadcast", body)

    @install("gossip")
    def gossip(self, from_pid: PID, body: bytes) -> None:
        self.count += 1
        if self.at is None:
            self.at = self.world.time
            self.every(ROUND, self.tell_some)

    def tell_some(self) -> None:
        for _ in range(TOLD_A_ROUND):
            number = int(self.world.random.random() * len(self.everybody))
            self.send(self.everybody[number], "gossip", bytes(100))


def run_telling(report: Report, name: str, crowd: int) -> None:
    async def scenario(world: World) -> None:
        everybody: list[PID] = []
        hosts = [world.host(f"h{number}") for number in range(min(CROWD_HOSTS, crowd))]
        contexts = [host.context(port=PORT) for host in hosts]
        told = [Heard(number, everybody, world) for number in range(crowd)]
        for process in told:
            everybody.append(contexts[process.number % len(contexts)].spawn(process))
        await world.sleep(1.0)
        began = world.time
        contexts[0].spawn(root := Process("root"))
        root.send(everybody[0], name, bytes(100))
        while any(process.at is None for process in told):
            report(GOES_ON)
            await world.sleep(0.01)
        seconds = max(process.at or 0.0 for process in told) - began
        report((seconds, sum(process.count for process in told) / crowd))

    Simulation(1, keep=1000, max_block=600).run(scenario)


def play(children: Children, seconds: float) -> Values:
    sizes = [size for size in SIZES if seconds >= 2 or size <= (100 if seconds > 0.1 else 10)]
    crowd = CROWD if seconds >= 2 else 200
    values: Values = {}
    for size in sizes:
        with children.fresh() as alone:
            values[f"beat {size}"] = last_of(alone.start(run_heartbeats, size))
        with children.fresh() as alone:
            again, backlog = last_of(alone.start(run_reconnect, size))
            values[f"reconnect {size}"], values[f"backlog {size}"] = again, backlog
    for name in ("broadcast", "gossip"):
        with children.fresh() as alone:
            told = last_of(alone.start(run_telling, name, crowd))
            values[name], values[f"{name} count"] = told
    return values


SCENARIO = Scenario(
    "clusters",
    {
        **{
            f"beat {size}": Metric(
                f"simulated: a heartbeat at the master of {size:,} hosts",
                "us/beat",
                higher_is_better=False,
                targets=() if size == 10 else (Target(1 / 1.5, key="beat 10"),),
            )
            for size in SIZES
        },
        **{
            f"reconnect {size}": Metric(
                f"simulated: {size:,} hosts registered again", "s", higher_is_better=False
            )
            for size in SIZES
        },
        **{
            f"backlog {size}": Metric(
                f"simulated: most messages that wait then, {size:,} hosts",
                "messages",
                higher_is_better=False,
            )
            for size in SIZES
        },
        "broadcast": Metric(
            f"simulated: broadcast by a tree to {CROWD:,}", "s", higher_is_better=False
        ),
        "broadcast count": Metric("simulated: messages to each", "messages", False),
        "gossip": Metric(f"simulated: gossip among {CROWD:,}", "s", higher_is_better=False),
        "gossip count": Metric("simulated: messages of gossip to each", "messages", False),
    },
    play,
)
