"""What the types of messages tell when a class is made: mistakes, as far as they are certain."""

from __future__ import annotations

import functools
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Generic, Optional, Protocol, TypedDict, TypeVar, Union

import pytest
from google.protobuf.wrappers_pb2 import Int32Value, StringValue

from compactor import PID, Ask, Context, Process, ProtobufProcess, answer, install

if TYPE_CHECKING:
    from elsewhere import Unknown  # type: ignore[import-not-found]

pytest.importorskip("msgspec", reason="typed messages are written by msgspec")

ROOT = Path(__file__).parents[2]
T = TypeVar("T")


@dataclass
class Add(Ask[int]):
    a: int


@dataclass
class More(Add):
    b: int = 0


@dataclass
class Ratio(Ask[float]):
    a: int


@dataclass
class Perhaps(Ask["int | None"]):
    a: int


@dataclass
class Later(Ask["NotThereYet"]):
    a: int


@dataclass
class Other:
    a: int


@dataclass
class Box(Generic[T]):
    it: T


class Closable(Protocol):
    def close(self) -> None: ...


class Options(TypedDict):
    a: int


def make(decorator: Any, function: Any, base: type = Process) -> type:
    return type("Made", (base,), {"method": decorator(function)})


def body_is_text(self: Any, from_pid: PID, body: str) -> None: ...
def sender_is_text(self: Any, from_pid: str, body: bytes) -> None: ...
def takes_other(self: Any, from_pid: PID, message: Other) -> int: ...
def takes_number(self: Any, from_pid: PID, message: Int32Value) -> None: ...
def takes_list(self: Any, from_pid: PID, message: list[int]) -> None: ...
def returns_text(self: Any, from_pid: PID, message: Add) -> str: ...
def returns_none(self: Any, from_pid: PID, message: Add) -> None: ...
def returns_optional(self: Any, from_pid: PID, message: Add) -> Optional[int]: ...  # noqa: UP045
def returns_float(self: Any, from_pid: PID, message: Add) -> float: ...
async def returns_text_later(self: Any, from_pid: PID, body: bytes) -> str: ...
def without_room(self: Any, from_pid: PID) -> int: ...


@pytest.mark.parametrize(
    ("decorator", "function", "text"),
    [
        (install("m"), body_is_text, "is given bytes as 'body', which is annotated as str"),
        (install("m"), sender_is_text, "is given PID as 'from_pid', which is annotated as str"),
        (install(Add), takes_other, "'Add' and is given Add as 'message', .* annotated as Other"),
        (install(StringValue), takes_number, "given StringValue as 'message', .* as Int32Value"),
        (install(Add), takes_list, r"annotated as list\[int\]"),
        (answer(Add), returns_text, "answers with int, but is annotated to return str"),
        (answer(Add), returns_none, "answers with int, but is annotated to return NoneType"),
        (answer(Add), returns_optional, "answers with int, but is annotated to return "),
        (answer(Add), returns_float, "answers with int, but is annotated to return float"),
        (answer("m"), returns_text_later, "answers with bytes .* annotated to return str"),
        (answer(Add), without_room, r"is given from_pid and body, but takes \(self, from_pid\)"),
    ],
)
def test_an_annotation_that_says_something_else_is_an_error(
    decorator: Any, function: Any, text: str
) -> None:
    with pytest.raises(TypeError, match=rf"Made\.method handles .*{text}"):
        make(decorator, function)


def test_a_protobuf_handler_of_another_message_is_an_error() -> None:
    with pytest.raises(TypeError, match="given StringValue as 'message', which is annotated as I"):
        make(ProtobufProcess.install(StringValue), takes_number, ProtobufProcess)
    with pytest.raises(TypeError, match="given StringValue as 'message', which is annotated as I"):
        make(ProtobufProcess.answer(StringValue), takes_number, ProtobufProcess)


def takes_base(self: Any, from_pid: PID, message: Add) -> int: ...
def takes_anything(self: Any, from_pid: Any, message: object) -> Any: ...
def takes_unknown(self: Any, from_pid: PID, message: Unknown) -> Unknown: ...
def takes_union(self: Any, from_pid: PID, message: Union[Add, Other]) -> int: ...  # noqa: UP007
def takes_optional(self: Any, from_pid: PID, message: Add | None = None) -> int: ...
def takes_generic(self: Any, from_pid: PID, message: T) -> T: ...
def takes_protocol(self: Any, from_pid: PID, message: Closable) -> int: ...
def takes_all(self: Any, *args: Any) -> int: ...
def takes_nothing_said(self, from_pid, message): ...  # type: ignore[no-untyped-def]
def returns_bool(self: Any, from_pid: PID, message: Add) -> bool: ...
def returns_int(self: Any, from_pid: PID, message: Ratio) -> int: ...
def returns_either(self: Any, from_pid: PID, message: Perhaps) -> int | None: ...
def returns_later(self: Any, from_pid: PID, message: Later) -> str: ...


@functools.wraps(body_is_text)
def wrapper(self: Any, from_pid: PID, body: Any) -> None:
    body_is_text(self, from_pid, body.decode())


@pytest.mark.parametrize(
    ("decorator", "function"),
    [
        (answer(More), takes_base),
        (answer(Add), takes_anything),
        (answer(Add), takes_unknown),
        (answer(Add), takes_union),
        (answer(Add), takes_optional),
        (answer(Add), takes_generic),
        (answer(Add), takes_protocol),
        (answer(Add), takes_all),
        (answer(Add), takes_nothing_said),
        (answer(Add), returns_bool),
        (answer(Ratio), returns_int),
        (answer(Perhaps), returns_either),
        (answer(Later), returns_later),
        (install("m"), wrapper),
    ],
)
def test_an_annotation_that_may_be_right_is_none(decorator: Any, function: Any) -> None:
    assert make(decorator, function)


def test_a_name_that_a_local_one_may_hide_is_left_to_checkers() -> None:
    @dataclass
    class Other:
        __message_name__ = "local"

        a: int

    class Hidden(Process):
        @install(Other)
        def other(self, from_pid: PID, message: Other) -> None: ...

    assert list(Hidden("hidden").message_names) == ["local"]


@pytest.mark.parametrize(
    "kind",
    [int, str, dict, list, type(None), Options, Box[int], list[int], 5, None, Ask, b"name", Any, T],
    ids=str,
)
@pytest.mark.parametrize("decorator", [install, answer])
def test_what_names_no_message_installs_nothing(decorator: Any, kind: Any) -> None:
    with pytest.raises(TypeError, match=r"names no message|a message name is a str"):
        decorator(kind)


def test_what_is_asked_says_what_it_is_answered_with() -> None:
    with pytest.raises(
        TypeError, match=r"Other does not say what .*: class Other\(Ask\[\.\.\.\]\)"
    ):
        answer(Other)


def test_two_methods_for_one_type_are_an_error() -> None:
    with pytest.raises(TypeError, match=r"Two\.b and another method above it both handle 'Other'"):

        class Two(Process):
            @install(Other)
            def a(self, from_pid: PID, message: Other) -> None: ...

            @install(Other)
            def b(self, from_pid: PID, message: Other) -> None: ...

    with pytest.raises(TypeError, match=r"Raw\.b and another method above it both handle 'Other'"):

        class Raw(Process):
            @install(Other)
            def a(self, from_pid: PID, message: Other) -> None: ...

            @install("Other")
            def b(self, from_pid: PID, body: bytes) -> None: ...


@pytest.mark.parametrize(
    ("codec", "text"), [("pickle", "is 'json' or 'msgpack'"), (5, "is 'json'")]
)
def test_a_codec_that_is_not_known_is_an_error(codec: Any, text: str) -> None:
    kind = type("Wrong", (Other,), {"__message_codec__": codec, "__message_name__": "wrong"})
    with pytest.raises(TypeError, match=text):
        install(kind)


@pytest.mark.parametrize("name", ["", "a b", "a?b", "größe", 5])
def test_a_name_that_cannot_be_sent_is_an_error(name: Any) -> None:
    with pytest.raises((TypeError, ValueError), match="message name"):
        install(type("Wrong", (Other,), {"__message_name__": name}))


def test_names_are_not_inherited() -> None:
    base = dataclass(type("Base", (), {"__message_name__": "base", "__qualname__": "Base"}))
    sub = dataclass(type("Sub", (base,), {"__qualname__": "Sub"}))
    made = make(install(base), lambda self, from_pid, message: None)
    assert list(made("x").message_names) == ["base"]
    made = make(install(sub), lambda self, from_pid, message: None)
    assert list(made("x").message_names) == ["Sub"]


@dataclass
class First:
    a: int


@dataclass
class Second:
    a: int


@dataclass
class Ambiguous:
    either: First | Second


def test_a_type_that_cannot_be_read_is_an_error_at_the_spawn(context: Context) -> None:
    made = make(install(Ambiguous), lambda self, from_pid, message: None)
    with pytest.raises(TypeError, match=r"Ambiguous can be no message: .*more than one dataclass"):
        context.spawn(made("ambiguous"))
    late = make(answer(Later), returns_later)
    with pytest.raises(TypeError, match=r"Later can be no message: .*'NotThereYet'"):
        context.spawn(late("late"))
    assert context.spawn(Process("ambiguous")).id == "ambiguous"


WITHOUT = """
import sys
sys.modules["msgspec"] = None
from dataclasses import dataclass
import compactor
from compactor import Ask, Process, answer, install
assert "pydantic" not in sys.modules and "google.protobuf" not in sys.modules

@dataclass
class Add(Ask[int]):
    a: int

class Raw(Process):
    @install("raw")
    def raw(self, from_pid, body): ...

for call in (lambda: answer(Add), lambda: compactor.Context(ip="127.0.0.1").post(pid, Add(1))):
    pid = compactor.PID("127.0.0.1", 1, "x")
    try:
        call()
    except ImportError as error:
        print(type(error).__name__, error)
"""


def test_without_msgspec_the_error_names_the_extra(tmp_path: Path) -> None:
    program = tmp_path / "program.py"
    program.write_text(WITHOUT)
    done = subprocess.run(
        [sys.executable, str(program)],
        capture_output=True,
        text=True,
        timeout=100,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    line = (
        "MissingPackage typed messages are written by the package msgspec; "
        "install it with: pip install 'compactor[typed]'\n"
    )
    assert done.stdout == line * 2, done.stderr


def test_typed_messages_are_not_imported_before_they_are_used() -> None:
    code = "import sys, compactor; print([m for m in ('msgspec', 'pydantic') if m in sys.modules])"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=100, cwd=ROOT
    )
    assert done.stdout == "[]\n"
