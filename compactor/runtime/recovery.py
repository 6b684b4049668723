"""``Recovery``: what is done about one failure, while the mailbox of the process waits."""

from __future__ import annotations

import asyncio
import inspect
from typing import TYPE_CHECKING, Any

from compactor.actor.entries import Entry, message_of, name_of, sender_of
from compactor.actor.events import Initialization
from compactor.actor.handover import hand_over
from compactor.actor.ids import GeneratedId
from compactor.actor.mailbox import ENDED, Mailbox
from compactor.actor.supervision import Escalate, Restart, Resume
from compactor.actor.timers import Timer
from compactor.errors import InvalidProcess, Reason
from compactor.metrics.dead_letters import DeadLetter
from compactor.metrics.logs import logger
from compactor.pid import PID, TEMPORARY
from compactor.process import Process
from compactor.system import clock

if TYPE_CHECKING:
    from compactor.runtime.runtime import Runtime
    from compactor.runtime.supervising import Supervised

log = logger("process")


class Recovery:
    """The way from a failure to what its policy says.

    Args:
        runtime: what the process lives on.
        record: says what is done.
        mailbox: of the process, which serves nothing until this is over.
        entry, error: what has failed, and how.
    """

    def __init__(
        self,
        runtime: Runtime,
        record: Supervised,
        mailbox: Mailbox,
        entry: Entry,
        error: BaseException,
    ) -> None:
        self._runtime = runtime
        self._record = record
        self._mailbox = mailbox
        self._entry = entry
        self._error = error

    async def run(self) -> None:
        """Do it; whoever terminates the process meanwhile cancels it."""
        mailbox = self._mailbox
        try:
            await self._recover()
        except asyncio.CancelledError:
            if mailbox.state != ENDED:
                mailbox.abandon(Reason.TERMINATED)
            raise
        except Exception:
            log.exception("the failure of process %s cannot be dealt with", mailbox.pid)
            if mailbox.state != ENDED:
                mailbox.abandon(Reason.FAILED, None, self._error)

    async def _recover(self) -> None:
        mailbox, policy = self._mailbox, self._record.policy
        await self._call("failed", self._error)
        if isinstance(policy, Resume) and not isinstance(self._entry[1], Initialization):
            return
        self._bury_message()
        await self._end_what_is_the_old_ones()
        await self._runtime.supervision.end_dependents(mailbox, waits=False)
        await self._call("finalize")
        if self._record.restarts is None or not await self._restart():
            self._end()

    async def _call(self, method: str, *args: Any) -> None:
        """Call a hook of the process; what it raises is logged."""
        process = self._mailbox.process
        try:
            # A 0.3.0 program may have something else of that name in an instance.
            result = getattr(type(process), method)(process, *args)
            if inspect.isawaitable(result):
                await result
        except Exception:
            log.exception("process %s failed in %s", self._mailbox.pid, method)

    def _bury_message(self) -> None:
        mailbox, entry = self._mailbox, self._entry
        sender = sender_of(entry)
        if sender is not None and not sender.id.startswith(TEMPORARY):  # who asked was told
            call, _, body = message_of(entry)
            name = name_of(call, mailbox.calls)
            letter = DeadLetter(Reason.FAILED, mailbox.pid, sender, name, len(body))
            self._runtime.metrics.dead_letter(letter)

    async def _end_what_is_the_old_ones(self) -> None:
        pid = self._mailbox.pid
        for watcher in self._runtime.watches.links.watchers(pid):
            if isinstance(watcher, Timer):
                watcher.cancel()
        await self._runtime.supervision.old_asks.end(pid, self._runtime.asks)

    def _end(self) -> None:
        """Have the process end, and tell its parent if that is what the policy says."""
        record = self._record
        self._mailbox.abandon(Reason.FAILED, None, self._error)
        parent = record.parent
        if isinstance(record.policy, Escalate) and parent is not None:
            mailbox = self._runtime.registry.live.get(parent.pid.id)
            if mailbox is not None and mailbox.process is parent:
                mailbox.put_event(Escalation(self._mailbox.pid, self._error))

    async def _restart(self) -> bool:
        """Make the process anew; False if it has failed too often."""
        record, pid = self._record, self._mailbox.pid
        assert record.restarts is not None
        while True:
            pause = record.restarts.pause(clock.now())
            if pause is None:
                policy = record.policy
                assert isinstance(policy, Restart)
                log.error(
                    "process %s ends: it has failed more than %s times within %s s",
                    pid,
                    policy.limit,
                    policy.within,
                )
                return False
            if pause:
                await asyncio.sleep(pause)
            if self._mailbox._dropped is not None:  # terminated, in this very turn of the loop
                self._mailbox.abandon(Reason.TERMINATED)
                return True
            try:
                self._renew()
            except Exception as error:
                self._error = error
                log.exception("process %s cannot be made anew", pid)
            else:
                return True

    def _renew(self) -> None:
        """Have a new process take the place of the old one."""
        record, old, runtime = self._record, self._mailbox, self._runtime
        assert record.factory is not None
        assert record.scope is not None
        context = old.process.context
        process = record.scope.run(made_by, record.factory)
        take_name(process, old.pid.id)
        process.bind(context)
        try:
            mailbox = runtime.supervision.new_mailbox(process, old.pid, record)
        except BaseException:
            process.__unbind__()
            raise
        record.scope.run(mailbox.adopt_context)
        beginning = Renewal(process, lambda error: runtime.readiness.ended(mailbox, error))
        runtime.readiness.begun(mailbox)
        hand_over(old, mailbox, beginning, runtime)
        log.info("process %s was started anew", old.pid)


class Renewal(Initialization):
    """The ``initialize`` of a process that takes the place of another one."""

    __slots__ = ("_process",)

    def __init__(self, process: Process, over: Any) -> None:
        super().__init__(None, over, is_supervised=True)
        self._process = process

    def serve(self, mailbox: Any) -> Any:
        try:
            result = self._process.initialize()
        except BaseException as error:
            self._over(error)
            raise
        if inspect.iscoroutine(result):
            self._coroutine = result
            return super().serve(mailbox)
        self._over(None)
        return None


class AnsweredFailure:
    """A handler has raised, and whoever has asked was told.

    Args:
        error: what it raised.
    """

    __slots__ = ("_error",)

    comes_first = True

    def __init__(self, error: BaseException) -> None:
        self._error = error

    def serve(self, mailbox: Any) -> Any:
        raise self._error

    def moved(self, mailbox: Any, page_of: Any) -> bool:
        """What takes the place of the old object has not failed."""
        return False

    def discard(self, reason: Reason) -> None:
        pass

    def __str__(self) -> str:
        return "an ask that was answered with an error"


class Escalation:
    """A child has failed, and so its parent does.

    Args:
        child: the pid that it had.
        error: how it failed.
    """

    __slots__ = ("_error", "child")

    def __init__(self, child: PID, error: BaseException) -> None:
        self.child = child
        self._error = error

    def serve(self, mailbox: Any) -> Any:
        raise self._error

    def moved(self, mailbox: Any, page_of: Any) -> bool:
        """A parent that was started anew has no such child."""
        return False

    def discard(self, reason: Reason) -> None:
        pass

    def __str__(self) -> str:
        return f"failure of its child {self.child}"


def made_by(factory: Any) -> Process:
    """The process that a factory makes.

    Raises:
        TypeError: it makes something else.
    """
    made = factory()
    if not isinstance(made, Process):
        if inspect.iscoroutine(made):
            made.close()
        raise TypeError(f"the callable given to spawn must return a Process, it returned {made!r}")
    return made


def take_name(process: Process, id_: str) -> None:
    """Let a process take the place of one that has failed.

    Args:
        id_: that the other one has.

    Raises:
        InvalidProcess: the process lives already, or was given another name.
    """
    if process.is_bound and process.context._hosts(process):
        raise InvalidProcess(f"{process} lives already; the callable must make a new process")
    name = getattr(process, "name", None)
    if isinstance(name, GeneratedId):
        process.name = id_
    elif name != id_:
        raise InvalidProcess(
            f"the process that takes the place of {id_!r} must have its name, not {name!r}"
        )
