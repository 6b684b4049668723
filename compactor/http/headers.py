"""Header fields by name, whatever its case: those of a request, and those of a response."""

from __future__ import annotations

import functools
import re
from collections.abc import Iterable, Iterator, Mapping, MutableMapping
from typing import TypeAlias

from compactor.errors import LocalProtocolError

_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_VALUE = re.compile(r"[\t -~\x80-\xff]*")
_MAX_CACHED = 256  # characters of a value: peers may have chosen it
_ONE_ALONE = {"content-length", "content-type", "date"}  # two of these contradict each other

Given: TypeAlias = "Mapping[str, str] | Iterable[tuple[str, str]]"
"""Headers as a program gives them: by name, or as pairs of name and value."""


def header_line(name: str, value: str) -> bytes:
    """One header as it is sent, without the line's end.

    Raises:
        LocalProtocolError: it cannot be sent.
    """
    return _cached_line(name, value) if len(value) <= _MAX_CACHED else _line(name, value)


def _line(name: str, value: str) -> bytes:
    if not _NAME.fullmatch(name) or not _VALUE.fullmatch(value):
        raise LocalProtocolError(f"header {name!r}: {value!r} cannot be sent")
    if name.lower() == "content-length" and not (value.isascii() and value.isdigit()):
        raise LocalProtocolError(f"Content-Length must be a number of bytes, got {value!r}")
    return f"{name}: {value}".encode("latin-1")


_cached_line = functools.lru_cache(maxsize=1024)(_line)


class Headers(Mapping[str, str]):
    """Headers of a request; of duplicates the last wins, as in libprocess."""

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


class ResponseHeaders(MutableMapping[str, str]):
    """Headers of a response; a name may have several lines, as ``Set-Cookie`` does.

    ``headers[name]`` is the last value of a name; to set it replaces them all.

    Args:
        given: by name, or as pairs, of which none replaces another.

    Raises:
        LocalProtocolError: a header cannot be sent, or one that stands alone is given twice.
        TypeError: a name or value is no ``str``.
    """

    __slots__ = ("_lines",)

    def __init__(self, given: Given = ()) -> None:
        self._lines: dict[str, list[tuple[str, str]]] = {}
        if given:
            if isinstance(given, ResponseHeaders):
                given = given.get_all()
            elif type(given) is dict or isinstance(given, Mapping):
                given = given.items()  # pyright: ignore[reportAssignmentType]
            elif not isinstance(given, Iterable):
                raise TypeError(f"headers must be a mapping or pairs, got {given!r}")
            for name, value in given:
                self.add(name, value)

    def add(self, name: str, value: str) -> None:
        """Add a line, besides those that the name has already."""
        _check(name, value)
        lowered = name.lower()
        lines = self._lines.get(lowered)
        if lines is None:
            self._lines[lowered] = [(name, value)]
        elif lowered in _ONE_ALONE:
            raise LocalProtocolError(f"{name} is given twice, as {lines[0][1]!r} and {value!r}")
        else:
            lines.append((name, value))

    def get_list(self, name: str) -> list[str]:
        """All values of a name."""
        return [value for _, value in self._lines.get(name.lower(), ())]

    def get_all(self) -> list[tuple[str, str]]:
        """All lines, as pairs of name and value."""
        return [line for lines in self._lines.values() for line in lines]

    def update(self, given: Given = (), /, **named: str) -> None:  # type: ignore[override]
        """Set headers, by name or as pairs; lines of one name replace all that there were of it."""
        for headers in (ResponseHeaders(given), ResponseHeaders(named)):
            self._lines.update(headers._lines)

    def __contains__(self, name: object) -> bool:
        return isinstance(name, str) and name.lower() in self._lines

    def __getitem__(self, name: str) -> str:
        return self._lines[name.lower()][-1][1]

    def __setitem__(self, name: str, value: str) -> None:
        _check(name, value)
        self._lines[name.lower()] = [(name, value)]

    def __delitem__(self, name: str) -> None:
        del self._lines[name.lower()]

    def __iter__(self) -> Iterator[str]:
        return (lines[-1][0] for lines in self._lines.values())

    def __len__(self) -> int:
        return len(self._lines)

    def __repr__(self) -> str:
        return f"ResponseHeaders({self.get_all()})"


def _check(name: object, value: object) -> None:
    if not isinstance(name, str) or not isinstance(value, str):
        raise TypeError(f"names and values of headers must be str, got {name!r}: {value!r}")
    header_line(name, value)
