"""``Crew``: the handlers of one process that do not hold its mailbox while they await.

A handler that is marked as concurrent begins in its turn, as all others, and in the context of its
process; what it awaits is a task of its own, and the mailbox goes on.  Once as many are under way
as may be, the next one holds the mailbox until one of them ends: so all begin in their order, and
what waits behind them is counted, bounded and handed over as everywhere.  The same happens once
the bodies of those under way are more than a mailbox may hold: a peer that sends large ones has
them wait where they always do.
"""

from __future__ import annotations

import asyncio
import functools
import math
from collections import deque
from collections.abc import Callable, Coroutine
from typing import Any, Protocol

from compactor.actor.answering import inquiry_of
from compactor.actor.entries import LARGE, Entry, Event, discard, sender_of
from compactor.actor.mailbox import IDLE, serve
from compactor.actor.mailbox_owner import MailboxOwner
from compactor.actor.routes import Call
from compactor.errors import Reason
from compactor.http.awaited import Apart
from compactor.metrics.logs import logger
from compactor.pid import PID, TEMPORARY

log = logger("process")

Start = Callable[[], Any]
"""Begins a handler, and returns what is left to await."""


class CrewOwner(MailboxOwner, Protocol):
    """Whose mailbox it is."""

    @property
    def run_queue(self) -> Any: ...


class Failure:
    """A concurrent handler has raised: what a policy says is done next of all.

    Args:
        recovery: does it.
        lost: called if that is not done any more, for the process has failed before.
    """

    __slots__ = ("_lost", "_recovery")

    comes_first = True

    def __init__(self, recovery: Coroutine[Any, Any, None], lost: Callable[[], Any]) -> None:
        self._recovery = recovery
        self._lost = lost

    def serve(self, mailbox: Any) -> Coroutine[Any, Any, None]:
        return self._recovery

    def moved(self, mailbox: Any, page_of: Any) -> bool:
        """What takes the place of the old object has not failed."""
        return False

    def discard(self, reason: Reason) -> None:
        self._recovery.close()
        self._lost()

    def __str__(self) -> str:
        return "failure of a concurrent handler"


class Crew:
    """What of one process runs beside its mailbox.

    Args:
        mailbox: of the process.
        owner: of the mailbox.
        most: how many handlers may be under way.
    """

    __slots__ = (
        "_begins",
        "_bytes",
        "_free",
        "_most",
        "_over",
        "_owner",
        "_running",
        "is_ending",
        "mailbox",
    )

    def __init__(self, mailbox: Any, owner: CrewOwner, most: int) -> None:
        self.mailbox = mailbox
        self.is_ending = False
        self._begins = False
        self._owner = owner
        self._most = most
        self._running: dict[asyncio.Task[Any], int] = {}  # and the bytes of each large body
        self._bytes = 0  # of all of those
        self._free: asyncio.Future[None] | None = None  # for the handler that waits for a place
        self._over: asyncio.Future[None] | None = None  # for the end of the process

    @property
    def running(self) -> list[asyncio.Task[Any]]:
        """The tasks of the handlers that are under way."""
        return list(self._running)

    def has(self, task: asyncio.Task[Any] | None) -> bool:
        """Whether a task is that of such a handler."""
        return self._begins or task in self._running

    @property
    def _is_full(self) -> bool:
        """Whether one of those under way has to end before another one begins."""
        return len(self._running) >= self._most or (
            self._bytes > 0 and self._bytes > self._owner.backlog.high_water
        )

    def begin(self, start: Start, entry: Entry, size: int) -> Any:
        """Begin a handler: now, or, as what is returned is awaited, once there is a place.

        Args:
            entry: what is handled, as the mailbox would hold it.
            size: the bytes of its body.
        """
        if size <= LARGE:
            size = 0
        if self._is_full:
            return self._wait(start, entry, size)
        return self._begin(start, entry, size)

    def _begin(self, start: Start, entry: Entry, size: int) -> Any:
        rest = start()
        if not isinstance(rest, Coroutine):  # of a plain method that overrides an ``async`` one
            return rest
        run_queue, task = self._owner.run_queue, None
        self._begins = True  # an eager task takes its first step at once
        try:
            task = run_queue.loop.create_task(run_queue.sampled(rest, self.mailbox, entry))
            self._running[task] = size
            task.add_done_callback(functools.partial(self._done, entry))
        except MemoryError:  # it will not run, or nobody would learn when it is done
            if task is None:
                rest.close()
            else:
                self._running.pop(task, None)
                run_queue.loop.call_soon(task.cancel)
            if entry[0] is serve:
                entry[1].discard(Reason.OVERFLOW)
            raise
        finally:
            self._begins = False
        self._account(size)
        return None

    def _account(self, size: int) -> None:
        if size:
            self._bytes += size
            self._owner.backlog.add(size)

    async def _wait(self, start: Start, entry: Entry, size: int) -> None:
        """Hold the mailbox until there is a place, and begin."""
        while self._is_full:
            self._free = self._owner.run_queue.loop.create_future()
            try:
                await self._free  # pyright: ignore[reportGeneralTypeIssues]
            except asyncio.CancelledError:
                self._drop(entry)
                raise
        queue = self.mailbox.queue
        first = _first_of(queue)
        if first:  # the process has failed: what has not begun is for the one that comes next
            for _ in first:
                queue.popleft()
            queue.appendleft(entry)
            queue.extendleft(reversed(first))
        else:
            self._begin(start, entry, size)

    def _drop(self, entry: Entry) -> None:
        """Tell of what the process ends without."""
        event = entry[1]
        if entry[0] is not serve or not self.mailbox.drop(event):
            for _ in discard(
                deque([entry]), self.mailbox, self._owner.message_dropped, Reason.TERMINATED
            ):
                pass

    def _bury(self, entry: Entry, reason: Reason) -> None:
        """Tell of a message whose handler has come to no good end, unless its asker was told."""
        sender = sender_of(entry)
        is_told = sender is None or (
            sender.id.startswith(TEMPORARY)
            and (reason is Reason.FAILED or hasattr(entry[0], "answers"))
        )
        if not is_told:
            for _ in discard(deque([entry]), self.mailbox, self._owner.message_dropped, reason):
                pass

    def _done(self, entry: Entry, task: asyncio.Task[Any]) -> None:
        self._account(-self._running.pop(task, 0))
        if not task.cancelled() and (error := task.exception()) is not None:
            self._failed(entry, error)
        elif task.cancelled() and self.is_ending:
            self._bury(entry, Reason.TERMINATED)
        if self._free is not None and not self._free.done():
            self._free.set_result(None)
        if not self._running:
            self.hurry()

    def _failed(self, entry: Entry, error: BaseException) -> None:
        recovery = self._owner.handler_failed(self.mailbox, entry, error)
        if recovery is None:
            return
        failure = Failure(recovery, functools.partial(self._bury, entry, Reason.FAILED))
        if self.is_ending:
            failure.discard(Reason.FAILED)
        else:
            put_next(self.mailbox, failure)

    # Ending

    def hurry(self) -> None:
        """Wait for nothing more before the handlers that are under way are cancelled."""
        if self._over is not None and not self._over.done():
            self._over.set_result(None)

    def cancel(self) -> None:
        """Cancel all, after their first steps: before, nobody would learn."""
        self.is_ending = True
        self._owner.run_queue.loop.call_soon(self._cancel)

    def _cancel(self) -> None:
        for task in self.running:
            task.cancel()

    async def end(self, seconds: float, waits: bool) -> None:
        """Have no handler under way any more, before the process ends or is made anew.

        Args:
            seconds: that those which are cancelled have to end.
            waits: whether they first go on to their own end, until ``hurry``.
        """
        if waits and self._running:
            self._over = self._owner.run_queue.loop.create_future()
            await self._over  # pyright: ignore[reportGeneralTypeIssues]
        running = self.running
        if not running:
            return
        self.cancel()
        _, left = await asyncio.wait(running, timeout=None if seconds == math.inf else seconds)
        if left:
            pid = self.mailbox.pid
            log.warning(
                "process %s: %d concurrent handlers did not end within %s s",
                pid,
                len(left),
                seconds,
            )


def _first_of(queue: Any) -> list[Entry]:
    """The events at the beginning of a queue that come before all that has waited."""
    first: list[Entry] = []
    for entry in queue:
        if not getattr(entry[1], "comes_first", False):
            break
        first.append(entry)
    return first


def put_next(mailbox: Any, event: Event) -> None:
    """Have an event be served next, also if nobody is served right now."""
    if mailbox.state == IDLE:
        mailbox.put_event(event)
    else:
        mailbox.put_first(event)


def concurrent_call(process: Any, call: Call) -> Call:
    """The call of a concurrent handler of messages.

    Args:
        process: whose handler it is.
        call: takes who has sent a message, and the body.
    """

    def handle(from_pid: PID, body: Any) -> Any:
        crew = process.context._crew_of(process)
        entry = (inquiry_of(handle), from_pid, body)
        return crew.begin(functools.partial(call, from_pid, body), entry, len(body))

    handle.parse = getattr(call, "parse", None)  # type: ignore[attr-defined]
    if hasattr(call, "answers"):
        handle.answers = True  # type: ignore[attr-defined]
    return handle


def concurrent_route(
    process: Any, call: Callable[[Any], Any], is_concurrent: Callable[[str], bool]
) -> Callable[[Any], Any]:
    """The call of routes of which some are concurrent.

    Args:
        process: whose routes they are.
        call: takes a request.
        is_concurrent: whether the route is that serves a method.
    """

    def handle(request: Any) -> Any:
        if not is_concurrent(request.method):
            return call(request)

        def begin(exchange: Any, start: Start, mailbox: Any) -> Any:
            crew = process.context._crew_of(process)
            return crew.begin(start, (serve, exchange, mailbox), len(request.body))

        return Apart(functools.partial(call, request), begin)

    return handle
