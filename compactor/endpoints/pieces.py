"""Answers whose length others choose, made and sent in pieces, and what many of them share.

An answer about all processes is made of many small parts.  As many are made at a time as fit in a
slice of a turn, and there is one slice in a turn of the loop, however many ask.  An answer is made
no faster than its client reads.
"""

from __future__ import annotations

import asyncio
import weakref
from collections.abc import Iterator, Mapping
from typing import Any

from compactor.actor.run_queue import TURN_SECONDS
from compactor.errors import RemoteProtocolError
from compactor.http.compressing import compressed, is_worth_it
from compactor.http.headers import Given
from compactor.http.response import Late, Response, Streamed
from compactor.http.streams import Place, StreamEnded
from compactor.metrics.logs import logger
from compactor.system import clock
from compactor.wire.preferences import takes_gzip

log = logger("endpoints")

IN_ONE = 64 * 1024
"""Bytes of an answer that is sent in one piece, with its length."""

_SLICE_SECONDS = TURN_SECONDS / 2
_CHECK_EVERY = 16  # parts between two looks at the clock
_FRESH_SECONDS = 1.0  # how old a list may be of those who live
_MOST_READERS = 16  # answers in several pieces under way, each maybe with a list of its own
_MOST_OF_ONE_IP = 4


class _Ids(list[str]):
    """Some ids, as long as somebody needs them."""

    __slots__ = ("__weakref__",)


class Crowd:
    """What all long answers of a context share.

    Args:
        patience: seconds after which one that is still under way makes room for others.

    Attributes:
        turns: held by the answer that has its slice of a turn.
        readers: the answers under way that are longer than one piece, the oldest first.
    """

    def __init__(self, patience: float) -> None:
        self.turns = asyncio.Lock()
        self.readers: dict[Slices, str] = {}  # with the IP address of the client
        self._patience = patience
        self._ids: weakref.ref[_Ids] | None = None
        self._listed = 0.0

    def ids(self, live: Mapping[str, Any]) -> list[str]:
        """The ids of all that lived a moment ago: one list for all who ask in that time."""
        found = None if self._ids is None else self._ids()
        now = clock.now()
        if found is None or not self._listed <= now < self._listed + _FRESH_SECONDS:
            found = _Ids(live)
            self._ids, self._listed = weakref.ref(found), now
        return found

    def admit(self, reader: Slices, ip: str) -> None:
        """Let an answer go on that is longer than one piece.

        Raises:
            RemoteProtocolError: there are too many of those; answered with 503.
        """
        rivals = [one for one, its_ip in self.readers.items() if its_ip == ip]
        if len(rivals) < _MOST_OF_ONE_IP:
            rivals = list(self.readers) if len(self.readers) >= _MOST_READERS else []
        if rivals:
            oldest = rivals[0]
            if clock.now() - oldest.began < self._patience:
                raise RemoteProtocolError(
                    "too many clients read long answers right now; ask again in a moment", 503
                )
            oldest.close()
        self.readers[reader] = ip


class InPieces(Late):
    """An answer that is made of parts.

    Args:
        owner: the runtime of the context.
        parts: makes them, each in much less than a turn; an empty one is a step without a result.
        content_type, headers: of the answer.
    """

    __slots__ = ("_crowd", "_parts")

    def __init__(
        self, owner: Any, parts: Iterator[str], content_type: str, headers: Given | None
    ) -> None:
        super().__init__(b"", 200, content_type, headers)
        self._crowd: Crowd = owner.pages.endpoints().crowd
        self._parts = parts

    async def begun(self, request: Any, place: Place) -> Response:
        """What fits in one piece, or the first of several."""
        source = Slices(self._parts, self._crowd, str(request))
        first: list[bytes] = []
        size = 0
        try:
            while size <= IN_ONE and not source.is_over:
                first.append(await source.slice())
                size += len(first[-1])
            if not source.is_over:
                self._crowd.admit(source, request.peer[0])
        except BaseException:
            source.close()
            raise
        if source.is_over:
            response = Response(b"".join(first), headers=self.headers)
            if takes_gzip(request.headers.get("Accept-Encoding", "")) and is_worth_it(response):
                response = compressed(response)
            return await response.begun(request, place) if isinstance(response, Late) else response
        streamed = Streamed(None, headers=self.headers)
        streamed.source, streamed.first = source, b"".join(first)
        return streamed


class Slices:
    """The pieces of an answer, each made in a slice of a turn."""

    length: int | None = None
    ends_with_client: bool = False

    def __init__(self, parts: Iterator[str], crowd: Crowd, what: str) -> None:
        self.is_over = False
        self.began = clock.now()
        self._is_closed = False
        self._parts = parts
        self._crowd = crowd
        self._what = what

    async def next(self) -> bytes | None:
        """The next piece; None behind the last."""
        if self.is_over:
            return None
        try:
            return await self.slice()
        except StreamEnded:
            raise
        except Exception as error:
            log.error("the answer to %s cannot be completed", self._what, exc_info=error)
            raise StreamEnded(f"it has failed: {type(error).__name__}") from None

    async def slice(self) -> bytes:
        """As many parts as can be made in a slice, once it is the turn of this answer."""
        async with self._crowd.turns:
            await asyncio.sleep(0)  # others have theirs, and sockets
            if self._is_closed:
                raise StreamEnded("it was read too slowly, and others wait for theirs")
            return self._make()

    def _make(self) -> bytes:
        made, self.is_over = _slice_of(self._parts)
        if self.is_over:
            self._crowd.readers.pop(self, None)
        return "".join(made).encode("utf-8", "replace")

    def close(self) -> None:
        """No more are wanted."""
        self._crowd.readers.pop(self, None)
        self._is_closed = True
        close = getattr(self._parts, "close", None)
        if close is not None:
            close()


def _slice_of(parts: Iterator[str]) -> tuple[list[str], bool]:
    """The parts that are made in a slice of a turn, and whether they are the last."""
    made: list[str] = []
    size = 0
    end = clock.now() + _SLICE_SECONDS
    for number, part in enumerate(parts, 1):
        made.append(part)
        size += len(part)
        if size >= IN_ONE or (number % _CHECK_EVERY == 0 and clock.now() > end):
            return made, False
    return made, True


async def work(turns: asyncio.Lock, steps: Iterator[str]) -> bool:
    """Do all steps of something, as the parts of an answer are made: each yields an empty one.

    Returns:
        Whether there were none.
    """
    done = 0
    is_over = False
    while not is_over:
        async with turns:
            await asyncio.sleep(0)
            made, is_over = _slice_of(steps)
            done += len(made)
    return not done


def in_pieces(
    owner: Any, parts: Iterator[str], content_type: str, headers: Given | None = None
) -> Response:
    """An answer of many parts, that holds up nobody.

    Args:
        owner: the runtime of the context.
        parts: makes them, each in much less than a turn; an empty one is a step without a result.
        content_type, headers: of the answer.
    """
    return InPieces(owner, parts, content_type, headers)
