"""``Leading``: one election, and the leadership that it ends in."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from types import TracebackType
from typing import TYPE_CHECKING, Any

from compactor.cluster.engine import Record
from compactor.cluster.errors import ClusterError, LeadershipLost, SessionExpired
from compactor.cluster.registering import leave, new_id
from compactor.cluster.sessions import Pauses, Session, Sessions, persistent
from compactor.cluster.terms import Term
from compactor.pid import PID

if TYPE_CHECKING:
    from compactor.actor.promises import Exit

_LONGEST = 3600.0  # seconds of a session that never ends, as far as loops can wait


class Leading:
    """``async with cluster.lead(...) as term``: waits until elected, and leads in the block.

    When leadership is lost, the task that runs the block is cancelled, and what comes out of the
    block is ``LeadershipLost``.
    """

    def __init__(
        self,
        sessions: Sessions,
        place: str,
        name: str,
        pid: PID,
        value: bytes,
        exit: Exit,
        candidates: set[str],
    ) -> None:
        self._sessions = sessions
        self._place = place
        self._name = name
        self._pid = pid
        self._value = value
        self._exit = exit
        self._candidates = candidates
        self._task: asyncio.Task[Any] | None = None
        self._cancelling = 0
        self._why = ""
        self._held: tuple[Session, str] | None = None
        self._term: Term | None = None
        self._ends: list[Callable[[], object]] = []
        self.ended: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    async def __aenter__(self) -> Term:
        task = asyncio.current_task()
        assert task is not None
        if self._task is not None:
            raise ClusterError("a leadership has one block: call lead() again")
        self._task = task
        if self._name in self._candidates:
            self._exit.cancel()
            raise ClusterError(
                f"this cluster leads {self._name!r} already, or waits to be elected: "
                "leave that block first, or use another Cluster"
            )
        self._candidates.add(self._name)
        self._cancelling = _cancelling(task)
        loop = asyncio.get_running_loop()

        def ended(done: Any) -> None:
            if not done.cancelled() and not loop.is_closed():
                loop.call_soon_threadsafe(self.lose, f"{self._pid} has ended")

        self._exit.add_done_callback(ended)
        try:
            self._term = await self._elected()
            return self._term
        except asyncio.CancelledError:
            await self._withdraw()
            if self._is_lost_alone():
                raise self._loss() from None
            raise
        except BaseException:
            await self._withdraw()
            raise

    async def _elected(self) -> Term:
        pauses = Pauses()
        while True:
            session = await self._sessions.live()
            id_ = new_id()
            self._held = session, id_
            try:
                order = await session.during(
                    persistent(session.engine.campaign, self._place, id_, self._value)
                )
            except SessionExpired:
                session.doubt.set()
                session.remove(self._place, id_)
                await pauses.next()
                continue
            if session.lease.is_valid:
                break
            await pauses.next()
        self._ends.append(session.lease.on_lost(self.lose))

        self._watch(session, id_)
        return Term(order, self._name, session.lease)

    def _watch(self, session: Session, id_: str) -> None:
        """Lead as long as the record is there, once it was seen: what a watch tells at first may be
        from before the election.
        """

        def told(records: Sequence[Record]) -> None:
            if any(record.id == id_ for record in records):
                late.cancel()
            elif late.cancelled():
                gone()

        def gone() -> None:
            self.lose("its record is gone from the engine")

        # Watches are told within a session, or it is lost.
        seconds = min(session.lease.seconds, _LONGEST)
        late = asyncio.get_running_loop().call_later(seconds, gone)
        self._ends += [session.engine.watch(self._place, told), late.cancel]

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        was_lost = bool(self._why)
        if was_lost and kind is not asyncio.CancelledError:
            await self._swallow()
        await self._withdraw()
        if was_lost and kind is None:
            raise self._loss()
        if was_lost and kind is asyncio.CancelledError and self._is_lost_alone():
            raise self._loss() from error

    def lose(self, why: str) -> bool:
        """Have the block end; whether there is one."""
        if self._why or self._task is None:
            return bool(self._why)
        self._why = why
        if self._term is not None:
            self._term.end()
        self._task.cancel()
        return True

    async def _swallow(self) -> None:
        """Take the cancellation that ``lose`` has asked for, and that the block has not met."""
        try:
            await asyncio.sleep(0)
        except asyncio.CancelledError:
            if not self._is_lost_alone():
                raise
        else:  # the block has met it, and kept it to itself
            self._is_lost_alone()

    def _is_lost_alone(self) -> bool:
        """Whether the task was cancelled because of the loss, and by nobody else; asked once."""
        if not self._why or self._task is None:
            return False
        uncancel: Callable[[], int] | None = getattr(self._task, "uncancel", None)
        return uncancel is None or uncancel() <= self._cancelling

    def _loss(self) -> LeadershipLost:
        return LeadershipLost(f"{self._pid} does not lead {self._name!r} any more: {self._why}")

    async def _withdraw(self) -> None:
        """Lead no more, and let the engine know."""
        if self._term is not None:
            self._term.end()
        ends, self._ends = self._ends, []
        for end in ends:
            end()
        task, self._task = self._task, None
        self._exit.cancel()
        held, self._held = self._held, None
        try:
            if held is not None:
                await leave(held[0], self._place, held[1])
        finally:
            self._candidates.discard(self._name)
            self._task = task
            if not self.ended.done():
                self.ended.set_result(None)


def _cancelling(task: asyncio.Task[Any]) -> int:
    cancelling: Callable[[], int] | None = getattr(task, "cancelling", None)
    return 0 if cancelling is None else cancelling()
