"""Routes whose paths have parameters, as ``/items/{item}``, and what a request gives for those."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterable
from typing import Any

from compactor.http.request import Request
from compactor.wire.escapes import unescaped

_UNFIT = re.compile(r"[\x00-\x20\x7f?#]")  # no path of a request has them
_NO_VALUES = ("", ".", "..")

Values = dict[str, str]


def is_pattern(path: str) -> bool:
    """Whether the path of a route has parameters."""
    return "{" in path or "}" in path


def check_pattern(path: str) -> None:
    """Look at the path of a route that may have parameters.

    Raises:
        ValueError: a parameter is malformed, or no request can match.
    """
    names: set[str] = set()
    for part in path[1:].split("/") if path != "/" else ():
        what = f"the route {path!r}: {part!r}"
        if is_pattern(part):
            name = _name_of(part)
            if name is None:
                raise ValueError(
                    f"{what} is no parameter, which is a whole part of the path with a name in "
                    "braces, such as '/items/{item}'"
                )
            if name in names:
                raise ValueError(f"{what} is there twice; each parameter has a name of its own")
            names.add(name)
        elif not part or part == "." or part.startswith("..") or _UNFIT.search(part):
            raise ValueError(f"{what} is a part that no path of a request can have")


def _name_of(part: str) -> str | None:
    """The name of a parameter; None if the part is none."""
    name = part[1:-1]
    return name if part == f"{{{name}}}" and name.isidentifier() else None


class _Node:
    """What may follow some parts of a path.

    Attributes:
        parts: the next part, if it is one of these.
        other: if it is a parameter.
        path: the pattern that ends here.
    """

    __slots__ = ("other", "parts", "path")

    def __init__(self) -> None:
        self.parts: dict[str, _Node] = {}
        self.other: _Node | None = None
        self.path: str | None = None


class Patterns:
    """Finds the pattern that a path matches; there is at most one.

    No more parts of a path are looked at than the longest pattern has, and no more nodes than all
    patterns have parts.

    Args:
        paths: the patterns, each of which ``check_pattern`` let pass.
        exact: the paths of other routes, which come first.

    Raises:
        TypeError: two patterns match the same paths.
    """

    __slots__ = ("_exact", "_most", "_root")

    def __init__(self, paths: Iterable[str], exact: Collection[str]) -> None:
        self._exact = exact
        self._root = _Node()
        split = {str(path): path[1:].split("/") for path in paths}
        self._most = max(map(len, split.values()))
        for path, parts in split.items():
            for other, others in split.items():
                if other != path and _overlap(parts, others):
                    raise TypeError(
                        f"the routes {path!r} and {other!r} overlap: some paths match both"
                    )
            self._add(path, parts)

    def _add(self, path: str, parts: list[str]) -> None:
        node = self._root
        for part in parts:
            if is_pattern(part):
                node.other = node.other or _Node()
                node = node.other
            else:
                node = node.parts.setdefault(part, _Node())
        node.path = path

    def match(self, rest: str) -> tuple[str, Values] | None:
        """The pattern for what follows the id in a path, and the values of its parameters."""
        path = rest.strip("/")
        if f"/{path}" in self._exact:
            return None
        parts = path.split("/", self._most)
        found = _find(self._root, parts, 0) if len(parts) <= self._most else None
        if found is None:
            return None
        values: Values = {}
        for name, part in zip(found[1:].split("/"), parts, strict=True):
            if is_pattern(name):
                value = _value(part)
                if value is None:
                    return None
                values[name[1:-1]] = value
        return found, values


def _overlap(parts: list[str], others: list[str]) -> bool:
    return len(parts) == len(others) and all(
        one == other or is_pattern(one) or is_pattern(other)
        for one, other in zip(parts, others, strict=True)
    )


def _find(node: _Node, parts: list[str], at: int) -> str | None:
    """The pattern among those behind a node that the parts from one on match."""
    if at == len(parts):
        return node.path
    found = None
    if (known := node.parts.get(parts[at])) is not None:
        found = _find(known, parts, at + 1)
    if found is None and node.other is not None:
        found = _find(node.other, parts, at + 1)
    return found


def _value(part: str) -> str | None:
    """A part of a path, decoded; None if that is no single part any more."""
    try:
        value = unescaped(part.encode("utf-8", "surrogateescape")).decode(errors="replace")
    except ValueError:
        return None
    return None if value in _NO_VALUES or "/" in value else value


def with_values(call: Callable[[Request], Any], values: Values) -> Callable[[Request], Any]:
    """A call that is given requests whose path has those parameters."""

    def serve(request: Request) -> Any:
        request.path_params = values
        return call(request)

    return serve


def with_below(call: Callable[[Request], Any], below: str) -> Callable[[Request], Any]:
    """A call that is given requests whose path goes on behind that of the route."""

    def serve(request: Request) -> Any:
        request.below = below
        return call(request)

    return serve
