"""``ServerConnection``: one accepted connection, messages in, answers out in order."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable
from typing import Any, Protocol, cast
from urllib.parse import quote

from compactor.errors import Reason, RemoteProtocolError
from compactor.exchange import Exchange
from compactor.flow import ReadGate, unread_data
from compactor.heads import Head
from compactor.http import HttpDate, Request, Response
from compactor.keepalive import AckWatch
from compactor.large_bodies import LargeBodyReader
from compactor.mailbox import IDLE, LARGE, Mailbox
from compactor.messages import serve
from compactor.metrics import Metrics
from compactor.pid import PID
from compactor.replies import TEXT_LINE, Replies
from compactor.routes import RouteTable, split_path
from compactor.run_queue import RunQueue
from compactor.senders import SenderRule
from compactor.settings import Settings
from compactor.tls import Tls
from compactor.wire import Backend

LINK_HEADER = b"Compactor-Link"

_MAX_SENDERS = 1024  # that one peer was found to write for, and need not be judged again


class Receiver(Protocol):
    """What a server asks of its runtime."""

    backend: Backend
    routes: RouteTable
    metrics: Metrics
    settings: Settings
    run_queue: RunQueue
    tls: Tls | None

    def message_not_taken(self, head: Head, body: bytes, reason: Reason) -> None: ...
    def find_route(self, path: bytes) -> tuple[Mailbox, Callable[[Any], Any]] | None: ...
    def observe(self, id_: str, observer: ServerConnection) -> bool: ...
    def stop_observing(self, id_: str, observer: ServerConnection) -> None: ...


class Acceptor(Protocol):
    """What a connection asks of the server that accepted it."""

    receiver: Receiver
    date: HttpDate
    is_closed: bool
    sender_rule: SenderRule | None

    def admit(self, connection: ServerConnection, ip: str, descriptor: int) -> bool: ...
    def forget(self, connection: ServerConnection, ip: str) -> None: ...


class ServerConnection(asyncio.Protocol):
    """One accepted connection.

    A silent one is a peer watching whether we live: it is never closed for being idle, only when
    the peer's machine answers no more.
    """

    def __init__(self, server: Acceptor, loop: asyncio.AbstractEventLoop) -> None:
        receiver = server.receiver
        self._server = server
        self._loop = loop
        self._receiver = receiver
        self._pages = receiver.routes.pages
        settings = self._settings = receiver.settings
        self._decoder = receiver.backend.FrameDecoder(
            settings.max_header_bytes,
            settings.max_body_bytes,
            settings.max_inflated_bytes,
            settings.max_header_fields,
        )
        self._inbound = receiver.backend.Inbound(
            self,
            self._decoder,
            receiver.routes.known,
            receiver.run_queue,
            settings.mailbox_high_water,
            settings.mailbox_high_water_bytes,
        )
        if server.sender_rule is not None:
            self._inbound.senders = set()
        self.data_received = self._inbound.receive  # type: ignore[method-assign]
        self._transport: asyncio.Transport
        self._gate: ReadGate
        self._replies: Replies
        self._watch: AckWatch
        self._peer: tuple[str, int] = ("", 0)
        self._observed: set[str] = set()
        self._eof = False
        self._last_wait: asyncio.TimerHandle | None = None  # for the peer to read the last answer
        self._slow = (0, 0.0)  # an unfinished request, and since when it has been seen

    # asyncio.Protocol

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # uvloop's are no subclass
        self._gate = ReadGate(self._transport, self._opened)
        self._replies = Replies(
            self._inbound.answers,
            self._receiver.backend.encode_response,
            self._server.date,
            self._settings.max_pipelined,
            self._settings.max_pipelined_bytes,
            self._transport,
            self._gate,
        )
        peer = transport.get_extra_info("peername")
        self._peer = (peer[0], peer[1]) if peer else ("", 0)
        self._watch = AckWatch(
            self._loop, transport, self._settings.peer_timeout, self._transport.abort
        )
        descriptor = transport.get_extra_info("socket").fileno()
        if not self._server.admit(self, self._peer[0], descriptor) or self._server.is_closed:
            self.abort()  # one too many, or accepted in the moment that the context was stopped

    def eof_received(self) -> bool:
        self._eof = True
        self.send_out()
        return self._has_to_answer and not self._inbound.is_shut

    def connection_lost(self, exc: Exception | None) -> None:
        self._watch.close()
        if self._last_wait is not None:
            self._last_wait.cancel()
        self._replies.end()
        self._server.forget(self, self._peer[0])
        if exc is not None and not self._inbound.is_shut:
            for data in unread_data(self._transport):
                self._inbound.deliver(data)
        self._serve_what_is_left()

    def _serve_what_is_left(self) -> None:
        """The connection is lost; what it brought is served all the same, in turns."""
        if self._inbound.is_behind and not self._inbound.is_shut:
            self._inbound.deliver(b"")
            self._loop.call_soon(self._serve_what_is_left)
            return
        self._inbound.is_shut = True
        for id_ in self._observed:
            self._receiver.stop_observing(id_, self)

    def pause_writing(self) -> None:
        self._gate.hold("answers are not read")

    def resume_writing(self) -> None:
        self._gate.release("answers are not read")

    # Receiving, what Inbound does not do itself

    def hold(self, mailbox: Mailbox) -> None:
        """Read no more until most of what ``mailbox`` holds is worked off."""
        if mailbox.feeders is None:
            mailbox.feeders = {}
        mailbox.feeders[self._gate] = None
        self._gate.hold(mailbox)

    def rest(self) -> None:
        """Read and serve no more until the loop has looked at other sockets."""
        if not self._gate.is_resting:
            self._gate.rest()
            self._loop.call_soon(self._go_on)

    def _go_on(self) -> None:
        self._gate.go_on()
        if self._inbound.is_behind and not self._gate.is_held:
            self._inbound.receive(b"")
            if self._eof:
                self.send_out()

    def accepted(self, head: Head) -> None:
        """Answer a message that a mailbox took."""
        self._answer(202, b"", head)

    def unusual_message(self, head: Head, sender: PID, body: bytes) -> None:
        """A link frame, or a message with a large head, or whose path is not in the table, or whose
        sender is judged.
        """
        rule = self._server.sender_rule
        try:
            if rule is not None and not self._may_write_for(rule, sender, head, body):
                return
            if head.is_link:
                self._open_link(split_path(head.path)[0], head)
                return
            target = self._receiver.routes.resolve(head.path)
        except RemoteProtocolError as error:
            self._count_malformed("sent a message that cannot be delivered", error)
            self._answer(400, str(error).encode(), head)
            return
        if target is None:
            self._receiver.message_not_taken(head, body, Reason.NO_PROCESS)
            self._answer(404, b"404 Not Found.", head)
            return
        mailbox, call, name = target
        call = call or mailbox.call_for_unhandled(name)
        if head.size > LARGE:  # of which its sender, and its name, may be nearly all
            mailbox.put_large(call, sender, body, head.size + len(body))
        else:
            mailbox.put_message(call, sender, body)
        self._inbound.hold_if_full(mailbox)
        self._answer(202, b"", head)

    def _may_write_for(self, rule: SenderRule, sender: PID, head: Head, body: bytes) -> bool:
        """Whether a peer may; if not, that is the answer."""
        senders = self._inbound.senders
        if senders is not None and sender in senders:
            return True
        refusal = rule.refusal(sender, self._transport)
        if refusal is not None and head.is_link:
            self._tell_link(split_path(head.path)[0], 403)
            return False
        if refusal is not None:
            self._receiver.message_not_taken(head, body, Reason.SENDER_REFUSED)
            self._answer(400, refusal.encode(), head)
            return False
        if senders is None or len(senders) >= _MAX_SENDERS:
            senders = self._inbound.senders = set()
        senders.add(sender)
        return True

    def _opened(self) -> None:
        """Nothing holds back reading any more, but what was received already comes first."""
        if self._inbound.is_behind:
            self.rest()

    def request(self, head: Head, body: bytes, in_time: bool) -> bool:
        """Hand a request to its route, at once if its process is idle and nothing is before it.

        Returns:
            Whether what comes behind the request has to wait until the connection is held no
            more: a peer that reads no answers shall not have any number of them made.
        """
        found = self._pages.get(head.path) or self._receiver.find_route(head.path)
        if found is None:
            self._answer(404, b"404 Not Found.", head)
            return False
        mailbox, call = found
        request = Request(
            head.method, head.path_text, head.query_text, head.headers, body, self._peer
        )
        exchange = Exchange(call, request)
        replies = self._replies
        if in_time and mailbox.state == IDLE and not (replies.waiting or replies.is_over):
            mailbox.serve_now(serve, exchange, mailbox)
            if exchange.response is not None:
                return replies.give(exchange.response, head)
        else:
            mailbox.put_event(exchange)
            self._inbound.hold_if_full(mailbox)
        exchange.answered = self._send_ready
        replies.queue(exchange, head, head.size + len(body))
        return self._gate.is_held

    def read_large_body(self) -> None:
        """Have what is missing of a body read straight to its place; TLS has to decipher it."""
        transport = self._transport
        is_plain = transport.get_extra_info("ssl_object") is None
        if (
            is_plain
            and self._decoder.can_lend
            and not (self._gate.is_held or self._inbound.is_behind or transport.is_closing())
        ):
            LargeBodyReader(self, transport, self._decoder)

    def malformed(self) -> None:
        """The decoder found what is no request."""
        error = self._decoder.error
        if error is not None and not self._inbound.is_shut:
            self._cut_off(error)

    def cut_off_if_slow(self, now: float, timeout: float) -> None:
        """Cut off a request that has begun and does not end.  Time that we did not read is ours."""
        number, since = self._slow
        if self._decoder.unfinished != number or self._gate.is_held or self._inbound.is_behind:
            self._slow = (self._decoder.unfinished, now)
        elif number and now - since >= timeout and not self._inbound.is_shut:
            error = RemoteProtocolError(f"a request did not arrive whole in {timeout:g} s", 408)
            self._cut_off(error)
            self.send_out()

    def _cut_off(self, error: RemoteProtocolError) -> None:
        """Answer what is no request, and close: what follows it cannot be told apart."""
        self._count_malformed("is cut off", error)
        response = Response.error(error.status, f"{error}\n")
        response.headers["Connection"] = "close"
        self._replies.queue_last(self._replies.encoded(response, None))

    # Links of other compactors

    def _open_link(self, id_: str, head: Head) -> None:
        """Tell whether a process lives, and from now on when it ends.

        The answers carry a header of ours, so that the linker knows them from answers to
        messages: 202 it lives, 404 there is none, 410 it has ended, 403 the peer may not ask for
        that linker.
        """
        alive = self._receiver.observe(id_, self)
        if alive:
            self._observed.add(id_)
        self._tell_link(id_, 202 if alive else 404)

    def observed_ended(self, id_: str) -> None:
        """A process that the peer is linked to has ended."""
        self._observed.discard(id_)
        self._tell_link(id_, 410)
        self.send_out()

    def _tell_link(self, id_: str, status: int) -> None:
        header = b"%b: %b" % (LINK_HEADER, quote(id_, errors="surrogateescape").encode())
        self._replies.queue(self._replies.encoded_parts(status, [header], b"", None), None)

    # Answering

    def _answer(self, status: int, body: bytes, head: Head) -> None:
        """Answer a message, or a request that reached no route."""
        if head.sender is not None and not head.wants_answer:
            return
        lines = [TEXT_LINE] if body else []
        self._replies.queue(self._replies.encoded_parts(status, lines, body, head), head)

    def _send_ready(self) -> None:
        """An answer that was waited for is there."""
        if not self._inbound.is_shut:
            self._replies.complete()
            self.send_out()

    @property
    def _has_to_answer(self) -> bool:
        return bool(self._replies.waiting or self._inbound.kept or self._decoder.has_more)

    def send_out(self) -> None:
        """Write what was answered, in one go; then close if that was the last."""
        replies = self._replies
        replies.write()
        if self._has_to_answer or self._inbound.is_shut:
            return
        if self._eof and self._decoder.unfinished and not replies.is_over:
            self._cut_off(RemoteProtocolError("the connection ended in mid-message"))
            replies.write()
        if replies.is_over:
            self._shut_down()
        elif self._eof:
            self._transport.close()

    # Closing

    def _count_malformed(self, what: str, error: RemoteProtocolError) -> None:
        ip, port = self._peer
        self._receiver.metrics.not_understood(f"connection from {ip}:{port} {what}", ip, error)

    def _shut_down(self) -> None:
        """Send the end, and wait for the peer's: closing at once would reset the last answer."""
        self._inbound.is_shut = True
        if self._eof or self._transport.is_closing():
            self._transport.close()
            return
        try:
            self._transport.write_eof()
        except OSError:  # it has been reset; the loop has not noticed yet
            self._transport.abort()
        else:
            self._abort_later(self._settings.linger, math.inf)

    def _abort_later(self, seconds: float, unsent: float) -> None:
        self._last_wait = self._loop.call_later(seconds, self._abort_unless_read, unsent)

    def _abort_unless_read(self, before: float) -> None:
        """Abort, unless the peer goes on reading what it was answered and is less than before."""
        unsent = self._transport.get_write_buffer_size()
        if 0 < unsent < before:
            self._abort_later(self._settings.request_timeout, unsent)
        else:
            self._transport.abort()

    @property
    def has_unsent(self) -> bool:
        """Whether answers have been written that the peer makes no room for."""
        return self._transport.get_write_buffer_size() > 0

    def close(self) -> None:
        """Close once what has been answered has left; the context stops."""
        self._inbound.is_shut = True
        self._transport.close()

    def abort(self) -> None:
        """Close at once."""
        self._inbound.is_shut = True
        self._transport.abort()
