"""Links and exits against a model, on simulated hosts: random topologies and faults, the same again
from their seed.

As ``test_link_model.py`` does with real sockets; here machines crash, and networks are cut, too.
After each step the exits that are due must have come, once, with a fitting reason, and no other.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from typing import Any

from compactor import PID, Context, Process, Reason, Settings
from compactor.testing.simulated import host as machines
from compactor.testing.simulated.world import World
from compactor.testing.simulation import Run as Done
from compactor.testing.simulation import Simulation

PORT = 5000
NAMES = ("a", "b")
PEER_TIMEOUT = 6.0
SOON = 0.5  # seconds; all that needs no timeout has happened by then
LATE = 40.0  # seconds; every timeout is over, and what TCP sends again has been sent

CUT = {Reason.CLOSED, Reason.RESET}
GONE = {*CUT, Reason.TERMINATED}
"""What a linker sees of a context that ends: its processes end before it does."""
LOST = {*CUT, Reason.TIMEOUT}


class Node(Process):
    """Keeps what it hears."""

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.exits: list[tuple[PID, Reason]] = []

    def exited(self, pid: PID, reason: Reason) -> None:
        self.exits.append((pid, reason))


class Run:
    """One random run: hosts of two processes each, and what each process has to hear.

    Args:
        seed: what it is made from.

    Attributes:
        problems: all that must not be.
    """

    def __init__(self, seed: int) -> None:
        self.seed = seed
        self.problems: list[str] = []
        self._processes: dict[PID, Node] = {}  # those that live
        self._watched: dict[PID, set[PID]] = {}  # by the linker
        self._due: dict[
            tuple[PID, PID], set[Reason]
        ] = {}  # linker and watched, since the last look
        self._contexts: dict[machines.Host, Context] = {}

    def play(self) -> Done:
        """Make the run."""
        return Simulation(self.seed, keep=200).run(self._scenario)

    async def _scenario(self, world: World) -> None:
        self._world = world
        self._random = world.chance_of("links")
        self._hosts = [world.host(f"h{number}") for number in range(self._random.randint(2, 4))]
        for host in self._hosts:
            host.run(self._program)
        await world.sleep(SOON)
        steps = [self._link] * 10 + [self._terminate, self._spawn, self._start] * 2
        steps += [self._stop, self._kill, self._crash, self._disconnect, self._reset]
        steps += [self._half_open, self._partition, self._blink, self._pause, self._hold]
        for _ in range(self._random.randint(10, 30)):
            step = self._random.choice(steps)
            await step(self._random.choice(self._hosts), self._random.choice(self._hosts))
            self._look(step.__name__)

    async def _program(self, machine: machines.Host) -> None:
        settings = Settings(
            warn_unprotected=False, peer_timeout=PEER_TIMEOUT, connect_timeout=4.0, linger=1.0
        )
        context = self._contexts[machine] = Context(ip=machine.ip, port=PORT, settings=settings)
        await context.__aenter__()
        for name in NAMES:
            self._add(machine, name)
        await asyncio.sleep(10**9)

    def _add(self, host: machines.Host, name: str) -> None:
        node = Node(name)
        pid = self._contexts[host].spawn(node)
        self._processes[pid] = node
        self._watched[pid] = set()

    # What is due, and what has come

    def _pids(self, host: machines.Host) -> set[PID]:
        return {PID(host.ip, PORT, name) for name in (*NAMES, "nobody")}

    def _gone(
        self, pids: Iterable[PID], reasons: set[Reason], only: machines.Host | None = None
    ) -> None:
        """Pids are gone, for all linkers or those on one host: their exits are due."""
        for linker, watched in self._watched.items():
            if only is None or linker.ip == only.ip:
                for pid in watched.intersection(pids):
                    watched.remove(pid)
                    self._due[linker, pid] = reasons

    def _forget(self, host: machines.Host) -> None:
        """The processes of a host are no more."""
        self._contexts.pop(host, None)
        for pid in self._pids(host) & set(self._processes):
            del self._processes[pid], self._watched[pid]

    def _look(self, step: str) -> None:
        for linker, node in self._processes.items():
            for pid, reason in node.exits:
                reasons = self._due.pop((linker, pid), None)
                if reasons is None:
                    self._complain(step, f"{linker} heard of {pid} ({reason}), not due")
                elif reason not in reasons:
                    self._complain(step, f"{linker} heard of {pid}: {reason}, not {reasons}")
            node.exits.clear()
        for linker, pid in self._due:
            if linker in self._processes:
                self._complain(step, f"{linker} has not heard of {pid}")
        self._due.clear()
        for host, context in self._contexts.items():
            mine = {pid: seen for pid, seen in self._watched.items() if seen and pid.ip == host.ip}
            if context._links != mine:
                self._complain(step, f"{host} watches {context._links}, not {mine}")

    def _complain(self, step: str, what: str) -> None:
        self.problems.append(f"{self._world.time:.6f} s, after {step}: {what}")

    # What happens

    async def _link(self, host: machines.Host, to: machines.Host) -> None:
        """Some at once."""
        for _ in range(self._random.randint(1, 4)):
            self._link_one(host, to)
            host, to = self._random.choice(self._hosts), self._random.choice(self._hosts)
        await self._world.sleep(5.0 if any(host.is_down for host in self._hosts) else SOON)

    def _link_one(self, host: machines.Host, to: machines.Host) -> None:
        linker = PID(host.ip, PORT, self._random.choice(NAMES))
        target = PID(to.ip, PORT, self._random.choice((*NAMES * 3, "nobody")))
        process = self._processes.get(linker)
        if process is None or linker == target or (linker, target) in self._due:
            return
        process.link(target, reconnect=self._random.random() < 0.3)
        self._watched[linker].add(target)
        if target not in self._processes:
            is_down = to not in self._contexts
            late = {Reason.TIMEOUT} if to.is_down else {Reason.REFUSED}
            self._gone({target}, late if is_down else {Reason.NO_PROCESS}, only=host)
            # The others who watch somebody at an address that is no more have been told before.

    async def _terminate(self, host: machines.Host, _: Any) -> None:
        pid = PID(host.ip, PORT, self._random.choice(NAMES))
        if pid not in self._processes:
            return
        self._contexts[host].terminate(pid, inject=self._random.random() < 0.5)
        del self._processes[pid], self._watched[pid]
        self._gone({pid}, {Reason.TERMINATED})
        await self._world.sleep(SOON)

    async def _spawn(self, host: machines.Host, _: Any) -> None:
        name = self._random.choice(NAMES)
        if host in self._contexts and PID(host.ip, PORT, name) not in self._processes:
            self._add(host, name)
            await self._world.sleep(SOON)

    async def _start(self, host: machines.Host, _: Any) -> None:
        if host not in self._contexts:
            host.restart()
            await self._world.sleep(SOON)

    async def _stop(self, host: machines.Host, _: Any) -> None:
        if host in self._contexts:
            self._forget(host)
            await host.stop()
            self._gone(self._pids(host), GONE)
            await self._world.sleep(SOON)

    async def _kill(self, host: machines.Host, _: Any) -> None:
        if host in self._contexts:
            self._forget(host)
            host.kill()
            self._gone(self._pids(host), CUT)
            await self._world.sleep(SOON)

    async def _crash(self, host: machines.Host, _: Any) -> None:
        if host not in self._contexts:
            return
        self._forget(host)
        host.crash()
        self._gone(self._pids(host), LOST)
        if self._random.random() < 0.5:  # it is back before anybody notices, and knows nothing
            await self._world.sleep(self._random.choice((0.01, 1.0)))
            host.restart()
        await self._world.sleep(LATE)

    async def _disconnect(self, host: machines.Host, to: machines.Host) -> None:
        if host is not to and host in self._contexts:
            self._contexts[host].disconnect(PID(to.ip, PORT, "a"))
            self._gone(self._pids(to), {Reason.DISCONNECTED}, only=host)
            await self._world.sleep(SOON)

    def _cut_between(self, host: machines.Host, to: machines.Host, reasons: set[Reason]) -> None:
        self._gone(self._pids(to), reasons, only=host)
        self._gone(self._pids(host), reasons, only=to)

    async def _reset(self, host: machines.Host, to: machines.Host) -> None:
        if host is not to:
            self._world.reset(host, to)
            self._cut_between(host, to, CUT)
            await self._world.sleep(SOON)

    async def _half_open(self, host: machines.Host, to: machines.Host) -> None:
        if host is not to:
            self._world.half_open(host, to)
            self._cut_between(host, to, LOST)
            await self._world.sleep(LATE)

    async def _partition(self, host: machines.Host, to: machines.Host) -> None:
        if host is not to:
            self._world.partition(host, to, one_way=self._random.random() < 0.3)
            self._cut_between(host, to, LOST)
            await self._world.sleep(LATE)
            self._world.heal(host, to)
            await self._world.sleep(LATE)

    # What nobody hears of

    async def _blink(self, host: machines.Host, to: machines.Host) -> None:
        """The network is cut for less than the timeout."""
        if host is not to:
            self._world.partition(host, to)
            await self._world.sleep(PEER_TIMEOUT / 3)
            self._world.heal(host, to)
            await self._world.sleep(LATE)

    async def _pause(self, host: machines.Host, _: Any) -> None:
        host.pause()
        await self._world.sleep(LATE)
        host.resume()
        await self._world.sleep(SOON)

    async def _hold(self, host: machines.Host, _: Any) -> None:
        """Nothing is read."""
        host.reads = False
        await self._world.sleep(LATE)
        host.reads = True
        await self._world.sleep(SOON)


def run(seed: int) -> list[str]:
    """Make one run, and return what was wrong."""
    made = Run(seed)
    made.play()
    return made.problems
