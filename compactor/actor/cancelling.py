"""The cancelling of a dispatch whose ``async`` method is under way."""

from __future__ import annotations

import asyncio
import contextlib
from concurrent.futures import Future as Library
from concurrent.futures import _base
from typing import Any

from compactor.actor.mailbox import SUSPENDED, Mailbox


def cancel_running(call: Any, mailbox: Mailbox, loop: asyncio.AbstractEventLoop | None) -> bool:
    """Cancel a call that is not pending: it ends soon, and for those who wait at once.

    Args:
        call: the dispatch.
        mailbox, loop: of the process.

    Returns:
        Whether it is cancelled: not if it is over, its method is a plain one, or not awaited yet.
    """
    if loop is None or not call.running():
        return bool(call.cancelled())
    with call._condition:  # its result has to wait for this, so the task is its own
        is_ending = mailbox._dropped is not None or mailbox._finalizing
        task = None if is_ending or mailbox.state != SUSPENDED else mailbox._task
        if task is not None and call.running():
            call._state = _base.CANCELLED
            Library.set_running_or_notify_cancel(call)
            call._condition.notify_all()
        else:
            task = None
    with contextlib.suppress(RuntimeError):  # the loop is closed
        if task is not None:  # after its first step: without that nobody awaits the method
            loop.call_soon_threadsafe(task.cancel)
        elif asyncio._get_running_loop() is not loop and call.running():
            loop.call_soon_threadsafe(call.cancel)  # it may be about to be awaited
    if task is None:
        return bool(call.cancelled())
    Library._invoke_callbacks(call)  # type: ignore[attr-defined]
    return True
