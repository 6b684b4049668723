"""Who watches whom.  Pure bookkeeping: it tells whom to notify, and notifies nobody."""

from __future__ import annotations

from collections.abc import Iterable

from compactor.pid import PID, Address


class Links:
    """The links of one context, from local linkers to local or remote pids.

    A link is one-way, counts once however often it is made, and is used up by one exit.
    """

    def __init__(self) -> None:
        self._linkers: dict[PID, set[str]] = {}
        self._at: dict[Address, dict[PID, None]] = {}  # in the order of their first links
        self._linked: dict[str, set[PID]] = {}

    def add(self, linker: str, to: PID) -> None:
        """Let the local process ``linker`` watch ``to``."""
        self._linkers.setdefault(to, set()).add(linker)
        self._at.setdefault(to.address, {})[to] = None
        self._linked.setdefault(linker, set()).add(to)

    def exited(self, to: PID) -> set[str]:
        """``to`` is gone: remove its links and return their linkers."""
        linkers = self._linkers.pop(to, None)
        if linkers is None:
            return set()
        watched = self._at.get(to.address)
        if watched is not None:
            watched.pop(to, None)
            if not watched:
                del self._at[to.address]
        for linker in linkers:
            linked = self._linked[linker]
            linked.discard(to)
            if not linked:
                del self._linked[linker]
        return linkers

    def lost(self, address: Address) -> list[tuple[PID, set[str]]]:
        """The address is gone: remove all its links; return each pid with its linkers."""
        return [(to, self.exited(to)) for to in list(self._at.get(address, ()))]

    def drop(self, linker: str) -> None:
        """``linker`` has ended and watches nobody any more."""
        for to in self._linked.pop(linker, ()):
            linkers = self._linkers[to]
            linkers.discard(linker)
            if not linkers:
                del self._linkers[to]
                watched = self._at[to.address]
                del watched[to]
                if not watched:
                    del self._at[to.address]

    def watched_at(self, address: Address) -> list[PID]:
        """The pids at an address that somebody watches."""
        return list(self._at.get(address, ()))

    def linkers_of(self, to: PID) -> set[str]:
        """The local processes that watch ``to``."""
        return set(self._linkers.get(to, ()))

    def items(self) -> Iterable[tuple[PID, set[str]]]:
        """Every watched pid with the names of its linkers."""
        return [(to, set(linkers)) for to, linkers in list(self._linkers.items())]
