"""Routes for some methods alone: which is called, 405, HEAD and OPTIONS, and what is refused."""

from __future__ import annotations

import http.client
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from compactor import Context, Process, Request, Response, answer, route
from tests.actors import TIMEOUT
from tests.http.curl import curl

Ask = Callable[..., tuple[int, str | None, bytes]]


class Items(Process):
    @route("/items", methods=["GET"])
    def listed(self, request: Request) -> str:
        return "listed"

    @route("/items", methods=["POST", "PUT"])
    async def changed(self, request: Request) -> str:
        return f"changed by {request.method}"

    @route("/any")
    def any(self, request: Request) -> str:
        return f"any {request.method}"

    @route("/posted", methods=("POST",))
    def posted(self, request: Request) -> str:
        return "posted"

    @route("/own-options", methods=["OPTIONS", "HEAD", "GET"])
    def own(self, request: Request) -> str:
        return f"own {request.method}"

    @route("/store", methods=["GET"])
    def store(self, request: Request) -> str:
        return "route"

    @answer("store")
    def stored(self, from_pid: Any, body: bytes) -> bytes:
        return b"answer"


class More(Items):
    """Overrides one method of one path, and has another route beside those for all methods."""

    @route("/items", methods=["PUT"])
    def put(self, request: Request) -> str:
        return "put"

    @route("/any", methods=["DELETE"])
    def deleted(self, request: Request) -> str:
        return "deleted"

    @route("/posted")
    def whatever(self, request: Request) -> str:
        return f"whatever {request.method}"


class Watching(Items):
    """Sees all requests."""

    def handle_http(self, route: str, handler: Any, *args: Any, **kw: Any) -> Any:
        result = super().handle_http(route, handler, *args, **kw)
        return Response(f"{route}: {result}") if isinstance(result, str) else result


@pytest.fixture
def ask(make_context: Callable[..., Context]) -> Iterator[Ask]:
    context = make_context(delegate="items")
    context.spawn(Items("items"))
    context.spawn(More("more"))
    context.spawn(Watching("watching"))
    connection = http.client.HTTPConnection(context.ip, context.port, timeout=TIMEOUT)

    def request(method: str, path: str) -> tuple[int, str | None, bytes]:
        connection.request(method, path)
        response = connection.getresponse()
        return response.status, response.getheader("Allow"), response.read()

    yield request
    connection.close()


ALLOWED = "GET, HEAD, OPTIONS, POST, PUT"


@pytest.mark.parametrize(
    ("method", "path", "expected"),
    [
        ("GET", "/items/items", (200, None, b"listed")),
        ("HEAD", "/items/items", (200, None, b"")),
        ("PUT", "/items/items", (200, None, b"changed by PUT")),
        ("POST", "/items/items/below", (200, None, b"changed by POST")),
        ("DELETE", "/items/items", (405, ALLOWED, b"405 Method Not Allowed.")),
        ("OPTIONS", "/items/items", (200, ALLOWED, b"")),
        ("GET", "/items/posted", (405, "OPTIONS, POST", b"405 Method Not Allowed.")),
        ("HEAD", "/items/posted", (405, "OPTIONS, POST", b"")),
        ("POST", "/items/posted", (200, None, b"posted")),
        ("OPTIONS", "/items/own-options", (200, None, b"own OPTIONS")),
        ("PATCH", "/items/any", (200, None, b"any PATCH")),
        ("OPTIONS", "/items/any", (200, None, b"any OPTIONS")),
        ("POST", "/items/store", (405, "GET, HEAD, OPTIONS", b"405 Method Not Allowed.")),
        ("GET", "/posted", (405, "OPTIONS, POST", b"405 Method Not Allowed.")),  # of the delegate
        ("PUT", "/more/items", (200, None, b"put")),
        ("POST", "/more/items", (200, None, b"changed by POST")),
        ("GET", "/more/items", (200, None, b"listed")),
        ("DELETE", "/more/any", (200, None, b"deleted")),
        ("GET", "/more/any", (200, None, b"any GET")),
        ("OPTIONS", "/more/any", (200, None, b"any OPTIONS")),
        ("GET", "/more/posted", (200, None, b"whatever GET")),
        ("POST", "/more/posted", (200, None, b"whatever POST")),
        ("GET", "/watching/items", (200, None, b"/items: listed")),
        ("DELETE", "/watching/items", (405, ALLOWED, b"405 Method Not Allowed.")),
    ],
)
def test_the_route_for_a_method_is_called(
    ask: Ask, method: str, path: str, expected: tuple[int, str | None, bytes]
) -> None:
    assert ask(method, path) == expected
    assert ask(method, path) == expected  # from the table of known paths


def test_curl_is_told_what_is_allowed(context: Context) -> None:
    pid = context.spawn(Items("items"))
    told = curl("-i", pid.as_url("posted"))
    assert told.startswith("HTTP/1.1 405 Method Not Allowed\r\n")
    assert "\r\nAllow: OPTIONS, POST\r\n" in told


def test_head_says_how_long_the_answer_to_get_is(context: Context) -> None:
    pid = context.spawn(Items("items"))
    connection = http.client.HTTPConnection(context.ip, context.port, timeout=TIMEOUT)
    connection.request("HEAD", f"/{pid.id}/items")
    assert connection.getresponse().getheader("Content-Length") == "6"
    connection.close()


@pytest.mark.parametrize("methods", [[], ["get"], ["GET", "FETCH"], ["CONNECT"], [1], ["é"]])
def test_what_is_no_method_is_refused(methods: Any) -> None:
    with pytest.raises(ValueError, match=r"'/x': methods is a list of names.*, such as "):
        route("/x", methods=methods)


@pytest.mark.parametrize("methods", ["GET", b"GET", 5])
def test_what_is_no_list_of_methods_is_refused(methods: Any) -> None:
    with pytest.raises(TypeError, match="methods is a list of names"):
        route("/x", methods=methods)


@pytest.mark.parametrize(
    ("one", "other", "which"),
    [(["GET"], ["POST", "GET"], "GET"), (["GET"], None, "GET"), (None, ["PUT"], "PUT")],
)
def test_two_routes_of_a_class_for_one_method_are_refused(one: Any, other: Any, which: str) -> None:
    with pytest.raises(TypeError, match=rf"Twice.b and a above it both serve {which} '/x'"):

        class Twice(Process):
            @route("/x", methods=one)
            def a(self, request: Request) -> str:
                return "a"

            @route("/x", methods=other)
            def b(self, request: Request) -> str:
                return "b"


def test_one_method_of_a_class_may_serve_a_path_in_several_lines(context: Context) -> None:
    class Stacked(Process):
        @route("/x", methods=["GET"])
        @route("/x", methods=["POST"])
        @route("/y")
        def x(self, request: Request) -> str:
            return request.method

    pid = context.spawn(Stacked("stacked"))
    connection = http.client.HTTPConnection(context.ip, context.port, timeout=TIMEOUT)
    for method, path, status in [("GET", "x", 200), ("POST", "x", 200), ("PUT", "x", 405)]:
        connection.request(method, f"/{pid.id}/{path}")
        response = connection.getresponse()
        response.read()
        assert response.status == status
    connection.close()
    assert set(Stacked("s").route_paths) == {"/x", "/y"}
