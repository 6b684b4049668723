"""Routes over real sockets: what they may answer, how paths match, whom they reach."""

from __future__ import annotations

import asyncio
import concurrent.futures
import contextlib
import http.client
import json
from collections.abc import Callable, Generator, Iterator
from typing import Any

import pytest

from compactor import Context, Process, Request, Response
from tests.actors import TIMEOUT

Get = Callable[..., tuple[int, str | None, bytes]]


class Site(Process):
    """One route for each way to answer."""

    @Process.route("/")
    def index(self, request: Request) -> str:
        return "index"

    @Process.route("/text")
    def text(self, request: Request) -> str:
        return "text é"

    @Process.route("/bytes")
    def bytes_(self, request: Request) -> bytes:
        return b"\x00\x01"

    @Process.route("/json")
    def json_(self, request: Request) -> dict[str, Any]:
        return {"query": request.query, "body": request.body.decode()}

    @Process.route("/response")
    def response(self, request: Request) -> Response:
        return Response("made", status=201, headers={"X-Test": "yes"})

    @Process.route("/written")
    def written(self, handler: Any) -> Any:
        handler.set_status(202)
        handler.set_header("X-Test", handler.get_argument("x", "none"))
        return handler.write("<html>written</html>")

    @Process.route("/needs")
    def needs(self, handler: Any) -> str:
        return str(handler.get_argument("x"))

    @Process.route("/generator")
    def generator(self, handler: Any) -> Generator[Any, Any, None]:
        value = yield asyncio.sleep(0, "waited")
        handler.write(value)

    @Process.route("/async")
    async def async_(self, request: Request) -> str:
        await asyncio.sleep(0)
        return "async"

    @Process.route("/nested/deep")
    def deep(self, request: Request) -> str:
        return "deep"

    @Process.route("/nested")
    def nested(self, request: Request) -> str:
        return "nested"

    @Process.route("/parsed")
    def parsed(self, request: Request) -> Any:
        return request.json()

    @Process.route("/set")
    def set_(self, request: Request) -> Any:
        request.set_status(404)
        request.set_header("Content-Type", "text/x-gone")
        return "gone"

    @Process.route("/set-json")
    async def set_json(self, request: Request) -> Any:
        request.set_status(201)
        return {"made": 1}

    @Process.route("/written-and-returned")
    def written_and_returned(self, request: Request) -> Any:
        request.write("written")
        return "returned"

    @Process.route("/written-and-response")
    def written_and_response(self, request: Request) -> Any:
        request.write("written")
        return Response("response", 409)

    @Process.route("/tornado")
    def tornado(self, handler: Any) -> Any:
        return [handler.get_argument("x", default="none"), handler.get_argument("y", None, False)]

    @Process.route("/stop")
    def stop(self, request: Request) -> str:
        return str(next(iter(())))

    @Process.route("/stop-in-a-thread")
    def stop_in_a_thread(self, request: Request) -> Generator[Any, Any, None]:
        future: concurrent.futures.Future[None] = concurrent.futures.Future()
        future.set_exception(StopIteration())
        try:
            yield future
        except RuntimeError:
            request.write("no more")

    @Process.route("/strange")
    def strange(self, request: Request) -> object:
        return object()


def test_stop_iteration_of_a_route_is_a_failure_like_any_other(get: Get) -> None:
    assert get("/site/stop")[0] == 500
    assert get("/site/async")[0] == 200


@pytest.fixture
def get(make_context: Callable[..., Context]) -> Iterator[Get]:
    context = make_context(delegate="site")
    context.spawn(Site("site"))
    connection = http.client.HTTPConnection(context.ip, context.port, timeout=TIMEOUT)

    def request(path: str, method: str = "GET", body: bytes | None = None) -> Any:
        connection.request(method, path, body)
        answer = connection.getresponse()
        return answer.status, answer.getheader("Content-Type"), answer.read()

    yield request
    connection.close()


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("/site/text", (200, "text/plain; charset=utf-8", "text é".encode())),
        ("/site/bytes", (200, None, b"\x00\x01")),
        ("/site/response", (201, "text/plain; charset=utf-8", b"made")),
        ("/site/written?x=1", (202, "text/html; charset=UTF-8", b"<html>written</html>")),
        ("/site/generator", (200, "text/html; charset=UTF-8", b"waited")),
        ("/site/stop-in-a-thread", (200, "text/html; charset=UTF-8", b"no more")),
        ("/site/async", (200, "text/plain; charset=utf-8", b"async")),
        ("/site", (200, "text/plain; charset=utf-8", b"index")),
        ("/site/", (200, "text/plain; charset=utf-8", b"index")),
        ("/site/nested/deep/er", (200, "text/plain; charset=utf-8", b"deep")),
        ("/site/nested/other", (200, "text/plain; charset=utf-8", b"nested")),
        ("/s%69te/nested/", (200, "text/plain; charset=utf-8", b"nested")),
        ("/text", (200, "text/plain; charset=utf-8", "text é".encode())),  # by the delegate
        ("/site/unknown", (404, "text/plain; charset=utf-8", b"404 Not Found.")),
        ("/site/../site/text", (404, "text/plain; charset=utf-8", b"404 Not Found.")),
        ("/site/needs?x=1&x=2", (200, "text/plain; charset=utf-8", b"2")),
        ("/site/needs", (400, "text/plain; charset=utf-8", b"the query argument 'x' is missing")),
        ("/site/set", (404, "text/x-gone", b"gone")),
        ("/site/set-json", (201, "application/json", b'{"made": 1}')),
        ("/site/written-and-returned", (200, "text/html; charset=UTF-8", b"written")),
        ("/site/written-and-response", (409, "text/plain; charset=utf-8", b"response")),
        ("/site/tornado?y=%20b%20", (200, "application/json", b'["none", " b "]')),
        ("/site/tornado?x=%20a%20", (200, "application/json", b'["a", null]')),
        ("/site/strange", (500, "text/plain; charset=utf-8", b"500 Internal Server Error.")),
    ],
)
@pytest.mark.smoke
def test_routes_answer(get: Get, path: str, expected: tuple[int, str | None, bytes]) -> None:
    assert get(path) == expected


@pytest.mark.parametrize("method", ["GET", "POST", "PUT", "DELETE", "PATCH"])
def test_query_and_body_are_there_whatever_the_method(get: Get, method: str) -> None:
    status, kind, body = get("/site/json?a=1&b=%20x&a=2&c", method, b"content")
    assert (status, kind) == (200, "application/json")
    assert json.loads(body) == {"query": {"a": "2", "b": " x", "c": ""}, "body": "content"}


@pytest.mark.parametrize("body", [b"{", b"", b"\xff", b"[" * 100_000])
def test_a_body_that_is_not_json_is_the_fault_of_the_client(get: Get, body: bytes) -> None:
    status, _, text = get("/site/parsed", "POST", body)

    assert status == 400
    assert text.startswith(b"the body is not JSON: ")
    with pytest.raises(ValueError, match="not JSON"):
        Request("POST", "/", body=body).json()


def test_what_is_no_body_or_header_is_refused_with_what_helps() -> None:
    with pytest.raises(TypeError, match=r"Response\.json"):
        Response({"a": 1})  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="'X-Number': 5"):
        Response(headers={"X-Number": 5})  # type: ignore[dict-item]
    with pytest.raises(TypeError, match=r"JSON has no form for <generator.*in one piece"):
        Response.of(_answer_in_pieces())


def _answer_in_pieces() -> Iterator[str]:
    yield "piece"


def test_a_request_after_terminate_finds_nobody_at_once(
    make_context: Callable[..., Context],
) -> None:
    context = make_context()

    def status() -> int:
        connection = http.client.HTTPConnection(context.ip, context.port, timeout=TIMEOUT)
        with contextlib.closing(connection):
            connection.request("GET", "/site/text")
            return connection.getresponse().status

    statuses = []
    for _ in range(20):
        pid = context.spawn(Site("site"))
        statuses.append(status())
        context.terminate(pid)
        statuses.append(status())

    assert statuses == [200, 404] * 20


def test_headers_that_cannot_be_sent_are_refused() -> None:
    with pytest.raises(ValueError, match="cannot be sent"):
        Response(headers={"X": "a\r\nb"})
    for status in (99, 100, 199, 600):
        with pytest.raises(ValueError, match="200 to 599"):
            Response(status=status)
