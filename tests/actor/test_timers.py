"""Timers of processes: delay, every and defer; what calls them off, what ends them."""

from __future__ import annotations

import asyncio
import gc
import itertools
import threading
import weakref
from collections.abc import Callable
from typing import Any

import pytest

from compactor import Context, Process, install
from compactor.errors import (
    ContextStopped,
    InvalidMethod,
    InvalidProcess,
    ProcessTerminated,
    UnboundProcess,
)
from tests.actors import TIMEOUT, Events, end, settle, spawned, wait_until

NO_TIMES = [float("nan"), float("inf"), -float("inf"), "1", None, 10**400]


class Clock(Process):
    """Records its ticks."""

    def __init__(self, name: str = "clock") -> None:
        super().__init__(name)
        self.ticks = Events()
        self.gate = asyncio.Event()

    def tick(self, *args: Any) -> None:
        self.ticks.put(args)

    async def tick_slowly(self) -> None:
        self.ticks.put("began")
        await self.gate.wait()

    def fail(self) -> None:
        self.ticks.put("failing")
        raise LookupError("broken")

    def open(self) -> None:
        self.gate.set()


@pytest.fixture
def clock(context: Context) -> Clock:
    return spawned(context, Clock())


def links_of(context: Context) -> dict[Any, Any]:
    return context._runtime.watches.links.linked


def test_delay_calls_a_method_by_name_and_any_callable(clock: Clock) -> None:
    clock.delay(0.02, clock.ticks.put, "later")
    clock.delay(0.01, "tick", 1, 2)

    assert clock.ticks.take_many(2) == [(1, 2), "later"]
    wait_until(lambda: not links_of(clock.context))


@pytest.mark.parametrize("seconds", [-1, 0])
def test_a_delay_in_the_past_runs_soon(clock: Clock, seconds: float) -> None:
    clock.delay(seconds, "tick")

    assert clock.ticks.take() == ()


def test_every_ticks_until_it_is_called_off(clock: Clock) -> None:
    timer = clock.every(0.002, "tick", "a")

    assert clock.ticks.take_many(5) == [("a",)] * 5
    assert timer.cancel() is True
    assert timer.cancel() is False
    wait_until(lambda: not links_of(clock.context))
    settle(clock)
    while not clock.ticks.is_empty:
        clock.ticks.take()
    clock.delay(0.02, clock.ticks.put, "later")
    assert clock.ticks.take() == "later"


def test_every_may_begin_in_initialize_and_end_in_its_own_tick(context: Context) -> None:
    class Countdown(Clock):
        left = 3

        def initialize(self) -> None:
            self.timer = self.every(0.001, self.count)

        def count(self) -> None:
            self.left -= 1
            self.ticks.put(self.left)
            if not self.left:
                self.ticks.put(self.timer.cancel())

    countdown = spawned(context, Countdown())
    assert countdown.ticks.take_many(4) == [2, 1, 0, True]
    wait_until(lambda: not links_of(context))
    settle(countdown)
    assert countdown.ticks.is_empty


def test_a_tick_that_finds_the_last_one_running_is_left_out(clock: Clock) -> None:
    clock.every(0.001, "tick_slowly")

    assert clock.ticks.take() == "began"
    called = Events()
    clock.context.delay(0.05, spawned(clock.context, Clock("other")).pid, called.put, "later")
    assert called.take() == "later"
    assert len(clock.context._registry.live["clock"].queue) == 0
    clock.context._portal.post(clock.open)
    assert clock.ticks.take_many(3) == ["began"] * 3


def test_a_tick_that_finds_the_last_one_waiting_is_left_out(clock: Clock) -> None:
    clock.context.dispatch(clock.pid, "tick_slowly")
    assert clock.ticks.take() == "began"
    clock.every(0.001, "tick")
    called = Events()
    clock.context.delay(0.05, spawned(clock.context, Clock("other")).pid, called.put, "later")
    assert called.take() == "later"

    assert len(clock.context._registry.live["clock"].queue) == 1


def test_a_tick_that_waits_when_it_is_called_off_does_not_come(clock: Clock) -> None:
    clock.context.dispatch(clock.pid, "tick_slowly")
    assert clock.ticks.take() == "began"
    timer = clock.every(0.001, "tick")
    wait_until(lambda: len(clock.context._registry.live["clock"].queue))
    timer.cancel()
    clock.context._portal.post(clock.open)

    settle(clock)
    assert clock.ticks.is_empty


def test_ticks_keep_their_rate_however_long_one_takes(clock: Clock) -> None:
    """They come at multiples of the interval from the start, not from the end of the last one."""
    timers: list[Any] = []
    timers.append(clock.every(0.01, lambda: clock.ticks.put([each._due for each in timers])))
    # The first ones may come before this thread has gone on.
    dues: list[float] = []
    while len(dues) < 5:
        dues += clock.ticks.take()
    for before, after in itertools.pairwise(dues):
        intervals = (after - before) / 0.01
        assert abs(intervals - round(intervals)) < 1e-6
        assert round(intervals) >= 1


def test_every_goes_on_after_a_tick_that_failed(clock: Clock) -> None:
    clock.every(0.001, "fail")

    assert clock.ticks.take_many(3) == ["failing"] * 3
    assert clock.context.metrics.handler_failures >= 2


def test_timers_end_with_their_process_and_do_not_keep_it(context: Context) -> None:
    clock = spawned(context, Clock())
    clock.every(0.001, "tick")
    clock.delay(3600, "tick")
    clock.ticks.take()
    end(clock)

    assert not links_of(context)
    later = spawned(context, Clock())
    later.delay(0.02, "tick", "mine")
    assert later.ticks.take() == ("mine",)
    kept = weakref.ref(clock)
    del clock

    def is_gone() -> bool:
        gc.collect()
        return kept() is None

    wait_until(is_gone)


def test_timers_of_a_process_that_fails_to_initialize_end_with_it(context: Context) -> None:
    class Broken(Clock):
        def initialize(self) -> None:
            self.every(0.001, "tick")
            raise LookupError("broken")

    with pytest.raises(LookupError):
        context.spawn(Broken())
    clock = spawned(context, Clock())
    wait_until(lambda: not links_of(context))
    settle(clock)
    assert clock.ticks.is_empty


@pytest.mark.parametrize("seconds", NO_TIMES)
def test_every_and_delay_refuse_what_is_no_time(clock: Clock, seconds: Any) -> None:
    for call in (clock.every, clock.delay):
        with pytest.raises(ValueError, match="finite number of seconds, got"):
            call(seconds, "tick")


@pytest.mark.parametrize("seconds", [0, -1, -0.0])
def test_every_refuses_an_interval_that_is_not_above_zero(clock: Clock, seconds: float) -> None:
    with pytest.raises(ValueError, match="must be above 0, got"):
        clock.every(seconds, "tick")


def test_every_refuses_a_bool(clock: Clock) -> None:
    with pytest.raises(TypeError, match="is a number, got True"):
        clock.every(True, "tick")


@pytest.mark.parametrize("seconds", [1e-9, 1e308])
def test_every_takes_the_shortest_and_the_longest_intervals(clock: Clock, seconds: float) -> None:
    timer = clock.every(seconds, "tick")
    settle(clock)
    if seconds < 1:
        assert clock.ticks.take_many(3) == [()] * 3
    assert timer.cancel()


def test_what_cannot_be_called_is_refused_at_once(clock: Clock) -> None:
    calls: list[Callable[[Any], Any]] = [
        lambda method: clock.delay(1, method),
        lambda method: clock.every(1, method),
        clock.defer,
    ]
    for call in calls:
        with pytest.raises(InvalidMethod, match="Unknown method tack"):
            call("tack")
        with pytest.raises(TypeError, match="by its name, or a callable"):
            call(5)


def test_a_process_that_was_not_spawned_has_no_timers() -> None:
    clock = Clock()
    for call in (
        lambda: clock.delay(1, "tick"),
        lambda: clock.every(1, "tick"),
        lambda: clock.defer("tick"),
    ):
        with pytest.raises(UnboundProcess):
            call()


def test_a_process_that_has_ended_gets_no_timers(clock: Clock) -> None:
    end(clock)

    with pytest.raises(InvalidProcess):
        clock.every(1, "tick")
    with pytest.raises(InvalidProcess):
        clock.delay(1, "tick")


def test_deferred_calls_are_events_whichever_thread_makes_them(clock: Clock) -> None:
    deferred = clock.defer("tick", 1)
    thread = threading.Thread(target=deferred, args=(2,))
    thread.start()
    thread.join()

    assert clock.ticks.take() == (1, 2)
    assert clock.defer(threading.current_thread)().result(TIMEOUT) is not thread


def test_a_deferred_call_can_be_awaited(context: Context) -> None:
    class Asker(Clock):
        @install("begin")
        async def begin(self, from_pid: Any, body: bytes) -> None:
            self.ticks.put(await other.defer(lambda: 5)())

    other = spawned(context, Clock("other"))
    asker = spawned(context, Asker())
    context.post(asker.pid, "begin")

    assert asker.ticks.take() == 5


def test_a_deferred_call_of_a_process_that_has_ended_fails_and_raises_nothing(
    context: Context, clock: Clock
) -> None:
    deferred = clock.defer("tick")
    end(clock)
    later = spawned(context, Clock())

    with pytest.raises(ProcessTerminated, match=r"'tick': clock@.* has ended"):
        deferred().result(TIMEOUT)
    settle(later)
    assert clock.ticks.is_empty
    assert later.ticks.is_empty


def test_a_deferred_call_of_a_stopped_context_fails_and_raises_nothing(clock: Clock) -> None:
    deferred = clock.defer("tick")
    clock.context.stop()
    future = deferred()

    with pytest.raises((ContextStopped, ProcessTerminated)):
        future.result(TIMEOUT)
    clock.context.join(TIMEOUT)
    with pytest.raises(ContextStopped, match="has been stopped; make a new one"):
        deferred().result(TIMEOUT)


def test_a_subclass_may_use_the_names_for_something_else(context: Context) -> None:
    """As programs for 0.3.0 may."""

    class Old(Process):
        every = 5

        def __init__(self) -> None:
            super().__init__("old")
            self.delay = "mine"
            self.seen = Events()

        @install("defer")
        def defer(self, from_pid: Any, body: bytes) -> None:  # type: ignore[override]
            self.seen.put((self.delay, self.every, body))

    old = spawned(context, Old())
    context.post(old.pid, "defer", b"body")

    assert old.seen.take() == ("mine", 5, b"body")
