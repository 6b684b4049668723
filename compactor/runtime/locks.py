"""What locks the endpoints of a process: found for each request, and checked at the spawn."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from compactor.actor.handlers import INSTALL_ATTRIBUTE, ROUTE_ATTRIBUTE, HandlerTable
from compactor.actor.realms import endpoint_of, realms_of
from compactor.actor.route_methods import name_of, served_as
from compactor.actor.routes import match_route
from compactor.errors import InvalidProcess
from compactor.http.request import Request
from compactor.http.response import Response

if TYPE_CHECKING:
    from compactor.auth.guard import Guard, Lock

Call = Callable[[Request], Any]


def check_endpoints(process: Any, id_: str, table: HandlerTable, guard: Guard | None) -> None:
    """Compare the endpoints of a process with what its context knows of realms and endpoints.

    Raises:
        InvalidProcess: one of its realms is unknown; or there is an authorizer, or something is
            disabled, for an endpoint that the process has not.
    """
    kind = type(process).__qualname__
    known = {} if guard is None else guard.access.authenticators
    for (_, name), realm in sorted(realms_of(table).items()):
        if realm not in known:
            raise InvalidProcess(
                f"{name.strip()!r} of {kind} is in the realm {realm!r}, which its context does not "
                f"know: give it access=Access(authenticators={{{realm!r}: ...}})"
            )
    if guard is None:
        return
    access = guard.access
    begin = endpoint_of(id_, "/")
    own = {endpoint_of(id_, path) for path in (*table.routes, *table.doors)}
    for endpoint in (*access.authorizers, *access.disabled_endpoints):
        if endpoint in own or not f"{endpoint}/".startswith(f"{begin}/"):
            continue
        rest = endpoint.removeprefix(begin)
        if endpoint in access.authorizers or not _serves(table, rest):
            raise InvalidProcess(
                f"access names the endpoint {endpoint!r}, and {kind} has none such; it has "
                f"{', '.join(sorted(own)) or 'none'}"
            )


def _serves(table: HandlerTable, rest: str) -> bool:
    is_pattern = table.patterns is not None and table.patterns.match(rest) is not None
    return is_pattern or match_route(table.exact, rest) is not None


def realm_of_route(table: HandlerTable, route: str, method: str) -> str:
    """The realm of a route for requests with a method; empty for none."""
    if not table.traits:
        return ""
    name = name_of(served_as(table.routes[route], method), route)
    return realms_of(table).get((ROUTE_ATTRIBUTE, name), "")


def realm_of_answer(table: HandlerTable, name: str) -> str:
    """The realm of an answer; empty for none."""
    return realms_of(table).get((INSTALL_ATTRIBUTE, name), "") if table.traits else ""


def realms_of_route(table: HandlerTable, route: str) -> set[str]:
    """The realms of a route, for whichever methods."""
    return {
        realm
        for (kind, name), realm in (realms_of(table) if table.traits else {}).items()
        if kind == ROUTE_ATTRIBUTE and name.partition(" ")[2] == route
    }


def behind(lock_of: Callable[[str], Lock | None], call: Call) -> Call:
    """A call that serves no request that was not let in, whichever way it has come.

    Args:
        lock_of: what locks the route, by the method of a request.
    """

    def serve(request: Request) -> Any:
        lock = lock_of(request.method)
        if lock is not None and not request.is_let_in(lock):
            return Response.error(403)
        return call(request)

    return serve
