"""64-byte messages from one OS process to another, counted where they arrive."""

from __future__ import annotations

from collections.abc import Callable
from importlib.util import find_spec
from typing import Any

from benchmarks.floors import Node, SketchSink, SketchSource
from benchmarks.harness import Children, Meter, Metric, Report, Scenario, Values
from benchmarks.traffic import BODY, WINDOW, Sink, Source
from compactor import PID, Context, Process, install


class CompactorSource(Process, Source):
    def __init__(self, context: Context, sink: PID) -> None:
        super().__init__("source")
        self.owner = context
        self.sink = sink

    def again(self) -> None:
        self.owner.dispatch(self.pid, "pump")

    ack = install("ack")(Source.ack)


class CompactorSink(Process, Sink):
    def __init__(self, meter: Meter) -> None:
        super().__init__("sink")
        self.meter = meter

    work = install("work")(Sink.work)


def compactor_sink(report: Report, seconds: float) -> None:
    context = Context(ip="127.0.0.1", port=0)
    report(str(context.spawn(CompactorSink(Meter(seconds, report)))))


def compactor_source(report: Report, sink: str) -> None:
    context = Context(ip="127.0.0.1", port=0)
    source = CompactorSource(context, PID.from_string(sink))
    context.dispatch(context.spawn(source), "pump")


def sketch_sink(report: Report, seconds: float) -> None:
    node = Node()
    sink = SketchSink(node)
    sink.meter = Meter(seconds, report)
    report(sink.pid)
    node.loop.run_forever()


def sketch_source(report: Report, sink: str) -> None:
    node = Node()
    node.loop.call_soon(SketchSource(node, sink).pump)
    node.loop.run_forever()


def zmq_sink(report: Report, seconds: float) -> None:
    import zmq

    socket: Any = zmq.Context().socket(zmq.PULL)
    socket.set_hwm(WINDOW)
    report(f"tcp://127.0.0.1:{socket.bind_to_random_port('tcp://127.0.0.1')}")
    sink = Sink()
    sink.meter = Meter(seconds, report)
    sink.acks = False
    while True:
        sink.work(None, socket.recv())


def zmq_source(report: Report, sink: str) -> None:
    import zmq

    socket: Any = zmq.Context().socket(zmq.PUSH)
    socket.set_hwm(WINDOW)
    socket.connect(sink)
    while True:
        socket.send(BODY)


def pair(sink: Any, source: Any, seconds: float) -> Values:
    with Children() as children:
        from_sink = children.start(sink, seconds)
        children.start(source, from_sink())
        return {"rate": from_sink()}


ZMQ: dict[str, Callable[[float], Values]] = {}
if find_spec("zmq"):
    ZMQ["zmq PUSH/PULL"] = lambda seconds: pair(zmq_sink, zmq_source, seconds)

SCENARIO = Scenario(
    "one_way",
    {"rate": Metric("one-way, 64 B, between two OS processes", "msg/s")},
    {
        "compactor": lambda seconds: pair(compactor_sink, compactor_source, seconds),
        "sketch": lambda seconds: pair(sketch_sink, sketch_source, seconds),
        **ZMQ,
    },
)
