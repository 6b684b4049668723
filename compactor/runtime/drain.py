"""``Drain``: the time in which a context that stops still handles what it has accepted."""

from __future__ import annotations

import asyncio
import math
from collections import deque
from collections.abc import Callable, Iterable
from typing import Any

from compactor.actor.entries import Entry, discard, sender_of
from compactor.actor.events import Exited
from compactor.actor.mailbox import IDLE, SUSPENDED, Mailbox
from compactor.errors import Reason
from compactor.metrics.logs import logger
from compactor.pid import TEMPORARY

log = logger("context")

_PAUSE = 0.001  # seconds between two looks at all mailboxes, of which there may be 100,000


class _Mark:
    """An event behind all that waits in a mailbox.

    Args:
        passed: called once that is handled, or will never be.
    """

    __slots__ = ("_passed",)

    def __init__(self, passed: Callable[[], Any]) -> None:
        self._passed = passed

    def serve(self, mailbox: Any) -> None:
        self._passed()

    def discard(self, reason: Reason) -> None:
        self._passed()

    def __str__(self) -> str:
        return "end of what waited"


class Drain:
    """Waits until mailboxes are empty, within the time that was asked for.

    It is touched on the loop's thread, but for ``seconds``.

    Args:
        live: tells the mailboxes of all processes.
        running: tells the tasks of the handlers that run beside them.
        others: tells what else is waited for, once nothing else is.

    Attributes:
        lost: what was accepted, and will not be handled, in words.
    """

    def __init__(
        self,
        live: Callable[[], Iterable[Mailbox]],
        running: Callable[[], list[asyncio.Task[Any]]] = list,
        others: Callable[[], list[asyncio.Future[None]]] = list,
    ) -> None:
        self._live = live
        self._running = running
        self._others = others
        self.lost: list[str] = []
        self._task: asyncio.Task[Any] | None = None
        self._asked: list[float] = []
        self._until = math.inf
        self._over: asyncio.Future[None] | None = None
        self._timer: asyncio.TimerHandle | None = None

    def ask(self, seconds: float | None) -> None:
        """Ask for some time, from any thread; the shortest time that was asked for counts.

        Args:
            seconds: None for none, unless there was some asked for before.
        """
        if seconds is not None or not self._asked:
            self._asked.append(seconds or 0.0)

    @property
    def seconds(self) -> float:
        """How long it takes at most."""
        return min(self._asked, default=0.0)

    def wait_for(self, task: asyncio.Task[Any]) -> None:
        """Wait for a task as well, and first of all."""
        self._task = task

    def look_again(self) -> None:
        """Less time may have been asked for since it began."""
        over = self._over
        if over is None or over.done():
            return
        if self._timer is not None:
            self._timer.cancel()
        loop = over.get_loop()
        self._until = min(self._until, loop.time() + self.seconds)
        if self.seconds > 0:
            self._timer = loop.call_at(self._until, _set, over)
        else:
            _set(over)

    async def finish(self) -> None:
        """Wait until all mailboxes are empty, and all handlers done, or the time is over."""
        over = self._over = asyncio.get_running_loop().create_future()
        self.look_again()
        try:
            if self._task is not None:
                await asyncio.wait([over, self._task], return_when=asyncio.FIRST_COMPLETED)
            while not over.done():
                busy = [mailbox for mailbox in self._live() if mailbox.state != IDLE]
                running = self._running()
                others = [] if busy or running else self._others()
                if not (busy or running or others):
                    return
                for waiting in ([self._mark(busy)] if busy else [], running, others):
                    await self._until_done(waiting, over)
                await asyncio.sleep(_PAUSE)
        finally:
            _set(over)
            if self._timer is not None:
                self._timer.cancel()

    async def _until_done(self, waiting: list[Any], over: asyncio.Future[None]) -> None:
        """Wait for all of some futures, or until the time is over."""
        if not waiting or over.done():
            return
        all_done = asyncio.ensure_future(asyncio.wait(waiting))
        try:
            await asyncio.wait([over, all_done], return_when=asyncio.FIRST_COMPLETED)
        finally:
            all_done.cancel()

    def _mark(self, mailboxes: list[Mailbox]) -> asyncio.Future[None]:
        """What is done once each mailbox has handled what waits there now."""
        passed: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        left = len(mailboxes)

        def one_passed() -> None:
            nonlocal left
            left -= 1
            if not left:
                _set(passed)

        mark = _Mark(one_passed)
        for mailbox in mailboxes:
            mailbox.put_event(mark)
        return passed


def tell_dropped(mailboxes: Iterable[Mailbox], concurrent: int = 0) -> list[str]:
    """Say how much of what was accepted nobody will handle.

    Args:
        concurrent: how many handlers run beside their mailboxes.

    Returns:
        The same for each process.
    """
    waiting, cancelled = 0, concurrent
    lost = []
    for mailbox in mailboxes:
        left = sum(1 for entry in mailbox.queue if not _is_of_no_matter(entry[1]))
        is_held = mailbox.state == SUSPENDED
        waiting += left
        cancelled += is_held
        if left or is_held:
            handlers = ", and a handler is cancelled" if is_held else ""
            lost.append(f"{mailbox.pid}: {left} events wait{handlers}")
    if concurrent:
        lost.append(f"{concurrent} concurrent handlers are cancelled")
    if waiting or concurrent:
        log.warning(
            "stopping drops %d events that wait in mailboxes, and cancels %d handlers; "
            "stop(drain=seconds) gives them time",
            waiting,
            cancelled,
        )
    return lost


def refuse_asks(mailbox: Mailbox, told: Callable[..., None]) -> None:
    """Have what was asked, and not begun in the time of the drain, be asked of somebody else.

    Args:
        mailbox: of a process that is about to be terminated; it keeps all else.
        told: called with each ask: the mailbox, sender, name, bytes of its body, and reason.
    """
    others: deque[Entry] = deque()
    asks: deque[Entry] = deque()
    for entry in mailbox.queue:
        sender = sender_of(entry)
        is_ask = sender is not None and sender.id.startswith(TEMPORARY)
        (asks if is_ask else others).append(entry)
    if asks:
        mailbox.queue = others
        deque(discard(asks, mailbox, told, Reason.DRAINING), maxlen=0)


def _is_of_no_matter(event: Any) -> bool:
    """Whether nobody misses an event that is not handled, when its process ends."""
    return event is None or isinstance(event, _Mark | Exited)


def _set(future: asyncio.Future[None]) -> None:
    if not future.done():
        future.set_result(None)
