"""``/__processes__``: who lives, what waits, in the shapes of libprocess, and how much of it."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from compactor import PID, Context, Process, Request, install, route
from compactor.endpoints.processes import MOST_BYTES, MOST_EVENTS
from tests.actors import TIMEOUT
from tests.endpoints.asking import fetch, recorded

MakeContext = Callable[..., Context]


class Web(Process):
    """Handles one message until it may go on."""

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.is_busy = threading.Event()
        self.may_go_on = asyncio.Event()

    @install("busy")
    async def busy(self, from_pid: PID, body: bytes) -> None:
        self.is_busy.set()
        await self.may_go_on.wait()

    @install("msg")
    def message(self, from_pid: PID, body: bytes) -> None:
        pass

    @install("large")
    async def large(self, from_pid: PID, body: bytes) -> None:
        pass

    @route("/hello")
    def hello(self, request: Request) -> str:
        return "hello"

    def called(self) -> None:
        pass

    def go_on(self) -> None:
        self.may_go_on.set()


@pytest.fixture
def web(context: Context) -> Iterator[Web]:
    web = Web("web")
    context.spawn(web)
    context.send(web.pid, web.pid, "busy", b"")
    assert web.is_busy.wait(TIMEOUT)
    yield web
    context._call(web.go_on)


def waiting(context: Context, **headers: str) -> list[dict[str, Any]]:
    """The events of the process that is busy."""
    told = fetch(context, "/__processes__", **headers)
    assert (told.status, told.type) == (200, "application/json")
    (found,) = (process for process in told.json if process["id"] == "web")
    assert list(found) == ["events", "id"]
    events: list[dict[str, Any]] = found["events"]
    return events


@pytest.mark.smoke
def test_idle_processes_are_as_in_libprocess(context: Context) -> None:
    for name in ("web", "slave(1)"):
        context.spawn(Web(name))

    ours, theirs = fetch(context, "/__processes__"), recorded("processes")

    assert (ours.status, ours.type) == (theirs.status, theirs.type)
    assert ours.headers["content-length"] == str(len(ours.body))
    assert ours.text == '[{"events":[],"id":"web"},{"events":[],"id":"slave(1)"}]'
    assert all(process in theirs.json for process in ours.json)
    assert fetch(context, "/__processes__/").body == ours.body
    assert fetch(context, "/__processes__?jsonp=f").type == recorded("processes___jsonp=f").type
    assert fetch(context, "/__processes__/web").status == recorded("processes___web").status


def test_a_context_without_processes_has_none(context: Context) -> None:
    assert fetch(context, "/__processes__").text == "[]"


def test_what_waits_is_in_the_shapes_of_libprocess(context: Context, web: Web) -> None:
    (theirs,) = (p for p in recorded("processes_busy").json if p["id"] == "web")
    request, message, _, dispatch = theirs["events"]
    asking = threading.Thread(target=fetch, args=(context, "/web/hello?x=1"))
    asking.start()
    while len(context._registry.live["web"].queue) < 1:
        pass
    body = message["body"].encode()
    context.send(web.pid, web.pid, "msg", body)
    context.dispatch(web.pid, web.called)
    context.link(web.pid, PID("127.0.0.1", context.port, "nobody"))
    context.terminate(web.pid, inject=False)

    ours = waiting(context)

    mine = {**message, "from": str(web.pid), "to": str(web.pid)}
    assert ours == [request, mine, dispatch, {"type": "EXITED"}, {"type": "TERMINATE"}]
    assert list(map(list, ours[:3])) == list(map(list, (request, message, dispatch)))
    context._call(web.go_on)
    asking.join(TIMEOUT)


def test_names_of_all_kinds_of_messages_are_told(context: Context, web: Web) -> None:
    for name in ("msg", "large", "unknown"):
        context.send(web.pid, web.pid, name, b"x" * 5000 if name == "large" else b"\xff\x00")
    asked = context.ask(web.pid, "msg", b"asked", timeout=TIMEOUT)
    while len(context._registry.live["web"].queue) < 4:
        pass

    ours = waiting(context)

    assert [event["name"] for event in ours] == ["msg", "large", "unknown", "msg"]
    assert ours[0]["body"] == "\ufffd\0"
    assert "size" not in ours[0]
    assert (len(ours[1]["body"]), ours[1]["size"]) == (MOST_BYTES, 5000)
    asked.cancel()


def test_of_a_deep_mailbox_so_many_are_shown_and_the_rest_is_counted(
    context: Context, web: Web
) -> None:
    for _ in range(MOST_EVENTS + 5):
        context.send(web.pid, web.pid, "msg", b"")
    context.dispatch(web.pid, web.called)

    (told,) = fetch(context, "/__processes__").json

    assert len(told["events"]) == MOST_EVENTS
    assert told["pending"] == MOST_EVENTS + 6


def test_strangers_see_no_contents(context: Context, web: Web) -> None:
    context.send(web.pid, web.pid, "msg", b"secret")
    asking = threading.Thread(target=fetch, args=(context, "/web/hello?token=secret"))
    asking.start()
    while len(context._registry.live["web"].queue) < 2:
        pass

    ours = waiting(context, X_Forwarded_For="192.0.2.1")

    assert "secret" not in str(ours)
    assert ours[0]["size"] == 6
    assert "body" not in ours[0]
    assert ours[1] == {"type": "HTTP", "method": "GET", "url": "/web/hello"}
    context._call(web.go_on)
    asking.join(TIMEOUT)
