"""``TlsTransport``: TLS between a socket's transport below and a protocol above.

The same on uvloop and on asyncio, for connections that are accepted and that are dialled, also
when their first bytes were read before it was known that they are TLS.
"""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from collections import deque
from collections.abc import Awaitable, Callable, Iterable
from time import perf_counter
from typing import Any, cast

from compactor.flow import FULL_READ, unread_data
from compactor.run_queue import TURN_SECONDS
from compactor.tls import TlsError

_PLAIN_BYTES = 64 * 1024  # handed over, or encrypted, at a time: what fits into a core's cache
_RECORD_BYTES = 16 * 1024  # the largest record of TLS
_MAX_RECORDS = 512  # handed over at a time: each of them, if it has but one byte, takes 2 us
_MAX_UNREAD = 1024 * 1024  # bytes; far more than is written to a transport below that is full

Check = Callable[[ssl.SSLObject, str], Awaitable[None]]


class TlsTransport(asyncio.Transport, asyncio.Protocol):
    """One TLS connection: a protocol to the transport below, a transport to the protocol above.

    There is no protocol above until the handshake is over, the peer is checked, and ``open`` is
    called.  What is written is encrypted as far as the transport below takes it; the rest waits
    as it is, so that a large body neither holds up the loop nor is in memory twice.

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
        done: Callable[[TlsTransport, Exception | None], None],
    ) -> None:
        super().__init__()
        self._loop = loop
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._tls = context.wrap_bio(self._incoming, self._outgoing, server_side, name)
        self._timeout = timeout
        self._check = check
        self._done: Callable[[TlsTransport, Exception | None], None] | None = done
        self._timer: asyncio.TimerHandle | None = None
        self._checking: asyncio.Task[None] | None = None
        self._raw: asyncio.Transport
        self._above: asyncio.Protocol | None = None
        self._is_shaken = False  # the handshake is over
        self._is_held = True  # the protocol above takes nothing for now
        self._rest_due = 0.0
        self._is_full = False  # the transport below takes nothing for now
        self._has_paused = False  # the protocol above knows that
        self._unsent: deque[memoryview] = deque()
        self._unsent_bytes = 0
        self._last: Callable[[], None] | None = None  # what to do once nothing is unsent
        self._is_resting = False  # others have their turn
        self._is_closing = False
        self._has_sent_end = False
        self._is_ended = False  # the peer's side of TLS, or of the socket, has ended
        self._has_told_end = False
        self._error: Exception | None = None

    # What the transport below calls

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._raw = cast(asyncio.Transport, transport)  # uvloop's are no subclass
        self._timer = self._loop.call_later(self._timeout, self._take_too_long)
        self._shake_hands()

    def data_received(self, data: bytes) -> None:
        if self._is_closing or self._has_sent_end or self._last is not None or self._is_ended:
            return  # nobody reads it any more
        self._incoming.write(data)
        if not self._is_shaken:
            self._shake_hands()
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
        self._is_ended = True
        if self._done is not None:
            self._fail(TlsError("the peer closed the connection during the handshake"))
        elif self._has_sent_end and self._above is not None:
            self._tell_end(self._above)
        elif not self._is_held:
            self._deliver()
        return True  # this side stays open until the protocol above has decided

    def connection_lost(self, exc: Exception | None) -> None:
        self._is_closing = True
        self._forget_unsent()
        if self._done is not None:
            self._fail(exc or TlsError("the connection ended during the handshake"))
        above, self._above = self._above, None
        if above is None:
            return
        if exc is not None and self._error is None and not self._has_sent_end:
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

    def _shake_hands(self) -> None:
        try:
            self._tls.do_handshake()
        except ssl.SSLWantReadError:
            self._flush()
            return
        except (ssl.SSLError, ValueError) as error:
            self._flush()  # the alert that tells the peer
            self._fail(error)
            return
        self._flush()
        self._is_shaken = True
        if self._check is None:
            self._finish(None)
            return
        self._raw.pause_reading()
        self._checking = self._loop.create_task(self._run_check(self._check))

    async def _run_check(self, check: Check) -> None:
        try:
            await check(self._tls, self._raw.get_extra_info("peername")[0])
        except Exception as error:  # whatever it is, the peer is not known
            self._fail(error)
        else:
            self._finish(None)

    def _take_too_long(self) -> None:
        what = "the handshake"
        if self._is_shaken:
            what += ", and finding the name of the peer's address,"
        self._fail(TlsError(f"{what} took longer than {self._timeout:g} s"))

    def _fail(self, error: Exception) -> None:
        if not self._is_closing:
            self._is_closing = True
            self._raw.close()
            # What is left to write is an alert at most: nobody waits for those who do not read.
            self._loop.call_later(1.0, self._raw.abort)
        self._finish(error)

    def _finish(self, error: Exception | None) -> None:
        done, self._done = self._done, None
        if self._timer is not None:
            self._timer.cancel()
        if self._checking is not None and error is not None:
            self._checking.cancel()
        if done is not None:
            done(self, error)

    def open(self, above: asyncio.Protocol) -> None:
        """Connect the protocol above, and give it what has arrived."""
        self._above = above
        self._is_held = False
        above.connection_made(self)
        if self._is_full:
            self.pause_writing()
        if not self._is_held:
            self.resume_reading()

    # Receiving

    def _deliver(self) -> None:
        """Decrypt what has arrived, and hand it over while it is taken, for the time of a turn."""
        end = perf_counter() + TURN_SECONDS
        while not (self._is_held or self._is_closing or self._has_sent_end):
            data = self._decrypt()
            above = self._above
            if above is None:
                return
            if data:
                above.data_received(data)
                if perf_counter() > end and not self._is_held and not self.is_closing():
                    self._rest()
                    return
            else:
                if self._is_ended and self._error is None:
                    self._tell_end(above)
                return

    def _decrypt(self) -> bytes:
        """Some of what has arrived; the peer may say that it was the last."""
        pieces: list[bytes] = []
        size = 0
        while (
            size < _PLAIN_BYTES
            and len(pieces) < _MAX_RECORDS
            and (self._incoming.pending or self._tls.pending())
        ):
            try:
                piece = self._tls.read(_RECORD_BYTES)
            except ssl.SSLWantReadError:
                break
            except ssl.SSLError as error:
                if isinstance(error, ssl.SSLZeroReturnError):
                    self._is_ended = True
                else:
                    self._break(error)
                break
            if not piece:
                self._is_ended = True
                break
            pieces.append(piece)
            size += len(piece)
        if self._outgoing.pending:
            self._flush()  # what TLS answers by itself, as it does when asked for new keys
            if self._is_full and self._raw.get_write_buffer_size() > _MAX_UNREAD:
                self._break(ssl.SSLError("the peer reads none of the new keys it asks for"))
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)

    def _break(self, error: ssl.SSLError) -> None:
        """What arrived is no TLS, or an alert."""
        self._error = error
        self._forget_unsent()
        self._flush()
        self._is_closing = True
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
            self._incoming.write(data)
        while data := self._decrypt():
            above.data_received(data)

    # What the protocol above calls

    def write(self, data: Any) -> None:
        if not data or self._is_closing or self._has_sent_end or self._last is not None:
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
            piece = view[:_PLAIN_BYTES]
            if len(piece) < len(view):
                unsent[0] = view[_PLAIN_BYTES:]
            else:
                unsent.popleft()
            self._unsent_bytes -= len(piece)
            try:
                self._tls.write(piece)
            except ssl.SSLError as error:
                self._break(error)
                return
            self._flush()
        if not unsent and self._last is not None:
            last, self._last = self._last, None
            last()

    def _forget_unsent(self) -> None:
        self._unsent.clear()
        self._unsent_bytes = 0
        self._last = None

    def writelines(self, list_of_data: Iterable[Any]) -> None:
        self.write(b"".join(list_of_data))

    def _flush(self) -> None:
        data = self._outgoing.read()
        if data and not self._raw.is_closing():
            self._raw.write(data)

    def can_write_eof(self) -> bool:
        return True

    def write_eof(self) -> None:
        """Send the end of TLS, and then that of the socket; what arrives from now on is dropped."""
        if self._unsent:
            self._last = self._last or self.write_eof
        elif not self._is_closing and not self._has_sent_end:
            self._send_end()
            self._raw.write_eof()
            self._raw.resume_reading()  # to see the peer's end

    def _send_end(self) -> None:
        self._has_sent_end = True
        with contextlib.suppress(ssl.SSLError):  # it waits for the peer's end, as nobody here does
            self._tls.unwrap()
        self._flush()

    def close(self) -> None:
        if self._unsent:
            self._last = self.close
        elif not self._is_closing:
            if not self._has_sent_end:
                self._send_end()
            self._is_closing = True
            self._raw.close()

    def abort(self) -> None:
        self._is_closing = True
        self._forget_unsent()
        self._raw.abort()

    def is_closing(self) -> bool:
        return self._is_closing or self._last == self.close or self._raw.is_closing()

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
            if self._incoming.pending or self._is_ended:
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
            return self._tls
        if name == "peercert":
            return self._tls.getpeercert()
        return self._raw.get_extra_info(name, default)
