"""``DeadLetters``: messages that will not be handled, counted, logged and shown to hooks."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from compactor.errors import Reason
from compactor.metrics.logs import fields, logger, skipped_in
from compactor.metrics.throttled_log import ThrottledLog
from compactor.pid import PID

log = logger("dead_letters")


@dataclass(frozen=True)
class DeadLetter:
    """A message that was not, and will not be, handled.

    Attributes:
        reason: why.
        to: the receiver, as far as it is known.
        sender: the sender, as far as it is known.
        name: the message name, as far as it is known.
        size: bytes of the body, or of the frame if it was already encoded.
    """

    reason: Reason
    to: PID | None = None
    sender: PID | None = None
    name: str | None = None
    size: int = 0


class DeadLetters:
    """The dead letters of one context.

    Args:
        throttle: bounds their lines in the log.

    Attributes:
        counts: how many, by reason.
        hooks: called with each.
    """

    def __init__(self, throttle: ThrottledLog) -> None:
        self.counts: Counter[Reason] = Counter()
        self.hooks: list[Callable[[DeadLetter], Any]] = []
        self._throttle = throttle

    def add(self, letter: DeadLetter) -> None:
        """Count a dead letter, log it at a bounded rate and tell the hooks."""
        self.counts[letter.reason] += 1
        self._log(letter)
        for hook in self.hooks:
            try:
                hook(letter)
            except (Exception, SystemExit):  # it ends no program, and no report in the middle
                log.exception("a dead letter hook failed on %s", letter)

    def _log(self, letter: DeadLetter) -> None:
        more = self._throttle.due(letter.to.address if letter.to else None, letter.reason)
        if more is not None:
            log.warning(
                "dead letter (%s): %s from %s to %s, %d bytes%s",
                letter.reason,
                letter.name or "a message",
                letter.sender or "an unknown sender",
                letter.to or "an unknown receiver",
                letter.size,
                more,
                extra=fields(
                    "dead_letter",
                    reason=letter.reason,
                    to=letter.to,
                    sender=letter.sender,
                    message_name=letter.name,
                    size=letter.size,
                    skipped=skipped_in(more),
                ),
            )
