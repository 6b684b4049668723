"""What a stream is cut into: where it is cut, and ``Way``, the pieces on their way."""

from __future__ import annotations

import random
from collections import deque
from collections.abc import Callable, Iterable
from typing import Any

Cuts = int | Iterable[int] | random.Random | None
"""Where a stream is cut: after so many bytes each, at these sizes in turn, at random, or not."""


class _Segment:
    """Something on its way."""

    __slots__ = ("content", "has_come")

    def __init__(self, content: Any) -> None:
        self.content = content
        self.has_come = False


class Way:
    """What is on its way in one direction, in order: what comes early waits for what is before it.

    Attributes:
        bytes: how many of them.
    """

    __slots__ = ("_segments", "bytes")

    def __init__(self) -> None:
        self._segments: deque[_Segment] = deque()
        self.bytes = 0

    def start(
        self, content: Any, size: int, arrived: Callable[[Any], object]
    ) -> Callable[[], None]:
        """Send something on its way, so many bytes or a mark of size 0.

        Args:
            arrived: is called with it when it has come, and everything before it.

        Returns:
            What is to be called when its time is over.
        """
        segment = _Segment(content)
        self._segments.append(segment)
        self.bytes += size

        def arrive() -> None:
            segment.has_come = True
            while self._segments and self._segments[0].has_come:
                content = self._segments.popleft().content
                if type(content) is bytes:
                    self.bytes -= len(content)
                arrived(content)

        return arrive


def taken(chunks: deque[bytes | memoryview], size: int) -> bytes:
    """So many bytes from the front of some chunks, which have as many."""
    first = chunks.popleft()
    if type(first) is bytes and len(first) == size:
        return first
    pieces = []
    while len(first) < size:
        pieces.append(first)
        size -= len(first)
        first = chunks.popleft()
    if len(first) > size:
        view = memoryview(first)
        chunks.appendleft(view[size:])
        first = view[:size]
    pieces.append(first)
    return b"".join(pieces)


def positive(name: str, number: Any) -> int:
    """The number, if it is one of bytes."""
    if not isinstance(number, int) or isinstance(number, bool):
        raise TypeError(f"{name} must be a number of bytes, got {number!r}")
    if number < 1:
        raise ValueError(f"{name} must be at least 1 byte, got {number}")
    return number


def sizes_of(cuts: Cuts) -> Callable[[int], int]:
    """What tells the size of the next segment, given the bytes there are."""
    if cuts is None:
        return lambda available: available
    if isinstance(cuts, random.Random):
        return _random_sizes(cuts)
    if isinstance(cuts, Iterable) and not isinstance(cuts, (str, bytes)):
        sizes = iter([positive("a size in cuts", size) for size in cuts])
        return lambda available: next(sizes, available)
    if not isinstance(cuts, int) or isinstance(cuts, bool):
        raise TypeError(
            f"cuts must be a number of bytes, some of them, or a random.Random, got {cuts!r}"
        )
    size = positive("cuts", cuts)
    return lambda _available: size


def _random_sizes(randomness: random.Random) -> Callable[[int], int]:
    """Sizes of all magnitudes: the ends of heads and lines are found by small ones."""

    def size(available: int) -> int:
        part = randomness.random()
        return 1 + int(available * part * part * part)

    return size
