"""``Timed``: an ``async`` handler whose steps are timed: which one held the loop, and how long."""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Generator
from typing import Any

from compactor.system import clock


class Timed(Coroutine[Any, Any, Any]):
    """A coroutine that tells of steps that take long; all else is as without it.

    Args:
        coroutine: whose steps they are.
        slow_after: seconds that a step may take.
        tell: called with the seconds of one that took longer.
    """

    def __init__(
        self,
        coroutine: Coroutine[Any, Any, Any],
        slow_after: float,
        tell: Callable[[float], Any],
    ) -> None:
        self._coroutine = coroutine
        self._slow_after = slow_after
        self._tell = tell

    def send(self, value: Any) -> Any:
        return self._step(self._coroutine.send, value)

    def throw(self, *error: Any) -> Any:
        return self._step(self._coroutine.throw, *error)

    def _step(self, step: Callable[..., Any], *args: Any) -> Any:
        began = clock.now()
        try:
            return step(*args)
        finally:
            seconds = clock.now() - began
            if seconds > self._slow_after:
                self._tell(seconds)

    def close(self) -> None:
        self._coroutine.close()

    def __await__(self) -> Generator[Any, Any, Any]:
        raise TypeError("only the task that it is made for steps through it")

    def __getattr__(self, name: str) -> Any:
        return getattr(self._coroutine, name)  # asyncio shows tasks by cr_code and cr_frame
