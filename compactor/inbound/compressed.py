"""``Inflations``: bodies that came compressed, inflated when the mailbox they are for has room.

A body of 100 KB may become 100 MiB.  So a connection that has brought one rests as long as that
mailbox is full, with what it brought still compressed.  Of those who wait for one mailbox, one has
its body inflated at a time, and the next one when that is in the mailbox and has left room.  What
takes long is done in slices, one for all mailboxes between two looks at the sockets.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Protocol

from compactor.actor.backlog import Backlog
from compactor.actor.mailbox import ENDED, Mailbox
from compactor.actor.run_queue import TURN_SECONDS
from compactor.errors import RemoteProtocolError
from compactor.net.flow_control import released_by
from compactor.settings import Settings
from compactor.system import clock
from compactor.wire.inflate import Inflater
from compactor.wire.request_head import Head

_AT_ONCE = 8  # steps of a tenth of a millisecond; what takes more is done in slices


class Waiting(Protocol):
    """The connection that has brought a body, and does nothing else until it is called back."""

    def wait_for_body(self) -> None: ...
    def body_inflated(self, head: Head, body: bytes) -> None: ...
    def body_refused(self, error: RemoteProtocolError) -> None: ...
    def out_of_memory(self) -> None: ...


class _Line:
    """Those who wait for one mailbox."""

    __slots__ = ("count", "turn")

    def __init__(self) -> None:
        self.count = 0
        self.turn = asyncio.Lock()


class Inflations:
    """The compressed bodies of one server.

    Args:
        settings: have the bounds.
        backlog: tells how many bytes are too many for a mailbox.
        mailbox_of: the mailbox that a message or request is for; None if there is none.
    """

    def __init__(
        self, settings: Settings, backlog: Backlog, mailbox_of: Callable[[Head], Mailbox | None]
    ) -> None:
        self._max_bytes = settings.max_inflated_bytes
        self._high_water = settings.mailbox_high_water
        self._backlog = backlog
        self._mailbox_of = mailbox_of
        self._lines: dict[Mailbox, _Line] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._slice = asyncio.Lock()

    def inflate(self, connection: Waiting, head: Head, body: bytes) -> bytes | None:
        """Inflate a body at once, if that takes little and there is room for it.

        Returns:
            The body, as it came if nobody will have it.  None if the connection has to wait, until
            it is given the body or an error.
        """
        mailbox = self._mailbox_of(head)
        if mailbox is None:
            return body
        loop = asyncio.get_running_loop()
        if not self._is_full(mailbox):
            try:
                plain = self._inflate_some(head, body)
            except RemoteProtocolError as error:
                loop.call_soon(connection.body_refused, error)
                connection.wait_for_body()
                return None
            if plain is not None:
                return plain
        line = self._lines.setdefault(mailbox, _Line())
        line.count += 1
        task = loop.create_task(self._inflate_in_turn(connection, mailbox, line, head, body))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        connection.wait_for_body()
        return None

    def _is_full(self, mailbox: Mailbox) -> bool:
        """As ``Delivery.hold_if_full`` has it."""
        if len(mailbox.queue) > self._high_water:
            return True
        return mailbox.large_bytes > self._backlog.high_water

    def _inflate_some(self, head: Head, body: bytes) -> bytes | None:
        """The body, unless it takes long; then nothing of it is kept, for many may come at once."""
        inflater = Inflater(body, self._max_bytes, head.coding)
        for _ in range(_AT_ONCE):
            if inflater.is_done:
                break
            inflater.step()
        return inflater.result() if inflater.is_done else None

    async def _inflate_in_turn(
        self, connection: Waiting, mailbox: Mailbox, line: _Line, head: Head, body: bytes
    ) -> None:
        try:
            async with line.turn:
                while self._is_full(mailbox):
                    await released_by(mailbox)
                inflater = Inflater(body, self._max_bytes, head.coding)
                async with self._slice:
                    await _inflate_for(mailbox, inflater)
                if inflater.is_done:
                    connection.body_inflated(head, inflater.result())
                    return
            # The process has ended; another one may have its id.
            plain = self.inflate(connection, head, body)
            if plain is not None:
                connection.body_inflated(head, plain)
        except RemoteProtocolError as error:
            connection.body_refused(error)
        except MemoryError:
            connection.out_of_memory()
        finally:
            line.count -= 1
            if not line.count:
                del self._lines[mailbox]


async def _inflate_for(mailbox: Mailbox, inflater: Inflater) -> None:
    while not inflater.is_done and mailbox.state != ENDED:
        end = clock.now() + TURN_SECONDS
        while not inflater.is_done and clock.now() < end:
            inflater.step()
        await asyncio.sleep(0)
