"""Clusters on simulated hosts: what partitions, pauses, crashes and bad input come to."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable, Coroutine
from typing import Any

import pytest

from compactor import PID, Context, Process, answer
from compactor.cluster import (
    Cluster,
    ClusterError,
    ClusterUnreachable,
    LeadershipLost,
    MemoryServer,
    NobodyFound,
)
from compactor.cluster.engine import Told
from compactor.cluster.engines.memory import MemoryEngine
from compactor.cluster.sessions import Session, Sessions
from compactor.cluster.urls import ClusterUrl
from compactor.pool import NoMember
from compactor.testing import Host, World
from tests.cluster.test_memory import URL, with_server
from tests.ports import own_port

Body = Callable[[Cluster, PID], Coroutine[Any, Any, None]]


def member(world: World, name: str, body: Body, **kw: Any) -> tuple[Host, asyncio.Task[Any]]:
    """A host with a process and a cluster, on which ``body`` runs."""

    async def program(host: Host) -> None:
        context = host.context()
        pid = context.spawn(Process(name))
        async with Cluster(URL, context, **kw) as cluster:
            await body(cluster, pid)

    host = world.host(name)
    return host, host.run(program)


async def test_a_leader_that_is_cut_off_has_stopped_before_another_one_starts(world: World) -> None:
    happened: list[tuple[str, str, float]] = []
    server = with_server(world)

    async def lead(cluster: Cluster, pid: PID) -> None:
        try:
            async with cluster.lead("boss", pid) as term:
                happened.append((pid.id, "leads", world.time))
                await asyncio.sleep(100)
        except LeadershipLost as lost:
            happened.append((pid.id, str(lost), float(term.valid)))
        happened.append((pid.id, "stopped", world.time))

    a, _ = member(world, "a", lead)
    await world.sleep(1)
    member(world, "b", lead)
    await world.sleep(10)
    world.partition(a, server)
    await world.sleep(30)
    (_, _, _), (_, lost, valid), (who, what, stopped), (next_one, leads, since) = happened
    assert "no heartbeat was acknowledged" in lost
    assert not valid
    assert (who, what, next_one, leads) == ("a", "stopped", "b", "leads")
    assert stopped < since
    assert 21 - 10 / 3 < stopped < 21.0 < since + 10 / 3


async def test_a_task_that_leads_and_is_cancelled_is_just_cancelled(world: World) -> None:
    with_server(world)

    async def body(cluster: Cluster, pid: PID) -> None:
        async def lead() -> None:
            async with cluster.lead("boss", pid):
                await asyncio.sleep(100)

        task = asyncio.ensure_future(lead())
        await asyncio.sleep(1)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        with pytest.raises(asyncio.TimeoutError):
            await asyncio.wait_for(lead(), 1)
        async with cluster.lead("boss", pid) as term:
            assert term.valid

    await member(world, "a", body)[1]


async def test_a_loss_comes_out_of_a_block_however_that_ends(world: World) -> None:
    with_server(world)

    async def body(cluster: Cluster, pid: PID) -> None:
        def lose() -> None:
            session = cluster._sessions.now
            assert isinstance(session, Session)
            session.lease.lose("for the test")

        with pytest.raises(LeadershipLost, match="for the test"):  # it never awaits
            async with cluster.lead("boss", pid):
                lose()
        await asyncio.sleep(0)  # no cancellation is left
        await cluster._sessions.stop()
        await cluster._sessions.start(5)
        with pytest.raises(ZeroDivisionError):  # it has an error of its own
            async with cluster.lead("boss", pid):
                lose()
                raise ZeroDivisionError
        await asyncio.sleep(0)
        await cluster._sessions.stop()
        await cluster._sessions.start(5)
        with pytest.raises(LeadershipLost):  # it keeps the cancellation to itself
            async with cluster.lead("boss", pid):
                lose()
                with contextlib.suppress(asyncio.CancelledError):
                    await asyncio.sleep(1)
        await asyncio.sleep(0)

    await member(world, "a", body)[1]


async def test_a_record_that_somebody_takes_away_ends_the_leadership(world: World) -> None:
    with_server(world)

    async def body(cluster: Cluster, pid: PID) -> None:
        with pytest.raises(LeadershipLost, match="its record is gone"):
            async with cluster.lead("boss", pid):
                session = cluster._sessions.now
                assert session is not None
                (leader,) = [await cluster.watch_leader("boss").__anext__()]
                assert leader is not None
                await session.engine.remove("leaders/boss", leader.id)
                await asyncio.sleep(10)

    await member(world, "a", body)[1]


async def test_sets_converge_after_a_partition_and_who_rejoins_is_new(world: World) -> None:
    server = with_server(world)
    seen: dict[str, list[tuple[str, str]]] = {}

    async def body(cluster: Cluster, pid: PID) -> None:
        async with cluster.register("workers", pid):
            async for members in cluster.watch("workers"):
                seen[pid.id] = [(each.pid.id, each.id) for each in members]

    a, _ = member(world, "a", body)
    b, _ = member(world, "b", body)
    await world.sleep(5)
    before = dict(seen["b"])
    assert seen["a"] == seen["b"]
    assert set(before) == {"a", "b"}
    world.partition(a, [server, b])
    await world.sleep(15)
    assert [name for name, _ in seen["b"]] == ["b"]
    world.heal()
    await world.sleep(60)
    assert seen["a"] == seen["b"]
    after = dict(seen["b"])
    assert (after["a"] != before["a"], after["b"]) == (True, before["b"])


async def test_who_cannot_be_reached_is_left_out_and_comes_back(world: World) -> None:
    """The engine hears both all the time."""
    with_server(world)
    shown: list[list[str]] = []

    async def bear(cluster: Cluster, pid: PID) -> None:
        async with cluster.register("workers", pid):
            await asyncio.sleep(1000)

    async def look(cluster: Cluster, pid: PID) -> None:
        async for members in cluster.watch("workers"):
            shown.append([each.pid.id for each in members])

    a, _ = member(world, "a", bear)
    b, _ = member(world, "b", look)
    await world.sleep(5)
    world.partition(a, b)
    await world.sleep(120)
    assert shown[-1] == []
    world.heal()
    await world.sleep(60)
    assert [each for each in shown if each] == [["a"], ["a"]]


async def test_an_engine_that_is_not_there_is_told_in_time_and_tried_again(world: World) -> None:
    memory = world.host("memory")

    async def program(host: Host) -> None:
        cluster = Cluster(URL, host.context(), timeout=3)
        began = world.time
        with pytest.raises(ClusterUnreachable, match=r"cannot be reached within 3 s: .*refused"):
            async with cluster:
                pass
        assert world.time - began < 3.1
        memory.context(port=2181).spawn(MemoryServer())
        async with cluster:
            assert cluster.is_connected
            with pytest.raises(ClusterError, match="entered already"):
                await cluster.__aenter__()
        assert not cluster.is_connected

    await world.host("a").run(program)


async def test_a_cluster_gets_over_a_server_that_comes_back(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    async def serve(host: Host) -> None:
        host.context(port=2181).spawn(MemoryServer())

    server = world.host("memory")
    server.run(serve)
    terms: list[int] = []

    async def body(cluster: Cluster, pid: PID) -> None:
        async with cluster.register("workers", pid):
            for _ in range(2):
                try:
                    async with cluster.lead("boss", pid) as term:
                        terms.append(term)
                        await asyncio.sleep(1000)
                except LeadershipLost:
                    continue
            assert (await cluster.find("workers", timeout=60)) == pid
            assert cluster.trouble == ""

    caplog.set_level(logging.INFO, logger="compactor")
    _, task = member(world, "a", body)
    await world.sleep(5)
    server.crash()
    await world.sleep(30)
    server.restart()
    await world.sleep(30)
    server.crash()
    await world.sleep(30)
    server.restart()
    await task
    assert terms[0] < terms[1]
    lines = [record.getMessage() for record in caplog.records]
    assert sum("the session is lost" in line for line in lines) == 2
    assert sum("there is a session again" in line for line in lines) == 2


async def test_asks_go_to_those_who_bear_the_name_right_now(world: World) -> None:
    with_server(world)

    class Echo(Process):
        @answer("who")
        def who(self, from_pid: PID, body: bytes) -> bytes:
            return self.name.encode()

    async def bear(cluster: Cluster, pid: PID) -> None:
        echo = cluster.context.spawn(Echo(f"echo-{pid.id}"))
        async with cluster.register("echo", echo):
            await asyncio.sleep(1000)

    async def body(cluster: Cluster, pid: PID) -> None:
        pool = cluster.pool("echo", route="round_robin")
        with pytest.raises(NoMember):
            await pool.ask("who", timeout=0.5)
        a, _ = member(world, "a", bear)
        assert await pool.ask("who", timeout=5) == b"echo-a"  # it has waited for one
        member(world, "b", bear)
        await asyncio.sleep(1)
        assert {await pool.ask("who", timeout=5) for _ in range(2)} == {b"echo-a", b"echo-b"}
        a.crash()
        await asyncio.sleep(15)
        assert {await pool.ask("who", timeout=5) for _ in range(2)} == {b"echo-b"}

    await member(world, "client", body)[1]


async def test_a_program_that_withdraws_bears_and_leads_nothing(world: World) -> None:
    with_server(world)
    left: list[str] = []

    async def stays(cluster: Cluster, pid: PID) -> None:
        async with cluster.lead("boss", pid):
            left.append(f"{pid.id} leads")
            async for members in cluster.watch("orders"):
                left.append(",".join(member.pid.id for member in members))

    async def goes(cluster: Cluster, pid: PID) -> None:
        async with cluster.register("orders", pid):
            with pytest.raises(LeadershipLost, match="has withdrawn"):
                async with cluster.lead("boss", pid) as term:
                    member(world, "b", stays)
                    await asyncio.sleep(5)
                    leaving = asyncio.ensure_future(cluster.withdraw())
                    await asyncio.sleep(100)
            await leaving
            assert not term.valid
            await asyncio.sleep(10)
            await cluster.withdraw()  # once more changes nothing
            for again in (
                lambda: cluster.register("orders", pid),
                lambda: cluster.lead("boss", pid),
            ):
                with pytest.raises(ClusterError, match="has withdrawn"):
                    again()

    await member(world, "a", goes)[1]
    assert left == ["b leads", ""]


async def test_what_was_left_is_not_entered_again(world: World) -> None:
    with_server(world)

    async def body(cluster: Cluster, pid: PID) -> None:
        registration, leading = cluster.register("orders", pid), cluster.lead("boss", pid)
        for block, call in ((registration, "register"), (leading, "lead")):
            async with block:
                pass
            with pytest.raises(ClusterError, match=rf"one block: call {call}\(\) again"):
                await block.__aenter__()
        with pytest.raises(NobodyFound):
            await cluster.find("orders", timeout=1)

    await member(world, "a", body)[1]


@pytest.mark.parametrize("has_own_loop", [True, False])
def test_who_drains_leaves_first_of_all(has_own_loop: bool, context: Context) -> None:
    """On the loop of the context, or another one."""

    async def drain(draining: Context, home: Cluster, url: str) -> None:
        pid = draining.spawn(Process("orders"))
        async with Cluster(url, draining) as cluster, cluster.register("orders", pid):
            with pytest.raises(LeadershipLost, match="has withdrawn"):
                async with cluster.lead("boss", pid):
                    watch = home.watch("orders")
                    while not await watch.__anext__():
                        pass
                    draining.stop(drain=5)
                    await asyncio.sleep(10)
            assert await asyncio.wait_for(watch.__anext__(), 5) == ()

    async def run() -> None:
        context.spawn(MemoryServer())
        url = f"memory://127.0.0.1:{context.port}/shop"
        async with Cluster(url, context) as home:
            if has_own_loop:
                draining = Context(ip="127.0.0.1", port=own_port())
                draining.start()
                await drain(draining, home, url)
                await asyncio.to_thread(draining.join, 10)
            else:
                async with Context(ip="127.0.0.1", port=own_port()) as draining:
                    await drain(draining, home, url)

    asyncio.run(run())


async def test_metadata_may_have_any_characters(world: World) -> None:
    with_server(world)
    metadata = {"brackets": "[{" * 500, "größe": '"\\\0\n', "number": -(10**28), "none": None}

    async def body(cluster: Cluster, pid: PID) -> None:
        async with cluster.register("orders", pid, metadata=metadata):
            await cluster.find("orders")
            (found,) = await cluster.watch("orders").__anext__()
            assert found.metadata == metadata
        for bad in ({"number": 10**40}, {"number": float("nan")}):
            with pytest.raises(ValueError, match=r"digits|JSON compliant"):
                cluster.register("orders", pid, metadata=bad)

    await member(world, "a", body)[1]


async def test_foreign_records_are_no_members(world: World) -> None:
    with_server(world)
    foreign = [
        b"", b"127.0.0.1:80", b"[]", b"7", b'{"pid": 7}', b'{"pid": "nobody"}', b"[" * 60_000,
        b"9" * 60_000,
        b'{"pid": "a@10.0.0.9:1", "metadata": 7}',
        b'{"pid": "a@10.0.0.9:1", "metadata": {"a": []}}',
    ]  # fmt: skip

    async def body(cluster: Cluster, pid: PID) -> None:
        session = cluster._sessions.now
        assert session is not None
        for number, value in enumerate(foreign):
            await session.engine.put("names/orders", f"foreign-{number}", value)
        with pytest.raises(NobodyFound):
            await cluster.find("orders", timeout=1)
        async with cluster.register("orders", pid):
            assert await cluster.find("orders", timeout=1) == pid

    await member(world, "a", body)[1]


def test_what_is_asked_of_a_cluster_at_the_wrong_time_or_place_is_refused(context: Context) -> None:
    pid = context.spawn(Process("orders"))
    cluster = Cluster("memory:///shop", context)

    async def outside() -> None:
        with pytest.raises(ClusterError, match="not entered"):
            cluster.register("orders", pid)
        with pytest.raises(ClusterError, match="not entered"):
            await cluster.find("orders")

    async def elsewhere() -> None:
        with pytest.raises(ClusterError, match="on the loop that has entered it alone"):
            cluster.watch("orders")

    async def run() -> None:
        await outside()
        async with cluster:
            with pytest.raises(ValueError, match="route='best' must be 'first' or 'random'"):
                await cluster.find("orders", route="best")  # type: ignore[arg-type]
            await asyncio.get_running_loop().run_in_executor(None, asyncio.run, elsewhere())
            pool, watch = cluster.pool("orders"), cluster.watch("orders")
            async with cluster.register("orders", pid):
                assert await cluster.find("orders") == pid
        assert pool.members == ()
        assert [each async for each in watch] == []
        await outside()

    asyncio.run(run())


def test_names_that_nobody_looks_at_are_not_followed_for_ever(
    context: Context, monkeypatch: pytest.MonkeyPatch
) -> None:
    from compactor.cluster import cluster as module

    monkeypatch.setattr(module, "_MOST_IDLE", 10)

    async def run() -> None:
        async with Cluster("memory:///shop", context) as cluster:
            watch = cluster.watch("watched")
            for number in range(50):
                with pytest.raises(NobodyFound):
                    await cluster.find(f"name-{number}", timeout=0.001)
            assert len(cluster._groups) == len(cluster._names) == 10
            assert "watched" in cluster._names
            assert watch is not None

    asyncio.run(run())


class Elsewhere(MemoryEngine):
    """An engine that others can reach, too."""

    def __init__(self, context: Context) -> None:
        super().__init__(ClusterUrl.parse("memory:///shop"), context)
        self.serves_this_machine_alone = False


def test_an_address_that_only_this_machine_reaches_is_warned_of(
    context: Context, caplog: pytest.LogCaptureFixture
) -> None:
    pid = context.spawn(Process("orders"))

    async def run() -> None:
        async with Cluster(lambda: Elsewhere(context), context) as cluster:
            for _ in range(2):
                async with cluster.register("orders", pid):
                    pass
        async with Cluster("static://orders@192.0.2.1:5050", context) as cluster:
            await cluster.find("orders")
        alone = Cluster("memory:///shop", context)  # nobody else can look there
        async with alone, alone.register("orders", pid):
            await alone.find("orders")

    asyncio.run(run())
    lines = [each.getMessage() for each in caplog.records if "only this machine" in each.msg]
    assert len(lines) == 2
    assert f"{pid} advertises an address" in lines[0]
    assert "elsewhere: Elsewhere;" in lines[0]
    assert "elsewhere: orders@192.0.2.1:5050;" in lines[1]


class Stale(MemoryEngine):
    """Elects at once, as NATS does; its watches tell first what was there before."""

    is_told = True

    async def campaign(self, place: str, id: str, value: bytes) -> int:
        return (await self.put(place, id, value)).order

    def watch(self, place: str, told: Told) -> Callable[[], None]:
        asyncio.get_running_loop().call_soon(told, [])
        return super().watch(place, told) if self.is_told else lambda: None


@pytest.mark.parametrize("is_told", [True, False])
async def test_what_was_there_before_the_election_ends_no_leadership(
    world: World, monkeypatch: pytest.MonkeyPatch, is_told: bool
) -> None:
    """Nor does a leader lead for ever whose record is never seen."""
    monkeypatch.setattr(Stale, "is_told", is_told)
    context = world.host("a").context()
    pid = context.spawn(Process("a"))
    url = "memory:///shop"
    async with Cluster(
        lambda: Stale(ClusterUrl.parse(url), context), context, session=4
    ) as cluster:
        led = 0
        with contextlib.suppress(LeadershipLost):
            async with cluster.lead("boss", pid) as term:
                while led < 20:
                    await asyncio.sleep(1)
                    led += 1
                assert term.valid
    assert led == (20 if is_told else 3)


async def test_a_cancellation_that_is_lost_keeps_no_cluster_from_being_left(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As ``wait_for`` may lose it before Python 3.12, when what it waits for ends at that time."""

    async def keep(self: Sessions, session: Session) -> None:
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.sleep(100)
        await asyncio.sleep(100)

    monkeypatch.setattr(Sessions, "_keep", keep)
    async with Cluster("memory:///shop", world.host("a").context()):
        await asyncio.sleep(1)
    assert world.time < 10
