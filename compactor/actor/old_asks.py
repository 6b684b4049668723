"""``OldAsks``: what processes have asked that are about to be made anew, or to end."""

from __future__ import annotations

import asyncio
from typing import Protocol

from compactor.pid import PID


class AsksOfAll(Protocol):
    """The asks of a context."""

    @property
    def waiting(self) -> int: ...

    def end_those_of(self, askers: set[str]) -> None: ...


class OldAsks:
    """Ends the asks of processes that have failed, in one look at all asks for many of them.

    A thousand may fail at once: a look at all asks for each of them would be quadratic.
    """

    def __init__(self) -> None:
        self._askers: set[str] = set()
        self._looked = asyncio.Event()

    async def end(self, asker: PID, asks: AsksOfAll) -> None:
        """End all that a process has asked so far, within one round of the loop.

        Args:
            asker: the process; it asks nothing meanwhile.
            asks: those of its context.
        """
        if not asks.waiting:
            return
        if not self._askers:
            self._looked = asyncio.Event()
            asyncio.get_running_loop().call_soon(self._look, asks)
        self._askers.add(asker.id)
        await self._looked.wait()

    def _look(self, asks: AsksOfAll) -> None:
        askers, self._askers = self._askers, set()
        asks.end_those_of(askers)
        self._looked.set()
