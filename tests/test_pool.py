"""Pools: who is asked, who is asked instead, and what is told if there is nobody."""

from __future__ import annotations

import asyncio
import threading
from collections import Counter
from collections.abc import Callable, Coroutine
from typing import Any

import pytest

from compactor import (
    PID,
    AskFailed,
    AskTimeout,
    Context,
    Draining,
    Process,
    Reason,
    RemoteError,
    answer,
)
from compactor.actor.protobuf import DoesNotParse
from compactor.pool import NoMember, Pool, choose_by_key
from compactor.testing.simulated.world import World
from compactor.testing.simulation import Simulation
from compactor.wire import notices
from tests.actors import TIMEOUT, Receiver, spawned, wait_until
from tests.raw import dead_port

MakeContext = Callable[..., Context]


class Worker(Process):
    """Says who it is, and keeps what it was asked."""

    def __init__(self, name: str = "worker") -> None:
        super().__init__(name)
        self.asked: list[bytes] = []
        self.gate: asyncio.Event = asyncio.Event()

    @answer("work")
    def work(self, from_pid: PID, body: bytes) -> bytes:
        self.asked.append(body)
        return self.name.encode() if body != b"fail" else b"%d" % (1 // 0)

    @answer("wait", concurrent=True)
    async def wait(self, from_pid: PID, body: bytes) -> bytes:
        self.asked.append(body)
        await self.gate.wait()
        return self.name.encode()


def pids(count: int) -> list[PID]:
    return [PID("192.0.2.7", 5000 + number, "worker") for number in range(count)]


def simulate(scenario: Callable[[World], Coroutine[Any, Any, Any]]) -> None:
    Simulation(7).run(scenario)


def workers(world: World, count: int) -> tuple[Context, list[Worker]]:
    """A context that asks, and workers on hosts of their own."""
    made = [Worker() for _ in range(count)]
    for number, worker in enumerate(made):
        world.host(f"worker-{number}").context().spawn(worker)
    return world.host("asker").context(), made


async def counted(pool: Pool, asks: int, **kw: Any) -> list[int]:
    """How often each member is asked, the one that is asked most often first."""
    found: Counter[PID] = Counter([await pool.pick(**kw) for _ in range(asks)])
    return sorted(found.values(), reverse=True)


def test_routes() -> None:
    async def scenario(world: World) -> None:
        context = world.host("asker").context()
        assert await counted(Pool(context, pids(4), "first"), 8) == [8]
        assert await counted(Pool(context, pids(4), "round_robin"), 8) == [2, 2, 2, 2]
        assert await counted(Pool(context, pids(4), "least"), 8) == [2, 2, 2, 2]
        spread = await counted(Pool(context, pids(4)), 400)
        assert len(spread) == 4
        assert min(spread) > 50
        assert await counted(Pool(context, pids(4), "first"), 8, key="k") == [8]
        assert await counted(Pool(context, pids(4), "key"), 8, key="k") == [8]

    simulate(scenario)


def test_the_least_asked_is_next() -> None:
    async def scenario(world: World) -> None:
        context, made = workers(world, 3)
        pool = Pool(context, [worker.pid for worker in made], "least")
        waiting = [asyncio.ensure_future(pool.ask("wait", b"%d" % n)) for n in range(6)]
        await world.sleep(1)
        assert [len(worker.asked) for worker in made] == [2, 2, 2]
        made[1].gate.set()
        await world.sleep(1)
        assert {(await pool.pick()), (await pool.pick())} == {made[1].pid}
        for worker in made:
            worker.gate.set()
        await asyncio.gather(*waiting)
        assert pool._under_way == {}

    simulate(scenario)


def test_few_keys_move_when_members_change_and_every_order_chooses_alike() -> None:
    ten = pids(10)
    before = {key: choose_by_key(ten, key) for key in range(2000)}
    spread = Counter(before.values())
    assert len(spread) == 10
    assert min(spread.values()) > 120
    without = {key: choose_by_key(ten[:3] + ten[4:], key) for key in before}
    assert all(before[key] == ten[3] for key in before if before[key] != without[key])
    assert all(choose_by_key(ten[::-1], key) == pid for key, pid in before.items())
    # Every program, and every later version, has to choose the same.
    assert [choose_by_key(ten, key).port for key in ("a", b"a", 97)] == [5000, 5002, 5002]


def test_an_ask_waits_for_a_member_until_its_time_is_over() -> None:
    async def scenario(world: World) -> None:
        context, (worker,) = workers(world, 1)
        pool = Pool(context, name="orders")
        began = world.loop.time()
        with pytest.raises(NoMember, match=r"'orders' had no member to ask within 5 s") as raised:
            await pool.ask("work", timeout=5)
        assert raised.value.reason is Reason.NO_PROCESS
        assert world.loop.time() - began == pytest.approx(5, abs=0.1)
        asked = asyncio.ensure_future(pool.ask("work", timeout=5))
        world.loop.call_later(2, pool.update, [worker.pid])
        assert await asked == b"worker"
        pool.update([])
        assert pool.members == ()
        asked.cancel()
        assert not pool._waiting

    simulate(scenario)


def test_a_callable_tells_the_members_of_each_ask() -> None:
    async def scenario(world: World) -> None:
        context, made = workers(world, 2)
        told: list[PID] = []
        pool = Pool(context, lambda: told, "first")
        asked = asyncio.ensure_future(pool.ask("work", timeout=5))
        await world.sleep(1)
        told.append(made[0].pid)
        assert await asked == b"worker"
        told[:] = [made[1].pid]
        await pool.ask("work", b"other")
        assert made[1].asked == [b"other"]
        with pytest.raises(ValueError, match="are told by"):
            pool.update([])

    simulate(scenario)


def test_whoever_cannot_be_reached_is_not_asked_for_a_while() -> None:
    async def scenario(world: World) -> None:
        context, made = workers(world, 2)
        pool = Pool(context, [worker.pid for worker in made], "first")
        world.hosts["worker-0"].refuses = True
        with pytest.raises(AskFailed, match="refused") as raised:
            await pool.ask("work", timeout=5)
        assert not isinstance(raised.value, Draining)
        assert await pool.pick() == made[1].pid
        await world.sleep(1)
        assert await pool.pick() == made[0].pid

    simulate(scenario)


def test_what_a_handler_raises_and_what_is_late_is_told_and_not_asked_again() -> None:
    async def scenario(world: World) -> None:
        context, made = workers(world, 2)
        pool = Pool(context, [worker.pid for worker in made], "round_robin")
        with pytest.raises(RemoteError, match="ZeroDivisionError"):
            await pool.ask("work", b"fail")
        with pytest.raises(AskTimeout):
            await pool.ask("wait", timeout=0.5)
        assert sum(len(worker.asked) for worker in made) == 2

    simulate(scenario)


def test_an_answer_that_does_not_parse_is_told_and_leaves_nothing() -> None:
    """The handler has run, so nobody else is asked; who answered that may be asked again."""

    async def scenario(world: World) -> None:
        context, (first, second) = workers(world, 2)
        pool = Pool(context, [first.pid, second.pid], "first")
        for _ in range(3):
            with pytest.raises(DoesNotParse):
                await pool.ask("work", b"in words", reply=int)
        assert (len(first.asked), second.asked) == (3, [])
        assert not pool._under_way
        assert not pool._avoided
        assert await pool.ask("work", b"as it is") == b"worker"

    simulate(scenario)


def test_a_program_that_is_about_to_stop_has_others_be_asked(make_context: MakeContext) -> None:
    here, there, other = make_context(), make_context(), make_context()
    busy, free = spawned(there, Worker("busy")), spawned(other, Worker("free"))
    pool = Pool(here, [busy.pid, free.pid], "first")

    async def main() -> None:
        under_way = asyncio.ensure_future(pool.ask("wait", b"taken", timeout=TIMEOUT))
        while not busy.asked:
            await asyncio.sleep(0.001)
        there.stop(drain=TIMEOUT)
        while not there._runtime.server.state.is_draining:
            await asyncio.sleep(0.001)
        answers = [await pool.ask("work", timeout=TIMEOUT) for _ in range(3)]
        assert answers == [b"free"] * 3
        alone = Pool(here, [busy.pid])
        with pytest.raises(Draining, match="draining") as raised:
            await alone.ask("work", timeout=0.05)
        assert raised.value.reason is Reason.DRAINING
        there._runtime.run_queue.loop.call_soon_threadsafe(busy.gate.set)
        assert await under_way == b"busy"

    asyncio.run(asyncio.wait_for(main(), TIMEOUT))
    assert busy.asked == [b"taken"]


def test_an_older_compactor_is_told_in_words_that_it_knows(
    make_context: MakeContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(notices, "DRAINING", "not known to it")
    here, there = make_context(), make_context()
    worker = spawned(there, Worker())
    under_way = here.ask(worker.pid, "wait")
    wait_until(lambda: worker.asked)
    there.stop(drain=TIMEOUT)
    wait_until(lambda: there._runtime.server.state.is_draining)
    error = here.ask(worker.pid, "work").exception(TIMEOUT)
    assert type(error) is AskFailed
    assert error.reason is Reason.STOPPED
    there._runtime.run_queue.loop.call_soon_threadsafe(worker.gate.set)
    assert under_way.result(TIMEOUT) == b"worker"


@pytest.mark.parametrize(
    ("call", "error", "match"),
    [
        (lambda c: Pool(c, route="fastest"), ValueError, "must be one of 'first', 'random'"),
        (lambda c: Pool(c, ["worker@127.0.0.1:1"]), TypeError, "PID"),
        (lambda c: Pool(c).update([None]), TypeError, "PID"),
        (lambda c: asyncio.run(Pool(c, pids(2)).pick(key=1.5)), TypeError, "text, bytes or a numb"),
        (lambda c: asyncio.run(Pool(c, pids(1)).ask("work", timeout=-1)), ValueError, "above 0"),
        (lambda c: asyncio.run(Pool(c).pick(timeout=0)), ValueError, "above 0"),
        (lambda c: choose_by_key([], "k"), ValueError, "empty"),
        (lambda c: asyncio.run(Pool(c, pids(2), "key").ask("work")), ValueError, "give key= with"),
    ],
)
def test_bad_input(call: Any, error: type[Exception], match: str) -> None:
    context = Context(ip="127.0.0.1")
    try:
        with pytest.raises(error, match=match):
            call(context)
    finally:
        context.stop()


def test_another_thread_tells_the_members(make_context: MakeContext) -> None:
    here, there = make_context(), make_context()
    worker = spawned(there, Worker())
    pool = Pool(here)
    thread = threading.Timer(0.02, pool.update, args=([worker.pid],))
    thread.start()
    assert asyncio.run(pool.ask("work", timeout=TIMEOUT)) == b"worker"
    thread.join()


def test_members_are_named_once_and_a_dead_port_is_told(make_context: MakeContext) -> None:
    here = make_context()
    gone = PID("127.0.0.1", dead_port(), "worker")
    pool = Pool(here, [gone, gone])
    assert pool.members == (gone,)
    assert repr(pool) == "<Pool pool: 1 members, random>"
    with pytest.raises(AskFailed) as raised:
        asyncio.run(pool.ask("work", timeout=TIMEOUT))
    assert raised.value.reason is Reason.REFUSED
    here.spawn(Receiver())
