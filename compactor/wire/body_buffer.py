"""``Body``: the place of a large body whose bytes are still to come."""

from __future__ import annotations


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
