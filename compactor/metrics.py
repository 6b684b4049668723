"""What a context counts, and the dead letters among it."""

from __future__ import annotations

import logging
import math
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from compactor.errors import Reason
from compactor.pid import PID, Address

log = logging.getLogger("compactor")

_LOG_INTERVAL = 1.0  # seconds between two lines of one reason and address; the rest is counted
_MAX_LOG_KEYS = 256  # of those that are remembered; a second has twice as many lines at most


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


class Metrics:
    """The counters of one context.

    Attributes:
        handler_failures: handlers, routes and dispatched calls that raised.
        malformed: connections closed because the peer sent no valid request, and messages whose
            path cannot be understood.
        tls_failures: accepted connections closed because there was no TLS with the peer.
        refused_connections: connections closed at once because a bound was reached.
        dead_letters: dead letters by reason.
        backed_up: addresses for which more than ``parked_high_water_bytes`` are parked.
    """

    def __init__(self) -> None:
        self.handler_failures = 0
        self.malformed = 0
        self.tls_failures = 0
        self.refused_connections = 0
        self.dead_letters: Counter[Reason] = Counter()
        self.backed_up: set[Address] = set()
        self.hooks: list[Callable[[DeadLetter], Any]] = []
        self.backed_up_hooks: list[Callable[[Address, bool], Any]] = []
        self._logged: dict[tuple[str, object], tuple[float, int]] = {}
        self._forgotten = -math.inf

    def dead_letter(self, letter: DeadLetter) -> None:
        """Count a dead letter, log it at a bounded rate and tell the hooks."""
        self.dead_letters[letter.reason] += 1
        self._log(letter)
        for hook in self.hooks:
            try:
                hook(letter)
            except (Exception, SystemExit):  # it ends no program, and no report in the middle
                log.exception("a dead letter hook failed on %s", letter)

    def set_backed_up(self, address: Address, is_backed_up: bool) -> None:
        """Remember that an address is backed up, or no longer, and tell the hooks."""
        if is_backed_up:
            self.backed_up.add(address)
        else:
            self.backed_up.discard(address)
        for hook in self.backed_up_hooks:
            try:
                hook(address, is_backed_up)
            except (Exception, SystemExit):
                log.exception("a hook failed on %s:%d backed up: %s", *address, is_backed_up)

    def snapshot(self) -> dict[str, int]:
        """All counters by name, e.g. ``dead_letters/refused``."""
        counts = {f"dead_letters/{r.value}": n for r, n in sorted(self.dead_letters.items())}
        counts["dead_letters"] = sum(self.dead_letters.values())
        counts["handler_failures"] = self.handler_failures
        counts["malformed"] = self.malformed
        counts["tls_failures"] = self.tls_failures
        counts["refused_connections"] = self.refused_connections
        counts["backed_up"] = len(self.backed_up)
        return counts

    def connection_refused(self, ip: str, why: str) -> None:
        """Count a connection that was not taken, and log it at a bounded rate."""
        self.refused_connections += 1
        skipped = self._is_due((why, None))
        if skipped is not None:
            log.warning("a connection from %s is refused: %s%s", ip, why, _more(skipped))

    def not_understood(self, what: str, ip: str, why: object) -> None:
        """Count what a peer sent in vain, and log it at a bounded rate: peers can send many."""
        self.malformed += 1
        skipped = self._is_due(("malformed", ip))
        if skipped is not None:
            log.warning("%s: %s%s", what, why, _more(skipped))

    def peer_trouble(self, what: str, address: Address, why: object) -> None:
        """Log what is wrong with a peer, at a bounded rate: strangers can have many dialled."""
        skipped = self._is_due((what, address))
        if skipped is not None:
            log.warning("%s %s:%d: %s%s", what, *address, why, _more(skipped))

    def unparsable(self, to: PID, what: str, error: Exception) -> None:
        """Log a message that does not parse, at a bounded rate: peers can send many."""
        skipped = self._is_due(("unparsable", to))
        if skipped is not None:
            log.error("process %s failed in %s: %s%s", to, what, error, _more(skipped))

    def _log(self, letter: DeadLetter) -> None:
        skipped = self._is_due((letter.reason, letter.to.address if letter.to else None))
        if skipped is not None:
            log.warning(
                "dead letter (%s): %s from %s to %s, %d bytes%s",
                letter.reason,
                letter.name or "a message",
                letter.sender or "an unknown sender",
                letter.to or "an unknown receiver",
                letter.size,
                _more(skipped),
            )

    def _is_due(self, key: tuple[str, object]) -> int | None:
        """Whether a line of this kind may be logged: how many were not since the last one was."""
        now = time.monotonic()
        last, skipped = self._logged.get(key, (-_LOG_INTERVAL, 0))
        if now - last < _LOG_INTERVAL:
            self._logged[key] = (last, skipped + 1)
            return None
        if key not in self._logged and len(self._logged) >= _MAX_LOG_KEYS:
            if now - self._forgotten < _LOG_INTERVAL:
                return None
            self._forgotten = now
            self._logged.clear()
        self._logged[key] = (now, 0)
        return skipped


def _more(skipped: int) -> str:
    return f"; {skipped} more like it since the last line" if skipped else ""
