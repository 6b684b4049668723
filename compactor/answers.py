"""``AnswerReader``: the bytes of one outgoing connection to HTTP answers.  No socket, no loop.

Many libprocess versions answer every frame, with the same few bytes each time; so heads that
repeat are not parsed again.  What an answer says stands in its status, its fields and the first
bytes of its body, and more of it is not kept.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Mapping
from typing import NamedTuple

from compactor.chunks import line_end, parse_size
from compactor.errors import RemoteProtocolError
from compactor.fields import CHUNKED, body_length, parse_fields

KEPT_BODY_BYTES = 64

_MAX_HEAD = 64 * 1024
_MAX_CACHED_HEAD = 1024
_STATUS_LINE = re.compile(rb"HTTP/1\.[0-9] ([1-9][0-9]{2})(?: [^\r\n\0]*)?")
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


class AnswerReader:
    """Turns the bytes of one connection into answers.

    An answer whose body ends with the connection is never complete: the loss of the connection
    says more than it could.  Interim answers (100 to 199) are skipped.
    """

    __slots__ = ("_body", "_head", "_missing", "_state", "_tail", "error")

    def __init__(self) -> None:
        self._state = _IN_HEAD
        self._tail = b""  # what came of an incomplete head or line
        self._head = _Head(Answer(0, {}, b""), 0)
        self._body = b""
        self._missing = 0
        self.error: RemoteProtocolError | None = None

    def feed(self, data: bytes) -> list[Answer]:
        """Take the next bytes and return the answers that they complete, in order.

        After malformed bytes ``error`` is set, and nothing that comes later is read.
        """
        answers: list[Answer] = []
        if self.error is None:
            data, self._tail = self._tail + data, b""
            pos = 0
            try:
                while 0 <= pos < len(data):
                    pos = self._step(data, pos, answers)
            except RemoteProtocolError as error:
                self.error = error
        return answers

    def _step(self, data: bytes, pos: int, answers: list[Answer]) -> int:
        """Read one head, line or piece of a body; the position behind it, or -1 to wait."""
        if self._state == _IN_HEAD:
            return self._read_head(data, pos, answers)
        if self._state == _IN_DATA:
            return self._read_data(data, pos, answers)
        if self._state == _UNTIL_CLOSE:
            return -1
        end = line_end(data, pos)
        if end < 0:
            self._tail = data[pos:]
            return -1
        self._read_line(data[pos:end], answers)
        return end + 2

    def _read_head(self, data: bytes, pos: int, answers: list[Answer]) -> int:
        if data[pos] in b"\r\n":
            return pos + 1  # blank lines before an answer
        end = data.find(b"\r\n\r\n", pos, pos + _MAX_HEAD)
        if end < 0:
            self._tail = data[pos:]
            if not b"HTTP/1.".startswith(self._tail[:7]):
                raise RemoteProtocolError(f"{self._tail[:40]!r} does not begin an HTTP answer")
            if len(self._tail) >= _MAX_HEAD:
                raise RemoteProtocolError(f"the head of an answer exceeds {_MAX_HEAD} bytes")
            return -1
        end += 4
        parse = _cached_head if end - pos <= _MAX_CACHED_HEAD else _parse_head
        head = parse(data[pos:end])
        if head.length == 0:
            if head.answer.status >= 200:
                answers.append(head.answer)
            return end
        self._head, self._body = head, b""
        if head.length is None:
            self._state = _UNTIL_CLOSE
        elif head.length == CHUNKED:
            self._state = _IN_SIZE
        else:
            self._missing = head.length
            self._state = _IN_DATA
        return end

    def _read_data(self, data: bytes, pos: int, answers: list[Answer]) -> int:
        end = min(pos + self._missing, len(data))
        self._body += data[pos : min(end, pos + KEPT_BODY_BYTES - len(self._body))]
        self._missing -= end - pos
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
