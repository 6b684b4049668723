"""Answers in pieces: async generators of routes, advanced in turns.

A route that is an async generator, or returns one, is answered piece by piece.  To make the next
piece is an event of its process, so generators never overlap with handlers of their process, but
messages are handled between two pieces.  Whoever writes the pieces asks for the next one when there
is room for it, so a client that does not read holds its generator up, and nothing else.
"""

from __future__ import annotations

import abc
import asyncio
from collections.abc import AsyncGenerator, Callable, Coroutine
from typing import Any, NamedTuple, Protocol

from compactor.errors import Reason

StreamEnded = ConnectionAbortedError
"""There will be no more pieces, though the answer is not complete."""


class Source(Protocol):
    """Where the pieces of an answer come from.

    Attributes:
        length: bytes of all pieces, if that is known; None has the answer sent in chunks.
        ends_with_client: whether a client that sends no more is taken for gone.
    """

    length: int | None
    ends_with_client: bool

    async def next(self) -> bytes | None:
        """The next piece; None behind the last.

        Raises:
            StreamEnded: the answer cannot be completed.
        """

    def close(self) -> None:
        """No more pieces are wanted."""


class Sendable(abc.ABC):
    """A source that the system can send by itself, as far as a connection takes it right now."""

    @abc.abstractmethod
    def connect(self, connection: int | None) -> None:
        """Have a descriptor of the connection, to be closed at the end; None for none."""

    @abc.abstractmethod
    async def send(self) -> bool:
        """Have some of it sent, past what others write there.

        Returns:
            Whether there may be more that the connection takes; the rest has to be written.
        """


class Place(NamedTuple):
    """Where generators run.

    Attributes:
        mailbox: of their process.
        beside: called with an event, with what begins it and returns a coroutine, and with the
            mailbox, has the coroutine not hold the mailbox; None if it shall.
    """

    mailbox: Any
    beside: Callable[[Any, Callable[[], Any], Any], Any] | None = None


def encoded(piece: Any) -> bytes:
    """A piece as it is sent."""
    if isinstance(piece, str):
        return piece.encode()
    if isinstance(piece, (bytes, bytearray, memoryview)):
        return bytes(piece)
    raise TypeError(f"a route that answers in pieces yields str or bytes, not {piece!r}")


class Turns:
    """The pieces of a generator, each of which is made in a turn of its process.

    Args:
        generator: makes them.
        encode: makes bytes of each.
        place: its mailbox, and whether it holds that while it awaits.
        what: the answer is, for the log.

    Attributes:
        was_text: whether the last piece was a ``str``.
    """

    length: int | None = None
    ends_with_client: bool = True

    def __init__(
        self,
        generator: AsyncGenerator[Any, None],
        encode: Callable[[Any], bytes],
        place: Place,
        what: str,
    ) -> None:
        self.was_text = False
        self.is_over = False
        self.what = what
        self.place = place
        self._generator = generator
        self._encode = encode
        self._wanted: asyncio.Future[bytes | None] | None = None
        self._running: asyncio.Task[Any] | None = None
        self._is_queued = False

    async def next(self) -> bytes | None:
        """The next piece, made in the next turn of the process."""
        self._wanted = asyncio.get_running_loop().create_future()
        self._put()
        return await self._wanted

    def close(self) -> None:
        """Have the generator end, in a turn of its process."""
        if self.is_over:
            return
        self.is_over = True
        if self._running is not None:
            self._running.cancel()
        elif not self._is_queued:
            self._put()

    def _put(self) -> None:
        self._is_queued = True
        self.place.mailbox.put_event(_Turn(self))

    def take_turn(self) -> Coroutine[Any, Any, None]:
        """Make the next piece, or end."""
        self._is_queued = False
        return self._end() if self.is_over else self._advance()

    async def _advance(self) -> None:
        if self.is_over:  # since the turn came, and before this began
            await self._end()
            return
        self._running = asyncio.current_task()
        try:
            piece = await self._generator.__anext__()
            self.was_text = isinstance(piece, str)
            self._give(self._encode(piece))
        except StopAsyncIteration:
            self.is_over = True
            self._give(None)
        except asyncio.CancelledError:
            self._fail("the process has ended")
            if not self.is_over:
                self.is_over = True
                raise
        except BaseException as error:
            self.is_over = True
            self._fail(f"the route has failed: {type(error).__name__}")
            raise
        finally:
            self._running = None
            if self.is_over:
                await self._end()

    async def _end(self) -> None:
        await self._generator.aclose()

    def _give(self, piece: bytes | None) -> None:
        if self._wanted is not None and not self._wanted.done():
            self._wanted.set_result(piece)

    def _fail(self, why: str) -> None:
        if self._wanted is not None and not self._wanted.done():
            self._wanted.set_exception(StreamEnded(why))

    def lost(self, reason: Reason) -> None:
        """The process has ended before the turn came; what the generator has to end, it may."""
        self.is_over = True
        self._fail(f"the process has ended: {reason}")
        task = asyncio.get_running_loop().create_task(self._end())
        _ending.add(task)
        task.add_done_callback(_ending.discard)


_ending: set[asyncio.Task[None]] = set()
"""The ends of generators whose processes are gone; a loop keeps no tasks alive."""


class _Turn:
    """The event of a process that one piece is made by."""

    __slots__ = ("_turns",)

    def __init__(self, turns: Turns) -> None:
        self._turns = turns

    def serve(self, mailbox: Any) -> Any:
        turns = self._turns
        if turns.place.beside is not None:
            return turns.place.beside(self, turns.take_turn, mailbox)
        return turns.take_turn()

    def discard(self, reason: Reason) -> None:
        self._turns.lost(reason)

    def moved(self, mailbox: Any, page_of: Callable[[bytes], Any]) -> bool:
        """The process that takes the place of another one knows nothing of its generators."""
        return False

    def __str__(self) -> str:
        return f"a piece of the answer to {self._turns.what}"
