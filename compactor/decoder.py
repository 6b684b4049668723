"""``FrameDecoder``: the bytes of one connection to requests.  No socket, no loop, no clock.

Frames from one sender to one mailbox repeat the same head, byte for byte, and often the same size.
So the decoder compares the bytes at a message boundary with how the last message began, size
included, then with the last few heads; only another head is searched for its end and parsed, and
of those the parser remembers some thousands.  Bodies are framed here: a length, or chunks without
trailers.
"""

from __future__ import annotations

import re
from typing import Any

from compactor.chunks import line_end, parse_size
from compactor.errors import RemoteProtocolError
from compactor.inflating import Inflater

from .bodies import Body
from .heads import CHUNKED, METHODS, Head, cached_head, parse_head

_LAST_CHUNK = b"\r\n0\r\n\r\n"
_MAX_MOVED = 512 * 1024  # of a body, to the place that is lent for all of it
_MAX_LENT = 16 * 1024 * 1024  # so that a head alone cannot reserve much
_MAX_PIECES = 1024  # of a body, each with some 35 bytes of its own, before they are joined
_MAX_PATTERNS = 8  # that one connection compares with; among more, the cache finds heads
# Of a head that is remembered, by its connection and in a cache of 4,096 for a whole program: each
# takes some 8 KiB at most, and all some 32 MiB.
_MAX_CACHED_HEAD = 1024
_MAX_CACHED_LINES = 24  # each of which may be of 4 bytes, and takes 100 more once it is parsed
# What a step may do: so many chunks, of which a head that is looked up or parsed (some 5 us) counts
# as 32, 4 lines of it as one more, a piece of a compressed body as 256, and a KiB of what that
# becomes as one.
_STEP = 1024
_A_HEAD = 32
_LINES = 4
_A_PIECE = 256
_INFLATED = 1024

_HEAD_END = re.compile(rb"\n\r?\n")
_BLANK_LINES = re.compile(rb"[\r\n]*")
# What can still become a request: TLS and other garbage must not be waited on until it ends.
_PLAUSIBLE_START = re.compile(
    rb"[A-Z-]{1,11}\Z|(?:" + b"|".join(METHODS) + rb") [^\r\n]*(?:\Z|\r\Z|\r?\n)"
)

_IN_SIZE, _IN_DATA, _AFTER_DATA, _AFTER_LAST = range(4)

_sizes: dict[bytes, int] = {}  # size lines seen, each checked once


def _remembered_size(line: bytes) -> int:
    size = parse_size(line)
    if len(_sizes) < 4096 and len(line) <= 16:
        _sizes[line] = size
    return size


class _Pattern:
    """What the beginnings and ends of some messages have in common: a head, mostly a size too.

    Attributes:
        block: the bytes of the head.
        head: what they mean.
        begin: all bytes before the body, of the last message of this pattern.
        length: the bytes of its body; -1 if it is of no kind to be recognised.
        end: all bytes behind the body.
        is_large: whether it takes too much memory to be remembered by a silent connection.
    """

    __slots__ = ("begin", "block", "end", "head", "is_large", "length")

    def __init__(self, block: bytes, head: Head | None, is_large: bool) -> None:
        self.block = block
        self.head = head
        self.is_large = is_large
        self.begin = b""
        self.length = -1
        self.end = b""

    def learn(self, data: bytes, pos: int, max_body: int) -> int:
        """Learn from a message how one just like it begins and ends, its body apart.

        Args:
            pos: where its head has ended.

        Returns:
            Where its body starts.
        """
        head = self.head
        assert head is not None
        before = pos - len(self.block)
        if self.length >= 0 and data.startswith(self.begin, before):
            return before + len(self.begin)
        begin = self.block
        length = head.length
        end = b""
        if length == CHUNKED:
            # The one shape that libprocess sends: a single chunk.
            end = _LAST_CHUNK
            stop = data.find(b"\r\n", pos, pos + 18)
            if stop > 0:
                length = _sizes.get(data[pos:stop]) or CHUNKED  # 0 is the last chunk already
                begin += data[pos : stop + 2]
                pos = stop + 2
        self.begin = begin
        self.end = end
        self.length = -1 if head.gzip or length > max_body else length
        return pos


class FrameDecoder:
    """Turns the bytes of one connection into (head, body) pairs.

    Invariants: ``_head`` is set exactly while a body is incomplete, its pieces in ``_parts``;
    ``_tail`` holds what came of an incomplete head, size line or line end, never body bytes; when a
    step ends early, all that is left.

    Args:
        max_header_bytes: bound for request line to blank line.
        max_body_bytes: bound for a body as it arrives.
        max_inflated_bytes: bound for a body inflated; 0 for the same.
        max_header_fields: bound for the lines between request line and blank line.

    Attributes:
        error: what was malformed, once something was.
        has_more: whether ``feed_some`` has left off before all was decoded.
        missing: bytes of a body, or of its chunk, that are still to come.
        unfinished: 0, or while a request has begun and not ended, a number of its own.
    """

    __slots__ = (
        "_begun",
        "_filled",
        "_head",
        "_inflater",
        "_joined",
        "_known",
        "_last",
        "_left",
        "_max_body",
        "_max_fields",
        "_max_header",
        "_max_inflated",
        "_parts",
        "_received",
        "_room",
        "_scanned",
        "_state",
        "_tail",
        "_view",
        "error",
        "has_more",
        "missing",
        "unfinished",
    )

    def __init__(
        self,
        max_header_bytes: int,
        max_body_bytes: int,
        max_inflated_bytes: int = 0,
        max_header_fields: int = 1000,
    ) -> None:
        self._max_header = max_header_bytes
        self._max_fields = max_header_fields
        self._max_body = max_body_bytes
        self._max_inflated = max_inflated_bytes or max_body_bytes
        self._last = _Pattern(b"", None, False)
        self._known: list[_Pattern] = []
        self._tail = b""
        self._scanned = 0
        self._head: Head | None = None
        self._parts: list[bytes] = []
        self._joined = 0  # parts that were pieces, and are never joined again before the end
        self._state = _IN_SIZE
        self.missing = 0
        self._received = 0
        self._inflater: Inflater | None = None
        self._left = _STEP  # of this step
        self.has_more = False
        self.error: RemoteProtocolError | None = None
        self.unfinished = 0
        self._begun = 0
        self._room: Body | None = None
        self._view: memoryview | None = None
        self._filled = 0

    def feed(self, data: bytes) -> list[Any]:
        """Take the next bytes and return the requests that they complete, in order.

        After malformed bytes ``error`` is set: what came before them is still returned, and
        nothing that comes later is read.

        Returns:
            head, body, head, body, and so on.  A list of pairs would be thousands of objects
            more for the garbage collector to walk, a few thousand times a second.

        Raises:
            TypeError: ``data`` is not ``bytes``; nothing of it is taken.
        """
        events = self.feed_some(data)
        while self.has_more:
            events += self.feed_some(b"")
        return events

    def feed_some(self, data: bytes) -> list[Any]:
        """The same in steps of few milliseconds: when ``has_more``, ``feed_some(b"")`` goes on.

        One read can bring 10,000 requests, no two alike, which take most of a second.
        """
        events: list[Any] = []
        if type(data) is not bytes:
            data = _plain_bytes(data)
        if self.error is None:
            if self._room is not None:
                self._take_back()
            try:
                self._decode(data, events)
            except RemoteProtocolError as error:
                self.error = error
            if self._last.is_large:
                self._last = _Pattern(b"", None, False)
            if self._head is None and not self._tail:
                self.unfinished = 0
            elif events or not self.unfinished:
                self._begun += 1
                self.unfinished = self._begun
        return events

    def _decode(self, data: bytes, events: list[Any]) -> None:
        pos = 0
        self.has_more = False
        if self._tail:
            data = self._tail + data
            self._tail = b""
        else:
            self._scanned = 0
        if self._head is not None:
            pos = self._continue_body(data, 0, events)
            if pos < 0:
                return
        size = len(data)
        like = self._last
        begin, length, end = like.begin, like.length, like.end
        while pos < size:
            if length >= 0 and data.startswith(begin, pos):
                start = pos + len(begin)
                stop = start + length
                if data.startswith(end, stop):
                    events.append(like.head)
                    events.append(data[start:stop])
                    pos = stop + len(end)
                    continue
            if self._left <= 0:
                self._leave_off(data, pos)
                return
            pos = self._recognise(data, pos)
            if pos < 0:
                return
            like = self._last
            start = like.learn(data, pos, self._max_body)
            begin, length, end = like.begin, like.length, like.end
            stop = start + length
            if length >= 0 and data.startswith(end, stop):
                events.append(like.head)
                events.append(data[start:stop])
                pos = stop + len(end)
                continue
            assert like.head is not None
            self._begin_body(like.head)
            pos = self._continue_body(data, pos, events)
            if pos < 0:
                return

    def _leave_off(self, data: bytes, pos: int) -> None:
        self._tail = data[pos:]
        self._scanned = 0
        self._left = _STEP
        self.has_more = True

    def _recognise(self, data: bytes, pos: int) -> int:
        """Make ``_last`` the pattern of the next head; return where it ends, -1 if it does not."""
        for like in self._known:
            if data.startswith(like.block, pos):
                self._last = like
                return pos + len(like.block)
        start, stop = self._find_head(data, pos)
        if stop >= 0:
            block = data[start:stop]
            lines = block.count(b"\n")
            if lines - 2 > self._max_fields:
                raise RemoteProtocolError(f"more than {self._max_fields} header fields", 431)
            self._left -= _A_HEAD + lines // _LINES
            is_large = len(block) > _MAX_CACHED_HEAD or lines > _MAX_CACHED_LINES
            head = parse_head(block) if is_large else cached_head(block)
            self._last = _Pattern(block, head, is_large)
            if not is_large:
                if len(self._known) == _MAX_PATTERNS:
                    del self._known[0]
                self._known.append(self._last)
        return stop

    def _find_head(self, data: bytes, pos: int) -> tuple[int, int]:
        """Where the next head starts and ends; (start, -1) if it is incomplete, and kept."""
        start = pos
        if data[start : start + 1] in (b"\r", b"\n"):
            # Blank lines before a request are skipped, as http-parser does.
            start = _BLANK_LINES.match(data, start).end()  # type: ignore[union-attr]
        # What was kept stands at the beginning, and only a head there has been looked through.
        search = max(start, self._scanned - 3) if pos == 0 else start
        found = _HEAD_END.search(data, search)
        end = found.end() if found is not None else -1
        if (len(data) if end < 0 else end) - start > self._max_header:
            raise RemoteProtocolError(f"the head exceeds {self._max_header} bytes", 431)
        if end < 0:
            self._tail = data[start:]
            self._scanned = len(self._tail)
            if self._tail and not _PLAUSIBLE_START.match(self._tail):
                raise RemoteProtocolError(f"{self._tail[:40]!r} does not begin an HTTP request")
        else:
            self._scanned = 0
        return start, end

    def _begin_body(self, head: Head) -> None:
        self._head = head
        self._joined = 0
        self._received = 0
        self._state = _IN_SIZE
        if head.length != CHUNKED:
            self._expect(head.length)

    def _expect(self, count: int) -> None:
        """Make ``count`` more body bytes the next thing to read."""
        self._received += count
        if self._received > self._max_body:
            raise RemoteProtocolError(f"the body exceeds {self._max_body} bytes", 413)
        self.missing = count
        self._state = _IN_DATA

    def _continue_body(self, data: bytes, pos: int, events: list[Any]) -> int:
        """Read on in a body; return the position behind it, or -1 if it is incomplete."""
        head = self._head
        assert head is not None
        while self._inflater is None:
            if self._state == _IN_DATA:
                if self.missing:
                    part = data[pos : pos + self.missing]
                    self._parts.append(part)
                    if len(self._parts) - self._joined > _MAX_PIECES:
                        self._join_pieces()
                    self.missing -= len(part)
                    pos += len(part)
                    if self.missing:
                        return -1
                if head.length != CHUNKED:
                    break
                self._state = _AFTER_DATA
            elif self._state == _IN_SIZE:
                end = line_end(data, pos)
                if end < 0:
                    self._tail = data[pos:]
                    return -1
                if self._left <= 0:
                    self._leave_off(data, pos)
                    return -1
                self._left -= 1
                count = _remembered_size(data[pos:end])
                pos = end + 2
                if count:
                    self._expect(count)
                else:
                    self._state = _AFTER_LAST
            else:
                line = data[pos : pos + 2]
                if not b"\r\n".startswith(line):
                    what = "end of a chunk" if self._state == _AFTER_DATA else "end of the body"
                    raise RemoteProtocolError(f"{line!r} where the {what} should be")
                if len(line) < 2:
                    self._tail = line
                    return -1
                pos += 2
                if self._state == _AFTER_LAST:
                    break
                self._state = _IN_SIZE
        body = self._whole_body(head)
        if body is None:
            self._leave_off(data, pos)
            return -1
        self._head = None
        events += (head, body)
        return pos

    def _whole_body(self, head: Head) -> bytes | None:
        """The body, of which all has come; None if it takes more steps to inflate it."""
        inflater = self._inflater
        if inflater is None:
            body = self._parts[0] if len(self._parts) == 1 else b"".join(self._parts)
            self._parts = []
            if not head.gzip:
                return body
            inflater = self._inflater = Inflater(body, self._max_inflated)
        while not inflater.is_done:
            if self._left <= 0:
                return None
            self._left -= _A_PIECE + inflater.step() // _INFLATED
        self._inflater = None
        return inflater.result()

    def _join_pieces(self) -> None:
        """Make one of the many pieces in which a body comes, which may be tiny."""
        self._parts[self._joined :] = [b"".join(self._parts[self._joined :])]
        self._joined += 1

    # Large bodies, read straight to their place

    @property
    def can_lend(self) -> bool:
        """Whether a body, or its chunk, has a size for a place of its own."""
        return self.missing <= _MAX_LENT and self._received - self.missing <= _MAX_MOVED

    def lend(self) -> memoryview:
        """Where the next ``missing`` bytes go; ``filled`` is to be told how many came."""
        if self._view is None:
            begun = b"".join(self._parts)
            self._parts = []
            self._joined = 0
            self._filled = len(begun)
            self._room = Body(self._filled + self.missing)
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
        self._parts.append(self._room.take())
        self._room = self._view = None
        return True

    def _take_back(self) -> None:
        """The rest of a body does not come to the place that was lent for it."""
        assert self._view is not None
        self._parts.append(bytes(self._view[: self._filled]))
        self._room = self._view = None


def _plain_bytes(data: object) -> bytes:
    if not isinstance(data, bytes):
        raise TypeError(f"a decoder is fed with bytes, got {type(data).__name__}")
    return bytes(data)  # of a subclass, whose methods could do anything
