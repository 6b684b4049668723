"""``Supervision``: the children of one context, and what becomes of those whose handlers raise."""

from __future__ import annotations

import asyncio
import contextvars
import functools
import inspect
from collections.abc import Callable, Coroutine
from typing import TYPE_CHECKING, Any

from compactor.actor.bound import Bound, bounded
from compactor.actor.concurrent import Crew, put_next
from compactor.actor.entries import Entry
from compactor.actor.events import Initialization
from compactor.actor.mailbox import ENDED, Mailbox
from compactor.actor.old_asks import OldAsks
from compactor.actor.protobuf import DoesNotParse
from compactor.actor.supervision import GaveUp, Policy, Restart, Restarts, Resume, Stop
from compactor.errors import Reason
from compactor.metrics.logs import logger
from compactor.net.event_loop import ended_within
from compactor.pid import PID
from compactor.process import Process
from compactor.runtime.recovery import AnsweredFailure, Recovery
from compactor.wire.notices import MAX_DETAIL

if TYPE_CHECKING:
    from compactor.runtime.runtime import Runtime

log = logger("process")

Factory = Callable[[], Process]


class Family:
    """What ends before one process does.

    It watches that process, and has them end if that one has ended without.

    Attributes:
        children: those that live, in the order in which they were spawned.
        crew: the handlers that run beside the mailbox, once there have been any.
    """

    __slots__ = ("_supervision", "children", "crew", "parent")

    def __init__(self, supervision: Supervision, parent: PID) -> None:
        self._supervision = supervision
        self.parent = parent
        self.children: dict[str, PID] = {}
        self.crew: Crew | None = None

    def exited(self, pid: PID, reason: Reason) -> None:
        """The parent has ended."""
        self._supervision.parent_ended(self)


class Supervised:
    """What is known about one process that has a parent, or a policy; it watches that process.

    Args:
        policy: what is done when it fails; None for nothing but a line in the log.
        factory: makes the process anew.
        parent: the process whose child it is.
        ended: called with the reason and the text of the cause when it has ended.
        bound: of its mailbox.

    Attributes:
        restarts: how often it may come back.
        scope: the context variables of whoever has spawned it.
        cause: why it has failed for good.
    """

    __slots__ = (
        "bound",
        "cause",
        "ended",
        "factory",
        "family",
        "parent",
        "pid",
        "policy",
        "restarts",
        "scope",
        "supervision",
    )

    def __init__(
        self,
        policy: Policy | None,
        factory: Factory | None,
        parent: Process | None,
        ended: Callable[[Reason, str], Any] | None,
        bound: Bound | None = None,
    ) -> None:
        self.policy = policy
        self.bound = bound
        self.factory = factory
        self.parent = parent
        self.ended = ended
        self.cause = ""
        self.restarts: Restarts | None = None
        self.scope: contextvars.Context | None = None
        if isinstance(policy, Restart):
            self.restarts = Restarts(policy)
            self.scope = contextvars.copy_context()
        self.pid: PID
        self.family: Family | None = None
        self.supervision: Supervision

    def exited(self, pid: PID, reason: Reason) -> None:
        """The process has ended."""
        self.supervision.forget(self)
        if self.ended is not None:
            self.ended(reason, self.cause)


_GIVES_UP = Supervised(Stop(), None, None, None)  # what a process without a record is, at its end


class Supervision:
    """The supervised processes of one context.

    Args:
        runtime: what they live on.

    Attributes:
        records: by id; empty if nothing is supervised.
        parents: the families by id of the parent.
        old_asks: ends those of processes that have failed.
    """

    def __init__(self, runtime: Runtime) -> None:
        self._runtime = runtime
        self.records: dict[str, Supervised] = {}
        self.parents: dict[str, Family] = {}
        self.old_asks = OldAsks()

    def new_mailbox(self, process: Process, pid: PID, record: Supervised | None) -> Mailbox:
        """The mailbox of a process, not opened yet; any thread may have it made."""
        runtime = self._runtime
        if record is None or record.bound is None:
            return runtime.new_mailbox(process, pid, runtime, runtime.run_queue)
        new = bounded(runtime.new_mailbox)  # type: ignore[arg-type]  # a class has a hash
        return new(process, pid, runtime, runtime.run_queue, record.bound)

    # On the thread of whoever spawns

    def admit(self, record: Supervised, pid: PID) -> None:
        """Know a process from now on, before it is initialized."""
        record.pid = pid
        record.supervision = self
        self.records[pid.id] = record
        parent = record.parent
        if parent is not None:
            family = self.parents.setdefault(parent.pid.id, Family(self, parent.pid))
            family.children[pid.id] = pid
            record.family = family

    def forget(self, record: Supervised) -> None:
        """Know a process no more."""
        id_ = record.pid.id
        if self.records.get(id_) is record:
            self.records.pop(id_, None)
        if record.family is not None:
            record.family.children.pop(id_, None)

    def children_of(self, process: Process) -> list[PID]:
        """The live children of a process."""
        family = self.parents.get(process.pid.id)
        return [] if family is None else list(family.children.values())

    def terminating(self, mailbox: Mailbox) -> Callable[[bool], Any]:
        """The call that ends a process, also if it is made anew before the loop comes to it."""
        record = self.records.get(mailbox.pid.id)
        if record is None or record.restarts is None:
            return mailbox.terminate
        return functools.partial(self._terminate, record)

    # On the loop

    def successor_of(self, mailbox: Mailbox) -> Mailbox | None:
        """Who has taken the place of a process that has ended; None if it was not made anew."""
        record = self.records.get(mailbox.pid.id)
        if record is None or record.pid is not mailbox.pid:  # which all of them have in common
            return None
        return self._runtime.registry.live.get(mailbox.pid.id)

    def crew_of(self, process: Process) -> Crew:
        """What runs beside the mailbox of a process that is served right now."""
        runtime, pid = self._runtime, process.pid
        family = self.parents.get(pid.id)
        if family is None:
            family = self.parents.setdefault(pid.id, Family(self, pid))
        crew = family.crew
        if crew is None or crew.mailbox.process is not process:
            mailbox = runtime.registry.live[pid.id]
            crew = family.crew = Crew(mailbox, runtime, runtime.settings.max_concurrent_handlers)
            runtime.watches.links.add(family, pid)
        return crew

    def runs_beside(self, pid: PID) -> bool:
        """Whether the current task is a handler of a process that does not hold its mailbox."""
        family = self.parents.get(pid.id)
        crew = None if family is None else family.crew
        return crew is not None and crew.has(asyncio.current_task())

    def running(self) -> list[asyncio.Task[Any]]:
        """The tasks of all handlers that run beside their mailboxes."""
        crews = [family.crew for family in list(self.parents.values())]
        return [task for crew in crews if crew is not None for task in crew.running]

    def hurry(self, mailbox: Mailbox) -> None:
        """Have a process that waits for its handlers wait no more."""
        family = self.parents.get(mailbox.pid.id)
        if family is not None and family.crew is not None and family.crew.mailbox is mailbox:
            family.crew.hurry()

    async def end_dependents(self, mailbox: Mailbox, waits: bool) -> None:
        """Have all end that ends before a process does.

        Args:
            waits: whether concurrent handlers are waited for, and not cancelled.
        """
        family = self.parents.get(mailbox.pid.id)
        if family is not None and family.crew is not None and family.crew.mailbox is mailbox:
            await family.crew.end(self._runtime.settings.linger, waits)
        await self.end_children(mailbox.pid)

    def _terminate(self, record: Supervised, inject: bool) -> None:
        if self.records.get(record.pid.id) is record:
            self._runtime.registry.live[record.pid.id].terminate(inject)

    def begin(self, record: Supervised) -> bool:
        """Watch a process that is about to be opened; False if its parent has ended meanwhile."""
        links, family = self._runtime.watches.links, record.family
        links.add(record, record.pid)
        if family is None:
            return True
        mailbox = self._runtime.registry.live.get(family.parent.id)
        if mailbox is None or mailbox.process is not record.parent:
            return False
        links.add(family, family.parent)
        return True

    def parent_ended(self, family: Family) -> None:
        """A process has ended, and so do the children that it has left."""
        id_ = family.parent.id
        if self.parents.get(id_) is family:
            self.parents.pop(id_, None)
        self._runtime.watches.links.drop(family)
        if family.crew is not None and family.crew.running:
            family.crew.cancel()
        for pid in reversed(list(family.children.values())):
            mailbox = self._runtime.registry.live.get(pid.id)
            if mailbox is not None:
                mailbox.terminate(True)

    async def end_family(self, mailbox: Mailbox) -> None:
        """Have all end that ends before a process, and then finalize it."""
        await self.end_dependents(mailbox, waits=mailbox._dropped is None)
        result = mailbox.process.finalize()
        if inspect.isawaitable(result):
            await result

    async def end_children(self, pid: PID) -> None:
        """Have the children of a process end, the youngest first, in the time of ``linger``."""
        family = self.parents.get(pid.id)
        if family is not None and family.children:
            await self.end_all(list(family.children.values()))

    async def end_all(self, pids: list[PID]) -> None:
        """Have processes end, the last first, in the time of ``linger``."""
        live, links = self._runtime.registry.live, self._runtime.watches.links
        ends = _Ends()
        for pid in reversed(pids):
            mailbox = live.get(pid.id)
            if mailbox is not None:
                links.add(ends, pid)
                ends.expected.add(pid.id)
                mailbox.terminate(True)
        linger = self._runtime.settings.linger
        await ends.come(linger)
        links.drop(ends)
        for id_ in ends.expected:
            mailbox = live.get(id_)
            if mailbox is not None:
                log.warning("process %s did not end within %s s", mailbox.pid, linger)
                mailbox.abandon(Reason.TERMINATED)

    def cause(self, pid: PID, error: BaseException | None) -> str:
        """Why a process has failed for good, in words, which its parent may be told."""
        text = "" if error is None else cause_of(error)
        record = self.records.get(pid.id)
        if record is not None:
            record.cause = text
        return text

    def answer_failed(self, process: Process, error: BaseException) -> None:
        """A handler has raised that was asked: its process fails, next of all."""
        record = self.records.get(process.pid.id)
        mailbox = self._runtime.registry.live.get(process.pid.id)
        has_policy = record is not None and record.policy is not None
        if isinstance(error, DoesNotParse):
            return  # whoever has asked has failed
        if has_policy and mailbox is not None and mailbox.process is process:
            put_next(mailbox, AnsweredFailure(error))

    def failed(
        self, mailbox: Mailbox, entry: Entry, error: BaseException
    ) -> Coroutine[Any, Any, None] | None:
        """A handler has raised: what is to be awaited before the next event, if anything is."""
        record = self.records.get(mailbox.pid.id)
        policy = record.policy if record is not None else None
        if policy is None and not isinstance(error, GaveUp):
            return None
        if (
            isinstance(error, (KeyboardInterrupt, DoesNotParse, MemoryError))
            or mailbox.state == ENDED
            or mailbox._dropped is not None
            or self._runtime.life.is_ending
        ):
            return None
        if record is None or (isinstance(error, GaveUp) and isinstance(policy, Resume)):
            return Recovery(self._runtime, _GIVES_UP, mailbox, entry, error).run()
        is_beginning = isinstance(entry[1], Initialization)
        has_no_hook = type(mailbox.process).failed is Process.failed
        if isinstance(policy, Resume) and has_no_hook and not is_beginning:
            return None
        return Recovery(self._runtime, record, mailbox, entry, error).run()


class _Ends:
    """The ends of some processes.

    Attributes:
        expected: the ids of those that have not ended.
    """

    def __init__(self) -> None:
        self.expected: set[str] = set()
        self._over = asyncio.Event()

    def exited(self, pid: PID, reason: Reason) -> None:
        """One has ended."""
        self.expected.discard(pid.id)
        if not self.expected:
            self._over.set()

    async def come(self, seconds: float) -> None:
        """Wait for all, or until the time is over."""
        if self.expected:
            await ended_within(seconds, self._over.wait())


def cause_of(error: BaseException) -> str:
    """The type of an error and what it says, cut where it is long."""
    try:
        text = str(error)
    except Exception:  # of the __str__ of an error
        text = ""
    name = type(error).__qualname__
    told = (f"{name}: {text}" if text else name)[:MAX_DETAIL]
    return told.encode("utf-8", "backslashreplace").decode()[:MAX_DETAIL]
