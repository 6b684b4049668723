"""The logger of compactor, which escapes and shortens what peers have chosen, in every line."""

from __future__ import annotations

import logging
from typing import Any

log = logging.getLogger("compactor")

_LONGEST = 512  # characters of one thing in a line, or of one line of a traceback
_BEGIN, _END = 320, 128  # of them are shown of what is longer


def readable(text: str) -> str:
    """``text`` on one line that any UTF-8 handler can write, and of bounded length.

    Line ends, other controls, marks that reverse the direction of text, and what stands for bytes
    that are no UTF-8 are escaped as in Python.
    """
    if len(text) <= _LONGEST:
        shown = _escaped(text)
        if len(shown) <= _LONGEST:
            return shown
    begin, end = _escaped(text[:_BEGIN])[:_BEGIN], _escaped(text[-_END:])[-_END:]
    return f"{begin}...({len(text)} characters)...{end}"


def _escaped(text: str) -> str:
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else ascii(c)[1:-1] for c in text)


class _Readable:
    """An argument of a log line, made readable when it is formatted."""

    __slots__ = ("_value",)

    def __init__(self, value: Any) -> None:
        self._value = value

    def __str__(self) -> str:
        return readable(str(self._value))

    def __repr__(self) -> str:
        return readable(repr(self._value))


class _MakeReadable(logging.Filter):
    def filter(self, record: logging.LogRecord) -> bool:
        if isinstance(record.args, tuple):
            record.args = tuple(
                arg if isinstance(arg, (int, float)) else _Readable(arg) for arg in record.args
            )
        if record.exc_info and record.exc_info[0] is not None and not record.exc_text:
            written = logging.Formatter().formatException(record.exc_info).expandtabs().split("\n")
            shown = [readable(line) for line in written]
            if shown != written:  # what formatters take instead of their own
                record.exc_text = "\n".join(shown)
        return True


log.addFilter(_MakeReadable())
