"""``Response``: what a route answers."""

from __future__ import annotations

import asyncio
import functools
import os
from collections.abc import AsyncGenerator, Callable
from types import AsyncGeneratorType
from typing import TYPE_CHECKING, Any, BinaryIO, ClassVar

from compactor.errors import LocalProtocolError
from compactor.http.accept import prefers_json
from compactor.http.content import JSON, TEXT, body_of, check_status, to_json
from compactor.http.cookies import SameSite, cookie_line
from compactor.http.events import event_of
from compactor.http.headers import Given, ResponseHeaders
from compactor.http.status import NO_CONTENT, phrase
from compactor.http.streams import Place, Source, Turns, encoded
from compactor.wire.fields import says_close

if TYPE_CHECKING:
    from datetime import datetime

_NO_FILE = {404: "404 Not Found.", 503: "No more files can be opened right now."}


class Response:
    """What a route answers.

    Args:
        body: ``str`` is sent as UTF-8.
        status: 200 to 599.  Of 204, 205 and 304 no body is sent.
        content_type: by default that of ``headers``, else plain text for a ``str``, none for
            ``bytes``.
        headers: further headers, by name or as pairs; what is given here is sent instead of what
            would be sent by itself.

    Attributes:
        headers: by name, whatever its case; ``headers.add`` adds a line to those of its name.

    Raises:
        LocalProtocolError: a status or header that cannot be sent.
        TypeError: a body that is neither ``str`` nor ``bytes``, or a header that is no ``str``.
    """

    __slots__ = ("body", "headers", "status")

    def __init__(
        self,
        body: str | bytes = b"",
        status: int = 200,
        content_type: str | None = None,
        headers: Given | None = None,
    ) -> None:
        self.status = status
        self.body: bytes = body  # type: ignore[assignment]  # encoded by check()
        self.headers = ResponseHeaders(headers or ())
        if content_type:
            self.headers["Content-Type"] = content_type
        elif isinstance(body, str) and "Content-Type" not in self.headers:
            self.headers["Content-Type"] = TEXT
        self.check()

    def check(self) -> None:
        """Check what may have been changed since it was made.

        Raises:
            LocalProtocolError: a status or header that cannot be sent.
            TypeError: a body that is neither ``str`` nor ``bytes``, or a header that is no ``str``.
        """
        self.body = body_of(self.body)
        check_status(self.status)
        if not isinstance(self.headers, ResponseHeaders):
            self.headers = ResponseHeaders(self.headers)

    def check_length(self, method: str) -> None:
        """Check a ``Content-Length`` that was given: that of another body ends the connection.

        Raises:
            LocalProtocolError: it is not that of the body.
        """
        if "Content-Length" not in self.headers or self.status in NO_CONTENT:
            return
        given = self.headers["Content-Length"]
        if (self.body or method != "HEAD") and int(given) != len(self.body):
            raise LocalProtocolError(
                f"Content-Length is {given}, and the body has {len(self.body)} bytes"
            )

    def set_cookie(
        self,
        name: str,
        value: str,
        *,
        max_age: int | None = None,
        expires: datetime | None = None,
        path: str | None = "/",
        domain: str | None = None,
        secure: bool = False,
        httponly: bool = False,
        samesite: SameSite | None = "Lax",
    ) -> None:
        """Have the client keep a cookie.

        Args:
            value: what has blanks, quotes, commas, semicolons or other letters than ASCII has to be
                encoded, as by ``urllib.parse.quote``.
            max_age: seconds that it is kept; 0 has it dropped, None keeps it for the session.
            expires: the same as a time, with its zone, for old clients.
            path, domain: of the requests that it is sent with.
            secure, httponly: that it is not sent without TLS, or seen by scripts.
            samesite: whether pages of other sites may have it sent.

        Raises:
            LocalProtocolError: something that cannot be sent.
        """
        line = cookie_line(name, value, max_age, expires, path, domain, secure, httponly, samesite)
        self.headers.add("Set-Cookie", line)

    @property
    def closes(self) -> bool:
        """Whether it is the last on its connection."""
        if "Connection" not in self.headers:
            return False
        return says_close(",".join(self.headers.get_list("Connection")).encode("latin-1"))

    @classmethod
    def json(cls, value: Any, status: int = 200) -> Response:
        """Answer ``value`` as JSON.

        Raises:
            TypeError, ValueError: JSON has no form for it, as for NaN.
        """
        return cls(to_json(value).encode(), status, JSON)

    @classmethod
    def stream(
        cls,
        pieces: AsyncGenerator[Any, None],
        status: int = 200,
        content_type: str | None = None,
        headers: Given | None = None,
    ) -> Response:
        """Answer what an async generator yields, piece by piece, as the client reads it.

        Args:
            pieces: yields ``str`` or ``bytes``.
            status, content_type, headers: as for any response.

        Raises:
            TypeError: ``pieces`` is no async generator.
        """
        return Streamed(pieces, status, content_type, headers)

    @classmethod
    def file(
        cls,
        path: str | os.PathLike[str],
        content_type: str | None = None,
        headers: Given | None = None,
    ) -> Response:
        """Answer a file, or the ranges of it that the client asks for, unless it has it already.

        It is opened and read in threads, as the client reads.  404 if there is none.

        Args:
            path: whose it is, never what a client has chosen; ``Process.static`` serves folders.
            content_type: by default by the name.
            headers: further headers.
        """
        from compactor.http.files import open_named  # few programs need it

        return FileResponse(functools.partial(open_named, path), content_type, headers)

    @classmethod
    def file_below(
        cls,
        folder: str | os.PathLike[str],
        path: str,
        index: str | None = None,
        headers: Given | None = None,
    ) -> Response:
        """Answer a file below a folder, by a path that the client has chosen.

        No path leads outside, and none follows symbolic links below the folder.

        Args:
            folder: may be a link itself.
            path: of the file, raw, as ``request.below``.
            index: the file that stands for a folder whose path ends with ``/``; None for 404.
            headers: further headers.
        """
        from compactor.http.folder import open_below  # few programs need it

        place = os.fspath(folder)
        return FileResponse(functools.partial(open_below, place, path, index), None, headers)

    @classmethod
    def events(cls, events: AsyncGenerator[Any, None], headers: Given | None = None) -> Response:
        """Answer server-sent events, as the ``EventSource`` of browsers reads them.

        Args:
            events: yields the data of each: ``str`` as it is, ``bytes`` that ``Response.event`` has
                made, everything else as JSON.

        Raises:
            TypeError: ``events`` is no async generator.
        """
        response = Streamed(events, 200, "text/event-stream", headers, _encoded_event)
        response.headers.setdefault("Cache-Control", "no-cache")
        return response

    @staticmethod
    def event(
        data: Any, event: str | None = None, id: str | None = None, retry: int | None = None
    ) -> bytes:
        """One server-sent event.

        Args:
            data: ``str`` as it is, everything else as JSON.
            event: its type; ``message`` for clients if there is none.
            id: what a client that connects again says it has seen last, in ``Last-Event-ID``.
            retry: milliseconds after which a client connects again.

        Raises:
            LocalProtocolError: a type or id with the end of a line in it.
        """
        return event_of(data if isinstance(data, str) else to_json(data), event, id, retry)

    @classmethod
    def error(cls, status: int, text: str = "") -> Response:
        """Answer an error; the text is by default libprocess's ``404 Not Found.``

        A client whose ``Accept`` asks for JSON gets that instead.
        """
        return ErrorResponse(text or f"{status} {phrase(status)}.", status)

    @classmethod
    def of(cls, value: Any) -> Response:
        """Make a response of what a route returned: a Response, str, bytes or JSON-able value.

        Raises:
            TypeError, ValueError: it is none of these.
        """
        if isinstance(value, Response):
            return value
        if isinstance(value, (str, bytes)):
            return cls(value)
        if isinstance(value, (bytearray, memoryview)):
            return cls(bytes(value))
        if isinstance(value, AsyncGeneratorType):
            streamed = Streamed(value)
            streamed.is_bare = True
            return streamed
        return cls.json(value)


class ErrorResponse(Response):
    """An error, in the form that the client would rather have."""

    __slots__ = ()

    def accepted(self, accept: str) -> Response:
        """The same for a client with that ``Accept``: as text, or as JSON."""
        if not self.body or not prefers_json(accept):
            return self
        told = {
            "status": self.status,
            "error": phrase(self.status),
            "message": self.body.decode(errors="replace").strip(),
        }
        response = Response(to_json(told).encode(), self.status, headers=self.headers)
        response.headers["Content-Type"] = JSON
        return response


def _encoded_event(data: Any) -> bytes:
    return data if isinstance(data, bytes) else Response.event(data)


class Late(Response):
    """An answer of which not even the head is known when the route returns it.

    Attributes:
        task: has its head made.
        turn: done once all answers before it have been given, if somebody waits for that.
        ends_with_client: whether a client that sends no more is taken for gone.
    """

    __slots__ = ("task", "turn")

    ends_with_client: ClassVar[bool] = False
    task: asyncio.Task[None]
    turn: asyncio.Future[None] | None

    async def begun(self, request: Any, place: Place) -> Response:
        """The answer to a request, as far as it can be told now."""
        raise NotImplementedError


class Streamed(Late):
    """An answer in pieces.

    Attributes:
        pieces: the generator.
        encode: makes bytes of what it yields.
        source: gives the pieces behind the first, once that is there.
        first: it; None if there are no pieces.
        is_bare: whether the route has returned the generator alone.
    """

    __slots__ = ("encode", "first", "is_bare", "pieces", "source")

    ends_with_client = True

    def __init__(
        self,
        pieces: AsyncGenerator[Any, None] | None,
        status: int = 200,
        content_type: str | None = None,
        headers: Given | None = None,
        encode: Callable[[Any], bytes] | None = None,
    ) -> None:
        if pieces is not None and not isinstance(pieces, AsyncGeneratorType):
            raise TypeError(
                f"an answer in pieces is made of an async generator, not {pieces!r}: call one"
            )
        super().__init__(b"", status, content_type, headers)
        self.pieces = pieces
        self.is_bare = False
        self.encode = encode or encoded
        self.source: Source | None = None
        self.first: bytes | None = None

    async def begun(self, request: Any, place: Place) -> Response:
        """Make the first piece, so that a generator that fails at once is answered with 500."""
        assert self.pieces is not None
        source = self.source = Turns(self.pieces, self.encode, place, str(request))
        if request.method == "HEAD":
            return self
        try:
            self.first = await source.next()
        except BaseException:
            source.close()
            raise
        if self.is_bare and request.draft is not None:  # of its first steps
            self.status = request.draft.status
            self.headers.update(request.draft.headers)
        if source.was_text and "Content-Type" not in self.headers:
            self.headers["Content-Type"] = TEXT
        return self


class FileResponse(Late):
    """A file.

    Args:
        open_it: opens it, and tells its name.
        kind: its content type.
        headers: further headers.
    """

    __slots__ = ("_kind", "_open")

    def __init__(
        self,
        open_it: Callable[[], tuple[BinaryIO, str]],
        kind: str | None,
        headers: Given | None,
    ) -> None:
        super().__init__(b"", headers=headers)
        self._open = open_it
        self._kind = kind or self.headers.get("Content-Type")

    async def begun(self, request: Any, place: Place) -> Response:
        """Open the file; what there is of it."""
        from compactor.http.files import opened

        found = await opened(self._open, request.headers, request.method, self._kind)
        if found.source is None:
            if found.status in (404, 503):
                error = ErrorResponse(_NO_FILE[found.status], found.status)
                return error.accepted(request.headers.get("Accept", ""))
            return Response(b"", found.status, headers=found.headers)
        streamed = Streamed(None, found.status, headers=self.headers)
        streamed.source = found.source
        for name, value in found.headers.items():
            if name == "Content-Type" or name not in streamed.headers:
                streamed.headers[name] = value
        if request.method != "HEAD":
            try:
                streamed.first = await found.source.next()
            except BaseException:
                found.source.close()
                raise
        return streamed
