"""``/__processes__``: who lives on a context, and what waits for each."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from typing import Any

from compactor.actor.entries import Entry, message_of
from compactor.actor.events import Exited
from compactor.endpoints.access import is_from_here
from compactor.endpoints.endpoint import Endpoint
from compactor.endpoints.json_answer import to_sorted_json
from compactor.endpoints.pieces import in_pieces
from compactor.http.content import JSON
from compactor.http.request import Request
from compactor.http.response import Response
from compactor.pid import PID

MOST_EVENTS = 1000
"""Events of one process that are shown."""

MOST_BYTES = 1024
"""Bytes of a body, and characters of whatever else others choose, that are shown."""


def _processes(request: Request, owner: Any) -> Response:
    shows_all = is_from_here(request) or getattr(request, "principal", None) is not None
    return in_pieces(owner, _parts(owner, shows_all), JSON)


def _parts(owner: Any, shows_all: bool) -> Iterator[str]:
    """The answer, part by part."""
    live = owner.registry.live
    before = "["
    for id_ in owner.pages.endpoints().crowd.ids(live):
        mailbox = live.get(id_)
        if mailbox is None:
            yield ""
            continue
        if not mailbox.queue:
            yield f'{before}{{"events":[],"id":{to_sorted_json(id_)}}}'
        else:
            yield before
            yield from _busy(mailbox, shows_all)
        before = ","
    yield "[]" if before == "[" else "]"


def _busy(mailbox: Any, shows_all: bool) -> Iterator[str]:
    """A process that something waits for."""
    names = {id(call): name for name, call in (mailbox.calls or {}).items()}
    pending = len(mailbox.queue)
    yield '{"events":['
    before = ""
    # The queue changes while this is sent.
    for entry in list(islice(mailbox.queue, MOST_EVENTS)):
        yield before + to_sorted_json(_event(entry, mailbox.pid, names, shows_all))
        before = ","
    yield f'],"id":{to_sorted_json(mailbox.pid.id)}'
    yield f',"pending":{pending}}}' if pending > MOST_EVENTS else "}"


def _event(entry: Entry, to: PID, names: dict[int, str], shows_all: bool) -> dict[str, Any]:
    """One event, in the shape that libprocess has for it."""
    event = entry[1]
    if isinstance(event, (PID, tuple)):
        return _message(entry, to, names, shows_all)
    if event is None:
        return {"type": "TERMINATE"}
    if isinstance(event, Exited):
        return {"type": "EXITED"}
    if hasattr(event, "leave_failure"):  # a dispatch, whose name may be anything
        return {"type": "DISPATCH"}
    kind, _, rest = str(event)[: 2 * MOST_BYTES].partition(" ")
    if kind != "request":
        return {"type": "DISPATCH"}
    method, _, url = rest.partition(" ")
    if not shows_all:
        url = url.partition("?")[0]
    return {"type": "HTTP", "method": method, "url": url[:MOST_BYTES]}


def _message(entry: Entry, to: PID, names: dict[int, str], shows_all: bool) -> dict[str, Any]:
    call, sender, body = message_of(entry)
    name = names.get(id(call)) or getattr(call, "_name", None)
    if name is None:
        args = getattr(call, "args", ())  # of one that nobody may handle
        name = args[0] if args and isinstance(args[0], str) else ""
    told: dict[str, Any] = {
        "type": "MESSAGE",
        "name": name[:MOST_BYTES],
        "from": str(sender)[:MOST_BYTES],
        "to": str(to),
    }
    if shows_all:
        told["body"] = bytes(body[:MOST_BYTES]).decode(errors="replace")
    if not shows_all or len(body) > MOST_BYTES:
        told["size"] = len(body)
    return told


ENDPOINTS = (
    Endpoint(
        "/__processes__",
        _processes,
        "Shows all processes, and what waits for each.",
        f"""A list of objects, one for each process, with its `id` and its `events` in their order:

>        MESSAGE              with name, from, to and body
>        HTTP                 with method and url
>        DISPATCH             a call of a method, or another event of its own
>        EXITED               a linked process is gone
>        TERMINATE            the process is to end

Of one process {MOST_EVENTS} events are shown; if there are more, `pending` tells how many. Of a
body {MOST_BYTES} bytes are shown; if it has more, `size` tells how many. Clients on other hosts
see no bodies and no queries, unless they are known.
""",
    ),
)
