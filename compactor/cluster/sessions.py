"""``Sessions``: one session with an engine after the other, each kept by heartbeats of the loop."""

from __future__ import annotations

import asyncio
import contextlib
import math
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

from compactor.cluster.engine import Engine
from compactor.cluster.errors import (
    ClusterError,
    ClusterRefused,
    ClusterUnreachable,
    SessionExpired,
)
from compactor.cluster.lease import Lease
from compactor.metrics.logs import logger
from compactor.system.system import system

log = logger("cluster")

Result = TypeVar("Result")

_HEARTBEATS = 3  # in a session
_FIRST_PAUSE, _LONGEST_PAUSE = 0.05, 2.0  # seconds between two tries to reach the engine
_BEGIN = 5.0  # seconds that its beginning may take, or as long as it is to last
_AGAIN = 1.0  # seconds before what did not end is cancelled once more
_END = 2.0  # seconds that the end of a session may take


class Session:
    """What the engine has agreed to, and how long it is ours."""

    def __init__(self, engine: Engine, lease: Lease) -> None:
        self.engine = engine
        self.lease = lease
        self.doubt = asyncio.Event()  # set by who has reason to: the next heartbeat is sent at once
        engine.doubt = self.doubt.set
        self._chores: set[asyncio.Task[None]] = set()

    async def during(self, work: Coroutine[Any, Any, Result]) -> Result:
        """Do something as long as the session lasts.

        Raises:
            SessionExpired: the session was lost before.
        """
        task = asyncio.get_running_loop().create_task(work)
        forget = self.lease.on_lost(lambda why: task.cancel())
        try:
            return await task
        except asyncio.CancelledError:
            if not self.lease.why or not task.cancelled() or is_cancelled():
                raise
            raise SessionExpired(f"the session was lost: {self.lease.why}") from None
        finally:
            forget()
            task.cancel()

    async def lost(self) -> None:
        """Wait until it is lost."""
        lost: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        forget = self.lease.on_lost(lambda why: None if lost.done() else lost.set_result(None))
        try:
            await lost
        finally:
            forget()

    def remove(self, place: str, id: str) -> asyncio.Future[None]:
        """Take a record away, with as many tries as it takes, as long as it can be there."""
        loop = asyncio.get_running_loop()
        if not loop.is_running():  # it is about to be closed, and does nothing more
            return loop.create_future()
        task = loop.create_task(self._remove(place, id))
        self._chores.add(task)
        task.add_done_callback(self._chores.discard)
        return task

    async def _remove(self, place: str, id: str) -> None:
        with contextlib.suppress(SessionExpired, ClusterRefused):
            await self.during(persistent(self.engine.remove, place, id))

    async def end(self) -> None:
        """End it at the engine, if that can be reached."""
        if self._chores:
            await asyncio.wait(self._chores, timeout=_END)
        with contextlib.suppress(asyncio.TimeoutError, ClusterError):
            await asyncio.wait_for(self.engine.end(), _END)


def is_cancelled() -> bool:
    """Whether the task that runs is being cancelled itself; False where Python does not tell."""
    task = asyncio.current_task()
    cancelling: Callable[[], int] | None = getattr(task, "cancelling", None)
    return cancelling is not None and cancelling() > 0


async def persistent(attempt: Callable[..., Coroutine[Any, Any, Result]], *args: Any) -> Result:
    """Try something until the engine can be reached."""
    pauses = Pauses()
    while True:
        try:
            return await attempt(*args)
        except ClusterUnreachable:
            await pauses.next()


class Pauses:
    """Pauses that grow from one try to the next, and are of no two programs alike."""

    def __init__(self) -> None:
        self._seconds = _FIRST_PAUSE

    async def next(self) -> None:
        """Wait."""
        await asyncio.sleep(self._seconds * (1 + system().chance() / 4))
        self._seconds = min(self._seconds * 2, _LONGEST_PAUSE)


class Sessions:
    """Has a session with the engine whenever that can be had.

    Args:
        make: makes what one session is had with.
        seconds: that a session should last without a heartbeat.
        name: of the engine, for errors and the log.
        begun: called with each new session.
    """

    def __init__(
        self,
        make: Callable[[], Engine],
        seconds: float,
        name: str,
        begun: Callable[[Session], object],
    ) -> None:
        self._make = make
        self._seconds = seconds
        self._name = name
        self._begun = begun
        self.now: Session | None = None
        self.trouble = ""  # why there is no session, or why its heartbeats do not arrive
        self._engine: Engine | None = None  # the newest
        self._waiting: set[asyncio.Future[Session]] = set()
        self._task: asyncio.Task[None] | None = None
        self._ending: set[asyncio.Task[None]] = set()

    async def start(self, timeout: float) -> None:
        """Begin the first session, and keep having one.

        Raises:
            ClusterUnreachable: the engine cannot be reached in that time.
            ClusterRefused: it refuses us.
        """
        self._task = asyncio.get_running_loop().create_task(self._run())
        live = asyncio.ensure_future(self.live())
        try:
            await asyncio.wait(
                {live, self._task}, timeout=timeout, return_when=asyncio.FIRST_COMPLETED
            )
            if self._task.done():
                self._task.result()
            if not live.done():
                raise ClusterUnreachable(
                    f"{self._name} cannot be reached within {timeout:g} s: "
                    f"{self.trouble or (self._engine and self._engine.trouble) or 'it is silent'}"
                )
        except BaseException:
            await self.stop()
            raise
        finally:
            live.cancel()

    async def stop(self) -> None:
        """End the session."""
        task, self._task = self._task, None
        if task is not None:
            while not task.done():  # before Python 3.12, wait_for may keep a cancellation to itself
                task.cancel()
                await asyncio.wait({task}, timeout=_AGAIN)
        if self._ending:
            await asyncio.wait(self._ending, timeout=_END)
        for waiting in self._waiting:
            waiting.cancel()

    async def live(self) -> Session:
        """The session, as soon as there is one."""
        if self.now is not None:
            return self.now
        waiting: asyncio.Future[Session] = asyncio.get_running_loop().create_future()
        self._waiting.add(waiting)
        try:
            return await waiting
        finally:
            self._waiting.discard(waiting)

    async def _run(self) -> None:
        pauses = Pauses()
        is_first = True
        while True:
            engine = self._engine = self._make()
            try:
                session = await self._begin(engine)
            except asyncio.CancelledError:
                self._let_end(engine.end())
                raise
            except Exception as error:
                self._let_end(engine.end())
                if is_first and not isinstance(error, ClusterUnreachable):
                    raise
                self._complain(_text(error))
                await pauses.next()
                continue
            is_first, pauses = False, Pauses()
            try:
                await self._keep(session)
            finally:
                self.now = None
                session.lease.lose("the cluster was left")
                self._let_end(session.end())

    async def _begin(self, engine: Engine) -> Session:
        try:
            patience = max(self._seconds, _BEGIN)
            seconds = await asyncio.wait_for(engine.begin(self._seconds), patience)
            sent = system().monotonic()
            if not math.isinf(seconds):  # what counts is a heartbeat, however long that has taken
                await asyncio.wait_for(engine.renew(), seconds)
        except asyncio.TimeoutError:
            raise ClusterUnreachable(
                f"{self._name} did not begin a session in time: {engine.trouble or 'it is silent'}"
            ) from None
        session = Session(engine, Lease(seconds, sent))
        if self.trouble:
            log.info("%s: there is a session again", self._name)
        self.now, self.trouble = session, ""
        self._begun(session)
        for waiting in self._waiting:
            if not waiting.done():
                waiting.set_result(session)
        return session

    async def _keep(self, session: Session) -> None:
        """Send heartbeats until the session is lost."""
        lease = session.lease
        if math.isinf(lease.seconds):
            await asyncio.get_running_loop().create_future()
        while True:
            pause = lease.seconds / _HEARTBEATS / (10 if self.trouble else 1)
            with contextlib.suppress(asyncio.TimeoutError):
                await asyncio.wait_for(session.doubt.wait(), min(pause, lease.left))
            session.doubt.clear()
            if not lease.is_valid:
                self._lost(lease, lease.why)
                return
            sent = lease.monotonic()
            patience = min(lease.left, lease.seconds / _HEARTBEATS)
            try:
                await asyncio.wait_for(session.engine.renew(), max(patience, 0.001))
            except (SessionExpired, ClusterRefused) as error:
                self._lost(lease, str(error))
                return
            except Exception as error:
                self.trouble = _text(error) or "it does not answer"
                if isinstance(error, asyncio.TimeoutError):
                    with contextlib.suppress(Exception):
                        await asyncio.wait_for(session.engine.leave(), max(lease.left, 0.001))
            else:
                self.trouble = ""
                lease.renewed(sent)

    def _lost(self, lease: Lease, why: str) -> None:
        self.trouble = f"{why}; {self.trouble}" if self.trouble else why
        log.warning("%s: the session is lost: %s", self._name, self.trouble)
        lease.lose(self.trouble)

    def _complain(self, why: str) -> None:
        if not self.trouble:
            log.warning("%s: there is no session, and it is tried again: %s", self._name, why)
        self.trouble = why

    def _let_end(self, end: Coroutine[Any, Any, None]) -> None:
        loop = asyncio.get_running_loop()
        if not loop.is_running():  # it is about to be closed, and does nothing more
            end.close()
            return
        task = loop.create_task(_bounded(end))
        self._ending.add(task)
        task.add_done_callback(self._ending.discard)


def _text(error: Exception) -> str:
    """What an error says; of those that are none of ours, their type as well."""
    if isinstance(error, (ClusterError, asyncio.TimeoutError)):
        return str(error)
    return f"{type(error).__name__}: {error}"


async def _bounded(end: Coroutine[Any, Any, None]) -> None:
    with contextlib.suppress(asyncio.TimeoutError, ClusterError):
        await asyncio.wait_for(end, 2 * _END)
