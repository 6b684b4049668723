"""Calls from many threads at once: nothing is lost, nothing blocks, one event at a time."""

from __future__ import annotations

import asyncio
import itertools
import threading
import time
from collections.abc import Callable
from typing import Any

import pytest

from compactor import PID, Context, Process, install
from compactor.errors import ProcessTerminated
from tests.actors import TIMEOUT, Events, Receiver, end, settle
from tests.raw import dead_port

_callers = itertools.count(1)

THREADS = 8
CALLS = 200


def _in_threads(call: Callable[[int], object]) -> None:
    """Run ``call(number)`` in several threads; fails if one raises or does not return."""
    errors = Events()
    ready = threading.Barrier(THREADS)

    def run(number: int) -> None:
        try:
            ready.wait(TIMEOUT)
            call(number)
        except BaseException as error:
            errors.put(error)

    threads = [threading.Thread(target=run, args=(n,), daemon=True) for n in range(THREADS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(4 * TIMEOUT)
    assert not [thread for thread in threads if thread.is_alive()], "a call did not return"
    if not errors.is_empty:
        raise errors.take()


class Exclusive(Receiver):
    """Notices two events at a time, on whichever thread or across an await."""

    def __init__(self, name: str = "exclusive") -> None:
        super().__init__(name)
        self.inside = 0
        self.overlaps = 0
        self.served = Events()

    def enter(self) -> None:
        self.overlaps += self.inside
        self.inside += 1

    def leave(self, body: bytes) -> None:
        self.inside -= 1
        self.served.put(body)

    @install("sync")
    def sync(self, from_pid: PID, body: bytes) -> None:
        self.enter()
        self.leave(body)

    @install("async")
    async def async_(self, from_pid: PID, body: bytes) -> None:
        self.enter()
        await asyncio.sleep(0)
        self.leave(body)


@pytest.fixture(params=["local", "remote"])
def sender_and_exclusive(
    request: pytest.FixtureRequest, make_context: Callable[..., Context]
) -> tuple[Process, Exclusive]:
    """A process that sends, and one that receives in the same or another context."""
    here = make_context()
    there = here if request.param == "local" else make_context()
    sender, exclusive = Process("sender"), Exclusive()
    here.spawn(sender)
    there.spawn(exclusive)
    return sender, exclusive


@pytest.mark.parametrize("names", [("sync",), ("async",), ("sync", "async")])
def test_messages_of_each_thread_arrive_in_order_and_one_at_a_time(
    sender_and_exclusive: tuple[Process, Exclusive], names: tuple[str, ...]
) -> None:
    sender, exclusive = sender_and_exclusive

    def work(thread: int) -> None:
        for number in range(CALLS):
            name = names[number % len(names)]
            sender.send(exclusive.pid, name, b"%d %d" % (thread, number))

    _in_threads(work)
    served = exclusive.served.take_many(THREADS * CALLS)

    assert exclusive.overlaps == 0
    for thread in range(THREADS):
        prefix = b"%d " % thread
        mine = [body for body in served if body.startswith(prefix)]
        assert mine == [prefix + b"%d" % n for n in range(CALLS)]


def test_local_remote_and_dispatched_events_never_overlap(
    make_context: Callable[..., Context],
) -> None:
    here, there = make_context(), make_context()
    exclusive, local, remote = Exclusive(), Process("local"), Process("remote")
    here.spawn(exclusive)
    here.spawn(local)
    there.spawn(remote)
    futures = Events()

    def work(thread: int) -> None:
        for number in range(CALLS):
            body = b"%d %d" % (thread, number)
            if thread % 3 == 0:
                local.send(exclusive.pid, ("sync", "async")[number % 2], body)
            elif thread % 3 == 1:
                remote.send(exclusive.pid, ("sync", "async")[number % 2], body)
            else:
                futures.put(here.dispatch(exclusive.pid, "async_", local.pid, body))

    _in_threads(work)
    for future in futures.take_many(CALLS * len([t for t in range(THREADS) if t % 3 == 2])):
        future.result(TIMEOUT)

    assert exclusive.overlaps == 0
    assert here.metrics.handler_failures == 0


def test_callers_may_hold_a_lock_that_handlers_take(context: Context) -> None:
    lock, handled = threading.Lock(), Events()

    class Locking(Receiver):
        def initialize(self) -> None:
            self.send(self.pid, "locked")

        @install("locked")
        def locked(self, from_pid: PID, body: bytes) -> None:
            with lock:
                handled.put(self.name)

        def exited(self, pid: PID, reason: object) -> None:
            self.locked(pid, b"")

    main = Locking("main")
    context.spawn(main)

    def work(thread: int) -> None:
        for number in range(CALLS // 4):
            with lock:
                child = Locking(f"{thread}-{number}")
                context.spawn(child)
                main.send(child.pid, "locked")
                child.send(main.pid, "locked")
                context.dispatch(main.pid, "locked", child.pid, b"")
                context.delay(0, main.pid, "locked", child.pid, b"")
                main.link(child.pid)
                child.terminate(inject=False)

    _in_threads(work)
    children = THREADS * (CALLS // 4)
    # Each child handles two messages; main one message, dispatch, delay and exit of each child.
    names = handled.take_many(6 * children + 1)

    assert names.count("main") == 4 * children + 1
    assert context.metrics.handler_failures == 0


def _call_everything(context: Context) -> None:
    """Every public call, once; local, and to an address where nobody listens."""
    process, away = Receiver(f"caller({next(_callers)})"), PID("127.0.0.1", dead_port(), "away")
    pid = context.spawn(process)
    for to in (pid, away):
        process.send(to, "message")
        context.send(pid, to, "message")
        context.post(to, "message")
        process.link(to)
        context.link(pid, to, reconnect=True)
    process.delegate("other", away)
    context.dispatch(pid, lambda: None)
    context.delay(3600, pid, lambda: None).cancel()
    context.delay(0, pid, "initialize")
    context.disconnect(away)
    context.on_dead_letter(lambda letter: None)
    context.metrics.snapshot()
    context.start()
    assert context.is_alive()
    process.terminate(inject=False)
    context.terminate(pid)


def test_every_call_works_before_the_loop_runs(new_loop: Callable[[], Any]) -> None:
    context = Context(ip="127.0.0.1", port=0, loop=new_loop())
    _call_everything(context)
    context.stop()
    context.join(TIMEOUT)
    assert not context.is_alive()


def test_every_call_works_in_a_handler(context: Context) -> None:
    process = Receiver()
    context.spawn(process)

    def call() -> None:
        _call_everything(context)
        context.stop()
        context.join()

    context.dispatch(process.pid, call).result(TIMEOUT)
    context.join(TIMEOUT)
    assert not context.is_alive()


def test_no_call_waits_for_a_loop_that_is_busy(context: Context) -> None:
    busy, entered, go = Receiver("busy"), threading.Event(), threading.Event()
    context.spawn(busy)

    def block() -> None:
        entered.set()
        go.wait(4 * TIMEOUT)

    context.dispatch(busy.pid, block)
    assert entered.wait(TIMEOUT)
    try:
        _in_threads(lambda number: _call_everything(context))
        context.stop()
        context.join(0.01)
        assert context.is_alive()
    finally:
        go.set()
    context.join(TIMEOUT)
    assert not context.is_alive()


def test_one_id_is_claimed_by_one_thread(context: Context) -> None:
    spawned, refused = Events(), Events()

    def work(thread: int) -> None:
        try:
            context.spawn(Receiver("same"))
            spawned.put(thread)
        except Context.InvalidProcess:
            refused.put(thread)

    _in_threads(work)

    spawned.take()
    refused.take_many(THREADS - 1)
    assert spawned.is_empty


def test_spawn_and_terminate_from_many_threads_leave_nothing(context: Context) -> None:
    last = Receiver("last")
    context.spawn(last)

    def work(thread: int) -> None:
        for number in range(CALLS // 10):
            process = Receiver(f"{thread}")
            context.spawn(process)
            process.send(last.pid, "message", b"%d" % number)
            end(process)

    _in_threads(work)

    last.received.take_many(THREADS * (CALLS // 10))
    settle(last)
    assert context.pid == last.pid
    assert context.metrics.handler_failures == 0


def test_threads_that_send_get_errors_at_once_when_the_context_stops(context: Context) -> None:
    process, stopped = Receiver(), Events()
    context.spawn(process)

    def work(thread: int) -> None:
        if thread == 0:
            context.stop()
            stopped.put(time.monotonic())
            return
        try:
            while True:
                process.send(process.pid, "message")
                context.dispatch(process.pid, "handle_message", "message", process.pid, b"")
        except Context.Error:
            pass

    _in_threads(work)
    context.join(TIMEOUT)
    assert not context.is_alive()
    assert time.monotonic() - stopped.take() < TIMEOUT


def test_every_dispatch_is_answered_though_the_context_stops(context: Context) -> None:
    process, futures = Receiver(), Events()
    context.spawn(process)

    def work(thread: int) -> None:
        try:
            for number in range(10 * CALLS):
                if (thread, number) == (0, CALLS):
                    context.stop()
                futures.put(context.dispatch(process.pid, lambda: None))
        except Context.Error:
            pass

    _in_threads(work)
    context.join(TIMEOUT)

    while not futures.is_empty:
        assert isinstance(futures.take().exception(TIMEOUT), (type(None), ProcessTerminated))
