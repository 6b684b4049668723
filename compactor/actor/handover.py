"""What waits in the mailbox of a process that failed, handed over to the one that comes after it.

The old mailbox has ended for whoever still knows it, but tells nobody: what is put there fails as
with every process that has ended.  The messages that wait are bound anew by their names.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from typing import Any, Protocol

from compactor.actor.entries import Entry, Event, discard, name_of, unhandled
from compactor.actor.mailbox import ENDED
from compactor.actor.routes import Call, RouteTable
from compactor.actor.slices import Slices
from compactor.errors import Reason
from compactor.net.flow_control import release_feeders

PageOf = Callable[[bytes], Any]


class HandoverOwner(Protocol):
    """What a handover asks of the runtime."""

    registry: Any
    routes: RouteTable
    slices: Slices

    def find_route(self, path: bytes) -> Any: ...
    def message_dropped(
        self, mailbox: Any, sender: Any, name: str | None, size: int, reason: Reason
    ) -> None: ...


def hand_over(old: Any, new: Any, first: Event, owner: HandoverOwner) -> None:
    """Let ``new`` take the place of ``old``, and begin with an event of its own.

    Args:
        old: is not served any more.
        new: a mailbox of the same pid, not opened yet.
        first: comes before all that waits.
        owner: of both.
    """
    waiting, old.queue, old.state = old.queue, (), ENDED
    if old.paths is not None:
        owner.routes.forget(old)
    if old.outbox is not None:
        old.outbox.close()
    new.counts = old.counts.own(old)  # those of a process, however often it is made anew
    new.counts.restarts += 1
    owner.registry.live[new.pid.id] = new
    if old.large_bytes:
        size = old.large_bytes
        old.account(-size)
        new.account(size)
    release_feeders(old)
    owner.slices.work(_move(waiting, old, new, first, owner))


def _move(waiting: Any, old: Any, new: Any, first: Event, owner: HandoverOwner) -> Iterator[None]:
    """Bind all that waits anew, one by one; ``new`` collects what comes meanwhile."""
    moved: deque[Entry] = deque()
    calls: dict[int, Call] = {}
    for entry in waiting:
        again = _moved(entry, old, new, calls, owner.find_route)
        if again is not None:
            moved.append(again)
        yield
    if new.state == ENDED or new._dropped is not None:  # it was terminated meanwhile
        yield from discard(moved, new, owner.message_dropped, Reason.TERMINATED)
    else:
        moved.extend(new.queue)
        new.queue = moved
        new.put_first(first)
    new.open()


def _moved(
    entry: Entry, old: Any, new: Any, calls: dict[int, Call], page_of: PageOf
) -> Entry | None:
    call, a, body = entry
    if body is old:
        return (call, a, new) if _event_moved(a, new, page_of) else None
    if a is None:
        return (new._finalize, None, None)
    if isinstance(a, tuple):
        handler, sender, size = a
        return (new._serve_large, (_bound_anew(handler, old, new, calls), sender, size), body)
    return (_bound_anew(call, old, new, calls), a, body)


def _event_moved(event: Any, new: Any, page_of: PageOf) -> bool:
    moved = getattr(event, "moved", None)
    if moved is None or moved(new, page_of):
        return True
    event.discard(Reason.TERMINATED)
    return False


def _bound_anew(call: Call, old: Any, new: Any, calls: dict[int, Call]) -> Call:
    """The call by which the new process is handed the messages of the same name."""
    renewed: Callable[[Any], Call] | None = getattr(call, "renewed", None)
    if renewed is not None:  # it is an inquiry
        return renewed(new)
    again = calls.get(id(call))
    if again is None:
        name = name_of(call, old.calls) or ""
        again = calls[id(call)] = new.call_for(name) or unhandled(new.process, name)
    return again
