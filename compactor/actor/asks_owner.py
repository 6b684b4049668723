"""``Watching`` and ``Ways``: what the asks of a context need of it."""

from __future__ import annotations

from typing import Any, Protocol

from compactor.actor.links import Links, Watcher
from compactor.pid import PID


class Watching(Protocol):
    """What has those watched who were asked."""

    links: Links

    def wait(self, watcher: Watcher, to: PID) -> None: ...


class Ways(Protocol):
    """The ways of asks and answers."""

    def ask(self, asker: Any, number: int, to: PID, name: str, body: bytes) -> Any: ...
    def answer_shortly(self, sender: PID, to: PID, name: str, body: bytes) -> bool: ...
