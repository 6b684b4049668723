"""Worlds: time, hosts, the network, faults, and what is refused."""

from __future__ import annotations

import asyncio
import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from typing import Any
from unittest.mock import Mock

import pytest

from compactor import PID, Context, Process, Reason, Settings, install
from compactor.testing.simulated.chaos import KINDS
from compactor.testing.simulated.errors import SimulationError
from compactor.testing.simulated.host import Host
from compactor.testing.simulated.world import World
from compactor.testing.simulation import Simulation
from tests.testing import chatter
from tests.testing.worlds import Counter, run, two

# Time


def test_two_minutes_take_no_time_and_failover_is_seen() -> None:
    async def scenario(world: World) -> None:
        here, there = two(world)
        a, b = world.hosts["a"], world.hosts["b"]
        here.link(there.pid)
        here.send(there.pid, "count", b"1")
        await world.message("count", to=there)
        world.partition(a, b)
        await world.sleep(120)
        assert here.exits == [(there.pid, Reason.TIMEOUT)]
        world.heal()
        here.send(there.pid, "count", b"2")
        await world.message("count", to=there)
        assert there.bodies == [b"1", b"2"]

    began = time.perf_counter()
    done = run(scenario)
    assert 120 < done.seconds < 125
    assert time.perf_counter() - began < 5


def test_all_clocks_of_user_code_are_virtual() -> None:
    async def scenario(world: World) -> None:
        began = time.time(), time.monotonic(), asyncio.get_running_loop().time(), world.time
        await asyncio.sleep(3600)
        ended = time.time(), time.monotonic(), asyncio.get_running_loop().time(), world.time
        assert [after - before for after, before in zip(ended, began, strict=True)] == [3600] * 4
        with pytest.raises(asyncio.TimeoutError):
            await asyncio.wait_for(asyncio.Event().wait(), 5)
        assert world.time == 3605
        assert time.strftime("%Y-%m-%d %H", time.gmtime(time.time())) == "2026-01-01 01"

    before = time.time()
    run(scenario)
    assert 0 <= time.time() - before < 60


def test_other_threads_keep_their_clock_and_their_contexts() -> None:
    real: list[float] = []
    go, gone = threading.Event(), threading.Event()

    def look() -> None:
        go.wait(10)
        real.append(time.time())
        with_real_sockets = Context(ip="127.0.0.1")
        pid = with_real_sockets.spawn(counter := Counter())
        counter.send(pid, "count", b"x")
        real.append(float(with_real_sockets.ask(pid, "how_many", b"").result(10)))
        with_real_sockets.stop()
        with_real_sockets.join()
        gone.set()

    thread = threading.Thread(target=look)
    thread.start()

    async def scenario(world: World) -> None:
        await asyncio.sleep(10**6)
        go.set()
        gone.wait(10)

    run(scenario)
    thread.join()
    assert abs(real[0] - time.time()) < 60
    assert real[1] == 1


def test_timers_of_processes_are_virtual() -> None:
    class Ticker(Process):
        ticks = 0

        def initialize(self) -> None:
            self.every(60.0, self.tick)

        def tick(self) -> None:
            self.ticks += 1

    async def scenario(world: World) -> None:
        world.host("a").context().spawn(ticker := Ticker("ticker"))
        await world.sleep(24 * 3600 + 1)
        assert ticker.ticks == 24 * 60

    run(scenario)


def test_clocks_of_hosts_jump_and_drift() -> None:
    async def scenario(world: World) -> None:
        seen: dict[str, tuple[float, float]] = {}

        async def program(host: Host) -> None:
            date, began = time.time(), time.monotonic()
            await asyncio.sleep(100)
            seen[host.name] = time.time() - date, time.monotonic() - began

        a, b, c = world.host("a"), world.host("b"), world.host("c")
        tasks = [host.run(program) for host in (a, b, c)]
        await world.sleep(1)
        b.jump_clock(3600)
        c.drift(2.0)
        await asyncio.gather(*tasks)
        assert seen["a"] == (100, 100)
        assert seen["b"] == (3700, 100)
        assert seen["c"] == (100, 100)

    run(scenario)


# Hosts


def test_a_program_starts_again_and_its_contexts_belong_to_its_host() -> None:
    starts: list[str] = []

    async def program(host: Host) -> None:
        starts.append(host.ip)
        async with Context(ip=host.ip, port=5050, settings=Settings(warn_unprotected=False)) as it:
            it.spawn(Counter("worker"))
            await asyncio.sleep(10**6)

    async def scenario(world: World) -> None:
        server, client = world.host("server"), world.host("client")
        server.run(program)
        client.context().spawn(here := Counter("here"))
        worker = PID(server.ip, 5050, "worker")
        await world.sleep(1)
        here.link(worker)
        here.send(worker, "count", b"1")
        assert (await world.message("count")).to == worker
        server.crash()
        assert repr(server) == f"<Host server {server.ip} down>"
        await world.sleep(5)
        assert not here.exits  # nobody has sent anything since
        server.restart()
        here.send(worker, "count", b"2")  # to a connection that the machine knows nothing of
        await world.exit(worker, linker=here)
        assert here.exits[0][1] is Reason.RESET
        here.send(worker, "count", b"3")
        assert (await world.message("count", to=worker)).body == b"3"

    run(scenario)
    assert starts == ["10.0.0.1", "10.0.0.1"]


def test_a_paused_host_does_nothing_and_is_not_taken_for_dead() -> None:
    async def scenario(world: World) -> None:
        here, there = two(world)
        b = world.hosts["b"]
        here.link(there.pid)
        await world.sleep(1)
        b.pause()
        here.send(there.pid, "count", b"x")
        await world.sleep(50)
        assert not there.bodies
        b.resume()
        await world.message("count", to=there)
        assert not here.exits

    run(scenario)


def test_a_host_that_crashes_runs_no_finally() -> None:
    ended: list[str] = []

    async def program(host: Host) -> None:
        try:
            await asyncio.sleep(100)
        finally:
            ended.append(host.name)

    async def scenario(world: World) -> None:
        a, b = world.host("a"), world.host("b")
        a.run(program)
        b.run(program)
        await world.sleep(1)
        a.crash()
        await world.sleep(200)
        assert ended == ["b"]

    run(scenario)


def test_a_vanished_host_is_noticed_without_any_traffic() -> None:
    async def scenario(world: World) -> None:
        here, there = two(world)
        b = world.hosts["b"]
        here.link(there.pid)
        await world.sleep(1)
        b.crash()
        told = await world.exit(there, timeout=100)
        assert (told.linker, told.reason) == (here.pid, Reason.TIMEOUT)

    run(scenario)


def test_dials_are_refused_time_out_or_find_no_host() -> None:
    async def scenario(world: World) -> None:
        here, there = two(world)
        a, b = world.hosts["a"], world.hosts["b"]
        c = world.host("c")
        here.link(PID(b.ip, 1, "nobody"))
        assert (await world.exit()).reason is Reason.REFUSED
        world.partition(a, c)
        here.link(PID(c.ip, 1, "nobody"))
        assert (await world.exit()).reason is Reason.TIMEOUT
        here.link(PID("10.9.9.9", 1, "nobody"))
        assert (await world.exit()).reason is Reason.UNREACHABLE
        b.refuses = True
        here.link(there.pid)
        assert (await world.exit()).reason is Reason.REFUSED

    run(scenario)


# The network


def test_a_partition_in_one_direction_drops_silently() -> None:
    async def scenario(world: World) -> None:
        here, there = two(world)
        a, b = world.hosts["a"], world.hosts["b"]
        here.send(there.pid, "count", b"0")
        there.send(here.pid, "count", b"0")
        await world.sleep(1)
        world.partition(a, b, one_way=True)
        here.send(there.pid, "count", b"1")
        there.send(here.pid, "count", b"1")
        await world.sleep(10)
        assert (here.bodies, there.bodies) == ([b"0", b"1"], [b"0"])
        world.heal(a, b)
        await world.message("count", to=there)

    run(scenario)


def test_latency_and_bandwidth_are_those_that_were_set() -> None:
    async def scenario(world: World) -> None:
        here, there = two(world)
        a, b = world.hosts["a"], world.hosts["b"]
        here.send(there.pid, "count", b"")
        await world.message("count")
        world.set_way(a, b, latency=0.25, bandwidth=10_000)
        await world.sleep(1)
        began = world.time
        here.send(there.pid, "count", bytes(10_000))
        await world.message("count")
        assert 1.25 < world.time - began < 1.3

    run(scenario)


def test_a_slow_way_is_felt_by_who_sends() -> None:
    async def scenario(world: World) -> None:
        here, there = two(world)
        a, b = world.hosts["a"], world.hosts["b"]
        world.set_way(a, b, bandwidth=1_000_000)
        for _ in range(32):
            here.send(there.pid, "count", bytes(1 << 20))
        context = a.contexts[0]
        waiting = asyncio.ensure_future(context.drained(here.pid, there.pid))
        with pytest.raises(Exception, match="on the context's loop"):
            await waiting
        await world.sleep(16)
        assert 10 < len(there.bodies) < 20
        await world.sleep(30)
        assert len(there.bodies) == 32

    run(scenario)


def test_names_resolve_as_the_world_says() -> None:
    async def scenario(world: World) -> None:
        here, there = two(world)
        b = world.hosts["b"]
        assert there.pid.port
        world.name("db.example", b)
        here.link(PID("db.example", there.pid.port, "there"))
        here.link(PID("b", 9, "there"))
        here.link(PID("gone.example", 9, "there"))
        await world.sleep(5)
        assert [(pid.ip, reason) for pid, reason in here.exits] == [
            ("gone.example", Reason.UNRESOLVED),
            ("b", Reason.REFUSED),
        ]

    run(scenario)


def test_user_code_has_the_same_network() -> None:
    async def scenario(world: World) -> None:
        a, b = world.host("a"), world.host("b")

        async def serve(host: Host) -> None:
            async def greet(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
                writer.write(b"hello " + await reader.readline())
                await writer.drain()
                writer.close()

            server = await asyncio.start_server(greet, port=80)
            async with server:
                await server.serve_forever()

        async def call(host: Host) -> bytes:
            reader, writer = await asyncio.open_connection("a", 80)
            writer.write(b"world\n")
            found = await reader.read()
            writer.close()
            return found

        a.run(serve)
        await world.sleep(1)
        assert await b.run(call) == b"hello world\n"

    run(scenario)


# What is seen, filtered and demanded


def test_messages_are_dropped_and_delayed() -> None:
    async def scenario(world: World) -> None:
        here, there = two(world)
        world.hosts["b"]
        with world.drop("count", to=there, times=2) as dropped:
            for number in range(4):
                here.send(there.pid, "count", b"%d" % number)
            await world.sleep(1)
        assert dropped.caught == 2
        assert there.bodies == [b"2", b"3"]
        late = world.delay(5, "count", body=b"late")
        here.send(there.pid, "count", b"late")
        here.send(there.pid, "count", b"soon")
        await world.sleep(1)
        assert there.bodies[2:] == [b"soon"]
        late.cancel()
        await world.sleep(5)
        assert there.bodies[2:] == [b"soon", b"late"]
        assert {event.detail for event in world.trace if event.kind == "drop"} == {
            "dropped",
            "delayed by 5 s",
        }

    run(scenario)


def test_a_dropped_question_is_not_answered() -> None:
    async def scenario(world: World) -> None:
        _, there = two(world)
        a, _b = world.hosts["a"], world.hosts["b"]
        asked = a.contexts[0].ask(there.pid, "how_many", b"", timeout=1.0)
        assert await asked == b"0"
        world.drop("how_many", times=1)
        with pytest.raises(TimeoutError):
            await a.contexts[0].ask(there.pid, "how_many", b"", timeout=1.0)

    run(scenario)


def test_a_message_that_does_not_come_is_told_with_what_did() -> None:
    async def scenario(world: World) -> None:
        here, there = two(world)
        world.hosts["b"]
        here.send(there.pid, "count", b"")
        await world.message("mount", to=there, timeout=2)

    with pytest.raises(
        SimulationError, match=r"no 'mount' to there@.* 2 s; what did come: 'count'"
    ):
        run(scenario)


def test_an_exit_that_is_not_told_is_an_error() -> None:
    async def scenario(world: World) -> None:
        await world.exit(timeout=3)

    with pytest.raises(SimulationError, match="no exit of any process was told to anybody"):
        run(scenario)


def test_settled_waits_for_all_that_takes_no_time() -> None:
    async def scenario(world: World) -> None:
        here, there = two(world)
        a, b = world.hosts["a"], world.hosts["b"]
        world.set_way(a, b, latency=0.0)
        world.set_way(b, a, latency=0.0)
        here.send(there.pid, "count", b"")
        await world.settled()
        assert not there.bodies  # dialling takes a timer, though not any time
        await world.sleep(0.001)
        await world.settled()
        here.send(there.pid, "count", b"")
        await world.settled()
        await world.sleep(0)
        assert there.bodies

    run(scenario)


class Fragile(Process):
    @install("break")
    def break_(self, from_pid: PID, body: bytes) -> None:
        assert body != b"assert", "an assertion of a handler"
        raise ValueError("a bug of a handler")


@pytest.mark.parametrize(("body", "error"), [(b"assert", AssertionError), (b"", ValueError)])
def test_a_handler_that_fails_fails_the_run_with_the_trace(
    body: bytes, error: type[Exception]
) -> None:
    async def scenario(world: World) -> None:
        context = world.host("a").context()
        context.spawn(here := Counter())
        here.send(context.spawn(Fragile("fragile")), "break", body)
        await world.sleep(1)

    with pytest.raises(error, match="of a handler") as raised:
        run(scenario)
    assert "deliver  counter@10.0.0.1:" in "".join(raised.value.__notes__)  # type: ignore[attr-defined]


@pytest.mark.parametrize("is_awaited", [True, False])
def test_a_program_that_fails_fails_the_run_unless_somebody_asks_for_it(is_awaited: bool) -> None:
    async def program(host: Host) -> None:
        await asyncio.sleep(1)
        raise ValueError("a bug of a program")

    async def scenario(world: World) -> None:
        task = world.host("a").run(program)
        if is_awaited:
            with pytest.raises(ValueError, match="a bug of a program"):
                await task
        await world.sleep(2)

    if is_awaited:
        trace = "\n".join(run(scenario).trace.lines())
    else:
        with pytest.raises(ValueError, match="a bug of a program") as raised:
            run(scenario)
        trace = "".join(raised.value.__notes__)  # type: ignore[attr-defined]
    assert "fault    program failed  ValueError('a bug of a program')" in trace


def test_failures_that_are_expected_go_on() -> None:
    async def scenario(world: World) -> None:
        context = world.host("a").context()
        context.spawn(here := Counter())
        fragile = context.spawn(Fragile("fragile"))
        with world.expect_failure() as failures:
            here.send(fragile, "break", b"")
            await world.sleep(1)
        assert [str(failure) for failure in failures] == ["a bug of a handler"]
        with world.expect_failure():
            pass

    with pytest.raises(AssertionError, match="no handler has raised"):
        run(scenario)


def test_an_invariant_is_looked_at_after_every_event() -> None:
    async def scenario(world: World) -> None:
        here, there = two(world)
        world.hosts["b"]

        def at_most_two() -> bool:
            return len(there.bodies) <= 2

        world.always(at_most_two)
        for _ in range(5):
            await world.sleep(1)
            here.send(there.pid, "count", b"")
        await world.sleep(1)

    with pytest.raises(AssertionError, match=r"at_most_two does not hold any more at 3.0"):
        run(scenario)


# Runs


def test_a_seed_gives_the_same_run_and_another_one_another() -> None:
    async def scenario(world: World) -> float:
        here, there = two(world)
        world.hosts["b"]
        for _ in range(20):
            here.send(there.pid, "count", b"x")
            await world.sleep(world.random.random())
        return world.random.random()

    first, second, third = run(scenario, 1), run(scenario, 1), run(scenario, 2)
    assert (first.digest, first.result) == (second.digest, second.result)
    assert first.digest != third.digest
    assert first.trace.lines() == second.trace.lines()
    assert first.seconds == second.seconds != third.seconds


# The same on other machines, in order of what may differ: the order of sets, the backend
@pytest.mark.parametrize(
    ("seed", "environ"), [(1, {"PYTHONHASHSEED": "1"}), (2, {"COMPACTOR_NO_SPEEDUPS": "1"})]
)
def test_a_run_is_the_same_in_another_program(seed: int, environ: dict[str, str]) -> None:
    there = subprocess.run(
        [sys.executable, "-m", "tests.testing.chatter", *[str(seed)] * 2],
        env={**os.environ, **environ},
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    ).stdout
    assert there.split()[1] == Simulation(seed).run(chatter.scenario).digest


# What cannot be


REFUSED: dict[str, Callable[[World], Any]] = {
    "thread": lambda world: asyncio.to_thread(print),
    "signal": lambda world: asyncio.get_running_loop().add_signal_handler(15, print),
    "socket": lambda world: asyncio.get_running_loop().add_reader(0, print),
    "a real socket": lambda world: asyncio.get_running_loop().sock_recv(Mock(), 1),
    "a real socket cannot": lambda world: asyncio.get_running_loop().sock_connect(Mock(), ("b", 1)),
    "TLS of asyncio": lambda world: asyncio.get_running_loop().start_tls(Mock(), Mock(), Mock()),
    "another OS process": lambda world: asyncio.create_subprocess_exec("true"),
    "Unix socket": lambda world: asyncio.get_running_loop().create_unix_connection(Process, "/x"),
    "UDP": lambda world: asyncio.get_running_loop().create_datagram_endpoint(
        asyncio.DatagramProtocol, ("127.0.0.1", 1)
    ),
    "does not run on a host": lambda world: Context(ip="127.0.0.1"),
    "no network": lambda world: asyncio.open_connection("a", 1),
    "there is a host named 'a'": lambda world: world.host("a") and world.host("a"),
    "cannot be cut off from itself": lambda world: world.partition(*[world.host("a")] * 2),
    "is down already": lambda world: [host.crash() for host in [world.host("a")] * 2],
    "restart\\(\\) starts it again": lambda world: [
        call() for host in [world.host("a")] for call in (host.crash, host.context)
    ],
}


@pytest.mark.parametrize("what", REFUSED)
def test_what_cannot_be_simulated_is_refused_with_the_reason(what: str) -> None:
    async def scenario(world: World) -> None:
        result = REFUSED[what](world)
        if asyncio.iscoroutine(result):
            await result

    with pytest.raises(SimulationError, match=what):
        run(scenario)


def run_by_another_loop() -> None:
    waiting, loop = asyncio.sleep(1), asyncio.new_event_loop()
    try:
        loop.run_until_complete(waiting)
    finally:
        waiting.close()
        loop.close()


def run_by_asyncio() -> None:
    waiting = asyncio.sleep(1)
    try:
        asyncio.run(waiting)
    finally:
        waiting.close()


@pytest.mark.parametrize("run_second", [run_by_another_loop, run_by_asyncio])
def test_a_second_loop_in_a_handler_fails_the_run(run_second: Callable[[], None]) -> None:
    class Looping(Process):
        def initialize(self) -> None:
            self.delay(1, run_second)

    async def scenario(world: World) -> None:
        world.host("a").context().spawn(Looping("looping"))
        await world.sleep(2)

    with pytest.raises(RuntimeError, match=r"running event loop|another loop is running") as raised:
        run(scenario)
    assert "timer    looping@10.0.0.1" in "".join(raised.value.__notes__)  # type: ignore[attr-defined]


def test_an_os_process_that_a_handler_waits_for_is_named() -> None:
    class Waiting(Process):
        def initialize(self) -> None:
            self.delay(0.5, self.wait)

        def wait(self) -> None:
            subprocess.run([sys.executable, "-c", "import time; time.sleep(0.3)"], check=True)

    async def scenario(world: World) -> None:
        world.host("a").context().spawn(Waiting("waiting"))
        await world.sleep(1)

    with pytest.raises(SimulationError, match=r"a turn of 'a' has taken .* real seconds"):
        run(scenario, max_block=0.25)


def test_a_handler_that_never_ends_is_named_once_it_does() -> None:
    """A loop in a handler that awaits nothing cannot be interrupted; one that ends is told."""

    class Computing(Process):
        def initialize(self) -> None:
            self.delay(0.5, self.compute)

        def compute(self) -> None:
            end = time.perf_counter() + 0.3
            while time.perf_counter() < end:
                pass

    async def scenario(world: World) -> None:
        world.host("a").context().spawn(Computing("computing"))
        await world.sleep(1)

    with pytest.raises(SimulationError, match=r"a turn of 'a' has taken .* something blocks"):
        run(scenario, max_block=0.25)


AFTER: dict[str, Callable[[World], Any]] = {
    "host": lambda world: world.host("c"),
    "sleep": lambda world: world.sleep(1),
    "settled": lambda world: world.settled(),
    "message": lambda world: world.message(),
    "exit": lambda world: world.exit(),
    "drop": lambda world: world.drop("x"),
    "always": lambda world: world.always(print),
    "partition": lambda world: world.partition(*world.hosts.values()),
    "heal": lambda world: world.heal(),
    "reset": lambda world: world.reset(*world.hosts.values()),
    "half_open": lambda world: world.half_open(*world.hosts.values()),
    "set_way": lambda world: world.set_way(*world.hosts.values(), latency=1),
    "name": lambda world: world.name("x"),
    "chaos": lambda world: world.chaos(1.0),
    "context": lambda world: world.hosts["a"].context(),
    "spawn": lambda world: world.contexts[0].spawn(Process("x")),  # type: ignore[attr-defined]
    "run": lambda world: world.hosts["a"].run(registered_in_chaos),  # type: ignore[arg-type]
    "crash": lambda world: world.hosts["a"].crash(),
    "kill": lambda world: world.hosts["a"].kill(),
    "stop": lambda world: world.hosts["a"].stop(),
    "restart": lambda world: world.hosts["a"].restart(),
    "pause": lambda world: world.hosts["a"].pause(),
    "resume": lambda world: world.hosts["a"].resume(),
}


@pytest.mark.parametrize("what", AFTER)
def test_what_is_used_after_the_run_says_that_it_is_over(what: str) -> None:
    worlds: list[World] = []

    async def scenario(world: World) -> None:
        two(world)
        world.contexts = list(world.hosts["a"].contexts)  # type: ignore[attr-defined]
        worlds.append(world)

    run(scenario)
    with pytest.raises(SimulationError, match="this run is over"):
        result = AFTER[what](worlds[0])
        if asyncio.iscoroutine(result):
            asyncio.run(result)


def test_what_has_happened_can_be_asked_after_the_run() -> None:
    async def scenario(world: World) -> World:
        here, there = two(world)
        here.send(there.pid, "count", b"x")
        await world.sleep(1)
        return world

    world = run(scenario).result
    assert [message.body for message in world.messages] == [b"x"]
    assert (world.exits, world.time) == ([], 1.0)


def test_a_thread_that_calls_in_is_refused() -> None:
    async def scenario(world: World) -> None:
        loop, errors = asyncio.get_running_loop(), []

        def call() -> None:
            try:
                loop.call_soon_threadsafe(print)
            except SimulationError as error:
                errors.append(str(error))

        thread = threading.Thread(target=call)
        thread.start()
        thread.join()
        assert "threads do not follow its time" in errors[0]

    run(scenario)


def test_a_loop_that_never_waits_is_ended_with_its_trace() -> None:
    async def scenario(world: World) -> None:
        while True:
            await asyncio.sleep(0)

    with pytest.raises(SimulationError, match=r"events happened at 0.000000 s.*no time passes"):
        run(scenario, max_events=10_000)


def test_processes_that_feed_each_other_for_ever_are_ended() -> None:
    class Hot(Process):
        def initialize(self) -> None:
            self.send(self.pid, "again", b"")

        @install("again")
        def again(self, from_pid: PID, body: bytes) -> None:
            self.send(self.pid, "again", b"")

    async def scenario(world: World) -> None:
        world.host("a").context().spawn(Hot("hot"))
        await world.sleep(1)

    with pytest.raises(SimulationError, match="the last on 'a', and no time passes"):
        run(scenario, max_events=1000, keep=100)


def test_nothing_left_to_happen_is_an_error() -> None:
    async def scenario(world: World) -> None:
        await asyncio.Event().wait()

    with pytest.raises(SimulationError, match="what it waits for never comes"):
        run(scenario)


def test_what_blocks_is_named() -> None:
    async def scenario(world: World) -> None:
        world.host("a").context().spawn(Slow("slow"))
        await world.sleep(1)

    class Slow(Process):
        def initialize(self) -> None:
            self.delay(0.5, self.work)

        def work(self) -> None:
            threading.Event().wait(0.3)

    with pytest.raises(SimulationError, match=r"a turn of 'a' has taken 0.[3-9].* real seconds"):
        run(scenario, max_block=0.25)


# Chaos


class Registry(Process):
    """Fails when a follower is lost."""

    def initialize(self) -> None:
        self.lost = 0

    @install("register")
    def register(self, from_pid: PID, body: bytes) -> None:
        self.link(from_pid)

    def exited(self, pid: PID, reason: Reason) -> None:
        self.lost += 1


async def registered_in_chaos(world: World) -> None:
    async def program(host: Host) -> None:
        context = host.context(port=5000)
        context.spawn(follower := Process("follower"))
        follower.send(PID("10.0.0.1", 5000, "registry"), "register")

    registry = Registry("registry")
    world.host("registry").context(port=5000).spawn(registry)
    followers = [world.host(f"f{number}") for number in range(4)]
    for host in followers:
        host.run(program)
    await world.sleep(1)
    with world.chaos(rate=1.0, hosts=followers, longest=10):
        await world.sleep(10)
    await world.sleep(50)
    assert not registry.lost


def test_chaos_is_made_smaller_until_only_what_is_needed_is_left() -> None:
    simulation = Simulation(1)
    with pytest.raises(AssertionError) as raised:
        simulation.run(registered_in_chaos)
    needed = simulation.smallest(registered_in_chaos)
    assert [fault.kind for fault in needed] == ["crash"]
    assert str(needed[0]) in "".join(raised.value.__notes__)  # type: ignore[attr-defined]


def test_chaos_has_all_kinds_and_ends_well() -> None:
    async def scenario(world: World) -> None:
        followers = [world.host(f"f{number}") for number in range(4)]
        with world.chaos(rate=1.0, longest=10) as chaos:
            await world.sleep(60)
        assert 30 < len(chaos.faults) < 100
        assert {fault.kind for fault in chaos.faults} == set(KINDS)
        assert chaos.faults == world.faults
        assert all(not host.is_down and not host.turns.is_paused for host in followers)
        assert all(host.reads and not host.refuses for host in followers)

    run(scenario)


@pytest.mark.parametrize("kind", ["slow", "pause", "refuse"])
def test_of_faults_alike_that_overlap_the_later_end_is_the_end(kind: str) -> None:
    async def scenario(world: World) -> None:
        a, b = world.host("a"), world.host("b")

        def state() -> object:
            ways = world.latency_of(a, b), world.latency_of(b, a)
            return ways, a.turns.is_paused, b.turns.is_paused, a.refuses, b.refuses

        before = state()
        with world.chaos(rate=5.0, kinds=[kind], longest=10) as chaos:
            await world.sleep(20)
            ends = [fault.seconds + fault.length for fault in chaos.faults]
            assert state() != before
        assert state() == before
        with world.chaos(rate=0.5, kinds=[kind], longest=10) as chaos:
            lasted = 0
            for _ in range(200):
                await world.sleep(0.25)
                ends = [fault.seconds + fault.length for fault in chaos.faults]
                is_on = any(end > world.time + 0.001 for end in ends)
                assert (state() != before) == is_on
                lasted += is_on
        assert lasted
        assert state() == before

    run(scenario)


def test_what_does_not_fail_needs_no_faults() -> None:
    async def scenario(world: World) -> None:
        with world.chaos(rate=10.0, kinds=["clock"]):
            world.host("a")
            await world.sleep(10)

    assert Simulation(1).smallest(scenario) == []


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        ({"rate": 0}, "rate must be positive and finite, got 0"),
        ({"rate": float("nan")}, "rate must be positive"),
        ({"rate": 1, "longest": -1}, "longest must be positive"),
        ({"rate": 1, "kinds": ["flood"]}, "a kind of fault is one of partition, .*, got 'flood'"),
    ],
)
def test_chaos_of_other_kinds_is_refused(arguments: dict[str, Any], error: str) -> None:
    async def scenario(world: World) -> None:
        world.chaos(**arguments)

    with pytest.raises(ValueError, match=error):
        run(scenario)


@pytest.mark.parametrize("seed", [1.5, None, b"x", True])
def test_seeds_are_integers_or_texts(seed: Any) -> None:
    with pytest.raises(TypeError, match="a seed is an integer or a text"):
        Simulation(seed)
    Simulation("a text")


def test_a_scenario_is_an_async_function() -> None:
    with pytest.raises(TypeError, match="a scenario is an async function"):
        Simulation().run(print)  # type: ignore[arg-type]


def test_a_second_simulation_inside_of_one_is_refused() -> None:
    async def scenario(world: World) -> None:
        run(scenario)

    with pytest.raises(SimulationError, match="runs on this thread already"):
        run(scenario)


def test_a_real_socket_of_user_code_is_still_real() -> None:
    """Only what contexts and event loops ask for is simulated."""

    async def scenario(world: World) -> None:
        with socket.create_server(("127.0.0.1", 0)) as server:
            assert server.getsockname()[1]

    run(scenario)
