"""Handlers: which method handles a message, and delegation."""

from __future__ import annotations

import functools
import threading
from collections.abc import Callable
from typing import Any
from unittest import mock

import pytest

from compactor import PID, Context, Process, install, route
from tests.actors import TIMEOUT, Events, Receiver, dead_letters, settle, spawned, take_letter


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
    sender: Process, there: Context, name: str, handler: str
) -> None:
    process = spawned(there, _derived()())

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


def test_instance_attribute_that_shadows_a_method_changes_nothing(
    sender: Process, there: Context
) -> None:
    class Shadowed(Process):
        def __init__(self) -> None:
            super().__init__("shadowed")
            self.registered = threading.Event()  # type: ignore[method-assign,assignment]

        @install("registered")
        def registered(self, from_pid: PID, body: bytes) -> None:
            self.registered.set()  # type: ignore[attr-defined]

    process = spawned(there, Shadowed())
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
        partial = functools.partialmethod(Receiver.message)
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


def test_overridden_handle_message_sees_every_message(sender: Process, there: Context) -> None:
    seen = Events()

    class Seeing(Receiver):
        def handle_message(self, name: str, from_pid: PID, body: bytes) -> Any:
            seen.put((name, from_pid, body))
            return super().handle_message(name, from_pid, body)

    process = spawned(there, Seeing())
    sender.send(process.pid, "message", b"1")
    sender.send(process.pid, "unknown", b"2")

    assert seen.take() == ("message", sender.pid, b"1")
    assert seen.take() == ("unknown", sender.pid, b"2")
    assert process.received.take() == (sender.pid, b"1")


@pytest.mark.parametrize("to", ["here", "there"])
def test_delegate_keeps_the_original_sender(sender: Process, there: Context, to: str) -> None:
    front, back = Process("front"), Receiver("back")
    there.spawn(front)
    (sender.context if to == "here" else there).spawn(back)
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
