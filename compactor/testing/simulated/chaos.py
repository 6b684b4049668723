"""``Chaos``: faults at random, on a schedule that a seed decides, and that can be made smaller."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable, Iterable
from random import Random
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from compactor.testing.simulated.host import Host
    from compactor.testing.simulated.world import World

LONGEST = 30.0  # seconds of a fault, unless told otherwise

_What = tuple[str, tuple[str, ...]]  # a kind of fault, and the names of the hosts that have it


class Fault(NamedTuple):
    """Something that went wrong on purpose.

    Attributes:
        number: in the order of the schedule.
        seconds: of the world, when.
        kind: what it was.
        hosts: whom it concerned.
        length: seconds until it was over.
    """

    number: int
    seconds: float
    kind: str
    hosts: tuple[str, ...]
    length: float

    def __str__(self) -> str:
        end = f"for {self.length:.3f} s" if self.length else "once"
        return f"{self.seconds:.3f} s: {self.kind} of {' and '.join(self.hosts)} {end}"


def _partition(world: World, hosts: list[Host], chance: Random) -> Callable[[], object]:
    a, b = hosts[:2]
    world.partition(a, b, one_way=chance.random() < 0.25)
    return lambda: world.heal(a, b)


def _crash(world: World, hosts: list[Host], chance: Random) -> Callable[[], object]:
    host = hosts[0]
    if host.is_down:
        return lambda: None
    host.crash()
    return lambda: host.restart() if host.is_down else None


def _pause(world: World, hosts: list[Host], chance: Random) -> Callable[[], object]:
    hosts[0].pause()
    return hosts[0].resume


def _slow(world: World, hosts: list[Host], chance: Random) -> Callable[[], object]:
    a, b = hosts[:2]
    before = world.latency_of(a, b)
    world.set_way(a, b, latency=(0.1, 0.1 + 2 * chance.random()))
    return lambda: world.set_way(a, b, latency=before)


def _kill(world: World, hosts: list[Host], chance: Random) -> Callable[[], object]:
    host = hosts[0]
    if host.is_down:
        return lambda: None
    host.kill()
    return lambda: host.restart() if not host.is_down else None


def _reset(world: World, hosts: list[Host], chance: Random) -> None:
    world.reset(hosts[0], hosts[1])


def _half_open(world: World, hosts: list[Host], chance: Random) -> None:
    world.half_open(hosts[0], hosts[1])


def _refuse(world: World, hosts: list[Host], chance: Random) -> Callable[[], object]:
    hosts[0].refuses = True
    return lambda: setattr(hosts[0], "refuses", False)


def _unread(world: World, hosts: list[Host], chance: Random) -> Callable[[], object]:
    hosts[0].reads = False
    return lambda: setattr(hosts[0], "reads", True)


def _clock(world: World, hosts: list[Host], chance: Random) -> None:
    hosts[0].jump_clock(round((chance.random() - 0.5) * 7200, 3))


KINDS: dict[str, tuple[int, Callable[[World, list[Host], Random], Any]]] = {
    "partition": (2, _partition),
    "crash": (1, _crash),
    "pause": (1, _pause),
    "slow": (2, _slow),
    "clock": (1, _clock),
    "kill": (1, _kill),
    "reset": (2, _reset),
    "half-open": (2, _half_open),
    "refuse": (1, _refuse),
    "unread": (1, _unread),
}
"""By name, how many hosts a fault needs, and what does it and returns what ends it."""

_ONE_WAY = {"slow"}  # the faults of a way from one host to another, and not back


class Chaos:
    """Faults at random, until it is cancelled.

    Args:
        world: where.
        rate: faults a second, on average.
        kinds: which.
        longest: seconds that one takes at most.
        hosts: whom they may concern; None for all that there are then.
        without: the numbers of faults that are left out.

    Attributes:
        faults: those that were made.

    Raises:
        ValueError: a number is not positive, there is no such kind, or no host or kind at all.
    """

    def __init__(
        self,
        world: World,
        rate: float,
        kinds: Iterable[str] | None,
        longest: float,
        hosts: list[Host] | None,
        without: frozenset[int],
    ) -> None:
        for name, value in (("rate", rate), ("longest", longest)):
            if not (value > 0 and math.isfinite(value)):
                raise ValueError(f"{name} must be positive and finite, got {value!r}")
        if isinstance(kinds, str):
            raise ValueError(f"kinds is a list of kinds of faults, got {kinds!r}")
        self._kinds = list(KINDS) if kinds is None else list(kinds)
        if not self._kinds or hosts == []:
            raise ValueError("there is nothing to go wrong: kinds and hosts must not be empty")
        for kind in self._kinds:
            if kind not in KINDS:
                raise ValueError(f"a kind of fault is one of {', '.join(KINDS)}, got {kind!r}")
        self._world = world
        self._pause = 2 / rate
        self._longest = longest
        self._hosts = hosts
        self._without = without
        self._lasting: dict[_What, int] = {}  # how many faults make something last
        self._undo: dict[_What, Callable[[], object]] = {}
        self.faults: list[Fault] = []
        self._task = asyncio.get_running_loop().create_task(self._run())
        self._task.add_done_callback(self._ended)

    async def _run(self) -> None:
        number = 0
        while True:
            # One stream for each fault, so that the others stay when one is left out.
            chance = self._world.chance_of(f"fault {number}")
            await asyncio.sleep(chance.random() * self._pause)
            if number not in self._without:
                self._make(number, chance)
            number += 1

    def _ended(self, task: asyncio.Task[None]) -> None:
        """What faults have raised fails the run: nobody else asks for it."""
        error = None if task.cancelled() else task.exception()
        if error is not None and self._world.loop.failure is None:
            self._world.loop.failure = error

    def _make(self, number: int, chance: Random) -> None:
        hosts = list(self._world.hosts.values()) if self._hosts is None else list(self._hosts)
        kind = self._kinds[int(chance.random() * len(self._kinds))]
        needed, make = KINDS[kind]
        if len(hosts) < needed:
            return
        chosen = [hosts.pop(int(chance.random() * len(hosts))) for _ in range(needed)]
        length = chance.random() * self._longest
        names = tuple(host.name for host in chosen)
        what = kind, names if kind in _ONE_WAY else tuple(sorted(names))
        if what not in self._lasting:
            undo = make(self._world, chosen, chance)
            if undo is not None:
                self._undo[what] = undo
        if what not in self._undo:
            length = 0.0
        else:  # of two faults alike that overlap, the later end is the end
            self._lasting[what] = self._lasting.get(what, 0) + 1
            asyncio.get_running_loop().call_later(length, self._end, what)
        self.faults.append(Fault(number, self._world.time, kind, names, length))

    def _end(self, what: _What) -> None:
        lasting = self._lasting.pop(what, 0) - 1
        if lasting > 0:
            self._lasting[what] = lasting
        elif not lasting:
            self._undo.pop(what)()

    def cancel(self) -> None:
        """Make no more faults, and end those that last."""
        self._task.cancel()
        self._lasting.clear()
        while self._undo:
            self._undo.pop(next(iter(self._undo)))()

    def __enter__(self) -> Chaos:
        return self

    def __exit__(self, *_: object) -> None:
        self.cancel()
