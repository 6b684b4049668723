"""NATS: the conformance suite, and faults, on real servers."""

# ruff: noqa: SIM117
from __future__ import annotations

import asyncio
import contextlib
import gc
import time
import warnings
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest

from compactor import PID, Context, Process
from compactor.cluster import Cluster, ClusterRefused, LeadershipLost
from compactor.cluster.conformance import ClusterConformance
from compactor.cluster.engines import nats as engine
from tests.cluster.nats_servers import NatsCluster, nats
from tests.ports import own_port

library = pytest.importorskip("nats", reason="nats:// needs nats-py")


@pytest.fixture(autouse=True)
def _forget_connections() -> Iterator[None]:
    """nats-py leaves connections to the garbage that it gives up while it connects anew."""
    yield
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)
        gc.collect()


@pytest.fixture(scope="module")
def one(tmp_path_factory: pytest.TempPathFactory) -> Iterator[NatsCluster]:
    """One server."""
    with nats(tmp_path_factory.mktemp("nats")) as cluster:
        yield cluster


@contextlib.asynccontextmanager
async def entered(url: str, **kw: Any) -> AsyncIterator[tuple[Cluster, PID]]:
    async with Context(ip="127.0.0.1", port=own_port()) as context:
        pid = context.spawn(Process("worker"))
        async with Cluster(url, context, **kw) as cluster:
            yield cluster, pid


class TestNats(ClusterConformance):
    session = 1.0
    granularity = 1.0

    @pytest.fixture(autouse=True)
    def _server(self, one: NatsCluster) -> None:
        self.server = one

    def url(self) -> str:
        return self.server.url("/" + self.fresh())

    def context(self) -> Context:
        return Context(ip="127.0.0.1", port=own_port())


def test_the_session_is_the_ttl_of_the_bucket(one: NatsCluster) -> None:
    """Whoever has made that has decided."""

    async def run() -> None:
        for asked in (3, 7):
            async with entered(one.url("/ttl"), session=asked) as (cluster, _):
                assert cluster.session == 3

    asyncio.run(run())


def test_a_bucket_of_somebody_else_is_left_alone(one: NatsCluster) -> None:
    async def run() -> None:
        client = await library.connect(one.url("").replace("nats://", ""))
        await client.jetstream().create_key_value(bucket="foreign")
        with pytest.raises(ClusterRefused, match="without a TTL"):
            async with entered(one.url("/foreign")):
                pass
        await client.close()

    asyncio.run(run())


def test_an_old_server_is_refused(one: NatsCluster, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engine, "_LEAST_VERSION", (99, 0))

    async def run() -> None:
        with pytest.raises(ClusterRefused, match=r"it needs 2\.11 or newer"):
            async with entered(one.url("/old")):
                pass

    asyncio.run(run())


def test_a_server_that_is_killed_and_comes_back_ends_no_session(one: NatsCluster) -> None:
    async def run() -> None:
        async with entered(one.url("/killed"), session=10) as (cluster, pid):
            async with cluster.register("orders", pid) as registration:
                first = registration.id
                async with cluster.lead("boss", pid) as term:
                    one.servers[0].kill()
                    one.start()
                    session = cluster._sessions.now
                    assert session is not None
                    for _ in range(100):
                        with contextlib.suppress(Exception):
                            await session.engine.renew()
                            break
                        await asyncio.sleep(0.1)
                    assert term.valid
                assert registration.id == first

    asyncio.run(run())


@pytest.mark.slow
@pytest.mark.parametrize("seconds", [2, 30])
def test_the_end_of_the_leader_of_a_bucket_ends_sessions_that_are_shorter_than_the_pause(
    tmp_path_factory: pytest.TempPathFactory, seconds: int
) -> None:
    """Servers take 4 to 9 s to have another one, in which nothing is written."""

    async def hold(three: NatsCluster) -> None:
        url = three.url("/pause?replicas=3")
        async with entered(url, session=seconds, timeout=30) as (cluster, pid):
            session = cluster._sessions.now
            assert session is not None
            async with cluster.lead("boss", pid) as term:
                leader = await asyncio.to_thread(three.leader_of, "KV_pause")
                leader.kill()
                killed = time.monotonic()
                # Until a heartbeat is acknowledged that was sent after that.
                while session.lease.left <= seconds - (time.monotonic() - killed):
                    await asyncio.sleep(0.05)
                assert term.valid

    async def lose(three: NatsCluster) -> None:
        url = three.url("/pause?replicas=3")
        async with entered(url, session=seconds, timeout=30) as (cluster, pid):
            with pytest.raises(LeadershipLost):
                async with cluster.lead("boss", pid) as term:
                    (await asyncio.to_thread(three.leader_of, "KV_pause")).kill()
                    await asyncio.sleep(30)
            assert not term.valid
            async with cluster.lead("boss", pid) as again:
                assert again > term

    with nats(tmp_path_factory.mktemp("three"), 3) as three:
        asyncio.run(lose(three) if seconds == 2 else hold(three))


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:unclosed:ResourceWarning")  # nats-py forgets what it gives up
def test_a_server_of_three_that_stands_still_is_left(
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    """Its connections stay, and so do the records, by way of another one."""

    async def run(three: NatsCluster) -> None:
        url = three.url("/left?replicas=3")
        async with entered(url, session=30, timeout=30) as (cluster, pid):
            session = cluster._sessions.now
            assert session is not None
            own: Any = session.engine
            async with cluster.lead("boss", pid) as term:
                port = own._client.connected_url.port
                (still,) = (server for server in three.servers if server.port == port)
                still.pause()
                began = time.monotonic()
                # Until a heartbeat is acknowledged that was sent after that.
                while session.lease.left <= 30 - (time.monotonic() - began):
                    await asyncio.sleep(0.05)
                assert term.valid
                assert own._client.connected_url.port != port

    with nats(tmp_path_factory.mktemp("three"), 3) as three:
        asyncio.run(run(three))


def test_a_quorum_that_is_lost_ends_leadership_and_one_that_is_back_gives_it(
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    async def run(three: NatsCluster) -> None:
        url = three.url("/quorum?replicas=3")
        async with entered(url, session=2, timeout=30) as (cluster, pid):
            async with cluster.register("orders", pid):
                with pytest.raises(LeadershipLost):
                    async with cluster.lead("boss", pid) as term:
                        for server in three.servers[:2]:
                            server.kill()
                        await asyncio.sleep(30)
                assert not term.valid
                three.start()
                async with cluster.lead("boss", pid) as again:
                    assert again > term
                assert await cluster.find("orders", timeout=30) == pid

    with nats(tmp_path_factory.mktemp("three"), 3) as three:
        asyncio.run(run(three))
