"""``HeadPattern``: how messages that repeat a head are recognised, without parsing it again.

Frames from one sender to one mailbox begin alike, byte for byte, and often have bodies of one size.
So a message is first compared with what is known, from the cheapest to the dearest:

1. The last message of its connection: the bytes from its request line to the end of its size line,
   and those behind its body.  Between them stands the body, however it looks.  Two comparisons of
   bytes tell a message like the last one, and no byte of it is searched for anything.
2. The heads of the last few patterns of its connection.  One of these tells the head; the size is
   learned anew from the message, so the next one like it is of the first kind.
3. Only another head is searched for its end, and parsed, unless the parser remembers it.

A pattern recognises two shapes: a body of ``Content-Length``, or of a single chunk, as libprocess
sends it.  All others, compressed ones among them, have their heads recognised and their bodies
decoded.
"""

from __future__ import annotations

from .body_decoder import checked_sizes
from .request_head import CHUNKED, Head

_LAST_CHUNK = b"\r\n0\r\n\r\n"
_SIZE_LINE = 18  # bytes in which to look for the end of a size line; who sends more is decoded


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
    """

    __slots__ = ("begin", "block", "end", "head", "is_large", "length", "size", "start", "stop")

    def __init__(self, block: bytes, head: Head | None, is_large: bool) -> None:
        self.block = block
        self.head = head
        self.is_large = is_large
        self.begin = b""
        self.length = -1
        self.end = b""
        self.start = self.stop = 0
        self.size = -1

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
                pos = stop + 2
        self.begin = begin
        self.end = end
        if length > max_body:
            length = -1
        self.length = length
        self.start = len(begin)
        self.stop = self.start + length
        self.size = self.stop + len(end) if length >= 0 else -1
        return pos
