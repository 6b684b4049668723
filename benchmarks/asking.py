"""Asks: one and 1,000 under way between two OS processes, of a peer as libprocess is, and local.

The floors are our own ping-pong of sends, an echo on bare transports whose client resolves a
future for each frame that comes back, and a future for each call of a deque.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from typing import Any

from benchmarks import peers, pykka_peer
from benchmarks.actors import new_context
from benchmarks.children import Children, Report, cpus
from benchmarks.floors import Actor, Node, listen, new_loop
from benchmarks.harness import Contestant, Metric, Play, Scenario, Target, Values
from benchmarks.local import BARE
from benchmarks.meters import Meter, rate_of, stopwatch, trips_of
from benchmarks.ping_pong import FRAME, run_pinger, run_ponger
from benchmarks.traffic import BODY
from compactor import PID, Process, answer
from compactor.cli.bench.roles import Bare

WINDOW = 1_000  # asks under way
MARK = 1_000  # answers between two marks of the meter
FIRST, LAST = cpus()[0], cpus()[-1]
CASTY, PYKKA, XOSCAR = "casty ask", "Pykka ask", "xoscar call"


class Answerer(Process):
    def __init__(self) -> None:
        super().__init__("ponger")

    @answer("ping")
    def ping(self, from_pid: PID, body: bytes) -> bytes:
        return body


class Asker(Process):
    """Asks one after the other, in any number of lines at a time."""

    def __init__(self, to: PID) -> None:
        super().__init__("asker")
        self.to = to
        self.count = 0

    async def time(self, watch: Any) -> None:
        while True:
            watch.start()
            await self.ask(self.to, "ping", BODY)
            watch.stop()

    async def count_them(self, meter: Meter, lines: int) -> None:
        await asyncio.gather(*(self.line(meter) for _ in range(lines)))

    async def line(self, meter: Meter) -> None:
        while True:
            await self.ask(self.to, "ping", BODY)
            self.count += 1
            if self.count % MARK == 0:
                meter.mark(self.count)


def run_answerer(report: Report) -> None:
    report(str(new_context().spawn(Answerer())))


def run_timed(report: Report, answerer: str, seconds: float) -> None:
    context = new_context()
    asker = context.spawn(Asker(PID.from_string(answerer)))
    context.dispatch(asker, "time", stopwatch(seconds, report))


def run_counted(report: Report, answerer: str, seconds: float, lines: int) -> None:
    context = new_context()
    asker = context.spawn(Asker(PID.from_string(answerer)))
    context.dispatch(asker, "count_them", Meter(seconds, report), lines)


def run_local(report: Report, seconds: float) -> None:
    context = new_context()
    asker = context.spawn(Asker(context.spawn(Answerer())))
    context.dispatch(asker, "count_them", Meter(seconds, report), 1)


# A peer that has a head for each ask and answer, as libprocess


class Foreign(Actor):
    def __init__(self, node: Node) -> None:
        super().__init__(node, "ponger", ping=self.ping)

    def ping(self, sender: str, body: bytes) -> None:
        self.send(sender, "ping", body)


def run_foreign(report: Report) -> None:
    node = Node()
    report(Foreign(node).pid)
    node.loop.run_forever()


# The floor: futures and bare transports


class BareAsker(Bare):
    """Sends frames, and resolves a future for each that has come back, in their order."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.loop = loop
        self.waiting: deque[asyncio.Future[None]] = deque()
        self.frames: list[bytes] = []
        self.received = 0

    def ask(self) -> asyncio.Future[None]:
        future = self.loop.create_future()
        self.waiting.append(future)
        if not self.frames:
            self.loop.call_soon(self.flush)
        self.frames.append(FRAME)
        return future

    def flush(self) -> None:
        self.transport.write(b"".join(self.frames))
        self.frames.clear()

    def data_received(self, data: bytes) -> None:
        self.received += len(data)
        while self.received >= len(FRAME):
            self.received -= len(FRAME)
            self.waiting.popleft().set_result(None)


def run_bare_answerer(report: Report) -> None:
    loop = new_loop()
    report(listen(loop, Bare))
    loop.run_forever()


def run_bare_asker(report: Report, address: tuple[str, int], seconds: float, lines: int) -> None:
    loop = new_loop()
    meter = Meter(seconds, report)
    connecting = loop.create_connection(lambda: BareAsker(loop), *address)
    asker: Any = loop.run_until_complete(connecting)[1]
    count = 0

    async def line() -> None:
        nonlocal count
        while True:
            await asker.ask()
            count += 1
            if count % MARK == 0:
                meter.mark(count)

    async def count_them() -> None:
        await asyncio.gather(*(line() for _ in range(lines)))

    loop.run_until_complete(count_them())


def run_bare_local(report: Report, seconds: float) -> None:
    loop = new_loop()
    meter = Meter(seconds, report)
    calls: deque[asyncio.Future[bytes]] = deque()

    def drain() -> None:
        while calls:
            calls.popleft().set_result(BODY)

    async def ask_all() -> None:
        count = 0
        while True:
            future = loop.create_future()
            calls.append(future)
            loop.call_soon(drain)
            await future
            count += 1
            if count % MARK == 0:
                meter.mark(count)

    loop.run_until_complete(ask_all())


# Plays


def trips(children: Children, seconds: float, answerer: Any, asker: Any) -> Values:
    with children.fresh() as alone:
        address = alone.start(answerer, cpu=FIRST)()
        found = alone.start(asker, address, seconds, cpu=LAST)()
    return {"p50": found["p50"], "p99": found["p99"]}


def rate(children: Children, answerer: Callable[..., None], asker: Any, *args: Any) -> float:
    with children.fresh() as alone:
        address = alone.start(answerer, cpu=FIRST)()
        found: float = alone.start(asker, address, *args, cpu=LAST)()
    return found


def ours(children: Children, seconds: float) -> Values:
    values = trips(children, seconds, run_answerer, run_timed)
    sends = trips(children, seconds, run_ponger, run_pinger)
    values.update((f"sends {name}", value) for name, value in sends.items())
    values["remote"] = rate(children, run_answerer, run_counted, seconds, WINDOW)
    values["foreign"] = rate(children, run_foreign, run_counted, seconds, WINDOW)
    with children.fresh() as alone:
        values["local"] = alone.start(run_local, seconds)()
    return values


def bare(children: Children, seconds: float) -> Values:
    values = {"remote": rate(children, run_bare_answerer, run_bare_asker, seconds, WINDOW)}
    with children.fresh() as alone:
        values["local"] = alone.start(run_bare_local, seconds)()
    return values


def by_program(command: peers.Command) -> Play:
    def play(children: Children, seconds: float) -> Values:
        program = command()
        with children.fresh() as alone:
            address = alone.start_program([*program, "sink"], cpu=FIRST)()
            pinger = alone.start_program([*program, "pinger", address], cpu=LAST)
            values = {"p50": trips_of(pinger, seconds)["p50"]}
        with children.fresh() as alone:
            address = alone.start_program([*program, "sink"], cpu=FIRST)()
            asker = alone.start_program([*program, "asker", address], cpu=LAST)
            values["remote"] = rate_of(asker, seconds)
        with children.fresh() as alone:
            values["local"] = rate_of(alone.start_program([*program, "local"]), seconds)
        return values

    return play


SCENARIO = Scenario(
    "ask",
    {
        "p50": Metric(
            "ask, one under way, p50",
            "us",
            higher_is_better=False,
            targets=(Target(1 / 1.15, key="sends p50"),),
        ),
        "p99": Metric("ask, one under way, p99", "us", higher_is_better=False, in_table=False),
        "sends p50": Metric("ping-pong of sends, p50", "us", higher_is_better=False),
        "remote": Metric(
            "ask, 1,000 under way",
            "asks/s",
            targets=(
                Target(value=200_000),
                Target(0.7, BARE),
                Target(4, CASTY),
                Target(15, XOSCAR),
            ),
        ),
        "foreign": Metric(
            "ask of a peer in libprocess's form, 1,000 under way",
            "asks/s",
            targets=(Target(value=40_000), Target(0.2, key="remote")),
        ),
        "local": Metric(
            "ask, local, each awaited",
            "asks/s",
            targets=(
                Target(value=400_000),
                Target(5, CASTY),
                Target(5, PYKKA),
                Target(1.7, XOSCAR),
            ),
        ),
    },
    ours,
    {
        BARE: Contestant(bare),
        CASTY: Contestant(by_program(peers.casty), is_foreign=True),
        PYKKA: Contestant(pykka_peer.from_asker, is_foreign=True),
        XOSCAR: Contestant(by_program(peers.xoscar), is_foreign=True),
    },
)
