"""Round trips between two OS processes with many under way, against a bare echo with as many.

The bare echo's server sends back each chunk as it came; its client writes one frame for each that
has come back whole, as whoever looks at each message does.  Where the client writes as many frames
in one go, nobody touches a message: that is shown for comparison.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from benchmarks.actors import new_context
from benchmarks.children import Children, Report
from benchmarks.floors import new_loop
from benchmarks.harness import Contestant, Metric, Play, Scenario, Target, Values
from benchmarks.meters import Meter
from benchmarks.ping_pong import ECHO, FRAME, run_echo, run_ponger
from benchmarks.traffic import BODY
from compactor import PID, Process, install
from compactor.cli.bench.roles import Bare

OUTSTANDING = (100, 1_000)
Address = tuple[str, int]


class Pipeliner(Process):
    """Sends the next ping for each pong that comes back."""

    def __init__(self, ponger: PID, outstanding: int, meter: Meter) -> None:
        super().__init__("pipeliner")
        self.ponger = ponger
        self.outstanding = outstanding
        self.meter = meter
        self.count = 0

    def go(self) -> None:
        for _ in range(self.outstanding):
            self.send(self.ponger, "ping", BODY)

    @install("pong")
    def pong(self, from_pid: PID, body: bytes) -> None:
        self.count += 1
        if self.count % 1_000 == 0:
            self.meter.mark(self.count)
        self.send(self.ponger, "ping", BODY)


class FramePipeliner(Bare):
    """Writes a frame for each that has come back whole."""

    def __init__(self, outstanding: int, meter: Meter) -> None:
        self.outstanding = outstanding
        self.meter = meter
        self.received = 0
        self.count = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        self.write(self.outstanding)

    def data_received(self, data: bytes) -> None:
        self.received += len(data)
        whole, self.received = divmod(self.received, len(FRAME))
        self.count += whole
        self.meter.mark(self.count)
        self.write(whole)

    def write(self, frames: int) -> None:
        for _ in range(frames):
            self.transport.write(FRAME)


class ChunkPipeliner(FramePipeliner):
    """The same in one write."""

    def write(self, frames: int) -> None:
        self.transport.write(FRAME * frames)


def run_pipeliner(report: Report, ponger: str, outstanding: int, seconds: float) -> None:
    context = new_context()
    pipeliner = Pipeliner(PID.from_string(ponger), outstanding, Meter(seconds, report))
    context.dispatch(context.spawn(pipeliner), "go")


def run_frames(report: Report, address: Address, outstanding: int, seconds: float) -> None:
    run_client(FramePipeliner(outstanding, Meter(seconds, report)), address)


def run_chunks(report: Report, address: Address, outstanding: int, seconds: float) -> None:
    run_client(ChunkPipeliner(outstanding, Meter(seconds, report)), address)


def run_client(client: FramePipeliner, address: Address) -> None:
    loop = new_loop()
    loop.run_until_complete(loop.create_connection(lambda: client, *address))
    loop.run_forever()


def each_number(ponger: Callable[..., None], pipeliner: Callable[..., None]) -> Play:
    def play(children: Children, seconds: float) -> Values:
        values: Values = {}
        for outstanding in OUTSTANDING:
            with children.fresh() as pair:
                address = pair.start(ponger)()
                receive = pair.start(pipeliner, address, outstanding, seconds)
                values[str(outstanding)] = receive()
        return values

    return play


SCENARIO = Scenario(
    "pipelined",
    {
        str(outstanding): Metric(
            f"round trips, {outstanding:,} outstanding",
            "trips/s",
            targets=(Target(0.6, ECHO),),
        )
        for outstanding in OUTSTANDING
    },
    each_number(run_ponger, run_pipeliner),
    {
        ECHO: Contestant(each_number(run_echo, run_frames)),
        "bare echo, joined writes": Contestant(each_number(run_echo, run_chunks)),
    },
)
