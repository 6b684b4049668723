"""Routes with parameters in their paths: what matches, what comes first, and what is refused."""

from __future__ import annotations

import http.client
import json
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from compactor import Context, Process, Request, route
from compactor.actor.patterns import Patterns
from tests.actors import TIMEOUT

Get = Callable[..., tuple[int, Any]]


class Shop(Process):
    @route("/items")
    def items(self, request: Request) -> Any:
        return ["items", request.path_params]

    @route("/items/new")
    def new(self, request: Request) -> Any:
        return ["new", request.path_params]

    @route("/items/{item}", methods=["GET"])
    def item(self, request: Request) -> Any:
        return ["item", request.path_params]

    @route("/items/{item}", methods=["DELETE"])
    async def deleted(self, request: Request) -> Any:
        return ["deleted", request.path_params]

    @route("/a/{x}/c")
    def one(self, request: Request) -> Any:
        return ["one", request.path_params]

    @route("/{y}/b/d")
    def other(self, request: Request) -> Any:
        return ["other", request.path_params]


@pytest.fixture
def get(make_context: Callable[..., Context]) -> Iterator[Get]:
    context = make_context(delegate="shop")
    context.spawn(Shop("shop"))
    connection = http.client.HTTPConnection(context.ip, context.port, timeout=TIMEOUT)

    def request(path: str, method: str = "GET") -> tuple[int, Any]:
        connection.request(method, path)
        answer = connection.getresponse()
        body = answer.read()
        return answer.status, json.loads(body) if answer.status == 200 else None

    yield request
    connection.close()


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("/shop/items/1", ["item", {"item": "1"}]),
        ("/shop/items/1/", ["item", {"item": "1"}]),
        ("/shop/items/1?item=2", ["item", {"item": "1"}]),
        ("/shop/items/a%20b+c", ["item", {"item": "a b+c"}]),
        ("/shop/items/%C3%A9", ["item", {"item": "é"}]),
        ("/shop/items/%252F", ["item", {"item": "%2F"}]),
        ("/shop/items/%FF", ["item", {"item": "\ufffd"}]),
        ("/shop/items/{item}", ["item", {"item": "{item}"}]),
        ("/shop/items/new", ["new", {}]),  # exact before a pattern
        ("/shop/items", ["items", {}]),
        ("/shop/items/1/2", ["items", {}]),  # no pattern matches, and a leading part does
        ("/shop/items/a%2Fb", ["items", {}]),
        ("/shop/items/%2e%2e", ["items", {}]),
        ("/shop/items/%zz", ["items", {}]),
        ("/shop/a/b/c", ["one", {"x": "b"}]),
        ("/shop/a/b/d", ["other", {"y": "a"}]),
        ("/items/7", ["item", {"item": "7"}]),  # by the delegate
    ],
)
def test_parameters_are_parts_of_the_path(get: Get, path: str, expected: Any) -> None:
    assert get(path) == (200, expected)
    assert get(path) == (200, expected)


@pytest.mark.parametrize("path", ["/shop/a/b", "/shop/a/b%2f/c", "/shop/a//c", "/shop/a/b/c/e"])
def test_what_matches_no_pattern_is_not_found(get: Get, path: str) -> None:
    assert get(path)[0] == 404


def test_methods_and_parameters_go_together(get: Get) -> None:
    assert get("/shop/items/1", "DELETE") == (200, ["deleted", {"item": "1"}])
    assert get("/shop/items/1", "PUT")[0] == 405


def test_an_override_sees_the_pattern_and_its_values(
    make_context: Callable[..., Context],
) -> None:
    class Watching(Shop):
        def handle_http(self, route: str, handler: Any, *args: Any, **kw: Any) -> Any:
            return [route, handler.path_params]

    context = make_context()
    context.spawn(Watching("shop"))
    connection = http.client.HTTPConnection(context.ip, context.port, timeout=TIMEOUT)
    connection.request("GET", "/shop/items/5")
    assert json.loads(connection.getresponse().read()) == ["/items/{item}", {"item": "5"}]
    connection.close()


@pytest.mark.parametrize(
    ("path", "why"),
    [
        ("/items/{}", "is no parameter"),
        ("/items/{a b}", "is no parameter"),
        ("/items/{item", "is no parameter"),
        ("/items/item}", "is no parameter"),
        ("/items/x{item}", "is no parameter"),
        ("/items/{{item}}", "is no parameter"),
        ("/items/{a}{b}", "is no parameter"),
        ("/{a}/{a}", "is there twice"),
        ("/items//{item}", "no path of a request can have"),
        ("/items?x/{item}", "no path of a request can have"),
        ("/a b/{item}", "no path of a request can have"),
        ("/../{item}", "no path of a request can have"),
    ],
)
def test_a_pattern_that_cannot_match_is_refused(path: str, why: str) -> None:
    with pytest.raises(ValueError, match=why):
        route(path)


def test_an_exact_path_that_cannot_match_is_refused_with_methods() -> None:
    with pytest.raises(ValueError, match="no path of a request can have"):
        route("/a?b", methods=["GET"])


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("/items/{a}", "/items/{b}"),
        ("/items/{a}/x", "/items/new/{b}"),
        ("/{a}/b", "/a/{b}"),
    ],
)
def test_patterns_that_overlap_are_refused(one: str, other: str) -> None:
    with pytest.raises(TypeError, match=rf"Twice: .*{one!r} and {other!r} overlap"):

        class Twice(Process):
            @route(one, methods=["GET"])
            def a(self, request: Request) -> str:
                return "a"

            @route(other, methods=["POST"])
            def b(self, request: Request) -> str:
                return "b"


def test_patterns_that_overlap_with_those_of_a_base_are_refused() -> None:
    with pytest.raises(TypeError, match=r"Sub: .* overlap"):

        class Sub(Shop):
            @route("/items/{other}")
            def a(self, request: Request) -> str:
                return "a"


def test_an_override_may_have_another_pattern() -> None:
    class Sub(Shop):
        @route("/things/{item}")
        def item(self, request: Request) -> str:
            return "a"

    assert "/things/{item}" in Sub("sub").route_paths


def test_looking_for_a_pattern_takes_time_by_the_length_of_the_path() -> None:
    patterns = Patterns(["/{a}/{b}/{c}/{d}/x/{e}", "/{a}/x"], ())

    def seconds(size: int) -> float:
        path = "y/" * size
        best = 1e9
        for _ in range(5):
            began = time.perf_counter()
            assert patterns.match(path + "z") is None
            best = min(best, time.perf_counter() - began)
        return best

    seconds(1000)
    assert seconds(40_000) < 200 * max(seconds(1_000), 2e-6)
