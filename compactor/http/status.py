"""Statuses of HTTP: their phrases, their lines on the wire, and which have no content."""

from __future__ import annotations

import http
from typing import Final

NO_CONTENT: Final = frozenset({204, 205, 304})
"""Statuses of answers that have no content; what a route gave is left out."""

# libprocess keeps the phrases of RFC 2616 where later ones differ.
_PHRASES: Final = {int(status): status.phrase for status in http.HTTPStatus} | {
    408: "Request Time-out",
    413: "Request Entity Too Large",
    504: "Gateway Time-out",
}


def phrase(status: int) -> str:
    """The reason phrase of a status, e.g. ``Accepted`` for 202."""
    return _PHRASES.get(status, "Unknown")


STATUS_LINES: Final[dict[int, bytes]] = {
    status: f"HTTP/1.1 {status} {phrase(status)}".encode() for status in range(100, 600)
}

STOPPING: Final = b"503 This context is about to stop.\n"
"""The body of the 503 that answers what comes while a context that stops handles what it has."""
