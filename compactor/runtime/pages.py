"""``Pages``: who serves the HTTP paths that are not known yet."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

from compactor.actor.mailbox import Mailbox
from compactor.actor.patterns import with_below, with_values
from compactor.actor.routes import RouteTable
from compactor.errors import RemoteProtocolError
from compactor.inbound.delivery_owner import Page
from compactor.runtime.binding import bind_route, is_streamed
from compactor.runtime.hot_path import Backend

if TYPE_CHECKING:
    from compactor.endpoints.registry import Endpoints


class Pages:
    """The HTTP paths of one context.

    Args:
        live: the mailbox of each live process, by id.
        routes: remembers what was found.
        backend: the hot path.
        delegate: id of the process that serves requests to unknown paths, or empty.
        make_endpoints: makes what the context serves by itself, of which it is asked once; None if
            it serves nothing.

    Attributes:
        delegate: that id.
        is_closed: to what is still to come.
    """

    def __init__(
        self,
        live: Mapping[str, Mailbox],
        routes: RouteTable,
        backend: Backend,
        delegate: str,
        make_endpoints: Callable[[], Endpoints | None],
    ) -> None:
        self._live = live
        self._routes = routes
        self._backend = backend
        self.delegate = delegate
        self._make_endpoints = make_endpoints
        self._endpoints: Endpoints | None = None  # once somebody has asked for one
        self.is_closed = False

    def find(self, path: bytes) -> Page | None:
        """Who has a route for a path: a process, the delegate, or, if neither has, the context."""
        return self._find(path, None) or self._find_endpoint(path)

    def find_streamed(self, path: bytes, method: str) -> Page | None:
        """The same, if the route reads bodies as they come."""
        return None if self.is_closed else self._find(path, method)

    def _find(self, path: bytes, method: str | None) -> Page | None:
        found = self._split(path)
        if found is None:
            return None
        mailbox, rest = self._live.get(found[0]), found[1]
        if mailbox is None and self.delegate:
            mailbox = self._live.get(self.delegate)
            rest = path.decode("utf-8", "surrogateescape")
        if mailbox is None:
            return None
        table = mailbox.process.__handlers__()
        matched = None if table.patterns is None else table.patterns.match(rest)
        if matched is not None:
            if method is not None and not is_streamed(table, matched[0], method):
                return None
            return mailbox, with_values(bind_route(mailbox.process, matched[0]), matched[1])
        route = self._backend.match_route(table.exact, rest)
        if route is None:
            return None
        if method is not None and not is_streamed(table, route[0], method):
            return None
        call = bind_route(mailbox.process, route[0])
        self._routes.remember_page(mailbox, route[0], call, path)
        below = f"/{rest.lstrip('/')}".removeprefix(route[0])
        return mailbox, with_below(call, below) if below else call

    def _find_endpoint(self, path: bytes) -> Page | None:
        """The endpoint at a path that leads to no process, whatever that serves."""
        found = self._split(path)
        if found is None or found[0] in self._live:
            return None
        endpoints = self.endpoints()
        return None if endpoints is None else endpoints.find(path)

    def endpoints(self) -> Endpoints | None:
        """What the context serves by itself."""
        if self._endpoints is None:
            self._endpoints = self._make_endpoints()
        return self._endpoints

    def close(self) -> None:
        """Serve nothing more that no process serves: the context stops."""
        if self._endpoints is not None:
            self._endpoints.close()

    def abandon(self) -> None:
        """The same, and nobody runs the loop any more."""
        if self._endpoints is not None:
            self._endpoints.abandon()

    def find_answer(self, path: bytes) -> tuple[Mailbox, str] | None:
        """Who answers requests to a path, and the name of the message that asks for it."""
        found = self._split(path)
        mailbox = None if found is None else self._live.get(found[0])
        if found is None or mailbox is None or found[1] not in mailbox.process.__handlers__().doors:
            return None
        return mailbox, found[1]

    def _split(self, path: bytes) -> tuple[str, str] | None:
        """The id and the rest of a path; None if it leads to no process."""
        if b"/.." in path or path == b"*":
            return None
        try:
            return self._backend.split_path(path)
        except RemoteProtocolError:
            return None
