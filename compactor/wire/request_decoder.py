"""``RequestDecoder``: the bytes of one connection to requests.  No socket, no loop, no clock.

It is fed with whatever a socket has brought, and returns the requests that this completes.  Between
two requests it goes the shortest way that fits: a message like the last one is cut out of the bytes
at once (``head_pattern.py`` tells how it is recognised); the head of any other is found, looked up
or parsed, and its body decoded (``body_decoder.py``).  What is left of the bytes is kept until more
of them come, and no byte is searched twice for the same thing.

Work is counted, not timed, as there is no clock: after so much of it a step ends, and who feeds the
decoder can look at other connections.
"""

from __future__ import annotations

import re
from typing import Any

from compactor.errors import RemoteProtocolError

from .body_decoder import BodyDecoder
from .head_pattern import HeadFamily, HeadPattern, family_of
from .request_head import METHODS, Head, cached_head, numbered_head, parse_head

_MAX_PATTERNS = 8  # that one connection compares with, before it looks a head up
_MAX_FAMILIES = 4  # the same, of heads that differ in a number
# Bytes of the patterns of one connection, of which it keeps 8 in any case.  It has some 30 ordinary
# ones: a host of as many senders does without the cache, which others may have filled.
_MAX_REMEMBERED = 64 * 1024
# Of a head that is remembered, by its connection and in a cache of 4,096 for a whole program: each
# takes some 8 KiB at most, and those of the cache some 32 MiB.
_MAX_CACHED_HEAD = 1024
_MAX_CACHED_LINES = 24  # each of which may be of 4 bytes, and takes 100 more once it is parsed
# What a step may do: so many chunks, of which a head that is looked up or parsed (some 5 us) counts
# as 32, 4 lines or 64 bytes of it as one more.
_STEP = 1024
_A_HEAD = 32
_A_RELATIVE = 4  # a head of a family
_LINES = 4
_BYTES = 64

_HEAD_END = re.compile(rb"\n\r?\n")
_TLS = b"\x16\x03"  # how a peer begins that takes us for a TLS port
_BLANK_LINES = re.compile(rb"[\r\n]*")
# What can still become a request: TLS and other garbage must not be waited on until it ends.
_PLAUSIBLE_START = re.compile(rb"[A-Z-]{1,11}\Z|(?:" + b"|".join(METHODS) + rb") ")
_METHOD_BYTES = 12  # that tell whether it can


class RequestDecoder:
    """Turns the bytes of one connection into (head, body) pairs.

    Invariants: ``_head`` is set exactly while a body is incomplete; ``_tail`` holds what came of an
    incomplete head, size line or line end, never body bytes; when a step ends early, all that is
    left.  ``_alone`` is set only while nothing is incomplete.

    Args:
        max_header_bytes: bound for request line to blank line.
        max_body_bytes: bound for a body as it arrives; one that is compressed stays so.
        max_header_fields: bound for the lines between request line and blank line.

    Attributes:
        body: decodes bodies; knows what is missing of one, and a place for it.
        error: what was malformed, once something was.
        has_more: whether ``feed_some`` has left off before all was decoded.
        is_awaited: whether the client waits to be told that it may send the body.
        unfinished: 0, or while a request has begun and not ended, a number of its own.
    """

    __slots__ = (
        "_alone",
        "_begun",
        "_families",
        "_head",
        "_held",
        "_known",
        "_last",
        "_left",
        "_max_body",
        "_max_fields",
        "_max_header",
        "_more",
        "_remembered",
        "_scanned",
        "_tail",
        "body",
        "error",
        "has_more",
        "is_awaited",
        "unfinished",
    )

    def __init__(
        self, max_header_bytes: int, max_body_bytes: int, max_header_fields: int = 1000
    ) -> None:
        self._max_header = max_header_bytes
        self._max_fields = max_header_fields
        self._max_body = max_body_bytes
        self.body = BodyDecoder(max_body_bytes)
        self._last = HeadPattern(b"", None, False)
        self._alone = -1  # the bytes of one more message just like the last
        self._known: list[HeadPattern] = []
        self._more: dict[bytes, HeadPattern] | None = None  # older ones, by their heads
        self._remembered = 0  # bytes of all of them
        self._families: list[HeadFamily] = []
        self._tail = b""
        self._scanned = 0
        self._held = bytearray()  # what came behind the tail of a head
        self._head: Head | None = None
        self._left = _STEP  # of this step
        self.has_more = False
        self.is_awaited = False
        self.error: RemoteProtocolError | None = None
        self.unfinished = 0
        self._begun = 0

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
        if type(data) is not bytes:
            data = _plain_bytes(data)
        like = self._last
        whole = data
        if (
            len(whole) == self._alone and whole.startswith(like.begin) and whole.endswith(like.end)
        ):  # one message, just like the last, as who waits for an answer sends it
            raw = whole
            return [like.head, raw[like.start : like.stop]]
        events: list[Any] = []
        self._alone = -1
        if self.error is None:
            try:
                self._decode(data, events)
            except RemoteProtocolError as error:
                self.error = error.with_traceback(None)  # which would keep what was being decoded
                if self._head is not None:
                    error.is_head = self._head.method == "HEAD"
                self.forget()
            if self._last.is_large:
                self._last = HeadPattern(b"", None, False)
            if self._head is None and not self._tail:
                self.unfinished = 0
                if self.error is None:
                    self._alone = self._last.size
            elif events or not self.unfinished:
                self._begun += 1
                self.unfinished = self._begun
        return events

    @property
    def begun(self) -> Head | None:
        """The head of a request whose body is not whole."""
        return self._head

    def refuse(self, error: RemoteProtocolError) -> None:
        """Read nothing more: what was returned last cannot be understood."""
        self.error = error
        self.forget()

    def forget(self) -> None:
        """Keep nothing of what is incomplete: no more of it will come."""
        self.body.forget()
        self._head = None
        self._tail = b""
        self._held.clear()
        self.has_more = self.is_awaited = False
        self.unfinished = 0

    # In one piece: the loop over all messages of a read, whose locals live in registers.
    def _decode(self, data: bytes, events: list[Any]) -> None:
        """Decode a step's worth."""
        pos = 0
        self.has_more = False
        if data:
            self.is_awaited = False
        if self._tail:
            is_in_head = self._head is None and self._scanned >= _METHOD_BYTES
            if is_in_head and not self._ends_head(data):
                return
            data = self._tail + bytes(self._held) + data if self._held else self._tail + data
            self._held.clear()
            self._tail = b""
        else:
            self._scanned = 0
        if self._head is not None:
            self.body.take_back()
            pos = self._continue_body(data, 0, events)
            if pos < 0:
                return
        raw = data
        size = len(data)
        like = self._last
        begin = like.begin
        length = like.length
        end = like.end
        while pos < size:
            if length >= 0 and data.startswith(begin, pos):
                start = pos + len(begin)
                stop = start + length
                if data.startswith(end, stop):
                    events.append(like.head)
                    events.append(raw[start:stop])
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
            begin = like.begin
            length = like.length
            end = like.end
            stop = start + length
            if length >= 0 and data.startswith(end, stop):
                events.append(like.head)
                events.append(raw[start:stop])
                pos = stop + len(end)
                continue
            if like.once >= 0:
                stop = start + like.once
                if data.startswith(like.end, stop):
                    self._left -= 1
                    events.append(like.given)
                    events.append(raw[start:stop])
                    pos = stop + len(like.end)
                    continue
            assert like.head is not None
            self._head = like.head
            self.body.begin(like.head)
            start = pos
            pos = self._continue_body(data, pos, events)
            if pos < 0:
                self.is_awaited = like.head.expects and start == size
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
        for family in self._families:
            stop = family.recognise(data, pos, self._max_header)
            if stop >= 0:
                self._left -= _A_RELATIVE
                self._last = family.like
                return stop
        start, stop = self._find_head(data, pos)
        if stop >= 0:
            block = data[start:stop]
            self._left -= _A_HEAD + len(block) // _BYTES
            if self._more is not None:
                known = self._more.get(block)
                if known is not None:
                    self._last = known
                    return stop
            self._learn_head(block)
        return stop

    def _learn_head(self, block: bytes) -> None:
        """Make ``_last`` the pattern of a head that this connection does not remember."""
        lines = block.count(b"\n")
        if lines - 2 > self._max_fields:
            raise RemoteProtocolError(f"more than {self._max_fields} header fields", 431)
        self._left -= lines // _LINES
        is_large = len(block) > _MAX_CACHED_HEAD or lines > _MAX_CACHED_LINES
        try:
            head = parse_head(block) if is_large else cached_head(block)
        except RemoteProtocolError as error:
            error.is_head = block.startswith(b"HEAD ")
            raise
        self._last = HeadPattern(block, head, is_large)
        if not is_large:
            self._remember(self._last)
            if b"__req_res__(" in block:
                self._meet(head, block)

    def _remember(self, like: HeadPattern) -> None:
        """Compare with a pattern from now on; look up the oldest of too many, or forget some."""
        self._known.append(like)
        self._remembered += like.room()
        if len(self._known) > _MAX_PATTERNS:
            older = self._known.pop(0)
            if self._more is None:
                self._more = {}
            more = self._more
            if older.block in more:  # blank lines before a head keep it from being compared with
                self._remembered -= older.room()
            more[older.block] = older
            while self._remembered > _MAX_REMEMBERED and more:
                oldest = more.pop(next(iter(more)))
                self._remembered -= oldest.room()

    def _meet(self, head: Head, block: bytes) -> None:
        """Recognise the relatives of a head from now on."""
        family = family_of(head, block)
        if family is not None:
            if len(self._families) == _MAX_FAMILIES:
                del self._families[0]
            self._families.append(family)

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
                why = "; it is TLS" if self._tail.startswith(_TLS) else ""
                raise RemoteProtocolError(
                    f"{self._tail[:40]!r} does not begin an HTTP request{why}"
                )
        else:
            self._scanned = 0
        return start, end

    def _ends_head(self, data: bytes) -> bool:
        """Whether the end of an incomplete head is there; if not, it is held, and not copied."""
        held = self._held
        last = held[len(held) - 2 :] if len(held) > 1 else self._tail[len(self._tail) - 2 :] + held
        if _HEAD_END.search(last + data):
            return True
        held += data
        self._scanned += len(data)
        if self._scanned > self._max_header:
            raise RemoteProtocolError(f"the head exceeds {self._max_header} bytes", 431)
        return False

    def _continue_body(self, data: bytes, pos: int, events: list[Any]) -> int:
        """Decode on in a body; return the position behind it, or -1 if it is incomplete."""
        body = self.body
        body.left = self._left
        pos = body.feed(data, pos)
        self._left = body.left
        if pos < 0:
            self._tail, body.rest = body.rest, b""
            if body.is_late:
                self._leave_off(self._tail, 0)
            return -1
        head = self._head
        if head is not None and b";" in body.size_line:
            head = numbered_head(head, body.size_line)
        events += (head, body.take())
        self._head = None
        return pos


def _plain_bytes(data: object) -> bytes:
    if not isinstance(data, bytes):
        raise TypeError(f"a decoder is fed with bytes, got {type(data).__name__}")
    return bytes(data)  # of a subclass, whose methods could do anything
