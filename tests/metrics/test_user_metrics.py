"""Counters, gauges and timers of programs: what they take, what is refused, how they are read."""

from __future__ import annotations

import asyncio
import math
import threading
from collections.abc import Callable
from typing import Any

import pytest

from compactor import PID, Context, Process, install
from compactor.metrics.histogram import Histogram
from compactor.metrics.user_metrics import MAX_METRICS, Counter, UserMetrics
from tests.actors import wait_until


class Worker(Process):
    def __init__(self, name: str = "worker(1)") -> None:
        super().__init__(name)
        self.jobs = self.metrics.counter("jobs")
        self.metrics.gauge("queue", lambda: 7)

    @install("work")
    def work(self, from_pid: PID, body: bytes) -> None:
        with self.metrics.timer("parse"):
            self.jobs.add(len(body))
        self.metrics.gauge("last/size").set(len(body))


def test_what_a_process_measures_stands_under_its_id(make_context: Callable[..., Context]):
    context = make_context()
    pid = context.spawn(Worker())
    context.send(pid, pid, "work", b"12345")
    wait_until(lambda: context.metrics.snapshot().get("worker(1)/last/size"))
    seen = context.metrics.snapshot()
    assert (seen["worker(1)/jobs"], seen["worker(1)/last/size"]) == (5, 5)
    assert seen["worker(1)/parse_ms/count"] == 1
    assert "worker(1)/queue" not in seen  # nobody waits for functions here
    collected = asyncio.run_coroutine_threadsafe(context.metrics.collect(1.0), context._loop)  # type: ignore[arg-type]
    assert collected.result(10)["worker(1)/queue"] == 7


def test_same_name_is_the_same_metric_and_another_kind_is_refused():
    metrics = UserMetrics()
    assert metrics.counter("jobs") is metrics.counter("jobs")
    with pytest.raises(TypeError, match="'jobs' is a counter, not a gauge"):
        metrics.gauge("jobs")
    with pytest.raises(TypeError, match="'jobs' is a counter, not a timer"):
        metrics.timer("jobs")


@pytest.mark.parametrize(
    "name", ["", "1st", "a b", "a-b", "a/", "/a", "é", "a" * 101, "a\n", "a//b"]
)
def test_bad_name_is_refused(name: str):
    with pytest.raises(ValueError, match="cannot be the name of a metric: it begins with a letter"):
        UserMetrics().counter(name)


@pytest.mark.parametrize(
    "name", ["jobs_total", "x_count", "x_sum", "x_bucket", "x_created", "x_info"]
)
def test_endings_of_prometheus_are_refused(name: str):
    with pytest.raises(ValueError, match="Prometheus adds such an ending by itself"):
        UserMetrics().gauge(name)


def test_names_that_would_be_shown_as_one_are_refused():
    metrics = UserMetrics()
    metrics.counter("a/b")
    with pytest.raises(ValueError, match="'a_b' would be shown under the same name as 'a/b'"):
        metrics.counter("a_b")
    metrics.timer("parse")
    with pytest.raises(
        ValueError, match="'parse_ms' would be shown under the same name as 'parse'"
    ):
        metrics.gauge("parse_ms")


def test_name_that_is_no_text_is_refused():
    with pytest.raises(TypeError, match="the name of a metric is a str, got 5"):
        UserMetrics().counter(5)  # type: ignore[arg-type]


def test_number_of_metrics_is_bounded():
    metrics = UserMetrics()
    for number in range(MAX_METRICS):
        metrics.counter(f"n{number}")
    with pytest.raises(ValueError, match=f"'more' is one too many: a process has {MAX_METRICS}"):
        metrics.counter("more")
    assert metrics.counter("n0").value == 0


@pytest.mark.parametrize("number", ["1", None, True, 1j])
def test_what_is_no_number_is_refused(number: Any):
    metrics = UserMetrics()
    for take in (metrics.counter("c").add, metrics.gauge("g").set, metrics.timer("t").record):
        with pytest.raises(TypeError, match="takes an int or a float"):
            take(number)


@pytest.mark.parametrize("number", [math.nan, math.inf, -math.inf])
def test_number_that_json_does_not_know_is_refused(number: float):
    with pytest.raises(ValueError, match="takes finite numbers"):
        UserMetrics().gauge("g").set(number)


def test_counter_and_timer_never_fall():
    metrics = UserMetrics()
    with pytest.raises(ValueError, match="counter 'c' only grows, got -1"):
        metrics.counter("c").add(-1)
    with pytest.raises(ValueError, match="timer 't' was given a negative time"):
        metrics.timer("t").record(-1)


def test_gauge_is_set_or_reads_a_function():
    metrics = UserMetrics()
    gauge = metrics.gauge("level")
    gauge.set(3)
    gauge.add(-1.5)
    assert gauge.value == 1.5
    with pytest.raises(ValueError, match="reads a function, and cannot be set"):
        metrics.gauge("depth", lambda: 1).set(2)
    with pytest.raises(ValueError, match="is there already, and does not read"):
        metrics.gauge("level", lambda: 1)
    with pytest.raises(TypeError, match="a gauge reads a function without arguments, got 5"):
        metrics.gauge("five", 5)  # type: ignore[arg-type]


def test_counter_of_many_threads_loses_nothing():
    counter = Counter("c")
    threads = [
        threading.Thread(target=lambda: [counter.add() for _ in range(2000)]) for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert counter.value == 8000


def test_timer_times_functions_and_coroutines():
    timer = UserMetrics().timer("t")

    @timer
    def plain(number: int) -> int:
        return number

    @timer
    async def waiting(number: int) -> int:
        await asyncio.sleep(0.01)
        return number

    assert (plain(1), asyncio.run(waiting(2))) == (1, 2)
    assert timer.times.count == 2
    assert timer.times.most >= 0.009
    assert plain.__name__ == "plain"


def test_timer_is_used_by_several_at_a_time_and_inside_itself():
    timer = UserMetrics().timer("t")

    async def one(seconds: float) -> None:
        with timer:
            await asyncio.sleep(seconds)

    async def both() -> None:
        await asyncio.gather(one(0.05), one(0.01))

    asyncio.run(both())
    assert timer.times.least < 0.04 < timer.times.most
    with timer, timer:
        pass
    with pytest.raises(ZeroDivisionError), timer:
        _ = 1 / 0
    assert timer.times.count == 5


def test_program_that_has_metrics_of_its_own_keeps_them(make_context: Callable[..., Context]):
    class Old(Process):
        def __init__(self) -> None:
            super().__init__("old")
            self.metrics = {"mine": 1}  # type: ignore[assignment]

    context = make_context()
    old = Old()
    context.spawn(old)
    assert old.metrics == {"mine": 1}
    assert "processes/old/events_handled" in context.metrics.snapshot()


def test_timer_keeps_a_histogram():
    assert isinstance(UserMetrics().timer("t").times, Histogram)
