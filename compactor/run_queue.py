"""``RunQueue``: whose turn it is on one event loop, and what is written at the end of a turn."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from typing import Any, Protocol

_BATCH = 64  # events of one mailbox before the next mailbox has its turn

TURN_SECONDS = 0.002
"""Seconds of handlers before sockets have theirs: a request on another connection waits for two of
these, of the mailboxes and of the connection that floods.
"""


class Flushable(Protocol):
    """Something that gathers writes and sends them once a turn."""

    def flush(self) -> None: ...


class RunQueue:
    """Mailboxes with something to do, and peers with something to write, of one event loop.

    Serving happens in turns.  A turn is a callback of the loop: ``run``, or the arrival of data,
    which is bracketed by ``begin_turn`` and ``end_turn``.  What is written in a turn leaves at its
    end, in one write per destination; after an arrival it waits for the ``run`` that comes next, if
    one does, which may add to it.

    Attributes:
        turn_end: when the time of this ``run``, or the last one, is over.
    """

    __slots__ = (
        "_dirty",
        "_in_turn",
        "_loop",
        "_reader",
        "_reader_end",
        "_ready",
        "_scheduled",
        "turn_end",
    )

    def __init__(self) -> None:
        self._loop: asyncio.AbstractEventLoop | None = None
        self._ready: deque[Any] = deque()
        self._dirty: list[Flushable] = []
        self._scheduled = False
        self._in_turn = False
        self.turn_end = 0.0
        self._reader = 0
        self._reader_end = 0.0

    def attach(self, loop: asyncio.AbstractEventLoop) -> None:
        """Take turns on ``loop`` from now on; what was scheduled before comes first."""
        self._loop = loop
        self._schedule()

    @property
    def loop(self) -> asyncio.AbstractEventLoop:
        assert self._loop is not None
        return self._loop

    def schedule(self, mailbox: Any) -> None:
        """Give ``mailbox`` a turn."""
        self._ready.append(mailbox)
        if not self._in_turn:
            self._schedule()

    def flush_soon(self, flushable: Flushable) -> None:
        """Flush ``flushable`` at the end of this turn."""
        self._dirty.append(flushable)
        if not self._in_turn:
            self._schedule()

    def _schedule(self) -> None:
        if not self._scheduled and self._loop is not None and (self._ready or self._dirty):
            self._scheduled = True
            self._loop.call_soon(self.run)

    def begin_turn(self) -> None:
        """Hold writes back until ``end_turn``."""
        self._in_turn = True

    def end_turn(self) -> None:
        """Write what the turn has gathered, unless more mailboxes are ready to add to it."""
        self._end_turn(not self._ready)

    def is_hogged_by(self, reader: int) -> bool:
        """Whether no other reader has filled a read for the time of a turn; asked at each.

        Args:
            reader: tells one from another.
        """
        now = time.perf_counter()
        if reader != self._reader:
            self._reader = reader
            self._reader_end = now + TURN_SECONDS
            return False
        if now < self._reader_end:
            return False
        self._reader = 0
        return True

    def _end_turn(self, is_flushing: bool) -> None:
        try:
            if is_flushing:
                for flushable in self._dirty:  # a flush may add to them
                    flushable.flush()
                self._dirty.clear()
        finally:
            self._in_turn = False
            if self._ready or self._dirty:
                self._schedule()

    def run(self) -> None:
        """Serve mailboxes until none is ready or the time of a turn is over."""
        self._scheduled = False
        self.begin_turn()
        ready = self._ready
        self.turn_end = time.perf_counter() + TURN_SECONDS
        try:
            while ready:
                ready.popleft().drain(_BATCH)
                if time.perf_counter() > self.turn_end:
                    break
        finally:
            self._end_turn(True)  # some mailbox may always be ready
