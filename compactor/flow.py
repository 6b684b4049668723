"""Pausing the reading side of a socket, for as many reasons as there are."""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import Iterator

_SALVAGE_READ = 256 * 1024


class ReadGate:
    """Reads from a transport while no reason holds it back."""

    __slots__ = ("_held", "_transport")

    def __init__(self, transport: asyncio.Transport) -> None:
        self._transport = transport
        self._held: set[object] = set()

    @property
    def is_held(self) -> bool:
        """Whether reading is paused."""
        return bool(self._held)

    def hold(self, reason: object) -> None:
        """Pause reading for ``reason``, any hashable."""
        if not self._held and not self._transport.is_closing():
            self._transport.pause_reading()
        self._held.add(reason)

    def release(self, reason: object) -> None:
        """``reason`` is over; read on if it was the last."""
        if reason in self._held:
            self._held.discard(reason)
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
