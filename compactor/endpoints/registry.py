"""``Endpoints``: those of one context, by their paths, and the process that serves them."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any, TypeVar

from compactor.actor.concurrent import Crew, Start
from compactor.actor.mailbox import Mailbox, serve
from compactor.actor.patterns import with_below
from compactor.actor.route_methods import ByMethod
from compactor.endpoints import (
    health,
    help,
    logging_toggle,
    processes,
    prometheus,
    reach,
    ready,
    snapshot,
    system_stats,
    version,
)
from compactor.endpoints.access import Access
from compactor.endpoints.endpoint import Endpoint
from compactor.endpoints.pieces import Crowd
from compactor.errors import Reason, RemoteProtocolError
from compactor.http.awaited import Apart
from compactor.http.request import Request
from compactor.http.response import Response
from compactor.pid import PID

BUILT_IN: tuple[Endpoint, ...] = (
    *health.ENDPOINTS,
    *help.ENDPOINTS,
    *logging_toggle.ENDPOINTS,
    *processes.ENDPOINTS,
    *prometheus.ENDPOINTS,
    *reach.ENDPOINTS,
    *ready.ENDPOINTS,
    *snapshot.ENDPOINTS,
    *system_stats.ENDPOINTS,
    *version.ENDPOINTS,
)
"""All that every context serves."""

_ID = "built-in endpoints"  # with blanks, as no other process has

Call = Callable[[Request], Any]
Value = TypeVar("Value")


class Endpoints:
    """What one context serves by itself.

    Args:
        owner: its runtime.

    Attributes:
        access: who may ask for what.
        all: the endpoints.
        crowd: what answers about all processes share.
        closing: called when the context stops.
        kept: what endpoints keep from one request to the next.
    """

    def __init__(self, owner: Any) -> None:
        self.all: list[Endpoint] = []
        self.crowd = Crowd(owner.settings.unread_timeout)
        self.kept: dict[str, Any] = {}
        self.closing: list[Callable[[], None]] = []
        self.access = Access(owner.ip, owner.settings, owner.metrics)
        self._owner = owner
        self._prefix = owner.settings.endpoints_prefix.encode()
        host = _Host()
        pid: PID = owner.backend.pid_of(owner.ip, owner.port, _ID)
        self._mailbox: Mailbox = owner.new_mailbox(host, pid, owner, owner.run_queue)
        self._mailbox.open()
        self._crew = Crew(self._mailbox, owner, owner.settings.max_concurrent_handlers)
        self._routes: dict[str, dict[str, Call]] = {}
        self._records: dict[str, dict[str, Endpoint]] = {}
        self._below: set[str] = set()
        for endpoint in BUILT_IN:
            self.add(endpoint)

    def add(self, endpoint: Endpoint) -> None:
        """Serve one more."""
        self.all.append(endpoint)
        served = _Served(endpoint, self._owner, self.access, self._begin)
        by_method = ByMethod(dict.fromkeys(endpoint.methods, served))
        self._routes.setdefault(endpoint.id, {})[endpoint.name] = by_method.__get__(None)
        self._records.setdefault(endpoint.id, {})[endpoint.name] = endpoint
        if endpoint.below:
            self._below.add(endpoint.id)

    def find(self, path: bytes) -> tuple[Mailbox, Call] | None:
        """Who serves an HTTP path, and by which call; None if there is no endpoint.

        Args:
            path: raw; it leads to no process.
        """
        found = self._found(path, self._routes)
        if found is None:
            return None
        call, below = found
        return self._mailbox, call if below is None else with_below(call, below)

    def endpoint_at(self, path: bytes) -> Endpoint | None:
        """The endpoint that a path leads to."""
        found = self._found(path, self._records)
        return None if found is None else found[0]

    def _found(
        self, path: bytes, by_id: dict[str, dict[str, Value]]
    ) -> tuple[Value, str | None] | None:
        """What a path leads to, and what is below that; None if nothing may be."""
        if self._prefix:
            if not path.startswith(self._prefix + b"/"):
                return None
            path = path[len(self._prefix) :]
        try:
            id_, rest = self._owner.backend.split_path(path)
        except RemoteProtocolError:
            return None
        routes = by_id.get(id_)
        if routes is None:
            return None
        if id_ in self._below:
            below = rest.strip("/")
            return routes["/"], f"/{below}" if below else ""
        route = self._owner.backend.match_route(routes, rest)
        return None if route is None else (route[1], None)

    def _begin(self, exchange: Any, start: Start, mailbox: Any) -> Any:
        """Begin what runs beside the mailbox, as ``Apart`` has it."""
        return self._crew.begin(start, (serve, exchange, mailbox), 0)

    def close(self) -> None:
        """Answer nothing more: the context stops."""
        self._close()
        self._crew.cancel()
        self._mailbox.terminate(inject=True)

    def abandon(self) -> None:
        """The same, and nobody runs the loop any more."""
        self._close()
        self._mailbox.abandon(Reason.STOPPED)

    def _close(self) -> None:
        closing, self.closing = self.closing, []
        for close in list(closing):
            close()


class _Served:
    """The call that answers the requests to one endpoint, if they may be made.

    Args:
        endpoint: it.
        owner: the runtime.
        access: who may ask.
        begin: begins what runs beside the mailbox.
    """

    def __init__(
        self, endpoint: Endpoint, owner: Any, access: Access, begin: Callable[..., Any]
    ) -> None:
        self._endpoint = endpoint
        self._owner = owner
        self._access = access
        self._begin = begin
        self._under_way = 0
        self._is_awaited = inspect.iscoroutinefunction(endpoint.serve)

    def __call__(self, request: Request) -> Any:
        refused = self._access.refusal(self._endpoint, request)
        if refused is not None:
            return refused
        if self._is_awaited:
            return Apart(lambda: self._serve(request), self._begin)
        return self._endpoint.serve(request, self._owner)

    async def _serve(self, request: Request) -> Any:
        """The answer of a coroutine function, of which not too many run."""
        if self._under_way >= self._endpoint.at_once:
            return Response.error(503, "Too many ask for this right now; ask again in a moment.\n")
        self._under_way += 1
        try:
            return await self._endpoint.serve(request, self._owner)
        finally:
            self._under_way -= 1


class _Host:
    """The process that all endpoints belong to, as far as its mailbox is concerned."""

    def finalize(self) -> None:
        """Nothing is left."""
