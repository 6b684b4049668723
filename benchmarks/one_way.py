"""64-byte messages from one OS process to another, counted where they arrive."""

from __future__ import annotations

from benchmarks import peers, zmq_peer
from benchmarks.actors import run_sink, run_source
from benchmarks.children import Children, Report
from benchmarks.floors import Node, SketchSink, SketchSource
from benchmarks.harness import Contestant, Metric, Scenario, Target, Values
from benchmarks.meters import Meter, rate_of
from benchmarks.traffic import SMALL


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


def play(children: Children, seconds: float) -> Values:
    receive = children.start(run_sink, SMALL, seconds)
    children.start(run_source, SMALL, receive())
    return {"rate": receive()}


def play_sketch(children: Children, seconds: float) -> Values:
    receive = children.start(sketch_sink, seconds)
    children.start(sketch_source, receive())
    return {"rate": receive()}


def program(command: peers.Command, source: str = "source") -> Contestant:
    """A peer that runs in another interpreter, with the source that its program knows by name."""

    def play(children: Children, seconds: float) -> Values:
        words = command()
        receive = children.start_program([*words, "sink"])
        children.start_program([*words, source, receive()])
        return {"rate": rate_of(receive, seconds)}

    return Contestant(play, is_foreign=True)


ZMQ = "pyzmq PUSH/PULL"
SCENARIO = Scenario(
    "one_way",
    {"rate": Metric("one-way, 64 B", "msg/s", targets=(Target(1.6, ZMQ, pure=0.4),))},
    play,
    {
        ZMQ: Contestant(lambda c, seconds: {"rate": zmq_peer.one_way(c, SMALL, seconds)}),
        "untuned sketch": Contestant(play_sketch),
        "casty": program(peers.casty),
        "xoscar": program(peers.xoscar),
        "xoscar, batches of 1000": program(peers.xoscar, "batches"),
        "compactor 0.3.0": program(peers.legacy),
    },
)
