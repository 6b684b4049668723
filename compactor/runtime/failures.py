"""``Failures``: what a runtime does when a handler has raised, or held the loop up."""

from __future__ import annotations

import functools
from collections.abc import Coroutine
from typing import TYPE_CHECKING, Any

from compactor.actor.entries import Entry, description, message_of, sender_of
from compactor.actor.mailbox import Mailbox
from compactor.actor.protobuf import DoesNotParse
from compactor.actor.supervision import GaveUp
from compactor.errors import Reason
from compactor.metrics.dead_letters import DeadLetter
from compactor.metrics.metrics import Metrics
from compactor.pid import PID, TEMPORARY
from compactor.runtime.answers import Answers
from compactor.runtime.at_exit import leave
from compactor.runtime.life import Life
from compactor.runtime.recovery import AnsweredFailure

if TYPE_CHECKING:
    from compactor.runtime.supervising import Supervision


class Failures:
    """The part of ``Runtime`` that is told what went wrong in handlers."""

    answers: Answers
    life: Life
    metrics: Metrics
    supervision: Supervision

    def handler_failed(
        self, mailbox: Mailbox, entry: Entry, error: BaseException
    ) -> Coroutine[Any, Any, None] | None:
        """A handler raised, or its message did not parse: tell who asked, or log and count it.

        Returns:
            What is to be awaited before the next event, if the process is supervised.
        """
        if self.life.is_copy and isinstance(error, SystemExit):
            leave(error)
        mailbox.counts.own(mailbox).failures += 1
        if not self._is_told(mailbox, entry, error):
            what, event = description(entry, mailbox.calls), entry[1]
            report = functools.partial(self.answers.report, mailbox.pid, what, error)
            leave_failure = getattr(event, "leave_failure", None)  # of a dispatch
            if leave_failure is not None:
                self.metrics.handler_failures += 1
                leave_failure(functools.partial(report, is_counted=True))
            else:
                report()
            if self.life.is_copy and not isinstance(error, DoesNotParse):
                leave(error)
        if self.supervision.records or isinstance(error, GaveUp):
            return self.supervision.failed(mailbox, entry, error)
        return None

    def message_dropped(
        self, mailbox: Mailbox, sender: PID, name: str | None, size: int, reason: Reason
    ) -> None:
        """A message will not be handled."""
        self.metrics.dead_letter(DeadLetter(reason, mailbox.pid, sender, name, size))

    def _is_told(self, mailbox: Mailbox, entry: Entry, error: BaseException) -> bool:
        """Whether somebody has asked, and handles it."""
        if isinstance(entry[1], AnsweredFailure):
            return True
        asker = sender_of(entry)
        if asker is None or not asker.id.startswith(TEMPORARY):
            return False
        if getattr(message_of(entry)[0], "answers", False) and not isinstance(error, Exception):
            return False  # by what answers, before it was raised again
        is_told = self.answers.tell(mailbox.pid, asker, error)
        return is_told and isinstance(error, Exception) and not isinstance(error, DoesNotParse)

    def end_family(self, mailbox: Mailbox) -> Coroutine[Any, Any, None]:
        """Finalize a process that has children, or has had concurrent handlers, once they have
        ended.
        """
        return self.supervision.end_family(mailbox)

    def hurry(self, mailbox: Mailbox) -> None:
        """A process that waits for its concurrent handlers shall end at once."""
        self.supervision.hurry(mailbox)

    def put_late(self, mailbox: Mailbox, event: Any) -> None:
        """An event was for a process that has ended before it came: it is for the one that was
        made anew in its place, if there is one, as what waited there.
        """
        successor = self.supervision.successor_of(mailbox)
        if successor is None or not event.moved(successor, None):
            event.discard(Reason.TERMINATED)
        else:
            successor.put_event(event)

    def handler_was_slow(
        self, mailbox: Mailbox, entry: Entry, unlooked: int, seconds: float
    ) -> None:
        """A mailbox held the loop for so long.

        Args:
            entry: the last that it served.
            unlooked: how many it served without a look at the clock, that one too.
        """
        what = description(entry, mailbox.calls)
        if unlooked > 1:
            what = f"one of {unlooked} events, the last of which was {what}"
        self.metrics.slow_handler(mailbox.pid, what, seconds)
