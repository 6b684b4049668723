"""Spawning: what is done on the caller's thread, and then on that of the loop."""

from __future__ import annotations

import functools
from collections.abc import Coroutine
from threading import get_ident
from typing import Any

from compactor.actor.events import Initialization
from compactor.actor.mailbox import Mailbox
from compactor.errors import InvalidProcess, ProcessError, ProcessTerminated, Reason
from compactor.pid import PID
from compactor.process import Process
from compactor.runtime.runtime import Runtime

Rest = Coroutine[Any, Any, Any]  # of an ``async def initialize``


def spawn(context: Any, process: Process) -> PID:
    """Give a process its pid and a mailbox, run its ``initialize``, and let it receive.

    If ``initialize`` raises, nothing has been spawned.

    Args:
        context: a ``Context``, to which the process is bound.

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
        claimed = runtime.new_mailbox(process, pid, runtime, runtime.run_queue)
        runtime.registry.claim(claimed)
        mailbox = claimed
        rest = mailbox.initialize()
    except BaseException as error:
        process.__unbind__()
        if mailbox is not None:
            runtime.registry.release(mailbox)
            context._call(mailbox.abandon, Reason.TERMINATED)
            context._call(runtime.readiness.ended, mailbox, error)
        raise
    if rest is not None and not isinstance(rest, Coroutine):
        rest = None  # a method may return anything
    if context._portal.thread == get_ident():
        start_process(runtime, mailbox, rest)
    else:
        context._call(start_process, runtime, mailbox, rest)
    return pid


def start_process(runtime: Runtime, mailbox: Mailbox, rest: Rest | None) -> None:
    """Open a mailbox; first have done what ``initialize`` has left to do."""
    readiness = runtime.readiness
    if runtime.life.is_ending:
        if rest is not None:
            rest.close()
        mailbox.abandon(Reason.STOPPED)
        readiness.ended(mailbox, ProcessTerminated(f"initialize: {Reason.STOPPED}"))
        return
    if rest is not None:
        readiness.begun(mailbox)
        initialization = Initialization(rest, functools.partial(readiness.ended, mailbox))
        mailbox.put_first(initialization)
    elif readiness.is_used:
        readiness.ended(mailbox)
    mailbox.open()
