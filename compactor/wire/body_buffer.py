"""``BodyBuffer``: the place of a large body whose bytes are still to come; and sizes of bodies."""

from __future__ import annotations

from typing import Any

_FEW = 8  # bodies that may be large


class BodyBuffer:
    """Room for the bytes of one body, which a socket fills.

    Args:
        size: its bytes.
    """

    __slots__ = ("_bytes",)

    def __init__(self, size: int) -> None:
        self._bytes = bytearray(size)

    def view(self) -> memoryview:
        """What can be written to, until ``take``."""
        return memoryview(self._bytes)

    def take(self) -> bytes:
        """The body, once it is all there."""
        return bytes(self._bytes)


def bytes_of(events: list[Any], first: int, end: int) -> int:
    """Bytes of the bodies in a part of a list of heads and bodies."""
    bodies = events[first + 1 : end : 2]
    if len(bodies) > _FEW:
        return len(b"".join(bodies))  # those of one read are small: quicker than to ask each
    return sum(map(len, bodies))
