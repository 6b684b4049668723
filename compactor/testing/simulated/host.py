"""``Host``: a machine of a simulated world, and ``HostSystem``, what its contexts ask of it."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable, Coroutine, Iterator
from dataclasses import replace
from random import Random
from typing import Any, NoReturn

from compactor.context import Context
from compactor.settings import Settings
from compactor.system.system import Acknowledged, System
from compactor.testing.simulated.errors import SimulationError
from compactor.testing.simulated.host_sockets import HostSocket
from compactor.testing.simulated.network import Network, unread_of
from compactor.testing.simulated.turns import Turns
from compactor.testing.simulated.virtual_loop import VirtualLoop

Program = Callable[["Host"], Coroutine[Any, Any, Any]]


class HostSystem(System):
    """The operating system of a host."""

    def __init__(self, host: Host, chance: Random) -> None:
        self._host = host
        self._chance = chance

    def bind(self, ip: str, port: int) -> HostSocket:
        host = self._host
        return host.network.bind(host, host.ip if ip == "localhost" else ip, port)

    async def connect(self, loop: asyncio.AbstractEventLoop, ip: str, port: int) -> HostSocket:
        return await self._host.network.connect(self._host, ip, port)

    def address_towards(self, family: Any, elsewhere: tuple[str, int]) -> str:
        return self._host.ip

    def keep_alive(
        self, sock: Any, idle: int, interval: int, count: int, timeout: float
    ) -> Iterator[tuple[str, str]]:
        sock.idle, sock.silence = idle, idle + interval * count
        return iter(())

    def unacknowledged(self, sock: Any) -> int:
        return 0 if sock is None or sock.transport is None else sock.transport.in_kernel

    def acknowledged(self, sock: Any) -> Acknowledged | None:
        transport = sock.transport
        if transport is None or transport.is_gone:
            return None
        return Acknowledged(*transport.acknowledged())

    def unread(self, sock: Any) -> Iterator[bytes]:
        return unread_of(sock)

    async def addresses_of(self, host: str, port: int) -> list[str]:
        return await self._host.network.addresses_of(host)

    async def name_of(self, ip: str) -> str | None:
        return self._host.network.name_of(ip)

    def random_bytes(self, size: int) -> bytes:
        return self._chance.getrandbits(8 * size).to_bytes(size, "big")

    def chance(self) -> float:
        return self._chance.random()

    def monotonic(self) -> float:
        return self._host.turns.monotonic(self._host.loop.now)

    def own_loop(self) -> asyncio.AbstractEventLoop:
        return self._host.loop

    def made(self, context: Any) -> None:
        self._host.took(context)


class Nowhere(System):
    """The system of what runs on no host, such as the scenario."""

    def _refuse(self) -> NoReturn:
        raise SimulationError(
            "this does not run on a host, so it has no network: use host.context(), or do it in a "
            "program that host.run(program) has started"
        )

    def bind(self, ip: str, port: int) -> Any:
        self._refuse()

    async def connect(self, loop: asyncio.AbstractEventLoop, ip: str, port: int) -> Any:
        self._refuse()

    async def addresses_of(self, host: str, port: int) -> list[str]:
        self._refuse()


class HostContext(Context):
    """A context of a host, which the scenario has asked for: what is called on it from outside
    happens on the host.
    """

    _host: Host

    def spawn(self, *args: Any, **kw: Any) -> Any:
        return self._host.do(super().spawn, *args, **kw)


class Host:
    """A machine: an address, clocks, and the contexts that run on it.  ``World.host`` makes them.

    Attributes:
        name: its name, which resolves to its address.
        ip: its address.
        is_down: whether it has crashed, and was not started again.
        crashes: how many times it has crashed.
        contexts: those that run on it, the last one last.
    """

    def __init__(
        self,
        name: str,
        ip: str,
        loop: VirtualLoop,
        network: Network,
        chance: Random,
        tell: Callable[..., object],
    ) -> None:
        self.name = name
        self.ip = ip
        self.loop = loop
        self.network = network
        self.is_down = False
        self.crashes = 0
        self.contexts: list[Any] = []
        self.system = HostSystem(self, chance)
        self.turns = Turns(name, self.system)
        self._tell = tell
        self._program: Program | None = None
        self._running: asyncio.Task[Any] | None = None  # the program
        self.programs: list[asyncio.Task[Any]] = []  # in all its lives
        self._is_killed = False
        self._reads, self._refuses = True, False
        self._wreck: list[Any] = []  # what has crashed; collecting it would run its ``finally``

    def __repr__(self) -> str:
        state = "down" if self.is_down else "paused" if self.turns.is_paused else "up"
        return f"<Host {self.name} {self.ip} {state}>"

    # Programs

    def context(self, **kw: Any) -> Context:
        """A context on this host, started.

        Args:
            kw: what ``Context`` takes; ``ip`` is that of the host.

        Raises:
            SimulationError: the host is down.
        """
        kw.setdefault("ip", self.ip)
        kw.setdefault("tls", False)
        kw["settings"] = replace(kw.get("settings") or Settings(), warn_unprotected=False)

        def make() -> Context:
            context = HostContext(loop=self.loop, **kw)
            context._host = self
            context.start()
            return context

        context: Context = self.do(make)
        return context

    def run(self, program: Program) -> asyncio.Task[Any]:
        """Run a program on this host, and again after each restart.

        Args:
            program: ``async def program(host)``; the contexts that it makes are of this host.

        Returns:
            Its task.

        Raises:
            SimulationError: the host is down, or has a program that was not killed or stopped.
            TypeError: it is no ``async`` function.
        """
        if not asyncio.iscoroutinefunction(program):
            raise TypeError(f"a program is an async function that takes a host, got {program!r}")
        if self._program is not None and not self._is_killed:
            raise SimulationError(
                f"host {self.name!r} has a program that runs; kill() or stop() end it, or take "
                "another host"
            )
        self._check_up()
        self._program = program
        return self._start(program)

    def _start(self, program: Program) -> asyncio.Task[Any]:
        task: asyncio.Task[Any] = self.do(lambda: self.loop.create_task(program(self)))
        self._running = task
        self.programs.append(task)
        task.add_done_callback(self._program_ended)
        self._is_killed = False
        return task

    def _program_ended(self, task: asyncio.Task[Any]) -> None:
        error = task._exception  # exception() says that it is known
        if error is not None:
            self._tell("program failed", self, repr(error))

    def do(self, call: Callable[..., Any], *args: Any, **kw: Any) -> Any:
        """Make a call as if it were made on this host, now.

        Raises:
            SimulationError: the host is down.
        """
        self._check_up()
        loop = self.loop
        before = loop.turns
        if before is self.turns:
            return call(*args, **kw)
        loop.turns = self.turns
        try:
            return call(*args, **kw)
        finally:
            loop.turns = before

    def _check_up(self) -> None:
        self.loop.check_open()
        if self.is_down:
            raise SimulationError(f"host {self.name!r} is down; restart() starts it again")

    def took(self, context: Any) -> None:
        """A context was made here."""
        self.contexts.append(context)
        self.loop.settle_in(context._portal)
        self._tell("context", context)

    # What can happen to a machine

    def crash(self) -> None:
        """Lose power: nothing is finished, and no connection is ended.

        Raises:
            SimulationError: it is down.
        """
        self.loop.check_open()
        if self.is_down:
            raise SimulationError(f"host {self.name!r} is down already")
        self._tell("crash", self)
        self.stop_at_once()

    def stop_at_once(self) -> None:
        """Do nothing more."""
        self.is_down, self._is_killed = True, False
        self.crashes += 1
        self._give_up()
        self.network.crashed(self)

    def _give_up(self) -> None:
        self._wreck.append(self.contexts)
        self.contexts = []
        self.loop.give_up(self.turns)

    def restart(self) -> asyncio.Task[Any] | None:
        """Start the machine again, on its address, with its program; one that is up crashes first.

        After ``kill`` or ``stop`` only the program is started.

        Returns:
            The task of its program, if it has one.
        """
        self.loop.check_open()
        if not self._is_killed:
            if not self.is_down:
                self.crash()
            self.turns = self.turns.renewed()
            self.is_down = False
        self._tell("restart", self)
        self.network.look_at_silence()
        return None if self._program is None else self._start(self._program)

    def kill(self) -> None:
        """End its programs at once, as ``kill -9`` does: the machine closes their sockets.

        Their ports are free then: ``run`` or ``context`` can start something else on them.

        Raises:
            SimulationError: it is down.
        """
        self._check_up()
        self._tell("kill", self)
        self._end_programs()

    async def stop(self) -> None:
        """End its programs well: cancel the one of ``run``, and close all contexts.

        Raises:
            SimulationError: it is down or paused, or it is the program itself that asks.
        """
        self._check_up()
        if self.turns.is_paused:
            raise SimulationError(
                f"host {self.name!r} is paused; resume() lets it end what it does"
            )
        if self.loop.turns is self.turns:
            raise SimulationError("the programs of a host cannot wait for their own end")
        task = self.do(lambda: self.loop.create_task(self._stop()))
        await asyncio.wait([task])
        task.result()
        self._tell("stop", self)
        self._end_programs()

    async def _stop(self) -> None:
        if self._running is not None and not self._running.done():
            self._running.cancel()
            await asyncio.wait([self._running])
        for context in self.contexts:
            if context.is_alive():
                await context.aclose()

    def _end_programs(self) -> None:
        """Have the machine close what programs have open, and forget them."""
        before, self.loop.turns = self.loop.turns, self.turns
        self._give_up()
        try:
            self.network.killed(self)  # what would be told is not done: these turns are over
        finally:
            self.loop.turns = before
        self.turns = self.turns.renewed()
        self._is_killed = True

    def pause(self) -> None:
        """Stop all programs, as SIGSTOP does: the machine goes on to acknowledge what arrives."""
        self.loop.check_open()
        if not self.turns.is_paused:
            self._tell("pause", self)
            self.loop.pause(self.turns)

    def resume(self) -> None:
        """Let all programs go on."""
        self.loop.check_open()
        if self.turns.is_paused:
            self._tell("resume", self)
            self.loop.resume(self.turns)

    @property
    def refuses(self) -> bool:
        """Whether it refuses all connections; set it."""
        return self._refuses

    @refuses.setter
    def refuses(self, refuses: bool) -> None:
        if self._refuses != refuses:
            self._refuses = refuses
            self._tell("refuses" if refuses else "refuses nothing", self)

    @property
    def reads(self) -> bool:
        """Whether its programs read what comes; set it to False, and connections are accepted and
        never read: the machine takes what its buffers hold.
        """
        return self._reads

    @reads.setter
    def reads(self, reads: bool) -> None:
        if self._reads != reads:
            self._reads = reads
            self._tell("reads" if reads else "reads nothing", self)
            for end in self.network.ends_of(self) if reads else ():
                self.loop.put_call(end.turns, end.read_on)

    # Clocks

    def jump_clock(self, seconds: float) -> None:
        """Set the date: ``time.time`` jumps, and ``time.monotonic`` does not."""
        self.turns.date_offset += _finite("seconds", seconds)
        self._tell("clock", self, f"jumps by {seconds} s")

    def drift(self, rate: float) -> None:
        """Let all clocks of the host go at another rate, as 1.01: a second too much in a hundred.

        Raises:
            ValueError: it is not positive.
        """
        if not _finite("rate", rate) > 0:
            raise ValueError(f"a clock goes on: rate must be positive, got {rate}")
        self.loop.set_rate(self.turns, rate)
        self._tell("clock", self, f"goes {rate} times as fast")


def _finite(name: str, number: Any) -> float:
    if isinstance(number, bool) or not isinstance(number, (int, float)):
        raise TypeError(f"{name} must be a number, got {number!r}")
    if not math.isfinite(number):
        raise ValueError(f"{name} must be finite, got {number}")
    return float(number)
