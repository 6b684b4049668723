"""Process: spawning, handlers, delegation, failures, and what its API refuses."""

from __future__ import annotations

import functools
import logging
import socket
import threading
from collections.abc import Callable
from typing import Any
from unittest import mock

import pytest

from compactor import PID, Context, Process, ProtobufProcess, Reason, install, route
from compactor.errors import LocalProtocolError, UnboundProcess
from tests.actors import TIMEOUT, Events, Receiver, dead_letters, end, settle, take_letter

Contexts = tuple[Context, Context]
ContextFactory = Callable[..., Context]


@pytest.fixture(params=["local", "remote"])
def contexts(request: pytest.FixtureRequest, make_context: ContextFactory) -> Contexts:
    """Where a sender and where a receiver lives: the same context, or two."""
    here = make_context()
    return here, here if request.param == "local" else make_context()


# Spawning


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


def test_events_wait_until_initialize_has_returned(contexts: Contexts) -> None:
    here, there = contexts
    sender, events = Process("sender"), Events()
    here.spawn(sender)

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


def test_id_can_be_used_again_after_its_process_ended(contexts: Contexts) -> None:
    here, there = contexts
    sender, first, second = Process("sender"), Receiver("name"), Receiver("name")
    here.spawn(sender)
    there.spawn(first)
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


@pytest.mark.parametrize("thing", [None, "name", Process, object(), PID("127.0.0.1", 1, "x")])
def test_only_a_process_can_be_spawned(context: Context, thing: Any) -> None:
    with pytest.raises(TypeError, match="Process"):
        context.spawn(thing)


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


# Handlers


class Base(Process):
    def __init__(self, name: str = "base") -> None:
        super().__init__(name)
        self.events = Events()

    @install("base")
    def from_base(self, from_pid: PID, body: bytes) -> None:
        self.events.put(("Base.from_base", body))

    @install("overridden")
    def overridden(self, from_pid: PID, body: bytes) -> None:
        self.events.put(("Base.overridden", body))

    @install("renamed")
    def renamed(self, from_pid: PID, body: bytes) -> None:
        self.events.put(("Base.renamed", body))

    @install("removed")
    def removed(self, from_pid: PID, body: bytes) -> None:
        self.events.put(("Base.removed", body))


class Mixin:
    events: Events

    @install("mixin")
    def from_mixin(self, from_pid: PID, body: bytes) -> None:
        self.events.put(("Mixin.from_mixin", body))


def _derived() -> type[Base]:
    class Derived(Mixin, Base):
        removed = None  # type: ignore[assignment]

        def overridden(self, from_pid: PID, body: bytes) -> None:
            self.events.put(("Derived.overridden", body))

        @install("new")
        @install("newer")
        def renamed(self, from_pid: PID, body: bytes) -> None:
            self.events.put(("Derived.renamed", body))

    return Derived


@pytest.mark.parametrize(
    ("name", "handler"),
    [
        ("base", "Base.from_base"),
        ("mixin", "Mixin.from_mixin"),
        ("overridden", "Derived.overridden"),
        ("new", "Derived.renamed"),
        ("newer", "Derived.renamed"),
    ],
)
def test_handlers_of_bases_and_mixins_count_and_overrides_win(
    contexts: Contexts, name: str, handler: str
) -> None:
    here, there = contexts
    sender, process = Process("sender"), _derived()()
    here.spawn(sender)
    there.spawn(process)

    sender.send(process.pid, name, b"x")

    assert process.events.take() == (handler, b"x")
    assert process.events.is_empty


def test_handlers_are_listed_as_0_3_0_listed_them() -> None:
    process = _derived()()

    assert set(process.message_names) == {"base", "mixin", "overridden", "new", "newer"}
    handlers = dict(process.iter_handlers())
    handlers["mixin"](PID("127.0.0.1", 1, "x"), b"y")
    assert process.events.take() == ("Mixin.from_mixin", b"y")
    assert set(Base().message_names) == {"base", "overridden", "renamed", "removed"}


def test_routes_are_listed_as_0_3_0_listed_them() -> None:
    class Web(Process):
        @route("/a")
        @route("/b")
        def page(self, handler: Any) -> str:
            return "page"

    process = Web("web")

    assert set(process.route_paths) == {"/a", "/b"}
    assert {path: method(None) for path, method in process.iter_routes()} == {
        "/a": "page",
        "/b": "page",
    }


def test_last_method_installed_under_a_name_handles_it(context: Context) -> None:
    class Twice(Receiver):
        @install("message")
        def later(self, from_pid: PID, body: bytes) -> None:
            self.received.put("later")

    process = Twice()
    context.spawn(process)
    process.send(process.pid, "message")

    assert process.received.take() == "later"


def test_instance_attribute_that_shadows_a_method_changes_nothing(contexts: Contexts) -> None:
    here, there = contexts
    sender = Process("sender")

    class Shadowed(Process):
        def __init__(self) -> None:
            super().__init__("shadowed")
            self.registered = threading.Event()  # type: ignore[method-assign,assignment]

        @install("registered")
        def registered(self, from_pid: PID, body: bytes) -> None:
            self.registered.set()  # type: ignore[attr-defined]

    process = Shadowed()
    here.spawn(sender)
    there.spawn(process)

    sender.send(process.pid, "registered")

    assert process.registered.wait(TIMEOUT)  # type: ignore[attr-defined]
    assert isinstance(process.registered, threading.Event)


def _passing(method: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(method)
    def wrapper(self: Any, *args: Any, **kw: Any) -> Any:
        self.received.put("wrapper")
        return method(self, *args, **kw)

    return wrapper


def test_wrapping_decorators_work_above_and_below_install(context: Context) -> None:
    class Decorated(Process):
        def __init__(self) -> None:
            super().__init__("decorated")
            self.received = Events()

        @_passing
        @install("above")
        def above(self, from_pid: PID, body: bytes) -> None:
            self.received.put("above")

        @install("below")
        @_passing
        def below(self, from_pid: PID, body: bytes) -> None:
            self.received.put("below")

    process = Decorated()
    context.spawn(process)
    process.send(process.pid, "above")
    process.send(process.pid, "below")

    assert process.received.take_many(4) == ["wrapper", "above", "wrapper", "below"]


def test_class_attributes_of_any_kind_do_no_harm(context: Context) -> None:
    class Odd(Receiver):
        mocked = mock.Mock()
        magic = mock.MagicMock()
        number, nothing, text = 5, None, "text"

        @property
        def explodes(self) -> int:
            raise RuntimeError

    process = Odd()
    context.spawn(process)
    process.send(process.pid, "message")

    assert process.received.take() == (process.pid, b"")


def test_handler_may_be_called_directly() -> None:
    process = Receiver()

    process.message(PID("127.0.0.1", 1, "x"), b"y")
    process.handle_message("message", PID("127.0.0.1", 1, "x"), b"z")

    assert process.received.take()[1] == b"y"
    assert process.received.take()[1] == b"z"


def test_overridden_handle_message_sees_every_message(contexts: Contexts) -> None:
    here, there = contexts
    sender, seen = Process("sender"), Events()

    class Seeing(Receiver):
        def handle_message(self, name: str, from_pid: PID, body: bytes) -> Any:
            seen.put((name, from_pid, body))
            return super().handle_message(name, from_pid, body)

    process = Seeing()
    here.spawn(sender)
    there.spawn(process)
    sender.send(process.pid, "message", b"1")
    sender.send(process.pid, "unknown", b"2")

    assert seen.take() == ("message", sender.pid, b"1")
    assert seen.take() == ("unknown", sender.pid, b"2")
    assert process.received.take() == (sender.pid, b"1")


@pytest.mark.parametrize("body", [b"x", bytearray(b"x"), memoryview(b"x")])
def test_bodies_arrive_as_bytes(contexts: Contexts, body: Any) -> None:
    here, there = contexts
    sender, receiver = Process("sender"), Receiver()
    here.spawn(sender)
    there.spawn(receiver)

    sender.send(receiver.pid, "message", body)

    from_pid, received = receiver.received.take()
    assert (from_pid, received, type(received)) == (sender.pid, b"x", bytes)


def test_body_may_be_reused_by_the_sender_at_once(context: Context) -> None:
    receiver, body = Receiver(), bytearray(b"before")
    context.spawn(receiver)

    receiver.send(receiver.pid, "message", body)
    body[:] = b"after!"

    assert receiver.received.take() == (receiver.pid, b"before")


def test_missing_body_arrives_as_empty_bytes(contexts: Contexts) -> None:
    here, there = contexts
    sender, receiver = Process("sender"), Receiver()
    here.spawn(sender)
    there.spawn(receiver)

    sender.send(receiver.pid, "message")
    sender.send(receiver.pid, "message", None)
    sender.send(receiver.pid, "message", b"")

    assert receiver.received.take_many(3) == [(sender.pid, b"")] * 3


@pytest.mark.parametrize("name", ["a/b", "a+b", "a%20b", "mesos.internal.X", "a&b=c;d", "~!$'()*,"])
def test_unusual_message_names_arrive(contexts: Contexts, name: str) -> None:
    here, there = contexts

    class Unusual(Receiver):
        pass

    setattr(Unusual, "unusual", install(name)(lambda s, f, b: s.received.put((f, b))))  # noqa: B010
    sender, receiver = Process("sender"), Unusual()
    here.spawn(sender)
    there.spawn(receiver)

    sender.send(receiver.pid, name, b"x")

    assert receiver.received.take() == (sender.pid, b"x")


@pytest.mark.parametrize(
    "id_", ["slave(1)", "a/b", "a+b", "a%2Fb", "a?b#c", "\u00fc\u4e2d", "\xa0"]
)
def test_unusual_ids_send_and_receive(contexts: Contexts, id_: str) -> None:
    here, there = contexts
    sender, receiver = Receiver(id_ + "-sender"), Receiver(id_)
    here.spawn(sender)
    there.spawn(receiver)

    sender.send(receiver.pid, "message", b"x")
    assert receiver.received.take() == (sender.pid, b"x")

    receiver.send(sender.pid, "message", b"y")
    assert sender.received.take() == (receiver.pid, b"y")


# Delegation


@pytest.mark.parametrize("to", ["here", "there"])
def test_delegate_keeps_the_original_sender(contexts: Contexts, to: str) -> None:
    here, there = contexts
    sender, front, back = Process("sender"), Process("front"), Receiver("back")
    here.spawn(sender)
    there.spawn(front)
    (here if to == "here" else there).spawn(back)
    front.delegate("message", back.pid)

    sender.send(front.pid, "message", b"x")

    assert back.received.take() == (sender.pid, b"x")


def test_own_handler_beats_a_delegate(context: Context) -> None:
    front, back = Receiver("front"), Receiver("back")
    context.spawn(front)
    context.spawn(back)
    front.delegate("message", back.pid)

    back.send(front.pid, "message", b"x")

    assert front.received.take() == (back.pid, b"x")
    settle(back)
    assert back.received.is_empty


def test_delegated_messages_keep_their_order_with_others(context: Context) -> None:
    front, middle, back = Process("front"), Process("middle"), Receiver("back")
    for process in (front, middle, back):
        context.spawn(process)
    front.delegate("message", middle.pid)
    middle.delegate("message", back.pid)

    for number in range(10):
        front.send(front.pid, "message", b"%d" % number)

    assert [body for _, body in back.received.take_many(10)] == [b"%d" % n for n in range(10)]


def test_delegate_to_an_ended_process_is_a_dead_letter(context: Context) -> None:
    letters = dead_letters(context)
    front = Process("front")
    context.spawn(front)
    front.delegate("message", PID(context.ip, context.port, "gone"))

    front.send(front.pid, "message", b"xy")

    letter = take_letter(letters)
    assert (letter.reason, letter.to.id, letter.sender) == ("no such process", "gone", front.pid)
    assert (letter.name, letter.size) == ("message", 2)


def test_delegate_refuses_bad_names_and_receivers() -> None:
    process = Process("name")

    with pytest.raises(ValueError, match="must not"):
        process.delegate("a b", PID("127.0.0.1", 1, "x"))
    with pytest.raises(TypeError):
        process.delegate("a", None)  # type: ignore[arg-type]


# Dead letters and failures


def test_message_without_handler_is_a_dead_letter(contexts: Contexts) -> None:
    here, there = contexts
    letters = dead_letters(there)
    sender, receiver = Process("sender"), Receiver()
    here.spawn(sender)
    there.spawn(receiver)

    sender.send(receiver.pid, "unknown", b"four")
    sender.send(receiver.pid, "message", b"x")

    letter = take_letter(letters)
    assert (letter.reason, letter.to, letter.sender) == (
        Reason.NO_HANDLER,
        receiver.pid,
        sender.pid,
    )
    assert (letter.name, letter.size) == ("unknown", 4)
    assert receiver.received.take() == (sender.pid, b"x")
    assert there.metrics.snapshot()["dead_letters/no handler"] == 1


def test_message_to_nobody_is_a_dead_letter(contexts: Contexts) -> None:
    here, there = contexts
    letters = dead_letters(there)
    sender = Process("sender")
    here.spawn(sender)
    there.spawn(Process("somebody"))
    nobody = PID(there.ip, there.port, "nobody")

    sender.send(nobody, "unknown", b"four")

    letter = take_letter(letters)
    assert (letter.reason, letter.to, letter.sender) == (Reason.NO_PROCESS, nobody, sender.pid)
    assert (letter.name, letter.size) == ("unknown", 4)


def test_message_to_a_port_where_nobody_listens_is_a_dead_letter(context: Context) -> None:
    letters = dead_letters(context)
    sender = Process("sender")
    context.spawn(sender)
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        nobody = PID("127.0.0.1", unused.getsockname()[1], "nobody")

        sender.send(nobody, "message", b"four")

        letter = take_letter(letters)
    assert (letter.reason, letter.to, letter.sender) == (Reason.REFUSED, nobody, sender.pid)
    assert (letter.name, letter.size) == ("message", 4)


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "127.0.0.1"])
def test_message_to_an_address_that_cannot_be_dialled_is_a_dead_letter(
    context: Context, host: str
) -> None:
    letters = dead_letters(context)
    sender = Process("sender")
    context.spawn(sender)

    sender.send(PID(host, 0, "x"), "message")

    assert take_letter(letters).reason == Reason.UNREACHABLE


@pytest.mark.parametrize(
    "host",
    ["no.such.host.invalid", "a..b", "a" * 64, "\u00fc" * 80],
    ids=["unknown", "empty label", "long label", "long label after idna"],
)
def test_message_to_a_host_name_that_does_not_resolve_is_a_dead_letter(
    context: Context, host: str
) -> None:
    letters = dead_letters(context)
    sender = Receiver("sender")
    context.spawn(sender)
    nobody = PID(host, 5050, "x")

    sender.send(nobody, "message", b"1")
    sender.link(nobody)

    assert take_letter(letters).reason == Reason.UNRESOLVED
    assert sender.exits.take() == (nobody, Reason.UNRESOLVED)


def test_host_names_can_be_dialled(make_context: ContextFactory) -> None:
    here, there = make_context(), make_context()
    sender, receiver = Receiver("sender"), Receiver()
    here.spawn(sender)
    there.spawn(receiver)
    by_name = PID.from_string(f"receiver@localhost:{there.port}")

    sender.link(by_name)
    sender.send(by_name, "message", b"x")

    assert receiver.received.take() == (sender.pid, b"x")
    assert sender.exits.is_empty
    there.stop()
    assert sender.exits.take()[0] == by_name


def test_raising_dead_letter_hook_does_no_harm(
    context: Context, caplog: pytest.LogCaptureFixture
) -> None:
    @context.on_dead_letter
    def fail(letter: object) -> None:
        raise RuntimeError("hook")

    letters = dead_letters(context)
    receiver = Receiver()
    context.spawn(receiver)
    receiver.send(receiver.pid, "unknown")
    receiver.send(receiver.pid, "message")

    assert take_letter(letters).name == "unknown"
    assert receiver.received.take() == (receiver.pid, b"")
    assert "hook" in caplog.text


def test_dead_letters_are_logged_once_per_reason_and_address(
    context: Context, caplog: pytest.LogCaptureFixture
) -> None:
    letters = dead_letters(context)
    sender = Process("sender")
    context.spawn(sender)

    for _ in range(50):
        sender.send(PID(context.ip, context.port, "nobody"), "name")
    letters.take_many(50)

    lines = [r.getMessage() for r in caplog.records if "dead letter" in r.getMessage()]
    assert 1 <= len(lines) <= 2
    assert f"nobody@{context.ip}:{context.port}" in lines[0]
    assert str(sender.pid) in lines[0]
    assert "no such process" in lines[0]


class Failing(Receiver):
    @install("one")
    @install("two")
    def either(self, from_pid: PID, body: bytes) -> None:
        if body:
            raise LookupError(body.decode())
        self.received.put("either")

    @install("exit")
    def exit(self, from_pid: PID, body: bytes) -> None:
        raise SystemExit(3)


def test_failing_handler_is_logged_counted_and_harms_nothing(
    contexts: Contexts, caplog: pytest.LogCaptureFixture
) -> None:
    here, there = contexts
    sender, receiver = Process("sender"), Failing()
    here.spawn(sender)
    there.spawn(receiver)

    sender.send(receiver.pid, "one", b"broken")
    sender.send(receiver.pid, "message", b"after")

    assert receiver.received.take() == (sender.pid, b"after")
    assert there.metrics.handler_failures == 1
    (record,) = [r for r in caplog.records if r.levelno == logging.ERROR]
    text = record.getMessage()
    assert str(receiver.pid) in text
    assert "'one'" in text
    assert str(sender.pid) in text
    assert record.exc_info is not None
    assert isinstance(record.exc_info[1], LookupError)


def test_failure_is_logged_under_the_name_of_its_message(
    contexts: Contexts, caplog: pytest.LogCaptureFixture
) -> None:
    here, there = contexts
    sender, receiver = Process("sender"), Failing()
    here.spawn(sender)
    there.spawn(receiver)

    for body in (b"", b"x"):
        for name in ("one", "two"):
            sender.send(receiver.pid, name, body)
    sender.send(receiver.pid, "message")

    assert receiver.received.take_many(3) == ["either", "either", (sender.pid, b"")]
    names = [r.getMessage() for r in caplog.records if r.levelno == logging.ERROR]
    assert ["'one'" in names[0], "'two'" in names[1]] == [True, True]


def test_failure_with_a_large_body_is_logged_with_name_and_sender(
    contexts: Contexts, caplog: pytest.LogCaptureFixture
) -> None:
    here, there = contexts
    sender, receiver = Process("sender"), Failing()
    here.spawn(sender)
    there.spawn(receiver)

    sender.send(receiver.pid, "one", b"x" * 50_000)
    sender.send(receiver.pid, "message")

    assert receiver.received.take() == (sender.pid, b"")
    (record,) = [r for r in caplog.records if r.levelno == logging.ERROR]
    assert "'one'" in record.getMessage()
    assert str(sender.pid) in record.getMessage()
    assert "50000 bytes" in record.getMessage()


def test_handler_that_raises_system_exit_ends_nothing(
    contexts: Contexts, caplog: pytest.LogCaptureFixture
) -> None:
    here, there = contexts
    sender, receiver = Process("sender"), Failing()
    here.spawn(sender)
    there.spawn(receiver)

    sender.send(receiver.pid, "exit")
    sender.send(receiver.pid, "message", b"after")

    assert receiver.received.take() == (sender.pid, b"after")
    assert there.metrics.handler_failures == 1
    assert "SystemExit" in caplog.text


def test_failing_exited_is_logged_and_harms_nothing(
    context: Context, caplog: pytest.LogCaptureFixture
) -> None:
    class Fragile(Receiver):
        def exited(self, pid: PID, reason: str) -> None:
            raise LookupError(reason)

    process = Fragile()
    context.spawn(process)
    gone = PID(context.ip, context.port, "gone")
    process.link(gone)
    process.send(process.pid, "message")

    assert process.received.take() == (process.pid, b"")
    assert context.metrics.handler_failures == 1
    assert f"exit of {gone}" in caplog.text


# Bad input


@pytest.mark.parametrize("name", ["a b", "a\n", "a\r", "a\0", "a@b", "\t", "\x7f"])
def test_process_name_that_cannot_stand_in_a_pid_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match="must not contain"):
        Process(name)


@pytest.mark.parametrize("name", [None, 5, b"name"])
def test_process_name_that_is_no_str_is_refused(name: Any) -> None:
    with pytest.raises(TypeError, match="str"):
        Process(name)


BAD_NAMES = ["", "a b", "a\n", "a\r\nX: y", "a\0", "a?b", "a#b", "\u00fc", "\x7f", "\t"]


@pytest.mark.parametrize("name", BAD_NAMES)
def test_message_name_that_cannot_be_sent_is_refused(context: Context, name: str) -> None:
    receiver = Receiver()
    context.spawn(receiver)

    with pytest.raises(LocalProtocolError, match="message name"):
        receiver.send(receiver.pid, name)
    with pytest.raises(LocalProtocolError, match="message name"):
        context.post(receiver.pid, name)
    with pytest.raises(ValueError, match="message name"):
        install(name)

    receiver.send(receiver.pid, "message", b"after")
    assert receiver.received.take() == (receiver.pid, b"after")


@pytest.mark.parametrize("name", [None, 5, b"message", Receiver.message])
def test_message_name_that_is_no_str_is_refused(context: Context, name: Any) -> None:
    receiver = Receiver()
    context.spawn(receiver)

    with pytest.raises(TypeError, match="message name"):
        receiver.send(receiver.pid, name)
    with pytest.raises(TypeError, match="message name"):
        install(name)


@pytest.mark.parametrize("body", ["text", 5, ["x"], object(), {}])
def test_body_that_is_no_bytes_is_refused(context: Context, body: Any) -> None:
    receiver = Receiver()
    context.spawn(receiver)

    with pytest.raises(TypeError, match="Body must be a sequence of bytes"):
        receiver.send(receiver.pid, "message", body)
    with pytest.raises(TypeError, match="Body must be a sequence of bytes"):
        context.post(receiver.pid, "message", body)


@pytest.mark.parametrize("to", [None, "x@127.0.0.1:5050", 5, ("127.0.0.1", 1, "x")])
def test_receiver_that_is_no_pid_is_refused(context: Context, to: Any) -> None:
    process = Process("name")
    context.spawn(process)

    for call in (
        functools.partial(process.send, to, "message"),
        functools.partial(process.link, to),
        functools.partial(context.post, to, "message"),
        functools.partial(context.send, process.pid, to, "message"),
        functools.partial(context.send, to, process.pid, "message"),
        functools.partial(context.link, process.pid, to),
        functools.partial(context.link, to, process.pid),
        functools.partial(context.terminate, to),
        functools.partial(context.dispatch, to, "initialize"),
        functools.partial(context.delay, 0, to, "initialize"),
        functools.partial(context.disconnect, to),
    ):
        with pytest.raises(TypeError, match="expected a PID"):
            call()


def test_process_does_nothing_before_it_is_spawned() -> None:
    process, pid = Process("name"), PID("127.0.0.1", 1, "x")

    for call in (
        lambda: process.pid,
        lambda: process.context,
        lambda: process.send(pid, "message"),
        lambda: process.link(pid),
        lambda: process.terminate(),
        lambda: ProtobufProcess("name").link(pid),
    ):
        with pytest.raises(Process.UnboundProcess, match="unbound"):
            call()  # type: ignore[no-untyped-call]
    assert repr(process) == "<Process name>"


@pytest.mark.parametrize("context", [None, object(), "127.0.0.1:5050"], ids=repr)
def test_bind_takes_only_a_context(context: Any) -> None:
    with pytest.raises(TypeError, match="Context"):
        Process("name").bind(context)


def test_only_a_live_process_of_the_context_can_send_or_link(make_context: ContextFactory) -> None:
    one, other = make_context(), make_context()
    process, foreign = Process("process"), Process("foreign")
    one.spawn(process)
    other.spawn(foreign)

    with pytest.raises(Context.InvalidProcess, match="foreign"):
        one.send(foreign.pid, process.pid, "message")
    with pytest.raises(Context.InvalidProcess, match="foreign"):
        one.link(foreign.pid, process.pid)
    with pytest.raises(Context.InvalidProcess, match="foreign"):
        one.terminate(foreign.pid)
    end(process)
    with pytest.raises(Context.InvalidProcess, match="process"):
        process.send(foreign.pid, "message")
    with pytest.raises(Context.InvalidProcess, match="process"):
        process.link(foreign.pid)
    process.terminate()


@pytest.mark.parametrize("path", ["", "a", "a/b", "/a/", "//", None, 5, b"/a"])
def test_route_path_that_cannot_match_is_refused(path: Any) -> None:
    with pytest.raises(ValueError, match="Routes must"):
        route(path)


# Post


def test_post_names_no_sender(context: Context) -> None:
    receiver = Receiver()
    context.spawn(receiver)

    context.post(receiver.pid, "message", b"x")

    from_pid, body = receiver.received.take()
    assert (str(from_pid), body) == ("@0.0.0.0:0", b"x")


def test_post_reaches_another_context(make_context: ContextFactory) -> None:
    here, there = make_context(), make_context()
    receiver = Receiver()
    there.spawn(receiver)

    here.post(receiver.pid, "message", b"x")

    from_pid, body = receiver.received.take()
    assert (from_pid.id, body) == ("", b"x")
