"""Many processes that fail and are made anew at once take time linear in their number."""

from __future__ import annotations

import asyncio
import logging
import sys
from functools import partial
from typing import Any

import pytest

from compactor import PID, AskFailed, Context, Process, Reason, Restart, answer, install
from tests.actors import Events, spawned

FEW = 300  # processes; with twice as many it shows what is not linear
FOR_EVER = Restart(limit=None, backoff=0.0)


class Silent(Process):
    """Never answers."""

    @answer("get")
    async def get(self, from_pid: PID, body: bytes) -> bytes:
        await asyncio.Event().wait()
        return body


class Child(Process):
    """Asks somebody who does not answer, when it begins, and fails when it is told to."""

    def __init__(self, parent: Parent, name: str) -> None:
        super().__init__(name)
        self.parent = parent

    def initialize(self) -> None:
        asked: Any = self.ask(self.parent.silent, "get", b"")
        asked.add_done_callback(lambda asked: self.parent.ended.append(asked.exception()))
        self.parent.child_has_begun()

    @install("fail")
    def fail(self, from_pid: PID, body: bytes) -> None:
        raise ValueError


class Parent(Process):
    """Has all its children fail at once, and counts the calls that are made until all are back."""

    def __init__(self, many: int, silent: PID, over: Events) -> None:
        super().__init__("parent")
        self.many = many
        self.silent = silent
        self.over = over
        self.begun = self.calls = 0
        self.ended: list[Any] = []

    def initialize(self) -> None:
        for number in range(self.many):
            self.spawn(partial(Child, self, f"child-{number}"), on_failure=FOR_EVER)

        self.context.dispatch(self.pid, self.storm)  # on the loop's thread

    def storm(self) -> None:
        sys.setprofile(self.count)
        for pid in self.children:
            self.send(pid, "fail")

    def child_has_begun(self) -> None:
        self.begun += 1
        if self.begun == 2 * self.many:
            sys.setprofile(None)
            self.over.put((self.calls, list(self.ended)))

    def count(self, frame: Any, event: str, argument: Any) -> None:
        self.calls += event in ("call", "c_call")


def calls_of_a_storm(context: Context, many: int) -> int:
    over = Events()
    silent = spawned(context, Silent("silent"))
    parent = spawned(context, Parent(many, silent.pid, over))
    calls, ended = over.take()
    assert len(ended) == many
    assert {type(error) for error in ended} == {AskFailed}
    assert {error.reason for error in ended} == {Reason.TERMINATED}
    for process in (parent, silent):
        waiting = context.wait(process.pid)
        context.terminate(process.pid)
        waiting.result(20)
    assert isinstance(calls, int)
    return calls


def test_a_storm_of_restarts_takes_time_linear_in_the_processes(
    context: Context, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.CRITICAL, "compactor")  # lines in the log come by time
    calls_of_a_storm(context, 5)  # what is made once
    few = calls_of_a_storm(context, FEW)
    assert calls_of_a_storm(context, 2 * FEW) < 2.3 * few


def test_asks_of_those_who_do_not_fail_go_on(context: Context) -> None:
    over = Events()
    silent = spawned(context, Silent("silent"))
    asked = context.ask(silent.pid, "get", b"")
    spawned(context, Parent(3, silent.pid, over))
    _, ended = over.take()
    assert len(ended) == 3
    assert not asked.done()
    assert context._runtime.asks.waiting == 4  # that one, and those of the new children
