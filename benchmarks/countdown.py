"""`Countdown`: says when a batch of messages has been received."""

from __future__ import annotations

from typing import Generic, Protocol, TypeVar


class Flag(Protocol):
    """An event of asyncio, for a waiting coroutine, or of threading, for a waiting thread."""

    def set(self) -> None: ...
    def clear(self) -> None: ...
    def is_set(self) -> bool: ...


AnyFlag = TypeVar("AnyFlag", bound=Flag)


class Countdown(Generic[AnyFlag]):
    """Sets a flag when as many messages have been received as are expected."""

    def __init__(self, is_done: AnyFlag) -> None:
        self.left = 0
        self.is_done = is_done

    def expect(self, number: int) -> None:
        self.left = number
        self.is_done.clear()

    def received(self) -> None:
        self.left -= 1
        if not self.left:
            self.is_done.set()
