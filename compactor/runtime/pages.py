"""``Pages``: who serves the HTTP paths that are not known yet, and what locks them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

from compactor.actor.handlers import HandlerTable
from compactor.actor.mailbox import Mailbox
from compactor.actor.patterns import Values, with_below, with_values
from compactor.actor.realms import endpoint_of
from compactor.actor.routes import RouteTable
from compactor.errors import RemoteProtocolError
from compactor.inbound.delivery_owner import Page
from compactor.runtime.binding import bind_route, is_streamed
from compactor.runtime.hot_path import Backend
from compactor.runtime.locks import behind, realm_of_answer, realm_of_route, realms_of_route
from compactor.wire.escapes import unescaped_as_far_as_possible

if TYPE_CHECKING:
    from compactor.auth.guard import Guard, Lock


class _Found(NamedTuple):
    """A route for a path.

    Attributes:
        mailbox, table: of its process.
        route: its path.
        values: of the parameters there; None if it has none.
        rest: what follows the id in the path of the request.
    """

    mailbox: Mailbox
    table: HandlerTable
    route: str
    values: Values | None
    rest: str


if TYPE_CHECKING:
    from compactor.endpoints.endpoint import Endpoint
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
        guard: lets requests in; None if there is nothing to look at.

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
        guard: Guard | None = None,
    ) -> None:
        self._live = live
        self._routes = routes
        self._backend = backend
        self.delegate = delegate
        self._make_endpoints = make_endpoints
        self._endpoints: Endpoints | None = None  # once somebody has asked for one
        self._guard = guard
        self.is_closed = False

    def find(self, path: bytes) -> Page | None:
        """Who has a route for a path: a process, the delegate, or, if neither has, the context."""
        found = self._find(path)
        return self._find_endpoint(path) if found is None else self._page(found, path)

    def find_streamed(self, path: bytes, method: str) -> Page | None:
        """The same, if the route reads bodies as they come."""
        found = None if self.is_closed else self._find(path)
        if found is None or not is_streamed(found.table, found.route, method):
            return None
        return self._page(found, path)

    def _find(self, path: bytes) -> _Found | None:
        split = self._split(path)
        if split is None:
            return None
        mailbox, rest = self._live.get(split[0]), split[1]
        if mailbox is None and self.delegate:
            mailbox = self._live.get(self.delegate)
            rest = path.decode("utf-8", "surrogateescape")
        if mailbox is None:
            return None
        table = mailbox.process.__handlers__()
        matched = None if table.patterns is None else table.patterns.match(rest)
        if matched is not None:
            return _Found(mailbox, table, matched[0], matched[1], rest)
        route = self._backend.match_route(table.exact, rest)
        return None if route is None else _Found(mailbox, table, route[0], None, rest)

    def _page(self, found: _Found, path: bytes) -> Page:
        mailbox, _, route, values, rest = found
        call = bind_route(mailbox.process, route)
        is_locked = self._is_locked(found)
        if is_locked:
            call = behind(self._locks_of(found), call)
        if values is not None:
            return mailbox, with_values(call, values)
        if not is_locked:
            self._routes.remember_page(mailbox, route, call, path)
        below = f"/{rest.lstrip('/')}".removeprefix(route)
        return mailbox, with_below(call, below) if below else call

    def _find_endpoint(self, path: bytes) -> Page | None:
        """The endpoint at a path that leads to no process, whatever that serves."""
        endpoints = self._endpoints_for(path)
        return None if endpoints is None else endpoints.find(path)

    def _endpoint_at(self, path: bytes) -> Endpoint | None:
        endpoints = self._endpoints_for(path)
        return None if endpoints is None else endpoints.endpoint_at(path)

    def _endpoints_for(self, path: bytes) -> Endpoints | None:
        found = self._split(path)
        return None if found is None or found[0] in self._live else self.endpoints()

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

    # Locks

    def _is_locked(self, found: _Found) -> bool:
        """Whether requests for a route have to be looked at, so that none may go a shorter way."""
        realms = realms_of_route(found.table, found.route)
        guard = self._guard
        if guard is None:
            return bool(realms)
        endpoint = endpoint_of(found.mailbox.pid.id, found.route)
        return any(guard.lock(endpoint, endpoint, realm) for realm in ("", *realms))

    def _locks_of(self, found: _Found) -> Callable[[str], Any]:
        guard = self._guard
        if guard is None:  # it has a realm, and nobody could let anybody in
            return lambda _: ()
        return lambda method: self._lock_of(guard, found, method)

    def _lock_of(self, guard: Guard, found: _Found, method: str) -> Lock | None:
        realm = realm_of_route(found.table, found.route, method)
        id_ = found.mailbox.pid.id
        return guard.lock(endpoint_of(id_, found.route), _plain(id_, found.rest), realm)

    def lock_of(self, path: bytes, method: str) -> Lock | None:
        """What has to be looked at before a request is served; None if nothing."""
        guard = self._guard
        if guard is None:
            return None
        found = self._find(path)
        if found is not None:
            return self._lock_of(guard, found, method)
        plain = self._plain(path)
        endpoint = self._endpoint_at(path)
        if endpoint is not None:
            return guard.lock_of_own(endpoint.path, plain, endpoint.realm)
        answer = self.find_answer(path)
        if answer is None:
            return guard.lock(plain, plain, "")
        mailbox, name = answer
        realm = realm_of_answer(mailbox.process.__handlers__(), name)
        return guard.lock(endpoint_of(mailbox.pid.id, name), plain, realm)

    def _plain(self, path: bytes) -> str:
        """A path without escapes, and without slashes that say nothing."""
        split = self._split(path)
        return "" if split is None else _plain(*split)

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


def _plain(id_: str, rest: str) -> str:
    """The path of a process, without escapes, and without slashes that say nothing."""
    found = unescaped_as_far_as_possible(rest.encode("utf-8", "surrogateescape"))
    parts = found.decode("utf-8", "surrogateescape").split("/")
    return endpoint_of(id_, "/" + "/".join(filter(None, parts)))
