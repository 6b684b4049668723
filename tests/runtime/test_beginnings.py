"""A context whose beginning or end is cut short, or fails: nothing is left, and it is told."""

from __future__ import annotations

import asyncio
import gc
import itertools
import os
import threading
import time
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from compactor import PID, Context, Process, Settings, install
from compactor.runtime import at_exit
from tests.actors import TIMEOUT, Events

LoopFactory = Callable[[], asyncio.AbstractEventLoop]

DESCRIPTORS = Path("/proc/self/fd")


@pytest.fixture(params=["asyncio", "uvloop"])
def new_loop(request: pytest.FixtureRequest) -> LoopFactory:
    """What makes a loop of each library; the backends do not differ in what is tested here."""
    factory: LoopFactory = pytest.importorskip(request.param).new_event_loop
    return factory


class Linked(Process):
    """Watches the receiver of its messages, and tidies up what it has begun."""

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.has_come = asyncio.Event()

    @install("message")
    async def message(self, from_pid: PID, body: bytes) -> None:
        self.link(from_pid)
        self.has_come.set()
        try:
            await asyncio.sleep(TIMEOUT)
        finally:
            await asyncio.sleep(0)


def two() -> tuple[Context, Context]:
    """Two contexts that have not been started."""
    return Context(ip="127.0.0.1"), Context(ip="127.0.0.1")


async def use(here: Context, there: Context) -> None:
    async with here, there:
        sender, receiver = Linked("sender"), Linked("receiver")
        here.spawn(sender)
        there.spawn(receiver)
        sender.send(receiver.pid, "message")
        await receiver.has_come.wait()


class Left:
    """What is open, running and registered now."""

    def __init__(self) -> None:
        loop: Any = asyncio.get_running_loop()
        selector = getattr(loop, "_selector", None)
        found = {
            "descriptors": os.listdir(DESCRIPTORS) if DESCRIPTORS.exists() else [],
            "selector": selector.get_map() if selector is not None else [],
            "tasks": asyncio.all_tasks(),
            "registry": list(at_exit._running),
        }
        self.counts = {name: len(list(things)) for name, things in found.items()}


async def cancel_after(steps: int, is_all: bool) -> bool:
    """Cancel the use of two contexts, or all tasks; whether it took so many steps."""
    before = Left().counts
    contexts = two()
    user = asyncio.create_task(use(*contexts))
    for _ in range(steps):
        await asyncio.sleep(0)
    tasks = {user, *asyncio.all_tasks()} - {asyncio.current_task()} if is_all else {user}
    for task in tasks:
        task.cancel()
    await asyncio.wait(tasks)
    del tasks, task  # some hold sockets by their traceback
    for context in contexts:
        await context.aclose()
        assert not context.is_alive()
    for _ in range(10):
        await asyncio.sleep(0)
    assert Left().counts == before
    return user.cancelled()


@pytest.mark.filterwarnings("ignore::ResourceWarning")  # of asyncio, which drops what it accepted
@pytest.mark.parametrize("is_all", [False, True], ids=["one who waits", "all"])
def test_nothing_is_left_wherever_it_is_cancelled(new_loop: LoopFactory, is_all: bool) -> None:
    loop = new_loop()
    try:
        loop.run_until_complete(use(*two()))  # now it has all its descriptors
        for steps in itertools.count():
            if not loop.run_until_complete(cancel_after(steps, is_all)):
                break
    finally:
        loop.close()
        gc.collect()
    assert steps > 20


# Failures


def test_a_start_that_fails_in_a_running_loop_is_logged_and_named_by_later_calls(
    new_loop: LoopFactory, caplog: pytest.LogCaptureFixture
) -> None:
    async def main() -> Context:
        context = Context(ip="127.0.0.1", loop=asyncio.get_running_loop())
        context._sock.close()
        context.start()
        await asyncio.wait_for(asyncio.wrap_future(context._life.stopped), TIMEOUT)
        return context

    loop = new_loop()
    context = loop.run_until_complete(main())
    loop.close()

    assert f"{context} failed" in caplog.text
    assert not context.is_alive()
    with pytest.raises(context.Stopped, match="could not start"):
        context.spawn(Process("late"))


def test_a_thread_that_cannot_be_started_leaves_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    def start(thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    context = Context(ip="127.0.0.1")
    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", start)
        with pytest.raises(RuntimeError):
            context.spawn(Process("process"))

    context.stop()
    context.join(TIMEOUT)
    assert not context.is_alive()
    with pytest.raises(context.Stopped, match="can't start new thread"):
        context.spawn(Process("late"))


# What handlers leave on a loop that the context owns


class Leaving(Process):
    """Starts what it does not wait for, and says how that ended."""

    def __init__(self) -> None:
        super().__init__("leaving")
        self.events = Events()
        self.kept: list[Any] = []

    async def leave_task(self) -> None:
        self.kept.append(asyncio.create_task(self.task()))
        await asyncio.sleep(0)

    async def task(self) -> None:
        try:
            await asyncio.sleep(TIMEOUT)
        finally:
            self.kept.append(asyncio.create_task(self.last()))
            await asyncio.sleep(0)
            self.events.put("task")

    async def last(self) -> None:
        try:
            await asyncio.sleep(TIMEOUT)
        finally:
            self.events.put("task of a task")
            raise SystemExit  # it ends no more than its task

    async def leave_generator(self) -> None:
        self.kept.append(self.generator())
        await anext(self.kept[-1])

    async def generator(self) -> AsyncIterator[None]:
        try:
            yield
        finally:
            await asyncio.sleep(0)
            self.events.put("generator")

    async def leave_thread(self) -> None:
        self.kept.append(asyncio.get_running_loop().run_in_executor(None, self.thread))

    def thread(self) -> None:
        time.sleep(0.05)
        self.events.put("thread")

    async def leave_stuck_thread(self, until: threading.Event) -> None:
        self.kept.append(asyncio.get_running_loop().run_in_executor(None, until.wait))


def test_what_handlers_left_ends_with_the_loop(
    new_loop: LoopFactory, caplog: pytest.LogCaptureFixture
) -> None:
    context = Context(ip="127.0.0.1", loop=new_loop())
    leaving = Leaving()
    pid = context.spawn(leaving)
    for what in (leaving.leave_task, leaving.leave_generator, leaving.leave_thread):
        context.dispatch(pid, what).result(TIMEOUT)

    context.stop()
    context.join(TIMEOUT)

    assert not context.is_alive()
    assert sorted(leaving.events.take_many(4)) == ["generator", "task", "task of a task", "thread"]
    assert "was destroyed" not in caplog.text


@pytest.mark.filterwarnings(  # uvloop's own thread tells its closed loop in the end
    "ignore::pytest.PytestUnhandledThreadExceptionWarning"
)
def test_what_does_not_end_is_given_up_with_a_line_in_the_log(
    new_loop: LoopFactory, caplog: pytest.LogCaptureFixture
) -> None:
    context = Context(ip="127.0.0.1", loop=new_loop(), settings=Settings(linger=0.05))
    before = set(threading.enumerate())
    leaving, until = Leaving(), threading.Event()
    context.dispatch(context.spawn(leaving), leaving.leave_stuck_thread, until).result(TIMEOUT)

    context.stop()
    context.join(TIMEOUT)
    is_alive = context.is_alive()
    until.set()
    for thread in set(threading.enumerate()) - before:
        thread.join(TIMEOUT)

    assert not is_alive
    assert "the threads of the default executor did not end within 0.05 s" in caplog.text


def test_aclose_needs_no_thread_of_others(new_loop: LoopFactory) -> None:
    until = threading.Event()

    async def main() -> None:
        loop = asyncio.get_running_loop()
        loop.set_default_executor(ThreadPoolExecutor(1))
        blocked = loop.run_in_executor(None, until.wait)
        context = Context(ip="127.0.0.1")
        context.start()
        try:
            await asyncio.wait_for(context.aclose(), TIMEOUT)
            assert not context.is_alive()
        finally:
            until.set()
            await blocked

    loop = new_loop()
    try:
        loop.run_until_complete(main())
        loop.run_until_complete(loop.shutdown_default_executor())
    finally:
        loop.close()
