"""Routes of one path for different HTTP methods: who serves which, and what others get."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from compactor.http.request import Request
from compactor.http.response import Response
from compactor.wire.request_head import METHODS

ANY = ""
"""Stands for all methods that no other route of the path serves."""


class RoutePath(str):
    """The path of a route that serves some methods alone.

    Attributes:
        methods: those, in the order in which they were given.
    """

    __slots__ = ("methods",)

    methods: tuple[str, ...]

    def __new__(cls, path: str, methods: Iterable[str]) -> RoutePath:
        self = super().__new__(cls, path)
        self.methods = check_methods(path, methods)
        return self


def check_methods(path: str, methods: Any) -> tuple[str, ...]:
    """The methods that a route serves.

    Raises:
        ValueError: there are none, or one that no request can have.
        TypeError: they are no list of names.
    """
    rule = 'methods is a list of names of HTTP methods, such as ["GET", "POST"]'
    if isinstance(methods, (str, bytes)) or not isinstance(methods, Iterable):
        raise TypeError(f"the route {path!r}: {rule}, not {methods!r}")
    given = tuple(dict.fromkeys(methods))
    unknown = [m for m in given if not isinstance(m, str) or m.encode() not in METHODS]
    if unknown or not given or "CONNECT" in given:
        raise ValueError(f"the route {path!r}: {rule}, not {list(given)!r}")
    return given


def methods_of(path: str) -> tuple[str, ...]:
    """The methods that the path of a route is for."""
    return path.methods if isinstance(path, RoutePath) else (ANY,)


def names_of(path: str) -> list[str]:
    """The names of what may be said of the routes of a path: one for each method."""
    return [name_of(method, path) for method in methods_of(path)]


def name_of(method: str, path: str) -> str:
    """The same for one method, which may be ``ANY``."""
    return f"{method} {path}"


def served_as(serves: Any, method: str) -> str:
    """As which method requests with a method are served, by what a class has for their path."""
    return serves.served_as(method) if isinstance(serves, ByMethod) else ANY


class ByMethod:
    """What a class has for one path, by method; it is bound to a process as one of its methods is.

    ``HEAD`` is served by the route for ``GET``, and ``OPTIONS`` is answered with the methods that
    there are, where no route is for them.

    Args:
        values: what the class has to serve each method, and ``ANY``.

    Attributes:
        given: those.
    """

    __slots__ = ("_allow", "_values", "given")

    def __init__(self, values: Mapping[str, Any]) -> None:
        self.given = dict(values)
        self._values = dict(values)
        if "GET" in values:
            self._values.setdefault("HEAD", values["GET"])
        self._allow = ", ".join(sorted({*self._values, "OPTIONS"} - {ANY}))

    def __get__(self, process: Any, cls: type[Any] | None = None) -> Callable[..., Any]:
        calls = {method: _bound(value, process) for method, value in self._values.items()}
        rest = calls.pop(ANY, self._refuse)

        def serve(request: Request, *args: Any, **kw: Any) -> Any:
            return calls.get(request.method, rest)(request, *args, **kw)

        return serve

    def served_as(self, method: str) -> str:
        """As which of the given methods one is served."""
        if method == "HEAD" and method not in self.given and "GET" in self.given:
            return "GET"
        return method if method in self.given else ANY

    def _refuse(self, request: Request, *_: Any, **__: Any) -> Response:
        allow = {"Allow": self._allow}
        if request.method == "OPTIONS":
            return Response(b"", headers=allow)
        response = Response.error(405)
        response.headers.update(allow)
        return response


def _bound(value: Any, owner: Any) -> Callable[..., Any]:
    get = getattr(type(value), "__get__", None)
    method: Callable[..., Any] = value if get is None else get(value, owner, type(owner))
    return method


def served_by(attributes: Mapping[str, str], found: Mapping[str, Any]) -> Any:
    """What serves a path.

    Args:
        attributes: the name of what serves each method.
        found: what the class has under those names.
    """
    if list(attributes) == [ANY]:
        return found[attributes[ANY]]
    return ByMethod({method: found[name] for method, name in attributes.items()})
