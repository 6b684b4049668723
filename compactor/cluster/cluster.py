"""``Cluster``: names, groups and leaders, for one context."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from types import TracebackType
from typing import TYPE_CHECKING, Literal
from weakref import WeakSet

from compactor.cluster import engines
from compactor.cluster.engine import LEAD, NAMES, REGISTER, Engine
from compactor.cluster.errors import ClusterError, NobodyFound
from compactor.cluster.groups import Group, Watch
from compactor.cluster.leading import Leading
from compactor.cluster.records import Leader, Member, Metadata, written
from compactor.cluster.registering import Registration
from compactor.cluster.sessions import Session, Sessions
from compactor.cluster.urls import check_name, is_loopback
from compactor.errors import InvalidProcess
from compactor.metrics.logs import logger
from compactor.pid import PID, check_pid
from compactor.pool import Key, Pool, Route, choose_by_key
from compactor.system.system import system

if TYPE_CHECKING:
    from compactor.actor.promises import Exit
    from compactor.context import Context

log = logger("cluster")

_MOST_IDLE = 1000  # names that are followed although nobody looks, so that ``find`` need not wait
_DIAL = 2.0  # seconds that a dial may wait for its turn
_NAMES, _LEADERS = "names", "leaders"


class Cluster:
    """Processes find each other by name, and elect leaders, through an engine that keeps names::

        async with Cluster("zk://zk1:2181,zk2:2181/shop", context) as cluster:
            async with cluster.register("orders", process.pid):
                ...

    All but ``Term.valid`` is called on the loop that has entered it, which may be another one than
    that of the context.  It can be entered again after it was left.

    Args:
        url: the engine and the path below which all is kept; or a callable that makes an
            :class:`Engine`.
        context: the processes that are registered are of this one, and it links those that are
            found.
        session: seconds after which the engine drops what a program holds that it has not heard
            of; engines have bounds of their own.
        timeout: seconds that entering may take.

    Raises:
        TypeError, ValueError: an argument cannot be used; the text says which and why.
        MissingPackage: what speaks with the engine is not installed.
    """

    def __init__(
        self,
        url: str | Callable[[], Engine],
        context: Context,
        session: float = 10.0,
        timeout: float = 10.0,
    ) -> None:
        for what, seconds in (("session", session), ("timeout", timeout)):
            if isinstance(seconds, bool) or not isinstance(seconds, (int, float)):
                raise TypeError(f"{what} is a number of seconds, got {seconds!r}")
            if not 0 < seconds < float("inf"):
                raise ValueError(f"{what} must be positive seconds, got {seconds!r}")
        make, self.url = engines.of_url(url, context) if isinstance(url, str) else (url, "")
        engine = make() if callable(make) else make  # so that what cannot be used is told now
        if not callable(make) or not isinstance(engine, Engine):
            raise TypeError(f"a cluster has a URL, or a callable that makes an Engine, got {url!r}")
        self.url = self.url or type(engine).__name__
        self.context = context
        self._about = engine
        self._timeout = timeout
        self._sessions = Sessions(make, session, self.url, self._begun)
        self._loop: asyncio.AbstractEventLoop | None = None
        self._groups: dict[tuple[str, str], Group] = {}
        self._names: dict[str, Group] = {}  # the same, of names alone
        self._candidates: set[str] = set()
        self._registrations: WeakSet[Registration] = WeakSet()
        self._leadings: WeakSet[Leading] = WeakSet()
        self._has_warned = self._has_withdrawn = False

    def __repr__(self) -> str:
        return (
            f"<Cluster {self.url} {'connected' if self.is_connected else self.trouble or 'left'}>"
        )

    async def __aenter__(self) -> Cluster:
        if self._loop is not None:
            raise ClusterError("this cluster was entered already")
        self._loop = asyncio.get_running_loop()
        try:
            await self._sessions.start(self._timeout)
        except BaseException:
            self._loop = None
            raise
        self.context.on_drain(self._drain)
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.context._runtime.leaving.hooks.remove(self._drain)
        for group in self._groups.values():
            group.close()
        self._groups.clear()
        self._names.clear()
        try:
            await self._sessions.stop()
        finally:
            self._loop = None

    @property
    def is_connected(self) -> bool:
        """Whether there is a session, and its last heartbeat was acknowledged."""
        return self._sessions.now is not None and not self._sessions.trouble

    @property
    def trouble(self) -> str:
        """Why it is not connected, in words; empty if it is."""
        return self._sessions.trouble

    @property
    def session(self) -> float | None:
        """The seconds that the engine has agreed to; None while there is no session."""
        now = self._sessions.now
        return None if now is None else now.lease.seconds

    # Names

    def register(self, name: str, pid: PID, metadata: Metadata | None = None) -> Registration:
        """Have a process bear a name for the length of an ``async with`` block.

        The block begins once the engine has acknowledged it.  Several may bear one name.

        Args:
            name: any printable text of up to 200 characters without slashes, blanks and ``@``.
            pid: of a live process of the context.
            metadata: texts, numbers and booleans by name, for those who find it.

        Raises:
            InvalidProcess: no such process lives in the context.
            ClusterRefused: in the block's beginning: the engine refuses it.
            ClusterError: the engine cannot register.
            TypeError, ValueError: an argument cannot be used, or is too large for the engine.
        """
        place, exit_, value = self._claim(REGISTER, _NAMES, name, pid, metadata)
        registration = Registration(self._sessions, place, pid, value, exit_)
        self._registrations.add(registration)
        return registration

    async def find(
        self,
        name: str,
        timeout: float = 5.0,
        *,
        route: Literal["first", "random"] = "first",
        key: Key | None = None,
    ) -> PID:
        """The pid of one of those who bear a name.

        Args:
            name: of whom.
            timeout: seconds to wait for somebody.
            route: ``"first"``: who has borne it for longest; ``"random"``: any.
            key: the same one for the same key, as long as it is there, in every program.

        Raises:
            NobodyFound: nobody has borne it in that time.
        """
        group = self._names.get(name)
        if group is not None and group.first is not None and route == "first" and key is None:
            return group.first
        if route not in ("first", "random"):
            raise ValueError(f"route={route!r} must be 'first' or 'random'; or give key=")
        group = self._group(_NAMES, name)
        members = await self._somebody(group, f"bears the name {name!r}", timeout)
        pids = [member.pid for member in members]
        if key is not None:
            return choose_by_key(pids, key)
        return pids[int(system().chance() * len(pids))] if route == "random" else pids[0]

    def watch(self, name: str) -> Watch[tuple[Member, ...]]:
        """All who bear a name, now and after each change: ``async for members in ...``.

        Each is the whole set, those who have borne the name for longest first.  If it has changed
        several times since the last one, the newest alone is yielded.  Who comes back is another
        member, with another id.
        """
        return Watch(self._group(_NAMES, name), lambda group: group.members)

    def pool(self, name: str, route: Route = "random") -> Pool:
        """A :class:`compactor.pool.Pool` of all who bear a name, which follows their changes.

        Args:
            name: of whom.
            route: who is asked next, as for ``Pool``.
        """
        pool = Pool(self.context, route=route, name=check_name(name))
        self._group(_NAMES, name).feed(pool)
        return pool

    # Leaders

    def lead(self, name: str, pid: PID) -> Leading:
        """Be elected, and lead in an ``async with`` block, whose target is the :class:`Term`.

        The block begins when this one is elected.  ``LeadershipLost`` is raised in it when
        leadership is lost, or when it may be, since no heartbeat was acknowledged in time.

        Args:
            name: what is led.
            pid: of a live process of the context; who asks for the leader is given this.

        Raises:
            LeadershipLost: as above; also if the process ends while it waits.
            ClusterError: this cluster leads it already; or the engine has no leaders.
            ClusterRefused: the engine refuses it.
            InvalidProcess, TypeError, ValueError: as ``register``.
        """
        place, exit_, value = self._claim(LEAD, _LEADERS, name, pid, None)
        leading = Leading(self._sessions, place, name, pid, value, exit_, self._candidates)
        self._leadings.add(leading)
        return leading

    async def leader(self, name: str, timeout: float = 5.0) -> PID:
        """The pid of the leader.

        Args:
            name: what is led.
            timeout: seconds to wait for one.

        Raises:
            NobodyFound: there was none in that time.
        """
        group = self._group(_LEADERS, name)
        return (await self._somebody(group, f"leads {name!r}", timeout))[0].pid

    def watch_leader(self, name: str) -> Watch[Leader | None]:
        """The leader, now and after each change; None while there is none."""
        return Watch(self._group(_LEADERS, name), _leader)

    async def withdraw(self, timeout: float = 1.0) -> None:
        """Bear no names and lead nothing any more; done first of all when the context drains.

        The blocks of ``register`` go on, without effect; those of ``lead`` end with
        ``LeadershipLost``, and new ones are refused with a ``ClusterError``.  Others can still be
        found.

        Args:
            timeout: seconds to wait for the engine to know; it is told afterwards, too.
        """
        self._has_withdrawn = True
        waiting = [each for each in map(Registration.leave, self._registrations) if each]
        for leading in list(self._leadings):
            if not leading.ended.done() and leading.lose("this program has withdrawn"):
                waiting.append(leading.ended)
        if waiting:
            await asyncio.wait(waiting, timeout=timeout)

    async def _drain(self) -> None:
        """The context is about to stop, and tells so on its own loop."""
        loop = self._loop
        if loop is asyncio.get_running_loop():
            await self.withdraw()
        elif loop is not None and loop.is_running():
            await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(self.withdraw(), loop))

    # How it is done

    def _claim(
        self, capability: str, kind: str, name: str, pid: PID, metadata: Metadata | None
    ) -> tuple[str, Exit, bytes]:
        """The place and the record for a process, and what tells its end."""
        self._check(capability, name)
        if self._has_withdrawn:
            raise ClusterError(f"this program has withdrawn from {self.url}, for good")
        check_pid(pid)
        if self.context._registry.mailbox_of(pid) is None:
            raise InvalidProcess(
                f"{pid} does not live on {self.context}: only its own processes bear names"
            )
        value = written(pid, metadata)
        most = self._about.max_value
        if len(value) > most:
            raise ValueError(
                f"the record of {pid} has {len(value)} bytes with its metadata; {self.url} takes "
                f"{most} at most"
            )
        if not self._about.serves_this_machine_alone and is_loopback(pid.ip):
            self._warn_of_loopback(pid, self.url)
        return f"{kind}/{name}", self.context.wait(pid), value

    def _check(self, capability: str, name: str) -> None:
        check_name(name)
        if capability not in self._about.capabilities:
            can = ", ".join(sorted(self._about.capabilities))
            raise ClusterError(f"{self.url} cannot do this ({capability}); it can: {can}")
        if self._loop is None:
            raise ClusterError("this cluster is not entered: use it in its async with block")
        if asyncio.get_running_loop() is not self._loop:
            raise ClusterError("this cluster is used on the loop that has entered it alone")

    def _group(self, kind: str, name: str) -> Group:
        group = self._groups.get((kind, name))
        if group is not None:
            return group
        self._check(NAMES if kind == _NAMES else LEAD, name)
        if len(self._groups) >= _MOST_IDLE:
            self._forget_one()
        place, settle = f"{kind}/{name}", self.context.settings.connect_timeout + _DIAL
        group = Group(self.context.wait, settle, kind == _LEADERS, self._met, place)
        self._groups[kind, name] = group
        if kind == _NAMES:
            self._names[name] = group
        now = self._sessions.now
        if now is not None:
            group.stop_watching = now.engine.watch(place, group.told)
        return group

    def _forget_one(self) -> None:
        """Follow that name no longer that nobody looks at, and that was asked for first."""
        for key, group in self._groups.items():
            if group.is_idle:
                self._forget(*key)
                return

    def _forget(self, kind: str, name: str) -> None:
        self._groups.pop((kind, name)).close()
        if kind == _NAMES:
            del self._names[name]

    def _begun(self, session: Session) -> None:
        # What nobody looks at right now is asked for when somebody does: all at once is a load.
        for key in [key for key, group in self._groups.items() if group.is_idle]:
            self._forget(*key)
        for (kind, name), group in self._groups.items():
            group.stop_watching = session.engine.watch(f"{kind}/{name}", group.told)

    async def _somebody(self, group: Group, what: str, timeout: float) -> tuple[Member, ...]:
        """Wait until a group has members."""

        async def wait() -> tuple[Member, ...]:
            while not group.members and not group.is_over:
                await group.changed()
            return group.members  # they may be gone when this is heard of

        members = group.members
        if not members:
            try:
                members = await asyncio.wait_for(wait(), timeout)
            except asyncio.TimeoutError:
                why = f"; {self.url}: {self.trouble}" if self.trouble else ""
                raise NobodyFound(f"nobody {what}: waited for {timeout:g} s{why}") from None
        if not members:
            raise ClusterError("this cluster was left meanwhile")
        return members

    def _met(self, member: Member) -> None:
        """Somebody else is there; whom we could not tell our address if it is of loopback."""
        if is_loopback(self.context.ip) and not is_loopback(member.pid.ip):
            self._warn_of_loopback(self.context, member.pid)

    def _warn_of_loopback(self, own: object, others: object) -> None:
        if not self._has_warned:
            self._has_warned = True
            log.warning(
                "%s advertises an address that only this machine reaches, while others are "
                "elsewhere: %s; set LIBPROCESS_IP or advertise_ip",
                own,
                others,
            )


def _leader(group: Group) -> Leader | None:
    for order, member in group.shown:
        return Leader(member.id, member.pid, order)
    return None
