"""What becomes of a connection for which there is no memory: it is cut, and all else goes on."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import socket
from collections.abc import Callable
from typing import Any, Protocol, TypeVar

Returned = TypeVar("Returned")


class Cuttable(Protocol):
    """A connection that can be given up."""

    def out_of_memory(self) -> None: ...


def cuts_without_memory(callback: Callable[..., Returned]) -> Callable[..., Returned | None]:
    """Have a method that a loop calls cut its connection when it finds no memory.

    A loop would log the ``MemoryError``, and nobody would do what is left to do.
    """

    @functools.wraps(callback)
    def guarded(connection: Cuttable, *args: Any) -> Returned | None:
        try:
            return callback(connection, *args)
        except MemoryError:
            connection.out_of_memory()
            return None

    return guarded


def cut(transport: asyncio.Transport) -> None:
    """Close a connection at once, without any memory if need be; on the loop's thread."""
    sock = transport.get_extra_info("socket")
    try:
        # asyncio first watches the socket for room, then stores what is to be written.  If it has
        # no memory to store it, it watches for ever, and then the next socket of this number.
        forget = getattr(asyncio.get_running_loop(), "_remove_writer", None)
        if forget is not None and sock is not None and sock.fileno() >= 0:
            forget(sock.fileno())
        transport.abort()
    except MemoryError:
        with contextlib.suppress(OSError, MemoryError):
            if sock is not None:
                sock.shutdown(socket.SHUT_RDWR)
