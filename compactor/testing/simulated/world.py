"""``World``: the hosts of a simulation, the network between them, and what has happened there."""

from __future__ import annotations

import asyncio
import ipaddress
import logging
import math
from collections.abc import Iterable, Iterator
from random import Random
from threading import get_ident
from typing import Any

from compactor.metrics.logs import log
from compactor.pid import PID
from compactor.testing.simulated.chaos import LONGEST, Chaos, Fault
from compactor.testing.simulated.errors import SimulationError
from compactor.testing.simulated.happenings import Happenings
from compactor.testing.simulated.host import Host, Nowhere
from compactor.testing.simulated.leftovers import left_over
from compactor.testing.simulated.network import Network
from compactor.testing.simulated.observing import observe
from compactor.testing.simulated.virtual_loop import VirtualLoop
from compactor.testing.trace import FAULT, LINK, Trace

_SHOWN = 20  # of what is left over, by name


class World(Happenings):
    """What a scenario is given.

    Attributes:
        random: a source of chance for the scenario and its processes, the same in each run of a
            seed.
        trace: all that has happened.
        messages: those that handlers were given.
        dead_letters: the messages that were not handled.
        exits: those that processes were told of.
    """

    def __init__(
        self,
        seed: object,
        trace: Trace,
        latency: tuple[float, float],
        max_events: int,
        max_block: float,
        without: frozenset[int] = frozenset(),
    ) -> None:
        self._seed = seed
        self.random = self.chance_of("world.random")
        self._hosts: dict[str, Host] = {}
        self._without = without
        self.chaoses: list[Chaos] = []
        loop = VirtualLoop(self.chance_of("turns"), Nowhere(), max_events, max_block, self._blocked)
        super().__init__(loop, trace)
        self._network = Network(loop, self.chance_of, latency, self._connection)

    def chance_of(self, name: str) -> Random:
        """A source of chance of its own for a purpose, so that a new one shifts no others."""
        return Random(f"{self._seed} {name}")

    async def sleep(self, seconds: float) -> None:
        """Let so many seconds of the world pass."""
        self.loop.check_open()
        await asyncio.sleep(seconds)

    async def settled(self) -> None:
        """Wait until nothing more happens before time passes."""
        self.loop.check_open()
        await self.loop.settled()

    # Hosts and the network

    def host(self, name: str) -> Host:
        """A new machine, with an address of its own, which its name resolves to.

        Raises:
            SimulationError: there is one of that name.
            TypeError, ValueError: it is no name.
        """
        _check_name(name)
        if name in self._hosts:
            raise SimulationError(f"there is a host named {name!r}; world.hosts has it")
        self.loop.check_open()
        number = len(self._hosts) + 1
        ip = f"10.{number >> 16 & 255}.{number >> 8 & 255}.{number & 255}"
        chance = self.chance_of(f"host {name}")
        host = Host(name, ip, self.loop, self._network, chance, self._told)
        self._hosts[name] = self._network.hosts[ip] = host
        self._network.names[name] = [ip], 0.0
        return host

    @property
    def hosts(self) -> dict[str, Host]:
        """All hosts by name."""
        return dict(self._hosts)

    def partition(self, a: Any, b: Any, one_way: bool = False) -> None:
        """Let nothing through between hosts, silently, until ``heal``.

        Args:
            a, b: a host, or several.
            one_way: whether what ``b`` sends still gets to ``a``.

        Raises:
            SimulationError: a host would be cut off from itself.
        """
        self._set_cut(self._hosts_of(a, "a"), self._hosts_of(b, "b"), one_way, True)

    def heal(self, a: Any = None, b: Any = None) -> None:
        """Let everything through again, between these hosts or all."""
        everybody = list(self._hosts.values())
        here = everybody if a is None else self._hosts_of(a, "a")
        there = everybody if b is None else self._hosts_of(b, "b")
        self._set_cut(here, there, False, False)

    def _set_cut(self, here: list[Host], there: list[Host], one_way: bool, is_cut: bool) -> None:
        self.loop.check_open()
        for a in here:
            for b in there:
                if a is b:
                    if is_cut:
                        raise SimulationError(f"host {a.name!r} cannot be cut off from itself")
                    continue
                ways = [self._network.way(a.ip, b.ip)]
                if not one_way:
                    ways.append(self._network.way(b.ip, a.ip))
                if any(way.is_cut != is_cut for way in ways):
                    for way in ways:
                        way.is_cut = is_cut
                    arrow = "to" if one_way else "and"
                    what = "partition" if is_cut else "heal"
                    self._add(a.name, LINK, a.name, b.name, what, f"{a.name} {arrow} {b.name}")
        self._network.look_at_silence()

    def set_way(
        self,
        a: Host,
        b: Host,
        latency: float | tuple[float, float] | None = None,
        bandwidth: float | None = None,
    ) -> None:
        """Say how long what ``a`` sends is on its way to ``b``.

        Args:
            latency: seconds; or the least and the most.
            bandwidth: bytes a second.

        Raises:
            ValueError: one of them is negative, or 0 bytes a second.
        """
        self.loop.check_open()
        ((here, there),) = self._pairs([a], [b])
        way = self._network.way(here.ip, there.ip)
        if latency is not None:
            way.latency = span(latency)
        if bandwidth is not None:
            if not bandwidth > 0:
                raise ValueError(f"bandwidth must be positive, got {bandwidth!r} bytes a second")
            way.bandwidth = bandwidth

    def reset(self, a: Any, b: Any) -> None:
        """Break all connections between hosts: both ends are told of a reset, and what was on its
        way is lost.

        Args:
            a: a host, or several.
            b: a host, or several.
        """
        self.loop.check_open()
        for here, there in self._pairs(a, b):
            self._add(
                here.name, LINK, here.name, there.name, "reset", f"{here.name} and {there.name}"
            )
            self._network.reset(here, there)

    def half_open(self, a: Any, b: Any) -> None:
        """Let nothing through any more on the connections that hosts have now, silently, as when a
        firewall has forgotten them; new ones are not concerned.

        Args:
            a: a host, or several.
            b: a host, or several.
        """
        self.loop.check_open()
        for here, there in self._pairs(a, b):
            detail = f"{here.name} and {there.name}"
            self._add(here.name, LINK, here.name, there.name, "half-open", detail)
            self._network.forget_between(here, there)

    def latency_of(self, a: Host, b: Host) -> tuple[float, float]:
        """The least and the most seconds that what ``a`` sends is on its way to ``b``."""
        ((here, there),) = self._pairs([a], [b])
        return self._network.way(here.ip, there.ip).latency

    def chaos(
        self,
        rate: float,
        kinds: Iterable[str] | None = None,
        longest: float = LONGEST,
        hosts: Iterable[Host] | None = None,
    ) -> Chaos:
        """Have things go wrong at random from now on.

        Args:
            rate: faults a second, on average.
            kinds: of ``partition``, ``crash``, ``pause``, ``slow``, ``clock``, ``kill``,
                ``reset``, ``half-open``, ``refuse`` and ``unread``; None for all.
            longest: seconds that one takes at most.
            hosts: whom they may concern; None for all.

        Returns:
            What ends it by ``cancel``, or at the end of a ``with`` block.

        Raises:
            SimulationError: a host is of another world.
            TypeError: one of them is no host.
            ValueError: a number is not positive, there is no such kind, or no host or kind at all.
        """
        self.loop.check_open()
        concerned = None if hosts is None else self._hosts_of(hosts, "hosts")
        chaos = Chaos(self, rate, kinds, longest, concerned, self._without)
        self.chaoses.append(chaos)
        return chaos

    @property
    def faults(self) -> list[Fault]:
        """What chaos has done."""
        return [fault for chaos in self.chaoses for fault in chaos.faults]

    def name(self, name: str, *hosts: Host | str, seconds: float = 0.0) -> None:
        """Have a name resolve to hosts or addresses, in that order; to none, if there are none.

        Args:
            name: may be that of a host, which resolves wrongly then.
            hosts: hosts of this world, or IP addresses.
            seconds: until a lookup is answered; ``math.inf`` for never.

        Raises:
            TypeError: one of them is neither a host nor a text.
            ValueError: ``seconds`` is negative.
        """
        self.loop.check_open()
        for host in hosts:
            if not isinstance(host, (Host, str)):
                raise TypeError(f"a name resolves to hosts or addresses, got {host!r}")
        if not seconds >= 0:
            raise ValueError(f"seconds must be 0 or more, got {seconds!r}")
        ips = [host if isinstance(host, str) else host.ip for host in hosts]
        self._network.names[name] = ips, float(seconds)

    def check_programs(self) -> None:
        """Raise what the program of a host has raised, if nobody has asked for it."""
        for host in self._hosts.values():
            for task in host.programs:
                if task.done() and task._log_traceback:
                    task.result()

    def check_nothing_left(self) -> None:
        """Raise ``SimulationError`` if tasks or timers are left over; the text names them."""
        left = left_over(self.loop)
        if left:
            shown = left[:_SHOWN] + ([f"{len(left) - _SHOWN} more"] if left[_SHOWN:] else [])
            raise SimulationError(
                f"left over at {self.time:.6f} s, which strict=True does not allow: "
                f"{'; '.join(shown)}. What a host does is ended by host.stop()"
            )

    def end(self) -> None:
        """Nothing happens any more."""
        self._network.tell = lambda *_: None
        for host in self._hosts.values():
            host.stop_at_once()
        ident = get_ident()

        def is_elsewhere(record: logging.LogRecord) -> bool:
            return record.thread != ident

        log.addFilter(is_elsewhere)  # what contexts tell of their end is not what has happened
        try:
            self.loop.end()
        finally:
            log.removeFilter(is_elsewhere)

    def _pairs(self, a: Any, b: Any) -> Iterator[tuple[Host, Host]]:
        for here in self._hosts_of(a, "a"):
            for there in self._hosts_of(b, "b"):
                if here is there:
                    raise SimulationError(f"host {here.name!r} has no network to itself")
                yield here, there

    def _hosts_of(self, given: Any, name: str) -> list[Host]:
        hosts = list(given) if isinstance(given, Iterable) else [given]
        for host in hosts:
            if not isinstance(host, Host):
                raise TypeError(f"{name} must be a host, or several, got {host!r}")
            if self._hosts.get(host.name) is not host:
                raise SimulationError(f"{name} must be of this world, got {host!r} of another one")
        return hosts

    def _told(self, what: str, about: Any, detail: str = "") -> None:
        """A host tells of itself."""
        if what == "context":
            observe(about, self)
        else:
            self._add(about.name, FAULT, "", "", what, detail)

    def _connection(self, here: Host, there: Host, state: str, addresses: str) -> None:
        """A connection is in another state, for one of its hosts."""
        self._add(here.name, LINK, here.name, there.name, state, addresses)

    def _way_seconds(self, sender: PID, to: PID) -> float | None:
        """How long what is sent now is on its way; None if it is on none."""
        if sender.address == to.address:
            return None
        now = self.loop.now
        return self._network.way(sender.ip, to.ip).arrival(now, 0) - now

    def _blocked(self, name: str, seconds: float) -> None:
        raise SimulationError(
            f"a turn of {name or 'the scenario'!r} has taken {seconds:.3f} real seconds: something "
            "blocks, while no virtual time passes; max_block= allows more"
        )


def _check_name(name: Any) -> None:
    """Whether a host may be named so.

    Raises:
        TypeError: it is no text.
        ValueError: it has characters that cannot be seen, or would be taken for an address.
    """
    if not isinstance(name, str):
        raise TypeError(f"a host has a name, got {name!r}")
    if not name or " " in name or not name.isprintable():
        raise ValueError(
            f"the name of a host has characters that can be seen, and no spaces, got {name!r}"
        )
    if name.lower() == "localhost" or _is_ip(name):
        raise ValueError(f"a host has an address besides its name, which cannot be {name!r}")


def _is_ip(name: str) -> bool:
    try:
        ipaddress.ip_address(name.partition("%")[0])
    except ValueError:
        return False
    return True


def span(latency: Any) -> tuple[float, float]:
    """The least and the most seconds of a latency.

    Raises:
        TypeError: it is neither a number nor two.
        ValueError: they are negative, not finite, or the wrong way round.
    """
    both = latency if isinstance(latency, tuple) else (latency, latency)
    if len(both) != 2 or not all(isinstance(each, (int, float)) for each in both):
        raise TypeError(f"latency must be seconds, or the least and the most, got {latency!r}")
    least, most = both
    if not 0 <= least <= most < math.inf:
        raise ValueError(
            f"latency must be seconds, 0 or more, or the least and the most, got {latency!r}"
        )
    return float(least), float(most)
