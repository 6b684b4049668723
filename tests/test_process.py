"""Spawning: what a process gets, when it is initialized, which ids are free."""

from __future__ import annotations

import inspect
import threading
from collections.abc import Callable
from typing import Any
from unittest import mock

import pytest

from compactor import PID, Context, Process, Reason, install
from compactor.errors import UnboundProcess
from tests.actors import TIMEOUT, Events, Receiver, dead_letters, end, settle, spawned, take_letter

ContextFactory = Callable[..., Context]


@pytest.mark.smoke
def test_spawn_returns_the_pid_that_the_process_has(context: Context) -> None:
    process = Process("name")

    pid = context.spawn(process)

    assert pid == process.pid == PID(context.ip, context.port, "name")
    assert process.context is context
    assert repr(process) == f"<Process name@{context.ip}:{context.port}>"


def test_initialize_runs_on_the_callers_thread_before_spawn_returns(context: Context) -> None:
    class Starting(Process):
        def initialize(self) -> None:
            self.thread = threading.current_thread()
            self.pid_then = self.pid

    process = Starting("starting")
    pid = context.spawn(process)

    assert process.thread is threading.current_thread()
    assert process.pid_then == pid


def test_events_wait_until_initialize_has_returned(sender: Process, there: Context) -> None:
    events = Events()

    class Starting(Process):
        def initialize(self) -> None:
            sender.send(self.pid, "message")
            self.context.dispatch(self.pid, events.put, "dispatch")
            self.send(self.pid, "message")
            settle(sender)
            other = Process("other")
            self.context.spawn(other)
            settle(other)
            events.put("initialized")

        @install("message")
        def message(self, from_pid: PID, body: bytes) -> None:
            events.put(from_pid.id)

    there.spawn(Starting("starting"))

    assert events.take() == "initialized"
    assert sorted(events.take_many(3)) == ["dispatch", "sender", "starting"]


def test_raising_initialize_leaves_nothing_behind(context: Context) -> None:
    letters = dead_letters(context)

    class Failing(Process):
        def initialize(self) -> None:
            self.send(self.pid, "message")
            raise RuntimeError("no")

        @install("message")
        def message(self, from_pid: PID, body: bytes) -> None:
            raise AssertionError("reached a process that never started")

    process = Failing("name")
    with pytest.raises(RuntimeError, match="no"):
        context.spawn(process)

    assert take_letter(letters).name == "message"
    with pytest.raises(UnboundProcess):
        _ = process.pid
    with pytest.raises(Context.Error):
        _ = context.pid
    context.spawn(Process("name"))
    assert context.pid.id == "name"


def test_linker_hears_that_initialize_raised(context: Context) -> None:
    watcher = Receiver("watcher")
    context.spawn(watcher)

    class Failing(Process):
        def initialize(self) -> None:
            watcher.link(self.pid)
            settle(watcher)
            raise RuntimeError("no")

    with pytest.raises(RuntimeError):
        context.spawn(Failing("failing"))

    assert watcher.exits.take() == (PID(context.ip, context.port, "failing"), Reason.TERMINATED)


def test_failed_spawn_does_not_unlink_who_takes_its_name_next(context: Context) -> None:
    class Failing(Process):
        def initialize(self) -> None:
            raise RuntimeError("no")

    watched, heir = spawned(context, Process("watched")), Receiver("name")
    entered, go = threading.Event(), threading.Event()

    def block() -> None:
        entered.set()
        assert go.wait(TIMEOUT)
        context.spawn(heir)
        heir.link(watched.pid)

    blocked = context.dispatch(watched.pid, block)
    assert entered.wait(TIMEOUT)
    with pytest.raises(RuntimeError, match="no"):
        context.spawn(Failing("name"))  # what it leaves to do waits behind ``block``
    go.set()
    blocked.result(TIMEOUT)
    settle(heir)
    watched.terminate()

    assert heir.exits.take() == (watched.pid, Reason.TERMINATED)


def test_process_can_be_spawned_after_its_initialize_raised(context: Context) -> None:
    class Second(Receiver):
        attempts = 0

        def initialize(self) -> None:
            self.attempts += 1
            if self.attempts == 1:
                raise RuntimeError("not yet")

    process = Second()
    with pytest.raises(RuntimeError):
        context.spawn(process)
    context.spawn(process)
    process.send(process.pid, "message", b"x")

    assert process.received.take() == (process.pid, b"x")


def test_live_id_is_refused_and_its_process_lives_on(context: Context) -> None:
    first, second = Receiver("name"), Receiver("name")
    context.spawn(first)

    with pytest.raises(Context.InvalidProcess, match="name"):
        context.spawn(second)

    first.send(first.pid, "message", b"x")
    assert first.received.take() == (first.pid, b"x")
    assert second.received.is_empty
    with pytest.raises(UnboundProcess):
        _ = second.pid


def test_same_id_can_live_on_two_contexts(make_context: ContextFactory) -> None:
    one, other = make_context(), make_context()

    assert one.spawn(Process("name")) != other.spawn(Process("name"))


@pytest.mark.parametrize("name", ["a b", "a@b", None, 5])
def test_a_name_that_was_changed_is_checked_again(context: Context, name: Any) -> None:
    process = Process("name")
    process.name = name

    with pytest.raises((TypeError, ValueError), match="process id"):
        context.spawn(process)

    process.name = "another"
    assert context.spawn(process).id == "another"


def test_a_bind_that_returns_nothing_is_one_of_0_3_0(context: Context) -> None:
    class Bound(Process):
        def bind(self, context: Any) -> None:  # type: ignore[override]
            super().bind(context)

    process = Bound("bound")

    assert context.spawn(process) == process.pid == PID(context.ip, context.port, "bound")


def test_id_can_be_used_again_after_its_process_ended(sender: Process, there: Context) -> None:
    first, second = spawned(there, Receiver("name")), Receiver("name")
    sender.send(first.pid, "message", b"1")
    assert first.received.take() == (sender.pid, b"1")
    end(first)

    there.spawn(second)
    sender.send(second.pid, "message", b"2")

    assert second.received.take() == (sender.pid, b"2")
    assert first.received.is_empty


def test_process_can_be_spawned_again_after_it_ended(context: Context) -> None:
    process = Receiver()
    context.spawn(process)
    end(process)

    context.spawn(process)
    process.send(process.pid, "message", b"again")

    assert process.received.take() == (process.pid, b"again")


def test_ended_process_can_be_spawned_on_another_context(make_context: ContextFactory) -> None:
    one, other = make_context(), make_context()
    process = Receiver()
    one.spawn(process)
    end(process)

    other.spawn(process)

    assert process.context is other
    assert process.pid.port == other.port


def test_live_process_is_not_spawned_twice(make_context: ContextFactory) -> None:
    one, other = make_context(), make_context()
    process = Receiver()
    one.spawn(process)

    for context in (one, other):
        with pytest.raises(Context.InvalidProcess, match="lives"):
            context.spawn(process)

    assert process.context is one
    process.send(process.pid, "message", b"x")
    assert process.received.take() == (process.pid, b"x")


@pytest.mark.parametrize("thing", [None, "name", int, object(), PID("127.0.0.1", 1, "x")])
def test_only_a_process_can_be_spawned(context: Context, thing: Any) -> None:
    with pytest.raises(TypeError, match="Process"):
        context.spawn(thing)


def test_a_class_is_a_callable_that_makes_a_process(context: Context) -> None:
    assert context.spawn(Process).id.startswith("process(")


def test_process_that_skipped_its_base_init_is_refused(context: Context) -> None:
    class Careless(Process):
        def __init__(self) -> None:
            pass

    with pytest.raises(Context.InvalidProcess, match=r"Careless .*__init__"):
        context.spawn(Careless())


def test_attributes_may_be_set_before_the_base_init(context: Context) -> None:
    class Early(Receiver):
        def __init__(self) -> None:
            self.master = self.driver = self.connected = None
            super().__init__("early")

    process = Early()
    context.spawn(process)
    process.send(process.pid, "message")

    assert process.received.take() == (process.pid, b"")


def test_names_of_what_a_process_keeps_to_itself_are_free(context: Context) -> None:
    class Named(Receiver):
        delegate_of = use_outbox = None

        def unbind(self, what: str) -> str:
            return what

    receiver, named = Receiver("receiver"), Named("named")
    context.spawn(receiver)
    context.spawn(named)
    named.delegate("other", receiver.pid)
    named.send(receiver.pid, "message", b"1")
    receiver.send(named.pid, "other", b"2")
    settle(named)

    assert receiver.received.take() == (named.pid, b"1")
    assert context.metrics.handler_failures == 0


def test_process_spawns_another_from_a_handler(context: Context) -> None:
    child = Receiver("child")

    class Parent(Process):
        @install("go")
        def go(self, from_pid: PID, body: bytes) -> None:
            self.context.spawn(child)
            self.send(child.pid, "message", b"hello")

    parent = Parent("parent")
    context.spawn(parent)
    parent.send(parent.pid, "go")

    assert child.received.take() == (parent.pid, b"hello")


def test_tools_can_look_at_all_attributes_of_what_has_no_pid(context: Context) -> None:
    for thing, missing in ((Process("unbound"), {"pid", "context"}), (context, {"pid"})):
        found = {name for name, _ in inspect.getmembers(thing)}
        assert not missing & found
        assert found >= {"send", "link"}
        mock.create_autospec(thing)
        with pytest.raises((UnboundProcess, Context.Error)):
            _ = thing.pid
