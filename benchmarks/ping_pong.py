"""Round trips between two OS processes, one message under way.

In two settings: each process pinned to a CPU of its own, and both pinned to one, which shows what
a round trip costs in CPU time alone.  Unpinned, a run falls by chance into one of the two, 2 to 4
times apart.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from benchmarks import peers, zmq_peer
from benchmarks.actors import new_context
from benchmarks.children import Children, Report, cpus
from benchmarks.floors import encode, listen, new_loop
from benchmarks.harness import Contestant, Metric, Play, Scenario, Target, Values
from benchmarks.meters import stopwatch, trips_of
from benchmarks.traffic import BODY
from compactor import PID
from compactor.cli.bench.roles import Bare, BarePinger, Pinger, Ponger

FRAME = encode("pinger@127.0.0.1:50000", "ponger", "127.0.0.1:50001", "ping", BODY)

Cpus = tuple[int | None, int | None]
Pair = Callable[[Children, float, Cpus], Values]
SETTINGS: dict[str, tuple[str, Cpus]] = {
    "apart": ("a CPU each", (cpus()[0], cpus()[-1])),
    "together": ("one CPU", (cpus()[0], cpus()[0])),
}


def run_ponger(report: Report) -> None:
    report(str(new_context().spawn(Ponger())))


def run_pinger(report: Report, ponger: str, seconds: float) -> None:
    context = new_context()
    pinger = Pinger(PID.from_string(ponger), stopwatch(seconds, report))
    context.dispatch(context.spawn(pinger), "go")


def run_echo(report: Report) -> None:
    loop = new_loop()
    report(listen(loop, Bare))
    loop.run_forever()


def run_echo_client(report: Report, address: tuple[str, int], seconds: float) -> None:
    loop = new_loop()
    watch = stopwatch(seconds, report)
    loop.run_until_complete(loop.create_connection(lambda: BarePinger(watch, FRAME), *address))
    loop.run_forever()


def pair_of(ponger: Callable[..., None], pinger: Callable[..., None]) -> Pair:
    def pair(children: Children, seconds: float, pinned: Cpus) -> Values:
        address: Any = children.start(ponger, cpu=pinned[0])()
        trips: Values = children.start(pinger, address, seconds, cpu=pinned[1])()
        return trips

    return pair


def pair_of_programs(command: peers.Command) -> Pair:
    def pair(children: Children, seconds: float, pinned: Cpus) -> Values:
        program = command()
        address = children.start_program([*program, "sink"], cpu=pinned[0])()
        pinger = children.start_program([*program, "pinger", address], cpu=pinned[1])
        return trips_of(pinger, seconds)

    return pair


def each_setting(pair: Pair) -> Play:
    def play(children: Children, seconds: float) -> Values:
        values: Values = {}
        for setting, (_, pinned) in SETTINGS.items():
            with children.fresh() as alone:
                trips = pair(alone, seconds, pinned)
            values.update((f"{setting} {name}", trip) for name, trip in trips.items())
        return values

    return play


ECHO = "bare echo"
SCENARIO = Scenario(
    "ping_pong",
    {
        f"{setting} {percentile}": Metric(
            f"ping-pong, {where}, {percentile}",
            "us",
            higher_is_better=False,
            targets=(Target(1 / 1.25, ECHO),) if setting == "apart" else (),
            in_table=percentile in ("p50", "p99"),
        )
        for setting, (where, _) in SETTINGS.items()
        for percentile in ("p50", "p90", "p99", "p99.9")
    },
    each_setting(pair_of(run_ponger, run_pinger)),
    {
        ECHO: Contestant(each_setting(pair_of(run_echo, run_echo_client))),
        "pyzmq PAIR": Contestant(each_setting(zmq_peer.ping_pong)),
        "casty ask": Contestant(each_setting(pair_of_programs(peers.casty)), is_foreign=True),
        "xoscar call": Contestant(each_setting(pair_of_programs(peers.xoscar)), is_foreign=True),
    },
)
