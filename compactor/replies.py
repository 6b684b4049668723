"""``Replies``: what one accepted connection answers, in the order of its requests."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable

from compactor.exchange import Exchange
from compactor.flow import ReadGate
from compactor.heads import Head
from compactor.http import STATUS_LINES, TEXT, HttpDate, Response, header_line

TEXT_LINE = header_line("Content-Type", TEXT)

_MAX_UNSENT = 64 * 1024  # bytes of replies, but small ones, that wait for the end of a turn
_SMALL = 256  # bytes of a reply; of such ones, one read cannot ask for many MiB
_OWN = {"content-length", "date", "transfer-encoding"}  # headers known better here
_TOO_MANY = "too many requests wait for their answers"

EncodeResponse = Callable[[bytes, bytes, list[bytes], bytes, bool], bytes]


class Replies:
    """The replies of one connection.

    While some requests wait for theirs, whatever is replied later queues behind them.

    Args:
        out: takes the encoded replies that are due, until they are written.
        encode: the encoder of responses.
        date: tells the ``Date`` of a response.
        max_waiting, max_waiting_bytes: the connection is held while more requests wait.
        transport: what they are written to.
        gate: holds the connection.

    Attributes:
        waiting: the requests that wait, with the replies behind them that are there already.
        waiting_bytes: what those requests take, and those replies.
        is_over: whether the last reply has been given, behind which there is none.
    """

    __slots__ = (
        "_date",
        "_encode",
        "_gate",
        "_max_waiting",
        "_max_waiting_bytes",
        "_out",
        "_transport",
        "_unsent",
        "is_over",
        "waiting",
        "waiting_bytes",
    )

    def __init__(
        self,
        out: list[bytes],
        encode: EncodeResponse,
        date: HttpDate,
        max_waiting: int,
        max_waiting_bytes: int,
        transport: asyncio.Transport,
        gate: ReadGate,
    ) -> None:
        self.waiting: deque[tuple[Exchange | bytes, Head | None, int]] = deque()
        self.waiting_bytes = 0
        self.is_over = False
        self._out = out
        self._encode = encode
        self._date = date
        self._max_waiting = max_waiting
        self._max_waiting_bytes = max_waiting_bytes
        self._transport = transport
        self._gate = gate
        self._unsent = 0  # bytes of what is due and not small

    def give(self, answer: Response | str | bytes, head: Head) -> bool:
        """Reply to a request before which none waits.

        Returns:
            Whether the connection is held, because the peer does not read what came before.
        """
        encoded = self.encoded(answer, head)
        is_held = False
        if len(encoded) > _SMALL:
            if self._unsent > _MAX_UNSENT:
                self.write()
            self._unsent += len(encoded)
            is_held = self._gate.is_held
        self._out.append(encoded)
        self.is_over = not head.keep_alive or _closes(answer)
        return is_held

    def queue(self, answer: Exchange | bytes, head: Head | None, size: int = 0) -> None:
        """Put a reply, or a request of this size that waits for its own, behind all others."""
        if self.is_over:
            return
        if head is not None and not head.keep_alive:
            self.is_over = True
        if self.waiting or not isinstance(answer, bytes):
            if isinstance(answer, bytes):
                size = len(answer)
            self.waiting.append((answer, head, size))
            self.waiting_bytes += size
            if (
                len(self.waiting) > self._max_waiting
                or self.waiting_bytes > self._max_waiting_bytes
            ):
                self._gate.hold(_TOO_MANY)
            self.complete()
        else:
            self._out.append(answer)

    def queue_last(self, answer: bytes) -> None:
        """The same with a reply that is the last."""
        self.queue(answer, None)
        self.is_over = True

    def complete(self) -> None:
        """From the oldest on, the replies that are there are due."""
        waiting = self.waiting
        while waiting:
            answer, head, size = waiting[0]
            if isinstance(answer, bytes):
                self._out.append(answer)
            elif answer.response is None:
                break
            else:
                self._out.append(self.encoded(answer.response, head))
                if _closes(answer.response):
                    self.is_over = True
                    self._forget()
                    break
            waiting.popleft()
            self.waiting_bytes -= size
        if (
            len(waiting) <= self._max_waiting // 2
            and self.waiting_bytes <= self._max_waiting_bytes // 2
        ):
            self._gate.release(_TOO_MANY)

    def write(self) -> None:
        """Write what is due, in one go."""
        out = self._out
        if out:
            if not self._transport.is_closing():
                self._transport.write(out[0] if len(out) == 1 else b"".join(out))
            out.clear()
            self._unsent = 0

    def end(self) -> None:
        """The connection is lost: nothing is due, and there will be no replies."""
        self.is_over = True
        self._out.clear()
        self._forget()

    def _forget(self) -> None:
        self.waiting.clear()
        self.waiting_bytes = 0

    # Encoding

    def encoded(self, answer: Response | str | bytes, head: Head | None) -> bytes:
        """The bytes of what a route answered."""
        if isinstance(answer, str):
            return self.encoded_parts(200, [TEXT_LINE], answer.encode(), head)
        if isinstance(answer, bytes):
            return self.encoded_parts(200, [], answer, head)
        headers = answer.headers.items()
        lines = [header_line(name, value) for name, value in headers if name.lower() not in _OWN]
        return self.encoded_parts(answer.status, lines, answer.body, head)

    def encoded_parts(
        self, status: int, lines: list[bytes], body: bytes, head: Head | None
    ) -> bytes:
        """The bytes of a response of these parts."""
        head_only = head is not None and head.method == "HEAD"
        return self._encode(STATUS_LINES[status], self._date.now(), lines, body, head_only)


def _closes(answer: Response | str | bytes) -> bool:
    return isinstance(answer, Response) and answer.closes
