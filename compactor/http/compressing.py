"""Answers in gzip, for those who ask for it, where that is worth it."""

from __future__ import annotations

import asyncio

from compactor.http.compressed_pieces import AT_ONCE, LEVEL, CompressedPieces
from compactor.http.content import LEAST_IN_GZIP, is_compressible
from compactor.http.headers import ResponseHeaders
from compactor.http.response import Late, Response, Streamed
from compactor.http.status import NO_CONTENT
from compactor.http.streams import Place


def is_worth_it(response: Response) -> bool:
    """Whether an answer becomes smaller in gzip, as far as its head tells."""
    return len(response.body) >= LEAST_IN_GZIP and _may_be(response)


def _may_be(response: Response) -> bool:
    """Whether an answer may be sent in gzip, however long it is."""
    headers = response.headers
    return (
        response.status not in NO_CONTENT
        and response.status != 206
        and "Content-Encoding" not in headers
        and "Content-Length" not in headers
        and is_compressible(headers.get("Content-Type", ""))
    )


def compressed(response: Response) -> Response:
    """The same answer in gzip, or what becomes of it in a thread, if that takes long."""
    if len(response.body) > AT_ONCE:
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

    return gzip.compress(body, LEVEL, mtime=0)


def _told(response: Response, body: bytes) -> Response:
    """An answer with that body, and what is to be said of it."""
    if len(body) >= len(response.body):
        return response
    found = Response(body, response.status, headers=response.headers)
    _tell(found.headers)
    return found


def _tell(headers: ResponseHeaders) -> None:
    headers["Content-Encoding"] = "gzip"
    headers.add("Vary", "Accept-Encoding")
    tag = headers.get("ETag", "")
    if tag.startswith('"'):
        headers["ETag"] = f"W/{tag}"  # other bytes than those that it was for


async def compressed_stream(response: Streamed, method: str) -> Streamed:
    """The same answer in pieces in gzip, if that is worth it, or as it is.

    Args:
        response: its first piece is there.
        method: of the request.
    """
    source = response.source
    if (
        source is None
        or not _may_be(response)
        or (source.length is not None and source.length < LEAST_IN_GZIP)
        or (response.first is None and method != "HEAD")  # there is nothing to compress
    ):
        return response
    pieces = CompressedPieces(source)
    if response.first is not None:
        try:
            response.first = await pieces.pack(response.first)
        except BaseException:
            pieces.close()
            raise
    response.source = pieces
    _tell(response.headers)
    response.headers.pop("Accept-Ranges", None)  # of other bytes
    return response
