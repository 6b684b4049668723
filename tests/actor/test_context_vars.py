"""Context variables: each process has its own, and async handlers have copies of them."""

from __future__ import annotations

import asyncio
import gc
import socket
import weakref
from collections.abc import Callable, Generator
from contextvars import Context as Variables
from contextvars import ContextVar
from typing import Any

import pytest

from compactor import PID, Context, Process, Request, install, route
from tests.actors import TIMEOUT, Events, Receiver, end, settle, spawned
from tests.raw import frame, read_answer

user: ContextVar[Any] = ContextVar("user", default=None)


class Setter(Receiver):
    """Each of its handlers tells what it finds, and sets something else."""

    def find(self, value: Any) -> Any:
        found = user.get()
        user.set(value)
        return found

    @install("plain")
    def plain(self, from_pid: PID, body: bytes) -> None:
        self.received.put(self.find(body))

    @install("awaited")
    async def awaited(self, from_pid: PID, body: bytes) -> None:
        found = self.find(body)
        await asyncio.sleep(0)
        self.received.put((found, user.get()))

    async def find_later(self, value: Any) -> Any:
        await asyncio.sleep(0)
        return self.find(value)

    async def fail(self) -> None:
        self.find("failed")
        raise LookupError("asked to fail")

    @route("/plain")
    def page(self, request: Request) -> str:
        return str(self.find("page"))

    @route("/awaited")
    async def awaited_page(self, request: Request) -> str:
        return str(self.find("awaited page"))

    @route("/steps")
    def page_of_steps(self, request: Request) -> Generator[Any, Any, str]:
        found = self.find("page of steps")
        yield asyncio.sleep(0)
        return f"{found}, {user.get()}"

    def exited(self, pid: PID, reason: Any) -> None:
        self.exits.put(self.find("exited"))

    def finalize(self) -> None:
        self.exits.put(self.find("finalize"))


@pytest.mark.smoke
def test_what_a_handler_sets_is_seen_by_no_other_process(context: Context) -> None:
    one, other = spawned(context, Setter("one")), spawned(context, Setter("other"))
    with socket.create_connection((context.ip, context.port), TIMEOUT) as sock:
        for setter in one, other:  # served as they arrive, on one connection
            sock.sendall(frame(setter.pid, "plain", b"1") + frame(setter.pid, "plain", b"2"))
            assert [read_answer(sock)[0], read_answer(sock)[0]] == [202, 202]
            assert setter.received.take_many(2) == [None, b"1"]

    third = spawned(context, Setter("third"))
    for setter in one, third:  # served in one turn, by way of the queue
        third.send(setter.pid, "plain", b"3")
        third.send(setter.pid, "plain", b"4")
    assert one.received.take_many(2) == [b"2", b"3"]
    assert third.received.take_many(2) == [None, b"3"]
    last = spawned(context, Setter("last"))
    assert context.dispatch(last.pid, last.find, "x").result(TIMEOUT) is None
    assert context.dispatch(last.pid, last.find, "y").result(TIMEOUT) == "x"
    assert user.get() is None


def test_what_a_route_sets_is_seen_by_no_request_to_another_process(context: Context) -> None:
    for name in "one", "other":
        setter = spawned(context, Setter(name))
        with socket.create_connection((context.ip, context.port), TIMEOUT) as sock:
            seen = []
            for path in "awaited", "steps", "plain", "awaited", "plain", "steps":
                sock.sendall(f"GET /{setter.pid.id}/{path} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
                seen.append(read_answer(sock)[1].decode())
        # What is awaited has a copy; a route of steps begins with its first step.
        steps = "None, page of steps", "page, page of steps"
        assert seen == ["None", steps[0], "None", "page", "page", steps[1]]


def test_an_async_handler_has_a_copy(context: Context) -> None:
    setter = spawned(context, Setter())
    setter.send(setter.pid, "plain", b"own")
    setter.send(setter.pid, "awaited", b"1")
    setter.send(setter.pid, "awaited", b"2")
    assert setter.received.take_many(3) == [None, (b"own", b"1"), (b"own", b"2")]
    assert context.dispatch(setter.pid, "find_later", "x").result(TIMEOUT) == b"own"
    with pytest.raises(LookupError):
        context.dispatch(setter.pid, "fail").result(TIMEOUT)
    assert context.dispatch(setter.pid, "find", "y").result(TIMEOUT) == b"own"


def test_exits_delays_and_the_end_are_in_the_context_of_the_process(context: Context) -> None:
    setter, mortal = spawned(context, Setter()), spawned(context, Process("mortal"))
    setter.link(mortal.pid)
    end(mortal)
    assert setter.exits.take() is None
    events = Events()

    def later() -> None:
        events.put(setter.find("later"))

    Variables().run(lambda: (user.set("caller"), context.delay(0, setter.pid, later)))
    assert events.take() == "exited"
    end(setter)
    assert setter.exits.take() == "later"


def test_a_process_begins_with_a_copy_of_the_context_that_it_was_spawned_in(
    context: Context,
) -> None:
    class Parent(Setter):
        def initialize(self) -> None:
            self.found = self.find("initialized")

        def spawn(self) -> Parent:
            user.set("parent")
            return spawned(self.context, Parent("child"))

    parent = Parent()
    Variables().run(lambda: (user.set("outside"), context.spawn(parent)))
    assert parent.found == "outside"
    assert user.get() is None
    child = context.dispatch(parent.pid, parent.spawn).result(TIMEOUT)
    assert child.found == "parent"
    assert context.dispatch(child.pid, "find", "x").result(TIMEOUT) == "initialized"
    assert context.dispatch(parent.pid, "find", "y").result(TIMEOUT) == "parent"


def test_what_an_async_initialize_sets_is_kept(context: Context) -> None:
    class Slow(Setter):
        async def initialize(self) -> None:  # type: ignore[override]
            self.received.put(self.find("begun"))
            await asyncio.sleep(0)
            self.received.put(self.find("initialized"))

    slow = Slow()
    Variables().run(lambda: (user.set("outside"), context.spawn(slow)))
    slow.send(slow.pid, "plain", b"1")
    assert slow.received.take_many(3) == ["outside", "begun", "initialized"]


def test_tasks_and_callbacks_of_a_handler_have_copies(context: Context) -> None:
    events = Events()

    class Starter(Setter):
        def start(self) -> None:
            user.set("start")
            self.task = asyncio.ensure_future(self.find_later("task"))
            self.task.add_done_callback(lambda task: events.put((task.result(), user.get())))
            asyncio.get_running_loop().call_soon(lambda: events.put(self.find("callback")))
            user.set("after")

    starter = spawned(context, Starter())
    context.dispatch(starter.pid, "start").result(TIMEOUT)
    assert events.take_many(2) == ["start", ("start", "start")]
    assert context.dispatch(starter.pid, "find", "x").result(TIMEOUT) == "after"


def test_a_handler_that_raises_leaves_its_context(
    context: Context, caplog: pytest.LogCaptureFixture
) -> None:
    class Failing(Setter):
        @install("fail")
        def fail_plainly(self, from_pid: PID, body: bytes) -> None:
            self.find(body)
            raise ValueError

    failing, other = spawned(context, Failing("failing")), spawned(context, Setter("other"))
    other.send(failing.pid, "fail", b"1")
    other.send(failing.pid, "plain", b"2")
    other.send(other.pid, "plain", b"3")
    assert failing.received.take() == b"1"
    assert other.received.take() is None
    assert "ValueError" in caplog.text


def test_a_connection_keeps_no_variables_of_who_sent_first(
    make_context: Callable[..., Context],
) -> None:
    class Value:
        pass

    def send() -> weakref.ref[Value]:
        value = Value()
        user.set(value)
        sender.send(receiver.pid, "message", b"")
        sender.link(receiver.pid)
        user.set(None)
        return weakref.ref(value)

    sender = spawned(make_context(), Receiver("sender"))
    receiver = spawned(make_context(), Receiver("receiver"))
    value = sender.context.dispatch(sender.pid, send).result(TIMEOUT)
    receiver.received.take()
    for _ in range(3):  # turns of the loop after that of the handler
        settle(sender)
    gc.collect()
    assert value() is None
