"""``MailboxOwner``: what a mailbox asks of, and reports to, the runtime of its context."""

from __future__ import annotations

from collections.abc import Container, Coroutine
from typing import Any, Protocol

from compactor.actor.backlog import Backlog
from compactor.actor.entries import Entry
from compactor.actor.routes import Call
from compactor.actor.slices import Slices
from compactor.errors import Reason
from compactor.net.flow_control import release_feeders
from compactor.pid import PID


class MailboxOwner(Protocol):
    """Who has the mailbox.

    Attributes:
        low_water: what a mailbox holds at most when its sockets are read again.
        backlog: counts the bytes of what is large, in all mailboxes.
        slices: does the reports of what a mailbox will not serve.
        parents: the ids of the processes that have what ends before they do: children, and handlers
            that run beside the mailbox.
    """

    low_water: int
    backlog: Backlog
    slices: Slices

    @property
    def parents(self) -> Container[str]: ...
    def bind(self, process: Any, name: str) -> Call | None: ...
    def handler_failed(
        self, mailbox: Any, entry: Entry, error: BaseException
    ) -> Coroutine[Any, Any, None] | None: ...
    def message_dropped(
        self, mailbox: Any, sender: PID, name: str | None, size: int, reason: Reason
    ) -> None: ...
    def process_ended(self, mailbox: Any, reason: Reason, error: BaseException | None) -> None: ...
    def end_family(self, mailbox: Any) -> Coroutine[Any, Any, Any]: ...
    def hurry(self, mailbox: Any) -> None: ...
    def put_late(self, mailbox: Any, event: Any) -> None: ...


def report_failure(
    owner: MailboxOwner, mailbox: Any, entry: Entry, error: BaseException
) -> Coroutine[Any, Any, None] | None:
    """Tell of a handler that raised, and return what is to be awaited before the next event."""
    try:
        return owner.handler_failed(mailbox, entry, error)
    except MemoryError:
        return None


def report_lost(owner: MailboxOwner, mailbox: Any, entry: Entry, error: MemoryError) -> None:
    """Tell of an event that there is no memory for."""
    recovery = report_failure(owner, mailbox, entry, error)
    if recovery is not None:
        recovery.close()
    if entry[2] is mailbox:
        entry[1].discard(Reason.OVERFLOW)


def release_if_low(mailbox: Any, owner: MailboxOwner) -> None:
    """Have those go on who feed a mailbox, if most of what it held is gone."""
    if len(mailbox.queue) <= owner.low_water and mailbox.large_bytes <= owner.backlog.low_water:
        release_feeders(mailbox)
