"""``Pool``: several processes that do the same, of which each message is for one."""

from __future__ import annotations

import asyncio
import hashlib
import math
from collections.abc import Callable, Iterable, Sequence
from threading import Lock
from typing import Any, Literal, Protocol, TypeVar, get_args, overload

from compactor.actor.messages import Ask, Message, ProtobufMessage
from compactor.errors import AskFailed, Draining, Reason
from compactor.pid import PID, check_pid
from compactor.runtime.asking import checked_timeout
from compactor.settings import Settings
from compactor.system.system import system
from compactor.wire.encoder import Body

__all__ = ["NoMember", "Pool", "Route", "choose_by_key"]

Answer = TypeVar("Answer")

Route = Literal["first", "random", "round_robin", "least", "key"]
Key = str | bytes | int

_AVOIDED = 1.0  # seconds in which others are asked rather than one that takes nothing

_AWAY = (
    Reason.REFUSED,
    Reason.RESET,
    Reason.CLOSED,
    Reason.UNREACHABLE,
    Reason.UNRESOLVED,
    Reason.TIMEOUT,
    Reason.NO_PROCESS,
)
"""Why an ask has failed that tells something of the next one: nobody is there right now."""


class PoolOwner(Protocol):
    """Who asks: a ``Context``."""

    @property
    def settings(self) -> Settings: ...
    @property
    def ask(self) -> Callable[..., Any]: ...


class NoMember(AskFailed):
    """A pool had nobody to ask in the time of the ask.

    Args:
        message: which pool, and for how long.
    """

    def __init__(self, message: str) -> None:
        super().__init__(message, Reason.NO_PROCESS)


class Pool:
    """Asks one of several processes that do the same, here or elsewhere::

        pool = Pool(context, [PID.from_string("resize@192.0.2.7:5051"), ...], route="least")
        answer = await pool.ask("resize", image, timeout=5)

    A member that is about to stop refuses what it has not handled, with ``Draining``; then another
    one is asked.  All other failures are the asker's, for that message may have been handled.

    It may be used from any thread and any loop.

    Args:
        context: asks.
        members: the pids; or a callable that returns them, and is called for each message.
        route: which member is next: ``"first"`` of them in their order; one at ``"random"``; all
            in turn, ``"round_robin"``; that with the fewest asks of this pool under way,
            ``"least"``; or, ``"key"``, that of the key, which each ask has to have then.
        name: of the pool, for the texts of errors.

    Raises:
        TypeError, ValueError: an argument cannot be used.
    """

    def __init__(
        self,
        context: PoolOwner,
        members: Iterable[PID] | Callable[[], Iterable[PID]] = (),
        route: Route = "random",
        *,
        name: str = "pool",
    ) -> None:
        if route not in get_args(Route):
            choices = ", ".join(map(repr, get_args(Route)))
            raise ValueError(f"route={route!r} must be one of {choices}")
        self.name = name
        self._context = context
        self._route = route
        self._source = members if callable(members) else None
        self._members: tuple[PID, ...] = () if callable(members) else _checked(members)
        self._turn = 0
        self._under_way: dict[PID, int] = {}
        self._avoided: dict[PID, float] = {}
        self._waiting: set[tuple[asyncio.AbstractEventLoop, asyncio.Future[None]]] = set()
        self._lock = Lock()  # held for a few steps that wait for nothing

    def __repr__(self) -> str:
        return f"<Pool {self.name}: {len(self.members)} members, {self._route}>"

    @property
    def members(self) -> tuple[PID, ...]:
        """Who may be asked right now, in their order."""
        return self._members if self._source is None else _checked(self._source())

    def update(self, members: Iterable[PID]) -> None:
        """Have these be the members from now on; from any thread.

        Args:
            members: all of them.

        Raises:
            ValueError: the pool asks a callable for its members.
            TypeError: one of them is no pid.
        """
        if self._source is not None:
            raise ValueError(f"the members of {self!r} are told by {self._source!r}")
        found = _checked(members)
        with self._lock:
            self._members = found
            gone = self._avoided.keys() - set(found)
            for pid in gone:  # whoever comes back is another one
                del self._avoided[pid]
            waiting, self._waiting = self._waiting, set()
        for loop, woken in waiting:
            try:
                loop.call_soon_threadsafe(_wake, woken)
            except RuntimeError:  # that loop has ended, and nobody waits there
                continue

    async def pick(self, *, key: Key | None = None, timeout: float | None = None) -> PID:
        """Wait until there is a member, and choose one.

        Args:
            key: the same one is chosen for the same key, as long as it is a member; when others
                come or go, few keys move.  Every program chooses alike.
            timeout: seconds; default the setting ``ask_timeout``.

        Raises:
            NoMember: there was none in that time.
            TypeError, ValueError: an argument cannot be used.
        """
        self._check_key(key)
        seconds = self._seconds(timeout)
        now = asyncio.get_running_loop().time()
        pid = self._at_hand(key, now)
        return await self._wait(key, now + seconds, seconds) if pid is None else pid

    @overload
    async def ask(
        self,
        name: str,
        body: Body | None = None,
        *,
        key: Key | None = None,
        timeout: float | None = None,
    ) -> bytes: ...
    @overload
    async def ask(
        self,
        name: str,
        body: Body | None = None,
        *,
        reply: type[Answer],
        key: Key | None = None,
        timeout: float | None = None,
    ) -> Answer: ...
    @overload
    async def ask(
        self, name: Ask[Answer], *, key: Key | None = None, timeout: float | None = None
    ) -> Answer: ...
    @overload
    async def ask(
        self,
        name: Message,
        *,
        reply: type[Answer],
        key: Key | None = None,
        timeout: float | None = None,
    ) -> Answer: ...
    @overload
    async def ask(
        self, name: ProtobufMessage, *, key: Key | None = None, timeout: float | None = None
    ) -> bytes: ...
    # In one piece: most of it says what may be asked and what comes of it.
    async def ask(
        self,
        name: Any,
        body: Body | None = None,
        *,
        reply: Any = None,
        key: Key | None = None,
        timeout: float | None = None,
    ) -> Any:
        """Ask one of the members, and another one if that is about to stop.

        Args:
            name, body, reply: as for :meth:`compactor.Context.ask`.
            key: as for ``pick``.
            timeout: seconds for all of it; default the setting ``ask_timeout``.

        Returns:
            The answer.

        Raises:
            NoMember: there was nobody to ask in that time.
            Draining: all members were about to stop, for all that time.
            AskFailed, AskTimeout, RemoteError: as of ``Context.ask``.  The handler may have run.
            ContextStopped: the context was stopped.
            TypeError, ValueError, MissingPackage: as of ``Context.ask``.
        """
        self._check_key(key)
        seconds = self._seconds(timeout)
        loop = asyncio.get_running_loop()
        now = loop.time()
        until = now + seconds
        refused: Draining | None = None
        while True:
            pid = self._at_hand(key, now)
            if pid is None:
                try:
                    pid = await self._wait(key, until, seconds)
                except NoMember:
                    if refused is None:
                        raise
                    raise refused from None
                now = loop.time()
            left = max(until - now, 1e-3)
            self._count(pid, 1)
            try:
                return await self._context.ask(pid, name, body, reply=reply, timeout=left)
            except Draining as error:
                refused = error
                now = loop.time()
                self._avoid(pid, now)
            except AskFailed as error:
                if error.reason in _AWAY:
                    self._avoid(pid, loop.time())
                raise
            finally:
                self._count(pid, -1)

    def _check_key(self, key: Key | None) -> None:
        if key is None and self._route == "key":
            raise ValueError(f"{self!r} chooses by key: give key= with each ask")

    def _seconds(self, timeout: float | None) -> float:
        if timeout is None:
            return self._context.settings.ask_timeout
        return checked_timeout(timeout)

    def _count(self, pid: PID, change: int) -> None:
        with self._lock:
            count = self._under_way.get(pid, 0) + change
            if count:
                self._under_way[pid] = count
            else:
                del self._under_way[pid]

    def _avoid(self, pid: PID, now: float) -> None:
        with self._lock:
            if len(self._avoided) > 2 * len(self._members):  # those of a callable come and go
                self._avoided = {each: at for each, at in self._avoided.items() if at > now}
            self._avoided[pid] = now + _AVOIDED

    def _at_hand(self, key: Key | None, now: float) -> PID | None:
        """One that may be asked right now."""
        usable, _ = self._usable(now)
        return self._choose(usable, key) if usable else None

    async def _wait(self, key: Key | None, until: float, seconds: float) -> PID:
        """Wait for one that may be asked."""
        loop = asyncio.get_running_loop()
        while True:
            woken: asyncio.Future[None] = loop.create_future()
            entry = (loop, woken)
            with self._lock:  # an update in another thread goes through them
                self._waiting.add(entry)  # before the look, or an update between the two is missed
            try:
                now = loop.time()
                usable, again = self._usable(now)
                if usable:
                    return self._choose(usable, key)
                if now >= until:
                    raise NoMember(f"{self.name!r} had no member to ask within {seconds:g} s")
                pause = min(until, again) - now
                await asyncio.wait([woken], timeout=pause)
            finally:
                with self._lock:
                    self._waiting.discard(entry)

    def _usable(self, now: float) -> tuple[Sequence[PID], float]:
        """Those that may be asked, and when to look again if there are none."""
        members = self.members
        if not members:
            return members, math.inf if self._source is None else now + _AVOIDED / 20
        avoided = self._avoided
        if not avoided:
            return members, math.inf
        usable = [pid for pid in members if avoided.get(pid, 0.0) <= now]
        return usable, min((avoided.get(pid, now) for pid in members), default=math.inf)

    def _choose(self, usable: Sequence[PID], key: Key | None) -> PID:
        if key is not None:
            return choose_by_key(usable, key)
        if self._route == "first" or len(usable) == 1:
            return usable[0]
        if self._route == "random":
            return usable[int(system().chance() * len(usable))]
        with self._lock:
            self._turn += 1
            start = self._turn % len(usable)
        if self._route == "round_robin":
            return usable[start]
        under_way = self._under_way  # among equals it goes on, or the first would have all
        return min((*usable[start:], *usable[:start]), key=lambda pid: under_way.get(pid, 0))


def choose_by_key(pids: Iterable[PID], key: Key) -> PID:
    """The one of some pids that a key belongs to: the same in every program.

    When one comes or goes, only its own keys move (rendezvous hashing).  It takes time with the
    number of pids.

    Args:
        pids: in any order.
        key: text, bytes or a number.

    Raises:
        ValueError: there are none.
        TypeError: the key is of another type.
    """
    if isinstance(key, str):
        content = b"s" + key.encode("utf-8", "surrogatepass")
    elif isinstance(key, bytes):
        content = b"b" + key
    elif isinstance(key, int) and not isinstance(key, bool):
        content = b"i%d" % key
    else:
        raise TypeError(f"a key is text, bytes or a number, got {key!r}")
    hashed = hashlib.blake2b(content, digest_size=16)

    def weight(pid: PID) -> tuple[bytes, str]:
        text = str(pid)
        mine = hashed.copy()
        mine.update(text.encode("utf-8", "surrogateescape"))
        return mine.digest(), text

    return max(pids, key=weight)


def _checked(members: Iterable[PID]) -> tuple[PID, ...]:
    found = tuple(dict.fromkeys(members))
    for pid in found:
        check_pid(pid)
    return found


def _wake(woken: asyncio.Future[None]) -> None:
    if not woken.done():
        woken.set_result(None)
