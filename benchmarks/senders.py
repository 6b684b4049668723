"""Many connections to one process, against one connection that brings as much.

The senders are raw sockets that replay encoded frames, all in one OS process, so that only the
receiver is measured.  Each connection has a sender pid of its own.
"""

from __future__ import annotations

import selectors
import socket
from collections.abc import Callable

from benchmarks.actors import CompactorSink, new_context
from benchmarks.children import Children, Report
from benchmarks.floors import Node, SketchSink, encode
from benchmarks.harness import Contestant, Metric, Play, Scenario, Target, Values
from benchmarks.meters import Meter
from benchmarks.traffic import BODY

CONNECTIONS = (1, 100)
BURST = 1_000  # frames that one socket is given at a time


def run_sink(report: Report, seconds: float) -> None:
    sink = CompactorSink(Meter(seconds, report))
    sink.acks = False
    report(str(new_context().spawn(sink)))


def run_sketch_sink(report: Report, seconds: float) -> None:
    node = Node()
    sink = SketchSink(node)
    sink.meter = Meter(seconds, report)
    sink.acks = False
    report(sink.pid)
    node.loop.run_forever()


def replay(report: Report, sink: str, connections: int) -> None:
    """Write the same frames again and again to whichever socket takes them."""
    to_id, _, address = sink.partition("@")
    ip, _, port = address.partition(":")
    selector = selectors.DefaultSelector()
    for number in range(connections):
        connection = socket.create_connection((ip, int(port)))
        connection.setblocking(False)
        frame = encode(f"sender({number})@127.0.0.1:1", to_id, address, "work", BODY)
        selector.register(connection, selectors.EVENT_WRITE, Replayed(frame * BURST))
    while True:
        for key, _ in selector.select():
            key.data.send_to(key.fileobj)


class Replayed:
    """The frames of one connection, and how far the last write got."""

    def __init__(self, frames: bytes) -> None:
        self.frames = memoryview(frames)
        self.offset = 0

    def send_to(self, connection: socket.socket) -> None:
        sent = connection.send(self.frames[self.offset :])
        self.offset = (self.offset + sent) % len(self.frames)


def each_number(sink: Callable[[Report, float], None]) -> Play:
    def play(children: Children, seconds: float) -> Values:
        values: Values = {}
        for connections in CONNECTIONS:
            with children.fresh() as pair:
                receive = pair.start(sink, seconds)
                pair.start(replay, receive(), connections)
                values[str(connections)] = receive()
        return values

    return play


SCENARIO = Scenario(
    "senders",
    {
        "1": Metric("receive from 1 connection", "msg/s"),
        "100": Metric("receive from 100 connections", "msg/s", targets=(Target(0.8, key="1"),)),
    },
    each_number(run_sink),
    {"untuned sketch": Contestant(each_number(run_sketch_sink))},
)
