"""``Request``: what a route is given, and what 0.3.0's routes did with their tornado handler."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Iterable
from typing import TYPE_CHECKING, Any, Final

from compactor.errors import RemoteProtocolError
from compactor.http.content import check_status, to_json
from compactor.http.cookies import cookies_of
from compactor.http.forms import Form, form_of, pairs_of
from compactor.http.headers import Headers, ResponseHeaders
from compactor.http.response import ErrorResponse, Response

if TYPE_CHECKING:
    from compactor.http.principal import Principal

HTML: Final = "text/html; charset=UTF-8"

_REQUIRED: Final = object()  # no default was given


class NotJson(RemoteProtocolError, ValueError):
    """The client sent a body that is not JSON."""


class Draft:
    """An answer that a route puts together piece by piece, as in 0.3.0."""

    __slots__ = ("headers", "pieces", "status")

    def __init__(self) -> None:
        self.pieces: list[bytes] = []
        self.status = 200
        self.headers = ResponseHeaders()

    def response(self) -> Response:
        """All of it."""
        self.headers.setdefault("Content-Type", HTML)
        return Response(b"".join(self.pieces), self.status, headers=self.headers)


class Request:
    """One HTTP request to a route.

    Routes of compactor 0.3.0 were handed a tornado handler; what they used of it (``write``,
    ``set_status``, ``set_header``, ``add_header``, ``get_argument``, ``finish``, ``request``) works
    here too.

    Attributes:
        method: e.g. ``GET``.
        path: the raw path of the target, ``/id/route``.
        query_string: what follows the ``?``, raw.
        body: the content, inflated if it came as gzip or deflate.
        peer: (ip, port) of the other end of the connection.
        draft: the answer that ``write`` and its companions have begun, if they were called.
    """

    __slots__ = (
        "_arguments",
        "_below",
        "_fields",
        "_headers",
        "_let_in",
        "_path_params",
        "_pieces",
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
        self._arguments: list[tuple[bytes, bytes]] | None = None
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
    def path_params(self) -> dict[str, str]:
        """The parameters of the path, percent-decoded; none is empty or contains a ``/``."""
        try:
            return self._path_params
        except AttributeError:  # most routes have none, and do not wait for this to be set
            return {}

    @path_params.setter
    def path_params(self, values: dict[str, str]) -> None:
        self._path_params = values

    @property
    def below(self) -> str:
        """What follows the path of the route in that of the request, raw: empty, or ``/a/b``."""
        try:
            return self._below
        except AttributeError:
            return ""

    @below.setter
    def below(self, rest: str) -> None:
        self._below = rest

    @property
    def principal(self) -> Principal | None:
        """Who has sent it, if its route is in a realm or has an authorizer; else None."""
        passed = getattr(self, "_let_in", None)
        return None if passed is None else passed[1]

    def let_in(self, lock: Any, principal: Principal | None) -> None:
        """Remember what was looked at, and found right, before it is served."""
        self._let_in = (lock, principal)

    @property
    def is_guarded(self) -> bool:
        """Whether anybody has looked at who has sent it."""
        return hasattr(self, "_let_in")

    def is_let_in(self, lock: Any) -> bool:
        """Whether that was looked at."""
        passed = getattr(self, "_let_in", None)
        return passed is not None and passed[0] == lock

    @property
    def query(self) -> dict[str, str]:
        """The query, percent-decoded; of duplicates the last wins, a missing value is empty.

        Raises:
            RemoteProtocolError: it has more than 1000 arguments; answered with 400.
        """
        return {
            name.decode(errors="replace"): value.decode(errors="replace")
            for name, value in self._query_items()
        }

    def _query_items(self) -> list[tuple[bytes, bytes]]:
        if self._arguments is None:
            query = self.query_string.encode("utf-8", "surrogateescape")
            self._arguments = pairs_of(query, "the query")
        return self._arguments

    def json(self) -> Any:
        """The body parsed as JSON.

        Raises:
            NotJson: it is not JSON; a ``ValueError``, answered with 400 if it is not caught.
        """
        try:
            return json.loads(self.body)
        except (ValueError, RecursionError) as error:
            raise NotJson(f"the body is not JSON: {error}") from None

    async def stream(self) -> AsyncIterator[bytes]:
        """The body, piece by piece: as it comes, if the route has ``stream=True``.

        Each piece is there once.  When the answer begins, what was not read is dropped.

        Raises:
            RemoteProtocolError: the client leaves before the end; answered with 400.
        """
        pieces = getattr(self, "_pieces", None)
        if pieces is not None:
            async for piece in pieces:
                yield piece
        elif self.body:
            yield self.body

    @property
    def pieces(self) -> AsyncIterator[bytes] | None:
        """The body of a route with ``stream=True``, if it was not there at once."""
        return getattr(self, "_pieces", None)

    @pieces.setter
    def pieces(self, pieces: AsyncIterator[bytes]) -> None:
        self._pieces = pieces

    def form(self) -> Form:
        """The fields of a form, URL-encoded or in parts; files are ``Upload``.

        Raises:
            RemoteProtocolError: the body is none, has more than 1000 fields, or more than 8 MiB
                without files; answered with 400, 413 or 415.
            MissingPackage: it has parts, and what the extra ``forms`` brings is not installed.
        """
        return form_of(self.headers.get("Content-Type", ""), self.body)

    @property
    def cookies(self) -> dict[str, str]:
        """The cookies of the client by name, as they were sent."""
        return cookies_of(self.headers.get("Cookie", ""))

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
        """All query arguments, each with the list of its values.

        Raises:
            RemoteProtocolError: there are more than 1000; answered with 400.
        """
        found: dict[str, list[bytes]] = {}
        for name, value in self._query_items():
            found.setdefault(name.decode(errors="replace"), []).append(value)
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
            chunk = to_json(chunk)
            draft.headers.setdefault("Content-Type", "application/json; charset=UTF-8")
        if isinstance(chunk, str):
            chunk = chunk.encode()
        if not isinstance(chunk, (bytes, bytearray, memoryview)):
            raise TypeError(f"write() takes str, bytes or dict, got {chunk!r}")
        draft.pieces.append(bytes(chunk))

    def set_status(self, status: int, reason: str | None = None) -> None:
        """Set the status of the answer; ``reason`` is ignored."""
        self._begun().status = check_status(status)

    def set_header(self, name: str, value: Any) -> None:
        """Set a header of the answer."""
        self._begun().headers[name] = str(value)

    def add_header(self, name: str, value: Any) -> None:
        """Add a header to the answer, besides those of that name, such as ``Set-Cookie``."""
        self._begun().headers.add(name, str(value))

    def finish(self, chunk: Any = None) -> None:
        """Add a last piece to the answer, which leaves when the route returns."""
        if chunk is not None:
            self.write(chunk)

    def answer(self, returned: Any) -> Response:
        """The response of a route: what it returned, with what it has written or set.

        A ``Response`` is answered as it is.  What was written stands against anything else, as
        in 0.3.0.

        Raises:
            TypeError, ValueError: JSON has no form for ``returned``.
            LocalProtocolError: a status or header that cannot be sent.
        """
        draft = self.draft or Draft()
        if returned is None or (draft.pieces and not isinstance(returned, Response)):
            response = draft.response()
        else:
            response = Response.of(returned)
            if response is not returned:
                response.status = draft.status
                response.headers.update(draft.headers)
            response.check()
        if isinstance(response, ErrorResponse):
            response = response.accepted(self.headers.get("Accept", ""))
        response.check_length(self.method)
        return response

    def __repr__(self) -> str:
        return f"<Request {self.method} {self.uri}>"
