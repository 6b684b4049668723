"""One candidacy: a record in ZooKeeper, from its creation until it is lost."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
from collections.abc import Callable
from typing import TYPE_CHECKING

from compactor.errors import CompactorError, Reason
from compactor.mesos.errors import CandidacyLost
from compactor.mesos.records import PREFIX, leading
from compactor.mesos.session import Session, State
from compactor.mesos.urls import ZooKeeperUrl
from compactor.pid import PID
from compactor.process import Process

if TYPE_CHECKING:
    from compactor.context import Context

_SILENT_SHARE = 1 / 3
"""Of the session: kazoo has heard nothing for up to two thirds when it says so."""

_MOMENT = 0.05  # until a connection that is lost is known to be

_numbers = itertools.count(1)


class Announcement:
    """What is written, and watched from then on.

    Args:
        url: where.
        data: the content of the record.
        seconds: the session that is asked for.
        master: whom a context links to.
        context: that context, if there is one.

    Attributes:
        announced: the name of the record, once there is one.
        lost: why there is none any more.
        record: the name of the record, or None.
        is_leading: whether it is the smallest, and ZooKeeper has been heard lately.
    """

    def __init__(
        self,
        url: ZooKeeperUrl,
        data: bytes,
        seconds: float,
        master: PID,
        context: Context | None,
    ) -> None:
        self._loop = loop = asyncio.get_running_loop()
        self.announced: asyncio.Future[str] = loop.create_future()
        self.lost: asyncio.Future[str] = loop.create_future()
        self.record: str | None = None
        self.is_leading = False
        self._path = url.path
        self._data = data
        self._look_again = asyncio.Event()
        self._waiting: set[asyncio.Future[None]] = set()
        self._silence: asyncio.TimerHandle | None = None
        self._end: asyncio.Task[None] | None = None
        self._session = Session(url, seconds, self._changed)
        self._stop_watching: Callable[[], None] = lambda: None
        if context is not None:
            self._stop_watching = watch(context, master, loop, self.lose)
        self._session.start()
        self._holder = loop.create_task(self._hold())

    def lose(self, reason: str, error: Exception | None = None) -> None:
        """Give up; called on the loop.

        Args:
            reason: why.
            error: what whoever still waits for the record gets; CandidacyLost if it is None.
        """
        if self.lost.done():
            return
        self.is_leading = False
        self.lost.set_result(reason)
        if not self.announced.done():
            self.announced.set_exception(error or CandidacyLost(reason))
            self.announced.exception()  # as nobody may wait for it
        self._wake()
        if self._silence is not None:
            self._silence.cancel()
        self._stop_watching()
        self._holder.cancel()
        self._end = self._loop.create_task(self._session.close())

    async def ended(self) -> None:
        """Wait until the session of what was lost has ended."""
        if self._end is not None:
            await asyncio.shield(self._end)

    async def elected(self) -> None:
        """Wait until it leads.

        Raises:
            CandidacyLost: it will not.
        """
        while not self.is_leading:
            if self.lost.done():
                raise CandidacyLost(self.lost.result())
            waiter: asyncio.Future[None] = self._loop.create_future()
            self._waiting.add(waiter)
            try:
                await waiter
            finally:
                self._waiting.discard(waiter)

    def _wake(self) -> None:
        for waiter in self._waiting:
            if not waiter.done():
                waiter.set_result(None)

    # What happens to the session

    def _changed(self, state: State) -> None:
        """Called by the session."""
        if self._silence is not None:
            self._silence.cancel()
            self._silence = None
        if self.record is not None:
            if state is State.EXPIRED:
                self.lose("its session with ZooKeeper has expired")
            elif state is State.SUSPENDED:
                seconds = self._session.seconds * _SILENT_SHARE
                self._silence = self._loop.call_later(
                    seconds, self.lose, f"no ZooKeeper has answered for {seconds:.3g} s and more"
                )
        self._look_again.set()

    # The record

    async def _hold(self) -> None:
        """Write the record, then look whether it leads, until it is lost."""
        try:
            name = await self._written()
            self.announced.set_result(name)
            while True:
                self._look_again.clear()
                try:
                    await self._look(name)
                except FileNotFoundError:
                    self.lose("somebody has removed the folder of its record")
                except ConnectionError:
                    await asyncio.sleep(_MOMENT)
                    await self._session.connected()
                    continue
                await self._look_again.wait()
        except CompactorError as error:
            self.lose(str(error), error)
        except Exception as error:  # what ZooKeeper says to few, such as that a quota is exceeded
            self.lose(f"{type(error).__name__}: {error}", error)

    async def _look(self, name: str) -> None:
        names = await self._session.children(self._path, self._look_again.set)
        if name not in names:
            self.lose("somebody has removed its record")
            return
        leader = leading(names)
        is_leading = leader is not None and leader.name == name
        if leader is not None and self.is_leading and not is_leading:
            self.lose(f"{leader.name} has come before its record")
            return
        self.is_leading = is_leading
        self._wake()

    async def _written(self) -> str:
        """The name of the record, which is created once: an answer may be lost on its way."""
        is_known = True
        while True:
            await self._session.connected()
            try:
                name = None if is_known else await self._created_before()
                if name is None:
                    name = await self._session.create(f"{self._path}/{PREFIX}", self._data)
                self.record = name
                return name
            except ConnectionError:
                is_known = False
                await asyncio.sleep(_MOMENT)

    async def _created_before(self) -> str | None:
        """The record of this session, if there is one."""
        try:
            for name in await self._session.children(self._path, self._look_again.set):
                if name.startswith(PREFIX):
                    try:
                        _, owner = await self._session.get(f"{self._path}/{name}")
                    except FileNotFoundError:
                        continue
                    if owner == self._session.session_id:
                        return name
        except FileNotFoundError:
            pass
        return None


# Of a master that ends


class _Watcher(Process):
    """Linked to a master; tells of its end."""

    def __init__(self, master: PID, told: Callable[[str], None]) -> None:
        super().__init__(f"master-contender({next(_numbers)})")
        self._master = master
        self._told = told

    def initialize(self) -> None:
        """Links."""
        self.link(self._master)

    def exited(self, pid: PID, reason: Reason) -> None:
        """The master is gone."""
        self._told(f"the master {pid} is gone: {reason}")


def watch(
    context: Context, master: PID, loop: asyncio.AbstractEventLoop, lose: Callable[[str], None]
) -> Callable[[], None]:
    """Have a process of a context call ``lose`` on the loop when the master ends; what is returned
    ends that process.
    """

    def told(reason: str) -> None:
        with contextlib.suppress(RuntimeError):  # of a loop that was closed, and all of it
            loop.call_soon_threadsafe(lose, reason)

    pid = context.spawn(_Watcher(master, told))

    def stop() -> None:
        with contextlib.suppress(CompactorError):  # the context has ended
            context.terminate(pid)

    return stop
