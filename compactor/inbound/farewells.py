"""``Farewells``: which other compactors are told that this context is about to stop.

A context that drains tells each stream of notices that it takes no more asks.  Whoever is told asks
nothing more, and says so on its connection for messages, behind all that it has asked before; it
says so again once all of that is answered.  Then nothing is under way in either direction, and the
context may end without anybody wondering whether an ask of theirs was handled.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Iterator
from typing import Protocol

from compactor.wire.notices import DRAINING

_PATIENCE = 1.0  # seconds in which a peer has to say that it knows of farewells


class Told(Protocol):
    """A stream of notices."""

    def tell(self, word: str, *values: str) -> None: ...


class Farewells:
    """Who was told that this context takes no more asks, and what they have said to that.

    Attributes:
        is_begun: whether anybody was told.
    """

    def __init__(self) -> None:
        self.is_begun = False
        self._unheard: set[Told] = set()  # who has said nothing yet
        self._asking: set[Told] = set()  # who still waits for answers
        self._changed: asyncio.Future[None] | None = None

    def begin(self, streams: Iterable[Told]) -> Iterator[None]:
        """Tell all of them, in steps; those who say nothing within a moment are not waited for."""
        self.is_begun = True
        told = list(streams)
        self._unheard.update(told)
        asyncio.get_running_loop().call_later(_PATIENCE, self._give_up)
        for stream in told:
            stream.tell(DRAINING)
            yield

    def late(self, stream: Told) -> None:
        """A stream has been opened: it is told as well, if others were."""
        if self.is_begun:
            self._unheard.add(stream)
            stream.tell(DRAINING)

    def said(self, stream: Told) -> None:
        """Somebody says that nothing more will be asked; the second time, that all is answered."""
        if stream in self._unheard:
            self._unheard.discard(stream)
            self._asking.add(stream)
        else:
            self.ended(stream)

    def ended(self, stream: Told) -> None:
        """There is nothing to wait for any more, of one of them."""
        self._unheard.discard(stream)
        self._asking.discard(stream)
        self._look()

    def _give_up(self) -> None:
        self._unheard.clear()
        self._look()

    def _look(self) -> None:
        changed = self._changed
        if not (self._unheard or self._asking) and changed is not None and not changed.done():
            changed.set_result(None)

    def left(self) -> list[asyncio.Future[None]]:
        """What is done once nobody is waited for; empty if that is so already."""
        if not (self._unheard or self._asking):
            return []
        if self._changed is None or self._changed.done():
            self._changed = asyncio.get_running_loop().create_future()
        return [self._changed]
