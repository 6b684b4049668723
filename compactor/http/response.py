"""``Response``: what a route answers."""

from __future__ import annotations

import json
from datetime import datetime
from typing import Any, Final, NoReturn

from compactor.errors import LocalProtocolError
from compactor.http.accept import prefers_json
from compactor.http.cookies import SameSite, cookie_line
from compactor.http.headers import Given, ResponseHeaders
from compactor.http.status import NO_CONTENT, phrase
from compactor.wire.fields import says_close

TEXT: Final = "text/plain; charset=utf-8"
JSON: Final = "application/json"


def _no_json(value: Any) -> NoReturn:
    raise TypeError(
        f"JSON has no form for {value!r}; "
        "a route returns a Response, str, bytes or JSON, in one piece"
    )


to_json: Final = json.JSONEncoder(allow_nan=False, default=_no_json).encode
"""A value as JSON; TypeError or ValueError if JSON has no form for it."""


def check_status(status: Any) -> int:
    """The status of a response that a route gave.

    Raises:
        LocalProtocolError: it cannot be sent.
    """
    if not isinstance(status, int) or not 200 <= status <= 599:
        raise LocalProtocolError(f"the status of a response must be 200 to 599, got {status!r}")
    return status


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
        self.body = _content(self.body)
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


def _content(body: object) -> bytes:
    if isinstance(body, str):
        return body.encode()
    if isinstance(body, bytes):
        return body
    raise TypeError(
        f"the body of a response must be str or bytes, got {body!r}; "
        "Response.json(value) makes one of JSON"
    )
