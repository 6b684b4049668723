"""Clusters under faults at random, in a simulation: ``python -m tests.cluster.convergence 1000``.

Members register, lead, and ask each other by a pool, while hosts are partitioned, paused, crashed
and slowed down.  In each run

- no two terms are valid at one moment, each by the clock of its host;
- no resource accepts an older term after a newer one;
- every ask ends;
- once the faults are over, all see the same members, all of whom live, and the same leader.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import logging
import sys
from typing import Any

from compactor import PID, AskFailed, AskTimeout, Process, RemoteError, answer
from compactor.cluster import (
    Cluster,
    ClusterUnreachable,
    Fence,
    Fenced,
    LeadershipLost,
    MemoryServer,
    Term,
)
from compactor.errors import ContextStopped
from compactor.testing import Host, Simulation, World

URL = "memory://memory:2181/shop"
SESSION = 5.0
ASK = 2.0  # seconds that an ask may take
FAULTS, CALM = 60.0, 60.0  # seconds
OF_MEMBERS = ("crash", "clock")
OF_ALL = ("partition", "pause", "slow")


class Resource(Process):
    """What leaders write to; it keeps the terms that it has accepted."""

    def __init__(self) -> None:
        super().__init__("resource")
        self.fence = Fence()
        self.accepted: list[int] = []

    @answer("write")
    def write(self, from_pid: PID, body: bytes) -> bytes:
        with contextlib.suppress(Fenced):
            self.fence.check(int(body))
            self.accepted.append(int(body))
            return b"written"
        return b"fenced"


class Echo(Process):
    @answer("echo")
    def echo(self, from_pid: PID, body: bytes) -> bytes:
        return body


class Run:
    """What is known of one run."""

    def __init__(self, world: World, members: int) -> None:
        self.world = world
        self.server, self.shop = world.host("memory"), world.host("shop")
        self.server.context(port=2181).spawn(MemoryServer())
        self.resource = Resource()
        self.written = self.shop.context().spawn(self.resource)
        self.members = [world.host(f"member-{n}") for n in range(members)]
        self.terms: list[Term] = []
        self.asks: dict[int, tuple[float, str]] = {}
        self.asked = 0
        self.sets: dict[str, list[str]] = {}
        self.leaders: dict[str, str | None] = {}
        self.own: dict[str, Any] = {}

    async def member(self, host: Host) -> None:
        """The program of a member, which begins anew where it cannot go on."""
        self.asks = {key: ask for key, ask in self.asks.items() if ask[1] != host.name}
        context = host.context()
        pid = context.spawn(Echo(f"echo-{host.name}"))
        while True:
            with contextlib.suppress(ClusterUnreachable):
                cluster = Cluster(URL, context, session=SESSION)
                async with cluster, cluster.register("echo", pid) as self.own[host.name]:
                    await asyncio.gather(
                        self.lead(cluster, pid),
                        self.ask(cluster, host),
                        self.look(cluster, host),
                        self.look_for_leader(cluster, host),
                    )

    async def lead(self, cluster: Cluster, pid: PID) -> None:
        while True:
            with contextlib.suppress(LeadershipLost):
                async with cluster.lead("boss", pid) as term:
                    self.terms.append(term)
                    while True:
                        with contextlib.suppress(AskFailed, AskTimeout):
                            body = b"%d" % term
                            await cluster.context.ask(self.written, "write", body, timeout=ASK)
                        await asyncio.sleep(0.3)

    async def ask(self, cluster: Cluster, host: Host) -> None:
        pool = cluster.pool("echo")
        while True:
            self.asked += 1
            number = self.asked
            self.asks[number] = self.world.time, host.name
            with contextlib.suppress(AskFailed, AskTimeout, RemoteError, ContextStopped):
                await pool.ask("echo", b"1", timeout=ASK)
            del self.asks[number]
            await asyncio.sleep(1)

    async def look(self, cluster: Cluster, host: Host) -> None:
        async for members in cluster.watch("echo"):
            self.sets[host.name] = [member.id for member in members]

    async def look_for_leader(self, cluster: Cluster, host: Host) -> None:
        async for leader in cluster.watch_leader("boss"):
            self.leaders[host.name] = None if leader is None else leader.id

    def one_leads(self) -> bool:
        """Whether at most one term is valid, each by the clock of its host."""
        self.terms = [term for term in self.terms if term.valid]
        return len(self.terms) <= 1

    def check(self) -> None:
        """What must hold in the end."""
        accepted = self.resource.accepted
        assert accepted == sorted(accepted)
        assert accepted
        own = sorted(registration.id for registration in self.own.values())
        for name, seen in self.sets.items():
            assert sorted(seen) == own, f"{name} sees {seen}, not {own}"
        assert len(self.sets) == len(self.members)
        assert len(set(self.leaders.values())) == 1, self.leaders
        assert len(self.terms) == 1
        late = [began for began, _ in self.asks.values() if self.world.time - began > ASK + 1]
        assert not late, f"asks that do not end: {late}"


async def scenario(world: World, members: int = 3) -> tuple[int, int]:
    """One run: how many terms there were, and asks."""
    run = Run(world, members)
    for host in run.members:
        host.run(run.member)
    world.always(run.one_leads)
    await world.sleep(10)
    everybody = [run.server, run.shop, *run.members]
    with (
        world.chaos(rate=0.15, kinds=OF_MEMBERS, longest=20, hosts=run.members),
        world.chaos(rate=0.25, kinds=OF_ALL, longest=20, hosts=everybody),
    ):
        await world.sleep(FAULTS)
    world.heal()
    for a, b in itertools.permutations(everybody, 2):  # of two at once, one may have stayed
        world.set_way(a, b, latency=(0.0005, 0.001))
    await world.sleep(CALM)
    run.check()
    return len(set(run.resource.accepted)), run.asked


def main(runs: int, first: int = 0) -> None:
    logging.getLogger("compactor").setLevel(logging.CRITICAL)
    terms = asks = 0
    for seed in range(first, first + runs):
        new_terms, new_asks = Simulation(seed).run(scenario).result
        terms, asks = terms + new_terms, asks + new_asks
    print(f"{runs} runs from seed {first}: {terms} leaders, {asks} asks; all held")


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
