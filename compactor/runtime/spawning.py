"""Spawning: what is done on the caller's thread, and then on that of the loop."""

from __future__ import annotations

import functools
from collections.abc import Callable, Coroutine
from threading import get_ident
from typing import TYPE_CHECKING, Any

from compactor.actor.bound import Bound, check_bound
from compactor.actor.events import Initialization
from compactor.actor.handlers import HandlerTable
from compactor.actor.mailbox import Mailbox
from compactor.actor.supervision import Policy, check_policy
from compactor.errors import InvalidProcess, ProcessError, ProcessTerminated, Reason
from compactor.pid import PID
from compactor.process import Process
from compactor.runtime.locks import check_endpoints
from compactor.runtime.loop_owner import LoopOwner
from compactor.runtime.recovery import made_by
from compactor.runtime.runtime import Runtime
from compactor.runtime.supervising import Supervised

if TYPE_CHECKING:
    from compactor.auth.guard import Guard

Rest = Coroutine[Any, Any, Any]  # of an ``async def initialize``


def spawn(context: Any, process: Process, record: Supervised | None = None) -> PID:
    """Give a process its pid and a mailbox, run its ``initialize``, and let it receive.

    If ``initialize`` raises, nothing has been spawned.

    Args:
        context: a ``Context``, to which the process is bound.
        record: what is known about it, if it is supervised.

    Raises:
        InvalidProcess: a live process has that name, this one lives already, or there are too many.
    """
    runtime = context._runtime
    try:
        pid = process.bind(context) or process.pid  # an override may return nothing
    except ProcessError as error:
        raise InvalidProcess(str(error)) from None
    mailbox = None
    try:
        if record is None:
            claimed = runtime.new_mailbox(process, pid, runtime, runtime.run_queue)
        else:
            claimed = runtime.supervision.new_mailbox(process, pid, record)
        runtime.registry.claim(claimed)
        mailbox = claimed
        if record is not None:
            runtime.supervision.admit(record, pid)
        rest = mailbox.initialize()
    except BaseException as error:
        process.__unbind__()
        if mailbox is not None:
            _undo(context, mailbox, record, error)
        raise
    if rest is not None and not isinstance(rest, Coroutine):
        rest = None  # a method may return anything
    if context._portal.thread == get_ident():
        start_process(runtime, mailbox, rest, record)
    else:
        context._call(start_process, runtime, mailbox, rest, record)
    return pid


def _undo(context: Any, mailbox: Mailbox, record: Supervised | None, error: BaseException) -> None:
    """A process could not be initialized."""
    runtime = context._runtime
    runtime.registry.release(mailbox)
    context._call(mailbox.abandon, Reason.TERMINATED)
    context._call(runtime.readiness.ended, mailbox, error)
    if record is not None:
        runtime.supervision.forget(record)
    family = runtime.parents.get(mailbox.pid.id)
    if family is not None:
        context._call(runtime.supervision.parent_ended, family)


def spawn_supervised(
    context: Any,
    process: Process | Callable[[], Process],
    policy: Policy | None,
    bound: Bound | None = None,
    parent: Process | None = None,
    ended: Callable[[Reason, str], Any] | None = None,
) -> PID:
    """Spawn a process that is made here, or has a policy, a parent or a bound.

    Args:
        process: a process, or a callable that makes one.
        policy, bound, parent, ended: as for ``Supervised``.

    Raises:
        TypeError: it is no process, and makes none; or the policy does not fit.
    """
    if not isinstance(process, Process) and not callable(process):
        raise TypeError(
            f"only a Process can be spawned, or a callable that makes one, got {process!r}"
        )
    factory = None if isinstance(process, Process) else process
    check_policy(policy, factory is not None)
    check_bound(bound)
    if parent is not None and not context._hosts(parent):
        raise InvalidProcess(f"{parent.pid} has ended, and its child would not end with it")
    made = process if isinstance(process, Process) else made_by(process)
    record = None
    if policy is not None or parent is not None or bound is not None:
        record = Supervised(policy, factory, parent, ended, bound)
    return spawn(context, made, record)


class ContextSpawning(LoopOwner):
    """The part of ``Context`` that spawns children."""

    _guard: Guard | None = None

    if TYPE_CHECKING:

        def _hosts(self, process: Process) -> bool: ...

    def _check_endpoints(self, process: Process, id_: str, table: HandlerTable) -> None:
        check_endpoints(process, id_, table, self._guard)

    def _spawn_child(
        self,
        parent: Process,
        process: Process | Callable[[], Process],
        on_failure: Policy | None,
        mailbox: Bound | None,
        ended: Callable[[Reason, str], Any] | None = None,
    ) -> PID:
        """Spawn a process that ends with another one; ``Process.spawn`` does it."""
        if (self._life.is_stopping or not self._life.is_started) and not self._is_draining_here:
            self._check_startable()
        return spawn_supervised(self, process, on_failure, mailbox, parent, ended)

    def _answer_failed(self, process: Process, error: BaseException) -> None:
        """A handler has raised, and whoever has asked was told."""
        supervision = self._runtime.supervision
        if supervision.records:
            supervision.answer_failed(process, error)

    def _children_of(self, process: Process) -> list[PID]:
        return self._runtime.supervision.children_of(process) if self._hosts(process) else []


def start_process(
    runtime: Runtime, mailbox: Mailbox, rest: Rest | None, record: Supervised | None = None
) -> None:
    """Open a mailbox; first have done what ``initialize`` has left to do."""
    readiness = runtime.readiness
    if runtime.life.is_ending:
        if rest is not None:
            rest.close()
        mailbox.abandon(Reason.STOPPED)
        readiness.ended(mailbox, ProcessTerminated(f"initialize: {Reason.STOPPED}"))
        return
    if record is not None and not runtime.supervision.begin(record):
        mailbox.terminate(True)  # its parent has ended
        if rest is not None:
            rest.close()
            rest = None
    if rest is not None:
        readiness.begun(mailbox)
        is_supervised = record is not None and record.policy is not None
        over = functools.partial(readiness.ended, mailbox)
        mailbox.put_first(Initialization(rest, over, is_supervised))
    elif readiness.is_used:
        readiness.ended(mailbox)
    mailbox.open()
