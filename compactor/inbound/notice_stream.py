"""``NoticeStream``: what one observer is told, as the body of an answer that does not end."""

from __future__ import annotations

import asyncio
import math
from collections import deque
from collections.abc import Callable, Iterator

from compactor.actor.slices import Slices
from compactor.errors import Reason
from compactor.net.memory import cut
from compactor.pid import Address
from compactor.wire.notices import ALIVE, DRAINING, EXITED, REFUSED, encode

_MAX_UNREAD = 4 * 1024 * 1024
"""Bytes of notices that one observer leaves unread before its stream is cut.  It asks for another
one, and is told what holds by then, so nothing is lost.
"""
_TERMINATED = (Reason.TERMINATED.value,)
_MAX_DUE = 64 * 1024  # bytes of notices of one stream that wait for their turn to be written


class NoticeStream:
    """The notices for one observer.

    Args:
        transport: the connection that it has asked on, which carries nothing else.
        turns: has what one turn tells leave in one write.
        interval: seconds without a notice after which one says that we live.
        wrote: called whenever more was written.
        cut: gives the connection up, and says why.

    Attributes:
        observed: the processes that it tells of, by id.
        at: where the observer listens, if that is known.
    """

    def __init__(
        self,
        transport: asyncio.Transport,
        turns: NoticeTurns,
        interval: float,
        wrote: Callable[[], None],
        cut: Callable[[str], None],
    ) -> None:
        self.observed: dict[str, Watched] = {}
        self.at: Address | None = None
        self._transport = transport
        self._turns = turns
        self._interval = interval
        self._wrote = wrote
        self._cut = cut
        self._due: list[bytes] = []
        self._due_bytes = 0
        self._beat: asyncio.TimerHandle | None = None
        self._has_told = True
        self._is_closed = False
        self._look()

    def tell(self, word: str, *values: str) -> None:
        """Send a notice at the end of this turn."""
        if self._is_closed:
            return
        if not self._due:
            self._turns.write_soon(self)
        line = encode(word, *values)
        self._due.append(line)
        self._due_bytes += len(line)
        if self._due_bytes > _MAX_DUE:
            self.write()

    def refused(self, id_: str, name: str, reason: Reason, *sender: str) -> None:
        """A message of the observer was not taken.

        Args:
            sender: the id of its sender, if that matters.
        """
        if reason is Reason.DRAINING:
            self.tell(DRAINING, *sender)
            reason = Reason.STOPPED  # as those know it who do not know the other notice
        self.tell(REFUSED, id_, name, reason.value, *sender)

    def write(self) -> None:
        """Write what is due."""
        due, self._due = self._due, []
        self._due_bytes = 0
        if not due or self._transport.is_closing():
            return
        self._has_told = True
        try:
            self._transport.write(b"".join(due))
        except MemoryError:  # it asks for another stream, and nothing is lost
            self.close()
            cut(self._transport)
            return
        if self._transport.get_write_buffer_size() > _MAX_UNREAD:
            self.close()
            self._cut(f"it leaves more than {_MAX_UNREAD} bytes of notices unread")
        else:
            self._wrote()

    def _look(self) -> None:
        if not self._has_told:
            self.tell(ALIVE)
        self._has_told = False
        if math.isfinite(self._interval):  # half of it, for a notice may be that old by then
            self._beat = self._turns.loop.call_later(self._interval / 2, self._look)

    def cut(self) -> None:
        """End it, without any of what is due."""
        self.close()
        self._transport.abort()

    def close(self) -> None:
        """Tell nothing any more."""
        self._is_closed = True
        self._due = []
        if self._beat is not None:
            self._beat.cancel()


class NoticeTurns:
    """The streams that something is due on, which are written to at the end of a turn, in slices.

    Args:
        slices: those of the context.
    """

    def __init__(self, slices: Slices) -> None:
        self._slices = slices
        self._streams: deque[NoticeStream] = deque()
        self._is_due = False
        self._is_writing = False

    @property
    def loop(self) -> asyncio.AbstractEventLoop:
        return self._slices.run_queue.loop

    def write_soon(self, stream: NoticeStream) -> None:
        """Have a stream write what is due."""
        self._streams.append(stream)
        if not self._is_due:
            self._is_due = True
            self._slices.run_queue.flush_soon(self)

    def flush(self) -> None:
        """Write what this turn has told."""
        self._is_due = False
        if not self._is_writing:
            self._is_writing = True
            self._slices.work(self._write())

    def _write(self) -> Iterator[None]:
        try:
            while self._streams:
                self._streams.popleft().write()
                yield
        finally:
            self._is_writing = False


class Watched:
    """A process that was asked for, and the streams that have not been told of its end."""

    __slots__ = ("end", "id", "mark", "streams")

    def __init__(self, id_: str, mark: str) -> None:
        self.id = id_  # the same text for all of them
        self.mark = mark
        self.streams: dict[NoticeStream, None] = {}  # in order
        self.end: tuple[str, ...] = _TERMINATED

    def tell_end(self, stream: NoticeStream) -> None:
        """Tell one of them."""
        self.streams.pop(stream, None)
        stream.observed.pop(self.id, None)
        stream.tell(EXITED, self.id, *self.end)
