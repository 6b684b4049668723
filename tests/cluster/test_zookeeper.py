"""ZooKeeper: the conformance suite, and faults, on real servers."""

from __future__ import annotations

# ruff: noqa: SIM117
import asyncio
import contextlib
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest

from compactor import PID, Context, Process
from compactor.cluster import (
    Cluster,
    ClusterRefused,
    ClusterUnreachable,
    LeadershipLost,
    NobodyFound,
)
from compactor.cluster.conformance import ClusterConformance
from tests.ports import own_port
from tests.zookeeper import MOST_SESSION_MS, TICK_MS, Ensemble, Server, zookeeper

client = pytest.importorskip("kazoo.client", reason="zk:// needs kazoo")

TICK = TICK_MS / 1000


@pytest.fixture(scope="module")
def one(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ensemble]:
    """One server."""
    with zookeeper(tmp_path_factory.mktemp("zookeeper")) as ensemble:
        yield ensemble


@pytest.fixture(scope="module")
def three(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ensemble]:
    """An ensemble of three."""
    with zookeeper(tmp_path_factory.mktemp("three"), 3) as ensemble:
        yield ensemble


@contextlib.asynccontextmanager
async def cluster(url: str, **kw: Any) -> AsyncIterator[tuple[Cluster, PID]]:
    async with Context(ip="127.0.0.1", port=own_port()) as context:
        pid = context.spawn(Process("worker"))
        async with Cluster(url, context, **kw) as entered:
            yield entered, pid


@contextlib.asynccontextmanager
async def foreign(ensemble: Ensemble, **kw: Any) -> AsyncIterator[Any]:
    """Somebody else at the servers; what is called waits in a thread."""
    other = client.KazooClient(ensemble.hosts, **kw)
    await asyncio.to_thread(other.start)
    try:
        yield other
    finally:
        await asyncio.to_thread(other.stop)
        other.close()


async def until(cluster: Cluster, name: str, count: int, seconds: float = 20.0) -> None:
    """Wait until so many bear a name."""

    async def wait() -> None:
        async for members in cluster.watch(name):
            if len(members) == count:
                return

    await asyncio.wait_for(wait(), seconds)


def server_of(engine: Any, ensemble: Ensemble) -> Server:
    """The server that an engine is connected to."""
    port = engine._client._connection._socket.getpeername()[1]
    (server,) = (server for server in ensemble.servers if server.port == port)
    return server


class Way:
    """A way to a server, which can be cut, and lead nowhere.

    Attributes:
        is_silent: whether connections are taken that lead nowhere.
        silent: those of them that have sent something.
    """

    def __init__(self, port: int) -> None:
        self._to = port
        self.port = own_port()
        self.is_silent = False
        self.silent: set[asyncio.StreamWriter] = set()
        self._open: set[asyncio.StreamWriter] = set()

    async def __aenter__(self) -> Way:
        self._server = await asyncio.start_server(self._connected, "127.0.0.1", self.port)
        return self

    async def __aexit__(self, *_: object) -> None:
        self._server.close()
        self.cut()

    def cut(self) -> None:
        """End all connections."""
        for writer in self._open:
            writer.transport.abort()

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._open.add(writer)
        if self.is_silent:
            await reader.read(1)
            self.silent.add(writer)
            return
        back, there = await asyncio.open_connection("127.0.0.1", self._to)
        self._open.add(there)
        await asyncio.gather(_carry(reader, there), _carry(back, writer))


async def _carry(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(OSError):
        while data := await reader.read(65536):
            writer.write(data)
    writer.close()


class TestZooKeeper(ClusterConformance):
    session = 1.0
    granularity = TICK

    @pytest.fixture(autouse=True)
    def _server(self, one: Ensemble) -> None:
        self.server = one

    def url(self) -> str:
        return self.server.url("/" + self.fresh())

    def context(self) -> Context:
        return Context(ip="127.0.0.1", port=own_port())


def test_the_session_is_what_the_server_agrees_to(one: Ensemble) -> None:
    async def run() -> None:
        for asked, agreed in ((0.1, 2 * TICK), (3, 3), (100, MOST_SESSION_MS / 1000)):
            async with cluster(one.url("/negotiated"), session=asked) as (entered, _):
                assert entered.session == agreed

    asyncio.run(run())


def test_a_term_is_the_czxid_of_its_node(one: Ensemble) -> None:
    async def run() -> tuple[int, int]:
        async with cluster(one.url("/czxid")) as (entered, pid), entered.lead("boss", pid) as term:
            async with foreign(one) as other:
                (node,) = await asyncio.to_thread(other.get_children, "/czxid/leaders/boss")
                _, stat = await asyncio.to_thread(other.get, f"/czxid/leaders/boss/{node}")
            return term, stat.czxid

    term, czxid = asyncio.run(run())
    assert term == czxid


def test_credentials_keep_others_out(one: Ensemble) -> None:
    async def run() -> None:
        async with cluster(one.url("/private", "ann:secret")) as (ann, pid):
            async with ann.register("orders", pid):
                async with cluster(one.url("/private")) as (nobody, other):
                    assert await nobody.find("orders") == pid  # everybody may read
                    with pytest.raises(ClusterRefused, match="NoAuthError") as refused:
                        async with nobody.register("orders", other):
                            pass
                    assert "who signs in as nobody" in str(refused.value)
                    with pytest.raises(ClusterRefused):
                        async with nobody.lead("orders", other):
                            pass
                with pytest.raises(ClusterRefused, match="refuses ann") as refused:
                    async with cluster(one.url("/private/below", "ann:wrong")):
                        pass
                assert "wrong" not in str(refused.value)

    asyncio.run(run())


def test_the_path_of_a_mesos_is_left_alone(one: Ensemble) -> None:
    async def run() -> None:
        async with foreign(one) as other:
            node = "/mesos/json.info_0000000001"
            await asyncio.to_thread(other.create, node, b"{}", makepath=True)
            with pytest.raises(ClusterRefused, match="where a Mesos elects its masters"):
                async with cluster(one.url("/mesos")):
                    pass
            children = await asyncio.to_thread(other.get_children, "/mesos")
        assert children == ["json.info_0000000001"]

    asyncio.run(run())


def test_records_of_others_are_no_members(one: Ensemble) -> None:
    async def run() -> None:
        async with foreign(one) as other:
            for number, value in enumerate((b"", b"127.0.0.1", b'{"pid": 7}', b"\xff" * 900_000)):
                name = f"/foreign/names/orders/{number}"
                await asyncio.to_thread(other.create, name, value, makepath=True)
        async with cluster(one.url("/foreign")) as (entered, pid):
            with pytest.raises(NobodyFound):
                await entered.find("orders", timeout=0.3)
            async with entered.register("orders", pid):
                assert await entered.find("orders") == pid

    asyncio.run(run())


def test_a_server_that_is_not_there_is_told_in_time() -> None:
    async def run() -> float:
        began = time.monotonic()
        with pytest.raises(ClusterUnreachable, match=r"cannot be reached within 0\.5 s: .*refused"):
            async with cluster(f"zk://127.0.0.1:{own_port()}/shop", timeout=0.5):
                pass
        return time.monotonic() - began

    assert asyncio.run(run()) < 3


def test_a_session_that_the_server_ends_is_begun_again(one: Ensemble) -> None:
    """As an operator, or a server that did not hear of us, would end it."""

    async def run() -> None:
        async with cluster(one.url("/ended"), session=2) as (entered, pid):
            async with entered.register("orders", pid) as registration:
                first = registration.id
                with pytest.raises(LeadershipLost):
                    async with entered.lead("boss", pid) as term:
                        session = entered._sessions.now
                        assert session is not None
                        own: Any = session.engine
                        async with foreign(one, client_id=own._client.client_id):
                            pass  # its end is that of the session
                        await asyncio.sleep(10)
                assert not term.valid
                while registration.id in (None, first):
                    await asyncio.sleep(0.02)
                async with entered.lead("boss", pid) as again:
                    assert again > term

    asyncio.run(run())


def test_a_server_that_is_killed_and_comes_back_ends_no_session(one: Ensemble) -> None:
    """It comes back within the session, and nobody has lost anything."""

    async def run() -> None:
        async with cluster(one.url("/killed"), session=60) as (entered, pid):
            async with entered.register("orders", pid) as registration:
                first = registration.id
                async with entered.lead("boss", pid) as term:
                    one.servers[0].kill()
                    await asyncio.sleep(0.2)
                    one.start()  # in this thread: servers end with the one that started them
                    session = entered._sessions.now
                    assert session is not None
                    await asyncio.wait_for(session.engine.renew(), 50)
                    assert term.valid
                assert registration.id == first
                assert await entered.find("orders") == pid

    asyncio.run(run())


def test_a_server_that_stands_still_ends_leadership_by_the_own_clock(one: Ensemble) -> None:
    """No connection is ended: nothing but the time tells."""

    async def run() -> float:
        async with cluster(one.url("/still"), session=1) as (entered, pid):
            loop = asyncio.get_running_loop()
            try:
                with pytest.raises(LeadershipLost, match="no heartbeat was acknowledged"):
                    async with entered.lead("boss", pid) as term:
                        one.servers[0].pause()
                        began = loop.time()
                        await asyncio.sleep(20)
                took = loop.time() - began
            finally:
                one.servers[0].resume()
            async with entered.lead("boss", pid) as again:
                assert again > term
            return took

    assert asyncio.run(run()) < 1.3


def test_a_server_that_takes_a_connection_and_says_nothing_is_left(one: Ensemble) -> None:
    """As ZooKeeper may while it starts: a third of the session later, it is tried again."""

    async def run() -> float:
        async with contextlib.AsyncExitStack() as exits:
            way = await exits.enter_async_context(Way(one.servers[0].port))
            url = f"zk://127.0.0.1:{way.port}/silent"
            entered, pid = await exits.enter_async_context(cluster(url, session=12))
            async with entered.lead("boss", pid) as term:
                session = entered._sessions.now
                assert session is not None
                way.is_silent = True
                way.cut()
                while not way.silent:
                    await asyncio.sleep(0.01)
                way.is_silent = False
                began = asyncio.get_running_loop().time()
                while True:
                    with contextlib.suppress(ClusterUnreachable):
                        await asyncio.wait_for(session.engine.renew(), 12)
                        break
                assert term.valid
                return asyncio.get_running_loop().time() - began

    assert asyncio.run(run()) < 8


@pytest.mark.slow
def test_a_server_of_three_that_stands_still_is_left(three: Ensemble) -> None:
    """Its connections stay, and so does the session, on another one."""

    async def run() -> None:
        async with cluster(three.url("/left"), session=9) as (entered, pid):
            async with entered.register("orders", pid) as registration:
                async with entered.lead("boss", pid) as term:
                    own, session = registration.id, entered._sessions.now
                    assert session is not None
                    still = server_of(session.engine, three)
                    still.pause()
                    began = time.monotonic()
                    try:  # until a heartbeat is acknowledged that was sent after that
                        while session.lease.left <= 9 - (time.monotonic() - began):
                            await asyncio.sleep(0.05)
                        assert term.valid
                    finally:
                        still.resume()
                assert registration.id == own

    asyncio.run(run())


def test_a_quorum_that_is_lost_ends_leadership_and_one_that_is_back_gives_it(
    three: Ensemble,
) -> None:
    async def run() -> None:
        async with cluster(three.url("/quorum"), session=6) as (entered, pid):
            async with entered.register("orders", pid):
                assert await entered.find("orders") == pid
                with pytest.raises(LeadershipLost):
                    async with entered.lead("boss", pid) as term:
                        leader = three.leader
                        leader.kill()  # two are left, and go on
                        leader = await asyncio.to_thread(lambda: three.leader)
                        await asyncio.sleep(0.5)
                        assert term.valid
                        leader.kill()
                        await asyncio.sleep(60)
                assert not term.valid
                assert not entered.is_connected
                assert await entered.find("orders") == pid  # what was known holds
                three.start()
                async with entered.lead("boss", pid) as again:
                    assert again > term
                await until(entered, "orders", 1)

    asyncio.run(asyncio.wait_for(run(), 100))  # whatever fails, its client ends with it


LEADER = """
import asyncio, sys
from compactor import Context, Process
from compactor.cluster import Cluster

async def main():
    async with Context(ip="127.0.0.1", port=0) as context:
        pid = context.spawn(Process("leader"))
        async with Cluster(sys.argv[1], context, session=1) as cluster:
            print("ready", flush=True)
            async with cluster.lead("boss", pid) as term:
                print("leads", int(term), flush=True)
                await asyncio.sleep(1000)

asyncio.run(main())
"""


def test_a_program_that_is_paused_leads_no_more_when_it_goes_on(one: Ensemble) -> None:
    """And its resources take nothing of it: the terms of its successors are greater."""
    url = one.url("/paused")
    command = [sys.executable, "-c", LEADER, url]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, stdout=pipe, stderr=pipe, text=True) as first:
        try:
            assert first.stdout is not None
            assert first.stdout.readline() == "ready\n", first.stderr and first.stderr.read()
            term = int(first.stdout.readline().split()[1])
            first.send_signal(signal.SIGSTOP)

            async def follow() -> int:
                async with cluster(url, session=1) as (entered, pid):
                    async with entered.lead("boss", pid) as mine:
                        first.send_signal(signal.SIGCONT)
                        await asyncio.to_thread(first.wait, 20)
                        return mine

            assert asyncio.run(follow()) > term
            assert first.returncode == 1
            assert first.stderr is not None
            assert "LeadershipLost" in first.stderr.read()
        finally:
            first.kill()
