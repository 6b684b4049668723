"""Workers: asks that are lost while all are replaced over and over, and what a second core brings.

``python -m benchmarks.workers restarts`` and ``python -m benchmarks.workers cores``.
"""

from __future__ import annotations

import argparse
import asyncio
import collections
import json
import statistics
import time

from compactor import PID, Context, Process, answer, run
from compactor.pool import Pool
from compactor.workers import Worker, Workers

_ASKERS = 32


class Part(Process):
    """Does nothing, or keeps its core busy."""

    @answer("nothing")
    def nothing(self, from_pid: PID, body: bytes) -> bytes:
        return body

    @answer("work")
    def work(self, from_pid: PID, body: bytes) -> bytes:
        until = time.thread_time() + float(body)  # of CPU
        while time.thread_time() < until:
            pass
        return body


async def make(context: Context, worker: Worker) -> None:
    """What each worker has."""
    context.spawn(Part("part"))


async def restarts(context: Context, count: int, rate: float, workers: int) -> dict[str, object]:
    """Ask at a rate while all workers are replaced, some times.

    Args:
        context: asks.
        count: how often one worker is replaced.
        rate: asks in a second.
        workers: how many there are.

    Returns:
        What was asked, what was lost, and how long an ask took.
    """
    failures: collections.Counter[str] = collections.Counter()
    times: list[float] = []
    ends = False

    async def ask(pool: Pool, first: float, pause: float) -> None:
        due = first
        while not ends:
            now = time.perf_counter()
            if due > now:
                await asyncio.sleep(due - now)
            due = max(due + pause, now - 1)
            began = time.perf_counter()
            try:
                assert await pool.ask("nothing", b"x", timeout=30) == b"x"
            except Exception as error:
                failures[f"{type(error).__name__}: {getattr(error, 'reason', error)}"] += 1
            times.append(time.perf_counter() - began)

    async with Workers(make, count=workers, context=context) as them:
        pool, began = them.pool("part"), time.perf_counter()
        pause = _ASKERS / rate
        asking = [
            asyncio.ensure_future(ask(pool, began + number / rate, pause))
            for number in range(_ASKERS)
        ]
        done = 0
        while done < count:
            await them.restart()
            done += workers
        ends = True
        await asyncio.gather(*asking)
        seconds = time.perf_counter() - began
    times.sort()
    return {
        "restarts": done,
        "asks": len(times),
        "asks/s": round(len(times) / seconds),
        "lost": sum(failures.values()),
        "failures": dict(failures),
        "p50_ms": round(statistics.median(times) * 1e3, 2),
        "p99_ms": round(times[int(len(times) * 0.99)] * 1e3, 2),
        "max_ms": round(times[-1] * 1e3, 2),
    }


async def cores(context: Context, seconds: float) -> dict[str, object]:
    """Handlers of 1 ms of CPU, by one worker and by two, by turns."""
    rates: dict[int, list[float]] = {1: [], 2: []}
    async with (
        Workers(make, count=1, context=context) as one,
        Workers(make, count=2, context=context) as two,
    ):
        pools = {1: one.pool("part"), 2: two.pool("part")}
        for _ in range(3):
            for count, pool in pools.items():
                rates[count].append(await _rate(pool, seconds))
    of_one, of_two = (statistics.median(rates[count]) for count in (1, 2))
    return {"one": round(of_one), "two": round(of_two), "ratio": round(of_two / of_one, 2)}


async def _rate(pool: Pool, seconds: float) -> float:
    """Asks in a second, some at a time."""
    until, done = time.perf_counter() + seconds, 0

    async def ask() -> None:
        nonlocal done
        while time.perf_counter() < until:
            await pool.ask("work", b"0.001", timeout=30)
            done += 1

    began = time.perf_counter()
    await asyncio.gather(*(ask() for _ in range(_ASKERS)))
    return done / (time.perf_counter() - began)


def main() -> None:
    """Measure, and print what was found."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("what", choices=["restarts", "cores"])
    parser.add_argument("--count", type=int, default=200)
    parser.add_argument("--rate", type=float, default=5000)
    parser.add_argument("--workers", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=3)
    given = parser.parse_args()

    async def measure(context: Context) -> dict[str, object]:
        if given.what == "cores":
            return await cores(context, given.seconds)
        return await restarts(context, given.count, given.rate, given.workers)

    print(json.dumps(run(measure, ip="127.0.0.1"), indent=2))


if __name__ == "__main__":
    main()
