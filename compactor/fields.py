"""Header fields: the lines between a start line and a blank line, and the body they announce.

httptools reads them where it is installed; elsewhere a few lines of Python do, with the same
results and the same refusals.  A test compares the two.  Whatever leaves the end of a message in
doubt is refused here, before and behind either of them.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from typing import Any

Fields = tuple[tuple[bytes, bytes], ...]
Reader = Callable[[bytes], Iterable[tuple[bytes, bytes]]]

CHUNKED = -1
"""The length of a body that comes in chunks."""

_MAX_LENGTH_DIGITS = 18  # ten to the eighteenth is below two to the 63rd, a signed word's end
_FOLDED_FRAMING = re.compile(
    rb"^(?:content-length|transfer-encoding):.*\n[ \t]", re.IGNORECASE | re.MULTILINE
)
_FOLD = re.compile(rb"\r\n(?=[ \t])")
_FIELD = re.compile(rb"([!#$%&'*+.^_`|~0-9A-Za-z-]+):([^\r\n]*)\r\n")


def read_in_python(block: bytes) -> list[tuple[bytes, bytes]]:
    """Read the fields of a block without any package."""
    block = _FOLD.sub(b"", block)
    found: list[tuple[bytes, bytes]] = []
    pos = 0
    while match := _FIELD.match(block, pos):
        found.append((match[1], match[2]))
        pos = match.end()
    if block[pos:] != b"\r\n":
        raise ValueError(f"{block[pos : pos + 40]!r} is no header field")
    return found


try:
    import httptools
except ImportError:
    PARSER = "python"
    """What reads fields in this program, ``httptools`` or ``python``."""
    _read: Reader = read_in_python
else:

    class _Collector:
        """Collects what httptools finds; its names are httptools's."""

        def __init__(self) -> None:
            self.found: list[tuple[bytes, bytes]] = []

        def on_header(self, name: bytes, value: bytes) -> None:
            self.found.append((name, value))

    def read_with_httptools(block: bytes) -> list[tuple[bytes, bytes]]:
        """Read the fields of a block with httptools, as those of a request."""
        collector = _Collector()
        parser: Any = httptools.HttpRequestParser(collector)
        # http-parser, which C++ libprocess uses, takes control characters in values; and a
        # transfer coding is judged by ``body_length``.
        parser.set_dangerous_leniencies(lenient_headers=True, lenient_transfer_encoding=True)
        try:
            parser.feed_data(b"POST / HTTP/1.1\r\n" + block)
        except httptools.HttpParserUpgrade:
            pass  # not for us: C++ ignores the wish as well, and nothing follows in this block
        except httptools.HttpParserError as error:
            raise ValueError(str(error)) from None
        # llhttp takes one behind the names that it knows, with anything up to the colon.
        if any(b" " in name for name, _ in collector.found):
            raise ValueError("a blank in a name")
        return collector.found

    PARSER = "httptools"
    _read = read_with_httptools


def parse_fields(block: bytes, read: Reader = _read) -> Fields:
    """Parse header fields.

    Args:
        block: the lines behind the start line, up to and with the blank line.
        read: what reads them; tests give both.

    Returns:
        (lower-case name, value without blanks around it) in order of arrival.

    Raises:
        ValueError: a line is no header field, or the fields leave the framing in doubt.
    """
    if b"\0" in block or not block.count(b"\r") == block.count(b"\n") == block.count(b"\r\n"):
        raise ValueError("NUL, or half a line end")
    if block.startswith((b" ", b"\t")):
        raise ValueError("a blank before the first name")
    if (b"\n " in block or b"\n\t" in block) and _FOLDED_FRAMING.search(block):
        raise ValueError("Content-Length or Transfer-Encoding is folded")
    return tuple((name.lower(), value.strip(b" \t")) for name, value in read(block))


def body_length(fields: Fields) -> int | None:
    """The bytes of the body that fields announce, ``CHUNKED``, or None if they say nothing.

    Raises:
        ValueError: they contradict each other, or are not understood.
    """
    codings = [value for name, value in fields if name == b"transfer-encoding"]
    lengths = [value for name, value in fields if name == b"content-length"]
    if codings:
        if lengths or len(codings) > 1 or codings[0].lower() != b"chunked":
            raise ValueError("the only transfer coding understood is plain 'chunked'")
        return CHUNKED
    if not lengths:
        return None
    if len(lengths) > 1 or not lengths[0].isdigit() or len(lengths[0]) > _MAX_LENGTH_DIGITS:
        raise ValueError("Content-Length is not one number")
    return int(lengths[0])
