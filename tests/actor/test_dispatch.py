"""Dispatch and delay: results, errors, ends, cancellation, time; terminate and finalize."""

from __future__ import annotations

import asyncio
import concurrent.futures
import gc
import logging
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from compactor import PID, Context, Process, Reason, Settings, install
from compactor.errors import ContextError, ProcessTerminated
from compactor.testing import World
from tests.actors import (
    TIMEOUT,
    Events,
    Receiver,
    dead_letters,
    end,
    settle,
    spawned,
    take_letter,
    wait_until,
)

ContextFactory = Callable[..., Context]


class Worker(Receiver):
    def __init__(self, name: str = "worker") -> None:
        super().__init__(name)
        self.events = Events()
        self.gate = asyncio.Event()
        self.attribute = 5

    def add(self, a: int, b: int) -> int:
        return a + b

    def fail(self) -> None:
        raise LookupError("broken")

    def numbers(self) -> Iterator[int]:
        yield from range(3)

    def thread(self) -> threading.Thread:
        return threading.current_thread()

    async def add_slowly(self, a: int, b: int) -> int:
        await asyncio.sleep(0)
        return a + b

    async def fail_slowly(self) -> None:
        await asyncio.sleep(0)
        raise LookupError("broken")

    async def hang(self) -> None:
        self.events.put("hanging")
        try:
            await self.gate.wait()
        finally:
            self.events.put("left")

    def finalize(self) -> None:
        self.events.put("finalized")


@pytest.fixture
def worker(context: Context) -> Worker:
    """A live worker."""
    worker = Worker()
    context.spawn(worker)
    return worker


# Dispatch


@pytest.mark.parametrize("method", ["add", "add_slowly"])
@pytest.mark.smoke
def test_dispatch_returns_a_future_of_the_result(worker: Worker, method: str) -> None:
    future = worker.context.dispatch(worker.pid, method, 1, 2)

    assert isinstance(future, concurrent.futures.Future)
    assert future.result(TIMEOUT) == 3


def test_dispatched_method_runs_on_the_loop(worker: Worker) -> None:
    thread = worker.context.dispatch(worker.pid, "thread").result(TIMEOUT)

    assert thread.name == worker.context.name


def test_keyboard_interrupt_reaches_the_future_and_the_process_lives_on(worker: Worker) -> None:
    def interrupt() -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        worker.context.dispatch(worker.pid, interrupt).result(TIMEOUT)
    settle(worker)
    assert worker.context.metrics.handler_failures == 1


@pytest.mark.parametrize("method", ["fail", "fail_slowly"])
@pytest.mark.smoke
def test_exception_reaches_the_future_and_is_counted_and_not_logged(
    worker: Worker, method: str, caplog: pytest.LogCaptureFixture
) -> None:
    future = worker.context.dispatch(worker.pid, method)

    with pytest.raises(LookupError, match="broken"):
        future.result(TIMEOUT)
    settle(worker)
    assert worker.context.metrics.handler_failures == 1
    del future
    gc.collect()
    assert not [record for record in caplog.records if record.levelno >= logging.ERROR]


@pytest.mark.parametrize("method", ["fail", "fail_slowly"])
def test_an_exception_that_is_awaited_is_not_logged(
    worker: Worker, method: str, caplog: pytest.LogCaptureFixture
) -> None:
    async def wait() -> str:
        try:
            await worker.context.dispatch(worker.pid, method)
        except LookupError as error:
            return str(error)
        raise AssertionError("it did not fail")

    async def wait_here() -> str:
        return await wait()

    other = Process("other")
    worker.context.spawn(other)
    assert worker.context.dispatch(other.pid, wait_here).result(TIMEOUT) == "broken"
    assert asyncio.run(wait()) == "broken"
    settle(worker)
    gc.collect()
    assert not [record for record in caplog.records if record.levelno >= logging.ERROR]


@pytest.mark.parametrize("method", ["fail", "fail_slowly"])
def test_an_exception_that_nobody_is_told_of_is_logged(
    worker: Worker, method: str, caplog: pytest.LogCaptureFixture
) -> None:
    worker.context.dispatch(worker.pid, method)
    kept = worker.context.dispatch(worker.pid, method)
    settle(worker)
    wait_until(kept.done)
    gc.collect()
    assert caplog.text.count(f"dispatch of '{method}'") == 1
    del kept
    gc.collect()
    assert caplog.text.count(f"dispatch of '{method}'") == 2
    assert "LookupError: broken" in caplog.text


@pytest.mark.parametrize("backend", ["python"], indirect=True)
def test_stop_iteration_is_a_runtime_error_to_whoever_waits(context: Context) -> None:
    class Asking(Worker):
        def stop(self) -> None:
            next(iter(()))

        async def ask(self, worker: PID) -> str:
            try:
                await self.context.dispatch(worker, "stop")
            except RuntimeError as error:
                return str(error)
            return "nothing raised"

    asking, worker = Asking("asking"), Asking("worker")
    context.spawn(asking)
    context.spawn(worker)
    answer = context.dispatch(asking.pid, "ask", worker.pid)
    other = context.dispatch(worker.pid, "stop")

    assert "StopIteration" in answer.result(TIMEOUT)
    with pytest.raises(RuntimeError, match="StopIteration") as raised:
        other.result(TIMEOUT)
    assert isinstance(raised.value.__cause__, StopIteration)
    asyncio.run(_fails_with_a_runtime_error(asyncio.wrap_future, context, worker.pid))
    asyncio.run(_fails_with_a_runtime_error(asyncio.ensure_future, context, worker.pid))


async def _fails_with_a_runtime_error(wrap: Any, context: Context, pid: PID) -> None:
    with pytest.raises(RuntimeError, match="StopIteration"):
        await asyncio.wait_for(wrap(context.dispatch(pid, "stop")), TIMEOUT)


def test_stop_iteration_ends_nothing_wherever_it_is_raised(context: Context) -> None:
    class Stopping(Receiver):
        @install("stop")
        def stop(self, from_pid: PID, body: bytes) -> None:
            raise StopIteration

        @install("stop_slowly")
        async def stop_slowly(self, from_pid: PID, body: bytes) -> None:
            raise StopIteration

        def exited(self, pid: PID, reason: Any) -> None:
            raise StopIteration

        def finalize(self) -> None:
            raise StopIteration

    class Unborn(Process):
        def initialize(self) -> None:
            raise StopIteration

    @context.on_dead_letter
    def hook(letter: Any) -> None:
        raise StopIteration

    stopping, watched = Stopping(), Worker()
    context.spawn(stopping)
    context.spawn(watched)
    stopping.link(watched.pid)
    stopping.send(stopping.pid, "stop")
    stopping.send(stopping.pid, "stop_slowly")
    stopping.send(PID(context.ip, context.port, "nobody"), "message")
    end(watched)
    stopping.send(stopping.pid, "message", b"still here")
    assert stopping.received.take() == (stopping.pid, b"still here")
    with pytest.raises(StopIteration):
        context.spawn(Unborn("unborn"))
    end(stopping)
    settle(spawned(context, Worker("unborn")))


def test_callable_can_be_dispatched(worker: Worker) -> None:
    assert worker.context.dispatch(worker.pid, worker.add, 1, 2).result(TIMEOUT) == 3
    assert worker.context.dispatch(worker.pid, max, 1, 2).result(TIMEOUT) == 2


def test_generator_is_a_result_like_any_other(worker: Worker) -> None:
    numbers = worker.context.dispatch(worker.pid, "numbers").result(TIMEOUT)

    assert list(numbers) == [0, 1, 2]


def test_dispatch_to_an_unknown_process_is_an_error(context: Context, worker: Worker) -> None:
    for pid in (PID(context.ip, context.port, "x"), PID("192.0.2.1", 1, worker.name)):
        with pytest.raises(Context.InvalidProcess, match="Unknown process"):
            context.dispatch(pid, "add", 1, 2)
        with pytest.raises(Context.InvalidProcess, match="Unknown process"):
            context.delay(0, pid, "add", 1, 2)


@pytest.mark.parametrize("method", ["nothing", "attribute", "name", ""])
def test_dispatch_of_an_unknown_method_is_an_error(worker: Worker, method: str) -> None:
    with pytest.raises(Context.InvalidMethod, match="worker"):
        worker.context.dispatch(worker.pid, method)
    with pytest.raises(Context.InvalidMethod, match="worker"):
        worker.context.delay(0, worker.pid, method)


@pytest.mark.parametrize("method", [None, 5, b"add"])
def test_dispatch_of_what_is_no_method_is_an_error(worker: Worker, method: Any) -> None:
    with pytest.raises((TypeError, Context.InvalidMethod)):
        worker.context.dispatch(worker.pid, method)


def test_result_is_awaited_in_a_handler_of_another_process(context: Context) -> None:
    class Asking(Worker):
        @install("ask")
        async def ask(self, from_pid: PID, body: bytes) -> None:
            self.events.put(await self.context.dispatch(from_pid, "add_slowly", 1, 2))
            try:
                await self.context.dispatch(from_pid, "fail")
            except LookupError as error:
                self.events.put(str(error))

    asking, worker = Asking("asking"), Worker()
    context.spawn(asking)
    context.spawn(worker)
    worker.send(asking.pid, "ask")

    assert asking.events.take() == 3
    assert "broken" in asking.events.take()
    settle(asking)


def test_a_handler_that_would_wait_for_ever_is_told_to_await(context: Context) -> None:
    class Blocking(Worker):
        def ask(self, to: PID) -> list[str]:
            future = self.context.dispatch(to, "add", 1, 2)
            said = []
            for wait in (future.result, future.exception):
                with pytest.raises(concurrent.futures.TimeoutError):
                    wait(0)
                for timeout in (None, TIMEOUT):
                    with pytest.raises(
                        ContextError, match="needs the same thread: await it"
                    ) as told:
                        wait(timeout)
                    said.append(str(told.value))
            self.future = future
            return said

        def look(self) -> tuple[int, None]:
            return self.future.result(), self.future.exception()

    blocking, worker = spawned(context, Blocking("blocking")), spawned(context, Worker())
    said = context.dispatch(blocking.pid, blocking.ask, worker.pid).result(TIMEOUT)
    assert all(str(worker.pid) in text for text in said)
    settle(worker)
    assert context.dispatch(blocking.pid, blocking.look).result(TIMEOUT) == (3, None)


@pytest.mark.parametrize("how", ["ask", "initialize"])
def test_a_process_that_would_wait_for_itself_is_told_so(context: Context, how: str) -> None:
    class Narcissus(Worker):
        async def ask(self) -> None:
            try:
                await self.context.dispatch(self.pid, lambda: self.events.put("never"))
            except Process.Error as error:
                self.events.put(str(error))

        if how == "initialize":

            async def initialize(self) -> None:  # type: ignore[override]
                await self.ask()

    narcissus = spawned(context, Narcissus())
    context.dispatch(narcissus.pid, narcissus.ask if how == "ask" else lambda: None).result(TIMEOUT)
    assert narcissus.events.take() == f"{narcissus.pid} would wait for itself, forever"
    settle(narcissus)
    assert narcissus.events.is_empty


def test_result_is_awaited_on_another_loop(worker: Worker) -> None:
    async def main() -> tuple[int, ...]:
        calls = (worker.context.dispatch(worker.pid, "add", n, n) for n in range(5))

        async def result(future: Any) -> int:
            value: int = await future
            return value

        return tuple(await asyncio.gather(*map(result, calls)))

    assert asyncio.run(main()) == (0, 2, 4, 6, 8)


def test_dispatches_and_messages_share_one_fifo(worker: Worker) -> None:
    for number in range(50):
        worker.send(worker.pid, "message", b"%d" % number)
        worker.context.dispatch(worker.pid, worker.received.put, number)

    expected = [x for n in range(50) for x in ((worker.pid, b"%d" % n), n)]
    assert worker.received.take_many(100) == expected


def test_cancelled_dispatch_is_not_served(worker: Worker) -> None:
    worker.context.dispatch(worker.pid, "hang")
    assert worker.events.take() == "hanging"
    future = worker.context.dispatch(worker.pid, worker.events.put, "served")
    assert future.cancel()
    worker.context._runtime.run_queue.loop.call_soon_threadsafe(worker.gate.set)
    settle(worker)

    assert worker.events.take() == "left"
    assert worker.events.is_empty
    assert worker.context.metrics.handler_failures == 0


def test_dispatch_that_waits_when_its_process_ends_fails(worker: Worker) -> None:
    running = worker.context.dispatch(worker.pid, "hang")
    assert worker.events.take() == "hanging"
    waiting = worker.context.dispatch(worker.pid, "add", 1, 2)
    worker.terminate()

    for future in (running, waiting):
        with pytest.raises(ProcessTerminated, match="terminated"):
            future.result(TIMEOUT)
    assert worker.events.take_many(2) == ["left", "finalized"]


def test_async_method_that_is_cancelled_before_its_first_step_fails(context: Context) -> None:
    worker, killer, starter = Worker(), Worker("killer"), Worker("starter")
    for process in (worker, killer, starter):
        context.spawn(process)

    def start_and_end() -> Any:
        future = context.dispatch(worker.pid, "add_slowly", 1, 2)
        context.dispatch(killer.pid, worker.terminate)
        return future

    future = context.dispatch(starter.pid, start_and_end).result(TIMEOUT)

    with pytest.raises(ProcessTerminated):
        future.result(TIMEOUT)


# Delay


def test_delay_wakes_an_idle_loop(worker: Worker) -> None:
    settle(worker)
    begin = time.monotonic()
    worker.context.delay(0.05, worker.pid, lambda: worker.events.put(time.monotonic()))

    assert 0.045 <= worker.events.take() - begin < TIMEOUT / 4


@pytest.mark.usefixtures("backend")
async def test_delays_fire_in_order_of_time(world: World) -> None:
    context, fired = world.host("a").context(), list[float]()
    pid = context.spawn(Process("process"))
    for seconds in (0.9, 0.3, 0.6, 0):
        context.delay(seconds, pid, lambda seconds=seconds: fired.append(seconds))
    for seconds, count in ((0.29, 1), (0.02, 2), (0.6, 4)):
        await world.sleep(seconds)
        assert fired == [0, 0.3, 0.6, 0.9][:count]


def test_delayed_method_may_be_async(worker: Worker) -> None:
    worker.context.delay(0.001, worker.pid, "hang")

    assert worker.events.take() == "hanging"


def test_delay_from_a_handler_fires(context: Context) -> None:
    class Ticking(Worker):
        def initialize(self) -> None:
            self.context.delay(0.001, self.pid, "tick", 3)

        def tick(self, left: int) -> None:
            self.events.put(left)
            if left:
                self.context.delay(0.001, self.pid, "tick", left - 1)

    ticking = Ticking()
    context.spawn(ticking)

    assert ticking.events.take_many(4) == [3, 2, 1, 0]


@pytest.mark.usefixtures("backend")
async def test_delay_is_called_off_once(world: World) -> None:
    context, fired = world.host("a").context(), list[str]()
    pid = context.spawn(Process("process"))
    timer = context.delay(5, pid, lambda: fired.append("cancelled"))
    context.delay(6, pid, lambda: fired.append("kept"))
    assert timer.cancel() is True
    assert timer.cancel() is False
    await world.sleep(7)
    assert fired == ["kept"]


def test_delay_that_has_fired_cannot_be_called_off(worker: Worker) -> None:
    timer = worker.context.delay(0, worker.pid, worker.events.put, "fired")

    assert worker.events.take() == "fired"
    assert timer.cancel() is False


def test_delay_can_be_called_off_after_stop(worker: Worker) -> None:
    timer = worker.context.delay(3600, worker.pid, worker.events.put, "fired")
    worker.context.stop()
    worker.context.join(TIMEOUT)

    assert timer.cancel() is True


@pytest.mark.usefixtures("backend")
async def test_delay_does_not_reach_a_later_process_of_the_same_name(world: World) -> None:
    context, fired = world.host("a").context(), list[str]()
    pid = context.spawn(Worker())
    context.delay(5, pid, "add", 1, 2)
    context.delay(5, pid, lambda: fired.append("fired"))
    context.terminate(pid)
    await context.wait(pid)
    assert context.spawn(Worker()) == pid
    context.delay(6, pid, lambda: fired.append("later"))
    await world.sleep(7)
    assert fired == ["later"]
    assert context.metrics.handler_failures == 0


@pytest.mark.parametrize("amount", [-1, -0.001, 0])
def test_delay_whose_time_is_over_fires(worker: Worker, amount: float) -> None:
    worker.context.delay(amount, worker.pid, worker.events.put, "fired")

    assert worker.events.take() == "fired"


@pytest.mark.parametrize("amount", [float("nan"), float("inf"), -float("inf"), "1", None, 10**400])
def test_delay_refuses_what_is_no_time(worker: Worker, amount: Any) -> None:
    with pytest.raises(ValueError, match="number of seconds"):
        worker.context.delay(amount, worker.pid, "add", 1, 2)


# Terminate and finalize


def _wait_in_a_handler(worker: Worker) -> None:
    worker.context.dispatch(worker.pid, "hang")
    assert worker.events.take() == "hanging"


def test_terminate_with_inject_drops_what_is_queued(worker: Worker) -> None:
    letters = dead_letters(worker.context)
    watcher = Receiver("watcher")
    worker.context.spawn(watcher)
    watcher.link(worker.pid)
    _wait_in_a_handler(worker)
    watcher.send(worker.pid, "message", b"xyz")
    settle(watcher)
    worker.terminate()

    assert worker.events.take_many(2) == ["left", "finalized"]
    letter = take_letter(letters)
    assert (letter.reason, letter.to, letter.sender) == (
        Reason.TERMINATED,
        worker.pid,
        watcher.pid,
    )
    assert (letter.name, letter.size) == ("message", 3)
    assert watcher.exits.take() == (worker.pid, Reason.TERMINATED)
    assert worker.received.is_empty


def test_terminate_without_inject_comes_after_what_is_queued(worker: Worker) -> None:
    context = worker.context
    _wait_in_a_handler(worker)
    for number in range(3):
        worker.send(worker.pid, "message", b"%d" % number)
    worker.terminate(inject=False)
    worker.send(worker.pid, "message", b"late")
    context._runtime.run_queue.loop.call_soon_threadsafe(worker.gate.set)

    assert worker.events.take_many(2) == ["left", "finalized"]
    assert [body for _, body in worker.received.take_many(3)] == [b"0", b"1", b"2"]
    assert worker.received.is_empty


def test_terminate_with_inject_overtakes_one_without(worker: Worker) -> None:
    _wait_in_a_handler(worker)
    worker.send(worker.pid, "message")
    worker.terminate(inject=False)
    worker.terminate(inject=True)
    worker.terminate(inject=False)

    assert worker.events.take_many(2) == ["left", "finalized"]
    watcher = Receiver("watcher")
    worker.context.spawn(watcher)
    watcher.link(worker.pid)
    watcher.exits.take()
    assert worker.received.is_empty
    assert worker.events.is_empty


def test_finalize_runs_once_however_often_terminate_is_called(worker: Worker) -> None:
    for inject in (True, False, True):
        worker.terminate(inject)
    worker.context.terminate(worker.pid)
    watcher = Receiver("watcher")
    worker.context.spawn(watcher)
    watcher.link(worker.pid)
    watcher.exits.take()

    assert worker.events.take() == "finalized"
    assert worker.events.is_empty


def test_finalize_may_send_and_runs_on_the_loop(context: Context) -> None:
    receiver = Receiver()
    context.spawn(receiver)

    class Polite(Process):
        def finalize(self) -> None:
            self.send(receiver.pid, "message", threading.current_thread().name.encode())

    polite = Polite("polite")
    context.spawn(polite)
    polite.terminate()

    assert receiver.received.take() == (polite.pid, context.name.encode())


def test_async_finalize_is_awaited_before_the_end(context: Context) -> None:
    events, watcher = Events(), Receiver("watcher")

    class Slow(Process):
        async def finalize(self) -> None:
            events.put("finalizing")
            watcher.send(self.pid, "message")
            await asyncio.sleep(0)
            self.send(watcher.pid, "message", b"goodbye")
            self.terminate()

        @install("message")
        def message(self, from_pid: PID, body: bytes) -> None:
            events.put("message")

    slow = Slow("slow")
    context.spawn(slow)
    context.spawn(watcher)
    watcher.link(slow.pid)
    slow.terminate()

    assert watcher.received.take() == (slow.pid, b"goodbye")
    assert watcher.exits.take() == (slow.pid, Reason.TERMINATED)
    assert events.take() == "finalizing"
    assert events.is_empty


@pytest.mark.parametrize("asynchronous", [False, True], ids=["def", "async def"])
def test_raising_finalize_is_logged_and_the_process_ends(
    context: Context, asynchronous: bool, caplog: pytest.LogCaptureFixture
) -> None:
    class Failing(Process):
        def finalize(self) -> Any:
            if asynchronous:
                return self.fail()
            raise LookupError("broken")

        async def fail(self) -> None:
            raise LookupError("broken")

    failing = Failing("failing")
    context.spawn(failing)
    end(failing)

    assert context.metrics.handler_failures == 1
    assert f"{failing.pid} failed in finalize" in caplog.text


def test_process_terminates_itself_from_a_handler(context: Context) -> None:
    class Ending(Worker):
        @install("end")
        def end(self, from_pid: PID, body: bytes) -> None:
            self.terminate()
            self.send(from_pid, "message", b"still here")

    ending, watcher = Ending(), Receiver("watcher")
    context.spawn(ending)
    context.spawn(watcher)
    watcher.link(ending.pid)
    watcher.send(ending.pid, "end")

    assert watcher.received.take() == (ending.pid, b"still here")
    assert watcher.exits.take() == (ending.pid, Reason.TERMINATED)
    assert ending.events.take() == "finalized"


def test_process_may_be_terminated_in_its_initialize(context: Context) -> None:
    class Brief(Worker):
        def initialize(self) -> None:
            self.terminate()

    brief = Brief()
    pid = context.spawn(brief)

    assert brief.events.take() == "finalized"
    watcher = Receiver("watcher")
    context.spawn(watcher)
    watcher.link(pid)
    assert watcher.exits.take()[0] == pid
    context.spawn(Worker())


def test_ended_process_is_not_reached_any_more(worker: Worker) -> None:
    context, letters, sender = worker.context, dead_letters(worker.context), Receiver("sender")
    context.spawn(sender)
    end(worker)
    sender.send(worker.pid, "message", b"x")

    letter = take_letter(letters)
    assert (letter.reason, letter.name) == (Reason.NO_PROCESS, "message")
    with pytest.raises(Context.InvalidProcess):
        context.dispatch(worker.pid, "add", 1, 2)
    context.terminate(worker.pid)


def test_mailbox_bound_turns_local_sends_into_dead_letters(make_context: ContextFactory) -> None:
    context = make_context(settings=Settings(max_mailbox_events=10))
    letters, worker, sender = dead_letters(context), Worker(), Receiver("sender")
    context.spawn(worker)
    context.spawn(sender)
    _wait_in_a_handler(worker)
    for number in range(12):
        sender.send(worker.pid, "message", b"%d" % number)
    settle(sender)

    assert [take_letter(letters).reason for _ in range(2)] == [Reason.OVERFLOW] * 2
    context._runtime.run_queue.loop.call_soon_threadsafe(worker.gate.set)
    assert [body for _, body in worker.received.take_many(10)] == [b"%d" % n for n in range(10)]
