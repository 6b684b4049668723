"""``Outbox``: the short way of a message from a process to a mailbox or an outflow."""

from __future__ import annotations

from collections.abc import Mapping
from threading import get_ident
from typing import Protocol

from compactor.mailbox import LARGE, Mailbox
from compactor.pid import PID


class Thread(Protocol):
    """Whose thread the mailboxes belong to."""

    thread: int | None


class Outbox:
    """Sends what needs neither check nor set-up: the receiver and name were seen before.

    Args:
        live: the mailboxes of the context by id.
        inbox: knows the thread of the loop.
        max_events: what a mailbox takes at most from its own context.
    """

    __slots__ = ("_inbox", "_live", "_max_events")

    def __init__(self, live: Mapping[str, Mailbox], inbox: Thread, max_events: int) -> None:
        self._live = live
        self._inbox = inbox
        self._max_events = max_events

    def send(self, sender: PID, to: PID, name: str, body: bytes | None) -> bool:
        """Send a message if nothing about it is unusual; False if it was not sent.

        Whoever gets False takes the general way, which checks all of it.
        """
        if body is None:
            body = b""
        if type(body) is not bytes or type(sender) is not PID or type(to) is not PID:
            return False
        if self._inbox.thread != get_ident():
            return False
        mailbox = self._live.get(sender.id)
        if mailbox is None or mailbox.pid is not sender:
            return False
        if to is not mailbox.last_to or name is not mailbox.last_name:
            if type(name) is not str:
                return False
            target = self._live.get(to.id)
            if target is not None and target.pid is to:
                return self._send_locally(target, sender, name, body)
            route = mailbox.outgoing.get((to, name)) if mailbox.outgoing is not None else None
            if route is None:
                return False
            mailbox.last_to = to
            mailbox.last_name = name
            mailbox.last_outflow, mailbox.last_prefix = route
        mailbox.last_outflow.write_message(mailbox.last_prefix, body)
        return True

    def _send_locally(self, target: Mailbox, sender: PID, name: str, body: bytes) -> bool:
        call = target.call_for(name)
        if call is None or len(body) > LARGE or len(target.queue) >= self._max_events:
            return False
        target.put(call, sender, body)
        return True
