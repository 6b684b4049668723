"""``Delivery``: what one connection receives, handed to the mailboxes of its processes.

What a socket has brought is handled as one turn.  The decoder makes (head, body) pairs of it, and
the raw path of a head is looked up in a dict, which gives the mailbox and the bound handler.  Where
the mailbox is idle, its handler is called here and now, so most messages are never queued.  Where
it is busy, the message is put into it, and a mailbox that is too full holds the connection.

All that is rarer is given to the connection, in the order in which it came: paths that are not
known yet, web pages, senders that have to be checked.  Answers and messages that handlers have sent
leave together when the turn ends.

A turn has 2 ms, and the clock is looked at ever less often while handlers are quick.  Once the time
is over, messages are only put into their mailboxes; what takes longer is kept, and the connection
rests until the loop has looked at other sockets.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from compactor.actor.answering import asked_at
from compactor.actor.backlog import Backlog
from compactor.actor.entries import LARGE
from compactor.actor.events import Sized
from compactor.actor.routes import Call
from compactor.inbound.delivery_owner import DeliveryOwner, Page
from compactor.net.flow_control import FULL_READ
from compactor.pid import PID, TEMPORARY, Address

from ..actor.mailbox import ENDED, IDLE, SUSPENDED, Mailbox, serve
from ..actor.run_queue import TURN_SECONDS, RunQueue
from ..http.exchange import Exchange
from ..wire.body_buffer import bytes_of
from ..wire.request_decoder import RequestDecoder
from ..wire.request_head import Head
from .response_queue import ResponseQueue

LARGE_BODY = 128 * 1024  # bytes missing of a body from which on it is read straight to its place

_SMALL_READ = 16 * 1024  # bytes that are decoded in no time
_FEW = 32  # heads and bodies of a larger read: most of its time may be the decoder's
_CHECK_EVERY = 32  # messages served as they arrive, between two looks at the clock, at most


class Delivery:
    """The way from bytes to handlers.

    The message for an idle mailbox is served at once, while the rest of the bytes waits; what
    handlers send leaves when all bytes are through.

    Args:
        connection: takes what is neither a message nor a request for a known path.
        decoder: the decoder of the connection.
        responses: what the connection answers.
        known: (mailbox, call) by message path.
        pages: (mailbox, call) by HTTP path.
        run_queue: the turns of the loop.
        high_water: the connection is to be held when a mailbox has more events.
        backlog: tells how many bytes are too many.
        answered: takes the number of an ask, and name and bytes of its answer; whether it waits.

    Attributes:
        is_shut: whether what is received matters no more.
        kept: what was received behind a request that left the connection held, or when the time of
            a turn was over, as the decoder gives it; served once the connection is released, and
            first of all else.
        senders: the addresses that the peer may write for, as far as is known; None is all.
    """

    __slots__ = (
        "_answered",
        "_backlog",
        "_begun",
        "_connection",
        "_decoder",
        "_high_water",
        "_known",
        "_pages",
        "_responses",
        "_run_queue",
        "is_shut",
        "kept",
        "senders",
    )

    def __init__(
        self,
        connection: DeliveryOwner,
        decoder: RequestDecoder,
        responses: ResponseQueue,
        known: Mapping[bytes, tuple[Mailbox, Call]],
        pages: Mapping[bytes, Page],
        run_queue: RunQueue,
        high_water: int,
        backlog: Backlog,
        answered: Callable[[int, str, bytes], bool],
    ) -> None:
        self.is_shut = False
        self.kept: list[Any] = []
        self.senders: set[Address] | None = None
        self._connection = connection
        self._decoder = decoder
        self._responses = responses
        self._known = known
        self._pages = pages
        self._begun = 0  # the number of the last request whose body was not whole
        self._run_queue = run_queue
        self._high_water = high_water
        self._backlog = backlog
        self._answered = answered

    @property
    def is_behind(self) -> bool:
        """Whether something that was received waits to be served."""
        return bool(self.kept) or self._decoder.has_more

    def receive(self, data: bytes) -> None:
        """Handle the next bytes, as one turn; if there are none, what waits."""
        if self.is_shut:
            return
        run_queue = self._run_queue
        run_queue.is_in_turn = True
        try:
            is_late = self.deliver(data)
            if is_late is None:
                return
            if self._responses.due:
                self._connection.send_out()
            if (
                self._decoder.body.missing >= LARGE_BODY
                and self._responses.body is None
                and not (self.is_behind or self.is_shut)
            ):
                self._connection.read_large_body()
            elif is_late or (
                (len(data) >= FULL_READ or not data)  # without data, a large body is through
                and run_queue.is_hogged_by(id(self))
            ):
                self._connection.rest()
        except MemoryError:
            self._connection.out_of_memory()
        finally:
            run_queue.end_turn()

    # In one piece: what comes alone is served without a call that others do not need.
    def deliver(self, data: bytes) -> bool | None:
        """Hand the messages and requests that ``data`` completes to where they belong.

        Returns:
            Whether the time of a turn is over; what it was not enough for waits.  None after a
            message that came alone, when there is nothing else to look at.
        """
        decoder = self._decoder
        # Large heads take their time in the decoder already.
        began = 0.0 if data and len(data) < _SMALL_READ else self._run_queue.now()
        events = decoder.feed_some(data)
        if len(events) == 2 and not (began or self.kept or decoder.unfinished or decoder.error):
            # One message, and all that there is: as it comes from who waits for the answer.
            head, body = events
            target = self._known.get(head.path) if head.is_plain else None
            if target is not None and head.size <= LARGE:
                mailbox, call = target
                if mailbox.state == IDLE and self.senders is None:
                    counts = mailbox.counts
                    counts.left -= 1
                    if self._run_queue.samples_next or not counts.left:
                        self._serve_timed(mailbox, call, head.sender, body)
                    else:
                        mailbox.serve_now(call, head.sender, body)
                    counts = mailbox.counts
                    counts.arrived += 1
                    counts.bytes_in += len(body)
                    return None
        if self.kept:
            self.kept += events
            if data:
                return False
            events, self.kept = self.kept, []
        # One event is always in time.
        end = 0.0
        if len(events) > 2 or decoder.has_more:
            is_from_few = began and len(events) <= _FEW
            end = (began if is_from_few else self._run_queue.now()) + TURN_SECONDS
        in_time = self._serve(events, end, True)
        if decoder.has_more:
            in_time = self._serve_on(end, in_time)
        if decoder.error is not None and not self.kept:
            self._connection.malformed()
        if decoder.is_awaited and not self.kept:
            decoder.is_awaited = False
            self._connection.body_awaited()
        if decoder.unfinished and not (self.kept or self._connection.is_waiting):
            self._read_body()
        return not in_time

    def _read_body(self) -> None:
        """Hand what has come of a body to the route that reads it as it comes, if one does."""
        decoder = self._decoder
        head = decoder.begun
        if head is not None and decoder.unfinished != self._begun:
            self._begun = decoder.unfinished
            # What browsers send, and what is compressed, is looked at whole.
            if head.sender is None and not head.is_special and not self._responses.is_over:
                self._connection.begin_body(head)
        if self._responses.body is not None:
            self._responses.body.add(decoder.body.take_pieces())

    def _serve_on(self, end: float, in_time: bool) -> bool:
        """Decode and serve what is left, step by step, while there is time; whether there is."""
        while in_time and self._decoder.has_more and not self.kept:
            in_time = self._run_queue.now() < end
            if in_time:
                events = self._decoder.feed_some(b"")
                in_time = self._serve(events, end, self._run_queue.now() < end)
        return in_time

    def serve_inflated(self, head: Head, body: bytes) -> None:
        """Serve what the connection has waited for, before all that waits."""
        self._run_queue.is_in_turn = True
        try:
            if head.sender is None:
                self._request(head, body, True)
            else:
                self._connection.unusual_message(head, head.sender, body)
            self._connection.send_out()
        finally:
            self._run_queue.end_turn()

    # In one piece: the loop over all messages of a read, whose locals live in registers.
    def _serve(self, events: list[Any], end: float, in_time: bool) -> bool:
        """Serve events, those for idle mailboxes at once; return whether there is time left.

        Messages that there is no time for go to their mailboxes; what takes longer is kept.
        """
        check_after = 1
        until_check = 1 if end else _CHECK_EVERY
        last: Any = None  # the head that mailbox, call, sender and is_answered belong to
        mailbox: Any = None
        call: Any = None
        sender: Any = None
        counts: Any = None
        is_answered = False
        first = queued = 0  # of the events for one mailbox: where they begin, those put
        for index in range(0, len(events), 2):
            head = events[index]
            body = events[index + 1]
            if head is not last or mailbox.state == ENDED:
                if last is not None:
                    counts.took((index - first) // 2, queued, bytes_of(events, first, index))
                    queued = 0
                last = None
                sender = head.sender
                if (
                    head.answers is not None
                    and self.senders is None
                    and not (head.wants_answer or head.is_special)
                    and self._answered(head.answers, head.path_text.split("/", 2)[2], body)
                ):
                    continue
                target = self._known.get(head.path) if sender is not None else None
                if (
                    target is None
                    or head.is_link
                    or head.size > LARGE
                    or head.is_special
                    or (self.senders is not None and sender.address not in self.senders)  # pyright: ignore[reportOptionalMemberAccess]
                ):
                    if self._serve_rarer(head, sender, body, in_time):
                        in_time = False
                    if index + 2 < len(events):
                        in_time = in_time and self._run_queue.now() < end
                        if not in_time:
                            self.kept = events[index + 2 :]
                            break
                    continue
                mailbox, call = target
                if (
                    not head.is_plain
                    and not hasattr(call, "answers")
                    and sender.id.startswith(TEMPORARY)  # pyright: ignore[reportOptionalMemberAccess]
                ):
                    call = asked_at(mailbox.process, head.path, call, sender)  # pyright: ignore[reportArgumentType]
                is_answered = head.wants_answer
                last = head
                first = index
                counts = mailbox.counts.own(mailbox)
                if counts.left <= (len(events) - index) // 2 and mailbox.state == IDLE and in_time:
                    counts.begin(self._run_queue.now())
                    counts.waited(0.0)
                    until_check = 1
            if in_time and mailbox.state == IDLE:
                mailbox.serve_now(call, sender, body)
                until_check -= 1
                if not until_check:
                    now = self._run_queue.now()
                    in_time = now < end or not end
                    if counts.began >= 0 and mailbox.state != SUSPENDED:
                        counts.end(now)
                    if end and not in_time:
                        few, seconds = max(check_after // 2, 1), now - end + TURN_SECONDS
                        self._run_queue.tell_if_slow(mailbox, (call, sender, body), few, seconds)
                    until_check = check_after
                    if check_after < _CHECK_EVERY:
                        check_after *= 2
            else:
                mailbox.put_message(call, sender, body)
                self.hold_if_full(mailbox)
                queued += 1
            if is_answered:
                self._connection.accepted(head, call, body)
        if last is not None:
            counts.took((len(events) - first) // 2, queued, bytes_of(events, first, len(events)))
        return in_time

    def _serve_timed(self, mailbox: Mailbox, call: Call, sender: PID, body: bytes) -> None:
        """Serve a message at once, and tell if it takes long."""
        self._run_queue.samples_next = False
        began = self._run_queue.now()
        mailbox.counts.serve_timed(mailbox, self._run_queue.now, call, sender, body)
        entry = (call, sender, body)
        self._run_queue.tell_if_slow(mailbox, entry, 1, self._run_queue.now() - began)

    def _serve_rarer(self, head: Head, sender: PID | None, body: bytes, in_time: bool) -> bool:
        """Serve what is no message for a known path.

        Returns:
            Whether what comes behind it has to wait until the connection is held no more: a peer
            that reads no answers shall not have any number of them made.
        """
        if head.is_special:
            if head.browser is not None and self._connection.refuses_browser(head, body):
                return False
            if head.coding:
                plain = self._connection.inflated(head, body)
                if plain is None:
                    return True
                body = plain
        if sender is None:
            return self._request(head, body, in_time)
        self._connection.unusual_message(head, sender, body)
        return False

    def _request(self, head: Head, body: bytes, in_time: bool) -> bool:
        """Hand a request to its route, at once if its process is idle and nothing is before it.

        Returns:
            As ``_serve_rarer``.
        """
        if self._responses.body is not None:
            self._responses.end_body(body)
            return self._responses.is_held
        page = self._pages.get(head.path) or self._connection.page_of(head, body)
        if page is None:
            return self.is_shut or self._responses.is_held
        mailbox, call = page
        exchange = Exchange(call, head, body, self._connection.peer)
        exchange.takes_gzip = head.takes_gzip
        responses = self._responses
        if in_time and mailbox.state == IDLE and not (responses.waiting or responses.is_over):
            counts = mailbox.counts
            counts.left -= 1
            if counts.left:
                mailbox.serve_now(serve, exchange, mailbox)
            else:
                counts.serve_timed(mailbox, self._run_queue.now, serve, exchange, mailbox)
            mailbox.counts.others += 1
            if exchange.response is not None:
                return responses.give(exchange.response, head)
        else:
            size = head.size + len(body)
            if size > LARGE:
                mailbox.account(size)
                mailbox.put_event(Sized(exchange, size))
            else:
                mailbox.put_event(exchange)
            self.hold_if_full(mailbox)
        exchange.answered = self._connection.send_ready
        responses.queue(exchange, head, head.size + len(body))
        return responses.is_held

    def hold_if_full(self, mailbox: Mailbox) -> None:
        """Have the connection read no more if a mailbox that it feeds is full."""
        if len(mailbox.queue) > self._high_water or (
            mailbox.large_bytes and mailbox.large_bytes > self._backlog.high_water
        ):
            self._connection.hold(mailbox)
