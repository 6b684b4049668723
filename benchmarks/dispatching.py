"""Dispatches: from a handler, from a foreign thread, and each result awaited by a handler.

The floor is a deque of calls on a loop, and a future of asyncio for each result that is awaited.
"""

from __future__ import annotations

import asyncio
import threading
from collections import deque
from collections.abc import Callable
from functools import partial
from typing import Any

from benchmarks.actors import new_context
from benchmarks.children import Children, Report
from benchmarks.floors import new_loop
from benchmarks.harness import Contestant, Metric, Scenario, Values
from benchmarks.local import BARE
from benchmarks.meters import Gate, Meter
from compactor import PID, Process

BURST = 1_000  # calls from one run of a handler, and between two marks of the meter


class Counter:
    """What is called."""

    meter: Meter
    count = 0
    again: Callable[[], object] | None = None  # has the next burst begin

    def add(self, number: int) -> int:
        self.count += number
        if self.count % BURST == 0:
            self.meter.mark(self.count)
            if self.again is not None:
                self.again()
        return self.count


class Sink(Process, Counter):
    def __init__(self, meter: Meter) -> None:
        super().__init__("sink")
        self.meter = meter


class Source(Process):
    def __init__(self, sink: PID) -> None:
        super().__init__("source")
        self.sink = sink

    def pump(self) -> None:
        dispatch = self.context.dispatch
        for _ in range(BURST):
            dispatch(self.sink, "add", 1)

    async def ask_all(self) -> None:
        dispatch = self.context.dispatch
        while True:
            await dispatch(self.sink, "add", 1)


def ours_handler(report: Report, seconds: float) -> None:
    context = new_context()
    sink = Sink(Meter(seconds, report))
    source = context.spawn(Source(context.spawn(sink)))
    sink.again = partial(context.dispatch, source, "pump")
    sink.again()


def ours_awaited(report: Report, seconds: float) -> None:
    context = new_context()
    sink = context.spawn(Sink(Meter(seconds, report)))
    context.dispatch(context.spawn(Source(sink)), "ask_all")


def ours_thread(report: Report, seconds: float) -> None:
    context = new_context()
    gate = Gate(seconds, report, BURST)
    gate.flood(partial(context.dispatch, context.spawn(Sink(gate)), "add", 1))


class Bare:
    """A deque of calls on a loop."""

    def __init__(self, meter: Meter) -> None:
        self.loop = new_loop()
        self.calls: deque[tuple[asyncio.Future[Any] | None, Callable[..., Any], Any]] = deque()
        self.awake = False
        self.counter = Counter()
        self.counter.meter = meter

    def call(self, number: int) -> None:
        self.calls.append((None, self.counter.add, number))
        if not self.awake:
            self.awake = True
            self.loop.call_soon(self.drain)

    def call_threadsafe(self, number: int) -> None:
        self.calls.append((None, self.counter.add, number))
        if not self.awake:
            self.awake = True
            self.loop.call_soon_threadsafe(self.drain)

    def drain(self) -> None:
        self.awake = False  # before the first look: who appends later wakes us again
        while self.calls:
            future, function, number = self.calls.popleft()
            result = function(number)
            if future is not None:
                future.set_result(result)

    def pump(self) -> None:
        for _ in range(BURST):
            self.call(1)

    async def ask(self) -> None:
        while True:
            future = self.loop.create_future()
            self.calls.append((future, self.counter.add, 1))
            self.loop.call_soon(self.drain)
            await future


def bare_handler(report: Report, seconds: float) -> None:
    bare = Bare(Meter(seconds, report))
    bare.counter.again = partial(bare.loop.call_soon, bare.pump)
    bare.loop.call_soon(bare.pump)
    bare.loop.run_forever()


def bare_thread(report: Report, seconds: float) -> None:
    gate = Gate(seconds, report, BURST)
    bare = Bare(gate)
    threading.Thread(target=bare.loop.run_forever, daemon=True).start()
    gate.flood(partial(bare.call_threadsafe, 1))


def bare_awaited(report: Report, seconds: float) -> None:
    bare = Bare(Meter(seconds, report))
    bare.loop.run_until_complete(bare.ask())


def each(**roles: Callable[[Report, float], None]) -> Callable[[Children, float], Values]:
    """A play of several roles, one after the other, each of which reports one rate."""

    def play(children: Children, seconds: float) -> Values:
        values = {}
        for key, role in roles.items():
            with children.fresh() as alone:  # the last one runs on until it is ended
                values[key] = alone.start(role, seconds)()
        return values

    return play


SCENARIO = Scenario(
    "dispatch",
    {
        "handler": Metric("dispatch, from a handler", "calls/s"),
        "thread": Metric("dispatch, from a foreign thread", "calls/s"),
        "awaited": Metric("dispatch, each awaited by a handler", "calls/s"),
    },
    each(handler=ours_handler, thread=ours_thread, awaited=ours_awaited),
    {BARE: Contestant(each(handler=bare_handler, thread=bare_thread, awaited=bare_awaited))},
)
