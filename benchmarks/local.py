"""Messages that stay inside one context: from a handler, and from a foreign thread."""

from __future__ import annotations

from functools import partial

from benchmarks import pykka_peer
from benchmarks.actors import CompactorSink, CompactorSource, new_context
from benchmarks.children import Report
from benchmarks.floors import Node, SketchSink, SketchSource
from benchmarks.harness import Contestant, Metric, Scenario, Target, alone
from benchmarks.meters import Gate, Meter
from benchmarks.traffic import BODY, SMALL


def compactor_handler(report: Report, seconds: float) -> None:
    context = new_context()
    sink = context.spawn(CompactorSink(Meter(seconds, report)))
    context.dispatch(context.spawn(CompactorSource(context, sink)), "pump")


def sketch_handler(report: Report, seconds: float) -> None:
    node = Node()
    sink = SketchSink(node)
    sink.meter = Meter(seconds, report)
    node.loop.call_soon(SketchSource(node, sink.pid).pump)
    node.loop.run_forever()


def compactor_thread(report: Report, seconds: float) -> None:
    context = new_context()
    gate = Gate(seconds, report, SMALL.ack_every)
    sink = CompactorSink(gate)
    sink.acks = False
    pid = context.spawn(sink)
    source = CompactorSource(context, pid)
    context.spawn(source)
    gate.flood(partial(source.send, pid, "work", BODY))


def sketch_thread(report: Report, seconds: float) -> None:
    node = Node()
    gate = Gate(seconds, report, SMALL.ack_every)
    sink = SketchSink(node)
    sink.meter = gate
    sink.acks = False
    node.start_thread()
    gate.flood(partial(node.send_threadsafe, "source", sink.pid, "work", BODY))


BARE = "bare deque and call"
HANDLER = Scenario(
    "local",
    {"rate": Metric("local send, from a handler", "msg/s", targets=(Target(value=2_000_000),))},
    alone(compactor_handler),
    {BARE: Contestant(alone(sketch_handler)), "Pykka": Contestant(pykka_peer.from_handler)},
)
THREAD = Scenario(
    "thread",
    {
        "rate": Metric(
            "local send, from a foreign thread", "msg/s", targets=(Target(value=500_000),)
        )
    },
    alone(compactor_thread),
    {BARE: Contestant(alone(sketch_thread)), "Pykka": Contestant(pykka_peer.from_thread)},
)
