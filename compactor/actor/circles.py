"""Circles of processes that would wait for each other's answers for ever."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from typing import Any

from compactor.actor.mailbox import SUSPENDED, Mailbox
from compactor.actor.pending import Pending
from compactor.actor.waits import awaited
from compactor.errors import ProcessError
from compactor.pid import PID

_MOST_PASSED = 1000  # processes, at a time


def _is_ask(future: Any) -> bool:
    return isinstance(future, Pending)


class Circles:
    """Tells whoever would close a circle.

    A handler that awaits an answer holds its mailbox.  If whom it has asked waits for an answer as
    well, and so on, until one of them waits for the first, none of them goes on.  What a handler
    awaits is looked up in its task, and in those that it awaits: nothing is kept for asks that
    close no circle, and a task that no handler awaits holds nothing up.

    Args:
        live: the mailboxes of the context by id.
        is_local: whether a pid carries the context's address.
    """

    def __init__(self, live: Mapping[str, Mailbox], is_local: Callable[[PID], bool]) -> None:
        self._live = live
        self._is_local = is_local

    def check(self, asked: Pending, is_awaited: bool = True) -> None:
        """Have an answer fail that the current task would wait for, and so for itself.

        Args:
            asked: was asked, and not answered.
            is_awaited: whether the task is about to await it; else it may, with others.
        """
        mailbox = self._live.get(asked.to.id)
        if mailbox is None or mailbox.state != SUSPENDED:
            return
        task = asyncio.current_task()
        chain = [] if task is None else self._chain(asked.to, task)
        if chain and is_awaited:
            _fail(asked, chain)
        elif chain and task is not None:
            # In the next round of the loop it is known what the task awaits.
            task.get_loop().call_soon(self._confirm, asked)

    def _confirm(self, asked: Pending) -> None:
        """Have an answer fail that whom it is asked of waits for."""
        if not asked.done() and (chain := self._chain(asked.to, asked)):
            _fail(asked, chain)

    def _chain(self, to: PID, goal: Any) -> list[PID]:
        """The processes from one on, each of which waits for the next, until the last waits for a
        task or an ask; none if there is no such chain.
        """
        came_from: dict[PID, PID | None] = {}
        todo: list[tuple[PID, PID | None]] = [(to, None)]
        while todo and len(came_from) < _MOST_PASSED:
            pid, before = todo.pop()
            mailbox = self._live.get(pid.id) if self._is_local(pid) else None
            if mailbox is None or mailbox.state != SUSPENDED or mailbox.pid in came_from:
                continue
            came_from[mailbox.pid] = before
            # The task is not known yet in the first step of one that is eager, the current one.
            task = goal if mailbox._task is None else mailbox._task
            asks, is_there = awaited(task, goal, _is_ask)
            if is_there:
                return _way(came_from, mailbox.pid)
            todo.extend((ask.to, mailbox.pid) for ask in reversed(asks))
        return []


def _way(came_from: Mapping[PID, PID | None], last: PID) -> list[PID]:
    way = [last]
    while (before := came_from[way[-1]]) is not None:
        way.append(before)
    return way[::-1]


def _fail(asked: Pending, chain: list[PID]) -> None:
    asked.forget()
    asked.fail(waits_for_itself([chain[-1], *chain]))


def waits_for_itself(chain: list[PID]) -> ProcessError:
    """The error of the first in a chain of processes, each of which waits for the next."""
    ids = " -> ".join(pid.id for pid in chain)
    return ProcessError(f"{chain[0]} would wait for itself, forever: {ids}")
