"""``Group``: those who bear one name, or lead under it, as one program sees them."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Any, Generic, TypeVar
from weakref import WeakSet

from compactor.actor.promises import Exit
from compactor.cluster.engine import Record, first
from compactor.cluster.records import Member, read
from compactor.errors import ContextStopped, Reason
from compactor.metrics.logs import logger
from compactor.pid import PID
from compactor.pool import Pool

log = logger("cluster")

Shown = TypeVar("Shown")

_FIRST_PAUSE, _LONGEST_PAUSE = 1.0, 5.0  # seconds until somebody who was gone is linked again


class _Linked:
    """A member, and the link that tells of its end."""

    def __init__(self, order: int, member: Member) -> None:
        self.order = order
        self.member = member
        self.is_gone = False
        self.pause = _FIRST_PAUSE
        self.exit: Exit | None = None
        self.timer: asyncio.TimerHandle | None = None

    def unlink(self) -> None:
        if self.exit is not None:
            self.exit.cancel()
            self.exit = None
        if self.timer is not None:
            self.timer.cancel()


class Group:
    """Follows what an engine tells of one place, and links all whom it names.

    Whoever exits is left out at once.  As long as the engine goes on to name it, it is linked again
    now and then, and comes back when that link has lasted.

    Args:
        wait: waits for the end of a process, as ``Context.wait`` does.
        settle: seconds that such a link has to last.
        only_first: whether those behind the first, who only wait to lead, are none of it.
        met: called with each new member.
        place: for the log.
    """

    def __init__(
        self,
        wait: Callable[[PID], Exit],
        settle: float,
        only_first: bool,
        met: Callable[[Member], object],
        place: str,
    ) -> None:
        self._loop = asyncio.get_running_loop()
        self._wait = wait
        self._settle = settle
        self._only_first = only_first
        self._met = met
        self._place = place
        self._linked: dict[str, _Linked] = {}
        self._foreign: set[str] = set()
        self._waiting: set[asyncio.Future[None]] = set()
        self.stop_watching: Callable[[], None] = lambda: None
        self.watches: WeakSet[Watch[Any]] = WeakSet()
        self.shown: tuple[tuple[int, Member], ...] = ()
        self.members: tuple[Member, ...] = ()
        self.first: PID | None = None
        self.version = 0  # of what is shown; 0 until the engine has told anything
        self.is_over = False
        self._pools: WeakSet[Pool] = WeakSet()

    @property
    def is_idle(self) -> bool:
        """Whether nobody looks at it."""
        return not (self.watches or self._waiting or self._pools)

    def feed(self, pool: Pool) -> None:
        """Have a pool ask those who are shown."""
        self._pools.add(pool)
        pool.update(member.pid for member in self.members)

    def told(self, records: Sequence[Record]) -> None:
        """The engine tells who is there."""
        if self.is_over:
            return
        if self._only_first and records:
            records = [first(records)]
        there = {record.id for record in records}
        for id_ in self._linked.keys() - there:
            self._linked.pop(id_).unlink()
        self._foreign &= there
        for record in records:
            if record.id not in self._linked and record.id not in self._foreign:
                self._add(record)
        self._show()

    def _add(self, record: Record) -> None:
        member = read(record)
        if member is None:
            self._foreign.add(record.id)
            log.info("%s holds what is no record of a member: %s", self._place, record.id)
            return
        linked = self._linked[record.id] = _Linked(record.order, member)
        self._met(member)
        self._link(linked)

    def _link(self, linked: _Linked) -> None:
        try:
            exit_ = linked.exit = self._wait(linked.member.pid)
        except ContextStopped:
            return
        loop = self._loop

        def exited(done: Any) -> None:
            if not done.cancelled() and not loop.is_closed():
                loop.call_soon_threadsafe(self._exited, linked, exit_)

        exit_.add_done_callback(exited)

    def _exited(self, linked: _Linked, exit_: Exit) -> None:
        is_of_old = linked.exit is not exit_ or self.is_over
        if is_of_old or exit_.exception() is not None or exit_.result() is Reason.STOPPED:
            return
        linked.exit = None
        if linked.timer is not None:
            linked.timer.cancel()
        linked.is_gone = True
        linked.timer = self._loop.call_later(linked.pause, self._try, linked)
        linked.pause = min(2 * linked.pause, _LONGEST_PAUSE)
        self._show()

    def _try(self, linked: _Linked) -> None:
        linked.timer = self._loop.call_later(self._settle, self._is_back, linked)
        self._link(linked)

    def _is_back(self, linked: _Linked) -> None:
        linked.timer = None
        linked.is_gone = False
        linked.pause = _FIRST_PAUSE
        self._show()

    def _show(self) -> None:
        there = [each for each in self._linked.values() if not each.is_gone]
        there.sort(key=lambda each: each.order)
        shown = tuple((each.order, each.member) for each in there)
        if shown == self.shown and self.version:
            return
        self.shown = shown
        self.members = tuple(member for _, member in shown)
        self.first = self.members[0].pid if shown else None
        self.version += 1
        for pool in list(self._pools):
            pool.update(member.pid for member in self.members)
        self._wake()

    def _wake(self) -> None:
        waiting, self._waiting = self._waiting, set()
        for future in waiting:
            if not future.done():
                future.set_result(None)

    async def changed(self) -> None:
        """Wait until something else is shown, or nothing more will be."""
        if self.is_over:
            return
        future: asyncio.Future[None] = self._loop.create_future()
        self._waiting.add(future)
        try:
            await future
        finally:
            self._waiting.discard(future)

    def close(self) -> None:
        """Watch and link nobody any more."""
        self.is_over = True
        self.stop_watching()
        for linked in self._linked.values():
            linked.unlink()
        self._linked.clear()
        for pool in list(self._pools):
            pool.update(())
        self._wake()


class Watch(Generic[Shown]):
    """Yields what a group shows, now and after each change; the newest alone of several.

    It ends when the cluster is left.
    """

    def __init__(self, group: Group, show: Callable[[Group], Shown]) -> None:
        self._group = group
        self._show = show
        self._seen = 0
        group.watches.add(self)

    def __aiter__(self) -> Watch[Shown]:
        return self

    async def __anext__(self) -> Shown:
        group = self._group
        while self._seen == group.version and not group.is_over:
            await group.changed()
        if group.is_over:
            raise StopAsyncIteration
        self._seen = group.version
        return self._show(group)
