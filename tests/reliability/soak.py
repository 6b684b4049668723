"""``python -m tests.reliability.soak --minutes 30``: mixed load, and whether anything grows.

Contexts that talk, watch each other, and come and go; a program that is killed and started again;
bodies of a megabyte; HTTP clients; peers that send nonsense, break off or never read.  Memory,
descriptors, tasks and threads are taken down at an interval.  What they are in the last fifth of
the time may not exceed what they were in the second one, and nothing may be left at the end.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import logging
import os
import random
import statistics
import sys
import threading
import time
from collections import Counter
from dataclasses import astuple, dataclass, fields
from typing import Any

from compactor import PID, Context, Process, Settings, install, route
from tests.reliability.programs import Program

HOSTS, NODES = 3, 4
NONSENSE = (
    b"\0\xff\r\n\r\n",
    b"POST /node0/message HTTP/1.1\r\nLibprocess-From: a@[::1]:1\r\nContent-Length: 9\r\n\r\nhalf",
    b"POST /x HTTP/1.1\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    b"GET /" + b"x" * 100_000,
    b"GET /node0/page HTTP/1.1\r\nHost: x\r\n\r\n" * 200,
)
SLACK = {"memory": (1.1, 3.0), "descriptors": (1.2, 5), "tasks": (1.2, 5), "threads": (1.0, 1)}
"""What may have been added: a factor, for what breathes with the load, and a constant."""


@dataclass
class Sample:
    """What the program holds at one time; memory in MiB."""

    memory: float
    descriptors: float
    tasks: float
    threads: float


def sample() -> Sample:
    """What the program holds now."""
    with open("/proc/self/statm") as file:
        pages = int(file.read().split()[1])
    memory = pages * os.sysconf("SC_PAGE_SIZE") / 2**20
    descriptors = len(os.listdir("/proc/self/fd"))
    return Sample(memory, descriptors, len(asyncio.all_tasks()), threading.active_count())


class Node(Process):
    """Takes messages of all sizes, answers some, and serves a page."""

    def __init__(self, name: str, counts: Counter[str]) -> None:
        super().__init__(name)
        self.counts = counts

    @install("message")
    def message(self, from_pid: PID, body: bytes) -> None:
        self.counts["messages"] += 1
        if body.startswith(b"answer"):
            self.send(from_pid, "message", body[6:])

    @route("/page")
    def page(self, request: Any) -> str:
        self.counts["requests"] += 1
        return "a page"

    def exited(self, pid: PID, reason: Any) -> None:
        self.counts["exits"] += 1


class Soak:
    """The load, and the samples that were taken under it.

    Args:
        seconds: how long.
        seed: of what happens.
    """

    def __init__(self, seconds: float, seed: int = 1) -> None:
        self.seconds = seconds
        self.random = random.Random(seed)
        self.counts: Counter[str] = Counter()
        self.samples: list[Sample] = []
        self.left = Sample(0, 0, 0, 0)
        self._contexts: list[Context] = []
        self._nodes: list[list[Node]] = []
        self._program: Program | None = None

    async def run(self) -> None:
        """Load until the time is over, then end everything."""
        before = sample()
        for host in range(HOSTS):
            await self._start(host)
        self._program = await asyncio.to_thread(Program)
        end = time.monotonic() + self.seconds
        try:
            await asyncio.gather(
                self._sample(end),
                self._repeat(end, 0.002, self._talk),
                self._repeat(end, 0.05, self._link),
                self._repeat(end, 0.05, self._ask),
                self._repeat(end, 0.1, self._disturb),
                self._repeat(end, 1.0, self._replace),
                self._repeat(end, 3.0, self._kill),
            )
        finally:
            await asyncio.to_thread(self._program.close)
            for context in self._contexts:
                await context.aclose()
            self._nodes.clear()
            await asyncio.get_running_loop().shutdown_default_executor()
            gc.collect()
        after = sample()
        self.left = Sample(*(a - b for a, b in zip(astuple(after), astuple(before), strict=True)))

    async def _start(self, host: int) -> None:
        context = Context(ip="127.0.0.1", port=0, settings=Settings(linger=0.5))
        await context.__aenter__()
        nodes = [Node(f"node{number}", self.counts) for number in range(NODES)]
        for node in nodes:
            context.spawn(node)
        self._contexts[host : host + 1] = [context]
        self._nodes[host : host + 1] = [nodes]

    async def _repeat(self, end: float, interval: float, action: Any) -> None:
        while time.monotonic() < end:
            await action()
            await asyncio.sleep(interval * self.random.uniform(0.5, 1.5))

    async def _sample(self, end: float) -> None:
        while time.monotonic() < end:
            self.samples.append(sample())
            await asyncio.sleep(max(0.1, self.seconds / 500))

    def _node(self) -> Node:
        return self.random.choice(self.random.choice(self._nodes))

    def _pid(self) -> PID:
        assert self._program is not None
        if self.random.random() < 0.1:
            return PID.from_string(self._program.pid)
        return self._node().pid

    async def _talk(self) -> None:
        node, to = self._node(), self._pid()
        pick = self.random.random()
        if pick < 0.02:
            node.send(to, "message", b"." * (1 << 20))
        elif pick < 0.04:
            node.send(PID(to.ip, to.port, "nobody"), "message")
        else:
            for _ in range(self.random.choice((1, 10, 100))):
                node.send(to, "message", b"answer" + bytes(self.random.randint(0, 500)))

    async def _link(self) -> None:
        self._node().link(self._pid(), reconnect=self.random.random() < 0.05)

    async def _ask(self) -> None:
        node = self._node()
        try:
            reader, writer = await asyncio.open_connection("127.0.0.1", node.pid.port)
            writer.write(b"GET /node0/page HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
            answer = await reader.read()
            writer.close()
            assert answer.endswith(b"a page") or node.context.is_stopping, answer
        except OSError:
            assert node.context.is_stopping  # it was replaced in this moment

    async def _disturb(self) -> None:
        try:
            _, writer = await asyncio.open_connection("127.0.0.1", self._node().pid.port)
        except OSError:
            return  # the context was replaced in this moment
        writer.write(self.random.choice(NONSENSE))
        await asyncio.sleep(self.random.uniform(0, 0.2))
        writer.transport.abort()
        self.counts["bad peers"] += 1

    async def _replace(self) -> None:
        host = self.random.randrange(HOSTS)
        old = self._contexts[host]
        await self._start(host)
        await old.aclose()
        self.counts["contexts replaced"] += 1

    async def _kill(self) -> None:
        old = self._program
        assert old is not None
        self._program = await asyncio.to_thread(Program)
        await asyncio.to_thread(old.close)
        self.counts["programs killed"] += 1

    def growth(self) -> list[str]:
        """What has grown, or was left at the end."""
        fifth = len(self.samples) // 5
        problems = []
        for field in fields(Sample):
            name = field.name
            early = statistics.median(getattr(s, name) for s in self.samples[fifth : 2 * fifth])
            late = statistics.median(getattr(s, name) for s in self.samples[-fifth:])
            factor, more = SLACK[name]
            if late > early * factor + more:
                problems.append(f"{name} grew from {early:.0f} to {late:.0f}")
            if name != "memory" and getattr(self.left, name) > 0:
                problems.append(f"{name}: {getattr(self.left, name):.0f} were left at the end")
        return problems

    def report(self) -> str:
        """The samples of each fifth, and what was done."""
        fifth = len(self.samples) // 5
        lines = ["fifth  memory MiB  descriptors  tasks  threads"]
        for number in range(5):
            part = self.samples[number * fifth : (number + 1) * fifth]
            values = [statistics.median(column) for column in zip(*map(astuple, part), strict=True)]
            lines.append("{:5}  {:10.1f}  {:11.0f}  {:5.0f}  {:7.0f}".format(number + 1, *values))
        lines.append(", ".join(f"{what}: {count}" for what, count in sorted(self.counts.items())))
        return "\n".join(lines)


def soak(seconds: float, seed: int = 1) -> Soak:
    """Run the load on a loop of its own."""
    made = Soak(seconds, seed)
    asyncio.run(made.run())
    return made


def main() -> int:
    """Run, report, and return 1 if anything grew."""
    parser = argparse.ArgumentParser(prog="python -m tests.reliability.soak")
    parser.add_argument("--minutes", type=float, default=30.0, help="how long")
    parser.add_argument("--seed", type=int, default=1, help="of what happens")
    options = parser.parse_args()
    logging.disable(logging.WARNING)
    made = soak(options.minutes * 60, options.seed)
    problems = made.growth()
    print(made.report(), *problems, sep="\n")
    return bool(problems)


if __name__ == "__main__":
    sys.exit(main())
