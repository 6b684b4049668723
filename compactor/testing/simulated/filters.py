"""``Filter``: which messages are dropped, delayed or repeated on their way to handlers."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from compactor.pid import PID
from compactor.testing.simulated.observing import SimulatedMessage


class Pattern:
    """What is asked of a message; what is None may be anything.

    Args:
        name: its name.
        to, sender: a pid, or a process.
        body: its content; or a function that is given it, and returns whether it fits.

    Raises:
        TypeError: one of them is something else.
    """

    def __init__(
        self,
        name: str | None = None,
        to: Any = None,
        sender: Any = None,
        body: bytes | Callable[[bytes], bool] | None = None,
    ) -> None:
        if name is not None and not isinstance(name, str):
            raise TypeError(f"name must be the name of a message, got {name!r}")
        if body is not None and not (isinstance(body, bytes) or callable(body)):
            raise TypeError(f"body must be bytes, or a function of bytes, got {body!r}")
        self.name = name
        self.to = pid_of(to, "to")
        self.sender = pid_of(sender, "sender")
        self.body = body

    def fits(self, message: SimulatedMessage) -> bool:
        """Whether a message is one of those."""
        body = self.body
        return (
            (self.name is None or message.name == self.name)
            and (self.to is None or message.to == self.to)
            and (self.sender is None or message.sender == self.sender)
            and (body is None or (body(message.body) if callable(body) else message.body == body))
        )

    def __str__(self) -> str:
        parts = [repr(self.name)] if self.name is not None else ["any message"]
        parts += [f"to {self.to}"] if self.to is not None else []
        parts += [f"from {self.sender}"] if self.sender is not None else []
        return " ".join(parts)


class Filter:
    """Messages that are dropped, delayed or repeated, until this is cancelled.

    Args:
        pattern: which.
        delay: seconds; None to drop them.
        times: how many at most; None for all.
        repeats: whether they come twice instead.

    Attributes:
        caught: how many it was.
    """

    def __init__(
        self, pattern: Pattern, delay: float | None, times: int | None, repeats: bool = False
    ) -> None:
        if times is not None and (not isinstance(times, int) or times < 1):
            raise ValueError(f"times must be a number of messages, at least 1, got {times!r}")
        self.delay = delay
        self.repeats = repeats
        self.caught = 0
        self._pattern = pattern
        self._times = times
        self._is_cancelled = False

    def catches(self, message: SimulatedMessage) -> bool:
        """Whether a message is one of those; it counts then."""
        if self._is_cancelled or not self._pattern.fits(message):
            return False
        self.caught += 1
        if self.caught == self._times:
            self._is_cancelled = True
        return True

    def cancel(self) -> None:
        """Let all messages through from now on."""
        self._is_cancelled = True

    def __enter__(self) -> Filter:
        return self

    def __exit__(self, *_: object) -> None:
        self.cancel()


def pid_of(process: Any, what: str) -> PID | None:
    """The pid of a pid or a process.

    Raises:
        TypeError: it is neither.
    """
    pid = getattr(process, "pid", process)
    if pid is not None and not isinstance(pid, PID):
        raise TypeError(f"{what} must be a PID or a process that was spawned, got {process!r}")
    return pid
