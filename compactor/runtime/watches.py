"""``Watches``: linking, whole: who watches whom, here and elsewhere, and who is told of which end.

Each kind of link has a room below: `actor/links.py` keeps what local processes watch,
`outbound/remote_links.py` asks a peer to tell of its processes, and `inbound/observers.py` tells
other compactors of ours.  A link goes down to one of them.  What comes of it is one of three:
a process here has ended, a process elsewhere has ended, or an address is lost.  Whoever watched
is told of it once.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from logging import DEBUG
from typing import Protocol

from compactor.actor.events import Exited
from compactor.actor.links import Linker, Links, Watcher
from compactor.actor.promises import Exit
from compactor.actor.slices import Slices
from compactor.errors import Reason
from compactor.inbound.observers import Observers
from compactor.metrics.logs import fields, logger
from compactor.outbound.peer import Peer
from compactor.pid import PID, Address
from compactor.runtime.registry import Registry

log = logger("links")


class WatchesOwner(Protocol):
    """The ways to other addresses: the runtime has them."""

    def undialable(self, to: PID) -> Reason | None: ...
    def peer(self, address: Address) -> Peer: ...


class Watches:
    """The links of one context, from and to its processes.

    Args:
        registry: the processes that live here.
        observers: which of them other compactors watch.
        slices: one end may have many linkers.
        ways: lead to what lives elsewhere.

    Attributes:
        links: what the processes here watch.
    """

    def __init__(
        self, registry: Registry, observers: Observers, slices: Slices, ways: WatchesOwner
    ) -> None:
        self.links = Links()
        self._registry = registry
        self._observers = observers
        self._slices = slices
        self._ways = ways

    def link(self, linker: PID, to: PID, reconnect: bool) -> None:
        """Let a local process watch a pid.

        Args:
            reconnect: whether a new connection replaces the one to its address.
        """
        if linker.id in self._registry.live:  # else it ended before its call was made
            self._watch(linker.id, to, reconnect)

    def wait(self, watcher: Watcher, to: PID) -> None:
        """Let somebody who is no process watch a pid, until they are dropped from ``links``."""
        self._watch(watcher, to, False)

    def _watch(self, linker: Linker, to: PID, reconnect: bool) -> None:
        is_local = self._registry.is_local(to)
        if is_local:
            reason = None if to.id in self._registry.live else Reason.NO_PROCESS
        else:
            reason = self._ways.undialable(to)
        if reason is not None:
            self._tell_linkers(to, (linker,), reason)
            return
        self.links.add(linker, to)
        if log.isEnabledFor(DEBUG):
            told = fields("link", pid=_name(linker), to=to)
            log.debug("%s watches %s", _name(linker), to, extra=told)
        if is_local:
            return
        peer = self._ways.peer(to.address)
        if reconnect and not peer.is_idle:
            peer.reconnect([pid.id for pid in self.watched_at(to.address)])
        else:
            peer.links.link(to.id)

    def ended(self, pid: PID, reason: Reason, detail: str) -> None:
        """A process here has ended: it watches nobody any more, and whoever watches it is told.

        Args:
            detail: why it failed, if it did.
        """
        self.links.drop(pid.id)
        self._tell_linkers(pid, self.links.exited(pid), reason, detail)
        self._observers.ended(pid.id, reason, detail)

    def exited(self, address: Address, id_: str, reason: Reason, detail: str = "") -> None:
        """A process elsewhere has ended, while its context lives."""
        try:
            pid = PID(*address, id_)
        except ValueError:  # peers may say anything
            return
        self._tell_linkers(pid, self.links.exited(pid), reason, detail)

    def lost(self, address: Address, reason: Reason) -> None:
        """An address is lost: whoever watches a process there is told, once for each."""
        self._slices.work(self._tell_all(self.links.lost(address), reason))

    def watched_at(self, address: Address) -> list[PID]:
        """The pids at an address that somebody here watches."""
        return self.links.watched_at(address)

    def abandon(self) -> None:
        """Tell those who are no processes that nothing more will be heard: the context stops."""
        for linker, watched in list(self.links.linked.items()):
            if not isinstance(linker, str):
                self.links.drop(linker)
                for to in watched:
                    linker.exited(to, Reason.STOPPED)

    def _tell_all(self, lost: Iterable[tuple[PID, Linker]], reason: Reason) -> Iterator[None]:
        for pid, linker in lost:
            self._tell_linkers(pid, (linker,), reason)
            yield

    def _tell_linkers(
        self, pid: PID, linkers: Iterable[Linker], reason: Reason, detail: str = ""
    ) -> None:
        for linker in linkers:
            if log.isEnabledFor(DEBUG):
                told = fields(
                    "exit", pid=_name(linker), to=pid, reason=reason, detail=detail or None
                )
                log.debug("%s is told the exit of %s: %s", _name(linker), pid, reason, extra=told)
            if not isinstance(linker, str):
                if isinstance(linker, Exit):
                    linker.detail = detail
                linker.exited(pid, reason)
                continue
            mailbox = self._registry.live.get(linker)
            if mailbox is not None:
                mailbox.put_event(Exited(pid, reason, detail))


def _name(linker: Linker) -> str:
    return linker if isinstance(linker, str) else "somebody"
