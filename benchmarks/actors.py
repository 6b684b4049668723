"""compactor's source and sink, and the roles that run them in an OS process of their own."""

from __future__ import annotations

from benchmarks.children import Report
from benchmarks.meters import Meter
from benchmarks.traffic import Load, Sink, Source
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


def new_context() -> Context:
    return Context(ip="127.0.0.1", port=0)


def run_sink(report: Report, load: Load, seconds: float) -> None:
    sink = CompactorSink(Meter(seconds, report))
    sink.load = load
    report(str(new_context().spawn(sink)))


def run_source(report: Report, load: Load, sink: str) -> None:
    context = new_context()
    source = CompactorSource(context, PID.from_string(sink))
    source.carry(load)
    context.dispatch(context.spawn(source), "pump")
