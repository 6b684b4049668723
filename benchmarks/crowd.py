"""What one received message costs while many other processes live; it must not grow with them."""

from __future__ import annotations

from collections.abc import Callable

from benchmarks.actors import CompactorSink, new_context
from benchmarks.children import Children, Report
from benchmarks.floors import Node, SketchSink
from benchmarks.harness import Contestant, Metric, Play, Scenario, Target, Values
from benchmarks.lifecycle import Idle, SketchIdle
from benchmarks.meters import Meter
from benchmarks.senders import replay

CROWDS = (1, 1_000, 100_000)


def run_sink(report: Report, seconds: float, crowd: int) -> None:
    context = new_context()
    for n in range(crowd - 1):
        context.spawn(Idle(f"idle({n})"))
    sink = CompactorSink(Meter(seconds, report))
    sink.acks = False
    report(str(context.spawn(sink)))


def run_sketch_sink(report: Report, seconds: float, crowd: int) -> None:
    node = Node()
    for n in range(crowd - 1):
        SketchIdle(node, f"idle({n})")
    sink = SketchSink(node)
    sink.meter = Meter(seconds, report)
    sink.acks = False
    report(sink.pid)
    node.loop.run_forever()


def each_crowd(sink: Callable[[Report, float, int], None]) -> Play:
    def play(children: Children, seconds: float) -> Values:
        values: Values = {}
        for crowd in CROWDS:
            with children.fresh() as pair:
                receive = pair.start(sink, seconds, crowd)
                pair.start(replay, receive(), 1)
                values[str(crowd)] = 1e9 / float(receive())
        return values

    return play


SCENARIO = Scenario(
    "crowd",
    {
        str(crowd): Metric(
            f"receive one message, {crowd:,} spawned",
            "ns/msg",
            higher_is_better=False,
            targets=() if crowd == 1 else (Target(1 / 1.1, key="1"),),
        )
        for crowd in CROWDS
    },
    each_crowd(run_sink),
    {"untuned sketch": Contestant(each_crowd(run_sketch_sink))},
)
