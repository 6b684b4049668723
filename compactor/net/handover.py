"""Connections between contexts of one OS process, in memory instead of through the kernel.

A context that hands over locally offers its address here, and looks here before it dials.  What it
gets is a transport like that of a socket, so all that is above knows no difference: bytes, their
order and their bounds, the end of a connection and what it means.
"""

from __future__ import annotations

import asyncio
import errno
import itertools
import os
from collections import deque
from collections.abc import Callable
from typing import Any, Final, TypeVar

from compactor.pid import Address

SomeProtocol = TypeVar("SomeProtocol", bound=asyncio.BaseProtocol)

_HIGH, _LOW = 64 * 1024, 16 * 1024  # bytes under way from which on writers rest, and go on again
_MOST_READ = 256 * 1024  # bytes that a protocol is given at a time, as uvloop does
_END: Final = None  # behind all that was written

_running_loop = asyncio._get_running_loop

_offers: dict[Address, Offer] = {}
_ports = itertools.count(1)


class Offer:
    """An address that contexts of this OS process connect to in memory.

    Args:
        address: that they dial.
        loop: that of whoever listens there.
        accept: makes the protocol of a connection, on that loop.
    """

    def __init__(
        self,
        address: Address,
        loop: asyncio.AbstractEventLoop,
        accept: Callable[[], asyncio.BaseProtocol],
    ) -> None:
        self.address = address
        self.loop = loop
        self.accept = accept
        self._ends: set[Handover] = set()  # of this side, until they are lost
        self._has_ended = False
        _offers[address] = self

    def withdraw(self) -> None:
        """Accept no more."""
        if _offers.get(self.address) is self:
            del _offers[self.address]

    def take(self, end: Handover) -> None:
        """Have a new end of this side accepted, on its loop.

        Raises:
            RuntimeError: nobody runs that any more.
        """
        end.when_lost = self._ends.discard
        self._ends.add(end)
        try:
            if self._has_ended:  # a moment ago, on another thread
                raise RuntimeError  # what its loop raises a moment later
            end.call(end.accept, self.accept)
        except RuntimeError:
            self._ends.discard(end)
            raise

    def end(self) -> None:
        """Accept no more, and lose what is left: nobody will run the loop for this context again.

        A loop that ends takes calls until the last moment, and does not make them.
        """
        self.withdraw()
        self._has_ended = True
        for end in list(self._ends):
            end.lose_both()


def offer_of(address: Address) -> Offer | None:
    """Who listens at an address in this OS process."""
    return _offers.get(address)


def connect(
    offer: Offer, loop: asyncio.AbstractEventLoop, make: Callable[[], SomeProtocol]
) -> SomeProtocol:
    """Connect a new protocol to whoever listens.

    Args:
        offer: theirs.
        loop: the running loop.
        make: makes the protocol of this end.

    Raises:
        ConnectionRefusedError: nobody runs that loop any more.
    """
    own = (offer.address[0], next(_ports) % 65535 + 1)  # as seen by the other end; nobody dials it
    here, there = Handover(loop, own, offer.address), Handover(offer.loop, offer.address, own)
    here.other, there.other = there, here
    here._is_one_loop = there._is_one_loop = loop is offer.loop
    try:
        offer.take(there)
    except RuntimeError:
        refused = errno.ECONNREFUSED
        raise ConnectionRefusedError(refused, os.strerror(refused)) from None
    protocol = make()
    here.open(protocol)
    return protocol


class _NoSocket:
    """What stands for a socket where there is none."""

    def fileno(self) -> int:
        return -1

    def getsockopt(self, *_: Any) -> bytes:
        raise OSError("there is no socket")

    def setsockopt(self, *_: Any) -> None:
        """No option matters."""

    def shutdown(self, how: int) -> None:
        """It has no descriptor that could be shut down."""


class Handover(asyncio.Transport):
    """One end of a connection in memory; all but ``call`` and ``_arrived`` is for its own loop.

    Args:
        loop: that of its protocol.
        sockname, peername: the addresses of this end and of the other.

    Attributes:
        other: the other end.
        when_lost: is told of this end once it is lost.
    """

    other: Handover
    when_lost: Callable[[Handover], None] | None = None

    def __init__(
        self, loop: asyncio.AbstractEventLoop, sockname: Address, peername: Address
    ) -> None:
        super().__init__({"sockname": sockname, "peername": peername, "socket": _NoSocket()})
        self._loop = loop
        self._protocol: Any = None
        self._receive: Callable[[bytes], Any] | None = None
        self._unread: deque[bytes | None] = deque()
        self._is_one_loop = False
        self._is_called = False  # to look at what has arrived
        self._is_paused = False  # reading
        self._is_full = False  # writing
        self._has_ended = False  # nothing more is written
        self._is_closing = False
        self._is_lost = False
        self._written = 0  # bytes, by this end
        self._taken = 0  # bytes, by this end, of what the other has written

    # From any thread

    def call(self, call: Callable[..., Any], *args: Any) -> None:
        """Have a call made on the loop of this end.

        Raises:
            RuntimeError: that has ended.
        """
        loop = self._loop
        if self._is_one_loop or _running_loop() is loop:
            loop.call_soon(call, *args)
        else:
            loop.call_soon_threadsafe(call, *args)

    def _arrived(self, data: bytes | None) -> None:
        """The other end has written something, or its end."""
        self._unread.append(data)
        if not self._is_called:
            self._is_called = True
            self._call_or_lose(self._read)
        elif self._loop.is_closed():  # after it has taken that call, and before it made it
            self.other._lose_soon(ConnectionResetError("the loop there has ended"))

    def _call_or_lose(self, call: Callable[..., Any], *args: Any) -> None:
        try:
            self.call(call, *args)
        except RuntimeError:  # nobody will read there any more
            self.other._lose_soon(ConnectionResetError("the loop there has ended"))

    # Beginning

    def accept(self, make: Callable[[], asyncio.BaseProtocol]) -> None:
        """Connect a protocol of whoever listens."""
        if self._is_lost:
            return  # before it began
        try:
            protocol = make()
        except ConnectionError:
            self.lose_both()
        else:
            self.open(protocol)

    def open(self, protocol: asyncio.BaseProtocol) -> None:
        """Connect a protocol."""
        self.set_protocol(protocol)
        protocol.connection_made(self)
        self._read_soon()

    # Writing

    def write(self, data: bytes | bytearray | memoryview) -> None:
        if self._has_ended or self._is_closing or not data:
            return
        content = data if type(data) is bytes else bytes(data)
        other = self.other
        written = self._written = self._written + len(content)
        if other._is_lost:
            self._lose_soon(ConnectionResetError("the other end is closed"))
            return
        other._arrived(content)
        if written - other._taken > _HIGH and not self._is_full:
            self._is_full = True
            self._protocol.pause_writing()
            if self.get_write_buffer_size() <= _LOW:  # it was read meanwhile, on its thread
                self._go_on()

    def writelines(self, list_of_data: Any) -> None:
        self.write(b"".join(list_of_data))

    def write_eof(self) -> None:
        if not (self._has_ended or self._is_closing):
            self._has_ended = True
            self.other._arrived(_END)

    def can_write_eof(self) -> bool:
        return True

    def get_write_buffer_size(self) -> int:
        return self._written - self.other._taken

    def get_write_buffer_limits(self) -> tuple[int, int]:
        return _LOW, _HIGH

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        """They are those of all."""

    def _go_on(self) -> None:
        if self._is_full and not self._is_lost:
            self._is_full = False
            self._protocol.resume_writing()

    # Reading

    def get_protocol(self) -> asyncio.BaseProtocol:
        protocol: asyncio.BaseProtocol = self._protocol
        return protocol

    def set_protocol(self, protocol: asyncio.BaseProtocol) -> None:
        self._protocol = protocol
        # None if it lends the place of what it is given.
        self._receive = getattr(protocol, "data_received", None)

    def is_reading(self) -> bool:
        return not self._is_paused and not self._is_closing

    def pause_reading(self) -> None:
        self._is_paused = True

    def resume_reading(self) -> None:
        self._is_paused = False
        self._read_soon()

    def _read_soon(self) -> None:
        if self._unread and not self._is_called:
            self._is_called = True
            self._loop.call_soon(self._read)

    def _read(self) -> None:
        """Give the protocol what has arrived, some in each turn of the loop."""
        self._is_called = False
        unread = self._unread
        if self._is_paused or self._is_lost or self._protocol is None or not unread:
            return
        if unread[0] is _END:
            unread.popleft()
            if not self._protocol.eof_received():
                self.close()
        else:
            self._give(self._next())
        if unread:
            self._read_soon()

    def _next(self) -> bytes:
        """Some of what has arrived."""
        unread = self._unread
        first = unread.popleft()
        assert first is not None
        if not unread or unread[0] is _END:
            self._took(len(first))
            return first
        parts, size = [first], len(first)
        while unread and (data := unread[0]) is not None and size + len(data) <= _MOST_READ:
            parts.append(data)
            size += len(data)
            unread.popleft()
        self._took(size)
        return b"".join(parts)

    def _took(self, size: int) -> None:
        self._taken += size
        other = self.other
        if other._is_full and other.get_write_buffer_size() <= _LOW:
            other._call_or_lose(other._go_on)

    def _give(self, data: bytes) -> None:
        receive, protocol = self._receive, self._protocol
        if receive is not None:
            receive(data)
            return
        rest = memoryview(data)
        while rest:
            place = memoryview(protocol.get_buffer(len(rest)))
            size = min(len(place), len(rest))
            place[:size] = rest[:size]
            rest = rest[size:]
            protocol.buffer_updated(size)
            if self._protocol is not protocol:  # that was all for it
                if rest:
                    self._give(bytes(rest))
                return

    # Ending

    def is_closing(self) -> bool:
        return self._is_closing

    def close(self) -> None:
        """Send the end, behind all that was written, and read no more."""
        if not self._is_closing:
            self.write_eof()
            self._is_closing = True
            self._loop.call_soon(self._lose, None)

    def abort(self) -> None:
        self.close()

    def _lose_soon(self, error: Exception | None) -> None:
        """The connection is lost; from any thread."""
        if not self._is_closing:
            try:
                self.call(self._break, error)
            except RuntimeError:  # the loop of this end has ended, too
                return

    def _break(self, error: Exception | None) -> None:
        if not self._is_closing:
            self._is_closing = True
            self._lose(error)

    def _lose(self, error: Exception | None) -> None:
        if self._is_lost:
            return
        if error is not None and self._protocol is not None:  # what had arrived before is handled
            while self._unread and self._unread[0] is not _END:
                self._give(self._next())
        self._is_lost = True
        if any(data is not _END for data in self._unread):  # as the kernel does
            self._reset_other()
        self._unread.clear()
        protocol, self._protocol = self._protocol, None
        if protocol is not None:
            protocol.connection_lost(error)

        if self.when_lost is not None:
            self.when_lost(self)

    def lose_both(self) -> None:
        """Lose this end at once, and have the other one lost."""
        if not self._is_closing:
            self._is_closing = True
            self._reset_other()
        self._lose(None)

    def _reset_other(self) -> None:
        self.other._lose_soon(ConnectionResetError("the other end has closed, and not read all"))
