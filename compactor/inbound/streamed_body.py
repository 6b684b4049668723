"""``StreamedBody``: the body of a request, read by its route as it comes."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterable
from typing import Any

from compactor.errors import RemoteProtocolError
from compactor.http.request import Request
from compactor.net.flow_control import ReadGate

_HIGH = 256 * 1024  # bytes that wait for the route, beyond which the connection is not read
_LOW = 64 * 1024  # bytes at which it is read again


class StreamedBody:
    """What has come of a body and the route has not taken yet.

    Args:
        gate: holds the connection while there is too much of it.
    """

    __slots__ = ("_gate", "_is_whole", "_lost", "_pieces", "_size", "_wanted")

    def __init__(self, gate: ReadGate) -> None:
        self._gate = gate
        self._pieces: deque[bytes] | None = deque()  # None once nobody wants any
        self._size = 0
        self._is_whole = False
        self._lost = ""
        self._wanted: asyncio.Future[None] | None = None

    def add(self, pieces: Iterable[bytes]) -> None:
        """More of it has come."""
        if self._pieces is None:
            return
        for piece in pieces:
            if piece:
                self._pieces.append(piece)
                self._size += len(piece)
        if self._size > _HIGH:
            self._gate.hold(self)
        self._wake()

    def end(self, rest: bytes) -> None:
        """All of it has come, with this."""
        self.add([rest])
        self._is_whole = True
        self._wake()

    def lose(self, why: str) -> None:
        """No more of it will come."""
        if not self._is_whole:
            self._lost = why
        self._gate.release(self)
        self._wake()

    def close(self) -> None:
        """Nobody wants what is left."""
        self._pieces = None
        self._gate.release(self)

    def closed_before(self, told: Callable[[Any], Any]) -> Callable[[Any], Any]:
        """A call that tells of the answer, behind which nobody wants what is left."""

        def answered(exchange: Any) -> None:
            self.close()
            told(exchange)

        return answered

    def _wake(self) -> None:
        if self._wanted is not None and not self._wanted.done():
            self._wanted.set_result(None)

    async def read(self) -> AsyncIterator[bytes]:
        """The pieces, as they come.

        Raises:
            RemoteProtocolError: the client leaves before the end.
        """
        while self._pieces is not None:
            if self._pieces:
                piece = self._pieces.popleft()
                self._size -= len(piece)
                if self._size <= _LOW:
                    self._gate.release(self)
                yield piece
            elif self._is_whole:
                return
            elif self._lost:
                raise RemoteProtocolError(f"the body is not whole: {self._lost}")
            else:
                self._wanted = asyncio.get_running_loop().create_future()
                await self._wanted

    def given_to(self, call: Callable[[Request], Any]) -> Callable[[Request], Any]:
        """A call that is given requests with this body."""

        def serve(request: Request) -> Any:
            request.pieces = self.read()
            return call(request)

        def again(other: Callable[[Request], Any]) -> Callable[[Request], Any]:
            inner = getattr(call, "again", None)
            return self.given_to(other if inner is None else inner(other))

        serve.again = again  # type: ignore[attr-defined]
        return serve
