"""Server-sent events: the lines that the ``EventSource`` of browsers reads."""

from __future__ import annotations

import re

from compactor.errors import LocalProtocolError

_LINES = re.compile("\r\n|\r|\n")


def event_of(data: str, event: str | None, id_: str | None, retry: int | None) -> bytes:
    """The lines of one event; ``Response.event`` tells of the arguments."""
    lines = []
    for name, value in (("event", event), ("id", id_)):
        if value is not None:
            if not isinstance(value, str) or _LINES.search(value) or "\0" in value:
                raise LocalProtocolError(f"{value!r} cannot be the {name} of a server-sent event")
            lines.append(f"{name}: {value}")
    if retry is not None:
        if type(retry) is not int or retry < 0:
            raise LocalProtocolError(f"retry must be whole milliseconds, got {retry!r}")
        lines.append(f"retry: {retry}")
    lines += [f"data: {line}" for line in _LINES.split(data)]
    return "\n".join([*lines, "\n"]).encode()
