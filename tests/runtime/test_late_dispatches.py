"""Dispatches that another thread has made while their process was made anew."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import pytest

from compactor import PID, Context, Process, Restart, Stop, install
from compactor.errors import ProcessTerminated
from tests.actors import TIMEOUT, Receiver, end, spawned


class Worker(Process):
    """Fails when it is told to."""

    def __init__(self, number: int) -> None:
        super().__init__("worker")
        self.number = number

    def told(self) -> int:
        return self.number

    @install("fail")
    def fail(self, from_pid: PID, body: bytes) -> None:
        raise LookupError


class Making:
    """Makes workers; all but the first once it may, on the thread of the loop."""

    def __init__(self, make: Callable[[int], Process] = Worker) -> None:
        self.make = make
        self.made: list[Any] = []
        self.begun = threading.Event()
        self.may = threading.Event()

    def __call__(self) -> Process:
        if self.made:
            self.begun.set()
            assert self.may.wait(TIMEOUT)
        self.made.append(self.make(len(self.made)))
        worker: Process = self.made[-1]
        return worker


def fail(context: Context, making: Making, pid: PID) -> None:
    """Have the first worker fail, and the second one be about to be made."""
    spawned(context, Receiver("sender")).send(pid, "fail")
    assert making.begun.wait(TIMEOUT)


@pytest.mark.each_combination
def test_one_by_name_is_for_the_new_object(context: Context) -> None:
    making = Making()
    pid = context.spawn(making, on_failure=Restart(backoff=0.0))
    fail(context, making, pid)
    by_name = context.dispatch(pid, "told")
    by_function = context.dispatch(pid, lambda: "anybody's")
    bound = context.dispatch(pid, making.made[0].told)
    making.may.set()
    assert by_name.result(TIMEOUT) == 1
    assert by_function.result(TIMEOUT) == "anybody's"
    with pytest.raises(ProcessTerminated):
        bound.result(TIMEOUT)


def test_one_for_a_method_that_the_new_object_lacks_fails(context: Context) -> None:
    class Odd(Worker):
        told = None  # type: ignore[assignment]

    making = Making(lambda number: (Odd if number else Worker)(number))
    pid = context.spawn(making, on_failure=Restart(backoff=0.0))
    fail(context, making, pid)
    late = context.dispatch(pid, "told")
    making.may.set()
    with pytest.raises(ProcessTerminated):
        late.result(TIMEOUT)


def test_one_for_a_process_that_ends_is_not_for_the_next_of_its_name(context: Context) -> None:
    first = Worker(0)
    pid = context.spawn(first, on_failure=Stop())
    late = context._runtime.backend.Dispatch(context._registry.live["worker"], "told", ())
    end(first)
    context.spawn(lambda: Worker(1), on_failure=Restart())
    context._call(late.put)
    with pytest.raises(ProcessTerminated):
        late.result(TIMEOUT)
    assert context.dispatch(pid, "told").result(TIMEOUT) == 1
