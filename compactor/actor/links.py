"""Who watches whom.  Pure bookkeeping: it tells whom to notify, and notifies nobody."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, Protocol

from compactor.errors import Reason
from compactor.pid import PID, Address


class Watcher(Protocol):
    """What watches a pid and is no process: a timer, somebody who waits."""

    def __hash__(self) -> int: ...
    def exited(self, pid: PID, reason: Reason) -> Any: ...


Linker = str | Watcher
"""Who watches: a local process, by its id, or a ``Watcher``."""


class Links:
    """The links of one context, from local linkers to local or remote pids.

    A link is one-way, counts once however often it is made, and is used up by one exit.

    Attributes:
        linked: by linker whom it watches; empty if nobody watches anybody.
    """

    def __init__(self) -> None:
        self.linked: dict[Linker, set[PID]] = {}
        # Who watches each, in the order of their first links.
        self._at: dict[Address, dict[PID, set[Linker]]] = {}

    def add(self, linker: Linker, to: PID) -> None:
        """Let ``linker`` watch ``to``."""
        self._at.setdefault(to.address, {}).setdefault(to, set()).add(linker)
        self.linked.setdefault(linker, set()).add(to)

    def exited(self, to: PID) -> set[Linker]:
        """``to`` is gone: remove its links and return their linkers."""
        linkers = self._pop(to)
        for linker in linkers:
            self._unlink(linker, to)
        return linkers

    def lost(self, address: Address) -> Iterator[tuple[PID, Linker]]:
        """The address is gone: remove all its links; return each pid with each of its linkers.

        Nobody watches what is there any more from now on, but ``linked`` is worked off step by
        step.
        """
        return self._each(self._at.pop(address, {}))

    def _each(self, lost: dict[PID, set[Linker]]) -> Iterator[tuple[PID, Linker]]:
        order = list(lost)
        order.reverse()
        while order:
            to = order.pop()
            linkers = lost.pop(to)
            for linker in linkers:
                if to not in self.linked.get(linker, ()):
                    continue  # dropped since then
                if linker not in self._at.get(to.address, {}).get(to, ()):  # it may link again
                    self._unlink(linker, to)
                yield to, linker

    def drop(self, linker: Linker) -> None:
        """``linker`` has ended and watches nobody any more."""
        for to in self.linked.pop(linker, ()):
            linkers = self._at.get(to.address, {}).get(to)
            if linkers is not None:
                linkers.discard(linker)
                if not linkers:
                    self._pop(to)

    def _pop(self, to: PID) -> set[Linker]:
        watched = self._at.get(to.address)
        if watched is None:
            return set()
        linkers = watched.pop(to, set())
        if not watched:
            del self._at[to.address]
        return linkers

    def _unlink(self, linker: Linker, to: PID) -> None:
        linked = self.linked.get(linker)
        if linked is not None:
            linked.discard(to)
            if not linked:
                del self.linked[linker]

    def watched_at(self, address: Address) -> list[PID]:
        """The pids at an address that somebody watches."""
        return list(self._at.get(address, ()))

    def watchers(self, to: PID) -> list[Linker]:
        """Who watches a pid."""
        return list(self._at.get(to.address, {}).get(to, ()))

    def items(self) -> Iterable[tuple[PID, set[str]]]:
        """Every pid that processes watch, with the ids of those."""
        return [
            (to, {linker for linker in set(linkers) if isinstance(linker, str)})
            for watched in list(self._at.values())
            for to, linkers in list(watched.items())
        ]
