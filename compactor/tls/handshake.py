"""``Handshake``: from the first byte of TLS to a peer that is known, or refused, in time.

On a server, and up to TLS 1.2, the handshake of OpenSSL is all that there is to wait for.  A client
of TLS 1.3 is done before the server has looked at its certificate, so it waits for the verdict.
Then comes what OpenSSL does not check.
"""

from __future__ import annotations

import asyncio
import enum
import ssl
from collections.abc import Callable

from compactor.tls.failures import TlsError
from compactor.tls.records import Records
from compactor.tls.verify import Check

_VERDICT_SECONDS = 1.0  # far more than a round trip; those who send no tickets cost it once a dial


class Step(enum.IntEnum):
    """What a handshake waits for.  A step leads to any later one, never back."""

    RECORDS = 0  # the next ones of the peer, for OpenSSL
    VERDICT = 1  # of the server, on our certificate
    CHECK = 2  # of who the peer is
    NOTHING = 3  # it is over


RECORDS, VERDICT, CHECK, NOTHING = Step


class Handshake:
    """One handshake, with a limit of time.

    Args:
        loop: the loop of the connection.
        records: of the connection.
        server_side: whether the peer dialled.
        timeout: seconds for all of it.
        check: is awaited in the end; None if there is nothing to check.
        flush: writes what the records have for the peer.
        done: is called once: with None and the first bytes of the peer, if it has sent any; or with
            what went wrong.

    Attributes:
        step: what it waits for.
    """

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        records: Records,
        server_side: bool,
        timeout: float,
        check: Check | None,
        flush: Callable[[], None],
        done: Callable[[Exception | None, bytes], None],
    ) -> None:
        self.step = RECORDS
        self._loop = loop
        self._records = records
        self._server_side = server_side
        self._timeout = timeout
        self._check = check
        self._flush = flush
        self._done = done
        self._early = b""  # what came instead of a verdict
        self._raw: asyncio.Transport
        self._limit: asyncio.TimerHandle | None = None
        self._verdict_limit: asyncio.TimerHandle | None = None
        self._checking: asyncio.Task[None] | None = None

    def begin(self, raw: asyncio.Transport) -> None:
        """Begin on a connection."""
        self._raw = raw
        self._limit = self._loop.call_later(self._timeout, self._take_too_long)
        self._shake_hands()

    def go_on(self) -> None:
        """More of the peer has been fed to the records."""
        if self.step is RECORDS:
            self._shake_hands()
        elif self.step is VERDICT:
            self._hear_verdict()

    def end(self, error: Exception | None) -> None:
        """It has succeeded, with None; or whatever it waits for will not come."""
        if self.step is NOTHING:
            return
        self.step = NOTHING
        for timer in (self._limit, self._verdict_limit):
            if timer is not None:
                timer.cancel()
        if self._checking is not None and error is not None:
            self._checking.cancel()
        self._done(error, self._early)

    def _shake_hands(self) -> None:
        try:
            is_shaken = self._records.shake_hands()
        except (ssl.SSLError, ValueError) as error:
            self._flush()  # the alert that tells the peer
            self.end(error)
            return
        self._flush()
        if not is_shaken:
            return
        if self._server_side or self._records.tls.version() != "TLSv1.3":
            self._find_out()
            return
        self.step = VERDICT
        self._verdict_limit = self._loop.call_later(_VERDICT_SECONDS, self._find_out)
        if self._records.unread_bytes:
            self._hear_verdict()

    def _hear_verdict(self) -> None:
        """A server that accepts our certificate sends tickets at once.

        OpenSSL and all others do, unless they are told not to.  Without waiting for that, what is
        written first would be lost with a refusal.
        """
        try:
            self._early = self._records.read_verdict()
        except ssl.SSLError as error:
            self._flush()
            self.end(error)
            return
        self._find_out()

    def _find_out(self) -> None:
        """Find out what there is to find out about the peer."""
        if self._verdict_limit is not None:
            self._verdict_limit.cancel()
        if self._check is None:
            self.end(None)
            return
        self.step = CHECK
        self._raw.pause_reading()
        self._checking = self._loop.create_task(self._run_check(self._check))

    async def _run_check(self, check: Check) -> None:
        try:
            await check(self._records.tls, self._raw.get_extra_info("peername")[0])
        except Exception as error:  # whatever it is, the peer is not known
            self.end(error)
        else:
            self.end(None)

    def _take_too_long(self) -> None:
        what = "the handshake"
        if self.step is not RECORDS:
            what += ", and finding the name of the peer's address,"
        self.end(TlsError(f"{what} took longer than {self._timeout:g} s"))
