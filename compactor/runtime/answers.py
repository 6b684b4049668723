"""``Answers``: what becomes of the answers that processes of one context give."""

from __future__ import annotations

from typing import Protocol

from compactor.actor.asks import Asks
from compactor.actor.pending import FAILED, failure_of
from compactor.actor.protobuf import DoesNotParse
from compactor.errors import Reason
from compactor.inbound.observers import Observers
from compactor.metrics.dead_letters import DeadLetter
from compactor.metrics.logs import logger
from compactor.metrics.metrics import Metrics
from compactor.outbound.ask_ways import AskWays
from compactor.outbound.peer import Peer
from compactor.pid import PID, Address, number_in
from compactor.runtime.registry import Registry
from compactor.runtime.strangers import Strangers
from compactor.settings import Settings

log = logger("process")


class AnswersOwner(Protocol):
    """The runtime of a context."""

    asks: Asks
    metrics: Metrics
    observers: Observers
    registry: Registry
    settings: Settings

    def peer(self, address: Address) -> Peer: ...
    def forward(self, sender: PID, to: PID, name: str, body: bytes) -> None: ...


class Answers:
    """The way from a handler to whoever has asked it.

    Args:
        owner: knows who that is, and sends.
        ways: on which answers go to other addresses.
    """

    def __init__(self, owner: AnswersOwner, ways: AskWays) -> None:
        self.ways = ways
        self._asks = owner.asks
        self._metrics = owner.metrics
        self._is_told = owner.observers.is_told
        self._is_local = owner.registry.is_local
        self._forward = owner.forward
        self._strangers = Strangers(owner.peer, owner.settings.max_unread_bytes_in_all)

    def give(self, sender: PID, to: PID, name: str, body: bytes, content_type: str) -> None:
        """Give an answer to a temporary sender."""
        if self._is_local(to):
            if self._asks.answered(number_in(to), name, body, content_type):
                return
        elif self.ways.answer_shortly(sender, to, name, body):
            return
        self._send(sender, to, name, body)

    def fail(self, sender: PID, to: PID, name: str, error: BaseException) -> None:
        """Tell a temporary sender that its message has failed; it handles that, if it is there."""
        if self._is_local(to):
            is_handled = self._asks.failed(number_in(to), error) or not isinstance(error, Exception)
        else:
            is_handled = not isinstance(error, DoesNotParse)
            self._send(sender, to, FAILED, failure_of(error))
        if not is_handled:
            self.report(sender, f"message {name!r} from {to}", error)

    def _send(self, sender: PID, to: PID, name: str, body: bytes) -> None:
        """Send an answer; if that takes a connection, one that nobody may ever take counts."""
        if self._is_local(to) or self._strangers.may_have(to.address, len(body)):
            self._forward(sender, to, name, body)
        else:
            letter = DeadLetter(Reason.OVERFLOW, to, sender, name, len(body))
            self._metrics.dead_letter(letter)

    def report(
        self, process: PID, what: str, error: BaseException, *, is_counted: bool = False
    ) -> None:
        """Count, unless that was done, and log a failure that nobody else handles."""
        if not is_counted:
            self._metrics.handler_failures += 1
        if isinstance(error, DoesNotParse):
            self._metrics.unparsable(process, what, error)
        else:
            log.error("process %s failed in %s", process, what, exc_info=error)

    def tell(self, sender: PID, asker: PID, error: BaseException) -> bool:
        """Tell whoever is known to have asked of a failure; strangers may say anything."""
        if self._is_local(asker):
            return self._asks.failed(number_in(asker), error)
        if not self._is_told(asker.address):
            return False  # no stranger shall have us call up any address
        self._forward(sender, asker, FAILED, failure_of(error))
        return True
