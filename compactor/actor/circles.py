"""Circles of processes that would wait for each other's answers for ever."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping

from compactor.actor.asked import Asked
from compactor.actor.mailbox import SUSPENDED, Mailbox
from compactor.errors import ProcessError
from compactor.pid import PID


class Circles:
    """Tells a handler that would close a circle, before it waits.

    A handler that awaits an answer holds its mailbox.  If whom it has asked waits for an answer as
    well, and so on, until one of them waits for the first, none of them goes on.  What a handler
    awaits is looked up in its task: nothing is kept for asks that close no circle.

    Args:
        live: the mailboxes of the context by id.
        is_local: whether a pid carries the context's address.
    """

    def __init__(self, live: Mapping[str, Mailbox], is_local: Callable[[PID], bool]) -> None:
        self._live = live
        self._is_local = is_local

    def check(self, asked: Asked) -> None:
        """Have an answer fail that the current task would wait for, and so for itself."""
        to = asked.to
        mailbox = self._live.get(to.id)
        if mailbox is None or mailbox.state != SUSPENDED:
            return
        task = asyncio.current_task()
        passed: dict[PID, None] = {}
        while self._is_local(to):
            mailbox = self._live.get(to.id)
            if mailbox is None or mailbox.state != SUSPENDED or mailbox.pid in passed:
                return
            passed[mailbox.pid] = None
            # The task is not known yet in the first step of one that is eager.
            if mailbox._task is None or mailbox._task is task:
                asked.forget()
                asked.fail(waits_for_itself([mailbox.pid, *passed]))
                return
            awaited = getattr(mailbox._task, "_fut_waiter", None)
            if type(awaited) is not Asked or awaited.done():
                return
            to = awaited.to


def waits_for_itself(chain: list[PID]) -> ProcessError:
    """The error of the first in a chain of processes, each of which waits for the next."""
    ids = " -> ".join(pid.id for pid in chain)
    return ProcessError(f"{chain[0]} would wait for itself, forever: {ids}")
