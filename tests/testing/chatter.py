"""A scenario with a bit of everything; ``python -m tests.testing.chatter 1 20`` prints digests."""

from __future__ import annotations

import asyncio
import sys
from typing import Any

from compactor import PID, AskFailed, AskTimeout, Process, Reason, RemoteError, answer, install
from compactor.testing.simulated.host import Host
from compactor.testing.simulated.world import World
from compactor.testing.simulation import Simulation

HOSTS = 5


class Chatter(Process):
    """Talks to others at random, links them, asks them, and runs timers."""

    def __init__(self, name: str, world: World) -> None:
        super().__init__(name)
        self.world = world
        self.known: list[PID] = []
        self.log: list[str] = []

    def initialize(self) -> None:
        self.every(0.5, self.talk)

    @install("meet")
    def meet(self, from_pid: PID, body: bytes) -> None:
        for text in body.decode().split():
            pid = PID.from_string(text)
            self.known.append(pid)
            self.link(pid)

    def talk(self) -> None:
        for _ in range(int(self.world.random.random() * 4)):
            to = self.known[int(self.world.random.random() * len(self.known))]
            self.send(to, "talk", b"x" * int(self.world.random.random() * 3000))

    @install("talk")
    async def talked(self, from_pid: PID, body: bytes) -> None:
        if len(body) % 3 == 0:
            await asyncio.sleep(0.01)
        if len(body) % 7 == 0:
            try:
                found = await self.ask(from_pid, "length", body, timeout=2.0)
                self.log.append(found.decode())
            except (AskTimeout, AskFailed, RemoteError) as error:
                self.log.append(type(error).__name__)

    @answer("length")
    async def length(self, from_pid: PID, body: bytes) -> bytes:
        if len(body) % 2:
            await asyncio.sleep(0.003)
        return b"%d" % len(body)

    def exited(self, pid: PID, reason: Reason) -> None:
        self.log.append(f"{pid} {reason}")
        self.delay(1.0, self.link_again, pid)

    def link_again(self, pid: PID) -> None:
        self.link(pid)


async def scenario(world: World) -> Any:
    """Some hosts that talk, while the network and the machines misbehave."""
    chatters: dict[str, Chatter] = {}

    async def program(host: Host) -> None:
        context = host.context(port=5000)
        chatter = chatters[host.name] = Chatter("chatter", world)
        context.spawn(chatter)
        others = [f"chatter@{each.ip}:5000" for each in world.hosts.values() if each is not host]
        context.spawn(teller := Process("teller"))
        teller.send(chatter.pid, "meet", " ".join(others).encode())
        await asyncio.sleep(3600)

    hosts = [world.host(f"h{number}") for number in range(HOSTS)]
    for host in hosts:
        host.run(program)
    await world.sleep(3)
    world.partition(hosts[0], hosts[1:3])
    await world.sleep(2)
    hosts[3].crash()
    await world.sleep(1)
    world.heal()
    hosts[4].pause()
    await world.sleep(2)
    hosts[3].restart()
    hosts[4].resume()
    hosts[2].drift(1.01)
    await world.sleep(40)
    world.partition(hosts[0], hosts[1], one_way=True)
    await world.sleep(90)
    return {name: chatter.log for name, chatter in chatters.items()}


def main() -> None:
    first, last = map(int, sys.argv[1:])
    for seed in range(first, last + 1):
        run = Simulation(seed).run(scenario)
        print(seed, run.digest, run.trace.count, f"{run.seconds:.6f}")


if __name__ == "__main__":
    main()
