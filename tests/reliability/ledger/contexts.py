"""Runs of the ledger with several contexts in one program: cheap, so there are thousands."""

from __future__ import annotations

import asyncio
import logging
import random
import socket
import time
from typing import Any

from compactor import PID, Context, DeadLetter, Process, Settings, install
from compactor.runtime import hot_path
from tests.backends import kinds
from tests.ports import own_port
from tests.reliability.ledger.book import MODULUS, Book
from tests.reliability.ledger.relay import Relay

PATIENCE = 10.0  # seconds until what is neither accounted for nor excused has vanished
SIZES = (0, 0, 0, 0, 0, 0, 4, 4, 100)  # in units of MODULUS; from 32 KiB on bodies are not copied


class Node(Process):
    """Enters what it handles in the book, at once or after a while."""

    def __init__(self, name: str, book: Book, is_slow: bool) -> None:
        super().__init__(name)
        self.book = book
        self.is_slow = is_slow

    @install("message")
    def message(self, from_pid: PID, body: bytes) -> Any:
        self.book.handle(str(from_pid), str(self.pid), len(body))
        return asyncio.sleep(0.0005) if self.is_slow else None

    def exited(self, pid: PID, reason: Any) -> None:
        if random.getrandbits(1):
            self.link(pid)


class Host:
    """One address in all its lives: a context, or none right now."""

    def __init__(self, number: int, run: Run) -> None:
        self.number = number
        self.run = run
        self.context: Context | None = None
        self.nodes: list[Node] = []
        self.names = [f"n{number}.{index}" for index in range(run.random.randint(1, 3))]
        self.port = own_port()
        self.relay: Relay | None = None
        if run.random.random() < 0.5:
            self.relay = Relay(socket.create_server(("127.0.0.1", own_port())))
            self.relay.target = self.port

    @property
    def pids(self) -> list[PID]:
        port = self.relay.port if self.relay else self.port
        return [PID("127.0.0.1", port, name) for name in self.names]

    async def start(self) -> None:
        """Live, again or for the first time."""
        pick = self.run.random.choice
        settings = Settings(
            linger=2.0,
            max_parked_bytes=pick((50_000, 2**20, 2**26)),
            mailbox_high_water=pick((4, 100, 10_000)),
            mailbox_high_water_bytes=pick((50_000, 2**23)),
            max_mailbox_events=pick((20, 10**6, 10**6)),
        )
        port = self.relay.port if self.relay else None
        context = self.context = Context(
            ip="127.0.0.1", port=self.port, advertise_port=port, settings=settings
        )
        if self.run.is_threaded:
            context.start()
        else:
            await context.__aenter__()
        book = self.run.book

        def letter(it: DeadLetter) -> None:
            if it.sender is not None:  # else a peer tells what it has reported itself
                book.letter(str(it.reason), it.size, it.name)

        context.on_dead_letter(letter)
        watches = context._runtime.watches
        lost = watches.lost

        def peer_lost(address: Any, reason: Any) -> None:
            target = self.run.host_at(address[1])
            if target is not None:
                book.changes(self.number, target)
            lost(address, reason)

        watches.lost = peer_lost  # type: ignore[method-assign]
        book.comes_up(self.number)
        for name in self.names:
            self.spawn(name)

    def spawn(self, name: str) -> None:
        assert self.context is not None
        node = Node(name, self.run.book, self.run.random.random() < 0.25)
        self.context.spawn(node)
        self.nodes.append(node)

    async def stop(self) -> None:
        """Live no more."""
        context, self.context = self.context, None
        self.nodes.clear()
        if context is not None:
            self.run.book.goes_down(self.number)
            started = time.monotonic()
            await context.aclose()
            for target in range(len(self.run.hosts)):
                self.run.book.changes(self.number, target)
            if time.monotonic() - started >= context.settings.linger:  # what is written is lost
                for target in range(len(self.run.hosts)):
                    self.run.book.loses(self.number, target)


class Run:
    """One random run.

    Args:
        seed: what it is made from.
    """

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)
        self.is_threaded = self.random.random() < 0.1
        self.book = Book(is_exact=not self.is_threaded)
        self.backend = self.random.choice(kinds())
        self.uses_uvloop = self.random.random() < 0.7
        self.hosts = [Host(number, self) for number in range(self.random.randint(2, 4))]

    def host_at(self, port: int) -> int | None:
        """The host that a port belongs to."""
        return next((h.number for h in self.hosts if h.pids[0].port == port), None)

    async def play(self) -> None:
        """Start everything, do random things, and see that every message is accounted for."""
        chosen, hot_path.chosen = hot_path.chosen, hot_path.backend(self.backend)
        try:
            for host in self.hosts:
                if host.relay is not None:
                    await host.relay.start()
                await host.start()
            for _ in range(self.random.randint(10, 40)):
                await self._do_something()
            await self._settle()
        finally:
            hot_path.chosen = chosen
            for host in self.hosts:
                await host.stop()
            for host in self.hosts:
                if host.relay is not None:
                    await host.relay.close()

    async def _settle(self) -> None:
        """Wait until everything is accounted for; what must not come twice gets some time too."""
        end = time.monotonic() + PATIENCE
        for host in self.hosts:
            if host.relay is not None:
                host.relay.delay = 0.0
        while self.book.missing() and time.monotonic() < end:
            await asyncio.sleep(0.002)
        self.book.strange += [f"{message} vanished" for message in self.book.missing()]
        await asyncio.sleep(0.005)

    async def _do_something(self) -> None:
        host = self.random.choice(self.hosts)
        often = [self._burst] * 12 + [self._link, self._pause] * 4
        seldom = [self._terminate, self._disconnect, self._restart, self._cut, self._delay]
        await self.random.choice(often + seldom)(host)

    async def _burst(self, host: Host) -> None:
        if not host.nodes:
            return
        other = self.random.choice(self.hosts)
        to = self.random.choice(other.pids)
        name = "message"
        if self.random.random() < 0.05:
            to = PID(to.ip, to.port, "nobody")
        elif self.random.random() < 0.05:
            name = "unhandled"
        node = self.random.choice(host.nodes)
        for _ in range(self.random.choice((1, 2, 10, 50))):
            message = self.book.send(host.number, other.number, str(node.pid), str(to))
            units = self.random.choice(SIZES)
            node.send(to, name, bytes(message.number + units * MODULUS))

    async def _link(self, host: Host) -> None:
        if host.nodes:
            other = self.random.choice(self.hosts)
            reconnect = self.random.random() < 0.3
            if reconnect:
                self.book.changes(host.number, other.number, moves=True)
            pid = self.random.choice(other.pids)
            self.random.choice(host.nodes).link(pid, reconnect=reconnect)

    async def _pause(self, host: Host) -> None:
        for _ in range(self.random.randint(1, 5)):
            await asyncio.sleep(self.random.choice((0, 0, 0.001, 0.003)))

    async def _terminate(self, host: Host) -> None:
        if host.nodes and host.context is not None:
            node = host.nodes.pop(self.random.randrange(len(host.nodes)))
            host.context.terminate(node.pid, inject=self.random.random() < 0.5)

    async def _disconnect(self, host: Host) -> None:
        other = self.random.choice(self.hosts)
        if host.context is not None and other is not host:
            self.book.changes(host.number, other.number)
            host.context.disconnect(other.pids[0])

    async def _restart(self, host: Host) -> None:
        await host.stop()
        if self.random.random() < 0.9:
            await host.start()

    async def _cut(self, host: Host) -> None:
        if host.relay is not None:
            self.book.loses(None, host.number)
            host.relay.cut()

    async def _delay(self, host: Host) -> None:
        if host.relay is not None:
            host.relay.delay = self.random.choice((0.0, 0.001, 0.005))


class Complaints(logging.Handler):
    """Enters errors that were logged in the book: there must be none."""

    def __init__(self, book: Book) -> None:
        super().__init__(logging.ERROR)
        self._book = book

    def emit(self, record: logging.LogRecord) -> None:
        self._book.strange.append(self.format(record))


def run(seed: int) -> Book:
    """Make one run; its book says what was wrong."""
    made = Run(seed)
    logger, complaints = logging.getLogger("compactor"), Complaints(made.book)
    logger.addHandler(complaints)
    try:
        _play(made)
    finally:
        logger.removeHandler(complaints)
    return made.book


def _play(made: Run) -> None:
    loop = asyncio.new_event_loop()
    if made.uses_uvloop:
        try:
            import uvloop
        except ImportError:
            pass
        else:
            loop.close()
            loop = uvloop.new_event_loop()
    loop.set_exception_handler(lambda _, problem: made.book.strange.append(str(problem)))
    try:
        loop.run_until_complete(made.play())
    finally:
        loop.close()
