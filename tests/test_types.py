"""What the type hints tell a program that uses compactor, by mypy and by pyright."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.test_docs import PROGRAMS, SERVICE_PB2, Program

ROOT = Path(__file__).parents[1]

GOOD = """
from dataclasses import dataclass
from typing import NamedTuple

import attrs
import msgspec
import pydantic
from google.protobuf.wrappers_pb2 import Int32Value, StringValue

from compactor import PID, Ask, Context, Future, Process, ProtobufProcess, Reason, Request
from compactor import answer, install, route


@dataclass
class Add(Ask[int]):
    a: int
    b: int


class Struct(msgspec.Struct, Ask[float]):
    a: int


@attrs.define
class Attrs(Ask[list[int]]):
    a: int


class Model(pydantic.BaseModel, Ask[str | None]):
    a: int


class Point(NamedTuple):
    x: int


@dataclass
class Clear:
    why: str


class Plain(Process):
    @install("one", concurrent=True)
    @install("two")
    async def handle(self, from_pid: PID, body: bytes) -> None:
        self.send(from_pid, "name")
        self.send(from_pid, "name", bytearray(body))
        self.send(from_pid, "name", memoryview(body))
        await self.drained(from_pid)

    @answer("raw", concurrent=True)
    async def raw(self, from_pid: PID, body: bytes) -> bytes | None:
        return body

    @route("/")
    def index(self, request: Request) -> dict[str, str]:
        return {"path": request.path}

    @route("/later", methods=["GET"], concurrent=True)
    async def later(self, request: Request) -> dict[str, str]:
        return {"path": request.path}

    def exited(self, pid: PID, reason: Reason) -> None: ...

    async def learn(self, a: int, b: str) -> bytes:
        return b""

    def count(self) -> int:
        return 1


class Typed(Process):
    @answer(Add)
    def add(self, from_pid: PID, message: Add) -> int:
        return message.a + message.b

    @answer(Struct, concurrent=True)
    async def struct(self, from_pid: PID, message: Struct) -> float:
        return message.a

    @answer(Attrs)
    def attrs(self, from_pid: PID, message: Attrs) -> list[int]:
        return [message.a]

    @answer(Model)
    def model(self, from_pid: PID, message: Model) -> str | None:
        return None

    @answer(Int32Value)
    def number(self, from_pid: PID, message: Int32Value) -> StringValue:
        return StringValue()

    @install(StringValue)
    def text(self, from_pid: PID, message: StringValue) -> None: ...

    @install(Point)
    @install(Clear, concurrent=True)
    async def handle(self, from_pid: PID, message: Point | Clear) -> None:
        self.send(from_pid, Point(1))
        self.send(from_pid, Clear("x"))
        self.send(from_pid, Struct(1))
        self.send(from_pid, Attrs(1))
        self.send(from_pid, Model(a=1))
        self.send(from_pid, StringValue(value="x"))
        a: int = await self.ask(from_pid, Add(1, 2))
        b: float = await self.ask(from_pid, Struct(1))
        c: list[int] = await self.ask(from_pid, Attrs(1), timeout=1.0)
        d: str | None = await self.ask(from_pid, Model(a=1))
        e: bytes = await self.ask(from_pid, "raw", b"")
        f: StringValue = await self.ask(from_pid, Int32Value(), reply=StringValue)
        g: bytes = await self.ask(from_pid, Int32Value())
        print(a, b, c, d, e, f, g)


class Old(Process):
    async def initialize(self) -> None: ...

    def exited(self, pid: PID) -> None: ...


class Buffers(ProtobufProcess):
    @ProtobufProcess.install(StringValue)
    def handle(self, from_pid: PID, message: StringValue) -> None:
        self.send(from_pid, StringValue(value=message.value))

    @ProtobufProcess.answer(StringValue, concurrent=True)
    async def length(self, from_pid: PID, message: StringValue) -> Int32Value:
        found: Int32Value = await self.ask(from_pid, message, reply=Int32Value)
        return found


context = Context(ip="127.0.0.1", port=0)
plain, typed = Plain("plain"), Typed("typed")
context.post(context.spawn(plain), "one", bytearray(b"1"))
context.send(plain.pid, plain.pid, "one", memoryview(b"1"))
context.post(plain.pid, Clear("x"))
context.send(plain.pid, plain.pid, Clear(""))
Buffers("buffers").handle(plain.pid, StringValue())
added: int = typed.add(plain.pid, Add(1, 2))
total: int = context.ask(plain.pid, Add(1, 2)).result()
learned: Future[bytes] = context.dispatch(plain.pid, plain.learn, 1, "b")
counted: Future[int] = context.dispatch(plain.pid, plain.count)
by_name = context.dispatch(plain.pid, "count")
ended = context.wait(plain.pid)
reason: Reason = ended.result()
cause: str = ended.detail
"""

BEFORE_MISTAKES = """
from dataclasses import dataclass

from google.protobuf.wrappers_pb2 import Int32Value, StringValue

from compactor import PID, Ask, Context, Process, ProtobufProcess, answer, install


@dataclass
class Add(Ask[int]):
    a: int
    b: int


@dataclass
class Note:
    text: str


class Counter(Process):
    def count(self, n: int) -> int:
        return n


context = Context()
process = Counter("name")
to = context.spawn(process)
"""

MISTAKES = {
    "a payload that is text": 'process.send(to, "name", "text")',
    "a message without a name": "process.send(to)",
    "a number as a message": "process.send(to, 5)",
    "a type instead of a message": "process.send(to, Note)",
    "a pid that is text": 'process.send("pid", "name")',
    "bytes to a process of protocol buffers": 'ProtobufProcess("b").send(to, "name", b"")',
    "another answer than is asked for": "text: str = context.ask(to, Add(1, 2)).result()",
    "an ask that says nothing of its answer": 'context.ask(to, Note("text"))',
    "a dispatch of other arguments": 'context.dispatch(to, process.count, "1")',
    "install(int)": "install(int)",
    "a handler of text": """
        class Mistake(Process):
            @install("name")
            def handle(self, from_pid: PID, body: str) -> None: ...
    """,
    "a handler without room": """
        class Mistake(Process):
            @install("name")
            def handle(self, from_pid: PID) -> None: ...
    """,
    "a handler of another protocol buffer": """
        class Mistake(ProtobufProcess):
            @ProtobufProcess.install(StringValue)
            def handle(self, from_pid: PID, message: Int32Value) -> None: ...
    """,
    "a handler of another message": """
        class Mistake(Process):
            @install(Note)
            def handle(self, from_pid: PID, message: Add) -> None: ...
    """,
    "a handler that answers something else": """
        class Mistake(Process):
            @answer(Add)
            def handle(self, from_pid: PID, message: Add) -> str:
                return "text"
    """,
}
"""Fifteen; before there were typed messages, mypy found 4 of such mistakes, and pyright 5."""

FOUND_WHEN_MADE = [name for name in MISTAKES if "handler" in name or "install" in name]


def check_with_mypy(programs: list[Path]) -> list[tuple[str, int, str]]:
    """(file, line, rule) of what mypy finds."""
    pytest.importorskip("mypy")
    directory = programs[0].parent
    options = ["--strict", "--config-file=", "--ignore-missing-imports", "--follow-imports=silent"]
    done = subprocess.run(
        [sys.executable, "-m", "mypy", *options, f"--cache-dir={directory / 'cache'}", *programs],
        capture_output=True,
        text=True,
        timeout=110,
        cwd=directory,
        env={**os.environ, "MYPYPATH": str(ROOT)},
    )
    found = re.findall(r"^(\w+\.py):(\d+): error: .*\[([\w-]+)\]$", done.stdout, re.MULTILINE)
    assert found or done.returncode == 0, done.stdout + done.stderr
    return [(file, int(line), rule) for file, line, rule in found]


def check_with_pyright(programs: list[Path]) -> list[tuple[str, int, str]]:
    """(file, line, rule) of what pyright finds."""
    pytest.importorskip("pyright", reason="pyright is not installed")
    if shutil.which("node") is None:
        pytest.skip("pyright runs on node, which it would have to download")
    directory = programs[0].parent
    config = {
        "typeCheckingMode": "strict",
        "extraPaths": [str(ROOT)],
        "reportMissingModuleSource": False,
        "reportUnusedImport": False,
        "reportUntypedFunctionDecorator": False,  # says again that a decorator does not fit
    }
    (directory / "pyrightconfig.json").write_text(json.dumps(config))
    done = subprocess.run(
        [sys.executable, "-m", "pyright", "--outputjson", f"--pythonpath={sys.executable}",
         *map(str, programs)],
        capture_output=True,
        text=True,
        timeout=110,
        cwd=directory,
    )  # fmt: skip
    if not done.stdout.startswith("{"):
        pytest.skip(f"pyright cannot run here: {(done.stderr or done.stdout)[-200:]}")
    return [
        (Path(one["file"]).name, one["range"]["start"]["line"] + 1, one.get("rule", ""))
        for one in json.loads(done.stdout)["generalDiagnostics"]
        if one["severity"] == "error"
    ]


Checker = Callable[[list[Path]], list[tuple[str, int, str]]]
CHECKERS = [
    pytest.param(check_with_mypy, id="mypy"),
    pytest.param(check_with_pyright, id="pyright"),
]


def needs_what_the_programs_use() -> None:
    for name in ("attrs", "msgspec", "pydantic"):
        pytest.importorskip(name)


def written(source: str, directory: Path, name: str = "program.py") -> Path:
    path = directory / name
    path.write_text(source, "utf-8")
    return path


@pytest.mark.parametrize("check", CHECKERS)
def test_documented_use_passes(check: Checker, tmp_path: Path) -> None:
    needs_what_the_programs_use()
    assert check([written(GOOD, tmp_path)]) == []


@pytest.mark.parametrize("check", CHECKERS)
def test_each_of_fifteen_mistakes_is_found(check: Checker, tmp_path: Path) -> None:
    begin = BEFORE_MISTAKES.count("\n") + 1
    programs = {f"mistake_{number}.py": mistake for number, mistake in enumerate(MISTAKES, 1)}
    paths = [
        written(BEFORE_MISTAKES + _dedented(MISTAKES[mistake]), tmp_path, name)
        for name, mistake in programs.items()
    ]
    found = check([*paths, written(BEFORE_MISTAKES, tmp_path, "none.py")])
    assert all(line >= begin for _, line, _ in found)
    flagged = [
        mistake for name, mistake in programs.items() if name in {file for file, *_ in found}
    ]
    assert flagged == list(MISTAKES)
    assert len(flagged) == 15


@pytest.mark.parametrize("mistake", FOUND_WHEN_MADE)
def test_mistakes_of_handlers_are_errors_when_the_class_is_made(mistake: str) -> None:
    pytest.importorskip("msgspec")
    names: dict[str, Any] = {"__name__": __name__}
    source = BEFORE_MISTAKES.replace("Context()", "None").replace("context.spawn(process)", "None")
    exec(source, names)
    with pytest.raises(TypeError, match=r"handles|names no message"):
        exec(_dedented(MISTAKES[mistake]), names)


def _dedented(source: str) -> str:
    return "\n".join(line.removeprefix("        ") for line in source.splitlines())


def is_annotated(program: Program) -> bool:
    """Whether the functions of an example say what they take: others are for all readers."""
    heads = re.findall(r"^ *(?:async )?def .*", program.source, re.MULTILINE)
    return bool(heads) and all(re.search(r"-> .*:", head) for head in heads)


ANNOTATED = [program for program in PROGRAMS if is_annotated(program)]


@pytest.mark.parametrize("check", CHECKERS)
def test_annotated_examples_of_the_docs_pass(check: Checker, tmp_path: Path) -> None:
    needs_what_the_programs_use()
    assert len(ANNOTATED) >= 3
    written(SERVICE_PB2, tmp_path, "service_pb2.py")
    paths = [
        written(program.source, tmp_path, f"{re.sub(r'[^a-z0-9]', '_', program.place)}.py")
        for program in ANNOTATED
    ]
    assert check(paths) == []
