"""Pykka: messages between two actors of one OS process, each on a thread of its own."""

from __future__ import annotations

from functools import partial
from typing import Any

from benchmarks.children import Children, Report
from benchmarks.harness import Values
from benchmarks.meters import Gate, Meter
from benchmarks.peers import need
from benchmarks.traffic import BODY, SMALL, Sink, Source


def new_actor(load: Source | Sink) -> Any:
    """Start an actor that hands each message, (name, arguments), to the load's method."""
    import pykka

    class Actor(pykka.ThreadingActor):
        def on_receive(self, message: tuple[str, tuple[Any, ...]]) -> None:
            name, args = message
            getattr(load, name)(*args)

    actor: Any = Actor.start()
    load.send = lambda to, name, body: to.tell((name, (actor, body)))
    if isinstance(load, Source):
        load.again = lambda: actor.tell(("pump", ()))
    return actor


def run_handler(report: Report, seconds: float) -> None:
    sink = Sink()
    sink.meter = Meter(seconds, report)
    source = Source()
    source.sink = new_actor(sink)
    new_actor(source).tell(("pump", ()))


def run_thread(report: Report, seconds: float) -> None:
    gate = Gate(seconds, report, SMALL.ack_every)
    sink = Sink()
    sink.meter = gate
    sink.acks = False
    actor = new_actor(sink)
    gate.flood(partial(actor.tell, ("work", (None, BODY))))


def run_asker(report: Report, seconds: float) -> None:
    import pykka

    class Answerer(pykka.ThreadingActor):
        def ping(self, body: bytes) -> bytes:
            return body

    class Asker(pykka.ThreadingActor):
        def count(self, answerer: Any) -> None:
            meter, count = Meter(seconds, report), 0
            while True:
                answerer.ping(BODY).get()
                count += 1
                if count % 100 == 0:
                    meter.mark(count)

    asker: Any = Asker.start().proxy()
    asker.count(Answerer.start().proxy())


def from_asker(children: Children, seconds: float) -> Values:
    need("pykka", "Pykka")
    return {"local": children.start(run_asker, seconds)()}


def from_handler(children: Children, seconds: float) -> Values:
    need("pykka", "Pykka")
    return {"rate": children.start(run_handler, seconds)()}


def from_thread(children: Children, seconds: float) -> Values:
    need("pykka", "Pykka")
    return {"rate": children.start(run_thread, seconds)()}
