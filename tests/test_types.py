"""What the type hints tell a program that uses compactor, by mypy, where that is installed."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]

GOOD = """
from google.protobuf.wrappers_pb2 import StringValue

from compactor import PID, Context, Process, ProtobufProcess, Reason, Request, install, route


class Plain(Process):
    @install("one")
    @install("two")
    async def handle(self, from_pid: PID, body: bytes) -> None:
        self.send(from_pid, "name")
        self.send(from_pid, "name", bytearray(body))
        self.send(from_pid, "name", memoryview(body))
        await self.drained(from_pid)

    @route("/")
    def index(self, request: Request) -> dict[str, str]:
        return {"path": request.path}

    def exited(self, pid: PID, reason: Reason) -> None: ...


class Old(Process):
    async def initialize(self) -> None: ...

    def exited(self, pid: PID) -> None: ...


class Buffers(ProtobufProcess):
    @ProtobufProcess.install(StringValue)
    def handle(self, from_pid: PID, message: StringValue) -> None:
        self.send(from_pid, StringValue(value=message.value))


context = Context(ip="127.0.0.1", port=0)
plain = Plain("plain")
context.post(context.spawn(plain), "one", bytearray(b"1"))
context.send(plain.pid, plain.pid, "one", memoryview(b"1"))
Buffers("buffers").handle(plain.pid, StringValue())
"""

BAD = """
from compactor import Process, install

process = Process("name")
process.send(process.pid, "name", "text")  # arg-type
process.send("pid", "name")  # arg-type
install(5)  # arg-type
"""


def check(source: str, directory: Path) -> list[str]:
    pytest.importorskip("mypy")
    program = directory / "program.py"
    program.write_text(source)
    options = ["--strict", "--config-file=", "--ignore-missing-imports", "--follow-imports=silent"]
    done = subprocess.run(
        [sys.executable, "-m", "mypy", *options, f"--cache-dir={directory / 'cache'}", program],
        capture_output=True,
        text=True,
        timeout=100,
        cwd=directory,
        env={**os.environ, "MYPYPATH": str(ROOT)},
    )
    found = re.findall(r"program\.py:(\d+): error: .*\[([\w-]+)\]$", done.stdout, re.MULTILINE)
    assert found or done.returncode == 0, done.stdout + done.stderr
    return [f"{line} {code}" for line, code in found]


def test_documented_use_passes(tmp_path: Path) -> None:
    assert check(GOOD, tmp_path) == []


def test_misuse_is_found(tmp_path: Path) -> None:
    lines = BAD.splitlines()
    expected = [
        f"{number} {line.split('# ')[1]}" for number, line in enumerate(lines, 1) if "# " in line
    ]
    assert check(BAD, tmp_path) == expected
