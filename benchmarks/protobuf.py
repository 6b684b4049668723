"""What protocol buffers cost on the message path.

The message path adds at most 30 % to bare parse and serialise.  So three costs per message are
measured by turns in one OS process, from handler to handler of one context:

- path: a `ProtobufProcess` sends a message object to one that receives it as an object;
- bytes: a `Process` sends its serialised bytes to one that receives bytes;
- bare: `Type.FromString(message.SerializeToString())` in a loop.

What protocol buffers add is path - bytes; the target is path - bytes <= 1.3 * bare.  The message
is a `Type` of 7 fields, each a message itself; it comes with the protobuf package.  It has no
required fields: where there are some, each message is asked whether it has them all, which costs as
much as parsing it.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from statistics import median
from typing import Any

from google.protobuf.type_pb2 import Field, Type

from benchmarks.actors import new_context
from benchmarks.children import Children, Report
from benchmarks.countdown import Countdown
from benchmarks.harness import Metric, Scenario, Target, Values
from compactor import PID, Process, ProtobufProcess, install

BATCH = 2_000  # messages of one measurement

MESSAGE = Type(
    name="Offer",
    fields=[Field(name=f"field_{n}", number=n, kind=Field.TYPE_STRING) for n in range(1, 8)],
)
BODY = MESSAGE.SerializeToString()


Batch = Countdown[threading.Event]


class BytesSink(Process):
    def __init__(self, countdown: Batch) -> None:
        super().__init__("bytes_sink")
        self.countdown = countdown

    @install("work")
    def work(self, from_pid: PID, body: bytes) -> None:
        self.countdown.received()


class BytesSource(Process):
    def __init__(self, body: bytes) -> None:
        super().__init__("bytes_source")
        self.body = body

    def pump(self, sink: PID) -> None:
        for _ in range(BATCH):
            self.send(sink, "work", self.body)


class MessageSink(ProtobufProcess):
    def __init__(self, countdown: Batch) -> None:
        super().__init__("message_sink")
        self.countdown = countdown

    @ProtobufProcess.install(Type)
    def work(self, from_pid: PID, message: Type) -> None:
        self.countdown.received()


class MessageSource(ProtobufProcess):
    def pump(self, sink: PID) -> None:
        for _ in range(BATCH):
            self.send(sink, MESSAGE)


def bare() -> None:
    parse: Any = Type.FromString
    for _ in range(BATCH):
        parse(MESSAGE.SerializeToString())


def run(report: Report, seconds: float) -> None:
    countdown = Batch(threading.Event())
    ends = MessageSink(countdown), MessageSource("message_source")
    report(costs_of(ends, BODY, bare, countdown, seconds))


def costs_of(
    ends: tuple[Process, Process],
    body: bytes,
    bare: Callable[[], object],
    countdown: Batch,
    seconds: float,
) -> Values:
    """What messages cost from handler to handler, as objects and as bytes, and bare.

    Args:
        ends: who receives the objects, and who sends them.
        body: an object as bytes.
        bare: writes and reads a batch of objects.
        countdown: of those who receive.
    """
    context = new_context()

    def path(sink: Process, source: Process) -> Callable[[], object]:
        to, pid = context.spawn(sink), context.spawn(source)

        def batch() -> None:
            countdown.expect(BATCH)
            context.dispatch(pid, "pump", to)
            countdown.is_done.wait()

        return batch

    batches = {
        "path": path(*ends),
        "bytes": path(BytesSink(countdown), BytesSource(body)),
        "bare": bare,
    }
    costs: dict[str, list[float]] = {name: [] for name in batches}
    end = time.perf_counter() + seconds
    while time.perf_counter() < end:
        for name, batch in batches.items():
            begun = time.perf_counter()
            batch()
            costs[name].append((time.perf_counter() - begun) / BATCH * 1e9)
    medians = {name: median(samples) for name, samples in costs.items()}
    return {**medians, "added": medians["path"] - medians["bytes"]}


def play(children: Children, seconds: float) -> Values:
    values: Values = children.start(run, seconds)()
    return values


SCENARIO = Scenario(
    "protobuf",
    {
        "path": Metric(f"protobuf message, {len(BODY)} B, local", "ns/msg", higher_is_better=False),
        "bytes": Metric("the same as bytes", "ns/msg", higher_is_better=False),
        "bare": Metric("bare parse + serialise", "ns/msg", higher_is_better=False),
        "added": Metric(
            "protobuf adds to bytes",
            "ns/msg",
            higher_is_better=False,
            targets=(Target(1 / 1.3, key="bare"),),
        ),
    },
    play,
)
