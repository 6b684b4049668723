"""pyzmq: PUSH to PULL, and PAIR to PAIR for round trips."""

from __future__ import annotations

from typing import Any

from benchmarks.children import Children, Report
from benchmarks.harness import Values
from benchmarks.meters import Meter, stopwatch
from benchmarks.peers import need
from benchmarks.traffic import BODY, Load, Sink

ANY_PORT = "tcp://127.0.0.1"


def run_sink(report: Report, load: Load, seconds: float) -> None:
    import zmq

    socket: Any = zmq.Context().socket(zmq.PULL)
    socket.set_hwm(load.window)
    report(f"{ANY_PORT}:{socket.bind_to_random_port(ANY_PORT)}")
    sink = Sink()
    sink.load = load
    sink.meter = Meter(seconds, report)
    sink.acks = False
    while True:
        sink.work(None, socket.recv())


def run_source(report: Report, load: Load, sink: str) -> None:
    import zmq

    socket: Any = zmq.Context().socket(zmq.PUSH)
    socket.set_hwm(load.window)
    socket.connect(sink)
    body = b"x" * load.size
    while True:
        socket.send(body)


def run_ponger(report: Report) -> None:
    import zmq

    socket: Any = zmq.Context().socket(zmq.PAIR)
    report(f"{ANY_PORT}:{socket.bind_to_random_port(ANY_PORT)}")
    while True:
        socket.send(socket.recv())


def run_pinger(report: Report, ponger: str, seconds: float) -> None:
    import zmq

    socket: Any = zmq.Context().socket(zmq.PAIR)
    socket.connect(ponger)
    watch = stopwatch(seconds, report)
    done = False
    while not done:
        watch.start()
        socket.send(BODY)
        socket.recv()
        done = watch.stop()


def one_way(children: Children, load: Load, seconds: float) -> float:
    need("zmq", "pyzmq")
    receive = children.start(run_sink, load, seconds)
    children.start(run_source, load, receive())
    rate: float = receive()
    return rate


def ping_pong(children: Children, seconds: float, pinned: tuple[int | None, int | None]) -> Values:
    need("zmq", "pyzmq")
    address = children.start(run_ponger, cpu=pinned[0])()
    trips: Values = children.start(run_pinger, address, seconds, cpu=pinned[1])()
    return trips
