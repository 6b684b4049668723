"""Messages of several sizes from one OS process to another, against a bare transport.

The bare transport is uvloop's: it writes the same frames as fast as the other side takes them,
a quarter of a MiB at a time, and there their bytes are counted; nothing is parsed.  It runs with
glibc's malloc told to keep large buffers: by default each read buffer is mapped and unmapped,
and what is measured is the kernel clearing pages.  compactor runs without any such setting.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import cast

from benchmarks import zmq_peer
from benchmarks.actors import run_sink, run_source
from benchmarks.children import Children, Report
from benchmarks.floors import encode, listen, new_loop
from benchmarks.harness import Contestant, Metric, Play, Scenario, Target, Values
from benchmarks.meters import Meter
from benchmarks.traffic import SIZES, Load, load_of

KEEP_BUFFERS = {
    "MALLOC_MMAP_THRESHOLD_": "1073741824",
    "MALLOC_TRIM_THRESHOLD_": "1073741824",
    "MALLOC_TOP_PAD_": "67108864",
}
BLOCK = 256 * 1024  # bytes of one write
LOADS = {name: load_of(size) for name, size in SIZES.items()}


def frame_of(size: int) -> bytes:
    return encode("source@127.0.0.1:50000", "sink", "127.0.0.1:50001", "work", b"x" * size)


class Counter(asyncio.Protocol):
    """Counts whole frames by their bytes."""

    def __init__(self, frame_bytes: int, mark_every: int, meter: Meter) -> None:
        self.frame_bytes = frame_bytes
        self.marked_bytes = 0
        self.mark_bytes = mark_every * frame_bytes
        self.received = 0
        self.meter = meter

    def data_received(self, data: bytes) -> None:
        self.received += len(data)
        if self.received >= self.marked_bytes + self.mark_bytes:
            self.marked_bytes = self.received
            self.meter.mark(self.received // self.frame_bytes)


class Flood(asyncio.Protocol):
    """Writes a block of frames a turn, unless the transport is full."""

    def __init__(self, loop: asyncio.AbstractEventLoop, frame: bytes) -> None:
        self.loop = loop
        self.block = frame * max(1, BLOCK // len(frame))
        self.is_paused = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.WriteTransport, transport)  # uvloop's is no subclass
        self.pump()

    def pump(self) -> None:
        if not self.is_paused:
            self.transport.write(self.block)
            self.loop.call_soon(self.pump)

    def pause_writing(self) -> None:
        self.is_paused = True

    def resume_writing(self) -> None:
        self.is_paused = False
        self.loop.call_soon(self.pump)


def run_counter(report: Report, load: Load, seconds: float) -> None:
    loop = new_loop()
    meter = Meter(seconds, report)
    size = len(frame_of(load.size))
    report(listen(loop, lambda: Counter(size, load.ack_every, meter)))
    loop.run_forever()


def run_flood(report: Report, load: Load, address: tuple[str, int]) -> None:
    loop = new_loop()
    flood = Flood(loop, frame_of(load.size))
    loop.run_until_complete(loop.create_connection(lambda: flood, *address))
    loop.run_forever()


Pair = Callable[[Children, Load, float], float]


def ours(children: Children, load: Load, seconds: float) -> float:
    receive = children.start(run_sink, load, seconds)
    children.start(run_source, load, receive())
    rate: float = receive()
    return rate


def bare(children: Children, load: Load, seconds: float) -> float:
    receive = children.start(run_counter, load, seconds)
    children.start(run_flood, load, receive())
    rate: float = receive()
    return rate


def each_size(pair: Pair) -> Play:
    def play(children: Children, seconds: float) -> Values:
        values: Values = {}
        for name, load in LOADS.items():
            with children.fresh() as alone:
                values[name] = pair(alone, load, seconds)
        return values

    return play


BARE = "bare transport"
SCENARIO = Scenario(
    "bodies",
    {
        name: Metric(
            f"one-way, {name}", "msg/s", targets=() if name == "64 B" else (Target(0.8, BARE),)
        )
        for name in LOADS
    },
    each_size(ours),
    {
        BARE: Contestant(each_size(bare), KEEP_BUFFERS),
        "pyzmq PUSH/PULL": Contestant(each_size(zmq_peer.one_way)),
    },
)
