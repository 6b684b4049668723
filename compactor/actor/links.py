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

_Watched = dict[PID, dict[Linker, None]]  # whom, and by whom; dicts keep the order of the links


class Links:
    """The links of one context, from local linkers to local or remote pids.

    A link is one-way, counts once however often it is made, and is used up by one exit.  Exits
    are told in the order of the links.

    Attributes:
        linked: by linker whom it watches; empty if nobody watches anybody.
    """

    def __init__(self) -> None:
        self.linked: dict[Linker, dict[PID, None]] = {}
        # Who watches each, in the order of their first links.
        self._at: dict[Address, _Watched] = {}
        # The same of losses that are still told.  An address is lost again before that is over.
        self._losses: dict[Address, list[_Watched]] = {}

    def add(self, linker: Linker, to: PID) -> None:
        """Let ``linker`` watch ``to``."""
        self._at.setdefault(to.address, {}).setdefault(to, {})[linker] = None
        self.linked.setdefault(linker, {})[to] = None

    def exited(self, to: PID) -> dict[Linker, None]:
        """``to`` is gone: remove its links and return their linkers."""
        linkers = self._pop(to)
        for linker in linkers:
            self._unlink(linker, to)
        return linkers

    def lost(self, address: Address) -> Iterator[tuple[PID, Linker]]:
        """The address is gone: remove all its links; return each pid with each of its linkers.

        Nobody watches what is there any more from now on, but ``linked`` is worked off step by
        step.  Who is dropped meanwhile is left out.
        """
        lost = self._at.pop(address, None)
        if lost is None:
            return iter(())
        self._losses.setdefault(address, []).append(lost)
        return self._each(address, lost)

    def _each(self, address: Address, lost: _Watched) -> Iterator[tuple[PID, Linker]]:
        for to, linkers in lost.items():
            for linker in list(linkers):
                if linker not in linkers:
                    continue  # it was dropped meanwhile
                del linkers[linker]
                if not any(linker in watched.get(to, ()) for watched in self._all_at(address)):
                    self._unlink(linker, to)
                yield to, linker
        losses = self._losses[address] = [it for it in self._losses[address] if it is not lost]
        if not losses:
            del self._losses[address]

    def _all_at(self, address: Address) -> list[_Watched]:
        """Who watches what is at an address, now and as far as its losses were not told."""
        losses, now = self._losses.get(address, ()), self._at.get(address)
        return list(losses) if now is None else [*losses, now]

    def drop(self, linker: Linker) -> None:
        """``linker`` has ended and watches nobody any more."""
        for to in self.linked.pop(linker, ()):
            for watched in self._all_at(to.address):
                watched.get(to, {}).pop(linker, None)
            if not self._at.get(to.address, {}).get(to):
                self._pop(to)

    def _pop(self, to: PID) -> dict[Linker, None]:
        watched = self._at.get(to.address)
        if watched is None:
            return {}
        linkers = watched.pop(to, {})
        if not watched:
            del self._at[to.address]
        return linkers

    def _unlink(self, linker: Linker, to: PID) -> None:
        linked = self.linked.get(linker)
        if linked is not None:
            linked.pop(to, None)
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
