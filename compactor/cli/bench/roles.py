"""What the OS processes of ``compactor bench`` do: who sends, who receives, and who measures.

One of each pair runs on compactor, the other one on a bare transport of the same event loop, which
parses nothing: the floor.
"""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import Callable
from typing import cast

from compactor.cli.bench.meters import Meter, Stopwatch, percentile
from compactor.cli.child import tell, wait_for_parent
from compactor.context import Context
from compactor.net.event_loop import new_event_loop
from compactor.pid import PID
from compactor.process import Process
from compactor.wire.encoder import encode_message, message_prefix

BODY = b"x" * 64
_BURST = 1_000  # messages from one run of a handler
_WINDOW = 20_000  # messages under way, at most
_FRAME = encode_message(
    message_prefix(PID("127.0.0.1", 50000, "source"), PID("127.0.0.1", 50001, "sink"), "work"), BODY
)
_BLOCK = _FRAME * 1_000

Address = tuple[str, int]


def _tell_rate(rate: float) -> None:
    tell("measured", rate)


def _tell_trips(trips: list[float]) -> None:
    tell("measured", percentile(trips, 50), percentile(trips, 99))


# On compactor


class Sink(Process):
    """Counts what arrives, and lets the source send more."""

    def __init__(self, meter: Meter) -> None:
        super().__init__("sink")
        self.meter = meter
        self.count = 0

    @Process.install("work")
    def work(self, from_pid: PID, body: bytes) -> None:
        self.count += 1
        if self.count % _BURST == 0:
            self.meter.mark(self.count)
            self.send(from_pid, "more")


class Source(Process):
    """Keeps a window full."""

    def __init__(self, sink: PID) -> None:
        super().__init__("source")
        self.sink = sink

    def burst(self) -> None:
        for _ in range(_BURST):
            self.send(self.sink, "work", BODY)

    @Process.install("more")
    def more(self, from_pid: PID, body: bytes) -> None:
        self.burst()


class Ponger(Process):
    def __init__(self) -> None:
        super().__init__("ponger")

    @Process.install("ping")
    def ping(self, from_pid: PID, body: bytes) -> None:
        self.send(from_pid, "pong", body)


class Pinger(Process):
    """One message under way, at any time."""

    def __init__(self, ponger: PID, watch: Stopwatch) -> None:
        super().__init__("pinger")
        self.ponger = ponger
        self.watch = watch

    def go(self) -> None:
        self.watch.start()
        self.send(self.ponger, "ping", BODY)

    @Process.install("pong")
    def pong(self, from_pid: PID, body: bytes) -> None:
        self.watch.stop()
        self.go()


def _context() -> Context:
    return Context(ip="127.0.0.1", port=0)


def sink(seconds: float, _: str) -> None:
    tell("ready", _context().spawn(Sink(Meter(seconds, _tell_rate))))


def source(_: float, to: str) -> None:
    context = _context()
    pid = context.spawn(Source(PID.from_string(to)))
    for _burst in range(_WINDOW // _BURST):
        context.dispatch(pid, "burst")


def ponger(_: float, __: str) -> None:
    tell("ready", _context().spawn(Ponger()))


def pinger(seconds: float, to: str) -> None:
    context = _context()
    pid = context.spawn(Pinger(PID.from_string(to), Stopwatch(seconds, _tell_trips)))
    context.dispatch(pid, "go")


# On a bare transport


class Bare(asyncio.Protocol):
    """Sends back what it gets."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.WriteTransport, transport)  # uvloop's is no subclass

    def data_received(self, data: bytes) -> None:
        self.transport.write(data)


class BareSink(Bare):
    """Counts frames by their bytes."""

    def __init__(self, meter: Meter) -> None:
        self.meter = meter
        self.received = 0

    def data_received(self, data: bytes) -> None:
        self.received += len(data)
        self.meter.mark(self.received // len(_FRAME))


class BareSource(Bare):
    """Writes a block of frames a turn, unless the transport is full."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.loop = loop
        self.is_paused = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        self.pump()

    def pump(self) -> None:
        if not self.is_paused:
            self.transport.write(_BLOCK)
            self.loop.call_soon(self.pump)

    def pause_writing(self) -> None:
        self.is_paused = True

    def resume_writing(self) -> None:
        self.is_paused = False
        self.loop.call_soon(self.pump)


class BarePinger(Bare):
    """Sends a frame, and the next when all of it has come back."""

    def __init__(self, watch: Stopwatch, frame: bytes) -> None:
        self.watch = watch
        self.frame = frame
        self.received = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        self.go()

    def go(self) -> None:
        self.watch.start()
        self.transport.write(self.frame)

    def data_received(self, data: bytes) -> None:
        self.received += len(data)
        if self.received == len(self.frame):
            self.received = 0
            self.watch.stop()
            self.go()


def bare_sink(seconds: float, _: str) -> None:
    _listen(lambda: BareSink(Meter(seconds, _tell_rate)))


def bare_source(_: float, to: str) -> None:
    loop = new_event_loop()
    _connect(loop, to, lambda: BareSource(loop))


def bare_ponger(_: float, __: str) -> None:
    _listen(Bare)


def bare_pinger(seconds: float, to: str) -> None:
    _connect(new_event_loop(), to, lambda: BarePinger(Stopwatch(seconds, _tell_trips), _FRAME))


def _listen(protocol: Callable[[], asyncio.Protocol]) -> None:
    loop = new_event_loop()
    server = loop.run_until_complete(loop.create_server(protocol, "127.0.0.1", 0))
    tell("ready", "{}:{}".format(*server.sockets[0].getsockname()))
    _run(loop)


def _connect(
    loop: asyncio.AbstractEventLoop, to: str, protocol: Callable[[], asyncio.Protocol]
) -> None:
    ip, _, port = to.rpartition(":")
    loop.run_until_complete(loop.create_connection(protocol, ip, int(port)))
    _run(loop)


def _run(loop: asyncio.AbstractEventLoop) -> None:
    threading.Thread(target=loop.run_forever, daemon=True).start()


ROLES: dict[str, Callable[[float, str], None]] = {
    role.__name__.replace("_", "-"): role
    for role in (sink, source, ponger, pinger, bare_sink, bare_source, bare_ponger, bare_pinger)
}


def run_role(role: str, cpu: str, seconds: float, to: str) -> None:
    """Play a role until the parent is gone; the process ends there and then.

    Args:
        role: one of ``ROLES``.
        cpu: which of the CPUs to stay on, ``first`` or ``last``, where that can be said.
        seconds: how long to measure.
        to: the address that the other one told.
    """
    if hasattr(os, "sched_setaffinity"):
        pick = min if cpu == "first" else max
        os.sched_setaffinity(0, {pick(os.sched_getaffinity(0))})
    ROLES[role](seconds, to)
    wait_for_parent()
    os._exit(0)
