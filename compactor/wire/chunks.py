"""The lines between the chunks of a chunked body, of requests and of answers."""

from __future__ import annotations

import re

from compactor.errors import RemoteProtocolError

_MAX_LINE = 1024  # a size with its extensions, or a trailer; nobody who speaks to us sends either
_SIZE_LINE = re.compile(rb"([0-9A-Fa-f]{1,15})(?:;[^\r\n]*)?")


def line_end(data: bytes, pos: int) -> int:
    """Where the line that begins at ``pos`` ends, or -1 if that is still to come.

    Raises:
        RemoteProtocolError: it is longer than any line between chunks should be.
    """
    end = data.find(b"\r\n", pos, pos + _MAX_LINE)
    if end < 0 and len(data) - pos >= _MAX_LINE:
        raise RemoteProtocolError(f"a line between chunks exceeds {_MAX_LINE} bytes")
    return end


def parse_size(line: bytes) -> int:
    """The number in a chunk size line; ``int`` alone would take ``0x1f``, ``+1`` and ``1_0``.

    Raises:
        RemoteProtocolError: it has none.
    """
    match = _SIZE_LINE.fullmatch(line)
    if not match:
        raise RemoteProtocolError(f"bad chunk size {line[:40]!r}")
    return int(match[1], 16)
