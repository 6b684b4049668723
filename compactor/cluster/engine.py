"""``Engine``: what a cluster asks of whatever keeps its names, by capability."""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from collections.abc import Callable, Coroutine, Sequence
from typing import Any, ClassVar, NamedTuple, NoReturn

from compactor.cluster.errors import SessionExpired

NAMES, REGISTER, LEAD = "names", "register", "lead"

_SEEN = 5.0  # seconds within which a record that was put is seen, unless it is gone again

Told = Callable[[Sequence["Record"]], None]


class Record(NamedTuple):
    """What somebody has put somewhere, for as long as its session lasts.

    Attributes:
        id: made for this record alone, by whoever has put it.
        order: a number that only grows: what was put later, at the same place, has a greater one.
        value: what was put.
    """

    id: str
    order: int
    value: bytes


class Engine(ABC):
    """One session with an engine, on the loop of a cluster; a new session has a new object.

    A place is a text such as ``names/orders``, whose parts are checked names.  Methods that fail
    raise ``ClusterUnreachable``, after which the cluster tries again; ``SessionExpired``, after
    which it begins a new session; or ``ClusterRefused``, which it tells its users.  None of them
    waits for longer than a session lasts, and each can be cancelled.

    Attributes:
        capabilities: ``NAMES`` that can be watched, what can be ``REGISTER``-ed, and who may
            ``LEAD``.
        max_value: bytes that a record may have.
        serves_this_machine_alone: whether no other machine can look at it.
        trouble: why it cannot be reached right now, as far as it knows.
        doubt: to be called, on the loop, by an engine that hears that its session may be lost:
            the next heartbeat is sent at once.
    """

    capabilities: ClassVar[frozenset[str]] = frozenset({NAMES, REGISTER, LEAD})
    max_value: int = 65536
    serves_this_machine_alone: bool = False
    trouble: str = ""
    doubt: Callable[[], object] = staticmethod(lambda: None)

    @abstractmethod
    async def begin(self, session: float) -> float:
        """Connect, and begin a session.

        Args:
            session: seconds that it should last without a heartbeat.

        Returns:
            The seconds that the engine has agreed to; infinite if nothing expires.
        """

    async def renew(self) -> None:  # noqa: B027  # not called where nothing expires
        """Have the engine acknowledge one heartbeat that was sent after this call."""

    async def leave(self) -> None:  # noqa: B027  # not called where nothing expires
        """Begin to go to another server, if there are several: this one does not answer."""

    @abstractmethod
    async def end(self) -> None:
        """End the session, so that its records go at once, as far as that can be; raise nothing."""

    async def put(self, place: str, id: str, value: bytes) -> Record:
        """Put a record that lasts as long as the session; one of that id is not put twice."""
        self._cannot(REGISTER)

    async def remove(self, place: str, id: str) -> None:
        """Take a record of this session away; nothing happens if it is gone."""
        self._cannot(REGISTER)

    @abstractmethod
    def watch(self, place: str, told: Told) -> Callable[[], None]:
        """Have ``told(records)`` called with all records of a place: once they are known, and after
        each change, the newest alone.  It goes on until the session ends.

        Returns:
            What ends it.
        """

    async def campaign(self, place: str, id: str, value: bytes) -> int:
        """Wait until the own record is the one that leads; then it leads as long as it is there.

        Returns:
            The order of that record.

        Where a place keeps records in the order in which they were put, the first one leads, and
        that is what is done here.
        """
        own = await self.put(place, id, value)
        loop = asyncio.get_running_loop()
        elected: asyncio.Future[int] = loop.create_future()
        is_seen = False

        def told(records: Sequence[Record]) -> None:
            nonlocal is_seen
            if all(record.id != id for record in records):
                if is_seen:  # before that, this is what was there earlier
                    lost()
                return
            is_seen = True
            if first(records).id == id and not elected.done():
                elected.set_result(own.order)

        def lost() -> None:
            if not elected.done():
                elected.set_exception(SessionExpired(f"the own record is gone from {place}"))

        stop = self.watch(place, told)
        late = loop.call_later(_SEEN, lambda: None if is_seen else lost())
        try:
            return await elected
        finally:
            late.cancel()
            stop()

    def _cannot(self, what: str) -> NoReturn:
        raise NotImplementedError(f"{type(self).__name__} has no {what}")


def first(records: Sequence[Record]) -> Record:
    """The record that leads: that which was put first."""
    return min(records, key=lambda record: record.order)


class Feeds:
    """One feed of each place, however many watch it; for engines.

    Args:
        feed: ``async def feed(place, told)``, which goes on until it is cancelled.
    """

    def __init__(self, feed: Callable[[str, Told], Coroutine[Any, Any, None]]) -> None:
        self._feed = feed
        self._fed: dict[str, _Feed] = {}

    def watch(self, place: str, told: Told) -> Callable[[], None]:
        """As ``Engine.watch``."""
        loop = asyncio.get_running_loop()
        fed = self._fed.get(place)
        if fed is None:
            fed = self._fed[place] = _Feed()
            fed.task = loop.create_task(self._feed(place, fed.told))
        watch = [told]
        fed.watches.append(watch)
        if fed.records is not None:
            loop.call_soon(fed.tell, watch)

        def stop() -> None:
            watch.clear()
            fed.watches = [each for each in fed.watches if each is not watch]
            if not fed.watches and self._fed.get(place) is fed:
                del self._fed[place]
                fed.task.cancel()

        return stop

    async def close(self) -> None:
        """End all."""
        fed, self._fed = self._fed, {}
        for each in fed.values():
            each.watches.clear()
            each.task.cancel()
        if fed:
            await asyncio.wait([each.task for each in fed.values()], timeout=1.0)


class _Feed:
    """What one place was said to hold, and whom that is told."""

    task: asyncio.Task[None]

    def __init__(self) -> None:
        self.watches: list[list[Told]] = []  # empty are those that were stopped
        self.records: Sequence[Record] | None = None

    def told(self, records: Sequence[Record]) -> None:
        self.records = records
        for watch in list(self.watches):
            self.tell(watch)

    def tell(self, watch: list[Told]) -> None:
        for told in watch:
            told(self.records or ())
