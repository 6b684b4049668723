"""``ServerConnection``: one accepted connection: messages in, answers out in order."""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from typing import cast

from compactor.actor.mailbox import Mailbox
from compactor.actor.protobuf import why_unreadable
from compactor.actor.routes import Call
from compactor.errors import RemoteProtocolError
from compactor.http.exchange import Exchange
from compactor.inbound.body_reader import LargeBodyReader
from compactor.inbound.delivery_owner import Page
from compactor.inbound.link_answers import LinkAnswers
from compactor.inbound.server_state import ServerState
from compactor.inbound.unusual_messages import UnusualMessages
from compactor.inbound.unusual_requests import UnusualRequests
from compactor.net.flow_control import ReadGate, add_feeder, unread_data
from compactor.net.keepalive import AckWatch
from compactor.net.lingering_close import LingeringClose
from compactor.net.memory import cut, cuts_without_memory
from compactor.pid import PID, Address
from compactor.system.system import system
from compactor.tls.failures import describe
from compactor.wire.request_head import Head

_INFLATING = "a body is inflated"
_UNREAD = "answers are not read"


class ServerConnection(asyncio.Protocol):
    """One accepted connection.

    A silent one is a peer watching whether we live: it is never closed for being idle, only when
    the peer's machine answers no more.
    """

    def __init__(self, state: ServerState, loop: asyncio.AbstractEventLoop) -> None:
        owner = state.owner
        # Of the server
        self._state = state
        self._loop = loop
        self._settings = owner.settings
        self._metrics = owner.metrics
        # Of this connection
        self._decoder = owner.new_decoder()
        self._responses = owner.new_responses(state.date)
        self._delivery = owner.new_delivery(self, self._decoder, self._responses)
        if state.sender_rule is not None:
            self._delivery.senders = set()
        self.data_received = self._delivery.receive  # type: ignore[method-assign]
        self.peer: Address = ("", 0)
        self.is_unread = False  # whether answers wait for the peer to read others
        self._eof = False
        self._is_lost = False
        self._is_counted = False  # among those that are taken, though it is lost
        self.is_waiting = False  # for a body to be inflated
        self._watch: AckWatch | None = None
        self._lingering: LingeringClose | None = None
        self._requests: UnusualRequests | None = None  # once there was one
        # Of this connection, once it is made
        self._transport: asyncio.Transport
        self._gate: ReadGate
        self._links: LinkAnswers
        self._unusual: UnusualMessages
        # Of the request that is arriving: its number, and since when it has been seen
        self._slow = (0, 0.0)

    # asyncio.Protocol

    @cuts_without_memory
    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        state, delivery, responses = self._state, self._delivery, self._responses
        peername = transport.get_extra_info("peername")
        peer = self.peer = (peername[0], peername[1]) if peername else ("", 0)
        raw = self._transport = cast(asyncio.Transport, transport)  # uvloop's are no subclass
        self._gate = ReadGate(self, raw, self._loop, self._rested, self._opened)
        responses.open(raw, self._gate, self)
        self._links = LinkAnswers(
            state, raw, peer, delivery, responses, self._notices_written, self.cut
        )
        self._unusual = UnusualMessages(state, raw, peer, delivery, responses, self._links)
        self._watch = AckWatch(
            self._loop, transport, self._settings.peer_timeout, self._transport.abort
        )
        descriptor = transport.get_extra_info("socket").fileno()
        if not state.admit(self, self.peer[0], descriptor) or state.is_closed:
            self.abort()  # one too many, or accepted in the moment that the context was stopped

    @cuts_without_memory
    def eof_received(self) -> bool:
        self._eof = True
        if self._responses.client_left():
            self._transport.abort()  # it would not be noticed before more is written
            return False
        self.send_out()
        return self._has_to_answer and not self._delivery.is_shut

    def connection_lost(self, exc: Exception | None) -> None:
        if self._watch is None:
            return  # there was no memory to begin with it
        self._is_lost = True
        self._watch.close()
        if self._lingering is not None:
            self._lingering.cancel()
        if isinstance(exc, ssl.SSLError):
            self._metrics.tls_broke(self.peer, describe(exc))
        self._responses.end()
        self._is_counted = self._state.forget(self, exc)
        self._gate.release(_UNREAD)
        if exc is not None and not self._delivery.is_shut:
            self._salvage()
        self._serve_what_is_left()

    @cuts_without_memory
    def _salvage(self) -> None:
        for data in unread_data(self._transport):
            self._delivery.deliver(data)

    def _serve_what_is_left(self) -> None:
        """The connection is lost; what it brought is served all the same, in turns."""
        if self.is_waiting:
            return  # and go on when that is over
        if self._delivery.is_behind and not self._delivery.is_shut:
            try:
                self._delivery.deliver(b"")
                self._loop.call_soon(self._serve_what_is_left)
                return
            except MemoryError:
                self.out_of_memory()
        self._delivery.is_shut = True
        self._delivery.kept.clear()
        self._decoder.forget()  # this is kept until Python looks for what refers to itself
        self._links.close()
        if self._requests is not None:
            self._requests.close()
        self._leave()

    @cuts_without_memory
    def pause_writing(self) -> None:
        self.is_unread = True
        self._gate.hold(_UNREAD)
        self._state.unread.added(self)

    @cuts_without_memory
    def resume_writing(self) -> None:
        self.is_unread = False
        self._gate.release(_UNREAD)
        self._responses.go_on()
        self._state.unread.added(self)

    # What the delivery does not do itself

    def hold(self, mailbox: Mailbox) -> None:
        """Read no more until most of what ``mailbox`` holds is worked off."""
        if not self._gate.has_reasons:
            self._metrics.reading_pauses += 1
        add_feeder(mailbox, self._gate)
        self._gate.hold(mailbox)

    def rest(self) -> None:
        """Read and serve no more until the loop has looked at other sockets."""
        self._gate.rest()

    def _rested(self) -> None:
        if self._delivery.is_behind and not self._gate.is_held:
            self._delivery.receive(b"")
            if self._eof or self._responses.is_over:  # what was left may have had no answer
                self.send_out()

    def accepted(self, head: Head, call: Call, body: bytes) -> None:
        """Answer a message that a mailbox took, whose handler may not be able to read it."""
        why = why_unreadable(call, body)
        self._responses.answer(400 if why else 202, why, head)

    def unusual_message(self, head: Head, sender: PID, body: bytes) -> None:
        """Take a message to which there is more than its path."""
        self._unusual.take(head, sender, body)

    # Of bodies that came compressed

    def inflated(self, head: Head, body: bytes) -> bytes | None:
        """A body as it was before it was compressed; None if this has to wait for it."""
        return self._state.inflations.inflate(self, head, body)

    def wait_for_body(self) -> None:
        """Serve nothing more until the body is there."""
        self.is_waiting = True
        self._gate.hold(_INFLATING)

    def body_inflated(self, head: Head, body: bytes) -> None:
        """Serve what the body belongs to, and then what came behind it."""
        self.is_waiting = False
        self._delivery.serve_inflated(head, body)
        self._go_on()
        if not (self._is_lost or self._delivery.is_behind):
            self._delivery.receive(b"")  # tells of what is no request, or is awaited
            if self._eof:
                self.send_out()

    def body_refused(self, error: RemoteProtocolError) -> None:
        """Cut off what is no request after all, and read nothing that came behind it."""
        self.is_waiting = False
        self._decoder.refuse(error)
        self._delivery.kept.clear()
        self.malformed()
        self.send_out()
        self._go_on()

    def _go_on(self) -> None:
        self.is_waiting = False
        self._gate.release(_INFLATING)
        if self._is_lost:
            self._serve_what_is_left()

    # For the delivery, too

    def refuses_browser(self, head: Head, body: bytes) -> bool:
        """Whether the web page that a message or request comes from may not send it."""
        return self._unusual.refuses_browser(head, body)

    def _opened(self) -> None:
        """Nothing holds back reading any more, but what was received already comes first."""
        if self._is_lost:
            self._leave()
        elif self._delivery.is_behind:
            self._gate.rest()

    def _leave(self) -> None:
        """Make room for another connection, once nothing waits that this one has brought too much
        of: who resets one after the other shall not have any amount held.
        """
        if self._is_counted and self._delivery.is_shut and not self._gate.has_reasons:
            self._is_counted = False
            self._state.leave(self.peer[0])

    def page_of(self, head: Head, body: bytes) -> Page | None:
        """Who serves a request whose path is not known; None if it is answered already."""
        return self._unusual_requests().page_of(head, body)

    def begin_body(self, head: Head) -> None:
        """Have the route of a request read its body as it comes, if it is one that does."""
        self._unusual_requests().begin_body(head)

    def _unusual_requests(self) -> UnusualRequests:
        if self._requests is None:
            of_this = (self._delivery, self._responses, self._links)
            self._requests = UnusualRequests(self, self._state, *of_this)
        return self._requests

    def _notices_written(self) -> None:
        """Notices that are not read count as answers that are not, among all that wait."""
        if self.is_unread:
            self._state.unread.added(self)

    def read_large_body(self) -> None:
        """Have what is missing of a body read straight to its place; TLS has to decipher it."""
        transport = self._transport
        is_plain = transport.get_extra_info("ssl_object") is None
        if (
            is_plain
            and self._decoder.body.can_lend
            and not (self._gate.is_held or self._delivery.is_behind or transport.is_closing())
        ):
            LargeBodyReader(self, transport, self._decoder.body)

    def malformed(self) -> None:
        """The decoder found what is no request."""
        error = self._decoder.error
        if error is not None and not (self.is_waiting or self._delivery.is_shut):
            self.cut_off(error)

    def body_awaited(self) -> None:
        """The client sends the body of its request once it is told to."""
        if self.is_waiting:
            self._decoder.is_awaited = True  # to be asked again
        else:
            self._unusual_requests().body_awaited(self._decoder.begun)

    @cuts_without_memory
    def cut_off_if_slow(self, now: float, timeout: float) -> None:
        """Cut off a request that has begun and does not end.  Time that we did not read is ours."""
        number, since = self._slow
        if self._decoder.unfinished != number or self._gate.is_held or self._delivery.is_behind:
            self._slow = (self._decoder.unfinished, now)
        elif number and now - since >= timeout and not self._delivery.is_shut:
            error = RemoteProtocolError(f"a request did not arrive whole in {timeout:g} s", 408)
            self.cut_off(error)
            self.send_out()

    def cut_off(self, error: RemoteProtocolError) -> None:
        """Answer what is no request, and close: what follows it cannot be told apart."""
        self._metrics.not_understood(self.peer, "is cut off", error)
        self._responses.refuse(error)

    # Answering

    def send_ready(self, *exchanges: Exchange) -> None:
        """Answers that were waited for are there; those of several leave in one write."""
        unread = self._state.unread
        try:
            for exchange in exchanges:
                if self._delivery.is_shut or (self._has_unread and not unread.may_add(self)):
                    return
                exchange.answered = None
                self._responses.answered(exchange)
            self.send_out()
            if self._has_unread and not self._transport.is_closing():
                unread.added(self)
        except MemoryError:
            self.out_of_memory()

    @property
    def _has_unread(self) -> bool:
        return self.is_unread or self._responses.early_bytes > 0

    @property
    def unread_bytes(self) -> int:
        """What answers take that the peer has not read, or that others go before."""
        return self._transport.get_write_buffer_size() + self._responses.early_bytes

    @property
    def _has_to_answer(self) -> bool:
        return bool(
            self._responses.waiting
            or self._delivery.kept
            or self._decoder.has_more
            or self.is_waiting
        )

    def send_out(self) -> None:
        """Write what was answered, in one go; then close if that was the last."""
        responses = self._responses
        responses.write()
        if self.is_unread and not self._transport.is_closing():
            self._state.unread.added(self)
        if self._has_to_answer or self._delivery.is_shut:
            return
        if self._eof and self._decoder.unfinished and not responses.is_over:
            self.cut_off(RemoteProtocolError("the connection ended in mid-message"))
            responses.write()
        if responses.is_over:
            self._shut_down()
        elif self._eof:
            self._transport.close()

    # Closing

    def _shut_down(self) -> None:
        """Send the end, and wait for the peer's: closing at once would reset the last answer."""
        self._delivery.is_shut = True
        if self._eof or self._transport.is_closing():
            self._transport.close()
            return
        transport, settings = self._transport, self._settings
        self._lingering = LingeringClose(
            self,
            transport,
            self._loop,
            transport.get_write_buffer_size,
            transport.abort,
            settings.request_timeout,
        )
        self._lingering.send_end(settings.linger)

    @property
    def has_unsent(self) -> bool:
        """Whether answers have been written that the peer makes no room for."""
        return self._transport.get_write_buffer_size() > 0

    def close(self) -> None:
        """Close once what has been answered has left; the context stops."""
        self._delivery.is_shut = True
        self._transport.close()

    @property
    def unacknowledged_bytes(self) -> int:
        """What was written and has not arrived, as far as the system tells."""
        in_system = system().unacknowledged(self._transport.get_extra_info("socket"))
        return self._transport.get_write_buffer_size() + in_system

    def cut(self, why: str) -> None:
        """Give up a connection; what it has brought is served all the same."""
        self._metrics.connection_cut(*self.peer, why)
        self._transport.abort()

    def out_of_memory(self) -> None:
        """Give up a connection that there is no memory for."""
        cut(self._transport)
        with contextlib.suppress(MemoryError):
            self._metrics.connection_cut(*self.peer, "there is no memory left to serve it")

    def abort(self) -> None:
        """Close at once."""
        self._delivery.is_shut = True
        self._transport.abort()
