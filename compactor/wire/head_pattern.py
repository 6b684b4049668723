"""``HeadPattern``: how messages that repeat a head are recognised, without parsing it again.

Frames from one sender to one mailbox begin alike, byte for byte, and often have bodies of one size.
So a message is first compared with what is known, from the cheapest to the dearest:

1. The last message of its connection: the bytes from its request line to the end of its size line,
   and those behind its body.  Between them stands the body, however it looks.  Two comparisons of
   bytes tell a message like the last one, and no byte of it is searched for anything.
2. The heads of the last few patterns of its connection.  One of these tells the head; the size is
   learned anew from the message, so the next one like it is of the first kind.
3. The families of heads of its connection.  Asks of libprocess come each from a pid of its own,
   ``__req_res__(N)``, to which they are answered, so their heads are new, and differ in N alone.
4. Only another head is searched for its end, and parsed, unless the parser remembers it.

A pattern recognises two shapes: a body of ``Content-Length``, or of a single chunk, as libprocess
sends it.  All others, compressed ones among them, have their heads recognised and their bodies
decoded.

Between compactors asks and answers repeat their heads.  The number of an ask stands behind the size
of the one chunk, as an extension: ``40;a=17`` asks, ``5;r=17`` answers.  That is read here as well.
"""

from __future__ import annotations

import re

from compactor.pid import TEMPORARY
from compactor.wire.fields import Fields

from ..pid import temporary_of
from .body_decoder import checked_sizes
from .request_head import CHUNKED, Head

_LAST_CHUNK = b"\r\n0\r\n\r\n"
_SIZE_LINE = 18  # bytes in which to look for the end of a size line; who sends more is decoded

_MOST_DIGITS = 20  # of the number of a temporary pid that is recognised; 64 bits have no more
_HEX_DIGITS = 7  # of a size that is recognised
_ZERO, _NINE, _A, _F, _SEMICOLON, _EQUALS, _CR, _LF = b"09af;=\r\n"
_LOWER = 0x20  # makes a letter of an upper case one

# Where a number may stand: at the beginning of the path, or of the sender in both headers.
_PATH = b"/" + TEMPORARY.encode()
_IN_PATH = re.compile(rb"POST /__req_res__\(([0-9]{1,20})\)/")
_IN_HEADER = re.compile(
    rb"\r\n(?:User-Agent: libprocess/|Libprocess-From: )__req_res__\(([0-9]{1,20})\)@"
)
_PREFIXES = {
    b"user-agent": b"libprocess/__req_res__(%b)@",
    b"libprocess-from": b"__req_res__(%b)@",
}


class HeadPattern:
    """What the beginnings and ends of some messages have in common: a head, mostly a size too.

    Attributes:
        block: the bytes of the head.
        head: what they mean; None if this is the pattern of no message.
        is_large: whether it takes too much memory to be remembered by a silent connection.
        begin: all bytes before the body, of the last message of this pattern.
        length: the bytes of its body; -1 if it is of no shape to be recognised.
        end: all bytes behind the body.
        start, stop: where the body stands in such a message.
        size: the bytes of all of it; -1 if ``length`` is.
        is_relative: whether the head is one of a family.
        once: the bytes of its body if no other message is expected to begin like it, as its head
            is one of a family, or an ask has its number behind their size; else -1.  Then
            ``length`` is -1.
        given: what such a message means, its number included.
    """

    __slots__ = (
        "begin",
        "block",
        "end",
        "given",
        "head",
        "is_large",
        "is_relative",
        "length",
        "once",
        "size",
        "start",
        "stop",
    )

    def __init__(self, block: bytes, head: Head | None, is_large: bool) -> None:
        self.block = block
        self.head = head
        self.is_large = is_large
        self.begin = b""
        self.length = -1
        self.end = b""
        self.start = self.stop = 0
        self.size = -1
        self.is_relative = False
        self.once = -1
        self.given: Head | None = None

    def room(self) -> int:
        """Bytes of memory that it takes, roughly; as long as it is remembered, always the same."""
        return 0 if self.head is None else self.head.size + 3 * len(self.block)

    # In one piece: made for every other size, where each call in it counts.
    def learn(self, data: bytes, pos: int, max_body: int) -> int:
        """Learn from a message how one just like it begins and ends, its body apart.

        Args:
            pos: where its head has ended.
            max_body: bytes of a body that may be recognised.

        Returns:
            Where its body starts.
        """
        head = self.head
        assert head is not None
        if self.once >= 0 or self.is_relative:  # most likely like the last one
            start = self._read_once(data, pos, max_body)
            if start >= 0:
                return start
            if self.is_relative:
                return pos
        before = pos - len(self.block)
        if self.length >= 0 and data.startswith(self.begin, before):
            return before + len(self.begin)
        begin = self.block
        length = head.length
        end = b""
        if length == CHUNKED:
            end = _LAST_CHUNK
            stop = data.find(b"\r\n", pos, pos + _SIZE_LINE)
            if stop > 0:
                length = checked_sizes.get(data[pos:stop]) or CHUNKED  # 0 is the last chunk already
                begin += data[pos : stop + 2]
                if length == CHUNKED:
                    start = self._read_once(data, pos, max_body)
                    if start >= 0:
                        return start
                pos = stop + 2
            else:
                start = self._read_once(data, pos, max_body)
                if start >= 0:
                    return start
        self.begin = begin
        self.end = end
        if length > max_body:
            length = -1
        self.length = length
        self.start = len(begin)
        self.stop = self.start + length
        self.size = self.stop + len(end) if length >= 0 else -1
        return pos

    # In one piece: each byte of a size line is looked at, and no object made of it but a number.
    def _read_once(self, data: bytes, pos: int, max_body: int) -> int:
        """Read the size of a body whose message is repeated by no other; see ``learn``.

        Returns:
            Where the body starts; -1 if the size is not short and plain, and to be read otherwise.
        """
        given = self.head
        assert given is not None
        self.once = self.length = self.size = -1
        length = given.length
        if length == CHUNKED:
            raw = data
            end = len(data) - 2
            at = pos
            length = 0
            while at < end and at - pos < _HEX_DIGITS:
                digit = raw[at]
                if _ZERO <= digit <= _NINE:
                    digit -= _ZERO
                elif _A <= digit | _LOWER <= _F:
                    digit = (digit | _LOWER) - _A + 10
                else:
                    break
                length = 16 * length + digit
                at += 1
            if at == pos or at >= end:
                return -1
            if raw[at] == _SEMICOLON:
                if at + 3 >= end or raw[at + 2] != _EQUALS:
                    return -1
                kind = raw[at + 1]
                at += 3
                start = at
                end = min(end, start + _MOST_DIGITS)
                while at < end and _ZERO <= raw[at] <= _NINE:
                    at += 1
                if at == start or raw[at] != _CR:
                    return -1
                given = given.numbered(kind, data[start:at])
                if given is None:
                    return -1
            elif not self.is_relative:
                return -1
            if raw[at] != _CR or raw[at + 1] != _LF:
                return -1
            pos = at + 2
            self.end = _LAST_CHUNK if length else b"\r\n"
        else:
            self.end = b""
        if length > max_body:
            return -1
        self.given = given
        self.once = length
        return pos


class HeadFamily:
    """Heads that differ in the number of one temporary pid alone, in the path or of the sender.

    The number is nothing but digits where a whole part of a pid stands, so all that a head means
    besides the pid is what the parser has found in the first of its family.

    Args:
        first: the head of the family that was parsed.
        parts: its bytes, cut at each place of its number.
        number: that number.

    Attributes:
        like: the pattern of the head that was recognised last.
    """

    __slots__ = (
        "_before",
        "_behind",
        "_between",
        "_digits",
        "_fields",
        "_first",
        "_in_path",
        "_path",
        "_path_text",
        "like",
    )

    def __init__(self, first: Head, parts: list[bytes], number: bytes) -> None:
        self.like = HeadPattern(b"", first, False)
        self.like.is_relative = True
        self._first = first
        self._before = parts[0]
        self._between = parts[1] if len(parts) == 3 else b""
        self._behind = parts[len(parts) - 1]
        self._digits = len(number)
        self._in_path = parts[0].startswith(b"POST " + _PATH)
        self._path = first.path[len(_PATH) + len(number) :]
        self._path_text = first.path_text[len(_PATH) + len(number) :]
        self._fields: list[tuple[int, bytes, bytes, bytes]] = []
        if not self._in_path:
            self._fields = _holes(first, number)

    def recognise(self, data: bytes, pos: int, most: int) -> int:
        """Have ``like`` be the pattern of a head of this family.

        Args:
            data, pos: what may begin with one, and where.
            most: bytes that a head may have.

        Returns:
            Where it ends; -1 if it is of another family, or not whole.
        """
        if not data.startswith(self._before, pos):
            return -1
        raw = data
        start = stop = pos + len(self._before)
        end = min(len(data), start + _MOST_DIGITS)
        while stop < end and _ZERO <= raw[stop] <= _NINE:
            stop += 1
        if stop == start:
            return -1
        number = data[start:stop]
        at = stop
        if self._between:
            if not data.startswith(self._between, at):
                return -1
            at += len(self._between)
            if not data.startswith(number, at):
                return -1
            at += stop - start
        if not data.startswith(self._behind, at):
            return -1
        at += len(self._behind)
        if at - pos > most:
            return -1
        more = stop - start - self._digits
        self.like.head = self._head(number, 2 * more if self._between else more)
        return at

    def _head(self, number: bytes, more: int) -> Head:
        """The head with that number, which has so many bytes more than the first."""
        first = self._first
        head = first.copied()
        head.size = first.size + more
        if self._in_path:
            head.path = _PATH + number + self._path
            head.path_text = "/" + TEMPORARY + number.decode("ascii") + self._path_text
            return head
        assert first.sender is not None
        head.sender = temporary_of(first.sender, number, None)
        head._late = (self, number)
        return head

    def headers(self, number: bytes) -> Fields:
        """The header fields of the head with that number."""
        fields = list(self._first.headers)
        for index, name, before, behind in self._fields:
            fields[index] = (name, before + number + behind)
        return tuple(fields)


def family_of(head: Head, block: bytes) -> HeadFamily | None:
    """The family of a head that was parsed, if it is of one.

    Args:
        block: its bytes.
    """
    if head.sender is None or head.coding or head.browser is not None or head.is_link:
        return None
    match = _IN_PATH.match(block)
    if match is not None:
        start, stop = match.span(1)
        return HeadFamily(head, [block[:start], block[stop:]], match[1])
    if not head.sender.id.startswith(TEMPORARY):
        return None
    number = head.sender.id[len(TEMPORARY) :].rstrip(")").encode("utf-8", "surrogateescape")
    spans = [found.span(1) for found in _IN_HEADER.finditer(block) if found[1] == number]
    if not 1 <= len(spans) <= 2 or len(spans) != len(_holes(head, number)):
        return None
    edges = [0, *(edge for span in spans for edge in span), len(block)]
    parts = [block[edges[at] : edges[at + 1]] for at in range(0, len(edges), 2)]
    return HeadFamily(head, parts, number)


def _holes(head: Head, number: bytes) -> list[tuple[int, bytes, bytes, bytes]]:
    """The fields of a head with a number: which, their names, what is before it and behind."""
    found = []
    for index, (name, value) in enumerate(head.headers):
        prefix = _PREFIXES.get(name)
        if prefix is not None and value.startswith(prefix % number):
            start = len(prefix) - len(b"%b)@")
            found.append((index, name, value[:start], value[start + len(number) :]))
    return found
