"""``Outbox``: the short way of the messages of one process to mailboxes and send queues."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from threading import get_ident
from typing import Any

from compactor.actor.entries import LARGE
from compactor.pid import PID
from compactor.wire.encoder import TypedName

from ..actor.mailbox import ENDED, Mailbox
from ..net.portal import Portal
from .send_queue import SendQueue

_NOBODY = object()  # that nothing is sent to
_MAX_ROUTES = 1024  # encoded frame beginnings that one process remembers


class Outbox:
    """Sends what needs neither check nor set-up: messages like others that were sent before.

    Args:
        mailbox: the mailbox of the process that sends.
        live: the mailboxes of the context by id.
        portal: the way to the thread of the loop.
        max_events: what a mailbox takes at most from its own context.
        send_otherwise: the general way, for messages that have been checked.
        types: by the type of a message, what writes it, and its name thrice: as it is sent, alone,
            and as it is remembered.
    """

    __slots__ = (
        "_counts",
        "_ip",
        "_last_name",
        "_last_prefix",
        "_last_queue",
        "_last_to",
        "_live",
        "_mailbox",
        "_max_events",
        "_port",
        "_portal",
        "_routes",
        "_send_otherwise",
        "_types",
    )

    def __init__(
        self,
        mailbox: Mailbox,
        live: Mapping[str, Mailbox],
        portal: Portal,
        max_events: int,
        send_otherwise: Callable[[Mailbox, PID, str, bytes], None],
        types: Mapping[type, tuple[Callable[[Any], bytes], str, str, str]],
    ) -> None:
        self._mailbox = mailbox
        self._counts = mailbox.counts.own(mailbox)
        self._live = live
        self._portal = portal
        self._max_events = max_events
        self._send_otherwise = send_otherwise
        self._types = types
        self._ip = mailbox.pid.ip
        self._port = mailbox.pid.port
        self._routes: dict[tuple[str, int, str, str], tuple[SendQueue, bytes]] = {}
        self._last_to: Any = _NOBODY
        self._last_name: str | None = None
        self._last_queue: Any = None  # which it is only as long as the last was nobody
        self._last_prefix = b""

    def send(self, to: PID, name: str, body: bytes | None) -> bool:
        """Send a message if nothing about it is unusual; False if it was not sent.

        Whoever gets False takes the general way, which checks all of it.
        """
        if type(body) is not bytes:
            if body is not None:
                return False
            body = b""
        if self._portal.thread != get_ident():
            return self._send_from_thread(to, name, body)
        if to is not self._last_to or name is not self._last_name:
            if type(to) is not PID:
                return False
            if type(name) is not str:
                return self._send_typed(to, name, body)
            target = self._live.get(to.id)
            if target is not None and (target.pid is to or self._is_here(to)):
                return self._send_locally(target, name, body)
            route = self._routes.get((to.id, to.port, to.ip, name))
            if route is None:
                return False
            self._last_to = to
            self._last_name = name
            self._last_queue, self._last_prefix = route
        counts = self._counts
        counts.sent += 1
        counts.bytes_out += len(body)
        self._last_queue.write_message(self._last_prefix, body)
        return True

    def _send_typed(self, to: PID, message: Any, body: bytes) -> bool:
        """Send an object of a type that was sent before, or bytes whose name tells their type."""
        name: Any
        if type(message) is TypedName:
            name, plain, key = message, message.plain, message.key
        else:
            known = self._types.get(type(message))
            if known is None or body:
                return False
            encode, name, plain, key = known
            body = encode(message)
        if self._mailbox.state == ENDED:
            return False
        if to is not self._last_to or name is not self._last_name:
            target = self._live.get(to.id)
            if target is not None and (target.pid is to or self._is_here(to)):
                if not self._send_locally(target, plain, body):
                    self._send_otherwise(self._mailbox, to, name, body)
                return True
            route = self._routes.get((to.id, to.port, to.ip, key))
            if route is None:
                self._send_otherwise(self._mailbox, to, name, body)
                return True
            self._last_to = to
            self._last_name = name
            self._last_queue, self._last_prefix = route
        counts = self._counts
        counts.sent += 1
        counts.bytes_out += len(body)
        self._last_queue.write_message(self._last_prefix, body)
        return True

    def _is_here(self, to: PID) -> bool:
        """Whether a pid carries the address of this context.  Most that programs keep came through
        text: they are equal to those of processes, and not the same.
        """
        return bool(to.port == self._port and to.ip == self._ip)

    def _send_from_thread(self, to: PID, name: str, body: bytes) -> bool:
        """Ask the loop's thread to send.  What is looked at here may have changed when it does."""
        if type(to) is not PID or type(name) is not str or self._mailbox.state == ENDED:
            return False
        target = self._live.get(to.id)
        if target is not None and (target.pid is to or self._is_here(to)):
            is_known = name in (target.calls or ())
        else:
            is_known = (to.id, to.port, to.ip, name) in self._routes
        if not is_known:
            return False
        if self._portal.thread is None or self._portal.is_stopping:
            return False
        self._portal.put(self._send_checked, (to, name, body))
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
        self._counts.local += 1
        target.put(call, self._mailbox.pid, body)
        return True

    def remember(self, to: PID, name: str, send_queue: SendQueue, prefix: bytes) -> None:
        """Let the next message to this receiver, of this name, go the short way, as long as the
        process lives.
        """
        if self._mailbox.state == ENDED:
            return
        if len(self._routes) >= _MAX_ROUTES:
            self._routes.clear()
        key = name.key if type(name) is TypedName else name
        self._routes[to.id, to.port, to.ip, key] = (send_queue, prefix)

    def close(self) -> None:
        """The process has ended."""
        self._routes.clear()
        self._last_to = _NOBODY
        self._last_name = self._last_queue = None
