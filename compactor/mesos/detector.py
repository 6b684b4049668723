"""``MasterDetector``: who leads the masters that are announced in a ZooKeeper."""

from __future__ import annotations

import asyncio
import contextlib
import copy
from collections.abc import AsyncIterator

from compactor.mesos.checks import check_session, check_timeout
from compactor.mesos.errors import MasterInfoError, MasterTimeout
from compactor.mesos.master_info import MasterInfo
from compactor.mesos.records import leading, read
from compactor.mesos.session import Session, State
from compactor.mesos.urls import ZooKeeperUrl, parse
from compactor.metrics.logs import logger

log = logger("mesos")

SECONDS_BEFORE_A_NEW_TRY = 1.0  # of what ZooKeeper refused
_MOMENT = 0.05  # until a connection that is lost is known to be


class MasterDetector:
    """Follows the leading master, as Mesos' own detector does.

    It looks at the records in the path of the URL: ``json.info_...``, ``info_...``, and bare
    numbers; the smallest number leads.  It writes nothing.  A connection to ZooKeeper that is lost
    is dialled again for ever; the master stays the one that was known until the session's time is
    over, and is None from then on until ZooKeeper answers.

    It belongs to the loop that first uses it, and ends with ``close()`` or ``async with``.

    Args:
        master: ``zk://[user:password@]host:port,.../path``; ``file:///path`` of a file that holds
            one; or ``[master@]host:port`` of a master that always leads.
        session: seconds that the session with ZooKeeper is asked to have.

    Raises:
        MasterUrlError: ``master`` cannot be used.
        MissingPackage: for a ``zk://`` without the package kazoo, when it is first used.

    Example:
        >>> async with MasterDetector("zk://127.0.0.1:2181/mesos") as detector:  # doctest: +SKIP
        ...     async for master in detector:
        ...         print("no master" if master is None else master.pid)
    """

    def __init__(self, master: str, *, session: float = 10.0) -> None:
        found = parse(master)
        self._url = found if isinstance(found, ZooKeeperUrl) else None
        self._found = None if isinstance(found, ZooKeeperUrl) else found
        self._session_seconds = check_session(session)
        self._error: Exception | None = None
        self._session: Session | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._follower: asyncio.Task[None] | None = None
        self._look_again = asyncio.Event()
        self._waiting: set[asyncio.Future[None]] = set()
        self._silence: asyncio.TimerHandle | None = None
        self._is_closed = False

    def __repr__(self) -> str:
        return f"MasterDetector({str(self._url or (self._found and self._found.pid))!r})"

    @property
    def master(self) -> MasterInfo | None:
        """The leading master as far as is known now; None without one."""
        return self._found

    async def detect(
        self, previous: MasterInfo | None = None, *, timeout: float | None = None
    ) -> MasterInfo | None:
        """Wait until the leading master is another one than ``previous``.

        Args:
            previous: what the caller knows; None, the default, waits for any master.
            timeout: seconds to wait; None for ever.

        Returns:
            The leading master, or None if there is none any more.

        Raises:
            MasterTimeout: it stayed as it is; the text tells whether ZooKeeper answers.
            MasterAccessDenied: ZooKeeper lets nobody read there, or not with these credentials.
            MasterInfoError: the leading record is that of no master.
        """
        seconds = check_timeout(timeout)
        try:
            return await asyncio.wait_for(self._detect(previous, True), seconds)
        except (TimeoutError, asyncio.TimeoutError):
            raise MasterTimeout(self._why_none(seconds)) from None

    async def __aiter__(self) -> AsyncIterator[MasterInfo | None]:
        """Each leading master, the first as soon as there is one, and None where there is none any
        more; of several changes at once the last.  It ends with :meth:`close`.

        Raises:
            MasterAccessDenied: ZooKeeper does not let us read.
        """
        known = None
        while not self._is_closed:
            try:
                known = await self._detect(known, False)
            except RuntimeError:
                if self._is_closed:
                    return
                raise
            yield known

    async def close(self) -> None:
        """End the session; whoever waits in ``detect`` gets an error."""
        if self._is_closed:
            return
        self._is_closed = True
        self._stop_silence()
        self._wake()
        if self._follower is not None:
            self._follower.cancel()
        if self._session is not None:
            await self._session.close()

    async def __aenter__(self) -> MasterDetector:
        self._start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    # What callers wait for

    async def _detect(self, previous: MasterInfo | None, raises: bool) -> MasterInfo | None:
        """As :meth:`detect`; unless it ``raises``, a record of no master counts as none."""
        self._start()
        while True:
            if self._is_closed:
                raise RuntimeError(f"{self!r} was closed")
            if self._error is not None and (raises or not isinstance(self._error, MasterInfoError)):
                raise copy.copy(self._error)
            if self._found != previous:
                return self._found
            waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            self._waiting.add(waiter)
            try:
                await waiter
            finally:
                self._waiting.discard(waiter)

    def _publish(self, found: MasterInfo | None, error: Exception | None = None) -> None:
        if found != self._found or error is not None or self._error is not None:
            self._found, self._error = found, error
            self._wake()

    def _wake(self) -> None:
        for waiter in self._waiting:
            if not waiter.done():
                waiter.set_result(None)

    def _why_none(self, seconds: float | None) -> str:
        if self._found is not None:
            return f"{self._found.pid} has led for {seconds} s, as before"
        if self._session is not None and not self._session.is_connected:
            return f"no ZooKeeper of {self._url} has answered for {seconds} s; it is dialled on"
        return f"ZooKeeper knows no master in {self._url} after {seconds} s"

    # What is followed

    def _start(self) -> None:
        loop = asyncio.get_running_loop()
        if self._loop is None and not self._is_closed:
            self._loop = loop
            if self._url is not None:
                self._session = Session(self._url, self._session_seconds, self._changed)
                self._session.start()
                self._begin_silence(self._session)
                self._follower = loop.create_task(self._follow(self._session, self._url.path))
        if self._loop is not None and self._loop is not loop:
            raise RuntimeError(f"{self!r} belongs to another event loop; make one in each")

    def _changed(self, state: State) -> None:
        """Called by the session."""
        assert self._session is not None
        if state is State.CONNECTED:
            self._stop_silence()
        else:
            self._begin_silence(self._session)
        self._look_again.set()

    def _begin_silence(self, session: Session) -> None:
        if self._silence is None:
            seconds = session.seconds
            self._silence = session.loop.call_later(seconds, self._given_up, seconds)

    def _stop_silence(self) -> None:
        if self._silence is not None:
            self._silence.cancel()
            self._silence = None

    def _given_up(self, seconds: float) -> None:
        """No server has answered for the length of a session: whoever led may not lead any more."""
        log.warning(
            "no ZooKeeper of %s has answered for %s s; it is dialled on", self._url, seconds
        )
        self._publish(None)

    async def _follow(self, session: Session, path: str) -> None:
        """Look at the records whenever they change; never ends by itself."""
        while True:
            await session.connected()
            self._look_again.clear()
            seconds: float | None = None
            try:
                await self._look(session, path)
            except ConnectionError:
                seconds = _MOMENT
            except Exception as error:  # tells who waits, and is tried again
                self._publish(None, error)
                seconds = SECONDS_BEFORE_A_NEW_TRY
            with contextlib.suppress(TimeoutError, asyncio.TimeoutError):
                await asyncio.wait_for(self._look_again.wait(), seconds)

    async def _look(self, session: Session, path: str) -> None:
        try:
            names = await session.children(path, self._look_again.set)
            record = leading(names)
            if record is None:
                self._publish(None)
                return
            data, _ = await session.get(f"{path}/{record.name}")
        except (
            FileNotFoundError
        ):  # the folder, or what has just led: looked at again when there is one
            if not await session.exists(path, self._look_again.set):
                self._publish(None)
            else:
                self._look_again.set()
            return
        try:
            self._publish(read(record, data))
        except MasterInfoError as error:
            if str(error) != str(self._error):  # whatever else comes and goes in the folder
                log.warning("in %s %s", self._url, error)
            self._publish(None, error)
