"""``Inflater``: a body that came compressed, inflated in steps."""

from __future__ import annotations

import zlib

from compactor.errors import RemoteProtocolError

_PIECE = 4 * 1024  # compressed bytes taken at a time: blocks that become nothing take time, too
_STEP = 128 * 1024  # bytes of the body


class Inflater:
    """Inflates one body of one gzip stream.

    Args:
        body: the stream.
        limit: bytes that it may become.

    Attributes:
        is_done: whether nothing is left to inflate.
    """

    def __init__(self, body: bytes, limit: int) -> None:
        self._stream = zlib.decompressobj(wbits=31)
        self._body = body
        self._pos = 0
        self._limit = limit
        self._plain: list[bytes] = []
        self._size = 0
        self.is_done = False

    def step(self) -> int:
        """Inflate some more, as long as a tenth of a millisecond; how many bytes it became.

        Raises:
            RemoteProtocolError: the stream is malformed, or becomes more than it may.
        """
        stream = self._stream
        piece = stream.unconsumed_tail
        if not piece:
            piece = self._body[self._pos : self._pos + _PIECE]
            self._pos += len(piece)
        try:
            plain = stream.decompress(piece, _STEP)
        except zlib.error as error:
            raise RemoteProtocolError(f"failed to decode body: {error}") from None
        self._plain.append(plain)
        self._size += len(plain)
        if self._size > self._limit:
            raise RemoteProtocolError(f"the inflated body exceeds {self._limit} bytes", 413)
        self.is_done = stream.eof
        if (stream.eof and (stream.unused_data or self._pos < len(self._body))) or not (
            stream.eof or piece or plain
        ):
            raise RemoteProtocolError(
                "failed to decode body: truncated, or more than one gzip stream"
            )
        return len(plain)

    def result(self) -> bytes:
        """The whole body, once it is done."""
        return b"".join(self._plain)
