"""``Network``: how bytes get from one simulated host to another, or do not.

It is TCP, seen from above.  What was sent arrives in order, once, after the latency of the way.
What cannot get through is tried again after 0.2 s, then after twice as long each time, and nobody
is told of it.  The end or reset of a connection is on the way as data is.  A machine acknowledges
what has arrived even when its program does not read.
"""

from __future__ import annotations

import asyncio
import errno
import math
import os
import socket
from collections.abc import Callable, Iterator
from random import Random
from typing import Any

from compactor.testing.simulated.host_sockets import Address, HostServer, HostSocket, HostTransport
from compactor.testing.simulated.virtual_loop import VirtualLoop

WINDOW = 256 * 1024  # bytes under way and unread, in one direction

_FIRST_RETRY = 0.2  # seconds until what did not get through is sent again; then twice as long
_LAST_RETRY = 20.0
_ORPHAN_RETRY = 10.0
_FIRST_SYN_RETRY = 1.0
_NO_ROUTE_SECONDS = 3.0  # until a host that does not exist is known not to
_FIRST_PORT = 49152  # of those that the system chooses


def oserror(number: int) -> OSError:
    """The error of a system call; ``OSError`` chooses the subclass."""
    return OSError(number, os.strerror(number))


class Way:
    """One direction between two hosts.

    Attributes:
        latency: seconds, at least and at most; in between by chance.
        bandwidth: bytes a second; None for any number.
        is_cut: whether nothing gets through.
    """

    __slots__ = ("_chance", "_is_free", "bandwidth", "is_cut", "latency")

    def __init__(self, latency: tuple[float, float], chance: Random) -> None:
        self.latency = latency
        self.bandwidth: float | None = None
        self.is_cut = False
        self._chance = chance.random
        self._is_free = 0.0  # when what was sent before has left

    def arrival(self, now: float, size: int) -> float:
        """When so many bytes arrive that are sent now."""
        least, most = self.latency
        seconds = least if most == least else least + (most - least) * self._chance()
        if self.bandwidth is None:
            return now + seconds
        self._is_free = max(now, self._is_free) + size / self.bandwidth
        return self._is_free + seconds


class Network:
    """The network of a world.

    Args:
        loop: its time.
        chance_of: gives a source of chance by name.
        latency: seconds, at least and at most, of ways about which nothing else is said.
        tell: called with the state of a connection that has changed: the hosts of this and of the
            other end, what it is now, and the addresses of both ends.
    """

    def __init__(
        self,
        loop: VirtualLoop,
        chance_of: Callable[[str], Random],
        latency: tuple[float, float],
        tell: Callable[[Any, Any, str, str], object],
    ) -> None:
        self.loop = loop
        self.latency = latency
        self.hosts: dict[str, Any] = {}  # by IP address
        self.names: dict[str, tuple[list[str], float]] = {}  # and seconds until they are known
        self.tell = tell
        self._chance_of = chance_of
        self._ways: dict[tuple[str, str], Way] = {}
        self._bound: dict[Address, HostSocket] = {}
        self._next_port: dict[str, int] = {}
        self._transports: dict[HostTransport, None] = {}
        self._cut = chance_of("cuts").random

    def way(self, source: str, target: str) -> Way:
        """The way from one IP address to another."""
        way = self._ways.get((source, target))
        if way is None:
            latency = (0.0, 0.0) if source == target else self.latency
            way = Way(latency, self._chance_of(f"way {source} {target}"))
            self._ways[source, target] = way
        return way

    def is_open(self, source: Any, target: Any) -> bool:
        """Whether something that leaves one host now reaches the machine of another."""
        return not (target.is_down or self.way(source.ip, target.ip).is_cut)

    def _gets_through(self, end: HostTransport) -> bool:
        """Whether what leaves one end of a connection now reaches the machine of the other."""
        return not end.is_forgotten and self.is_open(end.host, end.peer.host)  # type: ignore[attr-defined]

    # Sockets

    def bind(self, host: Any, ip: str, port: int) -> HostSocket:
        """A socket at an address of a host."""
        if ip not in (host.ip, "0.0.0.0", "127.0.0.1"):
            raise oserror(errno.EADDRNOTAVAIL)
        if not port:
            port = self.free_port(host)
        if any(self._bound.get((each, port)) for each in {host.ip, ip}):
            raise oserror(errno.EADDRINUSE)
        sock = HostSocket(host, (ip, port))
        self._bound[host.ip, port] = sock
        return sock

    def free_port(self, host: Any) -> int:
        """A port that nothing on a host has."""
        while True:
            port = self._next_port.get(host.ip, _FIRST_PORT)
            self._next_port[host.ip] = port + 1 if port < 65535 else _FIRST_PORT
            if (host.ip, port) not in self._bound:
                return port

    def unbind(self, sock: HostSocket) -> None:
        """A socket was closed."""
        address = sock.host.ip, sock.local[1]
        if self._bound.get(address) is sock:
            del self._bound[address]

    def forget(self, transport: HostTransport) -> None:
        """A connection has ended at one end."""
        self._transports.pop(transport, None)

    async def connect(self, host: Any, ip: str, port: int) -> HostSocket:
        """A socket of a host that is connected to an address.

        Raises:
            OSError: nobody listens there, or there is no such host.
        """
        target = host if ip in ("127.0.0.1", host.ip) else self.hosts.get(ip)
        if target is None:
            await asyncio.sleep(_NO_ROUTE_SECONDS)
            raise oserror(errno.EHOSTUNREACH)
        there, back = self.way(host.ip, target.ip), self.way(target.ip, host.ip)
        pause = _FIRST_SYN_RETRY
        while not (self.is_open(host, target) and self.is_open(target, host)):
            await asyncio.sleep(pause)
            pause *= 2
        await self._until_arrival(there)
        listener = self._bound.get((target.ip, port))
        if target.is_down or listener is None or not listener.is_listening or target.refuses:
            await self._until_arrival(back)
            self.tell(host, target, "refused", f"{host.ip} to {target.ip}:{port}")
            raise oserror(errno.ECONNREFUSED)
        sock, accepted = self._new_pair(host, target, ip, port)
        listener.connected(accepted)
        try:
            await self._until_arrival(back)
        except BaseException:
            sock.close()
            raise
        return sock

    async def _until_arrival(self, way: Way) -> None:
        await asyncio.sleep(way.arrival(self.loop.now, 0) - self.loop.now)

    def _new_pair(
        self, host: Any, target: Any, ip: str, port: int
    ) -> tuple[HostSocket, HostSocket]:
        own_ip = "127.0.0.1" if ip == "127.0.0.1" else host.ip
        here = HostSocket(host, (own_ip, self.free_port(host)))
        there = HostSocket(target, (ip, port))
        ends = (
            HostTransport(here, there.local, self.loop, WINDOW),
            HostTransport(there, here.local, self.loop, WINDOW),
        )
        ends[0].join(ends[1])
        for end in ends:
            self._transports[end] = None
        self.tell(host, target, "open", ends[0].addresses)
        return here, there

    # Bytes on their way

    def segment_size(self, available: int) -> int:
        """Bytes of the next segment: one in four is cut at any place."""
        number = self._cut() * 4
        return available if number >= 1 else 1 + int(available * number)

    def carry(self, source: HostTransport, size: int, arrive: Callable[[], None]) -> None:
        """Have something arrive at the other end of a connection, when it gets through."""
        source.sent(size)
        if source.stuck or not self._gets_through(source):
            source.stuck.append((size, arrive))
            self._retry_later(source)
            return
        self._start(source, size, arrive)

    def _start(self, source: HostTransport, size: int, arrive: Callable[[], None]) -> None:
        way = self.way(source.host.ip, source.peer.host.ip)  # type: ignore[attr-defined]
        when = max(way.arrival(self.loop.now, size), source.last_arrival)
        source.last_arrival = when
        self.loop.at(when, lambda: self._arrived(source, size, arrive))

    def _arrived(self, source: HostTransport, size: int, arrive: Callable[[], None]) -> None:
        """Something is there: it is acknowledged, and the program may have it."""
        target: HostTransport = source.peer  # type: ignore[assignment]
        if target.turns.is_over and target.host.is_down:
            source.stuck.append((size, arrive))
            self._retry_later(source)
            return
        if target.is_gone:
            if size:
                target.answer_with_reset()  # the machine knows nothing of the connection any more
            return
        target.came()
        self.loop.put_call(target.turns, arrive)
        if self._gets_through(target):
            back = self.way(target.host.ip, source.host.ip)
            source.will_hear(back.arrival(self.loop.now, 0), size)
        else:
            source.stuck.append((size, lambda: None))
            self._retry_later(source)

    def _retry_later(self, source: HostTransport) -> None:
        if source.retry is None:
            source.retry = _FIRST_RETRY
            self.loop.at(self.loop.now + source.retry, lambda: self._retry(source))

    def _retry(self, source: HostTransport) -> None:
        """Send what did not get through again, if it gets through now."""
        assert source.retry is not None
        if source.crashes != source.host.crashes or not source.stuck:
            source.retry = None
            return
        target: HostTransport = source.peer  # type: ignore[assignment]
        if self._gets_through(source) and self._gets_through(target):
            stuck, source.stuck, source.retry = source.stuck, [], None
            for size, arrive in stuck:
                self._start(source, size, arrive)
            return
        if source.is_gone and source.retry > _ORPHAN_RETRY:
            source.stuck.clear()  # as a system does when nobody has the socket any more
        source.retry = min(source.retry * 2, _LAST_RETRY)
        self.loop.at(self.loop.now + source.retry, lambda: self._retry(source))

    # Machines that do not answer

    def look_at_silence(self) -> None:
        """After a change of what gets through: have TCP keepalive notice it in time."""
        for end in list(self._transports):
            if end.sock.silence is None or end.is_gone:
                continue
            was_silent, end.is_silent = end.is_silent, not self._hears(end)
            if end.is_silent and not was_silent:
                end.probed()
                self._look_later(end)

    def _look_later(self, end: HostTransport) -> None:
        since, silence = end.heard, end.sock.silence
        assert silence is not None
        self.loop.at(max(since + silence, self.loop.now), lambda: self._look_again(end, since))

    def _hears(self, end: HostTransport) -> bool:
        peer: HostTransport = end.peer  # type: ignore[assignment]
        is_there = not peer.turns.is_over
        return is_there and self._gets_through(end) and self._gets_through(peer)

    def _look_again(self, end: HostTransport, since: float) -> None:
        peer: HostTransport = end.peer  # type: ignore[assignment]
        if end.is_gone or self._hears(end):
            return
        if end.heard != since:
            self._look_later(end)
            return
        if self._gets_through(end) and self._gets_through(peer):
            peer.answer_with_reset()  # to a probe
            return
        error = oserror(errno.ETIMEDOUT)
        self.loop.put_call(end.turns, end.break_off, error)

    def crashed(self, host: Any) -> None:
        """A host knows nothing any more of its sockets."""
        self._free_ports(host)
        for end in self.ends_of(host):
            del self._transports[end]
        self.look_at_silence()

    def killed(self, host: Any) -> None:
        """The programs of a host have ended, and the machine closes their sockets."""
        self._free_ports(host)
        for end in self.ends_of(host):
            end.close_for_dead_program()

    def _free_ports(self, host: Any) -> None:
        for address in [each for each in self._bound if each[0] == host.ip]:
            del self._bound[address]

    # Connections

    def ends_of(self, host: Any, other: Any = None) -> list[HostTransport]:
        """The ends at a host of all its connections, or of those to another one."""
        return [
            end
            for end in self._transports
            if end.host is host and (other is None or end.peer.host is other)  # type: ignore[attr-defined]
        ]

    def reset(self, a: Any, b: Any) -> None:
        """Break all connections between two hosts; what was on its way is lost."""
        for end in self.ends_of(a, b) + self.ends_of(b, a):
            end.drop_what_is_on_its_way()
            self.loop.put_call(end.turns, end.break_off, oserror(errno.ECONNRESET))

    def forget_between(self, a: Any, b: Any) -> None:
        """Let nothing through, ever, on the connections that two hosts have now."""
        for end in self.ends_of(a, b) + self.ends_of(b, a):
            end.is_forgotten = True
        self.look_at_silence()

    # Names

    def name_of(self, ip: str) -> str | None:
        """The name that an address has, or None."""
        return next((name for name, (ips, _) in self.names.items() if ip in ips), None)

    async def addresses_of(self, host: str) -> list[str]:
        """The addresses that belong to a name."""
        if host.replace(".", "").isdigit() or ":" in host:
            return [host]
        found, seconds = self.names.get(host, ([], 0.0))
        if seconds == math.inf:
            await self.loop.create_future()  # for ever
        if seconds:
            await asyncio.sleep(seconds)
        if not found:
            raise socket.gaierror(socket.EAI_NONAME, f"{host!r} is no name of this world")
        return list(found)


def unread_of(sock: HostSocket) -> Iterator[bytes]:
    """What had arrived at a socket and was not read."""
    if sock.transport is not None:
        while sock.transport.salvaged:
            yield sock.transport.salvaged.pop(0)


__all__ = ["HostServer", "Network", "Way", "oserror", "unread_of"]
