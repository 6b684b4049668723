"""``Metrics``: what a context counts, and the log lines that strangers can cause."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Any

from compactor.errors import Reason
from compactor.metrics.dead_letters import DeadLetter, DeadLetters
from compactor.metrics.logs import log
from compactor.metrics.throttled_log import ThrottledLog
from compactor.pid import PID, Address

_LOG_INTERVAL = 1.0  # seconds between two lines of one kind; the rest is counted
_MAX_LOG_KINDS = 256  # of those that are remembered; a second has twice as many lines at most


class Metrics:
    """The counters of one context.

    Attributes:
        handler_failures: handlers, routes and dispatched calls that raised.
        slow_handlers: handlers that were seen to hold the loop for more than ``slow_handler``.
        malformed: connections closed because the peer sent no valid request, and messages whose
            path cannot be understood.
        tls_failures: accepted connections closed because there was no TLS with the peer, and those
            of both kinds on which TLS broke later.
        refused_connections: connections closed at once because a bound was reached.
        cut_connections: accepted connections given up because their answers were not read.
        refused_requests: requests of browsers that web pages may not make.
        dead_letters: dead letters by reason.
        backed_up: addresses for which more than ``parked_high_water_bytes`` are parked.
    """

    def __init__(self) -> None:
        self.handler_failures = 0
        self.slow_handlers = 0
        self.malformed = 0
        self.tls_failures = 0
        self.refused_connections = 0
        self.cut_connections = 0
        self.refused_requests = 0
        self._throttle = ThrottledLog(_LOG_INTERVAL, _MAX_LOG_KINDS, _LOG_INTERVAL)
        self._dead_letters = DeadLetters(self._throttle)
        self.dead_letters: Counter[Reason] = self._dead_letters.counts
        self.hooks = self._dead_letters.hooks
        self.backed_up: set[Address] = set()
        self.backed_up_hooks: list[Callable[[Address, bool], Any]] = []

    def dead_letter(self, letter: DeadLetter) -> None:
        """Count a dead letter, log it at a bounded rate and tell the hooks."""
        self._dead_letters.add(letter)

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
        counts["slow_handlers"] = self.slow_handlers
        counts["malformed"] = self.malformed
        counts["tls_failures"] = self.tls_failures
        counts["refused_connections"] = self.refused_connections
        counts["cut_connections"] = self.cut_connections
        counts["refused_requests"] = self.refused_requests
        counts["backed_up"] = len(self.backed_up)
        return counts

    def slow_handler(self, pid: PID, what: str, seconds: float) -> None:
        """Count a handler that held the loop for so long, and log it at a bounded rate."""
        self.slow_handlers += 1
        more = self._throttle.due(pid, "slow")
        if more is not None:
            held = f"{seconds:.3g}"
            log.warning("process %s held the loop for %s s in %s%s", pid, held, what, more)

    def check_failed(self, pid: PID, check: str, error: Exception) -> None:
        """Log a health check that raised, at a bounded rate: others may ask at any."""
        more = self._throttle.due(pid, "health")
        if more is not None:
            name = type(error).__name__
            log.warning("health check %s of %s failed: %s: %s%s", check, pid, name, error, more)

    def connection_refused(self, ip: str, why: str) -> None:
        """Count a connection that was not taken, and log it at a bounded rate."""
        self.refused_connections += 1
        more = self._throttle.due(None, why)
        if more is not None:
            log.warning("a connection from %s is refused: %s%s", ip, why, more)

    def connection_cut(self, ip: str, port: int, why: str) -> None:
        """Count a connection that is given up, and log it at a bounded rate."""
        self.cut_connections += 1
        more = self._throttle.due(ip, "cut")
        if more is not None:
            log.warning("connection from %s:%d is cut: %s%s", ip, port, why, more)

    def request_refused(self, ip: str, why: str) -> None:
        """Count a request that a web page may not make, and log it at a bounded rate."""
        self.refused_requests += 1
        more = self._throttle.due(ip, "browser")
        if more is not None:
            log.warning("a request from %s is refused: %s%s", ip, why, more)

    def link_refused(self, ip: str, why: str) -> None:
        """Log that a process is not watched for a peer, at a bounded rate."""
        more = self._throttle.due(ip, "link")
        if more is not None:
            log.warning("a link from %s is refused: %s%s", ip, why, more)

    def not_understood(self, peer: Address, what: str, why: object) -> None:
        """Count what a peer sent in vain, and log it at a bounded rate: peers can send many."""
        self.malformed += 1
        more = self._throttle.due(peer[0], "malformed")
        if more is not None:
            log.warning("connection from %s:%d %s: %s%s", *peer, what, why, more)

    def peer_trouble(self, what: str, address: Address, why: object) -> None:
        """Log what is wrong with a peer, at a bounded rate: strangers can have many dialled."""
        more = self._throttle.due(address, what)
        if more is not None:
            log.warning("%s %s:%d: %s%s", what, *address, why, more)

    def tls_broke(self, address: Address, why: object) -> None:
        """Count a connection that broke as TLS does, and log it at a bounded rate."""
        self.tls_failures += 1
        more = self._throttle.due(address[0], "tls")
        if more is not None:
            log.warning("TLS with %s:%d broke: %s%s", *address, why, more)

    def unparsable(self, to: PID, what: str, error: Exception) -> None:
        """Log a message that does not parse, at a bounded rate: peers can send many."""
        more = self._throttle.due(to, "unparsable")
        if more is not None:
            log.error("process %s failed in %s: %s%s", to, what, error, more)
