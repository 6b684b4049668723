"""``System``: sockets, names and chance, as the operating system gives them."""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

from compactor.system import clock, machine, names, sockets


class Acknowledged(NamedTuple):
    """What the machine of a peer has acknowledged.

    Attributes:
        is_due: whether something was sent, or asked, that it has not acknowledged.
        ago: seconds since it has acknowledged anything.
    """

    is_due: bool
    ago: float


class System:
    """The machine that this program runs on.

    Sockets are passed around as ``Any``: of them, their ``getsockname``, ``getpeername``,
    ``listen``, ``setblocking``, ``fileno``, ``detach`` and ``close`` are used, and event loops take
    them.
    """

    # Sockets

    def bind(self, ip: str, port: int) -> Any:
        """A socket that is bound to an address, and does not listen yet.

        Raises:
            socket.gaierror: there is no such address.
            OSError: it cannot be bound.
        """
        return sockets.bind(ip, port)

    async def connect(self, loop: asyncio.AbstractEventLoop, ip: str, port: int) -> Any:
        """A socket that is connected to an address.

        Raises:
            OSError: it cannot be connected.
        """
        return await sockets.connect(loop, ip, port)

    def address_towards(self, family: socket.AddressFamily, elsewhere: tuple[str, int]) -> str:
        """The own address from which packets to another one would leave; empty if none would."""
        return sockets.address_towards(family, elsewhere)

    def keep_alive(
        self, sock: Any, idle: int, interval: int, count: int, timeout: float
    ) -> Iterator[tuple[str, str]]:
        """Have the machine of the peer asked now and again whether it is there.

        Args:
            idle: seconds of silence before the first probe.
            interval: seconds between two probes.
            count: probes without an answer that end the connection.
            timeout: seconds after which unacknowledged data ends it, where that can be said.

        Returns:
            What this system cannot do, with the reason.
        """
        return sockets.keep_alive(sock, idle, interval, count, timeout)

    def unacknowledged(self, sock: Any) -> int:
        """Bytes that are held until the peer's machine has them, the end of the stream among them
        as one; 0 where the system does not tell.
        """
        return sockets.unacknowledged(sock)

    def acknowledged(self, sock: Any) -> Acknowledged | None:
        """What the peer's machine has acknowledged; None where the system does not tell, or if the
        socket is closed.
        """
        told = sockets.acknowledged(sock)
        return None if told is None else Acknowledged(*told)

    def unread(self, sock: Any) -> Iterator[bytes]:
        """What has arrived, and was not read; the socket may have been given up by its loop."""
        return sockets.unread(sock)

    def copy_of(self, sock: Any) -> int | None:
        """A descriptor of a connection for ``send_file``, to be closed by who asks; None where
        there is none to be had.
        """
        return sockets.copy_of(sock)

    def send_file(self, connection: int, file: int, start: int, size: int) -> int:
        """Have the machine send some of a file, as far as a connection takes it right now.

        Returns:
            The bytes that it took.
        """
        return sockets.send_file(connection, file, start, size)

    # Names

    async def addresses_of(self, host: str, port: int) -> list[str]:
        """The addresses of a host, in the order in which they are to be tried.

        Raises:
            OSError, UnicodeError: it has none.
        """
        return await names.resolve(host, port)

    async def name_of(self, ip: str) -> str | None:
        """The name that belongs to an address, or None."""
        return await names.name_of(ip)

    # Chance

    def random_bytes(self, size: int) -> bytes:
        """Bytes that nobody can guess."""
        return os.urandom(size)

    def chance(self) -> float:
        """Any number from 0 to below 1."""
        return int.from_bytes(os.urandom(6), "big") / 2.0**48

    # The machine

    def load(self) -> dict[str, float]:
        """The load of the machine and its memory, as far as it tells, by libprocess's names."""
        return {**machine.load(), **machine.memory()}

    # Time

    def monotonic(self) -> float:
        """Seconds since some moment, on the clock of this machine that only goes on."""
        return clock.now()

    # Threads

    def own_loop(self) -> asyncio.AbstractEventLoop | None:
        """The loop of contexts that were given none; None if each has its own, in a thread."""
        return None

    def made(self, context: Any) -> None:
        """A context was made, and will run on this system."""


_machine = System()

elsewhere: Callable[[], System | None] = lambda: None  # noqa: E731
"""The system of the caller, where it is not this machine."""


def is_this_machine() -> bool:
    """Whether the caller runs on no other system than that of this OS process."""
    return elsewhere() is None


def system() -> System:
    """The system that the caller runs on."""
    return elsewhere() or _machine
