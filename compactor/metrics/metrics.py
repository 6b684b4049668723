"""``Metrics``: what a context counts, and the log lines that strangers can cause."""

from __future__ import annotations

import asyncio
import math
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple, Protocol

from compactor.errors import Reason
from compactor.metrics.dead_letters import DeadLetter, DeadLetters
from compactor.metrics.logs import fields, logger, place_of, skipped_in
from compactor.metrics.readings import Reading, flat
from compactor.metrics.throttled_log import ThrottledLog
from compactor.pid import PID, Address
from compactor.system import clock

server_log, peers_log, process_log = logger("server"), logger("peers"), logger("process")
links_log, tls_log, access_log = logger("links"), logger("tls"), logger("access")

_LOG_INTERVAL = 1.0  # seconds between two lines of one kind; the rest is counted
_SLICE_SECONDS = 0.001  # of a turn of the loop, which is shared with all else
_MAX_LOG_KINDS = 256  # of those that are remembered; a second has twice as many lines at most

_OWN = (
    "handler_failures",
    "slow_handlers",
    "malformed",
    "tls_failures",
    "refused_connections",
    "cut_connections",
    "refused_requests",
    "refused_credentials",
    "denied_requests",
    "dials",
    "reading_pauses",
    "writing_pauses",
)
"""Counters that are attributes."""


class Census(Protocol):
    """What is counted elsewhere."""

    def take(self) -> Iterator[list[Reading] | None]: ...
    async def gauges(self, seconds: float) -> list[Reading]: ...


class _More(NamedTuple):
    """What is added to a line of the log that is due.

    Attributes:
        text: how many like it were left out, in words.
        fields: for handlers that write them by name.
    """

    text: str
    fields: dict[str, Any]


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
        dials: attempts to connect.
        reading_pauses: times that a connection was not read, for a mailbox was full.
        writing_pauses: times that a connection took no more.
        dial_failures, connections_lost: attempts that failed, and connections to others that
            ended, by reason.
        refused_credentials: requests answered with 401 that came with credentials.
        denied_requests: requests answered with 403 by who may what, or by what is disabled.
        dead_letters: dead letters by reason.
        backed_up: addresses for which more than ``parked_high_water_bytes`` are parked.
        census: reads what is counted elsewhere, by the processes of the context.
        turns: held by who writes what was read, as one of those who do, in many turns of the loop.
    """

    def __init__(self) -> None:
        self.handler_failures = 0
        self.slow_handlers = 0
        self.malformed = 0
        self.tls_failures = 0
        self.refused_connections = 0
        self.cut_connections = 0
        self.refused_requests = 0
        self.dials = self.reading_pauses = self.writing_pauses = 0
        self.dial_failures: Counter[Reason] = Counter()
        self.connections_lost: Counter[Reason] = Counter()
        self.refused_credentials = 0
        self.denied_requests = 0
        self._throttle = ThrottledLog(_LOG_INTERVAL, _MAX_LOG_KINDS, _LOG_INTERVAL)
        self._dead_letters = DeadLetters(self._throttle)
        self.dead_letters: Counter[Reason] = self._dead_letters.counts
        self.hooks = self._dead_letters.hooks
        self.backed_up: set[Address] = set()
        self.census: Census | None = None
        self.turns = asyncio.Lock()
        self._taking: asyncio.Task[list[Reading]] | None = None
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
                peers_log.exception("a hook failed on %s:%d backed up: %s", *address, is_backed_up)

    def readings(self) -> Iterator[Reading]:
        """What is counted here."""
        for name, counts in (
            ("dead_letters", self.dead_letters),
            ("dial_failures", self.dial_failures),
            ("connections_lost", self.connections_lost),
        ):
            for reason, number in sorted(dict(counts).items()):
                yield Reading(f"{name}/<reason>", number, reason.value)
            yield Reading(name, sum(dict(counts).values()))
        for name in _OWN:
            yield Reading(name, getattr(self, name))
        yield Reading("backed_up", len(self.backed_up))

    def take(self) -> Iterator[list[Reading] | None]:
        """Read all metrics, in steps of which the last is what was read."""
        found = list(self.readings())
        for step in self.census.take() if self.census is not None else ():
            yield None if step is None else found + step

    def snapshot(self) -> dict[str, float]:
        """All metrics by name, e.g. ``dead_letters/refused``; docs/metrics.md has them all.

        Any thread may ask.  With many processes it takes as long as a look at each.
        """
        *_, found = self.take()
        return flat(found or ())

    async def collect(self, timeout: float = 5.0) -> dict[str, float]:
        """``snapshot``, and the gauges of programs that are functions; on the context's loop.

        It takes many turns where there are many processes, and holds up nobody.

        Args:
            timeout: seconds for those gauges; what takes longer is left out.

        Raises:
            ValueError: ``timeout`` is no number of seconds.
        """
        if not (type(timeout) in (int, float) and 0 <= timeout < math.inf):
            raise ValueError(f"timeout is a finite number of seconds from 0 on, got {timeout!r}")
        return flat(await self.take_all(timeout))

    async def take_all(self, seconds: float) -> list[Reading]:
        """Read all metrics, and gauges that are functions for some seconds."""
        if self._taking is None:
            self._taking = asyncio.get_running_loop().create_task(self._take_in_turns())
            self._taking.add_done_callback(self._taken)
        found = await asyncio.shield(self._taking)  # all who ask meanwhile are told the same
        return found if self.census is None else found + await self.census.gauges(seconds)

    async def _take_in_turns(self) -> list[Reading]:
        found: list[Reading] | None = None
        end = clock.now() + _SLICE_SECONDS
        for step in self.take():
            found = step
            if clock.now() > end:
                await asyncio.sleep(0)
                end = clock.now() + _SLICE_SECONDS
        return found or []

    def _taken(self, _: object) -> None:
        self._taking = None

    # Lines of the log, at a bounded rate: strangers can cause any number

    def _due(self, about: object, what: object, event: str, **values: Any) -> _More | None:
        """What is added to a line, if it is due.

        Args:
            about, what: as ``ThrottledLog.due`` has them.
            event, values: as ``fields`` has them.
        """
        more = self._throttle.due(about, what)
        if more is None:
            return None
        return _More(more, fields(event, **values, skipped=skipped_in(more)))

    def slow_handler(self, pid: PID, what: str, seconds: float) -> None:
        """Count a handler that held the loop for so long, and log it."""
        self.slow_handlers += 1
        held = f"{seconds:.3g}"
        if more := self._due(pid, "slow", "slow_handler", pid=pid, seconds=held):
            process_log.warning(
                "process %s held the loop for %s s in %s%s",
                pid,
                held,
                what,
                more.text,
                extra=more.fields,
            )

    def check_failed(self, pid: PID, check: str, error: Exception) -> None:
        """Log a health check that raised."""
        name = type(error).__name__
        if more := self._due(pid, "health", "health", pid=pid, reason=name):
            process_log.warning(
                "health check %s of %s failed: %s: %s%s",
                check,
                pid,
                name,
                error,
                more.text,
                extra=more.fields,
            )

    def endpoints_missing(self, error: OSError) -> None:
        """Log that what a context serves by itself cannot be read from disk."""
        if more := self._due(None, "endpoints", "endpoints", reason=str(error)):
            server_log.warning(
                "the built-in endpoints cannot be loaded: %s%s", error, more.text, extra=more.fields
            )

    def connection_refused(self, ip: str, why: str) -> None:
        """Count a connection that was not taken, and log it."""
        self.refused_connections += 1
        if more := self._due(None, why, "refused", peer=ip, reason=why):
            server_log.warning(
                "a connection from %s is refused: %s%s", ip, why, more.text, extra=more.fields
            )

    def connection_cut(self, ip: str, port: int, why: str) -> None:
        """Count a connection that is given up, and log it."""
        self.cut_connections += 1
        if more := self._due(ip, "cut", "cut", peer=f"{ip}:{port}", reason=why):
            server_log.warning(
                "connection from %s:%d is cut: %s%s", ip, port, why, more.text, extra=more.fields
            )

    def request_refused(self, ip: str, why: str) -> None:
        """Count a request that a web page may not make, and log it."""
        self.refused_requests += 1
        if more := self._due(ip, "browser", "request_refused", peer=ip, reason=why):
            server_log.warning(
                "a request from %s is refused: %s%s", ip, why, more.text, extra=more.fields
            )

    def credentials_refused(self, ip: str, realm: str, why: str) -> None:
        """Count credentials that were not taken, and log it."""
        self.refused_credentials += 1
        told = {"peer": ip, "realm": realm, "reason": why}
        if more := self._due(ip, "credentials", "credentials_refused", **told):
            access_log.warning(
                "credentials from %s for the realm %r are refused: %s%s",
                ip,
                realm,
                why,
                more.text,
                extra=more.fields,
            )

    def access_denied(self, ip: str, what: str, why: str) -> None:
        """Count a request that is not let in, and log it."""
        self.denied_requests += 1
        if more := self._due(ip, "denied", "denied", peer=ip, endpoint=what, reason=why):
            access_log.warning(
                "a request from %s for %s is denied: %s%s",
                ip,
                what,
                why,
                more.text,
                extra=more.fields,
            )

    def access_failed(self, endpoint: str, why: str) -> None:
        """Log that nobody can say who may have an endpoint."""
        told = {"endpoint": endpoint, "reason": why}
        if more := self._due(endpoint, "access", "access_failed", **told):
            access_log.error(
                "whether a request for %s is let in cannot be said: %s%s",
                endpoint,
                why,
                more.text,
                extra=more.fields,
            )

    def link_refused(self, ip: str, why: str) -> None:
        """Log that a process is not watched for a peer."""
        if more := self._due(ip, "link", "link_refused", peer=ip, reason=why):
            links_log.warning(
                "a link from %s is refused: %s%s", ip, why, more.text, extra=more.fields
            )

    def not_understood(self, peer: Address, what: str, why: object) -> None:
        """Count what a peer sent in vain, and log it."""
        self.malformed += 1
        if more := self._due(peer[0], "malformed", "malformed", peer=place_of(peer), reason=why):
            server_log.warning(
                "connection from %s:%d %s: %s%s", *peer, what, why, more.text, extra=more.fields
            )

    def peer_trouble(self, what: str, address: Address, why: object) -> None:
        """Log what is wrong with a peer."""
        if more := self._due(address, what, "trouble", peer=place_of(address), reason=why):
            peers_log.warning("%s %s:%d: %s%s", what, *address, why, more.text, extra=more.fields)

    def tls_broke(self, address: Address, why: object) -> None:
        """Count a connection that broke as TLS does, and log it."""
        self.tls_failures += 1
        if more := self._due(address[0], "tls", "tls_broke", peer=place_of(address), reason=why):
            tls_log.warning(
                "TLS with %s:%d broke: %s%s", *address, why, more.text, extra=more.fields
            )

    def unparsable(self, to: PID, what: str, error: Exception) -> None:
        """Log a message that does not parse."""
        if more := self._due(to, "unparsable", "unparsable", pid=to, reason=error):
            process_log.error(
                "process %s failed in %s: %s%s", to, what, error, more.text, extra=more.fields
            )
