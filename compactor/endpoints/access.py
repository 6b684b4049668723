"""``Access``: who may ask what of the endpoints of one context."""

from __future__ import annotations

import ipaddress
from typing import Any

from compactor.endpoints.endpoint import Endpoint
from compactor.http.request import Request
from compactor.http.response import Response
from compactor.metrics.metrics import Metrics
from compactor.settings import Settings
from compactor.wire.browsers import Browser, BrowserRule, browser_of

_SAFE = ("GET", "HEAD")
# What proxies say of themselves and of their clients.
_FORWARDED = ("forwarded", "via", "x-forwarded-for", "x-real-ip")


class Access:
    """The rules for requests to endpoints.

    Args:
        ip: that of the context.
        settings: whose pages may do what.
        metrics: counts what is refused.
    """

    def __init__(self, ip: str, settings: Settings, metrics: Metrics) -> None:
        self._metrics = metrics
        self._rule = BrowserRule(
            (ip, settings.ip), settings.allowed_hosts, settings.allowed_origins
        )
        self._takes_all = "*" in settings.allowed_origins

    def refusal(self, endpoint: Endpoint, request: Request) -> Response | None:
        """What refuses a request, whoever makes it; None if that is not known to be needed."""
        why = None
        if endpoint.changes and not request.is_guarded and not is_from_here(request):
            why = (
                f"{endpoint.path} changes something: until access is configured, only clients on "
                "the host of this context may ask for it"
            )
        elif endpoint.changes or "jsonp" in request.query:  # which any page may read
            why = self._why_not_of_a_page(request)
        if why is None:
            return None
        self._metrics.request_refused(request.peer[0], why)
        return Response.error(403, f"{why}\n")

    def _why_not_of_a_page(self, request: Request) -> str | None:
        """Why a request is refused that a web page of another origin may have had a browser make.

        Pages can have any browser ask by ``GET``, of which other rules think that it changes
        nothing.  So browsers have to say what page it was.
        """
        browser = browser_of({n.encode(): v.encode("latin-1") for n, v in request.headers.items()})
        if browser is None or self._takes_all:
            return None
        if browser.origin is None and browser.site not in ("same-origin", "none"):
            browser = browser._replace(origin=_origin_of(request.headers.get("Referer", "")))
        why = self._rule.refusal(browser, "POST", is_message=False)
        if why is None and _hides_its_page(browser) and request.method in _SAFE:
            why = (
                "this browser does not say from which page the request comes; use a POST, or "
                "another client, as curl"
            )
        return why


def _hides_its_page(browser: Browser) -> bool:
    return browser.origin is None and browser.site is None


def _origin_of(referer: str) -> str | None:
    scheme, _, rest = referer.partition("://")
    host = rest.partition("/")[0]
    return f"{scheme}://{host}" if host and len(host) <= 255 else None


def is_forwarded(request: Request) -> bool:
    """Whether a proxy says that it has passed on a request."""
    return any(name in request.headers for name in _FORWARDED)


def is_from_here(request: Request) -> bool:
    """Whether a request was made on this host, as far as its connection and proxies tell."""
    if is_forwarded(request):
        return False
    try:
        address: Any = ipaddress.ip_address(request.peer[0].partition("%")[0])
    except ValueError:
        return False
    return bool((getattr(address, "ipv4_mapped", None) or address).is_loopback)
