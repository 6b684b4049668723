"""``Line``: the messages between a worker and its parent, JSON on a pipe."""

from __future__ import annotations

import contextlib
import json
import queue
import threading
from collections.abc import Iterator
from multiprocessing.connection import Connection
from typing import Any

_LONGEST = 1024 * 1024  # bytes of one message
_MOST_TEXT = 64 * 1024  # characters of one text in it
_MOST_WAITING = 10_000  # messages that wait for a parent that does not read


class Line:
    """One end of the pipe.  What is told is written by a thread, so nobody waits for the other end.

    Args:
        connection: the end.
        name: of the thread.

    Attributes:
        dropped: how many messages were left out, for the other end did not read.
    """

    def __init__(self, connection: Connection, name: str) -> None:
        self._connection = connection
        self._waiting: queue.Queue[bytes | None] = queue.Queue(_MOST_WAITING)
        self.dropped = 0
        self._thread = threading.Thread(target=self._write, name=f"{name}-tell", daemon=True)
        self._thread.start()

    def tell(self, kind: str, **values: Any) -> None:
        """Tell something, from any thread; it is left out if too much waits."""
        cut = {
            key: value[-_MOST_TEXT:] if isinstance(value, str) else value
            for key, value in values.items()
        }
        text = json.dumps({"kind": kind, **cut}, default=str).encode("utf-8", "replace")
        if len(text) > _LONGEST:
            self.dropped += 1
            return
        try:
            self._waiting.put_nowait(text)
        except queue.Full:
            self.dropped += 1

    def _write(self) -> None:
        with contextlib.suppress(OSError, ValueError):  # the other end is gone, or this one closed
            while (text := self._waiting.get()) is not None:
                self._connection.send_bytes(text)

    def __iter__(self) -> Iterator[dict[str, Any]]:
        """What the other end tells, until it is gone."""
        try:
            while True:
                message = json.loads(self._connection.recv_bytes(_LONGEST))
                if isinstance(message, dict):
                    yield message
        except (EOFError, OSError, ValueError):
            return

    def close(self, seconds: float) -> None:
        """Write what waits, in some time, and close it."""
        with contextlib.suppress(queue.Full):
            self._waiting.put(None, timeout=seconds)
        self._thread.join(seconds)
        self._connection.close()
