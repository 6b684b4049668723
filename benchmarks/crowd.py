"""What one received message costs while many other processes live; it must not grow with them.

The sender is a blocking socket with prepared bytes, so that only the receiver is measured.
"""

from __future__ import annotations

import socket
from collections.abc import Callable

from benchmarks.floors import Node, SketchSink, encode
from benchmarks.harness import Children, Meter, Metric, Report, Scenario, Values
from benchmarks.lifecycle import Idle, SketchIdle
from benchmarks.one_way import CompactorSink
from benchmarks.traffic import BODY, BURST
from compactor import Context

CROWDS = (1, 1_000, 100_000)


def compactor_sink(report: Report, seconds: float, crowd: int) -> None:
    context = Context(ip="127.0.0.1", port=0)
    for n in range(crowd - 1):
        context.spawn(Idle(f"idle({n})"))
    sink = CompactorSink(Meter(seconds, report))
    sink.acks = False
    report(str(context.spawn(sink)))


def sketch_sink(report: Report, seconds: float, crowd: int) -> None:
    node = Node()
    for n in range(crowd - 1):
        SketchIdle(node, f"idle({n})")
    sink = SketchSink(node)
    sink.meter = Meter(seconds, report)
    sink.acks = False
    report(sink.pid)
    node.loop.run_forever()


def blast(report: Report, sink: str) -> None:
    to_id, _, address = sink.partition("@")
    ip, _, port = address.partition(":")
    frames = encode("blaster@127.0.0.1:1", to_id, address, "work", BODY) * BURST
    with socket.create_connection((ip, int(port))) as connection:
        while True:
            connection.sendall(frames)


def cost(sink: Callable[[Report, float, int], None], seconds: float, crowd: int) -> float:
    with Children() as children:
        from_sink = children.start(sink, seconds, crowd)
        children.start(blast, from_sink())
        return 1e9 / float(from_sink())


def costs(sink: Callable[[Report, float, int], None], seconds: float) -> Values:
    return {str(crowd): cost(sink, seconds, crowd) for crowd in CROWDS}


SCENARIO = Scenario(
    "crowd",
    {
        str(crowd): Metric(
            f"receive one message, {crowd:,} spawned", "ns/msg", higher_is_better=False
        )
        for crowd in CROWDS
    },
    {
        "compactor": lambda seconds: costs(compactor_sink, seconds),
        "sketch": lambda seconds: costs(sketch_sink, seconds),
    },
)
