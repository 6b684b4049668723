"""``Endpoint``: the record of one path that every context serves."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final, Protocol

from compactor.actor.backlog import Backlog
from compactor.actor.mailbox import Mailbox
from compactor.actor.run_queue import RunQueue
from compactor.actor.slices import Slices
from compactor.http.request import Request
from compactor.metrics.metrics import Metrics
from compactor.settings import Settings

READONLY: Final = "readonly"
"""The realm of what only shows something, as libprocess names it where it is initialized."""

READWRITE: Final = "readwrite"
"""The realm of what changes something."""

NO_REALM: Final = ""
"""Of what anybody may see, as far as libprocess goes."""


class Live(Protocol):
    """Who lives on a context."""

    @property
    def live(self) -> Mapping[str, Mailbox]: ...


class EndpointsOwner(Protocol):
    """What endpoints ask of their context: its runtime."""

    ip: str
    port: int
    metrics: Metrics
    settings: Settings
    run_queue: RunQueue
    backlog: Backlog
    slices: Slices

    @property
    def registry(self) -> Live: ...
    @property
    def backend(self) -> Any: ...


@dataclass(frozen=True)
class Endpoint:
    """One path, and what answers requests to it.

    Attributes:
        path: as ``/metrics/snapshot``; libprocess has a process ``metrics`` with a route there.
        serve: takes the request and the runtime of the context, and returns what a route may.  It
            takes less than a turn of the loop; what may take longer is a coroutine function, or
            returns ``in_pieces``.
        summary: one line for ``/help``.
        description: Markdown for ``/help``.
        methods: those that it serves; ``HEAD`` and ``OPTIONS`` are served by themselves.  A C++
            libprocess serves all, so tools may use ``POST`` as well.
        realm: whose users may ask, once access is configured.
        changes: whether a request may change something: until access is configured, only this host
            may ask.
        at_once: how many requests are served at a time by a coroutine function; further ones are
            answered with 503, so that who asks for one endpoint does not hold up the others.
        below: whether all that is below the path belongs to it as well; it is ``request.below``.
    """

    path: str
    serve: Callable[[Request, Any], Any]
    summary: str
    description: str = ""
    methods: tuple[str, ...] = ("GET", "POST")
    realm: str = NO_REALM
    changes: bool = False
    at_once: int = 100
    below: bool = False

    @property
    def id(self) -> str:
        """The id of the process that libprocess has for it."""
        return self.path[1:].partition("/")[0]

    @property
    def name(self) -> str:
        """Its route there; ``/`` if that is all of it."""
        return "/" + self.path[1:].partition("/")[2]
