"""Mistakes in a class of processes are told when the class is made."""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable
from typing import Any
from unittest import mock

import pytest

from compactor import PID, Context, Process, ProtobufProcess, install, route
from tests.actors import Receiver

NO_METHODS = pytest.mark.skipif(
    sys.version_info >= (3, 14), reason="partial functions are methods from Python 3.14 on"
)


def make(decorator: Callable[[Any], Any], value: Any, *bases: type) -> type:
    """A class with one handler."""
    return type("Made", bases or (Process,), {"method": decorator(value)})


def generator(self: Any, from_pid: PID, body: bytes) -> Any:
    yield


async def async_generator(self: Any, from_pid: PID, body: bytes) -> Any:
    yield


async def async_generator_page(self: Any, request: Any) -> Any:
    yield


def fits(self: Any, from_pid: PID, body: bytes) -> None:
    pass


@pytest.mark.parametrize("function", [generator, async_generator, staticmethod(generator)])
def test_handler_that_yields_is_an_error(function: Any) -> None:
    with pytest.raises(TypeError, match=r"Made\.method handles 'm', but has a 'yield'.*'await'"):
        make(install("m"), function)


def test_route_may_be_an_async_generator_which_is_answered_in_pieces() -> None:
    assert "/p" in make(route("/p"), async_generator_page)("made").route_paths


@pytest.mark.parametrize(
    ("function", "taken"),
    [
        (lambda: None, "nothing"),
        (lambda self: None, r"\(self\)"),
        (lambda self, from_pid: None, r"\(self, from_pid\)"),
        (lambda self, from_pid, body, more: None, r"\(self, from_pid, body, more\)"),
        (lambda self, from_pid, body, *, key: None, r"\(self, from_pid, body, key\)"),
        (staticmethod(lambda a, b, c: None), r"\(a, b, c\)"),
        (classmethod(lambda cls, a: None), r"\(cls, a\)"),
        pytest.param(functools.partial(fits, None, None), r"\(body\)", marks=NO_METHODS),
    ],
)
def test_handler_without_room_for_its_arguments_is_an_error(function: Any, taken: str) -> None:
    with pytest.raises(TypeError, match=f"handles 'm' and is given from_pid and body, .*{taken}$"):
        make(install("m"), function)


def test_route_without_room_for_a_request_is_an_error() -> None:
    with pytest.raises(TypeError, match=r"serves '/p' and is given a request, but takes \(self\)"):
        make(route("/p"), lambda self: None)


@pytest.mark.parametrize(
    "function",
    [
        fits,
        lambda *args: None,
        lambda self, from_pid, body, more=1, **kw: None,
        staticmethod(lambda from_pid, body: None),
        classmethod(lambda cls, from_pid, body: None),
        pytest.param(functools.partial(fits, None), marks=NO_METHODS),
        mock.create_autospec(fits),
        functools.wraps(fits)(lambda *args: None),
        functools.wraps(lambda self, from_pid, body, database: None)(fits),
    ],
)
def test_what_can_be_called_is_no_error(function: Any) -> None:
    make(install("m"), function)


def test_generator_that_something_drives_is_no_error() -> None:
    """As ``tornado.gen.coroutine`` does it."""

    @functools.wraps(generator)
    def driven(*args: Any) -> list[Any]:
        return list(generator(*args))

    make(install("m"), driven)
    make(route("/p"), lambda self, request: (yield))


def test_protobuf_handler_is_looked_at_below_its_parser() -> None:
    kind = pytest.importorskip("google.protobuf.wrappers_pb2").StringValue
    make(ProtobufProcess.install(kind), fits, ProtobufProcess)
    with pytest.raises(TypeError, match=r"handles 'google.protobuf.StringValue' and is given"):
        make(ProtobufProcess.install(kind), lambda self: None, ProtobufProcess)


def test_handlers_of_mixins_are_looked_at() -> None:
    class Mixin:
        @install("m")
        def handle(self, from_pid: PID) -> None:
            pass

    with pytest.raises(TypeError, match=r"Mixin\.handle handles 'm' and is given"):
        type("Made", (Mixin, Process), {})


def test_what_is_no_method_cannot_be_decorated() -> None:
    for value in (5, "text", property(fits), Receiver):
        with pytest.raises(TypeError, match="only methods can be installed or serve routes"):
            install("m")(value)


def test_second_method_of_a_name_is_a_warning_at_the_class() -> None:
    with pytest.warns(UserWarning, match=r"Twice\.b is installed as 'm', as another") as told:

        class Twice(Process):
            @install("m")
            def a(self, from_pid: PID, body: bytes) -> None: ...

            @install("m")
            def b(self, from_pid: PID, body: bytes) -> None: ...

    assert told[0].filename == __file__
    with pytest.warns(UserWarning, match=r"Pages\.b is installed as '/p', as another method"):
        type("Pages", (Process,), {"a": route("/p")(lambda *a: 0), "b": route("/p")(lambda *a: 0)})


def test_one_method_may_have_two_names_and_an_override_its_base(context: Context) -> None:
    handle = install("m")(install("n")(fits))
    base = type("Base", (Process,), {"a": handle, "b": handle})
    derived = type("Derived", (base,), {"c": install("m")(lambda *args: None)})
    context.spawn(derived("derived"))
