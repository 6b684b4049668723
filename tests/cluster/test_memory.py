"""The memory engine: the conformance suite in simulations."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Coroutine
from typing import Any

from compactor import Context, Process, Settings
from compactor.cluster import Cluster, MemoryServer
from compactor.cluster.conformance import ClusterConformance
from compactor.testing import Host, Simulation, World

QUIET = Settings(warn_unprotected=False)
URL = "memory://memory:2181/shop"


def with_server(world: World) -> Host:
    """A host of its own for the server."""
    host = world.host("memory")
    host.context(port=2181).spawn(MemoryServer())
    return host


class TestMemory(ClusterConformance):
    """On virtual time, so that sessions may be as long as they are elsewhere."""

    session = 10.0
    granularity = 0.1
    world: World
    here: Host

    def url(self) -> str:
        return URL

    def run(self, check: Callable[[], Coroutine[Any, Any, None]]) -> None:
        async def scenario(world: World) -> None:
            self.world, self.here = world, world.host("here")
            with_server(world)
            await self.here.run(lambda_of(check))

        Simulation(1).run(scenario)

    def context(self) -> Context:
        return Context(ip=self.here.ip, settings=QUIET, tls=False)

    async def hold(self, seconds: float) -> None:
        loop = self.here.loop
        loop.at(loop.now, self.here.pause)
        loop.at(loop.now + seconds, self.here.resume)
        await asyncio.sleep(0.001)  # which is over when the host goes on

    @contextlib.asynccontextmanager
    async def other(self, url: str) -> AsyncIterator[Callable[[], None]]:
        host = self.world.host("other")
        ready = asyncio.Event()

        async def program(host: Host) -> None:
            pid = host.context().spawn(Process("doomed"))
            async with (
                Cluster(url, host.contexts[-1], session=self.session) as cluster,
                cluster.register("doomed", pid),
                cluster.lead("doomed", pid),
            ):
                ready.set()
                await asyncio.sleep(600)

        host.run(program)
        await ready.wait()
        yield host.crash


def lambda_of(
    check: Callable[[], Coroutine[Any, Any, None]],
) -> Callable[[Host], Coroutine[Any, Any, None]]:
    async def program(host: Host) -> None:
        await check()

    return program
