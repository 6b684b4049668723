"""``Inflater``: a body that came compressed, inflated in steps."""

from __future__ import annotations

import zlib
from typing import Final

from compactor.errors import RemoteProtocolError

_PIECE = 4 * 1024  # compressed bytes taken at a time: blocks that become nothing take time, too
_STEP = 128 * 1024  # bytes of the body

_GZIP: Final = 31  # what zlib calls the formats
_ZLIB: Final = 15
_BARE: Final = -15


class Inflater:
    """Inflates one body: any number of gzip members, or one stream of deflate.

    Args:
        body: as it came; of nothing becomes nothing.
        limit: bytes that it may become.
        coding: ``gzip`` or ``deflate``.

    Attributes:
        is_done: whether nothing is left to inflate.
    """

    def __init__(self, body: bytes, limit: int, coding: bytes = b"gzip") -> None:
        self._format = _GZIP if coding == b"gzip" else _deflate_format(body)
        self._stream = zlib.decompressobj(self._format)
        self._body = body
        self._pos = 0
        self._rest = b""  # of a piece that has been taken
        self._limit = limit
        self._plain: list[bytes] = []
        self._size = 0
        self.is_done = not body

    def step(self) -> int:
        """Inflate some more, as long as a tenth of a millisecond; how many bytes it became.

        Raises:
            RemoteProtocolError: the stream is malformed, or becomes more than it may.
        """
        piece = self._rest
        if not piece:
            piece = self._body[self._pos : self._pos + _PIECE]
            self._pos += len(piece)
        stream = self._stream
        try:
            plain = stream.decompress(piece, _STEP)
        except zlib.error as error:
            raise RemoteProtocolError(f"failed to decode body: {error}") from None
        if plain:
            self._plain.append(plain)
            self._size += len(plain)
        if self._size > self._limit:
            raise RemoteProtocolError(f"the inflated body exceeds {self._limit} bytes", 413)
        if stream.eof:
            self._rest = stream.unused_data
            self.is_done = not self._rest and self._pos >= len(self._body)
            if not self.is_done:
                self._begin_member()
        else:
            self._rest = stream.unconsumed_tail
            if not (piece or plain):
                raise RemoteProtocolError("failed to decode body: truncated")
        return len(plain)

    def _begin_member(self) -> None:
        """What stands behind the end of a gzip member is another one."""
        if self._format != _GZIP:
            raise RemoteProtocolError("failed to decode body: something follows its end")
        self._stream = zlib.decompressobj(_GZIP)

    def result(self) -> bytes:
        """The whole body, once it is done; it is kept no longer."""
        plain, self._plain = self._plain, []
        return b"".join(plain)


def _deflate_format(body: bytes) -> int:
    """RFC 9110 means zlib's format; some clients send the stream in it bare."""
    has_header = len(body) > 1 and body[0] & 15 == 8 and (body[0] << 8 | body[1]) % 31 == 0
    return _ZLIB if has_header else _BARE
