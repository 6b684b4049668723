"""Header fields: the lines between a start line and a blank line, and what some of them mean.

httptools reads them where it is installed; elsewhere a few lines of Python do, with the same
results and the same refusals.  A test compares the two.  Whatever leaves the end of a message in
doubt is refused here, before and behind either of them.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterable
from typing import Any

Fields = tuple[tuple[bytes, bytes], ...]
Reader = Callable[[bytes], Iterable[tuple[bytes, bytes]]]

CHUNKED = -1
"""The length of a body that comes in chunks."""

_DAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")

_MAX_LENGTH_DIGITS = 18  # ten to the eighteenth is below two to the 63rd, a signed word's end
_FRAMING = (b"\ncontent-length:", b"\ntransfer-encoding:")
_FOLD = re.compile(rb"\r\n(?=[ \t])")
# A literal first, which is searched for fast: there may be 40,000 options.
_CLOSE = re.compile(rb"close(?<![^, \t]close)(?![^, \t])")
_KEEP_ALIVE = re.compile(rb"keep-alive(?<![^, \t]keep-alive)(?![^, \t])")
_MAX_CODINGS = 64  # bytes of the names of content codings
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
    PARSER = "python"  # pyright: ignore[reportConstantRedefinition]
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
    if (b"\n " in block or b"\n\t" in block) and _is_framing_folded(block):
        raise ValueError("Content-Length or Transfer-Encoding is folded")
    return tuple((name.lower(), value.strip(b" \t")) for name, value in read(block))


def _is_framing_folded(block: bytes) -> bool:
    lowered = b"\n" + block.lower()
    for name in _FRAMING:
        at = lowered.find(name)
        while at >= 0:
            end = lowered.find(b"\n", at + 1)
            if lowered[end + 1 : end + 2] in (b" ", b"\t"):
                return True
            at = lowered.find(name, end)
    return False


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


def joined(fields: Fields, name: bytes) -> bytes:
    """The value of a field that is a list, from all lines of that name."""
    return b",".join([value for key, value in fields if key == name])


def says_close(connection: bytes) -> bool:
    """Whether ``Connection`` has the option ``close``."""
    return _CLOSE.search(connection.lower()) is not None


def says_keep_alive(connection: bytes) -> bool:
    """Whether ``Connection`` has the option ``keep-alive``."""
    return _KEEP_ALIVE.search(connection.lower()) is not None


def content_coding(codings: bytes) -> bytes:
    """What ``Content-Encoding`` says the body must be decoded from: gzip, deflate or nothing.

    Raises:
        ValueError: it is something else, or more than one coding.
    """
    named = codings.lower().split(b",") if len(codings) <= _MAX_CODINGS else [codings]
    found = [name for name in map(bytes.strip, named) if name not in (b"", b"identity")]
    if not found:
        return b""
    coding = b"gzip" if found[0] == b"x-gzip" else found[0]
    if len(found) > 1 or coding not in (b"gzip", b"deflate"):
        raise ValueError(
            f"the content codings understood are gzip and deflate, not {codings[:80]!r}"
        )
    return coding


def http_date(seconds: float) -> str:
    """Seconds since 1970 as a date of HTTP, in whole seconds.

    ``email.utils`` writes it, too, and would take a tenth of the time of importing all this.
    """
    year, month, day, hour, minute, second, weekday, *_ = time.gmtime(seconds)
    date = f"{_DAYS[weekday]}, {day:02} {_MONTHS[month - 1]} {year:04}"
    return f"{date} {hour:02}:{minute:02}:{second:02} GMT"
