"""Handlers: which method handles a message, and delegation."""

from __future__ import annotations

import functools
import threading
from collections.abc import Callable
from typing import Any
from unittest import mock

import pytest

from compactor import PID, Context, Process, Reason, install, route
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


def test_static_and_class_methods_are_handlers_and_routes(sender: Process, there: Context) -> None:
    seen = Events()

    class Unbound(Process):
        @staticmethod
        @install("inner-static")
        def inner_static(from_pid: PID, body: bytes) -> None:
            seen.put((from_pid, body))

        @install("outer-static")
        @staticmethod
        @install("inner-too")
        def outer_static(from_pid: PID, body: bytes) -> None:
            seen.put((from_pid, body))

        @classmethod
        @install("inner-class")
        def inner_class(cls, from_pid: PID, body: bytes) -> None:
            seen.put((cls, from_pid, body))

        @install("outer-class")
        @classmethod
        def outer_class(cls, from_pid: PID, body: bytes) -> None:
            seen.put((cls, from_pid, body))

        @route("/static")
        @staticmethod
        def page(request: Any) -> str:
            return "page"

        @staticmethod
        def exited(pid: PID, reason: Any) -> None:  # type: ignore[override]
            seen.put((pid, reason))

    class Derived(Unbound):
        pass

    process = spawned(there, Derived("unbound"))
    for name in ("inner-static", "outer-static", "inner-too"):
        sender.send(process.pid, name, b"x")
        assert seen.take() == (sender.pid, b"x")
        process.handle_message(name, sender.pid, b"y")
        assert seen.take() == (sender.pid, b"y")
    for name in ("inner-class", "outer-class"):
        sender.send(process.pid, name, b"x")
        assert seen.take() == (Derived, sender.pid, b"x")
    assert process.handle_http("/static", None) == "page"
    assert dict(process.iter_routes())["/static"](None) == "page"
    watched = spawned(there, Process("watched"))
    process.link(watched.pid)
    watched.terminate()
    assert seen.take() == (watched.pid, Reason.TERMINATED)


def test_only_what_can_be_marked_is_installed() -> None:
    for nothing in (5, len, "text"):
        with pytest.raises(TypeError, match="only methods can be installed"):
            install("name")(nothing)  # type: ignore[type-var]


@pytest.mark.parametrize("autospec", [False, True])
def test_handlers_come_back_after_a_patch(context: Context, autospec: bool) -> None:
    class Patched(Receiver):
        @install("other")
        def other(self, from_pid: PID, body: bytes) -> None:
            self.received.put("other")

    with mock.patch.object(Patched, "other", autospec=autospec):
        during = spawned(context, Patched("during"))
        assert set(during.message_names) == {"message"}
    after = spawned(context, Patched("after"))
    with mock.patch.object(Patched, "other", autospec=autospec):
        for process in (during, after):
            process.send(process.pid, "other")
            process.send(process.pid, "message")

    assert after.received.take() == "other"
    assert during.received.take() == (during.pid, b"")
    assert set(during.message_names) == {"message"}


def test_processes_spawned_later_follow_their_class_as_it_is_then(context: Context) -> None:
    class Base(Receiver):
        pass

    class Derived(Base):
        pass

    class Mixin:
        @install("mixed")
        def mixed(self, from_pid: PID, body: bytes) -> None: ...

    def handler(self: Any, from_pid: PID, body: bytes) -> None:
        self.received.put(body)

    def names() -> set[str]:
        process = spawned(context, Derived(f"p{len(context._runtime.registry.live)}"))
        return {*process.message_names}

    earlier = spawned(context, Derived("earlier"))
    Base.added = install("added")(handler)  # type: ignore[attr-defined]
    later = spawned(context, Derived("later"))
    for process in (earlier, later):
        process.send(process.pid, "added", b"added")
        process.send(process.pid, "message", b"message")

    assert later.received.take() == b"added"
    assert earlier.received.take() == (earlier.pid, b"message")
    assert names() == {"message", "added"}
    Base.added = install("changed")(lambda *_: None)  # type: ignore[attr-defined]
    assert names() == {"message", "changed"}
    del Base.added  # type: ignore[attr-defined]
    Derived.message = None  # type: ignore[method-assign,assignment]
    assert names() == set()
    Derived.__bases__ = (Base, Mixin)
    assert names() == {"mixed"}


class Uneasy:
    """Cannot be compared, as arrays of numbers cannot."""

    def __eq__(self, other: object) -> bool:
        raise ValueError("the truth value of an array is ambiguous")

    __hash__ = None  # type: ignore[assignment]


def test_class_attributes_of_any_kind_do_no_harm(context: Context) -> None:
    class Odd(Receiver):
        mocked = mock.Mock()
        magic = mock.MagicMock()
        uneasy = Uneasy()
        partial = functools.partialmethod(Receiver.message)
        number, nothing, text = 5, None, "text"

        @property
        def explodes(self) -> int:
            raise RuntimeError

    process = Odd()
    context.spawn(process)
    process.send(process.pid, "message")

    assert process.received.take() == (process.pid, b"")
    Odd.uneasy = Uneasy()
    context.spawn(Odd("odd"))


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
