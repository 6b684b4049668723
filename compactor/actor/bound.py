"""``Bound``: a mailbox that holds so many messages, and what becomes of one more."""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal, get_args

from compactor.actor.entries import Entry, message_of, name_of
from compactor.actor.mailbox import IDLE, Mailbox
from compactor.actor.mailbox_owner import MailboxOwner
from compactor.errors import Reason
from compactor.pid import PID

Overflow = Literal["reject", "drop_oldest"]


@dataclass(frozen=True)
class Bound:
    """How many events may wait in a mailbox before messages are left out.

    Args:
        limit: events that wait, not counting the one that is handled.
        overflow: which message becomes a dead letter with ``Reason.OVERFLOW`` when one more
            comes: ``"reject"``: that one; ``"drop_oldest"``: the one that has waited for longest.

    Raises:
        ValueError: an argument cannot be used.
    """

    limit: int
    overflow: Overflow = "reject"

    def __post_init__(self) -> None:
        if not isinstance(self.limit, int) or isinstance(self.limit, bool) or self.limit < 1:
            raise ValueError(f"limit={self.limit!r} must be a whole number above 0")
        if self.overflow not in get_args(Overflow):
            choices = " or ".join(map(repr, get_args(Overflow)))
            raise ValueError(f"overflow={self.overflow!r} must be {choices}")


def check_bound(bound: object) -> None:
    """Raise ``TypeError`` for what is no bound of a mailbox."""
    if bound is not None and not isinstance(bound, Bound):
        raise TypeError(
            f"mailbox takes Bound(limit, overflow='reject' or 'drop_oldest'), got {bound!r}"
        )


@functools.cache
def bounded(base: type[Mailbox]) -> Callable[..., Mailbox]:
    """The mailbox with a bound, of either kind of hot path; it costs nothing to those without."""

    class BoundedMailbox(base):  # type: ignore[misc,valid-type]
        """A mailbox that leaves messages out when too much waits."""

        __slots__ = ("_drops_oldest", "_limit", "_told")

        def __init__(
            self, process: Any, pid: PID, owner: MailboxOwner, run_queue: Any, bound: Bound
        ) -> None:
            super().__init__(process, pid, owner, run_queue)
            self._limit = bound.limit
            self._drops_oldest = bound.overflow == "drop_oldest"
            self._told = owner.message_dropped

        def put(self, call: Any, a: Any, b: Any) -> None:
            if self.state == IDLE or len(self.queue) < self._limit or not _is_message(self, a, b):
                super().put(call, a, b)
            elif self._drops_oldest and (oldest := _oldest(self)) is not None:
                self._leave_out(oldest)
                super().put(call, a, b)
            else:
                self._leave_out((call, a, b))

        def _leave_out(self, entry: Entry) -> None:
            if isinstance(entry[1], tuple):
                self.account(-entry[1][2])
            call, sender, body = message_of(entry)
            name = name_of(call, self.calls)
            self._told(self, sender, name, len(body), Reason.OVERFLOW)

    return BoundedMailbox


def _is_message(mailbox: Any, a: Any, b: Any) -> bool:
    return a is not None and b is not mailbox


def _oldest(mailbox: Any) -> Entry | None:
    """Take the message from a mailbox that has waited for longest."""
    for index, entry in enumerate(mailbox.queue):
        if _is_message(mailbox, entry[1], entry[2]):
            del mailbox.queue[index]
            found: Entry = entry
            return found
    return None
