"""``RunQueue``: whose turn it is on one event loop, and what is written at the end of a turn.

A loop that is asked to call back once per message spends more time on that than on the message.  So
mailboxes queue here, and one callback of the loop serves them, by turns: some entries of the first,
then of the next, until none is ready or 2 ms are over.  Then the sockets have their turn.

What handlers send is only gathered meanwhile.  At the end of a turn each destination is written
once, however many messages it was sent.
"""

from __future__ import annotations

import asyncio
import functools
import math
from collections import deque
from collections.abc import Callable
from typing import Any, Protocol

from compactor.actor.timed import Timed
from compactor.metrics.logs import logger
from compactor.metrics.samples import Samples
from compactor.system import clock

from .counts import Counts

log = logger("context")

_SAMPLE_SECONDS = 0.05
"""Seconds between two handlers that are timed, where looks at the clock for each would cost much.

Those that hold the loop for longer than this are nearly all among them.
"""

_BATCH = 64  # events of one mailbox before the next mailbox has its turn

TURN_SECONDS = 0.002
"""Seconds of handlers before sockets have theirs: a request on another connection waits for two of
these, of the mailboxes and of the connection that floods.
"""


class Flushable(Protocol):
    """Something that gathers writes and sends them once a turn."""

    def flush(self) -> None:
        """Write what was gathered.  What fails and can be tried again asks for another flush."""


class Ready(Protocol):
    """What is served when it is its turn."""

    def drain(self, limit: int) -> Any:
        """Do what there is to do, up to so many things; return the last, if it is an entry."""


class RunQueue:
    """Mailboxes with something to do, and peers with something to write, of one event loop.

    Serving happens in turns.  A turn is a callback of the loop: ``run``, or the arrival of data,
    which is bracketed by ``begin_turn`` and ``end_turn``.  What is written in a turn leaves at its
    end, in one write per destination; after an arrival it waits for the ``run`` that comes next, if
    one does, which may add to it.

    Attributes:
        is_in_turn: whether a turn holds writes back until its end.
        now: the clock of turns.
        turn_end: when the time of this ``run``, or the last one, is over.
        samples_next: whether the next message that is served as it arrives is to be timed.
        unlooked: how many entries the last mailbox has served since it looked at the clock.
        samples: what is timed, and how long it took.
        counts: those that mailboxes begin with.
    """

    __slots__ = (
        "_dirty",
        "_loop",
        "_reader",
        "_reader_end",
        "_ready",
        "_sample_due",
        "_samples_next_async",
        "_scheduled",
        "_scheduled_at",
        "_slow_after",
        "_tell_slow",
        "_times_schedule",
        "counts",
        "is_in_turn",
        "now",
        "samples",
        "samples_next",
        "turn_end",
        "unlooked",
    )

    def __init__(self) -> None:
        self._loop: asyncio.AbstractEventLoop | None = None
        self._ready: deque[Ready] = deque()
        self._dirty: list[Flushable] = []
        self._scheduled = False
        self.now = clock.now
        self.is_in_turn = False
        self.turn_end = 0.0
        self._reader = 0
        self._reader_end = 0.0
        self.unlooked = 0
        self._slow_after = math.inf
        self.samples_next = self._samples_next_async = True
        self._sample_due = 0.0
        self.samples = Samples()
        self.counts = Counts(self.samples, is_shared=True)
        self._times_schedule = True
        self._scheduled_at = -1.0
        self._tell_slow: Callable[[Any, Any, int, float], Any] | None = None

    def watch(self, slow_after: float, tell_slow: Callable[[Any, Any, int, float], Any]) -> None:
        """Have handlers told of that hold the loop for more than ``slow_after`` seconds.

        Args:
            tell_slow: called with the mailbox, its last entry, how many it may have been before
                that one, with it, and the seconds.
        """
        self._slow_after = slow_after
        self._tell_slow = tell_slow

    def tell_if_slow(self, mailbox: Any, entry: Any, unlooked: int, seconds: float) -> None:
        """Tell of a mailbox that held the loop for so long, if that is too long."""
        if self._tell_slow is not None and seconds > self._slow_after:
            self._tell_slow(mailbox, entry, unlooked, seconds)

    def sampled(self, coroutine: Any, mailbox: Any, entry: Any) -> Any:
        """An ``async`` handler of a mailbox, its steps timed if it is one of the sample."""
        if not self._samples_next_async or self._tell_slow is None:
            return coroutine
        self._samples_next_async = False
        tell = functools.partial(self.tell_if_slow, mailbox, entry, 1)
        return Timed(coroutine, self._slow_after, tell)

    def attach(self, loop: asyncio.AbstractEventLoop) -> None:
        """Take turns on ``loop`` from now on; what was scheduled before comes first."""
        self._loop = loop
        self._schedule()

    @property
    def loop(self) -> asyncio.AbstractEventLoop:
        assert self._loop is not None
        return self._loop

    def schedule(self, ready: Ready) -> None:
        """Give ``ready`` a turn."""
        self._ready.append(ready)
        if not (self.is_in_turn or self._scheduled):
            self._schedule()

    def flush_soon(self, flushable: Flushable) -> None:
        """Flush ``flushable`` at the end of this turn."""
        self._dirty.append(flushable)
        if not (self.is_in_turn or self._scheduled):
            self._schedule()

    def _schedule(self) -> None:
        if not self._scheduled and self._loop is not None and (self._ready or self._dirty):
            self._loop.call_soon(self.run)
            self._scheduled = True
            if self._times_schedule:
                self._times_schedule = False
                self._scheduled_at = self.now()

    def look_again(self) -> None:
        """Take the turn that is due; a loop that had no memory to call ``run`` has forgotten it."""
        self._scheduled = False
        self._schedule()

    def begin_turn(self) -> None:
        """Hold writes back until ``end_turn``."""
        self.is_in_turn = True

    def end_turn(self, is_run: bool = False) -> None:
        """Write what the turn has gathered, unless more mailboxes are ready to add to it.

        A flush that fails is logged and harms no other; after Control-C, it and those behind it
        are flushed in the next turn.

        Args:
            is_run: whether the turn is ``run``; then all is written, as some may always be ready.
        """
        dirty = self._dirty
        flushed = 0
        try:
            if dirty and (is_run or not self._ready):
                for flushable in dirty:  # a flush may add to them
                    try:
                        flushable.flush()
                    except Exception:
                        log.exception("what a turn has gathered cannot be written: %r", flushable)
                    flushed += 1
                flushed = 0
                dirty.clear()
        finally:
            if flushed:
                del dirty[:flushed]
            self.is_in_turn = False
            if dirty or self._ready:
                self._schedule()

    def is_hogged_by(self, reader: int) -> bool:
        """Whether no other reader has filled a read for the time of a turn; asked at each.

        Args:
            reader: tells one from another.
        """
        now = self.now()
        if reader != self._reader:
            self._reader = reader
            self._reader_end = now + TURN_SECONDS
            return False
        if now < self._reader_end:
            return False
        self._reader = 0
        return True

    def run(self) -> None:
        """Serve mailboxes until none is ready or the time of a turn is over."""
        self._scheduled = False
        self.is_in_turn = True
        ready = self._ready
        before = self.now()
        self.turn_end = before + TURN_SECONDS
        if before > self._sample_due:
            self._sample_due = before + _SAMPLE_SECONDS
            self.samples_next = self._samples_next_async = self._times_schedule = True
        if self._scheduled_at >= 0:
            self.samples.loop_lag.record(max(before - self._scheduled_at, 0.0))
            self._scheduled_at = -1.0
        try:
            while ready:
                served = ready.popleft()
                last = served.drain(_BATCH)
                now = self.now()
                if now > self.turn_end:
                    if last is not None:
                        self.tell_if_slow(served, last, self.unlooked, now - before)
                    break
                before = now
        finally:
            self.end_turn(True)
