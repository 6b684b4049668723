"""A context that is about to stop leaves those who ask it in peace: nothing of theirs is lost."""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Callable
from typing import Any

import pytest

from compactor import (
    PID,
    AskFailed,
    Context,
    Draining,
    Process,
    Reason,
    Reply,
    Settings,
    answer,
)
from compactor.inbound import farewells
from compactor.inbound.observers import Observers
from compactor.pool import Pool
from compactor.testing.simulated.world import World
from compactor.testing.simulation import Simulation
from tests.actors import TIMEOUT, Events, dead_letters, duration, spawned, take_letter, wait_until

MakeContext = Callable[..., Context]


class Kitchen(Process):
    """Answers at once, or when it is told to."""

    def __init__(self, name: str = "kitchen") -> None:
        super().__init__(name)
        self.asked: list[bytes] = []
        self.replies: list[Reply] = []

    @answer("now")
    def now(self, from_pid: PID, body: bytes) -> bytes:
        self.asked.append(body)
        return body

    @answer("later")
    def later(self, from_pid: PID, body: bytes) -> None:
        self.replies.append(self.defer_reply())


def is_draining(context: Context) -> bool:
    return context._runtime.server.state.is_draining


def on_loop_of(context: Context, call: Callable[..., Any], *args: Any) -> None:
    context._portal.post(lambda: call(*args))


def test_hooks_are_called_once_while_others_still_ask(
    make_context: MakeContext, caplog: pytest.LogCaptureFixture
) -> None:
    here, there = make_context(), make_context()
    kitchen = spawned(there, Kitchen())
    called = Events()
    gate = threading.Event()

    @there.on_drain
    async def leave() -> None:
        called.put(is_draining(there))
        while not gate.is_set():
            await asyncio.sleep(0.001)

    @there.on_drain
    def fail() -> None:
        called.put("fails")
        raise LookupError("nobody knows this program")

    there.stop(drain=TIMEOUT)
    assert set(called.take_many(2)) == {False, "fails"}
    assert here.ask(kitchen.pid, "now", b"early").result(TIMEOUT) == b"early"
    gate.set()
    there.join(TIMEOUT)
    assert called.is_empty
    lines = [record for record in caplog.records if record.levelno >= logging.WARNING]
    assert [record.getMessage().partition(":")[0] for record in lines] == [
        "a hook of on_drain has failed"
    ]


def test_a_hook_has_a_third_of_the_time(
    make_context: MakeContext, caplog: pytest.LogCaptureFixture
) -> None:
    context = make_context()
    ended = Events()

    @context.on_drain
    async def hang() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            ended.put("cancelled")

    context.stop(drain=0.06)
    context.join(TIMEOUT)
    assert ended.take() == "cancelled"
    assert "was cancelled, for it took more than 0.02 s" in caplog.text


def test_without_a_drain_no_hook_is_called(context: Context) -> None:
    called = Events()
    context.on_drain(lambda: called.put("called"))
    context.stop()
    context.join(TIMEOUT)
    assert called.is_empty


def test_hooks_are_functions(context: Context) -> None:
    with pytest.raises(TypeError, match=r"called as hook\(\)"):
        context.on_drain("leave")  # type: ignore[type-var]


def test_what_was_asked_is_answered_and_nothing_more_is_asked(make_context: MakeContext) -> None:
    here, there = make_context(), make_context()
    kitchen = spawned(there, Kitchen())
    open_ = here.ask(kitchen.pid, "later", b"stew")
    wait_until(lambda: kitchen.replies)
    there.stop(drain=TIMEOUT)
    wait_until(lambda: here._runtime.asks.leaving)
    error = here.ask(kitchen.pid, "now", timeout=TIMEOUT).exception(TIMEOUT)
    assert isinstance(error, Draining)
    assert there.metrics.dead_letters.total() == 0  # it was not even sent
    assert there.is_alive()
    on_loop_of(there, kitchen.replies[0], b"served")
    assert open_.result(TIMEOUT) == b"served"
    there.join(TIMEOUT)
    assert there._runtime.drain.lost == []
    wait_until(lambda: not here._runtime.asks.leaving)
    assert isinstance(here.ask(kitchen.pid, "now").exception(TIMEOUT), Draining)  # nobody is there
    again = make_context(port=there.port)
    again.spawn(Kitchen())
    assert here.ask(kitchen.pid, "now", b"again").result(TIMEOUT) == b"again"
    again.stop()
    again.join(TIMEOUT)
    error = here.ask(kitchen.pid, "now").exception(TIMEOUT)  # that one has said nothing
    assert type(error) is AskFailed


def test_an_answer_that_comes_later_is_waited_for_within_one_context(context: Context) -> None:
    kitchen = spawned(context, Kitchen())
    open_ = context.ask(kitchen.pid, "later")
    wait_until(lambda: kitchen.replies)
    context.stop(drain=TIMEOUT)
    wait_until(lambda: is_draining(context))
    on_loop_of(context, kitchen.replies[0], b"served")
    assert open_.result(TIMEOUT) == b"served"
    context.join(TIMEOUT)


class Slow(Process):
    """Answers after some seconds, in each way that there is."""

    @answer("deferred")
    def deferred(self, from_pid: PID, body: bytes) -> None:
        self.delay(float(body), self.defer_reply(), body)

    @answer("plain")
    async def plain(self, from_pid: PID, body: bytes) -> bytes:
        await asyncio.sleep(float(body))
        return body

    @answer("concurrent", concurrent=True)
    async def concurrent(self, from_pid: PID, body: bytes) -> bytes:
        await asyncio.sleep(float(body))
        return body


@pytest.mark.parametrize("name", ["deferred", "plain", "concurrent"])
@pytest.mark.parametrize("is_local", [False, True])
def test_what_was_asked_is_answered_however_long_that_takes(name: str, is_local: bool) -> None:
    async def scenario(world: World) -> None:
        there, here = world.host("there").context(), world.host("here").context()
        slow = there.spawn(Slow("slow"))
        who = there if is_local else here
        asks = [asyncio.ensure_future(who.ask(slow, name, b"2")) for _ in range(3)]
        await world.sleep(0.1)
        there.stop(drain=10)
        assert await asyncio.gather(*asks) == [b"2"] * 3
        assert not there._runtime.drain.lost

    for seed in range(3):
        Simulation(seed).run(scenario)


@pytest.mark.parametrize("is_local", [False, True])
def test_what_never_began_in_the_time_of_the_drain_can_be_asked_elsewhere(is_local: bool) -> None:
    async def scenario(world: World) -> None:
        there, here = world.host("there").context(), world.host("here").context()
        slow = there.spawn(Slow("slow"))
        who = there if is_local else here
        asks = [asyncio.ensure_future(who.ask(slow, "plain", b"5")) for _ in range(4)]
        await world.sleep(0.1)
        there.stop(drain=2)
        first, *others = await asyncio.gather(*asks, return_exceptions=True)
        assert isinstance(first, AskFailed)
        assert not isinstance(first, Draining)
        assert [type(error) for error in others] == [Draining] * 3

    for seed in range(3):
        Simulation(seed).run(scenario)


def test_an_answer_of_another_program_is_waited_for(make_context: MakeContext) -> None:
    """On the wire, too: its farewell arrives, and says that one answer is due."""
    here, there = make_context(), make_context()
    kitchen = spawned(there, Kitchen())
    open_ = here.ask(kitchen.pid, "later")
    wait_until(lambda: kitchen.replies)
    there.stop(drain=TIMEOUT)
    waited_for = there._runtime.observers.farewells
    wait_until(lambda: waited_for._asking and not waited_for._unheard)
    on_loop_of(there, kitchen.replies[0], b"served")
    assert open_.result(TIMEOUT) == b"served"
    there.join(TIMEOUT)


def test_what_is_under_way_is_refused_and_was_never_handled(
    make_context: MakeContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Observers, "say_farewell", lambda self: None)  # it has not arrived yet
    here, there = make_context(), make_context()
    kitchen = spawned(there, Kitchen())
    letters, told = dead_letters(there), dead_letters(here)
    for _ in range(2):  # in libprocess's form, and with a number behind the size
        assert here.ask(kitchen.pid, "now").result(TIMEOUT) == b""
    open_ = there.ask(kitchen.pid, "later")
    wait_until(lambda: kitchen.replies)
    there.stop(drain=TIMEOUT)
    wait_until(lambda: is_draining(there))
    error = here.ask(kitchen.pid, "now", b"late", timeout=TIMEOUT).exception(TIMEOUT)
    assert isinstance(error, Draining)
    assert str(error) == f"'now' was not answered by {kitchen.pid}: draining"
    assert take_letter(letters).reason is Reason.DRAINING
    assert take_letter(told).reason is Reason.DRAINING
    assert kitchen.asked == [b"", b""]
    on_loop_of(there, kitchen.replies[0])
    open_.result(TIMEOUT)


def test_a_peer_that_knows_no_farewells_is_not_waited_for(
    make_context: MakeContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(farewells, "DRAINING", "for later versions")
    monkeypatch.setattr(farewells, "_PATIENCE", 0.02)
    here, there = make_context(), make_context()
    kitchen = spawned(there, Kitchen())
    assert here.ask(kitchen.pid, "now").result(TIMEOUT) == b""
    there.stop(drain=3600)
    assert duration(lambda: there.join(TIMEOUT)) < TIMEOUT / 2


def test_children_are_finalized_before_their_parents(context: Context) -> None:
    ended = Events()

    class Child(Process):
        def finalize(self) -> None:
            ended.put(self.name)

    class Parent(Child):
        def initialize(self) -> None:
            self.spawn(Child("first"))
            self.spawn(Middle("middle"))

    class Middle(Child):
        def initialize(self) -> None:
            self.spawn(Child("last"))

    context.spawn(Parent("parent"))
    context.stop(drain=TIMEOUT)
    context.join(TIMEOUT)
    order = ended.take_many(4)
    assert order[-1] == "parent"
    assert order.index("last") < order.index("middle")


def test_what_is_lost_is_told_for_each_process(make_context: MakeContext) -> None:
    class Stuck(Process):
        begun = threading.Event()

        @answer("hang")
        async def hang(self, from_pid: PID, body: bytes) -> None:
            self.begun.set()
            await asyncio.Event().wait()

        async def finalize(self) -> None:
            await asyncio.Event().wait()

    context = make_context(settings=Settings(linger=0.02))
    stuck = spawned(context, Stuck("stuck"))
    for _ in range(3):
        context.ask(stuck.pid, "hang")
    assert stuck.begun.wait(TIMEOUT)
    context.stop(drain=0.02)
    context.join(TIMEOUT)
    assert context._runtime.drain.lost == [
        f"{stuck.pid}: 2 events wait, and a handler is cancelled",
        f"{stuck.pid}: its finalize() has not ended",
    ]


@pytest.mark.parametrize("seed", range(5))
def test_programs_come_and_go_and_no_ask_is_lost(seed: int) -> None:
    """Members are told late, so pools ask those that are about to stop, and others instead."""

    async def scenario(world: World) -> None:
        asker = world.host("asker").context()
        hosts = [world.host(f"worker-{number}") for number in range(3)]
        contexts = [host.context() for host in hosts]
        for host in hosts:
            asker_host = world.hosts["asker"]
            world.set_way(asker_host, host, latency=(0.0005, 0.02))
            world.set_way(host, asker_host, latency=(0.0005, 0.02))
        pids = [context.spawn(Kitchen()) for context in contexts]
        pool = Pool(asker, pids, "round_robin")
        ends = False

        async def ask(number: int) -> int:
            done = 0
            while not ends:
                body = b"%d.%d" % (number, done)
                assert await pool.ask("now", body, timeout=30) == body
                done += 1
                await world.sleep(0.001)
            return done

        asking = [asyncio.ensure_future(ask(number)) for number in range(4)]
        for turn in range(6):
            await world.sleep(0.3)
            place = turn % 3
            leaving, contexts[place] = contexts[place], hosts[place].context()
            pids[place] = contexts[place].spawn(Kitchen())
            leaving.stop(drain=10)
            await world.sleep(0.1)
            pool.update(pids)
        ends = True
        assert sum(await asyncio.gather(*asking)) > 100

    Simulation(seed).run(scenario)
