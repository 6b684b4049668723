"""Paths to targets: the flat table of message paths, and the match of HTTP routes."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Protocol, TypeVar

from compactor.errors import RemoteProtocolError
from compactor.wire.encoder import message_path
from compactor.wire.escapes import unescaped

_LONG = 256  # characters of a path
Value = TypeVar("Value")
Call = Callable[[Any, Any], Any]


def split_path(path: bytes) -> tuple[str, str]:
    """Split ``/id/rest`` into the decoded id and the raw rest, as libprocess does.

    ``%xx`` is decoded and ``+`` is a blank in the id alone: ``/slave%281%29/a%2Fb`` is
    ``("slave(1)", "a%2Fb")``.

    Raises:
        RemoteProtocolError: a percent sign in the id is not followed by two hex digits.
    """
    id_, _, rest = path[1:].partition(b"/")
    try:
        decoded = unescaped(id_.replace(b"+", b" "))
    except ValueError:
        raise RemoteProtocolError(f"bad percent escape in the process id {id_[:80]!r}") from None
    return decoded.decode("utf-8", "surrogateescape"), rest.decode("utf-8", "surrogateescape")


def match_route(routes: Mapping[str, Value], rest: str) -> tuple[str, Value] | None:
    """The route for what follows the id: the whole, then ever shorter leading parts.

    ``/a`` serves ``a/b/c`` unless ``/a/b`` exists.  ``/`` serves only the bare id; it is no
    catch-all.
    """
    path = "/" + rest.strip("/")
    if len(path) > _LONG and path not in routes:
        # No longer than any route, or each of its 40,000 parts would be a path of its own.
        path = path[: max(map(len, routes), default=0) + 1]
    while path not in routes:
        path = path.rpartition("/")[0]
        if not path:
            return None
    return path, routes[path]


class Target(Protocol):
    """What a path leads to: a mailbox, seen from here."""

    paths: list[bytes] | None

    def call_for(self, name: str) -> Call | None:
        """The call for messages of that name, or None if there is no handler."""


class RouteTable:
    """The flat table from message path to (mailbox, call), filled as paths are first used.

    A path is remembered in the spelling that senders use, so the table never outgrows the
    handlers and routes of live processes.

    Attributes:
        known: (mailbox, call) by message path.
        pages: (mailbox, call) by HTTP path.

    Args:
        find: returns the live mailbox of a process id, or None.
    """

    __slots__ = ("_find", "known", "pages")

    def __init__(self, find: Callable[[str], Any]) -> None:
        self._find = find
        self.known: dict[bytes, tuple[Any, Call]] = {}
        self.pages: dict[bytes, tuple[Any, Callable[[Any], Any]]] = {}

    def resolve(self, path: bytes) -> tuple[Any, Call | None, str] | None:
        """Find the mailbox, call and message name for a path that is not ``known`` yet.

        Returns:
            None if there is no such process; a call of None if it has no such handler.

        Raises:
            RemoteProtocolError: the path has a bad percent escape.
        """
        id_, name = split_path(path)
        mailbox = self._find(id_)
        if mailbox is None:
            return None
        call = mailbox.call_for(name)
        if call is not None and path not in self.known:
            own = message_path(id_, name)
            if path == own.encode("utf-8", "surrogateescape"):
                self.known[path] = (mailbox, call)
                _add_path(mailbox, path)
        return mailbox, call, name

    def remember_page(
        self, mailbox: Any, route: str, call: Callable[[Any], Any], path: bytes
    ) -> None:
        """Remember what serves an HTTP path, if that is the route's own path."""
        own = message_path(mailbox.pid.id, route.lstrip("/"))
        if path == own.encode("utf-8", "surrogateescape"):
            self.pages[path] = (mailbox, call)
            _add_path(mailbox, path)

    def forget(self, mailbox: Target) -> None:
        """Drop every path of a process that has ended."""
        for path in mailbox.paths or ():
            self.known.pop(path, None)
            self.pages.pop(path, None)
        mailbox.paths = None


def _add_path(mailbox: Any, path: bytes) -> None:
    if mailbox.paths is None:
        mailbox.paths = []
    mailbox.paths.append(path)
