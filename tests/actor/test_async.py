"""Async handlers, routes aside: one event at a time, cancellation, async initialize."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import sys
import threading
from collections.abc import Callable
from typing import Any

import pytest

from compactor import PID, Context, Process, Reason, install
from compactor.outbound import peer
from tests.actors import (
    TIMEOUT,
    Events,
    Receiver,
    dead_letters,
    settle,
    spawned,
    take_letter,
    wait_until,
)


class Slow(Receiver):
    """Its ``slow`` handler waits for the gate."""

    def __init__(self, name: str = "slow") -> None:
        super().__init__(name)
        self.gate = asyncio.Event()
        self.events = Events()

    @install("slow")
    async def slow(self, from_pid: PID, body: bytes) -> None:
        self.events.put(("begin", body))
        try:
            await self.gate.wait()
        except asyncio.CancelledError:
            self.events.put(("cancelled", body))
            raise
        self.events.put(("end", body))

    @install("open")
    def open(self, from_pid: PID, body: bytes) -> None:
        self.events.put(("open", body))

    def let_go(self) -> None:
        """Open the gate, from any thread."""
        self.context._runtime.run_queue.loop.call_soon_threadsafe(self.gate.set)


@pytest.fixture
def slow(context: Context) -> Slow:
    """A live process with a slow handler."""
    slow = Slow()
    context.spawn(slow)
    return slow


@pytest.mark.smoke
def test_next_event_waits_until_an_async_handler_is_done(slow: Slow) -> None:
    slow.send(slow.pid, "slow", b"1")
    slow.send(slow.pid, "open", b"2")
    dispatched = slow.context.dispatch(slow.pid, slow.events.put, "dispatched")
    slow.link(PID(slow.context.ip, slow.context.port, "nobody"))
    assert slow.events.take() == ("begin", b"1")
    other = Receiver("other")
    slow.context.spawn(other)
    settle(other)
    assert slow.events.is_empty
    assert not dispatched.done()
    slow.let_go()

    assert slow.events.take_many(3) == [("end", b"1"), ("open", b"2"), "dispatched"]
    assert slow.exits.take()[1] == Reason.NO_PROCESS


def test_other_processes_run_while_one_awaits(slow: Slow) -> None:
    other = Receiver("other")
    slow.context.spawn(other)
    slow.send(slow.pid, "slow")
    slow.events.take()
    other.send(other.pid, "message", b"x")

    assert other.received.take() == (other.pid, b"x")
    slow.let_go()


def test_failing_async_handler_is_logged_counted_and_harms_nothing(
    context: Context, caplog: pytest.LogCaptureFixture
) -> None:
    class Failing(Receiver):
        @install("fail")
        async def fail(self, from_pid: PID, body: bytes) -> None:
            await asyncio.sleep(0)
            raise LookupError("broken")

    process = Failing()
    context.spawn(process)
    process.send(process.pid, "fail", b"xyz")
    process.send(process.pid, "message")

    assert process.received.take() == (process.pid, b"")
    assert context.metrics.handler_failures == 1
    (record,) = [r for r in caplog.records if r.levelno == logging.ERROR]
    assert f"{process.pid} failed in message 'fail' from {process.pid}" in record.getMessage()


def test_async_handler_whose_own_task_is_cancelled_counts_as_done(slow: Slow) -> None:
    class Cancelled(Receiver):
        @install("cancelled")
        async def cancelled(self, from_pid: PID, body: bytes) -> None:
            raise asyncio.CancelledError

    process = Cancelled("cancelled")
    slow.context.spawn(process)
    process.send(process.pid, "cancelled")
    process.send(process.pid, "message")

    assert process.received.take() == (process.pid, b"")


@pytest.mark.smoke
def test_terminate_cancels_the_handler_and_drops_the_queue(slow: Slow) -> None:
    watcher = Receiver("watcher")
    slow.context.spawn(watcher)
    watcher.link(slow.pid)
    slow.send(slow.pid, "slow", b"1")
    slow.send(slow.pid, "open", b"2")
    assert slow.events.take() == ("begin", b"1")
    slow.terminate()

    assert slow.events.take() == ("cancelled", b"1")
    assert watcher.exits.take() == (slow.pid, Reason.TERMINATED)
    assert slow.events.is_empty
    assert slow.context.metrics.handler_failures == 0


def test_terminate_without_inject_lets_the_handler_end(slow: Slow) -> None:
    watcher = Receiver("watcher")
    slow.context.spawn(watcher)
    watcher.link(slow.pid)
    slow.send(slow.pid, "slow", b"1")
    slow.send(slow.pid, "open", b"2")
    slow.terminate(inject=False)
    slow.send(slow.pid, "open", b"3")
    settle(watcher)
    slow.let_go()

    assert slow.events.take_many(3) == [("begin", b"1"), ("end", b"1"), ("open", b"2")]
    assert watcher.exits.take() == (slow.pid, Reason.TERMINATED)
    assert slow.events.is_empty


def test_handler_that_cleans_up_asynchronously_delays_the_end(context: Context) -> None:
    events, watcher = Events(), Receiver("watcher")

    class Careful(Process):
        @install("work")
        async def work(self, from_pid: PID, body: bytes) -> None:
            events.put("working")
            try:
                await asyncio.Event().wait()
            finally:
                await asyncio.sleep(0)
                events.put("cleaned up")

        def finalize(self) -> None:
            events.put("finalized")

    careful = Careful("careful")
    context.spawn(careful)
    context.spawn(watcher)
    watcher.link(careful.pid)
    watcher.send(careful.pid, "work")
    assert events.take() == "working"
    careful.terminate()

    assert watcher.exits.take() == (careful.pid, Reason.TERMINATED)
    assert events.take_many(2) == ["cleaned up", "finalized"]


def test_async_handler_terminates_its_own_process(context: Context) -> None:
    events = Events()

    class Ending(Process):
        @install("end")
        async def end(self, from_pid: PID, body: bytes) -> None:
            self.terminate()
            with contextlib.suppress(asyncio.CancelledError):
                await asyncio.Event().wait()
            events.put("over")

        def finalize(self) -> None:
            events.put("finalized")

    ending = Ending("ending")
    context.spawn(ending)
    ending.send(ending.pid, "end")

    assert events.take_many(2) == ["over", "finalized"]


def test_async_exited_is_awaited(context: Context) -> None:
    class Watching(Receiver):
        async def exited(self, pid: PID, reason: object) -> None:
            self.received.put("begin")
            await asyncio.sleep(0)
            self.received.put("end")

    watching = Watching()
    context.spawn(watching)
    watching.link(PID(context.ip, context.port, "nobody"))
    watching.send(watching.pid, "message")

    assert watching.received.take_many(3) == ["begin", "end", (watching.pid, b"")]


# Initialize


def test_async_initialize_is_the_first_event_and_runs_on_the_loop(context: Context) -> None:
    sender = Process("sender")
    context.spawn(sender)

    class Starting(Receiver):
        async def initialize(self) -> None:
            self.received.put(threading.current_thread().name)
            sender.send(self.pid, "message", b"early")
            await context.dispatch(sender.pid, lambda: None)
            await asyncio.sleep(0)
            self.received.put("initialized")

    starting = Starting()
    context.spawn(starting)
    starting.send(starting.pid, "message", b"later")

    assert starting.received.take_many(2) == [context.name, "initialized"]
    assert sorted(body for _, body in starting.received.take_many(2)) == [b"early", b"later"]


def test_failing_async_initialize_is_logged_counted_and_ends_the_process(
    context: Context, caplog: pytest.LogCaptureFixture
) -> None:
    class Failing(Receiver):
        async def initialize(self) -> None:
            await asyncio.sleep(0)
            raise LookupError("broken")

    failing = Failing()
    context.spawn(failing)
    wait_until(lambda: f"{failing.pid} failed in initialize" in caplog.text)
    assert context.metrics.handler_failures == 1
    with pytest.raises(Context.InvalidProcess):
        context.dispatch(failing.pid, "settle")
    context.spawn(Receiver())  # the name is free again


def test_terminate_cancels_an_async_initialize(context: Context) -> None:
    events = Events()

    class Starting(Process):
        async def initialize(self) -> None:
            events.put("initializing")
            try:
                await asyncio.Event().wait()
            finally:
                events.put("cancelled")

        def finalize(self) -> None:
            events.put("finalized")

    starting = Starting("starting")
    context.spawn(starting)
    assert events.take() == "initializing"
    starting.terminate()

    assert events.take_many(2) == ["cancelled", "finalized"]


# The caller's own loop


def test_processes_live_in_the_callers_loop(
    new_loop: Callable[[], asyncio.AbstractEventLoop],
) -> None:
    async def main() -> None:
        async with Context(ip="127.0.0.1", port=0) as here, Context(ip="127.0.0.1") as there:
            arrived: asyncio.Queue[tuple[PID, bytes]] = asyncio.Queue()

            class Listener(Process):
                @install("message")
                async def message(self, from_pid: PID, body: bytes) -> None:
                    await arrived.put((from_pid, body))

            sender, listener = Process("sender"), Listener("listener")
            here.spawn(sender)
            there.spawn(listener)
            for number in range(10):
                sender.send(listener.pid, "message", b"%d" % number)
            for number in range(10):
                found = await asyncio.wait_for(arrived.get(), TIMEOUT)
                assert found == (sender.pid, b"%d" % number)

    loop = new_loop()
    try:
        loop.run_until_complete(main())
    finally:
        loop.close()


def test_threads_reach_a_context_in_the_callers_loop(
    new_loop: Callable[[], asyncio.AbstractEventLoop],
) -> None:
    async def main() -> None:
        async with Context(ip="127.0.0.1", port=0) as context:
            receiver = Receiver()
            context.spawn(receiver)

            def work() -> int:
                receiver.send(receiver.pid, "message", b"x")
                return context.dispatch(receiver.pid, lambda: 7).result(TIMEOUT)

            loop = asyncio.get_running_loop()
            assert await loop.run_in_executor(None, work) == 7
            assert receiver.received.take() == (receiver.pid, b"x")

    loop = new_loop()
    try:
        loop.run_until_complete(main())
        loop.run_until_complete(loop.shutdown_default_executor())
    finally:
        loop.close()


# Eager tasks


def make_eager(context: Context) -> None:
    """Have the tasks of a context take their first steps at once."""
    loop = context._loop
    assert loop is not None
    if sys.version_info >= (3, 13) and type(loop).__module__.startswith("uvloop"):
        pytest.skip("uvloop gives task factories an argument that asyncio's does not take")
    loop.set_task_factory(asyncio.eager_task_factory)  # type: ignore[attr-defined]


@pytest.mark.skipif(not hasattr(asyncio, "eager_task_factory"), reason="before Python 3.12")
@pytest.mark.parametrize("is_own", [True, False])
def test_terminate_before_the_first_await_cancels_an_eager_handler(
    context: Context, is_own: bool
) -> None:
    events = Events()
    make_eager(context)

    class Eager(Process):
        async def go(self) -> None:
            if is_own:
                self.terminate()
            try:
                await asyncio.sleep(TIMEOUT)
            except asyncio.CancelledError:
                events.put("cancelled")
                raise

        def begin(self) -> Any:
            self.terminate()
            return self.go()

        def finalize(self) -> None:
            events.put("finalized")

    eager = spawned(context, Eager("eager"))
    future = context.dispatch(eager.pid, eager.go if is_own else eager.begin)

    assert events.take_many(2) == ["cancelled", "finalized"]
    with pytest.raises(Process.Error):
        future.result(TIMEOUT)


@pytest.mark.skipif(not hasattr(asyncio, "eager_task_factory"), reason="before Python 3.12")
def test_an_eager_dial_that_fails_at_once_is_made_again(
    context: Context, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def fail(*_: Any) -> None:
        raise ConnectionRefusedError

    monkeypatch.setattr(peer, "dial", fail)
    make_eager(context)
    letters, sender = dead_letters(context), spawned(context, Receiver("sender"))

    for _ in range(2):
        sender.send(PID("127.0.0.1", 9, "there"), "message", b"lost")
        assert take_letter(letters).reason == "refused"
