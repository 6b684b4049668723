"""Faults of the network and of programs, on demand, and what the trace has of them."""

from __future__ import annotations

import asyncio
import math
from typing import Any

import pytest

from compactor import PID, Context, Process, Reason, TlsSettings, install
from compactor.testing.simulated.errors import SimulationError
from compactor.testing.simulated.host import Host
from compactor.testing.simulated.world import World
from compactor.testing.simulation import Run
from tests.testing.worlds import Counter, run, two
from tests.tls_fixture import Certificates


def of_kind(done: Run, kind: str) -> list[tuple[str, str, str]]:
    return [(e.sender, e.to, e.name) for e in done.trace if e.kind == kind]


async def linked(world: World) -> tuple[Counter, Counter]:
    """``here`` on host ``a`` watches ``there`` on host ``b``, which has heard of it."""
    here, there = two(world)
    here.link(there.pid)
    here.send(there.pid, "count", b"first")
    await world.message("count", to=there)
    return here, there


def test_connections_are_reset_on_demand_and_dialled_again() -> None:
    async def scenario(world: World) -> None:
        here, there = await linked(world)
        a, b = world.hosts["a"], world.hosts["b"]
        world.reset(a, b)
        assert (await world.exit(there)).reason is Reason.RESET
        here.send(there.pid, "count", b"second")
        await world.message("count", to=there)
        with pytest.raises(SimulationError, match="host 'a' has no network to itself"):
            world.reset(a, a)

    links = of_kind(run(scenario), "link")
    states = [name for _, _, name in links]
    assert ("a", "b", "open") in links
    assert states.count("reset") == 1 + 2 * states.count("open") - 2 * 1  # the last one is open


def test_a_half_open_connection_passes_nothing_and_a_new_one_does() -> None:
    async def scenario(world: World) -> None:
        here, there = await linked(world)
        a, b = world.hosts["a"], world.hosts["b"]
        world.half_open(a, b)
        here.send(there.pid, "count", b"lost")
        told = await world.exit(there, timeout=70)
        assert told.reason is Reason.TIMEOUT
        assert world.time > 50
        here.send(there.pid, "count", b"second")
        await world.message("count", to=there)
        assert there.bodies == [b"first", b"second"]

    run(scenario)


def test_connections_are_refused_accepted_and_never_read() -> None:
    async def scenario(world: World) -> None:
        here, there = await linked(world)
        b = world.hosts["b"]
        b.reads = False
        here.send(there.pid, "count", b"unread")
        await world.sleep(300)
        assert (there.bodies, here.exits) == ([b"first"], [])  # the machine answers
        world.host("c").context().spawn(late := Counter("late"))
        late.send(there.pid, "count", b"of a new connection")
        await world.sleep(10)
        assert not world.dead_letters
        b.reads = True
        await world.sleep(1)
        assert there.bodies == [b"first", b"unread", b"of a new connection"]
        b.refuses = True
        late.send(PID(b.ip, 1, "x"), "count")
        await world.sleep(1)
        assert world.dead_letters[0].reason is Reason.REFUSED

    done = run(scenario)
    assert ("c", "b", "refused") in of_kind(done, "link")
    faults = [name for _, _, name in of_kind(done, "fault")]
    assert faults == ["reads nothing", "reads", "refuses"]


def test_buffers_of_a_host_that_does_not_read_fill_up() -> None:
    async def scenario(world: World) -> None:
        here, there = await linked(world)
        world.hosts["b"].reads = False
        for _ in range(10):
            here.send(there.pid, "count", bytes(100_000))
        await world.sleep(5)
        (end,) = (
            end
            for end in world._network.ends_of(world.hosts["a"])
            if end.get_write_buffer_size() > 100_000
        )
        assert end.bytes_on_the_way + end.peer.unread_bytes <= 256 * 1024
        world.hosts["b"].reads = True
        await world.sleep(5)
        assert len(there.bodies) == 11

    run(scenario)


def test_names_resolve_late_wrongly_or_never() -> None:
    async def scenario(world: World) -> None:
        here, there = two(world)
        a, b = world.hosts["a"], world.hosts["b"]
        assert there.pid.port
        world.name("late", b, seconds=3)
        world.name("b", a)
        world.name("never", b, seconds=math.inf)
        port = there.pid.port
        here.send(PID("late", port, "there"), "count", b"late")
        here.send(PID("b", port + 1, "there"), "count", b"wrong")
        here.send(PID("never", port, "there"), "count", b"never")
        assert (await world.message("count", to=there, timeout=4)).seconds > 3
        await world.sleep(60)
        assert {(letter.to.ip, letter.reason) for letter in world.dead_letters} == {
            ("b", Reason.REFUSED),  # by ``a``, which is what the name leads to now
            ("never", Reason.TIMEOUT),
        }

    run(scenario)


@pytest.mark.parametrize(
    ("hosts", "seconds", "error", "text"),
    [
        ((5,), 0, TypeError, "a name resolves to hosts or addresses, got 5"),
        ((), -1, ValueError, "seconds must be 0 or more, got -1"),
        ((), math.nan, ValueError, "seconds must be 0 or more, got nan"),
    ],
)
def test_names_of_something_else_are_refused(
    hosts: Any, seconds: float, error: type[Exception], text: str
) -> None:
    async def scenario(world: World) -> None:
        world.name("x", *hosts, seconds=seconds)

    with pytest.raises(error, match=text):
        run(scenario)


class Stranger(asyncio.Protocol):
    """Takes everything, and answers nothing."""


@pytest.mark.parametrize("is_compactor", [True, False])
def test_a_port_is_taken_over_by_another_program(is_compactor: bool) -> None:
    async def scenario(world: World) -> None:
        here, b = Counter("here"), world.host("b")
        world.host("a").context().spawn(here)

        async def first(host: Host) -> None:
            host.context(port=5000).spawn(Counter("there"))
            await asyncio.sleep(10**6)

        async def other(host: Host) -> None:
            if is_compactor:
                host.context(port=5000).spawn(Counter("another"))
            else:
                await asyncio.get_running_loop().create_server(Stranger, port=5000)
            await asyncio.sleep(10**6)

        b.run(first)
        there = PID(b.ip, 5000, "there")
        await world.sleep(1)
        here.link(there)
        here.send(there, "count", b"1")
        await world.message("count")
        b.kill()
        b.run(other)
        assert (await world.exit(there)).reason in (Reason.CLOSED, Reason.RESET)
        here.link(there)
        here.send(there, "count", b"2")
        await world.sleep(60)
        if is_compactor:
            assert here.exits[1] == (there, Reason.NO_PROCESS)
        else:
            assert len(here.exits) == 1  # nobody has said anything

    run(scenario)


def test_a_killed_program_sends_what_its_system_has_and_starts_again() -> None:
    starts: list[float] = []

    async def scenario(world: World) -> None:
        async def program(host: Host) -> None:
            starts.append(world.time)
            host.context(port=5000).spawn(talker := Process("talker"))
            await asyncio.sleep(1)
            talker.send(listener.pid, "count", b"of the start at %d" % world.time)
            await asyncio.sleep(0)
            await asyncio.sleep(10**6)

        world.host("a").context().spawn(listener := Counter())
        b = world.host("b")
        b.run(program)
        await world.sleep(2)
        b.kill()
        assert repr(b).endswith("up>")
        b.restart()
        await world.sleep(2)
        assert listener.bodies == [b"of the start at 1", b"of the start at 3"]
        with pytest.raises(SimulationError, match="has a program that runs; kill"):
            b.run(program)

    done = run(scenario)
    assert starts == [0.0, 2.0]
    assert [name for _, _, name in of_kind(done, "fault")] == ["kill", "restart"]


def test_a_host_that_stops_well_ends_its_program_and_its_contexts() -> None:
    ended: list[str] = []

    async def program(host: Host) -> None:
        context = Context(ip=host.ip, port=5000)
        async with context:
            context.spawn(Counter("there"))
            try:
                await asyncio.sleep(10**6)
            finally:
                await asyncio.sleep(0.5)
                ended.append(host.name)

    async def scenario(world: World) -> None:
        world.host("a").context().spawn(here := Counter("here"))
        b = world.host("b")
        b.run(program)
        extra = b.context()
        await world.sleep(1)
        here.link(PID(b.ip, 5000, "there"))
        await world.sleep(1)
        await b.stop()
        assert ended == ["b"]
        assert not extra.is_alive()
        assert (await world.exit()).reason is Reason.TERMINATED
        b.pause()
        with pytest.raises(SimulationError, match="is paused; resume"):
            await b.stop()
        b.resume()
        b.restart()
        await world.sleep(1)
        b.crash()
        for call in (b.kill, b.context):
            with pytest.raises(SimulationError, match="is down; restart"):
                call()
        with pytest.raises(SimulationError, match="is down; restart"):
            await b.stop()

    run(scenario)


def test_a_program_cannot_wait_for_its_own_end() -> None:
    async def scenario(world: World) -> None:
        with pytest.raises(SimulationError, match="cannot wait for their own end"):
            await world.host("a").run(lambda_of_stop)

    async def lambda_of_stop(host: Host) -> None:
        await host.stop()

    run(scenario)


# The trace


def test_the_trace_has_timers_and_states_of_connections() -> None:
    class Ticker(Process):
        def initialize(self) -> None:
            self.every(10, "tick")
            self.delay(15, self.once)

        def tick(self) -> None: ...

        def once(self) -> None: ...

    async def scenario(world: World) -> None:
        world.host("a").context().spawn(Ticker("ticker"))
        await world.sleep(25)

    done = run(scenario)
    assert [(e.seconds, e.name, e.host) for e in done.trace if e.kind == "timer"] == [
        (10, "tick", "a"),
        (15, "once", "a"),
        (20, "tick", "a"),
    ]


def test_messages_come_again_on_a_second_connection_where_there_is_one() -> None:
    async def scenario(world: World) -> None:
        here, there = two(world)
        a = world.hosts["a"]
        a.contexts[0].spawn(near := Counter("near"))
        with world.duplicate_connection("count", times=2) as twice:
            for body in (b"1", b"2", b"3"):
                here.send(there.pid, "count", body)
                here.send(near.pid, "count", body)
            await world.sleep(1)
        assert twice.caught == 2
        assert near.bodies == [b"1", b"2", b"3"]  # no connection leads there
        assert sorted(there.bodies) == [b"1", b"1", b"2", b"2", b"3"]
        assert len(world.messages) == 8

    run(scenario)


def test_a_delayed_message_is_seen_when_it_comes() -> None:
    async def scenario(world: World) -> None:
        here, there = two(world)
        world.delay(5, "count")
        here.send(there.pid, "count", b"late")
        assert 5 < (await world.message("count", to=there)).seconds < 6

    run(scenario)


# TLS


def test_contexts_of_hosts_speak_tls(tmp_path_factory: pytest.TempPathFactory) -> None:
    pytest.importorskip("cryptography")
    certificates = Certificates(tmp_path_factory.mktemp("certificates"))

    class Echo(Process):
        @install("say")
        def say(self, from_pid: PID, body: bytes) -> None:
            self.send(from_pid, "count", body)

    async def scenario(world: World) -> None:
        tls: TlsSettings = certificates.settings(support_downgrade=False)
        here = Counter("here")
        world.host("a").context(tls=tls).spawn(here)
        there = world.host("b").context(tls=tls).spawn(Echo("there"))
        here.send(there, "say", bytes(100_000))
        assert len((await world.message("count", to=here)).body) == 100_000
        world.partition(world.hosts["a"], world.hosts["b"])
        here.link(there)
        assert (await world.exit(there, timeout=100)).reason is Reason.TIMEOUT

    run(scenario)
