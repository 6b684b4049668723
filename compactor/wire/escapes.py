"""Percent escapes, made and undone in C: there may be 27,000 of them in a path or a query."""

from __future__ import annotations

import re
from urllib.parse import quote

_BAD_ESCAPE = re.compile(rb"%(?![0-9A-Fa-f]{2})")
_LONG = 256  # characters; urllib takes a millisecond for each 10,000


def unescaped(text: bytes) -> bytes:
    """``text`` with its percent escapes decoded.

    Raises:
        ValueError: a percent sign is not followed by two hex digits.
    """
    if b"%" not in text:
        return text
    # Python's own escapes say the same, and are decoded by C.
    text = text.replace(b"\\", b"\\\\").replace(b"%", b"\\x")
    return text.decode("unicode_escape").encode("latin-1")


def unescaped_as_far_as_possible(text: bytes) -> bytes:
    """The same, and a percent sign that begins no escape stays."""
    try:
        return unescaped(text)
    except ValueError:
        return unescaped(_BAD_ESCAPE.sub(b"%25", text))


def escaped(text: str) -> str:
    """``text`` with percent escapes for whatever could not stand in a path or a header."""
    if len(text) <= _LONG:
        return quote(text, errors="surrogateescape")
    return "%" + text.encode("utf-8", "surrogateescape").hex("%")
