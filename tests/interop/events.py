"""What the processes of the tests are told, kept for the test to look at."""

from __future__ import annotations

import queue
from typing import Any

from .programs import TIMEOUT


class Events:
    """What happened to a process, in order: a kind and whatever belongs to it."""

    def __init__(self) -> None:
        self._queue: queue.Queue[tuple[Any, ...]] = queue.Queue()
        self._seen: list[tuple[Any, ...]] = []

    def add(self, kind: str, *details: Any) -> None:
        """Called by the process."""
        self._queue.put((kind, *details))

    def expect(self, kind: str, timeout: float = TIMEOUT) -> tuple[Any, ...]:
        """The details of the next event of that kind; events before it are skipped."""
        while True:
            try:
                event = self._queue.get(timeout=timeout)
            except queue.Empty:
                raise AssertionError(f"no {kind}; what happened: {self._seen[-20:]}") from None
            self._seen.append(event)
            if event[0] == kind:
                return event[1:]

    def expect_all(self, kind: str, count: int) -> list[tuple[Any, ...]]:
        """The details of the next ``count`` events of that kind."""
        return [self.expect(kind) for _ in range(count)]

    def seen(self, kind: str) -> list[tuple[Any, ...]]:
        """The details of all events of that kind until now."""
        while not self._queue.empty():
            self._seen.append(self._queue.get())
        return [event[1:] for event in self._seen if event[0] == kind]
