"""``ResponseDecoder``: the bytes of one outgoing connection to HTTP answers.  No socket, no loop.

Many libprocess versions answer every frame, with the same few bytes each time; so a head that
repeats is not even looked for.  What an answer says stands in its status, its fields and the first
bytes of its body, and more of it is not kept.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Mapping
from typing import NamedTuple, Protocol

from compactor.errors import RemoteProtocolError
from compactor.wire.chunks import line_end, parse_size
from compactor.wire.fields import CHUNKED, body_length, parse_fields

KEPT_BODY_BYTES = 16

_MAX_HEAD = 64 * 1024
_MAX_LINES = 1000  # of a head
_MAX_CACHED_HEAD = 1024
# What a step may do: so many heads that repeat, chunks or lines.  A head that is looked up or
# parsed counts as 16 and its lines; each 16 bytes of any as one: there may be an id to unescape.
_STEP = 512
_A_HEAD = 16
_BYTES = 64

_STATUS_LINE = re.compile(rb"HTTP/1\.[0-9] ([1-9][0-9]{2})(?: [^\r\n\0]*)?")
_BLANK_LINES = re.compile(rb"[\r\n]*")
_SWITCHING_PROTOCOLS = 101

_IN_HEAD, _IN_DATA, _IN_SIZE, _AFTER_DATA, _IN_TRAILERS, _UNTIL_CLOSE = range(6)


class Answer(NamedTuple):
    """One answer: fields by lower-case name, and the first bytes of the body."""

    status: int
    fields: Mapping[bytes, bytes]
    body: bytes


class _Head(NamedTuple):
    answer: Answer  # still without its body
    length: int | None  # None: until the connection ends


def _parse_head(block: bytes) -> _Head:
    line, _, rest = block.partition(b"\r\n")
    match = _STATUS_LINE.fullmatch(line)
    if not match:
        raise RemoteProtocolError(f"{line[:80]!r} is not an HTTP status line")
    status = int(match[1])
    if status == _SWITCHING_PROTOCOLS:
        raise RemoteProtocolError("the peer switches to a protocol that nobody asked for")
    try:
        fields = parse_fields(rest)
        length = body_length(fields)
    except ValueError as error:
        raise RemoteProtocolError(f"malformed answer: {error}") from None
    if status < 200 or status in (204, 304):
        length = 0
    return _Head(Answer(status, dict(fields), b""), length)


_cached_head = functools.lru_cache(maxsize=256)(_parse_head)


class Sink(Protocol):
    """Takes an answer while it comes."""

    def head(self, answer: Answer) -> None: ...
    def body(self, piece: bytes) -> None: ...


class ResponseDecoder:
    """Turns the bytes of one connection into answers.

    An answer whose body ends with the connection is never complete: the loss of the connection
    says more than it could.  Interim answers (100 to 199) are skipped.

    Args:
        sink: takes each answer while it comes, too.

    Attributes:
        error: what was malformed, once something was.
        has_more: whether ``feed_some`` has left off before all was read.
    """

    __slots__ = (
        "_block",
        "_body",
        "_head",
        "_held",
        "_left",
        "_missing",
        "_sink",
        "_state",
        "_tail",
        "error",
        "has_more",
    )

    def __init__(self, sink: Sink | None = None) -> None:
        self._sink = sink
        self._state = _IN_HEAD
        self._tail = b""  # what came of an incomplete head or line, or all that is left of a step
        self._held = bytearray()  # what came behind the tail of a head
        self._block = b""  # the bytes of the last head, unless they are many
        self._head = _Head(Answer(0, {}, b""), 0)
        self._body = b""
        self._missing = 0
        self._left = _STEP  # of this step
        self.has_more = False
        self.error: RemoteProtocolError | None = None

    def feed(self, data: bytes) -> list[Answer]:
        """Take the next bytes and return the answers that they complete, in order.

        After malformed bytes ``error`` is set, and nothing that comes later is read.
        """
        answers = self.feed_some(data)
        while self.has_more:
            answers += self.feed_some(b"")
        return answers

    def feed_some(self, data: bytes) -> list[Answer]:
        """The same in steps of a millisecond: when ``has_more``, ``feed_some(b"")`` goes on."""
        answers: list[Answer] = []
        if self.error is None and not self._is_within_head(data):
            data = b"".join((self._tail, self._held, data)) if self._tail else data
            self._held.clear()
            self._tail = b""
            pos = 0
            self._left = _STEP
            try:
                while 0 <= pos < len(data) and self._left > 0:
                    self._left -= 1
                    pos = self._read(data, pos, answers)
            except RemoteProtocolError as error:
                self.error = error
            self.has_more = self.error is None and 0 <= pos < len(data)
            if self.has_more:
                self._tail = data[pos:]
        return answers

    def _is_within_head(self, data: bytes) -> bool:
        """Whether the end of an incomplete head has not come; if so, it is held, and not copied."""
        if self.has_more or self._state != _IN_HEAD or len(self._tail) < len(b"HTTP/1."):
            return False
        before = bytes(self._held[-3:]) if len(self._held) > 2 else self._tail + self._held
        if b"\r\n\r\n" in before[-3:] + data:
            return False
        self._held += data
        if len(self._tail) + len(self._held) >= _MAX_HEAD:
            self.error = RemoteProtocolError(f"the head of an answer exceeds {_MAX_HEAD} bytes")
        return True

    def _read(self, data: bytes, pos: int, answers: list[Answer]) -> int:
        """Read one head, line or piece of a body; the position behind it, or -1 to wait."""
        if self._state == _IN_HEAD:
            return self._read_head(data, pos, answers)
        if self._state == _IN_DATA:
            return self._read_data(data, pos, answers)
        if self._state == _UNTIL_CLOSE:
            if self._sink is not None:
                self._sink.body(data[pos:])
            return -1
        end = line_end(data, pos)
        if end < 0:
            self._tail = data[pos:]
            return -1
        self._read_line(data[pos:end], answers)
        return end + 2

    def _read_head(self, data: bytes, pos: int, answers: list[Answer]) -> int:
        if self._block and data.startswith(self._block, pos):
            end = pos + len(self._block)
            self._left -= len(self._block) // _BYTES
        else:
            pos = _BLANK_LINES.match(data, pos).end()  # type: ignore[union-attr]  # before an answer
            end = self._find_head(data, pos)
            if end < 0:
                return -1
        head = self._head
        if self._sink is not None and head.answer.status >= 200:
            self._sink.head(head.answer)
        if head.length == 0:
            if head.answer.status >= 200:
                answers.append(head.answer)
            return end
        self._body = b""
        if head.length is None:
            self._state = _UNTIL_CLOSE
        elif head.length == CHUNKED:
            self._state = _IN_SIZE
        else:
            self._missing = head.length
            self._state = _IN_DATA
        return end

    def _find_head(self, data: bytes, pos: int) -> int:
        """Parse the next head; where it ends, or -1 to wait for the rest of it."""
        end = data.find(b"\r\n\r\n", pos, pos + _MAX_HEAD)
        if end < 0:
            self._tail = data[pos:]
            if not b"HTTP/1.".startswith(self._tail[:7]):
                raise RemoteProtocolError(f"{self._tail[:40]!r} does not begin an HTTP answer")
            if len(self._tail) >= _MAX_HEAD:
                raise RemoteProtocolError(f"the head of an answer exceeds {_MAX_HEAD} bytes")
            return -1
        end += 4
        block = data[pos:end]
        lines = block.count(b"\n")
        if lines > _MAX_LINES:
            raise RemoteProtocolError(f"the head of an answer exceeds {_MAX_LINES} lines")
        self._left -= _A_HEAD + lines + len(block) // _BYTES
        is_small = len(block) <= _MAX_CACHED_HEAD
        self._head = _cached_head(block) if is_small else _parse_head(block)
        self._block = block if is_small else b""
        return end

    def _read_data(self, data: bytes, pos: int, answers: list[Answer]) -> int:
        end = min(pos + self._missing, len(data))
        self._body += data[pos : min(end, pos + KEPT_BODY_BYTES - len(self._body))]
        self._missing -= end - pos
        if self._sink is not None:
            self._sink.body(data[pos:end])
        if not self._missing:
            if self._head.length == CHUNKED:
                self._state = _AFTER_DATA
            else:
                self._complete(answers)
        return end

    def _read_line(self, line: bytes, answers: list[Answer]) -> None:
        if self._state == _AFTER_DATA:
            if line:
                raise RemoteProtocolError(f"{line[:40]!r} where the end of a chunk should be")
            self._state = _IN_SIZE
        elif self._state == _IN_TRAILERS:
            if not line:
                self._complete(answers)
        else:
            self._missing = parse_size(line)
            self._state = _IN_DATA if self._missing else _IN_TRAILERS

    def _complete(self, answers: list[Answer]) -> None:
        answers.append(self._head.answer._replace(body=self._body))
        self._state = _IN_HEAD
