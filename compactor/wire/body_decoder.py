"""``BodyDecoder``: the bytes of one body to a body.  It has a length, or comes in chunks.

The pieces of a body are gathered as they come, and joined once it is whole.  A large piece that is
missing can be read straight to its place instead: ``lend`` gives the place, and ``filled`` is told
how much came.  A body that comes compressed stays so.
"""

from __future__ import annotations

from compactor.errors import RemoteProtocolError
from compactor.wire.chunks import line_end, parse_size

from .body_buffer import BodyBuffer
from .request_head import CHUNKED, Head

_MAX_MOVED = 512 * 1024  # of a body, to the place that is lent for all of it
_MAX_LENT = 16 * 1024 * 1024  # so that a head alone cannot reserve much
_MAX_PIECES = 1024  # of a body, each with some 35 bytes of its own, before they are joined

_IN_SIZE, _IN_DATA, _AFTER_DATA, _AFTER_LAST, _WHOLE = range(5)

checked_sizes: dict[bytes, int] = {}
"""Size lines that were seen and are well-formed, with what they say."""


def _check_size(line: bytes) -> int:
    size = parse_size(line)
    if len(checked_sizes) < 4096 and len(line) <= 16 and b";" not in line:
        checked_sizes[line] = size
    return size


class BodyDecoder:
    """Decodes one body after another: ``begin``, ``feed`` until it is whole, ``take``.

    Args:
        max_bytes: bound for a body.

    Attributes:
        size_line: the first of a body in chunks, once it has come; else empty.
        missing: bytes of the body, or of its chunk, that are still to come.
        left: what may still be done in this step; a chunk is one.
        rest: bytes that ``feed`` was given and has not decoded yet.
        is_late: whether it has stopped because nothing was left.
    """

    __slots__ = (
        "_filled",
        "_is_chunked",
        "_joined",
        "_max_bytes",
        "_pieces",
        "_received",
        "_room",
        "_state",
        "_view",
        "is_late",
        "left",
        "missing",
        "rest",
        "size_line",
    )

    def __init__(self, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        self.missing = 0
        self.size_line = b""
        self.left = 0
        self.rest = b""
        self.is_late = False
        self._state = _WHOLE
        self._is_chunked = False
        self._received = 0
        self._pieces: list[bytes] = []
        self._joined = 0  # pieces that were many, and are never joined again before the end
        self._room: BodyBuffer | None = None
        self._view: memoryview | None = None
        self._filled = 0

    def begin(self, head: Head) -> None:
        """Decode the body that belongs to a head."""
        self._is_chunked = head.length == CHUNKED
        self._joined = 0
        self._received = 0
        self.size_line = b""
        self._state = _IN_SIZE
        if not self._is_chunked:
            self._expect(head.length)

    def feed(self, data: bytes, pos: int) -> int:
        """Decode on from ``pos``.

        Returns:
            Where the body ends; -1 if it is not whole, and what was not decoded is ``rest``.

        Raises:
            RemoteProtocolError: it is malformed or too large; feed nothing more.
        """
        self.is_late = False
        while self._state != _WHOLE:
            if self._state == _IN_DATA:
                pos = self._read_data(data, pos)
            elif self._state == _IN_SIZE:
                pos = self._read_size(data, pos)
            else:
                pos = self._read_line_end(data, pos)
            if pos < 0:
                return -1
        return pos

    def take(self) -> bytes:
        """The whole body; it is kept no longer."""
        pieces, self._pieces = self._pieces, []
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)

    def take_pieces(self) -> list[bytes]:
        """What has come of a body that is not whole; it is kept no longer."""
        pieces, self._pieces = self._pieces, []
        self._joined = 0
        return pieces

    def forget(self) -> None:
        """Keep nothing of a body of which no more will come."""
        self._room = self._view = None
        self._pieces = []
        self.rest = b""
        self.missing = 0

    # States

    def _expect(self, count: int) -> None:
        """Make ``count`` more body bytes the next thing to read."""
        self._received += count
        if self._received > self._max_bytes:
            raise RemoteProtocolError(f"the body exceeds {self._max_bytes} bytes", 413)
        self.missing = count
        self._state = _IN_DATA

    def _read_data(self, data: bytes, pos: int) -> int:
        if self.missing:
            piece = data[pos : pos + self.missing]
            self._pieces.append(piece)
            if len(self._pieces) - self._joined > _MAX_PIECES:
                self._join_pieces()
            self.missing -= len(piece)
            pos += len(piece)
            if self.missing:
                return self._keep(b"")
        if self._is_chunked:
            self._state = _AFTER_DATA
        else:
            self._state = _WHOLE
        return pos

    def _read_size(self, data: bytes, pos: int) -> int:
        end = line_end(data, pos)
        if end < 0:
            return self._keep(data[pos:])
        if self.left <= 0:
            self.is_late = True
            return self._keep(data[pos:])
        self.left -= 1
        line = data[pos:end]
        count = _check_size(line)
        if not self.size_line:
            self.size_line = line
        if count:
            self._expect(count)
        else:
            self._state = _AFTER_LAST
        return end + 2

    def _read_line_end(self, data: bytes, pos: int) -> int:
        line = data[pos : pos + 2]
        if not b"\r\n".startswith(line):
            what = "end of a chunk" if self._state == _AFTER_DATA else "end of the body"
            raise RemoteProtocolError(f"{line!r} where the {what} should be")
        if len(line) < 2:
            return self._keep(line)
        if self._state == _AFTER_LAST:
            self._state = _WHOLE
        else:
            self._state = _IN_SIZE
        return pos + 2

    def _keep(self, rest: bytes) -> int:
        self.rest = rest
        return -1

    def _join_pieces(self) -> None:
        """Make one of the many pieces in which a body comes, which may be tiny."""
        self._pieces[self._joined :] = [b"".join(self._pieces[self._joined :])]
        self._joined += 1

    # Large bodies, read straight to their place

    @property
    def can_lend(self) -> bool:
        """Whether the body, or its chunk, has a size for a place of its own."""
        return self.missing <= _MAX_LENT and self._received - self.missing <= _MAX_MOVED

    def lend(self) -> memoryview:
        """Where the next ``missing`` bytes go; ``filled`` is to be told how many came."""
        if self._view is None:
            begun = b"".join(self._pieces)
            self._pieces = []
            self._joined = 0
            self._filled = len(begun)
            self._room = BodyBuffer(self._filled + self.missing)
            self._view = self._room.view()
            self._view[: self._filled] = begun
        return self._view[self._filled :]

    def filled(self, count: int) -> bool:
        """So many bytes came; whether none is missing now, and the next ones are for ``feed``."""
        self._filled += count
        self.missing -= count
        if self.missing:
            return False
        assert self._room is not None
        self._pieces.append(self._room.take())
        self._room = self._view = None
        return True

    def take_back(self) -> None:
        """The rest of the body does not come to the place that was lent for it, if one was."""
        if self._view is not None:
            self._pieces.append(bytes(self._view[: self._filled]))
            self._room = self._view = None
