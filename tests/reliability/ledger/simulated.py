"""Runs of the ledger on simulated hosts: random topologies, sizes and faults, the same again from
their seed.
"""

from __future__ import annotations

import asyncio
import itertools
import logging
import math
from random import Random
from typing import Any

from compactor import PID, Context, DeadLetter, Process, Settings, install
from compactor.testing.simulated import host as machines
from compactor.testing.simulated.world import World
from compactor.testing.simulation import Run as Done
from compactor.testing.simulation import Simulation
from tests.reliability.ledger.book import MODULUS, Book
from tests.reliability.ledger.contexts import SIZES, Complaints

PORT = 5000
PATIENCE = 120.0  # seconds of the world until what is not accounted for has vanished
PEER_TIMEOUT = 6.0
AFTER_A_FAULT = 60.0  # seconds in which it may still be why a connection is lost
PATIENCE_FOR_THE_OLD = 10.0  # seconds, more than a connection that was replaced has to be read


class Node(Process):
    """Enters what it handles in the book, at once or after a while."""

    def __init__(self, name: str, host: Host) -> None:
        super().__init__(name)
        self.host = host
        self.is_slow = host.random.random() < 0.25

    @install("message")
    def message(self, from_pid: PID, body: bytes) -> Any:
        self.host.run.book.handle(str(from_pid), str(self.pid), len(body))
        return asyncio.sleep(0.0005) if self.is_slow else None

    def exited(self, pid: PID, reason: Any) -> None:
        if self.host.random.random() < 0.5:
            self.link(pid)


class Host:
    """One machine in all its lives, and what its program does."""

    def __init__(self, number: int, run: Run, world: World) -> None:
        self.number = number
        self.run = run
        self.random = world.chance_of(f"ledger {number}")
        self.machine = world.host(f"h{number}")
        self.names = [f"n{number}.{index}" for index in range(self.random.randint(1, 3))]
        self.context: Context | None = None
        self.nodes: list[Node] = []
        self.actions = self.random.randint(3, 15)

    @property
    def pids(self) -> list[PID]:
        return [PID(self.machine.ip, PORT, name) for name in self.names]

    async def program(self, machine: machines.Host) -> None:
        """Live, do random things, and then wait."""
        await self.start()
        while self.actions:
            self.actions -= 1
            await self._do_something()
        await asyncio.sleep(10**9)

    async def start(self) -> None:
        """Have a context, again or for the first time."""
        pick = self.random.choice
        settings = Settings(
            warn_unprotected=False,
            linger=2.0,
            peer_timeout=PEER_TIMEOUT,
            connect_timeout=4.0,
            max_parked_bytes=pick((50_000, 2**20, 2**26)),
            mailbox_high_water=pick((4, 100, 10_000)),
            mailbox_high_water_bytes=pick((50_000, 2**23)),
            max_mailbox_events=pick((20, 10**6, 10**6)),
        )
        context = self.context = Context(ip=self.machine.ip, port=PORT, settings=settings)
        await context.__aenter__()
        while not context._portal.on_loop:  # from then on, all is done in the order asked for
            await asyncio.sleep(0)
        self.run.see(self, context)
        self.nodes = []
        self.run.book.comes_up(self.number)
        for name in self.names:
            self._spawn(name)

    def _spawn(self, name: str) -> None:
        assert self.context is not None
        node = Node(name, self)
        self.context.spawn(node)
        self.nodes.append(node)

    async def _do_something(self) -> None:
        often = [self._burst] * 6 + [self._pause] * 3 + [self._link] * 2
        seldom = [self._terminate, self._disconnect, self._restart]
        await self.random.choice(often + seldom)()

    async def _burst(self) -> None:
        if not self.nodes:
            return
        other = self.random.choice(self.run.hosts)
        to, name = self.random.choice(other.pids), "message"
        if self.random.random() < 0.05:
            to = PID(to.ip, to.port, "nobody")
        elif self.random.random() < 0.05:
            name = "unhandled"
        node = self.random.choice(self.nodes)
        for _ in range(self.random.choice((1, 2, 10, 20))):
            message = self.run.book.send(self.number, other.number, str(node.pid), str(to))
            units = self.random.choice(SIZES)
            node.send(to, name, bytes(message.number + units * MODULUS))

    async def _pause(self) -> None:
        await asyncio.sleep(self.random.choice((0.0, 0.0005, 0.01, 0.2, 1.0, 5.0)))

    async def _link(self) -> None:
        if self.nodes:
            other = self.random.choice(self.run.hosts)
            reconnect = self.random.random() < 0.3
            if reconnect:
                self.run.replaced(self.number, other.number, moves=True)
            pid = self.random.choice(other.pids)
            self.random.choice(self.nodes).link(pid, reconnect=reconnect)

    async def _terminate(self) -> None:
        if self.nodes and self.context is not None:
            node = self.nodes.pop(self.random.randrange(len(self.nodes)))
            self.context.terminate(node.pid, inject=self.random.random() < 0.5)
            if self.random.random() < 0.5:
                await asyncio.sleep(0.1)
                if self.context._runtime.registry.mailbox_of(node.pid) is None:
                    self._spawn(node.pid.id)

    async def _disconnect(self) -> None:
        other = self.random.choice(self.run.hosts)
        if self.context is not None and other is not self:
            self.run.replaced(self.number, other.number)
            self.context.disconnect(other.pids[0])

    async def _restart(self) -> None:
        context, self.context = self.context, None
        assert context is not None
        self.nodes = []
        book = self.run.book
        book.goes_down(self.number)
        loop = asyncio.get_running_loop()
        began = loop.time()
        await context.aclose()
        took = loop.time() - began
        for target in range(len(self.run.hosts)):
            if took >= context.settings.linger:  # what is written is lost
                book.loses(self.number, target)
            book.changes(self.number, target)
        await asyncio.sleep(self.random.choice((0.0, 0.001, 1.0)))
        await self.start()


class Run:
    """One random run.

    Args:
        seed: what it is made from.
    """

    def __init__(self, seed: int) -> None:
        self.seed = seed
        self.book = Book(is_exact=True, now=itertools.count().__next__)
        self.hosts: list[Host] = []
        self._disturbed: dict[tuple[int, int], float] = {}  # until when
        self._replaced: dict[tuple[int, int], float] = {}  # when, the last time
        self._random: Random
        self._world: World

    def play(self) -> Done:
        """Make the run; the book says what was wrong."""
        return Simulation(self.seed, keep=200).run(self._scenario)

    async def _scenario(self, world: World) -> None:
        self._world = world
        self._random = world.chance_of("ledger")
        count = self._random.randint(2, 4)
        self.hosts += [Host(number, self, world) for number in range(count)]
        for host in self.hosts:
            host.machine.run(host.program)
        for _ in range(self._random.randint(0, 5)):
            await world.sleep(self._random.choice((0.001, 0.01, 0.1, 1.0, 4.0)))
            self._fault()
        await world.sleep(self._random.choice((0.1, 1.0, 20.0)))
        self._repair()
        end = world.time + PATIENCE
        while (self.book.missing() or self._is_busy()) and world.time < end:
            await world.sleep(2.0)
        self.book.strange += [f"{message} vanished" for message in self.book.missing()]

    def _is_busy(self) -> bool:
        return any(host.actions or host.context is None for host in self.hosts)

    # What is known of connections

    def see(self, host: Host, context: Context) -> None:
        """Enter the letters of a context, and the connections that it loses."""
        book = self.book

        def letter(it: DeadLetter) -> None:
            if it.sender is not None:  # else a peer tells what it has reported itself
                book.letter(str(it.reason), it.size, it.name)

        context.on_dead_letter(letter)
        watches = context._runtime.watches
        lost = watches.lost

        def peer_lost(address: Any, reason: Any) -> None:
            target = next((h.number for h in self.hosts if h.machine.ip == address[0]), None)
            if target is not None:
                self.replaced(host.number, target)
            lost(address, reason)

        watches.lost = peer_lost  # type: ignore[method-assign]

    def replaced(self, source: int, target: int, moves: bool = False) -> None:
        """Another connection will lead from a host to a host, and what was written to the last one
        may be lost if it could not be read.
        """
        now = self._world.time
        self._replaced[source, target] = now
        if self._disturbed.get((source, target), -1.0) >= now:
            self.book.loses(source, target)
        self.book.changes(source, target, moves=moves)

    def _disturb(self, source: Host, target: Host) -> None:
        """From now on, one host does not hear of another what it was sent."""
        ways = source.number, target.number
        self._disturbed[ways] = math.inf
        if self._replaced.get(ways, -math.inf) + PATIENCE_FOR_THE_OLD >= self._world.time:
            self.replaced(*ways)  # what the last one had may not have been read yet

    def _loses(self, a: Host, b: Host) -> None:
        """What is on its way between two hosts is lost, if it is on a connection."""
        for source, target in ((a, b), (b, a)):
            if self._world._network.ends_of(source.machine, target.machine):
                self.book.loses(source.number, target.number)

    # What goes wrong

    def _fault(self) -> None:
        one, other = self._random.sample(self.hosts, 2)
        faults = (self._crash, self._kill, self._partition, self._reset, self._half_open)
        small = (self._pause, self._slow, self._refuse, self._unread)
        self._random.choice(faults + small)(one, other)

    def _end(self, host: Host) -> None:
        """The program of a host is over, with all that it has not sent."""
        self.book.goes_down(host.number)
        host.context = None
        host.nodes = []
        for other in self.hosts:
            self.book.loses(host.number, other.number)
            self.book.changes(host.number, other.number)

    def _comes_back(self, host: Host) -> None:
        host.machine.restart()

    def _crash(self, one: Host, other: Host) -> None:
        if not one.machine.is_down:
            self._end(one)
            one.machine.crash()

    def _kill(self, one: Host, other: Host) -> None:
        if not one.machine.is_down:
            self._end(one)
            one.machine.kill()
            self._world.loop.call_later(self._random.choice((0.0, 0.01, 2.0)), self._again, one)

    def _again(self, host: Host) -> None:
        if not host.machine.is_down and host.machine.turns.portals == {}:
            host.machine.restart()

    def _partition(self, one: Host, other: Host) -> None:
        self._world.partition(one.machine, other.machine, one_way=self._random.random() < 0.3)
        self._disturb(one, other)
        self._disturb(other, one)

    def _reset(self, one: Host, other: Host) -> None:
        self._loses(one, other)
        self._world.reset(one.machine, other.machine)

    def _half_open(self, one: Host, other: Host) -> None:
        self._loses(one, other)
        self._world.half_open(one.machine, other.machine)

    def _pause(self, one: Host, other: Host) -> None:
        self._make_deaf(one)
        one.machine.pause()

    def _slow(self, one: Host, other: Host) -> None:
        latency = self._random.choice((0.0, 0.1, (0.0, 1.0)))
        bandwidth = self._random.choice((200_000.0, 5_000_000.0))
        self._world.set_way(one.machine, other.machine, latency, bandwidth)

    def _refuse(self, one: Host, other: Host) -> None:
        one.machine.refuses = True

    def _unread(self, one: Host, other: Host) -> None:
        self._make_deaf(one)
        one.machine.reads = False

    def _make_deaf(self, host: Host) -> None:
        for other in self.hosts:
            self._disturb(other, host)

    def _repair(self) -> None:
        self._world.heal()
        for ways in self._disturbed:
            self._disturbed[ways] = self._world.time + AFTER_A_FAULT
        for host in self.hosts:
            machine = host.machine
            machine.refuses, machine.reads = False, True
            machine.resume()
            if machine.is_down:
                machine.restart()


def run(seed: int) -> Book:
    """Make one run; its book says what was wrong."""
    made = Run(seed)
    logger, complaints = logging.getLogger("compactor"), Complaints(made.book)
    logger.addHandler(complaints)
    try:
        made.play()
    finally:
        logger.removeHandler(complaints)
    return made.book
