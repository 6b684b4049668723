"""``Runtime``: joins the processes, links, peers and the server of one context on its loop.

All of it is touched on the loop's thread, except the registry.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING
from weakref import WeakValueDictionary

from compactor.actor.answering import asked
from compactor.actor.asks import GIVEN_UP
from compactor.actor.backlog import Backlog
from compactor.actor.entries import unhandled
from compactor.actor.mailbox import Mailbox
from compactor.actor.routes import Call, RouteTable
from compactor.actor.run_queue import RunQueue
from compactor.actor.slices import Slices
from compactor.actor.undelivered import Undelivered
from compactor.errors import Reason
from compactor.inbound.delivery import Delivery
from compactor.inbound.delivery_owner import DeliveryOwner, Page
from compactor.inbound.observers import Observers
from compactor.inbound.response_queue import HttpDate, ResponseQueue
from compactor.inbound.server import Server
from compactor.metrics.dead_letters import DeadLetter
from compactor.metrics.metrics import Metrics
from compactor.net.flow_control import released_by
from compactor.outbound.connection import PeerConnection
from compactor.outbound.outbox import Outbox
from compactor.outbound.pace import Pace
from compactor.outbound.peer import Peer
from compactor.outbound.send_queue import SendQueue
from compactor.pid import PID, TEMPORARY, Address, number_in
from compactor.process import Process
from compactor.runtime.answers import Answers
from compactor.runtime.binding import bind_handler
from compactor.runtime.census import Census
from compactor.runtime.drain import Drain
from compactor.runtime.ending import Ending
from compactor.runtime.hot_path import Backend
from compactor.runtime.leaving import Leaving
from compactor.runtime.life import Life
from compactor.runtime.pages import Pages
from compactor.runtime.readiness import Readiness
from compactor.runtime.registry import Registry
from compactor.runtime.supervising import Supervision
from compactor.runtime.watches import Watches
from compactor.settings import Settings
from compactor.wire.encoder import message_prefix
from compactor.wire.request_decoder import RequestDecoder

if TYPE_CHECKING:
    from compactor.auth.access import Access
    from compactor.endpoints.registry import Endpoints
    from compactor.tls.credentials import Tls


class Runtime(Ending):
    """Everything that one context does on its loop.

    Args:
        address: the advertised (ip, port).
        settings: the bounds.
        delegate: id of the process that serves requests to unknown paths, or empty.
        backend: the hot path.
        tls: certificates and rules; None for plain connections.
        access: who may ask for what over HTTP; None if everybody may.
    """

    def __init__(
        self,
        address: Address,
        settings: Settings,
        delegate: str,
        backend: Backend,
        tls: Tls | None = None,
        access: Access | None = None,
    ) -> None:
        self.ip, self.port = address
        self.backend = backend
        self.new_mailbox = backend.Mailbox
        self.tls = tls
        self.low_water = settings.mailbox_high_water // 4
        self.backlog = _new_backlog(settings)
        self.settings = settings
        self.metrics = Metrics()
        self.run_queue = self._new_run_queue()
        self.census = Census(self)
        self.slices = Slices(self.run_queue)
        self.registry = Registry(address, settings.max_processes)
        self.readiness = Readiness(self.registry)
        self.observers = Observers(self.registry.live, self.slices, settings.max_remote_links)
        self.watches = Watches(self.registry, self.observers, self.slices, self)
        self._init_asks(address)
        self.undelivered = Undelivered(address, self.metrics, self.slices)
        self.peers: WeakValueDictionary[Address, Peer] = WeakValueDictionary()
        self.outgoing: dict[PeerConnection, None] = {}  # in order
        self.pace = Pace()
        self.routes = RouteTable(self.registry.live.get)
        self._init_pages(delegate, access)
        self.server = Server(self)
        self.supervision = Supervision(self)
        self.life = Life()
        self.drain = Drain(self.registry.live.values, self.supervision.running, self._left)
        self.leaving = Leaving()
        self.parents = self.supervision.parents
        self._ended = asyncio.Event()
        self._is_silent = False  # all processes have ended, so nobody has more to send

    def _init_pages(self, delegate: str, access: Access | None) -> None:
        self.guard = None if access is None else access.guard(self.metrics)
        own = (self._make_endpoints, self.guard)
        self.pages = Pages(self.registry.live, self.routes, self.backend, delegate, *own)

    def _new_run_queue(self) -> RunQueue:
        run_queue = self.backend.RunQueue()
        if self.settings.slow_handler:
            run_queue.watch(self.settings.slow_handler, self.handler_was_slow)
        return run_queue

    def _init_asks(self, address: Address) -> None:
        observers = self.observers
        ways = self.backend.AskWays(
            PID(*address, ""),
            self,
            observers.is_told,
            self.registry.live,
            self.settings.max_mailbox_events,
        )
        told = observers.refused, self._tell_given_up
        self.asks = self.backend.Asks(address, self.run_queue, self.watches, ways, *told)
        self.metrics.hooks.append(self.asks.not_delivered)
        self.answers = Answers(self, ways)

    def _make_endpoints(self) -> Endpoints | None:
        if not self.settings.endpoints:
            return None
        try:
            from compactor.endpoints.registry import Endpoints  # few contexts are asked for one
        except OSError as error:  # there are no descriptors, perhaps, to read it with
            self.metrics.endpoints_missing(error)
            return None
        return Endpoints(self)

    # Parts of connections, of the kind of hot path that was chosen

    def new_date(self) -> HttpDate:
        """For all accepted connections."""
        return self.backend.HttpDate()

    def new_decoder(self) -> RequestDecoder:
        """For one accepted connection."""
        settings = self.settings
        return self.backend.RequestDecoder(
            settings.max_header_bytes, settings.max_body_bytes, settings.max_header_fields
        )

    def new_responses(self, date: HttpDate) -> ResponseQueue:
        """For one accepted connection; the date is that of all."""
        backend, settings = self.backend, self.settings
        return backend.ResponseQueue(
            backend.encode_response,
            backend.encode_body,
            date,
            settings.max_pipelined,
            settings.max_pipelined_bytes,
        )

    def new_delivery(
        self, connection: DeliveryOwner, decoder: RequestDecoder, responses: ResponseQueue
    ) -> Delivery:
        """For one accepted connection, whose bytes the decoder takes."""
        settings = self.settings
        return self.backend.Delivery(
            connection,
            decoder,
            responses,
            self.routes.known,
            self.routes.pages,
            self.run_queue,
            settings.mailbox_high_water,
            self.backlog,
            self.asks.answered,
        )

    def new_send_queue(self, peer: Peer) -> SendQueue:
        """For all connections to one address."""
        settings = self.settings
        return self.backend.SendQueue(
            peer,
            self.run_queue,
            settings.max_parked_bytes,
            min(settings.parked_high_water_bytes, settings.max_parked_bytes // 2),
        )

    # Processes

    def bind(self, process: Process, name: str) -> Call | None:
        """The call that hands a message of that name to a process, or None."""
        return bind_handler(process, name)

    def process_ended(self, mailbox: Mailbox, reason: Reason, error: BaseException | None) -> None:
        """A mailbox has ended: forget the process, and tell whoever watches it."""
        pid = mailbox.pid
        if mailbox.paths is not None:
            self.routes.forget(mailbox)
        if mailbox.outbox is not None:
            mailbox.outbox.close()
        if not mailbox.counts.is_shared:
            self.census.add_ended(mailbox)
        live = self.registry.live
        holder = live.get(pid.id)
        if holder is mailbox:
            live.pop(pid.id, None)  # see ``Registry.release``, a call that each end can do without
        elif holder is not None:
            return  # it never lived, and another process has taken its id since
        if self.watches.links.linked or self.observers.watched:
            if reason is Reason.FAILED:
                self.watches.ended(pid, reason, self.supervision.cause(pid, error))
            else:
                self.watches.ended(pid, Reason.TERMINATED, "")
        if not live:
            self._ended.set()

    # Sending

    def send(self, mailbox: Mailbox, to: PID, name: str, body: bytes) -> None:
        """Send a message from the process of a mailbox; the next one goes the short way."""
        counts = mailbox.counts.own(mailbox)
        if self.registry.is_local(to):
            counts.local += 1
        else:
            counts.sent += 1
            counts.bytes_out += len(body)
        self.forward(mailbox.pid, to, name, body, mailbox.outbox)

    def forward(
        self, sender: PID, to: PID, name: str, body: bytes, outbox: Outbox | None = None
    ) -> None:
        """Send a message whose sender need not be a process of this context.

        Args:
            outbox: remembers the way of the next one, if it leads to another address.
        """
        if self.registry.is_local(to):
            self.send_locally(sender, to, str(name), body)
            return
        if to.id.startswith(TEMPORARY):
            self.answers.ways.answer(sender, to, name, body)
            return
        reason = self.undialable(to)
        if reason is not None:
            self.metrics.dead_letter(DeadLetter(reason, to, sender, str(name), len(body)))
            return
        send_queue, prefix = self.peer(to.address).send_queue, message_prefix(sender, to, name)
        if outbox is not None:
            outbox.remember(to, name, send_queue, prefix)
        send_queue.write_message(prefix, body)

    def _tell_given_up(self, sender: PID, to: PID) -> None:
        """A temporary sender waits no more; strangers do not hear of it."""
        if self.registry.is_local(to):
            self.asks.inquiries.give_up(sender)
            return
        peer = self.peers.get(to.address)
        if peer is not None and peer.links.is_told:
            self.forward(sender, to, GIVEN_UP, b"")

    async def drained(self, to: PID) -> None:
        """Wait while more stands before ``to`` than its high-water mark, until most has left."""
        # Whoever is released may find that another one, who was too, has filled it again.
        if self.registry.is_local(to):
            mailbox, settings = self.registry.live.get(to.id), self.settings
            high_water = min(settings.mailbox_high_water, settings.max_mailbox_events // 2)
            while mailbox is not None and (
                len(mailbox.queue) > high_water
                or mailbox.large_bytes > settings.mailbox_high_water_bytes
            ):
                await released_by(mailbox)
        else:
            peer = self.peers.get(to.address)
            while peer is not None and peer.send_queue.is_backed_up:
                await released_by(peer)

    def undialable(self, to: PID) -> Reason | None:
        """Why nothing can be sent to a pid elsewhere, or None."""
        if self._is_silent or self.life.is_copy:
            return Reason.STOPPED
        if not to.id:
            return Reason.NO_PROCESS  # nor would its path say that it is for nobody
        return Reason.UNREACHABLE if to.port == 0 or to.ip in ("0.0.0.0", "::") else None

    def send_locally(self, sender: PID, to: PID, name: str, body: bytes) -> None:
        mailbox = self.registry.live.get(to.id)
        if mailbox is None:
            if to.id.startswith(TEMPORARY) and self.asks.answered(number_in(to), name, body):
                return
            reason = Reason.STOPPED if self.life.is_ending else Reason.NO_PROCESS
        elif len(mailbox.queue) >= self.settings.max_mailbox_events:
            reason = Reason.OVERFLOW
        else:
            call = mailbox.call_for(name) or unhandled(mailbox.process, name)
            if not hasattr(call, "answers"):
                call = asked(mailbox.process, name, call, sender)
            mailbox.put_message(call, sender, body)
            return
        self.metrics.dead_letter(DeadLetter(reason, to, sender, name, len(body)))

    def peer(self, address: Address) -> Peer:
        """The peer at an address; there is one as long as somebody uses it."""
        peer = self.peers.get(address)
        if peer is None:
            peer = self.peers[address] = Peer(address, self)
        return peer

    def disconnect(self, address: Address) -> None:
        """Cut the connection to an address; linkers of all that is there see an exit."""
        peer = self.peers.get(address)
        if peer is not None:
            peer.disconnect()

    def delegated(self, process: Process, name: str, sender: PID, body: bytes) -> None:
        """Forward a message that ``process`` does not handle, or report it as a dead letter."""
        to = process.__delegate_of__(name)
        if to is None:
            letter = DeadLetter(Reason.NO_HANDLER, process.pid, sender, name, len(body))
            self.metrics.dead_letter(letter)
        else:
            self.forward(sender, to, name, body)

    # Receiving

    def find_route(self, path: bytes) -> Page | None:
        """Who serves an HTTP path that is not known yet; the delegate if there is nobody else."""
        return self.pages.find(path)

    def find_answer(self, path: bytes) -> tuple[Mailbox, str] | None:
        """Who answers the requests to an HTTP path that no route serves, and the name to ask."""
        return self.pages.find_answer(path)


def _new_backlog(settings: Settings) -> Backlog:
    return Backlog(settings.mailbox_high_water_bytes, settings.mailbox_high_water_bytes_in_all)
