"""``LingeringClose``: send the end, and close once the peer has read all, or reads no more.

A socket that is closed while bytes from its peer are unread, or on their way, resets the
connection, and that destroys what the peer has not read yet.  nginx has the same, by this name.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable

from compactor.net.memory import Cuttable, cuts_without_memory


class LingeringClose:
    """The last part of a connection's life, in which only its peer has something to do.

    Args:
        connection: is cut if there is no memory to wait.
        transport: its transport.
        loop: the loop of both.
        left: tells how much the peer has still to do; nothing, or no less than before, ends it.
        abort: closes at once.
        patience: seconds in which the peer has to do something.
    """

    __slots__ = ("_abort", "_connection", "_left", "_loop", "_patience", "_timer", "_transport")

    def __init__(
        self,
        connection: Cuttable,
        transport: asyncio.Transport,
        loop: asyncio.AbstractEventLoop,
        left: Callable[[], int],
        abort: Callable[[], None],
        patience: float,
    ) -> None:
        self._connection = connection
        self._transport = transport
        self._loop = loop
        self._left = left
        self._abort = abort
        self._patience = patience
        self._timer: asyncio.TimerHandle | None = None

    def send_end(self, grace: float | None = None) -> None:
        """Send our end, and wait.

        Args:
            grace: seconds in which the peer need not do anything; without any, it is looked at
                from now on.
        """
        try:
            self._transport.write_eof()
        except OSError:  # it has been reset; the loop has not noticed yet
            self._transport.abort()
        else:
            self.wait(grace)

    def wait(self, grace: float | None = None) -> None:
        """Wait for the peer, without sending our end."""
        if grace is None:
            self._look(math.inf)
        else:
            self._timer = self._loop.call_later(grace, self._look, math.inf)

    def cancel(self) -> None:
        """The connection has ended."""
        if self._timer is not None:
            self._timer.cancel()

    @cuts_without_memory
    def _look(self, before: float) -> None:
        left = self._left()
        if 0 < left < before:
            self._timer = self._loop.call_later(self._patience, self._look, left)
        else:
            self._abort()

    def out_of_memory(self) -> None:
        """Give up the connection."""
        self._connection.out_of_memory()
