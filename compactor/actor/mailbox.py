"""``Mailbox``: the FIFO of one process, served one event at a time."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Coroutine
from threading import get_ident, main_thread
from typing import Any

from compactor.actor.entries import LARGE, Entry, Event, discarded, initialize, start
from compactor.actor.events import then
from compactor.actor.mailbox_owner import MailboxOwner, release_if_low, report_failure, report_lost
from compactor.actor.routes import Call
from compactor.errors import Reason
from compactor.net.flow_control import Feeder, release_feeders
from compactor.pid import PID

from .run_queue import RunQueue
from .scopes import scopes

# The states of a mailbox.  READY is zero because every put asks for it.
READY, IDLE, CLOSED, SUSPENDED, ENDING, ENDED = range(6)
_NOTHING: tuple[()] = ()  # the queue of a mailbox that never had an entry
_TERMINATED = Reason.TERMINATED  # which takes a call of Python, as an attribute of an Enum
_QUICK = 4  # entries of a mailbox that is known to be quick, before the first look at the clock


def serve(event: Event, mailbox: Any) -> Any:
    """The call of every event that is not a message."""
    return event.serve(mailbox)


class Mailbox:
    """The FIFO of one process: one event at a time, whoever it came from.

    All of it is touched on the loop's thread only.  What an idle process does not need is made
    when it is first used: a program may have 100,000 of them.

    Attributes:
        pid, process: whose it is.
        queue: entries that wait.
        calls: the bound handlers by message name, as far as they have been used.
        outbox: the process's ``Outbox``, once it has sent something.
        paths: this mailbox's entries in the table of message paths.
        large_bytes: bytes of waiting messages whose body, or name and sender, are beyond ``LARGE``.
        counts: what it has counted.
    """

    __slots__ = (
        "_dropped",
        "_finalizing",
        "_first_look",
        "_owner",
        "_run_queue",
        "_scope",
        "_task",
        "calls",
        "counts",
        "feeders",
        "large_bytes",
        "outbox",
        "paths",
        "pid",
        "process",
        "queue",
        "state",
    )

    def __init__(self, process: Any, pid: PID, owner: MailboxOwner, run_queue: RunQueue) -> None:
        self.process = process
        self.pid = pid
        self.queue: Any = _NOTHING  # a deque of entries, once there has been one
        self.state = CLOSED
        self.outbox: Any = None
        self.paths: list[bytes] | None = None
        self.large_bytes = 0
        self.feeders: dict[Feeder, None] | None = None
        self._owner = owner
        self._run_queue = run_queue
        self._scope: Any = None  # as long as it is empty, and nothing was served
        self.calls: dict[str, Call] | None = None
        self._task: asyncio.Task[Any] | None = None
        self._dropped: Any = None  # what was queued when it was terminated at once
        self._finalizing = False
        self._first_look = 1  # at the clock, after so many entries
        self.counts = run_queue.counts  # until there is something to count

    def call_for(self, name: str) -> Call | None:
        """The bound handler of a message name, or None if there is none."""
        call = self.calls.get(name) if self.calls is not None else None
        if call is None:
            call = self._owner.bind(self.process, name)
            if call is not None:
                self.calls = self.calls or {}
                self.calls[name] = call
        return call

    # Putting

    def put(self, call: Call, a: Any, b: Any) -> None:
        """Add an entry; a mailbox of an ended process turns it into a dead letter."""
        if self.queue is _NOTHING:
            self.queue = deque()
        self.queue.append((call, a, b))
        if self.state:
            if self.state == IDLE:
                self.state = READY
                if self.counts.is_marking:
                    self.counts.mark(self._run_queue.now())
                self._run_queue.schedule(self)
            elif self.state == ENDED:
                self._discard(Reason.TERMINATED)

    def put_first(self, event: Event) -> None:
        """Add an event before all others."""
        self.counts.own(self).others += 1
        self.queue = self.queue or deque()
        self.queue.appendleft((serve, event, self))

    def serve_now(self, call: Call, a: Any, b: Any) -> None:
        """Serve an entry at once; only if the mailbox is idle, and outside of all handlers."""
        self.state = READY
        try:
            scope = self._scope
            if scope is None:
                scope = self._scope = scopes.new()
            result = scope.run(call, a, b)
        except BaseException as error:
            self._failed((call, a, b), error)
            if self.state != READY:
                return
        else:
            if result is not None and isinstance(result, Coroutine):
                self._suspend(result, (call, a, b))
                return
        if self.queue:
            self._run_queue.schedule(self)
        else:
            self.state = IDLE

    def put_event(self, event: Event) -> None:
        """Add an event that is not a message."""
        counts = self.counts
        if counts.is_shared:
            counts = counts.own(self)
        counts.others += 1
        self.put(serve, event, self)

    def put_message(self, call: Call, sender: PID, body: bytes) -> None:
        """Add a message; a body beyond ``LARGE`` bytes is accounted for."""
        if len(body) > LARGE:
            self.put_large(call, sender, body, len(body))
        else:
            self.put(call, sender, body)

    def put_large(self, call: Call, sender: PID, body: bytes, size: int) -> None:
        """Add a message that takes so many bytes."""
        self.account(size)
        self.put(self._serve_large, (call, sender, size), body)

    def _serve_large(self, message: tuple[Call, PID, int], body: bytes) -> Any:
        call, sender, size = message
        self.account(-size)
        return call(sender, body)

    def account(self, size: int) -> None:
        """So many bytes more, or fewer, are counted as large."""
        self.large_bytes += size
        self._owner.backlog.add(size)

    # Draining

    def initialize(self) -> Any:
        """Call ``initialize`` of the process, here and now, in a context of its own: a copy of the
        caller's, in which handlers run.  Any thread may call this, before the mailbox is opened.
        """
        scope = scopes.copy()
        result = scope.run(initialize, self.process, None)
        if len(scope):
            self._scope = scope
        return result

    def adopt_context(self) -> None:
        """Have the context of the process be a copy of the one that the caller runs in."""
        self._scope = scopes.copy()

    def open(self) -> None:
        """Let events through, once ``initialize`` has returned."""
        if self.state == CLOSED:
            self._resume()

    # In one piece: the loop over what waits, whose locals live in registers.
    def drain(self, limit: int) -> Any:
        """Serve some entries, fewer if one is awaited or the turn is over; return the last."""
        if self.state == ENDING:
            return self._serve_last()
        entry: Any = None
        counts, clock = self.counts.own(self), self._run_queue.now
        served, looked = 0, 0
        next_look = counts.first_look(len(self.queue), self._first_look, clock)
        while self.queue and served < limit:
            if served == next_look:
                now = clock()
                if counts.began >= 0:
                    counts.end(now)
                if now > self._run_queue.turn_end:
                    self._first_look = 1
                    break
                looked = served
                next_look *= 4  # after three times as many as were served
            served += 1
            call, a, b = entry = self.queue.popleft()
            try:
                if self._scope is None:
                    self._scope = scopes.new()
                result = self._scope.run(call, a, b)
            except BaseException as error:
                self._failed(entry, error)
                if self.state != READY:
                    break
            else:
                if result is not None and isinstance(result, Coroutine):
                    self._run_queue.unlooked = served - looked
                    counts.served(served, len(self.queue), clock)
                    self._suspend(result, entry)
                    return entry
        self._run_queue.unlooked = served - looked
        counts.served(served, len(self.queue), clock)
        if counts.began >= 0:
            counts.end(clock())
        if self.feeders is not None:
            release_if_low(self, self._owner)
        if self.state == READY:
            if self.queue:
                if served == limit:
                    self._first_look = _QUICK
                self._run_queue.schedule(self)
            else:
                self.state = IDLE
        return entry

    def _failed(self, entry: Entry, error: BaseException) -> None:
        """Report a handler that raised, and await what is done about it."""
        recovery = report_failure(self._owner, self, entry, error)
        self._pass_on(error)
        if recovery is not None:
            self._suspend(recovery, entry)

    def _pass_on(self, error: BaseException) -> None:
        """Raise Control-C again, which only a main thread gets."""
        if isinstance(error, KeyboardInterrupt) and get_ident() == main_thread().ident:
            self._resume()
            raise error

    def _suspend(self, coroutine: Coroutine[Any, Any, Any], entry: Entry) -> None:
        """Serve nothing more until ``coroutine`` is done."""
        self.state = SUSPENDED
        try:
            steps = self._run_queue.sampled(coroutine, self, entry)
            # A task runs in a copy of the context that it is made in.
            task = self._task = self._scope.run(start, self._run_queue.loop, steps)
            task.add_done_callback(lambda task: self._handler_done(task, entry))
        except MemoryError as error:  # it will not run, or nobody would learn when it is done
            if self._task is None:
                coroutine.close()
            else:
                self._cancel_task()
            self._task = None
            report_lost(self._owner, self, entry, error)
            self._resume()
            return
        # Its first steps may be over, with eager tasks, and have ended this process.
        if (self._dropped is not None and not self._finalizing) or self.state == ENDED:
            self._cancel_task()

    def _handler_done(self, task: asyncio.Task[Any], entry: Entry) -> None:
        self._task = None
        if self.counts.began >= 0:
            self.counts.end(self._run_queue.now())
        error = None if task.cancelled() else task.exception()
        recovery = None if error is None else report_failure(self._owner, self, entry, error)
        if recovery is None:
            self._resume()
        else:
            self._suspend(recovery, entry)

    def _resume(self) -> None:
        if self.state == ENDED:
            return
        if self.feeders is not None:
            release_if_low(self, self._owner)
        self.state = READY if self.queue else IDLE
        if self.queue:
            self._run_queue.schedule(self)

    # Ending

    def terminate(self, inject: bool) -> None:
        """End the process after ``finalize``: at once, or after what is queued.

        Args:
            inject: drop what is queued, and cancel a handler that is being awaited.
        """
        if self.state == ENDED or self._finalizing:
            if inject:
                self._owner.hurry(self)
            return
        if inject:
            if self._task is not None:
                self._cancel_task()
            if self._dropped is not None:
                return  # finalize is next
            self._dropped, self.queue = self.queue, _NOTHING
            if self.large_bytes:
                self.account(-self.large_bytes)
            if self.feeders is not None:
                release_feeders(self)
        if inject and self.state == IDLE:  # and so there is nothing else to wait for
            self.state = ENDING
            self._run_queue.schedule(self)
        else:
            self.counts.own(self).others += 1
            self.put(self._finalize, None, None)

    def _serve_last(self) -> Any:
        if self._scope is None:
            self._scope = scopes.new()
        result = self._scope.run(self._finalize, None, None)  # tells of failures by itself
        if result is not None:
            self._suspend(result, (self._finalize, None, None))

    def _finalize(self, _a: None, _b: None) -> Any:
        if self._finalizing:
            return None
        self._finalizing = True
        owner = self._owner
        try:
            is_parent = owner.parents and self.pid.id in owner.parents
            result = owner.end_family(self) if is_parent else self.process.finalize()
        except BaseException as error:
            self._finalized(error)
            self._pass_on(error)
        else:
            if result is not None and isinstance(result, Coroutine):
                return then(result, self._finalized)
            if self.state != ENDED:
                self._end(_TERMINATED, None, None)
        return None

    def _finalized(self, error: BaseException | None) -> None:
        """End, in the same step as ``finalize``: whoever was told by it may use the id again."""
        if self.state != ENDED:
            self._end(Reason.TERMINATED, (self._finalize, None, None), error)

    def drop(self, event: Event) -> bool:
        """Report with the end of the process an event that it cancels; False if it does not end."""
        if self._dropped is None:
            return False
        self._dropped = self._dropped or deque()
        self._dropped.appendleft((serve, event, self))
        return True

    def abandon(
        self, reason: Reason, event: Event | None = None, error: BaseException | None = None
    ) -> None:
        """End at once and without ``finalize``: the process never started, or time is up.

        Args:
            reason: why what waits is not served.
            event, error: the event that failed and so ended the process, and how.
        """
        self._end(reason, None if event is None else (serve, event, self), error)

    def _end(self, reason: Reason, entry: Entry | None, error: BaseException | None) -> None:
        self.state = ENDED
        if self._task is not None:
            self._cancel_task()
        self._owner.process_ended(self, reason, error)  # frees the id, before anybody hears of it
        if entry is not None and error is not None:
            report_failure(self._owner, self, entry, error)
        if self.queue or self._dropped or self.feeders is not None:
            self._discard(reason)
        else:
            self.queue, self._dropped = _NOTHING, None

    def _cancel_task(self) -> None:
        """Cancel a handler that is awaited, after its first step: before, nobody would learn."""
        self._run_queue.loop.call_soon(self._task.cancel)  # type: ignore[union-attr]

    def _discard(self, reason: Reason) -> None:
        """Empty the queue; what waited is reported, and what was dropped before."""
        dropped, self._dropped = self._dropped, None
        queue, self.queue = self.queue, _NOTHING
        self.account(-self.large_bytes)
        release_feeders(self)
        if dropped or queue:
            told = self._owner.message_dropped
            self._owner.slices.work(discarded(dropped, queue, self, told, reason), self)
