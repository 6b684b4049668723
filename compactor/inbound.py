"""``Inbound``: what one connection receives, handed to the mailboxes of its processes."""

from __future__ import annotations

from collections.abc import Mapping
from time import perf_counter
from typing import Any, Protocol

from compactor.flow import FULL_READ
from compactor.pid import PID
from compactor.routes import Call

from .decoder import FrameDecoder
from .heads import Head
from .mailbox import ENDED, IDLE, LARGE, Mailbox
from .run_queue import TURN_SECONDS, RunQueue

LARGE_BODY = 128 * 1024  # bytes missing of a body from which on it is read straight to its place

_CHECK_EVERY = 32  # messages served as they arrive, between two looks at the clock, at most


class Connection(Protocol):
    """What an inbound asks of its connection: all that is rarer than a known message."""

    def request(self, head: Head, body: bytes, in_time: bool) -> bool: ...
    def unusual_message(self, head: Head, sender: PID, body: bytes) -> None: ...
    def accepted(self, head: Head) -> None: ...
    def hold(self, mailbox: Mailbox) -> None: ...
    def rest(self) -> None: ...
    def malformed(self) -> None: ...
    def read_large_body(self) -> None: ...
    def send_out(self) -> None: ...


class Inbound:
    """The way from bytes to handlers.

    The message for an idle mailbox is served at once, while the rest of the bytes waits; what
    handlers send leaves when all bytes are through.

    Args:
        connection: takes what is not a message for a known path.
        decoder: the decoder of the connection.
        known: (mailbox, call) by message path.
        run_queue: the turns of the loop.
        high_water, high_water_bytes: the connection is to be held when a mailbox has more.

    Attributes:
        answers: what the connection is to send at the end of a turn.
        is_shut: whether what is received matters no more.
        kept: what was received behind a request that left the connection held, or when the time of
            a turn was over, as the decoder gives it; served once the connection is released, and
            first of all else.
        senders: those that the peer may write for, as far as is known; None is everybody.
    """

    __slots__ = (
        "_connection",
        "_decoder",
        "_high_water",
        "_high_water_bytes",
        "_known",
        "_run_queue",
        "answers",
        "is_shut",
        "kept",
        "senders",
    )

    def __init__(
        self,
        connection: Connection,
        decoder: FrameDecoder,
        known: Mapping[bytes, tuple[Mailbox, Call]],
        run_queue: RunQueue,
        high_water: int,
        high_water_bytes: int,
    ) -> None:
        self.answers: list[bytes] = []
        self.is_shut = False
        self.kept: list[Any] = []
        self.senders: set[PID] | None = None
        self._connection = connection
        self._decoder = decoder
        self._known = known
        self._run_queue = run_queue
        self._high_water = high_water
        self._high_water_bytes = high_water_bytes

    @property
    def is_behind(self) -> bool:
        """Whether something that was received waits to be served."""
        return bool(self.kept) or self._decoder.has_more

    def receive(self, data: bytes) -> None:
        """Handle the next bytes, as one turn; if there are none, what waits."""
        if self.is_shut:
            return
        self._run_queue.begin_turn()
        try:
            is_late = self.deliver(data)
            if self.answers:
                self._connection.send_out()
            if self._decoder.missing >= LARGE_BODY:
                self._connection.read_large_body()
            elif is_late or (
                (len(data) >= FULL_READ or not data)  # without data, a large body is through
                and self._run_queue.is_hogged_by(id(self))
            ):
                self._connection.rest()
        finally:
            self._run_queue.end_turn()

    def deliver(self, data: bytes) -> bool:
        """Hand the messages and requests that ``data`` completes to where they belong.

        Returns:
            Whether the time of a turn is over; what it was not enough for waits.
        """
        decoder = self._decoder
        events = decoder.feed_some(data)
        if self.kept:
            self.kept += events
            if data:
                return False
            events, self.kept = self.kept, []
        # One event is always in time.
        end = perf_counter() + TURN_SECONDS if len(events) > 2 or decoder.has_more else 0.0
        in_time = self._serve(events, end, True)
        while in_time and decoder.has_more and not self.kept:
            events = decoder.feed_some(b"")
            in_time = self._serve(events, end, perf_counter() < end)
        if decoder.error is not None and not self.kept:
            self._connection.malformed()
        return not in_time

    def _serve(self, events: list[Any], end: float, in_time: bool) -> bool:
        """Serve events, those for idle mailboxes at once; return whether there is time left.

        Messages that there is no time for go to their mailboxes; what takes longer is kept.
        """
        check_after = 1
        until_check = 1 if end else _CHECK_EVERY
        is_held = False
        last: Any = None  # the head that mailbox, call, sender and is_answered belong to
        mailbox: Any = None
        call: Any = None
        sender: Any = None
        is_answered = False
        for index in range(0, len(events), 2):
            head = events[index]
            body = events[index + 1]
            if head is not last or mailbox.state == ENDED:
                last = None
                sender = head.sender
                target = self._known.get(head.path) if sender is not None else None
                if (
                    target is None
                    or head.is_link
                    or head.size > LARGE
                    or (self.senders is not None and sender not in self.senders)
                ):
                    if sender is None:
                        is_held = self._connection.request(head, body, in_time)
                    else:
                        self._connection.unusual_message(head, sender, body)
                    if index + 2 < len(events):
                        in_time = in_time and perf_counter() < end
                        if is_held or not in_time:
                            self.kept = events[index + 2 :]
                            break
                    continue
                mailbox, call = target
                is_answered = head.wants_answer
                last = head
            if in_time and mailbox.state == IDLE:
                mailbox.serve_now(call, sender, body)
                until_check -= 1
                if not until_check:
                    in_time = perf_counter() < end
                    until_check = check_after
                    if check_after < _CHECK_EVERY:
                        check_after *= 2
            else:
                mailbox.put_message(call, sender, body)
                self.hold_if_full(mailbox)
            if is_answered:
                self._connection.accepted(head)
        return in_time

    def hold_if_full(self, mailbox: Mailbox) -> None:
        """Have the connection read no more if a mailbox that it feeds is full."""
        if len(mailbox.queue) > self._high_water or mailbox.large_bytes > self._high_water_bytes:
            self._connection.hold(mailbox)
