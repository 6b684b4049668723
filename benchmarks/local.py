"""Messages that stay inside one context: from a handler, and from a foreign thread."""

from __future__ import annotations

import threading
from collections.abc import Callable
from functools import partial

from benchmarks.floors import Node, SketchSink, SketchSource
from benchmarks.harness import Meter, Metric, Report, Scenario, alone
from benchmarks.one_way import CompactorSink, CompactorSource
from benchmarks.traffic import ACK_EVERY, BODY, WINDOW
from compactor import Context


class Gate(Meter):
    """A meter that also holds a foreign thread back: WINDOW messages ahead of the last mark."""

    def __init__(self, seconds: float, report: Report) -> None:
        super().__init__(seconds, report)
        self.room = threading.Semaphore(WINDOW // ACK_EVERY)

    def mark(self, count: int) -> bool:
        self.room.release()
        return super().mark(count)

    def flood(self, send: Callable[[], object]) -> None:
        """Call `send` for ever, on this thread."""
        while True:
            self.room.acquire()
            for _ in range(ACK_EVERY):
                send()


def compactor_handler(report: Report, seconds: float) -> None:
    context = Context(ip="127.0.0.1", port=0)
    sink = context.spawn(CompactorSink(Meter(seconds, report)))
    context.dispatch(context.spawn(CompactorSource(context, sink)), "pump")


def sketch_handler(report: Report, seconds: float) -> None:
    node = Node()
    sink = SketchSink(node)
    sink.meter = Meter(seconds, report)
    node.loop.call_soon(SketchSource(node, sink.pid).pump)
    node.loop.run_forever()


def compactor_thread(report: Report, seconds: float) -> None:
    context = Context(ip="127.0.0.1", port=0)
    gate = Gate(seconds, report)
    sink = CompactorSink(gate)
    sink.acks = False
    pid = context.spawn(sink)
    source = CompactorSource(context, pid)
    context.spawn(source)
    gate.flood(partial(source.send, pid, "work", BODY))


def sketch_thread(report: Report, seconds: float) -> None:
    node = Node()
    gate = Gate(seconds, report)
    sink = SketchSink(node)
    sink.meter = gate
    sink.acks = False
    node.start_thread()
    gate.flood(partial(node.send_threadsafe, "source", sink.pid, "work", BODY))


HANDLER = Scenario(
    "local",
    {"rate": Metric("local send, from a handler", "msg/s")},
    {
        "compactor": lambda seconds: {"rate": alone(compactor_handler, seconds)},
        "sketch": lambda seconds: {"rate": alone(sketch_handler, seconds)},
    },
)
THREAD = Scenario(
    "thread",
    {"rate": Metric("local send, from a foreign thread", "msg/s")},
    {
        "compactor": lambda seconds: {"rate": alone(compactor_thread, seconds)},
        "sketch": lambda seconds: {"rate": alone(sketch_thread, seconds)},
    },
)
