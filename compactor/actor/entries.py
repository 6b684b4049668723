"""Entries: what a mailbox holds, each a triple ``(call, a, b)`` that is served by ``call(a, b)``.

A message is ``(handler, sender, body)``, and one whose size is accounted for ``(call, (handler,
sender, size), body)``.  All else is rarer: an event is ``(serve, event, mailbox)``, and the end
``(finalize, None, None)``.
"""

from __future__ import annotations

import asyncio
import functools
from collections import deque
from collections.abc import Callable, Coroutine, Iterator, Mapping
from typing import Any, Protocol

from compactor.actor.routes import Call
from compactor.errors import Reason
from compactor.pid import PID

LARGE = 4096
"""Bodies beyond this many bytes are accounted for one by one; smaller ones by their number."""

Entry = tuple[Callable[[Any, Any], Any], Any, Any]


class Event(Protocol):
    """One event that is not a message."""

    def serve(self, mailbox: Any) -> Any:
        """Let the process handle it; an awaitable result is awaited before the next event."""

    def discard(self, reason: Reason) -> None:
        """The process ends, or has ended, before this event's turn."""

    def __str__(self) -> str:  # pyright: ignore[reportReturnType]
        """What it is, for the log."""


def initialize(process: Any, _: None) -> Any:
    """The call of what is done before anything is served."""
    return process.initialize()


def start(loop: asyncio.AbstractEventLoop, handler: Coroutine[Any, Any, Any]) -> asyncio.Task[Any]:
    """The call that has a handler run as a task."""
    return loop.create_task(handler)


def unhandled(process: Any, name: str) -> Call:
    """The call for messages without a handler: when its turn comes, the process may have delegated
    the name.
    """
    return functools.partial(process.handle_message, name)


def message_of(entry: Entry) -> tuple[Call, PID, bytes]:
    """Handler, sender and body of a message."""
    call, a, body = entry
    if isinstance(a, tuple):
        call, a, _ = a
    return call, a, body


def discard(
    dropped: deque[Entry] | None, mailbox: Any, told: Callable[..., None], reason: Reason
) -> Iterator[None]:
    """Say of each entry, in a step, that the process will not serve it.

    Args:
        dropped: is emptied.
        mailbox: of the process.
        told: called for a message, with the mailbox, sender, name, bytes of its body, and reason.
        reason: why.
    """
    while dropped:
        entry = dropped.popleft()
        if entry[2] is mailbox:
            entry[1].discard(reason)
        elif entry[1] is not None:
            call, sender, body = message_of(entry)
            told(mailbox, sender, name_of(call, mailbox.calls), len(body), reason)
        yield


def discarded(
    dropped: deque[Entry] | None,
    queue: deque[Entry],
    mailbox: Any,
    told: Callable[..., None],
    reason: Reason,
) -> Iterator[None]:
    """As ``discard``, of what was dropped when the process was terminated, and of what waits."""
    yield from discard(dropped, mailbox, told, Reason.TERMINATED)
    yield from discard(queue, mailbox, told, reason)


def sender_of(entry: Entry) -> PID | None:
    """Who has sent a message; None for what is none."""
    return message_of(entry)[1] if isinstance(entry[1], (PID, tuple)) else None


def name_of(call: Call, calls: Mapping[str, Call] | None) -> str | None:
    """The name of a message, found by its handler.

    Args:
        calls: the handlers by name.
    """
    for name, known in (calls or {}).items():
        if known is call:
            return name
    args = getattr(call, "args", ())  # of an unhandled message
    return args[0] if args and isinstance(args[0], str) else None


def description(entry: Entry, calls: Mapping[str, Call] | None) -> str:
    """What an entry is, for the log."""
    if not isinstance(entry[1], (PID, tuple)):
        return "finalize" if entry[1] is None else str(entry[1])
    call, sender, body = message_of(entry)
    return f"message {name_of(call, calls)!r} from {sender} ({len(body)} bytes)"
