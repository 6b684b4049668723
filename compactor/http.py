"""``Request`` and ``Response``: what a route is given and what it answers."""

from __future__ import annotations

import functools
import http
import json
import re
import time
from collections.abc import Iterable, Iterator, Mapping
from email.utils import formatdate
from typing import Any, Final
from urllib.parse import parse_qsl

from compactor.errors import LocalProtocolError, RemoteProtocolError

TEXT: Final = "text/plain; charset=utf-8"
HTML: Final = "text/html; charset=UTF-8"
JSON: Final = "application/json"

_REQUIRED: Final = object()  # no default was given

_HEADER_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_HEADER_VALUE = re.compile(r"[\t -~\x80-\xff]*")

# libprocess keeps the phrases of RFC 2616 where later ones differ.
_PHRASES = {408: "Request Time-out", 413: "Request Entity Too Large", 504: "Gateway Time-out"}


def phrase(status: int) -> str:
    """The reason phrase of a status, e.g. ``Accepted`` for 202."""
    if status in _PHRASES:
        return _PHRASES[status]
    try:
        return http.HTTPStatus(status).phrase
    except ValueError:
        return "Unknown"


STATUS_LINES: Final[dict[int, bytes]] = {
    status: f"HTTP/1.1 {status} {phrase(status)}".encode() for status in range(100, 600)
}


@functools.lru_cache(maxsize=1024)
def header_line(name: str, value: str) -> bytes:
    """One header as it is sent, without the line's end.

    Raises:
        LocalProtocolError: it cannot be sent.
    """
    if not _HEADER_NAME.fullmatch(name) or not _HEADER_VALUE.fullmatch(value):
        raise LocalProtocolError(f"header {name!r}: {value!r} cannot be sent")
    return f"{name}: {value}".encode("latin-1")


class HttpDate:
    """The value of the ``Date`` header, made once a second."""

    __slots__ = ("_second", "_value")

    def __init__(self) -> None:
        self._second = 0
        self._value = b""

    def now(self) -> bytes:
        """The current time as RFC 1123 writes it."""
        second = int(time.time())
        if second != self._second:
            self._second = second
            self._value = formatdate(second, usegmt=True).encode()
        return self._value


class Headers(Mapping[str, str]):
    """Headers by name, whatever its case; of duplicates the last wins, as in libprocess."""

    __slots__ = ("_decoded", "_fields")

    def __init__(self, fields: Iterable[tuple[bytes, bytes]]) -> None:
        self._fields = fields
        self._decoded: dict[str, str] | None = None

    def _by_name(self) -> dict[str, str]:
        if self._decoded is None:  # few routes look at headers
            self._decoded = {n.decode("latin-1"): v.decode("latin-1") for n, v in self._fields}
        return self._decoded

    def __getitem__(self, name: str) -> str:
        return self._by_name()[name.lower()]

    def __iter__(self) -> Iterator[str]:
        return iter(self._by_name())

    def __len__(self) -> int:
        return len(self._by_name())

    def __repr__(self) -> str:
        return f"Headers({self._by_name()})"


class Response:
    """What a route answers.

    Args:
        body: ``str`` is sent as UTF-8.
        status: 200 to 599.
        content_type: by default plain text for a ``str``, none for ``bytes``.
        headers: further headers.

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
        headers: Mapping[str, str] | None = None,
    ) -> None:
        if isinstance(body, str):
            body = body.encode()
            content_type = content_type or TEXT
        elif not isinstance(body, bytes):
            raise TypeError(
                f"the body of a response must be str or bytes, got {body!r}; "
                "Response.json(value) makes one of JSON"
            )
        self.status = status
        self.body = body
        self.headers = dict(headers or {})
        if content_type:
            self.headers["Content-Type"] = content_type
        self.check()

    def check(self) -> None:
        """Check what may have been changed since it was made.

        Raises:
            LocalProtocolError: a status or header that cannot be sent.
            TypeError: a header that is no ``str``.
        """
        if not isinstance(self.status, int) or not 200 <= self.status <= 599:
            raise LocalProtocolError(
                f"the status of a response must be 200 to 599, got {self.status!r}"
            )
        for name, value in self.headers.items():
            if not isinstance(name, str) or not isinstance(value, str):
                raise TypeError(f"names and values of headers must be str, got {name!r}: {value!r}")
            header_line(name, value)

    @property
    def closes(self) -> bool:
        """Whether it is the last on its connection."""
        for name, value in self.headers.items():
            if name.lower() == "connection" and value.lower() == "close":
                return True
        return False

    @classmethod
    def json(cls, value: Any, status: int = 200) -> Response:
        """Answer ``value`` as JSON.

        Raises:
            TypeError: JSON has no form for it.
        """
        return cls(json.dumps(value).encode(), status, JSON)

    @classmethod
    def error(cls, status: int, text: str = "") -> Response:
        """Answer an error; the text is by default libprocess's ``404 Not Found.``"""
        return cls(text or f"{status} {phrase(status)}.", status)

    @classmethod
    def of(cls, value: Any) -> Response:
        """Make a response of what a route returned: a Response, str, bytes or JSON-able value.

        Raises:
            TypeError: it is none of these.
        """
        if isinstance(value, Response):
            return value
        if isinstance(value, (str, bytes)):
            return cls(value)
        if isinstance(value, (bytearray, memoryview)):
            return cls(bytes(value))
        return cls.json(value)


class NotJson(RemoteProtocolError, ValueError):
    """The client sent a body that is not JSON."""


class Draft:
    """An answer that a route puts together piece by piece, as in 0.3.0."""

    __slots__ = ("headers", "pieces", "status")

    def __init__(self) -> None:
        self.pieces: list[bytes] = []
        self.status = 200
        self.headers: dict[str, str] = {}

    def response(self) -> Response:
        """All of it."""
        headers = {"Content-Type": HTML, **self.headers}
        return Response(b"".join(self.pieces), self.status, headers=headers)


class Request:
    """One HTTP request to a route.

    Routes of compactor 0.3.0 were handed a tornado handler; what they used of it (``write``,
    ``set_status``, ``set_header``, ``get_argument``, ``finish``, ``request``) works here too.

    Attributes:
        method: e.g. ``GET``.
        path: the raw path of the target, ``/id/route``.
        query_string: what follows the ``?``, raw.
        body: the content, inflated if it came as gzip.
        peer: (ip, port) of the other end of the connection.
        draft: the answer that ``write`` and its companions have begun, if they were called.
    """

    __slots__ = (
        "_fields",
        "_headers",
        "body",
        "draft",
        "method",
        "path",
        "peer",
        "query_string",
    )

    def __init__(
        self,
        method: str,
        path: str,
        query_string: str = "",
        headers: Iterable[tuple[bytes, bytes]] = (),
        body: bytes = b"",
        peer: tuple[str, int] = ("", 0),
    ) -> None:
        self.method = method
        self.path = path
        self.query_string = query_string
        self._fields = headers
        self._headers: Headers | None = None
        self.body = body
        self.peer = peer
        self.draft: Draft | None = None

    @property
    def headers(self) -> Headers:
        """The headers by name, whatever its case."""
        if self._headers is None:
            self._headers = Headers(self._fields)
        return self._headers

    @property
    def query(self) -> dict[str, str]:
        """The query, percent-decoded; of duplicates the last wins, a missing value is empty."""
        return dict(self._query_items())

    def _query_items(self) -> list[tuple[str, str]]:
        return parse_qsl(self.query_string.replace(";", "&"), keep_blank_values=True)

    def json(self) -> Any:
        """The body parsed as JSON.

        Raises:
            NotJson: it is not JSON; a ``ValueError``, answered with 400 if it is not caught.
        """
        try:
            return json.loads(self.body)
        except (ValueError, RecursionError) as error:
            raise NotJson(f"the body is not JSON: {error}") from None

    # What 0.3.0's routes called on their tornado handler.

    @property
    def request(self) -> Request:
        """This request itself, where tornado's handler kept its."""
        return self

    @property
    def uri(self) -> str:
        """Path and query, as the client sent them."""
        return f"{self.path}?{self.query_string}" if self.query_string else self.path

    @property
    def arguments(self) -> dict[str, list[bytes]]:
        """All query arguments, each with the list of its values."""
        found: dict[str, list[bytes]] = {}
        for name, value in self._query_items():
            found.setdefault(name, []).append(value.encode())
        return found

    def get_argument(self, name: str, default: Any = _REQUIRED, strip: bool = True) -> Any:
        """The last value of a query argument, without the blanks around it if ``strip``.

        Raises:
            RemoteProtocolError: it is missing and no default was given; answered with 400.
        """
        value = self.query.get(name)
        if value is None:
            if default is _REQUIRED:
                raise RemoteProtocolError(f"the query argument {name!r} is missing")
            return default
        return value.strip() if strip else value

    def _begun(self) -> Draft:
        if self.draft is None:
            self.draft = Draft()
        return self.draft

    def write(self, chunk: Any) -> None:
        """Add ``str``, ``bytes`` or a JSON-able ``dict`` to the answer."""
        draft = self._begun()
        if isinstance(chunk, dict):
            chunk = json.dumps(chunk)
            draft.headers.setdefault("Content-Type", "application/json; charset=UTF-8")
        if isinstance(chunk, str):
            chunk = chunk.encode()
        if not isinstance(chunk, (bytes, bytearray, memoryview)):
            raise TypeError(f"write() takes str, bytes or dict, got {chunk!r}")
        draft.pieces.append(bytes(chunk))

    def set_status(self, status: int, reason: str | None = None) -> None:
        """Set the status of the answer; ``reason`` is ignored."""
        self._begun().status = status

    def set_header(self, name: str, value: Any) -> None:
        """Set a header of the answer."""
        self._begun().headers[name] = str(value)

    def finish(self, chunk: Any = None) -> None:
        """Add a last piece to the answer, which leaves when the route returns."""
        if chunk is not None:
            self.write(chunk)

    def answer(self, returned: Any) -> Response:
        """The response of a route: what it returned, with what it has written or set.

        A ``Response`` is answered as it is.  What was written stands against anything else, as
        in 0.3.0.

        Raises:
            TypeError: JSON has no form for ``returned``.
            LocalProtocolError: a status or header that cannot be sent.
        """
        draft = self.draft or Draft()
        if returned is None or (draft.pieces and not isinstance(returned, Response)):
            return draft.response()
        response = Response.of(returned)
        if response is not returned:
            response.status = draft.status
            response.headers.update(draft.headers)
        response.check()
        return response

    def __repr__(self) -> str:
        return f"<Request {self.method} {self.uri}>"
