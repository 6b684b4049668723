"""Ranges of bytes: which parts of a content a request asks for, and how several are sent."""

from __future__ import annotations

import re
from typing import NamedTuple

from compactor.system.system import system

_MAX_BYTES = 1024  # of a header that is looked at
_MAX_SPANS = 32
_SPAN = re.compile(r"(\d{0,18})-(\d{0,18})")


class Span(NamedTuple):
    """From one byte on, up to and without another."""

    start: int
    stop: int


def spans_of(header: str, size: int) -> list[Span] | None:
    """The spans that a ``Range`` asks for, in its order.

    Returns:
        None if it is malformed, of another unit, or asks for too many: the whole is sent, as for
        every ``Range`` that is not understood.  An empty list if the content has none of them.
    """
    unit, equals, text = header.partition("=")
    if len(header) > _MAX_BYTES or not equals or unit.strip().lower() != "bytes":
        return None
    found: list[Span] = []
    items = text.split(",")
    if len(items) > _MAX_SPANS:
        return None
    for item in items:
        match = _SPAN.fullmatch(item.strip(" \t"))
        if match is None or match[0] == "-" or not match[0].isascii():
            return None
        first, last = match[1], match[2]
        if not first:
            span = Span(max(0, size - int(last)), size)
        else:
            stop = int(last) + 1 if last else size
            if stop <= int(first) and last:
                return None
            span = Span(int(first), min(stop, size))
        if span.start < span.stop:
            found.append(span)
    if sum(span.stop - span.start for span in found) > size:
        return None  # they overlap, and would be more than the whole
    return found


def parts_of(spans: list[Span], kind: str, size: int) -> tuple[str, list[bytes | Span]]:
    """How several spans of a content are sent.

    Args:
        kind: the type of the content.
        size: its bytes.

    Returns:
        The type of all; and what is sent: the spans, and bytes between them.
    """
    boundary = system().random_bytes(12).hex()
    parts: list[bytes | Span] = []
    for span in spans:
        head = (
            f"\r\n--{boundary}\r\nContent-Type: {kind}\r\n"
            f"Content-Range: bytes {span.start}-{span.stop - 1}/{size}\r\n\r\n"
        )
        parts += [head.encode(), span]
    parts.append(f"\r\n--{boundary}--\r\n".encode())
    return f"multipart/byteranges; boundary={boundary}", parts
