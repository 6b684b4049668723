"""Answers whose length others choose, made and sent in pieces, and what many of them share.

An answer about all processes is made of many small parts.  As many are made at a time as fit in a
slice of a turn, and there is one slice in a turn of the loop, however many ask.  An answer is made
no faster than its client reads.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from compactor.actor.run_queue import TURN_SECONDS
from compactor.errors import RemoteProtocolError
from compactor.http.compressing import compressed, is_worth_it
from compactor.http.headers import Given
from compactor.http.response import Late, Response, Streamed
from compactor.http.streams import Place, StreamEnded
from compactor.metrics.logs import log
from compactor.system import clock
from compactor.wire.preferences import takes_gzip

IN_ONE = 64 * 1024
"""Bytes of an answer that is sent in one piece, with its length."""

_SLICE_SECONDS = TURN_SECONDS / 2
_CHECK_EVERY = 16  # parts between two looks at the clock
_FRESH_SECONDS = 1.0  # how old a list may be of those who live
_MOST_READERS = 16  # answers under way that keep such a list, each maybe a list of its own
_MOST_OF_ONE_IP = 4


class Crowd:
    """Who lives on a context, as the answers see it that take many turns.

    Attributes:
        turns: held by the answer that has its slice of a turn.
    """

    def __init__(self) -> None:
        self.turns = asyncio.Lock()
        self._readers: Counter[str] = Counter()
        self._ids: list[str] = []
        self._listed = 0.0

    @contextmanager
    def ids(self, live: dict[str, Any], reader: str) -> Iterator[list[str]]:
        """The ids of all that lived a moment ago, for one answer.

        Args:
            reader: the IP address of the client.

        Raises:
            RemoteProtocolError: too many such answers are under way; answered with 503.
        """
        if self._readers[reader] >= _MOST_OF_ONE_IP or self._readers.total() >= _MOST_READERS:
            raise RemoteProtocolError(
                "too many clients read long answers right now; ask again in a moment", 503
            )
        now = clock.now()
        if not self._ids or not self._listed <= now < self._listed + _FRESH_SECONDS:
            self._ids, self._listed = list(live), now
        self._readers[reader] += 1
        try:
            yield self._ids
        finally:
            self._readers[reader] -= 1
            if self._readers[reader] <= 0:
                del self._readers[reader]
            if not self._readers:
                self._ids = []


class InPieces(Late):
    """An answer that is made of parts.

    Args:
        owner: the runtime of the context.
        parts: makes them, each in much less than a turn; an empty one is a step without a result.
        content_type, headers: of the answer.
    """

    __slots__ = ("_parts", "_turns")

    def __init__(
        self, owner: Any, parts: Iterator[str], content_type: str, headers: Given | None
    ) -> None:
        super().__init__(b"", 200, content_type, headers)
        self._turns: asyncio.Lock = owner.pages.endpoints().crowd.turns
        self._parts = parts

    async def begun(self, request: Any, place: Place) -> Response:
        """What fits in one piece, or the first of several."""
        source = _Slices(self._parts, self._turns, str(request))
        first: list[bytes] = []
        size = 0
        try:
            while size <= IN_ONE and not source.is_over:
                first.append(await source.slice())
                size += len(first[-1])
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


class _Slices:
    """The pieces of an answer, each made in a slice of a turn."""

    length: int | None = None
    ends_with_client: bool = False

    def __init__(self, parts: Iterator[str], turns: asyncio.Lock, what: str) -> None:
        self.is_over = False
        self._parts = parts
        self._turns = turns
        self._what = what

    async def next(self) -> bytes | None:
        """The next piece; None behind the last."""
        if self.is_over:
            return None
        try:
            return await self.slice()
        except Exception as error:
            log.error("the answer to %s cannot be completed", self._what, exc_info=error)
            raise StreamEnded(f"it has failed: {type(error).__name__}") from None

    async def slice(self) -> bytes:
        """As many parts as can be made in a slice, once it is the turn of this answer."""
        async with self._turns:
            await asyncio.sleep(0)  # others have theirs, and sockets
            return self._make()

    def _make(self) -> bytes:
        made, self.is_over = _slice_of(self._parts)
        return "".join(made).encode("utf-8", "replace")

    def close(self) -> None:
        """No more are wanted."""
        self.is_over = True
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
