"""Round trips between two OS processes, one message under way.

Both share one CPU where the system can pin them: left alone, a run falls by chance into one of two
modes, 2 to 4 times apart, as the scheduler puts them together or apart, and what waking another
CPU costs is the machine's affair.
"""

from __future__ import annotations

import asyncio
import os
import time
from typing import Any, cast

from benchmarks.floors import encode, listen, new_loop
from benchmarks.harness import Children, Metric, Report, Scenario, Values
from benchmarks.traffic import BODY
from compactor import PID, Context, Process, install

FRAME = encode("pinger@127.0.0.1:50000", "ponger", "127.0.0.1:50001", "ping", BODY)


def share_one_cpu() -> None:
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})


class Stopwatch:
    """Collects round trips for `seconds` after a quarter of that as warm-up; reports p50, p99."""

    def __init__(self, seconds: float, report: Report) -> None:
        self.report = report
        self.opens = time.perf_counter() + seconds / 4
        self.closes = self.opens + seconds
        self.trips: list[float] = []
        self.begun = 0.0

    def start(self) -> None:
        self.begun = time.perf_counter()

    def stop(self) -> None:
        now = time.perf_counter()
        if now >= self.closes:
            self.closes = float("inf")
            self.trips.sort()
            p50, p99 = (self.trips[len(self.trips) * percent // 100] for percent in (50, 99))
            self.report({"p50": p50 * 1e6, "p99": p99 * 1e6})
        elif now >= self.opens:
            self.trips.append(now - self.begun)


class Ponger(Process):
    def __init__(self) -> None:
        super().__init__("ponger")

    @install("ping")
    def ping(self, from_pid: PID, body: bytes) -> None:
        self.send(from_pid, "pong", body)


class Pinger(Process):
    def __init__(self, ponger: PID, watch: Stopwatch) -> None:
        super().__init__("pinger")
        self.ponger = ponger
        self.watch = watch

    def go(self) -> None:
        self.watch.start()
        self.send(self.ponger, "ping", BODY)

    @install("pong")
    def pong(self, from_pid: PID, body: bytes) -> None:
        self.watch.stop()
        self.go()


def compactor_ponger(report: Report) -> None:
    share_one_cpu()
    report(str(Context(ip="127.0.0.1", port=0).spawn(Ponger())))


def compactor_pinger(report: Report, ponger: str, seconds: float) -> None:
    share_one_cpu()
    context = Context(ip="127.0.0.1", port=0)
    pinger = Pinger(PID.from_string(ponger), Stopwatch(seconds, report))
    context.dispatch(context.spawn(pinger), "go")


class Echo(asyncio.Protocol):
    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.WriteTransport, transport)  # uvloop's is no subclass

    def data_received(self, data: bytes) -> None:
        self.transport.write(data)


class EchoClient(Echo):
    def __init__(self, watch: Stopwatch) -> None:
        self.watch = watch
        self.received = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        self.go()

    def go(self) -> None:
        self.watch.start()
        self.transport.write(FRAME)

    def data_received(self, data: bytes) -> None:
        self.received += len(data)
        if self.received == len(FRAME):
            self.received = 0
            self.watch.stop()
            self.go()


def echo_server(report: Report) -> None:
    share_one_cpu()
    loop = new_loop()
    report(listen(loop, Echo))
    loop.run_forever()


def echo_client(report: Report, address: tuple[str, int], seconds: float) -> None:
    share_one_cpu()
    loop = new_loop()
    watch = Stopwatch(seconds, report)
    loop.run_until_complete(loop.create_connection(lambda: EchoClient(watch), *address))
    loop.run_forever()


def pair(ponger: Any, pinger: Any, seconds: float) -> Values:
    with Children() as children:
        values: Values = children.start(pinger, children.start(ponger)(), seconds)()
        return values


SCENARIO = Scenario(
    "ping_pong",
    {
        "p50": Metric(
            "ping-pong, 64 B, two OS processes on one CPU, p50", "us", higher_is_better=False
        ),
        "p99": Metric(
            "ping-pong, 64 B, two OS processes on one CPU, p99", "us", higher_is_better=False
        ),
    },
    {
        "compactor": lambda seconds: pair(compactor_ponger, compactor_pinger, seconds),
        "echo": lambda seconds: pair(echo_server, echo_client, seconds),
    },
)
