"""What a process costs: to spawn and terminate, and to keep when it has nothing to do."""

from __future__ import annotations

import gc
import logging
import threading
import tracemalloc
from collections.abc import Callable
from math import nan
from pathlib import Path

from benchmarks.actors import new_context
from benchmarks.children import Children, Report
from benchmarks.floors import Actor, Node
from benchmarks.harness import Contestant, Metric, Play, Scenario, Target, Values, alone
from benchmarks.meters import Meter
from compactor import PID, Process, Restart, install

BATCH = 1_000  # processes alive at once while spawning and terminating
IDLE = 10_000


class Idle(Process):
    @install("one")
    def one(self, from_pid: PID, body: bytes) -> None: ...

    @install("two")
    def two(self, from_pid: PID, body: bytes) -> None: ...

    @install("three")
    def three(self, from_pid: PID, body: bytes) -> None: ...


class Mortal(Idle):
    def __init__(self, name: str, bury: Callable[[], None]) -> None:
        super().__init__(name)
        self.bury = bury

    def finalize(self) -> None:
        self.bury()


class Graves:
    """Counts ends on the loop's thread; lets another thread wait for a full batch of them."""

    def __init__(self) -> None:
        self.count = 0
        self.full = threading.Event()

    def bury(self) -> None:
        self.count += 1
        if self.count % BATCH == 0:
            self.full.set()

    def wait(self) -> int:
        self.full.wait()
        self.full.clear()
        return self.count


class Parent(Process):
    """Spawns a batch of processes, terminates them, and spawns the next when all have ended."""

    def __init__(self, meter: Meter) -> None:
        super().__init__("parent")
        self.meter = meter
        self.ended = 0

    def churn(self) -> None:
        context = self.context
        pids = [context.spawn(Mortal(f"mortal({n})", self.bury)) for n in range(BATCH)]
        for pid in pids:
            context.terminate(pid)

    def bury(self) -> None:
        self.ended += 1
        if self.ended % BATCH == 0:
            self.meter.mark(self.ended)
            self.context.dispatch(self.pid, self.churn)


def compactor_churn(report: Report, seconds: float) -> None:
    context = new_context()
    parent = Parent(Meter(seconds, report))
    context.dispatch(context.spawn(parent), parent.churn)


def compactor_thread_churn(report: Report, seconds: float) -> None:
    context = new_context()
    graves = Graves()
    meter = Meter(seconds, report)
    while True:
        pids = [context.spawn(Mortal(f"mortal({n})", graves.bury)) for n in range(BATCH)]
        for pid in pids:
            context.terminate(pid)
        meter.mark(graves.wait())


class Failing(Process):
    """Fails with each message, and sends itself the next one when it is made anew."""

    def __init__(self, meter: Meter, counts: list[int]) -> None:
        super().__init__("failing")
        self.meter = meter
        self.counts = counts

    def initialize(self) -> None:
        self.counts[0] += 1
        if self.counts[0] % BATCH == 0:
            self.meter.mark(self.counts[0])
        self.send(self.pid, "fail")

    @install("fail")
    def fail(self, from_pid: PID, body: bytes) -> None:
        raise ValueError


def compactor_restarts(report: Report, seconds: float) -> None:
    logging.getLogger("compactor").setLevel(logging.CRITICAL)  # a line takes longer than a restart
    meter, counts = Meter(seconds, report), [0]
    policy = Restart(limit=None, backoff=0.0)
    new_context().spawn(lambda: Failing(meter, counts), on_failure=policy)


class SketchIdle(Actor):
    def __init__(self, node: Node, name: str) -> None:
        super().__init__(node, name, one=self.one, two=self.two, three=self.three)

    def one(self, from_pid: str, body: bytes) -> None: ...

    def two(self, from_pid: str, body: bytes) -> None: ...

    def three(self, from_pid: str, body: bytes) -> None: ...


def sketch_churn(report: Report, seconds: float) -> None:
    node = Node()
    graves = Graves()
    meter = Meter(seconds, report)

    def end(name: str) -> None:
        for message in ("one", "two", "three"):
            del node.handlers[f"/{name}/{message}"]
        graves.bury()

    node.start_thread()
    while True:
        names = [f"mortal({n})" for n in range(BATCH)]
        for name in names:
            node.loop.call_soon_threadsafe(SketchIdle, node, name)
        for name in names:
            node.loop.call_soon_threadsafe(end, name)
        meter.mark(graves.wait())


def resident() -> float:
    """Bytes of physical memory in use; NaN where there is no /proc."""
    statm = Path("/proc/self/statm")
    return int(statm.read_text().split()[1]) * 4096.0 if statm.exists() else nan


def weigh(report: Report, spawn: Callable[[int], object], trace: bool) -> None:
    """Report the bytes that each of IDLE spawned processes adds."""
    kept = [spawn(n) for n in range(100)]
    if trace:
        tracemalloc.start()
    gc.collect()
    before = resident()
    kept += [spawn(n) for n in range(100, IDLE + 100)]
    gc.collect()
    grown = tracemalloc.get_traced_memory()[0] if trace else resident() - before
    report(grown / IDLE)


def compactor_idle(report: Report, trace: bool) -> None:
    context = new_context()

    def spawn(n: int) -> PID:
        return context.spawn(Idle(f"idle({n})"))

    weigh(report, spawn, trace)


def sketch_idle(report: Report, trace: bool) -> None:
    node = Node()
    weigh(report, lambda n: SketchIdle(node, f"idle({n})"), trace)


def both_weights(role: Callable[[Report, bool], None]) -> Play:
    def play(children: Children, seconds: float) -> Values:
        return {
            "traced": children.start(role, True)(),
            "resident": children.start(role, False)(),
        }

    return play


def restarts(children: Children, seconds: float) -> Values:
    return {
        "rate": children.start(compactor_restarts, seconds)(),
        "spawned": children.start(compactor_churn, seconds)(),
    }


SPAWN = Scenario(
    "spawn",
    {
        "rate": Metric(
            "spawn and terminate, from a handler", "processes/s", targets=(Target(value=150_000),)
        )
    },
    alone(compactor_churn),
)
RESTART = Scenario(
    "restart",
    {
        "rate": Metric(
            "restart of a failed process, one at a time",
            "restarts/s",
            targets=(Target(value=30_000), Target(0.2, key="spawned")),
        ),
        "spawned": Metric("spawn and terminate, beside restarts", "processes/s", in_table=False),
    },
    restarts,
)
THREAD_SPAWN = Scenario(
    "thread_spawn",
    {"rate": Metric("spawn and terminate, from a foreign thread", "processes/s")},
    alone(compactor_thread_churn),
    {"bare objects": Contestant(alone(sketch_churn))},
)
IDLING = Scenario(
    "idle",
    {
        "traced": Metric(
            "idle process, 3 handlers, tracemalloc",
            "bytes",
            higher_is_better=False,
            targets=(Target(value=1_500),),
        ),
        "resident": Metric(
            "idle process, 3 handlers, resident",
            "bytes",
            higher_is_better=False,
            targets=(Target(value=1_500),),
        ),
    },
    both_weights(compactor_idle),
    {"bare objects": Contestant(both_weights(sketch_idle))},
)
