"""``Mailbox``: the FIFO of one process, served one event at a time."""

from __future__ import annotations

import asyncio
import functools
import threading
from collections import deque
from collections.abc import Callable, Coroutine, Iterator
from time import perf_counter
from typing import Any, Protocol

from compactor.errors import Reason
from compactor.flow import Feeder
from compactor.losses import Losses
from compactor.messages import Event, serve
from compactor.pid import PID
from compactor.routes import Call

from .run_queue import RunQueue

Entry = tuple[Callable[[Any, Any], Any], Any, Any]

# The states of a mailbox.  READY is zero because every put asks for it.
READY, IDLE, CLOSED, SUSPENDED, ENDED = range(5)

_NOTHING: tuple[()] = ()  # the queue of a mailbox that never had an entry

_QUICK = 4  # entries of a mailbox that is known to be quick, before the first look at the clock

LARGE = 4096
"""Bodies beyond this many bytes are accounted for one by one; smaller ones by their number."""


class Owner(Protocol):
    """What a mailbox asks of, and reports to: the runtime of its context.

    Attributes:
        low_water, low_water_bytes: what a mailbox holds at most when its sockets are read again.
        losses: where a mailbox reports what it will not serve.
    """

    low_water: int
    low_water_bytes: int
    losses: Losses

    def bind(self, process: Any, name: str) -> Call | None: ...
    def handler_failed(self, mailbox: Mailbox, entry: Entry, error: BaseException) -> None: ...
    def message_dropped(self, mailbox: Mailbox, entry: Entry, reason: Reason) -> None: ...
    def process_ended(self, mailbox: Mailbox) -> None: ...


class Mailbox:
    """The FIFO of one process: one event at a time, whoever it came from.

    All of it is touched on the loop's thread only.  What an idle process does not need is made
    when it is first used: a program may have 100,000 of them.

    Attributes:
        pid: the pid of the process.
        process: the process.
        queue: entries that wait.
        calls: the bound handlers by message name, as far as they have been used.
        outbox: the process's ``Outbox``, once it has sent something.
        paths: this mailbox's entries in the table of message paths.
        large_bytes: bytes of waiting messages whose body, or name and sender, are beyond ``LARGE``.
    """

    __slots__ = (
        "_finalizing",
        "_first_look",
        "_owner",
        "_run_queue",
        "_task",
        "calls",
        "feeders",
        "large_bytes",
        "outbox",
        "paths",
        "pid",
        "process",
        "queue",
        "state",
    )

    def __init__(self, process: Any, pid: PID, owner: Owner, run_queue: RunQueue) -> None:
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
        self.calls: dict[str, Call] | None = None
        self._task: asyncio.Task[Any] | None = None
        self._finalizing = False
        # Entries to serve before the first look at the clock; three times as many as were served
        # come before each other one.
        self._first_look = 1

    def call_for(self, name: str) -> Call | None:
        """The bound handler of a message name, or None if there is none."""
        call = self.calls.get(name) if self.calls is not None else None
        if call is None:
            call = self._owner.bind(self.process, name)
            if call is not None:
                if self.calls is None:
                    self.calls = {}
                self.calls[name] = call
        return call

    def call_for_unhandled(self, name: str) -> Call:
        """The call for messages without a handler: when its turn comes, the process may have
        delegated the name.
        """
        return functools.partial(self.process.handle_message, name)

    def name_of(self, entry: Entry) -> str | None:
        """The message name of a waiting message, found by its handler."""
        call = self._large_call(entry)
        for name, known in (self.calls or {}).items():
            if known is call:
                return name
        args = getattr(call, "args", ())  # a partial that carries the name of an unhandled message
        return args[0] if args and isinstance(args[0], str) else None

    # Putting

    def put(self, call: Call, a: Any, b: Any) -> None:
        """Add an entry; a mailbox of an ended process turns it into a dead letter."""
        if self.queue is _NOTHING:
            self.queue = deque()
        self.queue.append((call, a, b))
        if self.state:
            self._wake()

    def put_first(self, event: Event) -> None:
        """Add an event before all others."""
        self.queue = deque([(serve, event, self), *self.queue])

    def serve_now(self, call: Call, a: Any, b: Any) -> None:
        """Serve an entry without queueing it.  Only an idle mailbox may be asked to, and only
        outside of all handlers.
        """
        self.state = READY
        try:
            result = call(a, b)
        except BaseException as error:
            self._failed((call, a, b), error)
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
        self.put(serve, event, self)

    def put_message(self, call: Call, sender: PID, body: bytes) -> None:
        """Add a message; a body beyond ``LARGE`` bytes is accounted for."""
        if len(body) > LARGE:
            self.put_large(call, sender, body, len(body))
        else:
            self.put(call, sender, body)

    def put_large(self, call: Call, sender: PID, body: bytes, size: int) -> None:
        """Add a message that takes so many bytes."""
        self.large_bytes += size
        self.put(self._serve_large, (call, sender, size), body)

    def _serve_large(self, message: tuple[Call, PID, int], body: bytes) -> Any:
        call, sender, size = message
        self.large_bytes -= size
        return call(sender, body)

    @staticmethod
    def _large_call(entry: Entry) -> Call:
        return entry[1][0] if isinstance(entry[1], tuple) else entry[0]

    def _wake(self) -> None:
        if self.state == IDLE:
            self.state = READY
            self._run_queue.schedule(self)
        elif self.state == ENDED:
            self._discard(Reason.TERMINATED)

    # Draining

    def open(self) -> None:
        """Let events through, once ``initialize`` has returned."""
        if self.state == CLOSED:
            self._resume()

    def drain(self, limit: int) -> None:
        """Serve up to ``limit`` entries, fewer if a handler has to be awaited, or if the time of
        this turn is over.
        """
        served = 0
        next_look = self._first_look
        while self.queue and served < limit:
            if served == next_look:
                if perf_counter() > self._run_queue.turn_end:
                    self._first_look = 1
                    break
                next_look *= 4
            served += 1
            entry = self.queue.popleft()
            call, a, b = entry
            try:
                result = call(a, b)
            except BaseException as error:
                self._failed(entry, error)
            else:
                if result is not None and isinstance(result, Coroutine):
                    self._suspend(result, entry)
                    return
        if self.feeders is not None:
            self._release_feeders_if_low()
        if self.state == READY:
            if self.queue:
                if served == limit:
                    self._first_look = _QUICK
                self._run_queue.schedule(self)
            else:
                self.state = IDLE

    def _failed(self, entry: Entry, error: BaseException) -> None:
        """Report a handler that raised.  Control-C, which only a main thread gets, goes on."""
        self._owner.handler_failed(self, entry, error)
        is_main = threading.current_thread() is threading.main_thread()
        if isinstance(error, KeyboardInterrupt) and is_main:
            self._resume()
            raise error

    def _suspend(self, coroutine: Coroutine[Any, Any, Any], entry: Entry) -> None:
        """Serve nothing more until ``coroutine`` is done."""
        self.state = SUSPENDED
        self._task = self._run_queue.loop.create_task(coroutine)
        self._task.add_done_callback(lambda task: self._handler_done(task, entry))

    def _handler_done(self, task: asyncio.Task[Any], entry: Entry) -> None:
        self._task = None
        error = None if task.cancelled() else task.exception()
        if error is not None:
            self._owner.handler_failed(self, entry, error)
        if self.state != ENDED:
            self._resume()

    def _resume(self) -> None:
        if self.feeders is not None:
            self._release_feeders_if_low()
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
            return
        if inject:
            self._discard(Reason.TERMINATED)
            self._cancel_task()
        self.put(self._finalize, None, None)

    def _finalize(self, _a: None, _b: None) -> Any:
        if self._finalizing:
            return None
        self._finalizing = True
        self.queue.appendleft((self._end, None, None))
        return self.process.finalize()

    def _end(self, _a: None, _b: None) -> None:
        if self.state == ENDED:
            return
        self.state = ENDED
        self._owner.process_ended(self)
        self._discard(Reason.TERMINATED)

    def abandon(self, reason: Reason) -> None:
        """End at once and without ``finalize``: the process never started, or time is up."""
        self.state = ENDED
        self._cancel_task()
        self._owner.process_ended(self)
        self._discard(reason)

    def _cancel_task(self) -> None:
        """Cancel a handler that is being awaited, though not before its first step: it would
        never learn of it, nor those who wait for what it returns.
        """
        if self._task is not None:
            self._run_queue.loop.call_soon(self._task.cancel)

    def _discard(self, reason: Reason) -> None:
        """Empty the queue; what waited is reported."""
        entries, self.queue = self.queue, _NOTHING
        self.large_bytes = 0
        self._release_feeders()
        if entries:
            self._owner.losses.report(self, self._report(entries, reason))

    def _report(self, entries: deque[Entry], reason: Reason) -> Iterator[None]:
        kept = (self._finalize, self._end)
        while entries:
            entry = entries.popleft()
            if entry[0] is serve:
                entry[1].discard(reason)
            elif entry[0] not in kept:
                self._owner.message_dropped(self, self._small(entry), reason)
            yield

    def _release_feeders_if_low(self) -> None:
        owner = self._owner
        if len(self.queue) <= owner.low_water and self.large_bytes <= owner.low_water_bytes:
            self._release_feeders()

    def _release_feeders(self) -> None:
        feeders, self.feeders = self.feeders, None
        for feeder in feeders or ():
            feeder.release(self)

    def _small(self, entry: Entry) -> Entry:
        if isinstance(entry[1], tuple):
            call, sender, _ = entry[1]
            return call, sender, entry[2]
        return entry
