"""``Outbox``: the short way of the messages of one process to mailboxes and outflows."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from threading import get_ident
from typing import Any, Protocol

from compactor.pid import PID

from .mailbox import ENDED, LARGE, Mailbox
from .outflow import Outflow

_MAX_ROUTES = 1024  # encoded frame beginnings that one process remembers


class Inbox(Protocol):
    """The way to the thread that mailboxes and outflows belong to.

    Attributes:
        thread: its ident, once nothing that was asked for earlier waits for it.
        is_stopping: whether nothing more should be asked for.
    """

    thread: int | None
    is_stopping: bool

    def post(self, call: Callable[..., Any], *args: Any) -> None: ...


class Outbox:
    """Sends what needs neither check nor set-up: messages like others that were sent before.

    Args:
        mailbox: the mailbox of the process that sends.
        live: the mailboxes of the context by id.
        inbox: the way to the thread of the loop.
        max_events: what a mailbox takes at most from its own context.
        send_otherwise: the general way, for messages that have been checked.
    """

    __slots__ = (
        "_inbox",
        "_last_name",
        "_last_outflow",
        "_last_prefix",
        "_last_to",
        "_live",
        "_mailbox",
        "_max_events",
        "_routes",
        "_send_otherwise",
    )

    def __init__(
        self,
        mailbox: Mailbox,
        live: Mapping[str, Mailbox],
        inbox: Inbox,
        max_events: int,
        send_otherwise: Callable[[Mailbox, PID, str, bytes], None],
    ) -> None:
        self._mailbox = mailbox
        self._live = live
        self._inbox = inbox
        self._max_events = max_events
        self._send_otherwise = send_otherwise
        self._routes: dict[tuple[PID, str], tuple[Outflow, bytes]] = {}
        self._last_to: PID | None = None
        self._last_name: str | None = None
        self._last_outflow: Outflow | None = None
        self._last_prefix = b""

    def send(self, to: PID, name: str, body: bytes | None) -> bool:
        """Send a message if nothing about it is unusual; False if it was not sent.

        Whoever gets False takes the general way, which checks all of it.
        """
        if body is None:
            body = b""
        if type(body) is not bytes:
            return False
        if self._inbox.thread != get_ident():
            return self._send_from_thread(to, name, body)
        if to is not self._last_to or name is not self._last_name:
            if type(to) is not PID or type(name) is not str:
                return False
            target = self._live.get(to.id)
            if target is not None and target.pid is to:
                return self._send_locally(target, name, body)
            route = self._routes.get((to, name))
            if route is None:
                return False
            self._last_to = to
            self._last_name = name
            self._last_outflow, self._last_prefix = route
        outflow = self._last_outflow
        if self._mailbox.state == ENDED or outflow is None:
            return False
        outflow.write_message(self._last_prefix, body)
        return True

    def _send_from_thread(self, to: PID, name: str, body: bytes) -> bool:
        """Ask the loop's thread to send.  What is looked at here may have changed when it does."""
        if type(to) is not PID or type(name) is not str or self._mailbox.state == ENDED:
            return False
        target = self._live.get(to.id)
        is_known = target is not None and target.pid is to and name in (target.calls or ())
        if not is_known and (to, name) not in self._routes:
            return False
        if self._inbox.thread is None or self._inbox.is_stopping:
            return False
        self._inbox.post(self._send_checked, to, name, body)
        return True

    def _send_checked(self, to: PID, name: str, body: bytes) -> None:
        if not self.send(to, name, body):
            self._send_otherwise(self._mailbox, to, name, body)

    def _send_locally(self, target: Mailbox, name: str, body: bytes) -> bool:
        call = target.call_for(name)
        if (
            call is None
            or self._mailbox.state == ENDED
            or len(body) > LARGE
            or len(target.queue) >= self._max_events
        ):
            return False
        target.put(call, self._mailbox.pid, body)
        return True

    def remember(self, to: PID, name: str, outflow: Outflow, prefix: bytes) -> None:
        """Let the next message to this receiver, of this name, go the short way."""
        if len(self._routes) >= _MAX_ROUTES:
            self._routes.clear()
        self._routes[to, name] = (outflow, prefix)

    def close(self) -> None:
        """The process has ended."""
        self._routes.clear()
        self._last_to = self._last_name = self._last_outflow = None
