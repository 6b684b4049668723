"""``ServerState``: what all accepted connections of one server share; and those themselves."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from logging import DEBUG
from typing import TYPE_CHECKING, Any, Protocol

from compactor.actor.asks import Asks
from compactor.actor.backlog import Backlog
from compactor.actor.mailbox import Mailbox
from compactor.actor.routes import RouteTable
from compactor.actor.run_queue import RunQueue
from compactor.actor.slices import Slices
from compactor.actor.undelivered import Undelivered
from compactor.errors import RemoteProtocolError
from compactor.inbound.compressed import Inflations
from compactor.inbound.connection_limits import Admission
from compactor.inbound.delivery import Delivery
from compactor.inbound.delivery_owner import DeliveryOwner, Page
from compactor.inbound.observers import Observers
from compactor.inbound.response_queue import HttpDate, ResponseQueue
from compactor.inbound.sender_policy import sender_rule
from compactor.inbound.unread_answers import UnreadAnswers
from compactor.metrics.logs import fields, logger, place_of
from compactor.metrics.metrics import Metrics
from compactor.pid import PID
from compactor.settings import Settings
from compactor.system import clock
from compactor.wire.browsers import BrowserRule
from compactor.wire.request_decoder import RequestDecoder
from compactor.wire.request_head import Head

if TYPE_CHECKING:
    from compactor.auth.guard import Guard
    from compactor.inbound.connection import ServerConnection
    from compactor.tls.credentials import Tls

log = logger("server")


class Reporter(Protocol):
    """Who counts and logs that a process has failed in something."""

    def report(self, process: PID, what: str, error: BaseException) -> None: ...


class ServerOwner(Protocol):
    """What a server and its connections ask of their context: its runtime.

    It also makes the parts of connections, of the kind of hot path that it uses.
    """

    ip: str
    port: int
    routes: RouteTable
    pages: Any
    backlog: Backlog
    metrics: Metrics
    settings: Settings
    run_queue: RunQueue
    slices: Slices
    tls: Tls | None
    guard: Guard | None
    observers: Observers
    asks: Asks
    undelivered: Undelivered

    @property
    def answers(self) -> Reporter: ...
    @property
    def new_date(self) -> Callable[[], HttpDate]: ...
    def new_decoder(self) -> RequestDecoder: ...
    def new_responses(self, date: HttpDate) -> ResponseQueue: ...
    def new_delivery(
        self, connection: DeliveryOwner, decoder: RequestDecoder, responses: ResponseQueue
    ) -> Delivery: ...
    def find_route(self, path: bytes) -> Page | None: ...
    def find_answer(self, path: bytes) -> tuple[Mailbox, str] | None: ...


class ServerState:
    """What is the same for all accepted connections of one context.

    Args:
        owner: where messages and requests go.

    Attributes:
        connections: those that were taken and have not ended.
        one_ended: set whenever one of them has.
        is_closed: whether no more are taken.
        is_draining: whether those that are there may bring no more, for the context stops.
        date: the ``Date`` of responses.
        sender_rule: for which senders peers may write; None if for all.
        browser_rule: what web pages may ask.
        unread: the answers that peers have not read.
        inflations: the bodies that came compressed.
    """

    def __init__(self, owner: ServerOwner) -> None:
        settings = owner.settings
        self.owner = owner
        self.connections: dict[ServerConnection, None] = {}  # in order
        self.one_ended = asyncio.Event()
        self.is_closed = False
        self.is_draining = False
        self.date = owner.new_date()
        self.sender_rule = sender_rule(settings, owner.tls)
        self.browser_rule = BrowserRule(
            (owner.ip, settings.ip), settings.allowed_hosts, settings.allowed_origins
        )
        self.unread = UnreadAnswers(
            min(settings.max_unread_bytes, settings.max_unread_bytes_in_all),
            settings.max_unread_bytes_in_all,
            settings.unread_timeout,
            clock.now,
        )
        self.inflations = Inflations(settings, owner.backlog, self.mailbox_of)
        self._admission = Admission(settings)

    def mailbox_of(self, head: Head) -> Mailbox | None:
        """The mailbox that a message or request is for; None if there is none."""
        if head.sender is None:
            page = self.owner.find_route(head.path) or self.owner.find_answer(head.path)
            return None if page is None else page[0]
        try:
            target = self.owner.routes.resolve(head.path)
        except RemoteProtocolError:
            return None
        return None if target is None else target[0]

    def admit(self, connection: ServerConnection, ip: str, descriptor: int) -> bool:
        """Take an accepted connection, or say in the log why not."""
        if not self.enter(ip, descriptor):
            return False
        self.connections[connection] = None
        if log.isEnabledFor(DEBUG):
            place = place_of(connection.peer)
            log.debug("accepted a connection from %s", place, extra=fields("accept", peer=place))
        return True

    def enter(self, ip: str, descriptor: int) -> bool:
        """Count an accepted connection, or say in the log why there are too many."""
        refusal = self._admission.refusal(ip, descriptor)
        if refusal is not None:
            self.owner.metrics.connection_refused(ip, refusal)
            return False
        self._admission.enter(ip)
        return True

    def leave(self, ip: str) -> None:
        """A connection that was counted has ended, or is to be admitted."""
        self._admission.leave(ip)

    def forget(self, connection: ServerConnection, error: Exception | None) -> bool:
        """A connection has ended; whether it was admitted, and has to leave."""
        self.unread.forget(connection)
        if connection not in self.connections:
            return False
        if log.isEnabledFor(DEBUG):
            place, why = place_of(connection.peer), "closed" if error is None else error
            told = fields("close", peer=place, reason=why)
            log.debug("the connection from %s has ended: %s", place, why, extra=told)
        del self.connections[connection]
        self.one_ended.set()
        return True

    def tls_failed(self) -> None:
        """Count a connection that was cut for its lack of TLS."""
        self.owner.metrics.tls_failures += 1
