"""What web pages may ask of a context: the marks of browsers in a head, and the rule for them.

Pages of any site can have the browser of someone who reaches a context send requests there: across
sites, or under a name of theirs that they have resolve to our address (DNS rebinding).
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterable, Mapping
from typing import NamedTuple

ANY = "*"
"""What stands for all hosts, or all origins."""

HOST = re.compile(r"[a-z0-9_-]+(?:\.[a-z0-9_-]+)*")
ORIGIN = re.compile(r"null|[a-z][a-z0-9+.-]*://[^/?#\s]+")

# Pages cannot keep browsers from sending these.  Where a page asks its own host, and without TLS,
# the last is the only one; other programs that send it are judged as browsers are.
_MARKS = frozenset((b"origin", b"sec-fetch-site", b"accept-language"))
_AGENT = b"Mozilla/"
_SAFE = frozenset(("GET", "HEAD", "OPTIONS", "TRACE"))
_SHOWN = 80  # characters of what was sent, in an answer


class Browser(NamedTuple):
    """What the head of a browser's request says of where it comes from.

    Attributes:
        host: the ``Host``, as it was sent.
        origin: the ``Origin``, None if there was none.
        site: the ``Sec-Fetch-Site``, None if there was none.
    """

    host: str
    origin: str | None
    site: str | None


def browser_of(fields: Mapping[bytes, bytes]) -> Browser | None:
    """What the header fields of a request say of its browser; None if no browser sent them."""
    if _MARKS.isdisjoint(fields) and not fields.get(b"user-agent", b"").startswith(_AGENT):
        return None
    return Browser(
        fields.get(b"host", b"").decode("latin-1"),
        _text(fields.get(b"origin")),
        _text(fields.get(b"sec-fetch-site")),
    )


def _text(value: bytes | None) -> str | None:
    return None if value is None else value.decode("latin-1")


class BrowserRule:
    """What requests of browsers one context serves.

    Args:
        names: those of the context.
        allowed_hosts: more of them, or ``*``.
        allowed_origins: whose pages may do what the pages of the context may, or ``*``.
    """

    def __init__(
        self, names: Iterable[str], allowed_hosts: Iterable[str], allowed_origins: Iterable[str]
    ) -> None:
        self._hosts = {"localhost", *map(str.lower, names), *allowed_hosts}
        self._origins = set(allowed_origins)

    def refusal(self, browser: Browser, method: str, is_message: bool) -> str | None:
        """Why a request is not served, or None if it is."""
        origin, site = browser.origin, browser.site
        is_marked = origin is not None or site is not None
        if is_marked and (is_message or method not in _SAFE) and not self._allows(origin):
            if is_message:
                return (
                    f"web pages send no messages and ask no processes ({_shown(browser)}); "
                    "Settings(allowed_origins=...) lets those of an origin do so"
                )
            if not _is_same_origin(browser):
                return (
                    f"{method} comes from a page of another origin ({_shown(browser)}); "
                    "Settings(allowed_origins=...) lets it do so"
                )
        if is_message and not is_marked:
            return None  # of no page: those who send one cannot hide where they come from
        if ANY in self._hosts or not browser.host or self._is_named(browser.host):
            return None
        return (
            f"{browser.host[:_SHOWN]!r} is not known as a name of this context; browsers may use "
            "those in Settings(allowed_hosts=...), localhost and IP addresses"
        )

    def _allows(self, origin: str | None) -> bool:
        return ANY in self._origins or origin in self._origins

    def _is_named(self, host: str) -> bool:
        name = _without_port(host).lower()
        name = name[:-1] if name.endswith(".") else name
        return name in self._hosts or name.endswith(".localhost") or _is_ip(name)


def _is_same_origin(browser: Browser) -> bool:
    if browser.site is not None:
        return browser.site in ("same-origin", "none")
    _, _, host = (browser.origin or "").partition("://")
    return bool(host) and host.lower() == browser.host.lower()


def _without_port(host: str) -> str:
    name, colon, port = host.rpartition(":")
    return name if colon and (port.isdigit() or not port) else host


def _is_ip(name: str) -> bool:
    if name.startswith("[") and name.endswith("]"):
        name = name[1:-1]
    elif ":" in name:
        return False
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True


def _shown(browser: Browser) -> str:
    found = (("Origin", browser.origin), ("Sec-Fetch-Site", browser.site))
    return ", ".join(f"{name}: {value[:_SHOWN]!r}" for name, value in found if value is not None)
