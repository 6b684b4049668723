"""``MasterContender``: announces a master in a ZooKeeper, for as long as it may lead."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from compactor.mesos.announcement import Announcement
from compactor.mesos.checks import check_session, check_timeout
from compactor.mesos.errors import CandidacyLost, MasterInfoError, MasterTimeout
from compactor.mesos.master_info import MasterInfo
from compactor.mesos.urls import parse_zookeeper
from compactor.pid import PID

if TYPE_CHECKING:
    from compactor.context import Context

MOST_BYTES = 1_000_000
"""Of a record; ZooKeeper drops connections that bring a request of 1 MiB."""


class MasterContender:
    """Has a master contend for leadership: one of ours, or a live one on whose behalf we write.

    It leads once its record in the path of the URL has the smallest number.  The candidacy is lost
    when the session expires, when ZooKeeper has not answered for a third of the session, before a
    server could give the leadership to another, when the record is removed, or when the master
    ends, if a context is given to watch it.  Nothing begins anew by itself: a master that has lost
    must stop to act as one, and may ``contend()`` again.

    Args:
        url: ``zk://[user:password@]host:port,.../path``; with credentials nobody else may change
            the record.
        master: what is announced, or its pid.
        session: seconds that the session with ZooKeeper is asked to have.
        context: links to the master, and ends the candidacy with it.

    Raises:
        MasterUrlError: ``url`` cannot be used.
        MasterInfoError: ``master`` cannot be announced.
        MissingPackage: there is no kazoo; when it first contends.

    Example:
        >>> async with MasterContender("zk://127.0.0.1:2181/mesos", pid) as own:  # doctest: +SKIP
        ...     await own.elected()
        ...     print(await own.lost())
    """

    def __init__(
        self,
        url: str,
        master: MasterInfo | PID | str,
        *,
        session: float = 10.0,
        context: Context | None = None,
    ) -> None:
        self._url = parse_zookeeper(url)
        self._master = master if isinstance(master, MasterInfo) else MasterInfo(master)
        self._data = self._master.to_json()
        if len(self._data) > MOST_BYTES:
            raise MasterInfoError(
                f"{self._master.pid} cannot be announced: its record has {len(self._data)} bytes, "
                f"and ZooKeeper takes {MOST_BYTES} by default"
            )
        self._seconds = check_session(session)
        self._context = context
        self._announcement: Announcement | None = None

    def __repr__(self) -> str:
        return f"MasterContender({str(self._url)!r}, {self._master.pid})"

    @property
    def master(self) -> MasterInfo:
        """What is announced."""
        return self._master

    @property
    def record(self) -> str | None:
        """The name of the record in ZooKeeper; None while there is none."""
        own = self._announcement
        return own.record if own is not None and not own.lost.done() else None

    @property
    def is_leading(self) -> bool:
        """Whether it was elected, and has not lost that."""
        own = self._announcement
        return own is not None and own.is_leading

    async def contend(self, *, timeout: float | None = None) -> str:
        """Announce the master.  While it contends already, nothing happens.

        Args:
            timeout: seconds until ZooKeeper has taken the record; None for ever.

        Returns:
            The name of the record.

        Raises:
            MasterTimeout: it was not; nothing is left behind.
            MasterAccessDenied: ZooKeeper lets us write no record there.
            CandidacyLost: it was withdrawn meanwhile, or the master has ended.
        """
        seconds = check_timeout(timeout)
        own = self._announcement
        if own is None or own.lost.done():
            own = self._announcement = Announcement(
                self._url, self._data, self._seconds, self._master.pid, self._context
            )
        try:
            return await asyncio.wait_for(asyncio.shield(own.announced), seconds)
        except (TimeoutError, asyncio.TimeoutError):
            reason = f"no ZooKeeper of {self._url} has taken a record within {seconds} s"
            own.lose(reason)
            await own.ended()
            raise MasterTimeout(reason) from None
        except asyncio.CancelledError:
            if not own.announced.done():
                own.lose("the task that contended was cancelled")
            raise

    async def elected(self, *, timeout: float | None = None) -> None:
        """Wait until the master leads.

        Args:
            timeout: seconds to wait; None for ever.

        Raises:
            MasterTimeout: it does not lead yet; it goes on to contend.
            CandidacyLost: it will not.
        """
        seconds, own = check_timeout(timeout), self._contending()
        try:
            await asyncio.wait_for(own.elected(), seconds)
        except (TimeoutError, asyncio.TimeoutError):
            raise MasterTimeout(
                f"{self._master.pid} was not elected in {self._url} within {seconds} s"
            ) from None

    async def lost(self) -> CandidacyLost:
        """Wait until the candidacy is lost, and return why."""
        return CandidacyLost(await asyncio.shield(self._contending().lost))

    async def withdraw(self) -> None:
        """Remove the record, if there is one; ZooKeeper does it at the end of the session at the
        latest, where it cannot be reached.
        """
        own = self._announcement
        if own is not None:
            own.lose("it was withdrawn")
            await own.ended()

    async def __aenter__(self) -> MasterContender:
        await self.contend()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.withdraw()

    def _contending(self) -> Announcement:
        if self._announcement is None:
            raise CandidacyLost(f"{self!r} does not contend yet: await contend()")
        return self._announcement
