"""Who feeds what is too full, and waits: the reading side of a socket, or a coroutine."""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import Callable, Iterator
from typing import Protocol

FULL_READ = 256_000
"""Bytes of the largest read of uvloop, and nearly of asyncio.  uvloop reads up to 32 of them before
it looks at any other socket.
"""

_SALVAGE_READ = 256 * 1024


class Feeder(Protocol):
    """Somebody who adds no more until it is released."""

    def release(self, reason: object) -> None: ...


class Full(Protocol):
    """What has feeders, and releases them when most of it is gone."""

    feeders: dict[Feeder, None] | None


class Waiter:
    """A coroutine that waits to be released."""

    def __init__(self) -> None:
        self.released: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def release(self, _reason: object) -> None:
        """Let the coroutine go on."""
        if not self.released.done():
            self.released.set_result(None)


async def released_by(full: Full) -> None:
    """Wait until what is full releases its feeders."""
    waiter = Waiter()
    if full.feeders is None:
        full.feeders = {}
    full.feeders[waiter] = None
    try:
        await waiter.released
    finally:
        if full.feeders is not None:
            full.feeders.pop(waiter, None)  # it was cancelled


class ReadGate:
    """Reads from a transport while no reason holds it back.

    Args:
        transport: the transport.
        opened: called whenever none does any more.

    Attributes:
        is_resting: whether others have their turn.
    """

    __slots__ = ("_held", "_opened", "_transport", "is_resting")

    def __init__(
        self, transport: asyncio.Transport, opened: Callable[[], object] | None = None
    ) -> None:
        self._transport = transport
        self._opened = opened
        self._held: set[object] = set()
        self.is_resting = False

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
            if not self._held and not self._transport.is_closing():
                if not self.is_resting:
                    self._transport.resume_reading()
                if self._opened is not None:
                    self._opened()

    def rest(self) -> None:
        """Pause reading until ``go_on``, so that others have their turn."""
        if not self._held and not self.is_resting and not self._transport.is_closing():
            self._transport.pause_reading()
        self.is_resting = True

    def go_on(self) -> None:
        """Read on, unless there is a reason not to."""
        self.is_resting = False
        if not self._held and not self._transport.is_closing():
            self._transport.resume_reading()


def unread_data(transport: asyncio.Transport) -> Iterator[bytes]:
    """What a broken connection still has in its receive queue.

    A transport that fails to write drops what it had not read.  The kernel still has it, until
    the socket is closed, which happens after ``connection_lost``.  TLS below has done it by then.
    """
    info = transport.get_extra_info("socket")
    is_tls = transport.get_extra_info("ssl_object") is not None
    if info is None or info.fileno() < 0 or is_tls:
        return
    with socket.socket(fileno=os.dup(info.fileno())) as unread:
        unread.setblocking(False)
        while True:
            try:
                data = unread.recv(_SALVAGE_READ)
            except OSError:
                return
            if not data:
                return
            yield data
