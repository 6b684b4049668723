"""``TlsTransport``: TLS between a socket's transport below and a protocol above.

It is the same on uvloop and on asyncio, for connections that are accepted and that are dialled,
also when their first bytes were read before it was known that they are TLS.

Where a connection stands is its ``State``.  The two sides end TLS each for itself, so it tells of
this side only; the peer's end is known to the records.
"""

from __future__ import annotations

import asyncio
import functools
import ssl
from collections import deque
from collections.abc import Callable, Iterable
from typing import Any, cast

from compactor.actor.run_queue import TURN_SECONDS
from compactor.net.flow_control import FULL_READ, unread_data
from compactor.system import clock
from compactor.tls.failures import TlsError
from compactor.tls.handshake import Handshake
from compactor.tls.records import PLAIN_BYTES, Records
from compactor.tls.states import (
    CLOSED,
    CLOSING,
    CUT,
    ENDED,
    ENDING,
    NEXT,
    OPEN,
    READY,
    SHAKING_HANDS,
    State,
)
from compactor.tls.verify import Check

_MAX_UNREAD = 1024 * 1024  # bytes; far more than is written to a transport below that is full

Done = Callable[["TlsTransport", "Exception | None"], None]


class TlsTransport(asyncio.Transport, asyncio.Protocol):
    """One TLS connection: a protocol to the transport below, a transport to the protocol above.

    There is no protocol above until the handshake is over, the peer is checked, and ``open`` is
    called.  What is written is encrypted as far as the transport below takes it.  The rest waits
    as it is: a large body neither holds up the loop nor is in memory twice.

    Args:
        loop: the loop of the transport below.
        context: keys, certificates and rules of OpenSSL.
        server_side: whether the peer dialled.
        name: what the certificate of the peer must name, None for anything.
        timeout: seconds for handshake and check.
        check: is awaited after the handshake; None if there is nothing to check.
        done: is called once: with None when the connection can be opened, else with the reason.
    """

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        context: ssl.SSLContext,
        server_side: bool,
        name: str | None,
        timeout: float,
        check: Check | None,
        done: Done,
    ) -> None:
        super().__init__()
        self._loop = loop
        self._records = Records(context, server_side, name)
        self._raw: asyncio.Transport  # below
        self._above: asyncio.Protocol | None = None
        self._state = SHAKING_HANDS
        self._error: Exception | None = None  # what broke TLS
        # Of the handshake
        settle = functools.partial(self._settle, done)
        self._handshake: Handshake | None = Handshake(
            loop, self._records, server_side, timeout, check, self._flush, settle
        )
        self._early = b""  # what the peer said at the end of it
        # Of receiving
        self._is_held = True  # the protocol above takes nothing for now
        self._is_resting = False  # others have their turn
        self._rest_due = 0.0
        self._has_told_end = False  # of the peer, to the protocol above
        # Of sending
        self._is_full = False  # the transport below takes nothing for now
        self._has_paused = False  # the protocol above knows that
        self._unsent: deque[memoryview] = deque()
        self._unsent_bytes = 0

    def __repr__(self) -> str:
        marks = [self._state.name]
        marks += ["held"] * self._is_held + ["resting"] * self._is_resting
        marks += ["full"] * self._is_full + ["ended by the peer"] * self._records.have_ended
        return f"<TlsTransport: {', '.join(marks)}>"

    def _enter(self, state: State) -> bool:
        """Go on to a state; False if it cannot follow."""
        follows = state in NEXT[self._state]
        if follows:
            self._state = state
        return follows

    def _leave(self) -> None:
        """The socket is closed, or about to be."""
        self._enter(CLOSED if self._state is ENDED else CUT)

    # What the transport below calls

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._raw = cast(asyncio.Transport, transport)  # uvloop's are no subclass
        if self._handshake is not None:
            self._handshake.begin(self._raw)

    def data_received(self, data: bytes) -> None:
        if self._state > OPEN or self._records.have_ended:
            return  # nobody reads it any more
        self._records.feed(data)
        if self._handshake is not None:
            self._handshake.go_on()
        elif not self._is_held:
            self._deliver()
            if len(data) >= FULL_READ and not self._is_held and not self.is_closing():
                self._rest_if_due()

    def _rest_if_due(self) -> None:
        """Let others have their turn, if this one reads much."""
        now = self._loop.time()
        if now >= self._rest_due:
            self._rest_due = now + TURN_SECONDS
            self._rest()

    def _rest(self) -> None:
        if not self._is_resting:
            self._is_resting = True
            self._raw.pause_reading()
            self._loop.call_soon(self._go_on)

    def _go_on(self) -> None:
        self._is_resting = False
        if not self._is_held and not self.is_closing():
            self._raw.resume_reading()
            self._deliver()

    def eof_received(self) -> bool:
        self._records.feed_end()
        if self._handshake is not None:
            self._handshake.end(TlsError("the peer closed the connection during the handshake"))
        elif self._state in (ENDED, CLOSED) and self._above is not None:
            self._tell_end(self._above)
        elif not self._is_held:
            self._deliver()
        return True  # this side stays open until the protocol above has decided

    def connection_lost(self, exc: Exception | None) -> None:
        self._leave()
        self._forget_unsent()
        if self._handshake is not None:
            self._handshake.end(exc or TlsError("the connection ended during the handshake"))
        above, self._above = self._above, None
        if above is None:
            return
        if exc is not None and self._error is None and self._state is CUT:
            self._salvage(above)
        above.connection_lost(self._error or exc)

    def pause_writing(self) -> None:
        self._is_full = True
        if self._above is not None and not self._has_paused:
            self._has_paused = True
            self._above.pause_writing()

    def resume_writing(self) -> None:
        self._is_full = False
        self._send_on()
        if self._above is not None and not self._is_full and self._has_paused:
            self._has_paused = False
            self._above.resume_writing()

    # The handshake

    def _settle(self, done: Done, error: Exception | None, early: bytes) -> None:
        """The handshake is over."""
        self._handshake = None
        self._early = early
        if error is None:
            self._enter(READY)
        elif self._state < CLOSED:
            self._leave()
            self._raw.close()
            # What is left to write is an alert at most: nobody waits for those who do not read.
            self._loop.call_later(1.0, self._raw.abort)
        done(self, error)

    def open(self, above: asyncio.Protocol) -> None:
        """Connect the protocol above, and give it what has arrived."""
        self._above = above
        self._enter(OPEN)
        self._is_held = False
        above.connection_made(self)
        if self._is_full:
            self.pause_writing()
        early, self._early = self._early, b""
        if early:
            above.data_received(early)
        if not self._is_held:
            self.resume_reading()

    # Receiving

    def _deliver(self) -> None:
        """Decrypt what has arrived, and hand it over while it is taken, for the time of a turn."""
        end = clock.now() + TURN_SECONDS
        while self._state < ENDED and not self._is_held:
            data = self._decrypt()
            above = self._above
            if above is None:
                return
            if data:
                above.data_received(data)
                if clock.now() > end and not self._is_held and not self.is_closing():
                    self._rest()
                    return
            else:
                if self._records.have_ended and self._error is None:
                    self._tell_end(above)
                return

    def _decrypt(self) -> bytes:
        """Some of what has arrived; the peer may say that it was the last."""
        data, wrong = self._records.decrypt()
        if wrong is not None:
            self._break(wrong)
        if self._records.has_output:
            self._flush()  # what TLS answers by itself, as it does when asked for new keys
            if self._is_full and self._raw.get_write_buffer_size() > _MAX_UNREAD:
                self._break(ssl.SSLError("the peer reads none of the new keys it asks for"))
        return data

    def _break(self, error: ssl.SSLError) -> None:
        """What arrived is no TLS, or an alert."""
        self._error = error
        self._forget_unsent()
        self._flush()
        self._leave()
        self._raw.close()
        # What the socket does not take at once is lost: the protocol above must hear of the end
        # before it has written more.
        self._loop.call_soon(self._raw.abort)

    def _tell_end(self, above: asyncio.Protocol) -> None:
        if not self._has_told_end:
            self._has_told_end = True
            if not above.eof_received():
                self.close()

    def _salvage(self, above: asyncio.Protocol) -> None:
        """Hand over what a broken connection has received, wherever it stands."""
        for data in unread_data(self._raw):
            self._records.feed(data)
        while data := self._decrypt():
            above.data_received(data)

    # What the protocol above calls

    def write(self, data: Any) -> None:
        if not data or self._state is not OPEN:
            return
        self._unsent.append(memoryview(data))
        self._unsent_bytes += len(data)
        if not self._is_full:
            self._send_on()

    def _send_on(self) -> None:
        """Encrypt and write what is unsent, as long as the transport below takes it."""
        unsent = self._unsent
        while unsent and not self._is_full:
            view = unsent[0]
            piece = view[:PLAIN_BYTES]
            if len(piece) < len(view):
                unsent[0] = view[PLAIN_BYTES:]
            else:
                unsent.popleft()
            self._unsent_bytes -= len(piece)
            try:
                self._records.encrypt(piece)
            except ssl.SSLError as error:
                self._break(error)
                return
            self._flush()
        if not unsent:
            if self._state is ENDING:
                self.write_eof()
            elif self._state is CLOSING:
                self.close()

    def _forget_unsent(self) -> None:
        self._unsent.clear()
        self._unsent_bytes = 0

    def writelines(self, list_of_data: Iterable[Any]) -> None:
        self.write(b"".join(list_of_data))

    def _flush(self) -> None:
        data = self._records.take()
        if data and not self._raw.is_closing():
            self._raw.write(data)

    def can_write_eof(self) -> bool:
        return True

    def write_eof(self) -> None:
        """Send the end of TLS, and then that of the socket; what arrives from now on is dropped."""
        if self._unsent:
            self._enter(ENDING)
        elif self._send_end():
            self._raw.write_eof()
            self._raw.resume_reading()  # to see the peer's end

    def _send_end(self) -> bool:
        """Send the end of TLS, if that is still to be sent."""
        is_first = self._enter(ENDED)
        if is_first:
            self._records.end()
            self._flush()
        return is_first

    def close(self) -> None:
        if self._unsent:
            self._enter(CLOSING)
        elif self._state < CLOSED:
            self._send_end()
            self._leave()
            self._raw.close()

    def abort(self) -> None:
        self._leave()
        self._forget_unsent()
        self._raw.abort()

    def is_closing(self) -> bool:
        return self._state in (CLOSING, CLOSED, CUT) or self._raw.is_closing()

    def is_reading(self) -> bool:
        return not self._is_held

    def pause_reading(self) -> None:
        self._is_held = True
        if not self.is_closing():
            self._raw.pause_reading()

    def resume_reading(self) -> None:
        self._is_held = False
        if not self.is_closing():
            self._raw.resume_reading()
            if self._records.unread_bytes or self._records.have_ended:
                self._loop.call_soon(self._deliver)

    def set_protocol(self, protocol: asyncio.BaseProtocol) -> None:
        self._above = cast(asyncio.Protocol, protocol)

    def get_protocol(self) -> asyncio.BaseProtocol:
        return cast(asyncio.Protocol, self._above)

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        self._raw.set_write_buffer_limits(high, low)

    def get_write_buffer_size(self) -> int:
        return self._unsent_bytes + self._raw.get_write_buffer_size()

    def get_write_buffer_limits(self) -> tuple[int, int]:
        return self._raw.get_write_buffer_limits()

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        if name == "ssl_object":
            return self._records.tls
        if name == "peercert":
            return self._records.tls.getpeercert()
        return self._raw.get_extra_info(name, default)
