"""``Access``: what a context is told about who may ask for what."""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable, Iterable, Mapping
from typing import Any, TypeAlias

from compactor.actor.realms import check_realm
from compactor.auth.guard import Guard
from compactor.auth.principal import Authenticator, Principal, Said
from compactor.errors import SettingsError
from compactor.http.request import Request
from compactor.metrics.metrics import Metrics

Check: TypeAlias = Callable[[Request], "Said | Awaitable[Said]"]
"""An authenticator that is a function, plain or ``async``."""

Authorizer: TypeAlias = Callable[[Request, "Principal | None"], "bool | Awaitable[bool]"]
"""Whether a principal, or who is none, may have a request served; plain or ``async``."""

Authenticators: TypeAlias = "Authenticator | Check | Iterable[Authenticator | Check] | None"


class Access:
    """Who may ask for what, over HTTP.

    Args:
        authenticators: who finds out who has sent a request, by realm: an ``Authenticator``, a
            function, or several of them, of which one has to know.  None lets everybody in.
        authorizers: who says whether they may, by endpoint: ``/<id>/<route>``, with the parameters
            of a route as they stand there, as ``/shop/items/{item}``.
        disabled_endpoints: what nobody gets, as ``/<id>/<route>``.

    Raises:
        SettingsError: one of them is malformed.
    """

    def __init__(
        self,
        authenticators: Mapping[str, Authenticators] | None = None,
        authorizers: Mapping[str, Authorizer] | None = None,
        disabled_endpoints: Iterable[str] = (),
    ) -> None:
        self.authenticators: dict[str, tuple[Any, ...]] = {}
        for realm, given in _items("authenticators", authenticators, "realms"):
            try:
                check_realm(realm)
            except (TypeError, ValueError) as error:
                raise SettingsError(f"authenticators: {error}") from None
            self.authenticators[realm] = _authenticators(realm, given)
        self.authorizers: dict[str, Authorizer] = {}
        for endpoint, given in _items("authorizers", authorizers, "endpoints"):
            self.authorizers[endpoint] = _authorizer(endpoint, given)
        self.disabled_endpoints = _disabled(disabled_endpoints)

    def guard(self, metrics: Metrics) -> Guard:
        """What asks it for one context, and counts there who is not let in."""
        return Guard(self, metrics)

    def __repr__(self) -> str:
        realms = ", ".join(sorted(self.authenticators)) or "none"
        return (
            f"<Access: realms {realms}; {len(self.authorizers)} authorizers; "
            f"{len(self.disabled_endpoints)} disabled endpoints>"
        )


def _is_function(given: Any) -> bool:
    return callable(given) and not inspect.isclass(given)


def _items(what: str, given: Any, keys: str) -> list[tuple[Any, Any]]:
    if given is None:
        return []
    if not isinstance(given, Mapping):
        raise SettingsError(f"{what} must be a mapping from {keys}, not a {type(given).__name__}")
    return list(given.items())


def _authenticators(realm: str, given: Any) -> tuple[Any, ...]:
    if given is None:
        return ()
    several = tuple(given) if isinstance(given, (tuple, list)) else (given,)
    for one in several:
        if not isinstance(one, Authenticator) and not _is_function(one):
            raise SettingsError(
                f"authenticators[{realm!r}] must be an Authenticator such as Basic(...), a "
                f"function, a list of those, or None; not a {type(one).__name__}"
            )
    if not several:
        raise SettingsError(f"authenticators[{realm!r}] is an empty list; None lets everybody in")
    return several


def _authorizer(endpoint: Any, given: Any) -> Authorizer:
    _check_endpoint("authorizers", endpoint)
    if not _is_function(given):
        raise SettingsError(
            f"authorizers[{endpoint!r}] must be a function, called with the request and its "
            "principal"
        )
    found: Authorizer = given
    return found


def _disabled(given: Any) -> frozenset[str]:
    if isinstance(given, (str, bytes)) or not isinstance(given, Iterable):
        raise SettingsError("disabled_endpoints must be a list of endpoints")
    endpoints = list(given)
    for endpoint in endpoints:
        _check_endpoint("disabled_endpoints", endpoint)
    return frozenset(endpoints)


def _check_endpoint(what: str, endpoint: Any) -> None:
    if not isinstance(endpoint, str) or not endpoint.startswith("/") or endpoint == "/":
        raise SettingsError(f"{what}: {endpoint!r} must be an endpoint such as '/shop/items'")
