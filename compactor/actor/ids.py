"""Ids for processes that were given no name."""

from __future__ import annotations

import itertools
from collections.abc import Iterator

_numbers: dict[str, Iterator[int]] = {}


class GeneratedId(str):
    """An id that nobody has chosen."""

    __slots__ = ()


def generated_id(prefix: str) -> GeneratedId:
    """An id that was not generated before in this program, as libprocess's ``ID::generate``.

    Returns:
        ``prefix(1)``, then ``prefix(2)`` and so on.
    """
    return GeneratedId(f"{prefix}({next(_numbers.setdefault(prefix, itertools.count(1)))})")
