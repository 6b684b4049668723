"""The OS processes of one contestant in one round: roles of ours, and programs of others."""

from __future__ import annotations

import json
import multiprocessing
import os
import select
import signal
import subprocess
import tempfile
import threading
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from typing import Any

DEADLINE = 60.0  # seconds; a child that says nothing for so long has lost a message or hangs

Report = Callable[[Any], None]
Receive = Callable[[], Any]
"""Waits for the next report of a child, and returns it.

Raises ChildFailed when there will be none.
"""


class ChildFailed(Exception):
    """A child process raised, died or fell silent."""


def cpus() -> list[int | None]:
    """The CPUs to pin children to; Nones where the system cannot pin."""
    if not hasattr(os, "sched_getaffinity"):
        return [None]
    return [*sorted(os.sched_getaffinity(0))]


class Children:
    """Starts children, all with the same environment variables; kills them at the end."""

    def __init__(self, environ: Mapping[str, str] | None = None) -> None:
        self._environ = environ or {}
        self._spawn = multiprocessing.get_context("spawn")
        self._stack = ExitStack()

    def __enter__(self) -> Children:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self._stack.close()

    def fresh(self, more: Mapping[str, str] | None = None) -> Children:
        """Others with the same variables, for a part of the turn: they end before the next part.

        Args:
            more: variables that these children have besides.
        """
        return Children({**self._environ, **(more or {})})

    def start(self, role: Callable[..., None], *args: Any, cpu: int | None = None) -> Receive:
        """Run `role(report, *args)` in a new process.

        Args:
            cpu: the CPU to pin it to.
        """
        ours, theirs = self._spawn.Pipe()
        child = self._spawn.Process(target=_play, args=(theirs, role, args), daemon=True)
        with _inherited(self._environ, cpu):
            child.start()
        theirs.close()
        self._stack.callback(_end, child)
        return lambda: _receive(ours, role.__name__)

    def start_program(self, command: Sequence[str], cpu: int | None = None) -> Receive:
        """Run a program that reports by lines of JSON on its standard output."""
        with _inherited(self._environ, cpu):
            program = _Program(command)
        self._stack.callback(program.end)
        return program.receive


@contextmanager
def _inherited(environ: Mapping[str, str], cpu: int | None) -> Iterator[None]:
    """What is started meanwhile has these variables and that CPU from its first instruction on."""
    before = dict(os.environ)
    allowed = os.sched_getaffinity(0) if cpu is not None else None
    os.environ.update(environ)
    try:
        if cpu is not None:
            os.sched_setaffinity(0, {cpu})
        yield
    finally:
        if allowed is not None:
            os.sched_setaffinity(0, allowed)
        for name in environ:
            os.environ.pop(name)
            if name in before:
                os.environ[name] = before[name]


def _play(connection: Connection, role: Callable[..., None], args: tuple[Any, ...]) -> None:
    try:
        role(connection.send, *args)
    except Exception:
        connection.send(ChildFailed(traceback.format_exc()))
    threading.Event().wait()  # other threads may still be at work; the parent kills us


def _end(child: BaseProcess) -> None:
    child.kill()
    child.join()


def _receive(connection: Connection, name: str) -> Any:
    if not connection.poll(DEADLINE):
        raise ChildFailed(f"{name} reported nothing for {DEADLINE:.0f} s")
    try:
        report = connection.recv()
    except EOFError:
        raise ChildFailed(f"{name} died") from None
    if isinstance(report, ChildFailed):
        raise report
    return report


class _Program:
    def __init__(self, command: Sequence[str]) -> None:
        self._name = " ".join(command)
        self._log = tempfile.TemporaryFile()  # noqa: SIM115  (closed in `end`)
        self._popen = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=self._log,
            start_new_session=True,  # so that its own children end with it
        )
        assert self._popen.stdout is not None
        self._stdout = self._popen.stdout
        self._read = b""

    def receive(self) -> Any:
        while b"\n" not in self._read:
            if not select.select([self._stdout], [], [], DEADLINE)[0]:
                raise ChildFailed(f"{self._name} reported nothing for {DEADLINE:.0f} s")
            data = os.read(self._stdout.fileno(), 65536)
            if not data:
                self._log.seek(0)
                log = self._log.read()[-2000:].decode(errors="replace")
                raise ChildFailed(f"{self._name} died: {log}")
            self._read += data
        line, _, self._read = self._read.partition(b"\n")
        return json.loads(line)

    def end(self) -> None:
        if self._popen.poll() is None:
            os.killpg(self._popen.pid, signal.SIGKILL)
        self._popen.wait()
        self._stdout.close()
        self._log.close()
