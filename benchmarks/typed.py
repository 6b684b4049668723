"""What typed messages cost on the message path.

The message path adds at most 20 % to bare msgspec: path - bytes <= 1.2 * bare, each measured as in
``protobuf``, with a message of the same size in fields.
"""

from __future__ import annotations

import threading

try:
    import msgspec
except ImportError:
    msgspec = None  # type: ignore[assignment]
from benchmarks.children import Children, Report
from benchmarks.harness import Metric, Scenario, Target, Values
from benchmarks.protobuf import BATCH, Batch, costs_of
from compactor import PID, Process, install
from tests.interop.programs import Unavailable


class Field(msgspec.Struct if msgspec else object):  # type: ignore[misc]
    name: str
    number: int
    kind: str


class Offer(msgspec.Struct if msgspec else object):  # type: ignore[misc]
    name: str
    fields: list[Field]


class Source(Process):
    message: Offer

    def pump(self, sink: PID) -> None:
        for _ in range(BATCH):
            self.send(sink, self.message)


def run(report: Report, seconds: float) -> None:
    class Sink(Process):
        @install(Offer)
        def work(self, from_pid: PID, message: Offer) -> None:
            countdown.received()

    message = Offer("Offer", [Field(f"field_{n}", n, "string") for n in range(1, 8)])
    encode, decode = msgspec.json.Encoder().encode, msgspec.json.Decoder(Offer).decode

    def bare() -> None:
        for _ in range(BATCH):
            decode(encode(message))

    countdown = Batch(threading.Event())
    source = Source("typed_source")
    source.message = message
    report(costs_of((Sink("typed_sink"), source), encode(message), bare, countdown, seconds))


def play(children: Children, seconds: float) -> Values:
    if msgspec is None:
        raise Unavailable("msgspec is not installed")
    values: Values = children.start(run, seconds)()
    return values


SCENARIO = Scenario(
    "typed",
    {
        "path": Metric("typed message of 7 structs, local", "ns/msg", higher_is_better=False),
        "bytes": Metric("the same as raw bytes", "ns/msg", higher_is_better=False),
        "bare": Metric("bare msgspec encode + decode", "ns/msg", higher_is_better=False),
        "added": Metric(
            "types add to bytes",
            "ns/msg",
            higher_is_better=False,
            targets=(Target(1 / 1.2, key="bare"),),
        ),
    },
    play,
)
