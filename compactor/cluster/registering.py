"""``Registration``: a process that bears a name, from session to session."""

from __future__ import annotations

import asyncio
from types import TracebackType
from typing import TYPE_CHECKING, Any

from compactor.cluster.errors import ClusterError, ClusterRefused, SessionExpired
from compactor.cluster.sessions import Pauses, Session, Sessions, persistent
from compactor.metrics.logs import logger
from compactor.pid import PID
from compactor.system.system import system

if TYPE_CHECKING:
    from compactor.actor.promises import Exit

log = logger("cluster")

_PATIENCE = 1.0  # seconds that somebody who leaves waits for the engine to know


def new_id() -> str:
    """An id that nobody else has."""
    return system().random_bytes(8).hex()


async def leave(session: Session, place: str, id_: str) -> None:
    """Take a record away, and wait for that unless it takes long; it is gone on with then."""
    await asyncio.wait({session.remove(place, id_)}, timeout=_PATIENCE)


class Registration:
    """``async with cluster.register(...)``: the name is borne while the block lasts.

    When the session is lost, the process is registered again in the next one.  When the process
    ends, so does this, at once, and the block goes on.

    Attributes:
        pid: of the process.
        id: of the member that it is; None while it is not registered.
    """

    def __init__(self, sessions: Sessions, place: str, pid: PID, value: bytes, exit: Exit) -> None:
        self.pid = pid
        self.id: str | None = None
        self._sessions = sessions
        self._place = place
        self._value = value
        self._exit = exit
        self._held: tuple[Session, str] | None = None
        self._task: asyncio.Task[None] | None = None
        self._is_over = False

    async def __aenter__(self) -> Registration:
        if self._task is not None:
            raise ClusterError("a registration has one block: call register() again")
        loop = asyncio.get_running_loop()
        ready: asyncio.Future[None] = loop.create_future()
        self._task = loop.create_task(self._run(ready))

        def ended(done: Any) -> None:
            if not done.cancelled() and not loop.is_closed():
                loop.call_soon_threadsafe(self.leave)

        self._exit.add_done_callback(ended)
        try:
            await asyncio.wait({ready, self._task}, return_when=asyncio.FIRST_COMPLETED)
            if ready.done():
                ready.result()
        except BaseException:
            await self.__aexit__(None, None, None)
            raise
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        held = self.leave()
        self._exit.cancel()
        if held is not None:
            await asyncio.wait({held}, timeout=_PATIENCE)

    def leave(self) -> asyncio.Future[None] | None:
        """Be registered no more."""
        if self._is_over:
            return None
        self._is_over, self.id = True, None
        if self._task is not None:
            self._task.cancel()
        held, self._held = self._held, None
        return held[0].remove(self._place, held[1]) if held is not None else None

    async def _run(self, ready: asyncio.Future[None]) -> None:
        pauses = Pauses()
        while True:
            session = await self._sessions.live()
            id_ = new_id()
            self._held = session, id_  # it may be there before we hear so
            try:
                await session.during(persistent(session.engine.put, self._place, id_, self._value))
            except SessionExpired:
                session.doubt.set()
                await pauses.next()
                continue
            except ClusterRefused as error:
                self._held = None
                if not ready.done():
                    ready.set_exception(error)
                    return
                log.warning("%s cannot be registered again: %s", self.pid, error)
            else:
                self.id = id_
                if not ready.done():
                    ready.set_result(None)
            await session.lost()
            self.id = self._held = None
            pauses = Pauses()
