"""The loggers of compactor, which escape and shorten what peers have chosen, in every line."""

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


class _AsTheParent(logging.Filter):
    """Has what programs have told the logger ``compactor`` hold for those of its rooms."""

    def filter(self, record: logging.LogRecord) -> Any:
        return not log.disabled and log.filter(record)


_as_the_parent = _AsTheParent()


def logger(room: str) -> logging.Logger:
    """The logger of a room, a child of ``compactor``."""
    found = log.getChild(room)
    found.addFilter(_as_the_parent)
    return found


def fields(event: str, **values: Any) -> dict[str, Any]:
    """The fields of a line for handlers that write them by name; None is left out.

    Args:
        event: what has happened, in one word.
        values: numbers stay, all else becomes readable text.
    """
    found: dict[str, Any] = {"event": event}
    for name, value in values.items():
        if value is not None:
            found[name] = value if isinstance(value, int) else readable(str(value))
    return found


def place_of(address: tuple[str, int]) -> str:
    """An address in a line of the log."""
    return f"{address[0]}:{address[1]}"


def skipped_in(more: str) -> int:
    """How many lines were left out, as ``ThrottledLog.due`` says it in words."""
    return int(more.removeprefix("; ").partition(" ")[0]) if more else 0
