"""``Line``: the messages between a worker and its parent, JSON on a pipe."""

from __future__ import annotations

import contextlib
import json
import queue
import threading
from collections.abc import Iterator
from multiprocessing.connection import Connection
from typing import Any

from compactor.system.sockets import shut_down

_LONGEST = 1024 * 1024  # bytes of one message
_MOST_TEXT = 64 * 1024  # characters of one text in it
_MOST_WAITING = 10_000  # messages that wait for a parent that does not read
_MOST_BYTES = 16 * 1024 * 1024  # of all of them


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
        self._bytes = 0  # of what waits
        self._lock = threading.Lock()
        self.dropped = 0
        self._thread = threading.Thread(target=self._write, name=f"{name}-tell", daemon=True)
        self._thread.start()

    def tell(self, kind: str, **values: Any) -> None:
        """Tell something, from any thread; it is left out if too much waits."""
        cut = {key: _cut(each) if isinstance(each, str) else each for key, each in values.items()}
        told = json.dumps({"kind": kind, **cut}, default=str, ensure_ascii=False)
        text = told.encode("utf-8", "replace")
        with self._lock:
            if len(text) > _LONGEST or self._bytes + len(text) > _MOST_BYTES:
                self.dropped += 1
                return
            try:
                self._waiting.put_nowait(text)
            except queue.Full:
                self.dropped += 1
            else:
                self._bytes += len(text)

    def _write(self) -> None:
        with contextlib.suppress(OSError, ValueError):  # the other end is gone, or this one closed
            while (text := self._waiting.get()) is not None:
                self._connection.send_bytes(text)
                with self._lock:
                    self._bytes -= len(text)

    def __iter__(self) -> Iterator[dict[str, Any]]:
        """What the other end tells, until it is gone.

        Raises:
            ValueError: something came that is no message.
        """
        while True:
            try:
                content = self._connection.recv_bytes(_LONGEST)
            except EOFError:
                return
            except OSError as error:
                if error.errno is None:  # of multiprocessing, for a length that is not allowed
                    raise ValueError(str(error)) from None
                return
            try:
                message = json.loads(content)
            except RecursionError:
                raise ValueError("it is nested too deeply") from None
            if not isinstance(message, dict):
                raise ValueError(f"it is no object, but {type(message).__name__}")
            yield message

    def shut(self) -> None:
        """Have whoever reads here see the end, also while a third process holds the other end open.

        Closed alone, the descriptor might be somebody else's when that one reads on.
        """
        shut_down(self._connection.fileno())

    def close(self, seconds: float) -> None:
        """Write what waits, in some time, and close it."""
        with contextlib.suppress(queue.Full):
            self._waiting.put(None, timeout=seconds)
        self._thread.join(seconds)
        self._connection.close()


def _cut(text: str) -> str:
    """The end of a text that is too long, which says so."""
    over = len(text) - _MOST_TEXT
    return text if over <= 0 else f"[{over} characters left out] {text[over:]}"
