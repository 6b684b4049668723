"""``Answers``: what becomes of the answers that processes of one context give."""

from __future__ import annotations

from collections.abc import Callable

from compactor.actor.answering import Encoded
from compactor.actor.asks import FAILED, Asks, failure_of
from compactor.actor.protobuf import DoesNotParse
from compactor.metrics.logs import log
from compactor.metrics.metrics import Metrics
from compactor.pid import PID, Address


class Answers:
    """The way from a handler to whoever has asked it.

    Args:
        asks: those that were asked in this context.
        metrics: counts the failures that nobody else handles.
        is_local: whether a pid is of this context.
        is_told: whether somebody at an address is known to have it.
        forward: sends a message of any sender.
    """

    def __init__(
        self,
        asks: Asks,
        metrics: Metrics,
        is_local: Callable[[PID], bool],
        is_told: Callable[[Address], bool],
        forward: Callable[[PID, PID, str, bytes], None],
    ) -> None:
        self._asks = asks
        self._metrics = metrics
        self._is_local = is_local
        self._is_told = is_told
        self._forward = forward

    def give(self, sender: PID, to: PID, answer: Encoded) -> None:
        """Give an answer to a temporary sender."""
        name, body, content_type = answer
        if not (self._is_local(to) and self._asks.answered(to.id, name, body, content_type)):
            self._forward(sender, to, name, body)

    def fail(self, sender: PID, to: PID, name: str, error: BaseException) -> None:
        """Tell a temporary sender that its message has failed; it handles that, if it is there."""
        if self._is_local(to):
            is_handled = self._asks.failed(to.id, error) or not isinstance(error, Exception)
        else:
            is_handled = not isinstance(error, DoesNotParse)
            self._forward(sender, to, FAILED, failure_of(error))
        if not is_handled:
            self.report(sender, f"message {name!r} from {to}", error)

    def report(self, process: PID, what: str, error: BaseException) -> None:
        """Count and log a failure that nobody else handles."""
        self._metrics.handler_failures += 1
        if isinstance(error, DoesNotParse):
            self._metrics.unparsable(process, what, error)
        else:
            log.error("process %s failed in %s", process, what, exc_info=error)

    def tell(self, sender: PID, asker: PID, error: BaseException) -> bool:
        """Tell whoever is known to have asked of a failure; strangers may say anything."""
        if self._is_local(asker):
            return self._asks.failed(asker.id, error)
        if not self._is_told(asker.address):
            return False  # no stranger shall have us call up any address
        self._forward(sender, asker, FAILED, failure_of(error))
        return True
