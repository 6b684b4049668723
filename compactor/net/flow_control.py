"""Flow control: when a socket is read, when it rests, and who waits for room in what is full."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from typing import Protocol

from compactor.net.memory import Cuttable, cuts_without_memory
from compactor.system.system import system

FULL_READ = 256_000
"""Bytes of the largest read of uvloop, and nearly of asyncio.  uvloop reads up to 32 of them before
it looks at any other socket.
"""


class Feeder(Protocol):
    """Somebody who adds to what is full, and waits until it is released."""

    def release(self, reason: object) -> None: ...


class Full(Protocol):
    """Something that may be full, and releases its feeders once most of it is gone."""

    feeders: dict[Feeder, None] | None


class _WaitingFeeder:
    """A coroutine that feeds what is full, and waits until it is released."""

    def __init__(self) -> None:
        self.released: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def release(self, reason: object) -> None:
        """Let the coroutine go on."""
        if not self.released.done():
            self.released.set_result(None)


async def released_by(full: Full) -> None:
    """Wait until what is full releases its feeders."""
    waiter = _WaitingFeeder()
    add_feeder(full, waiter)
    try:
        await waiter.released
    finally:
        if full.feeders is not None:
            full.feeders.pop(waiter, None)  # it was cancelled


def add_feeder(full: Full, feeder: Feeder) -> None:
    """Have somebody released once most is gone of what is full."""
    if full.feeders is None:
        full.feeders = {}
    full.feeders[feeder] = None


def release_feeders(full: Full) -> None:
    """Have all go on who feed what was full."""
    feeders, full.feeders = full.feeders, None
    for feeder in feeders or ():
        feeder.release(full)


class ReadGate:
    """Has a transport read while nothing holds it back, and rest while other sockets are served.

    Args:
        connection: is cut if there is no memory to read on.
        transport: its transport.
        loop: the loop of both.
        rested: called after each rest, to go on with what is left over.
        opened: called whenever the last reason not to read is over.

    Attributes:
        is_resting: whether others have their turn.
    """

    __slots__ = ("_connection", "_held", "_loop", "_opened", "_rested", "_transport", "is_resting")

    def __init__(
        self,
        connection: Cuttable,
        transport: asyncio.Transport,
        loop: asyncio.AbstractEventLoop,
        rested: Callable[[], object],
        opened: Callable[[], object] | None = None,
    ) -> None:
        self._connection = connection
        self._transport = transport
        self._loop = loop
        self._rested = rested
        self._opened = opened
        self._held: set[object] = set()
        self.is_resting = False

    @property
    def has_reasons(self) -> bool:
        """Whether somebody will still release it, if only to say that all is over."""
        return bool(self._held)

    @property
    def is_held(self) -> bool:
        """Whether there is a reason not to read; reading of a transport that closes is over."""
        return bool(self._held) and not self._transport.is_closing()

    def hold(self, reason: object) -> None:
        """Pause reading for ``reason``, any hashable."""
        if not self._held and not self.is_resting and not self._transport.is_closing():
            self._transport.pause_reading()
        self._held.add(reason)

    def release(self, reason: object) -> None:
        """``reason`` is over; read on if it was the last."""
        if reason in self._held:
            self._held.discard(reason)
            if not self._held:
                if not (self.is_resting or self._transport.is_closing()):
                    self._transport.resume_reading()
                if self._opened is not None:
                    self._opened()

    def rest(self) -> None:
        """Pause reading until the loop has looked at other sockets."""
        if self.is_resting:
            return
        if not self._held and not self._transport.is_closing():
            self._transport.pause_reading()
        self.is_resting = True
        self._loop.call_soon(self._go_on)

    @cuts_without_memory
    def _go_on(self) -> None:
        """Read on, unless there is a reason not to."""
        self.is_resting = False
        if not self._held and not self._transport.is_closing():
            self._transport.resume_reading()
        self._rested()

    def out_of_memory(self) -> None:
        """Give up the connection."""
        self._connection.out_of_memory()


def unread_data(transport: asyncio.Transport) -> Iterator[bytes]:
    """What a broken connection still has in its receive queue.

    A transport that fails to write drops what it had not read.  The kernel still has it, until
    the socket is closed, which happens after ``connection_lost``.  TLS has read it by then.  Where
    there is no memory for it, it is lost.
    """
    if transport.get_extra_info("ssl_object") is None:
        yield from system().unread(transport.get_extra_info("socket"))
