"""``Records``: TLS from bytes to bytes, as OpenSSL speaks it; knows no socket, loop or clock.

What came from the peer is fed in, and ``decrypt`` returns what it says.  What is to be sent goes
through ``encrypt``.  After any call OpenSSL may have records for the peer, an alert for instance;
``take`` returns them.
"""

from __future__ import annotations

import contextlib
import ssl

PLAIN_BYTES = 64 * 1024
"""What is decrypted, or encrypted, at a time: what fits into the cache of a core."""

_RECORD_BYTES = 16 * 1024  # the largest record of TLS
_MAX_RECORDS = 512  # decrypted at a time: each of them, if it has but one byte, takes 2 us


class Records:
    """The records of one connection, in both directions.

    Args:
        context: keys, certificates and rules of OpenSSL.
        server_side: whether the peer dialled.
        name: what the certificate of the peer must name, None for anything.

    Attributes:
        tls: the connection as OpenSSL has it.
        have_ended: whether the peer sends no more: it has ended TLS, or the socket has ended.
    """

    def __init__(self, context: ssl.SSLContext, server_side: bool, name: str | None) -> None:
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self.tls = context.wrap_bio(self._incoming, self._outgoing, server_side, name)
        self.have_ended = False

    # From the peer

    def feed(self, data: bytes) -> None:
        """Add bytes that the peer has sent."""
        self._incoming.write(data)

    def feed_end(self) -> None:
        """The socket has ended: nothing will be added any more."""
        self.have_ended = True

    @property
    def unread_bytes(self) -> int:
        """Bytes of the peer that OpenSSL has not looked at."""
        return self._incoming.pending

    def decrypt(self) -> tuple[bytes, ssl.SSLError | None]:
        """Some of what the peer says: no bytes if more must be fed first, or if it has ended.

        Returns:
            The bytes, and what is wrong with those behind them.
        """
        pieces: list[bytes] = []
        size = 0
        wrong = None
        while (
            size < PLAIN_BYTES
            and len(pieces) < _MAX_RECORDS
            and (self._incoming.pending or self.tls.pending())
        ):
            try:
                piece = self.tls.read(_RECORD_BYTES)
            except ssl.SSLWantReadError:
                break
            except ssl.SSLZeroReturnError:
                piece = b""
            except ssl.SSLError as error:
                wrong = error
                break
            if not piece:
                self.have_ended = True
                break
            pieces.append(piece)
            size += len(piece)
        return pieces[0] if len(pieces) == 1 else b"".join(pieces), wrong

    # To the peer

    def encrypt(self, piece: memoryview) -> None:
        """Make records of bytes, at most ``PLAIN_BYTES``."""
        self.tls.write(piece)

    def end(self) -> None:
        """Say that nothing more will come from this side."""
        with contextlib.suppress(ssl.SSLError):  # it waits for the peer's end, as nobody here does
            self.tls.unwrap()

    @property
    def has_output(self) -> bool:
        """Whether ``take`` would return any bytes."""
        return bool(self._outgoing.pending)

    def take(self) -> bytes:
        """What the peer is to be sent now."""
        return self._outgoing.read()

    # The handshake

    def shake_hands(self) -> bool:
        """Go on with the handshake; whether it is over on this side.

        Raises:
            ssl.SSLError, ValueError: it has failed; there may be an alert to send.
        """
        try:
            self.tls.do_handshake()
        except ssl.SSLWantReadError:
            return False
        return True

    def read_verdict(self) -> bytes:
        """Read what a server of TLS 1.3 says of our certificate: its tickets accept it.

        Returns:
            What it has sent instead of tickets, or behind them: the first bytes of a message.

        Raises:
            ssl.SSLError: it refuses the certificate, or has ended the connection.
        """
        try:
            return self.tls.read(_RECORD_BYTES)
        except ssl.SSLWantReadError:
            return b""
