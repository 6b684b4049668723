"""Answers in gzip, for those who ask for it, where that is worth it."""

from __future__ import annotations

import asyncio
import re

from compactor.http.response import Late, Response
from compactor.http.status import NO_CONTENT
from compactor.http.streams import Place

LEAST = 1024
"""Bytes of an answer that is compressed, as in libprocess."""

_AT_ONCE = 32 * 1024  # bytes that are compressed in less than a millisecond
_LEVEL = 1  # three times as fast as the default, for a tenth more
_WORTH_IT = re.compile(
    r"text/|application/(?:json|javascript|xml|[^;,]*\+(?:json|xml))\b|image/svg"
)


def is_worth_it(response: Response) -> bool:
    """Whether an answer becomes smaller in gzip, as far as its head tells."""
    headers = response.headers
    return (
        len(response.body) >= LEAST
        and response.status not in NO_CONTENT
        and response.status != 206
        and "Content-Encoding" not in headers
        and "Content-Length" not in headers
        and _WORTH_IT.match(headers.get("Content-Type", "").lower()) is not None
    )


def compressed(response: Response) -> Response:
    """The same answer in gzip, or what becomes of it in a thread, if that takes long."""
    if len(response.body) > _AT_ONCE:
        return Compressing(response)
    return _told(response, _gzip(response.body))


class Compressing(Late):
    """An answer that is compressed in a thread.

    Args:
        response: the answer as it is.
    """

    __slots__ = ("_response",)

    def __init__(self, response: Response) -> None:
        super().__init__()
        self._response = response

    async def begun(self, request: object, place: Place) -> Response:
        """Compress it."""
        loop = asyncio.get_running_loop()
        body = await loop.run_in_executor(None, _gzip, self._response.body)
        return _told(self._response, body)


def _gzip(body: bytes) -> bytes:
    import gzip  # few programs need it

    return gzip.compress(body, _LEVEL, mtime=0)


def _told(response: Response, body: bytes) -> Response:
    """An answer with that body, and what is to be said of it."""
    if len(body) >= len(response.body):
        return response
    found = Response(body, response.status, headers=response.headers)
    found.headers["Content-Encoding"] = "gzip"
    found.headers.add("Vary", "Accept-Encoding")
    tag = found.headers.get("ETag", "")
    if tag.startswith('"'):
        found.headers["ETag"] = f"W/{tag}"  # other bytes than those that it was for
    return found
