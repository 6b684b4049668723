"""What the type hints tell a program that uses compactor, by mypy and by pyright."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
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


Found = list[tuple[str, int, str]]


@pytest.fixture(scope="module", params=[check_with_mypy, check_with_pyright])
def found(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Found:
    """What a checker finds in all programs, looked at once: it takes seconds to begin."""
    needs_what_the_programs_use()
    directory = tmp_path_factory.mktemp("programs")
    written(SERVICE_PB2, directory, "service_pb2.py")
    programs = {"good.py": GOOD, "none.py": BEFORE_MISTAKES}
    programs |= {file: BEFORE_MISTAKES + _dedented(MISTAKES[m]) for file, m in MISTAKEN.items()}
    programs |= {file_of(program): program.source for program in ANNOTATED}
    found: Found = request.param([written(s, directory, f) for f, s in programs.items()])
    return found


def needs_what_the_programs_use() -> None:
    for name in ("attrs", "msgspec", "pydantic"):
        pytest.importorskip(name)


def written(source: str, directory: Path, name: str = "program.py") -> Path:
    path = directory / name
    path.write_text(source, "utf-8")
    return path


MISTAKEN = {f"mistake_{number}.py": mistake for number, mistake in enumerate(MISTAKES, 1)}
"""What is wrong in which file."""


def test_documented_use_passes(found: Found) -> None:
    assert [each for each in found if each[0] == "good.py"] == []


def test_each_of_fifteen_mistakes_is_found(found: Found) -> None:
    begin = BEFORE_MISTAKES.count("\n") + 1
    files = {file for file, line, _ in found if line >= begin}
    assert [mistake for file, mistake in MISTAKEN.items() if file in files] == list(MISTAKES)
    assert len(MISTAKES) == 15
    mistaken = [each for each in found if each[0] in MISTAKEN or each[0] == "none.py"]
    assert all(line >= begin and file != "none.py" for file, line, _ in mistaken)


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


def file_of(program: Program) -> str:
    """The file in which an example is checked."""
    return f"{re.sub(r'[^a-z0-9]', '_', program.place)}.py"


def test_annotated_examples_of_the_docs_pass(found: Found) -> None:
    assert len(ANNOTATED) >= 3
    files = {file_of(program) for program in ANNOTATED}
    assert [each for each in found if each[0] in files | {"service_pb2.py"}] == []
