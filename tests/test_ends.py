"""What shows that a process has ended, and that whoever sees it can use the id again."""

from __future__ import annotations

import asyncio
import logging
import socket
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from compactor import PID, Context, Process, install, route
from tests.actors import TIMEOUT, Events, settle, spawned
from tests.raw import read_answer

LONGER_THAN_A_TURN = 0.003  # seconds


class Mortal(Process):
    """Takes longer than a turn to end, and says what it began to do."""

    def __init__(self) -> None:
        super().__init__("mortal")
        self.begun = Events()

    async def be_busy(self, *_: Any) -> None:
        self.begun.put("busy")
        await asyncio.sleep(TIMEOUT)

    page = route("/page")(be_busy)

    @install("message")
    def message(self, from_pid: PID, body: bytes) -> None:
        self.begun.put("message")

    def finalize(self) -> Any:
        time.sleep(LONGER_THAN_A_TURN)


class AsyncMortal(Mortal):
    async def finalize(self) -> None:
        await asyncio.sleep(LONGER_THAN_A_TURN)


@pytest.fixture
def context(backend: Any) -> Iterator[Context]:
    """A context; its loop makes no difference to what ends."""
    context = Context(ip="127.0.0.1")
    yield context
    context.stop()
    context.join(TIMEOUT)


SpawnAgain = Callable[..., None]


@pytest.fixture
def spawned_again() -> Events:
    """What became of the attempts to spawn a process of the same id."""
    return Events()


@pytest.fixture
def spawn_again(context: Context, spawned_again: Events) -> SpawnAgain:
    """What spawns a process of the same id."""

    def spawn(*_: Any) -> None:
        try:
            spawned_again.put(context.spawn(Process("mortal")))
        except context.InvalidProcess as error:
            spawned_again.put(error)

    return spawn


def by_its_exit(context: Context, mortal: Mortal, spawn_again: SpawnAgain) -> None:
    class Watcher(Process):
        def exited(self, pid: PID) -> None:
            spawn_again()

    watcher = spawned(context, Watcher("watcher"))
    watcher.link(mortal.pid)
    settle(watcher)


def by_its_exit_elsewhere(context: Context, mortal: Mortal, spawn_again: SpawnAgain) -> None:
    class Watcher(Process):
        def exited(self, pid: PID) -> None:
            spawn_again()
            self.context.stop()

    watcher = spawned(Context(ip="127.0.0.1"), Watcher("watcher"))
    watcher.link(mortal.pid)
    watcher.send(mortal.pid, "message")  # arrives behind the link
    assert mortal.begun.take() == "message"


def by_a_queued_dispatch(context: Context, mortal: Mortal, spawn_again: SpawnAgain) -> None:
    context.dispatch(mortal.pid, mortal.be_busy)
    context.dispatch(mortal.pid, lambda: None).add_done_callback(spawn_again)
    assert mortal.begun.take() == "busy"


def by_a_dispatch_under_way(context: Context, mortal: Mortal, spawn_again: SpawnAgain) -> None:
    context.dispatch(mortal.pid, mortal.be_busy).add_done_callback(spawn_again)
    assert mortal.begun.take() == "busy"


def by_a_dead_letter(context: Context, mortal: Mortal, spawn_again: SpawnAgain) -> None:
    context.on_dead_letter(spawn_again)
    context.dispatch(mortal.pid, mortal.be_busy)
    context.post(mortal.pid, "message")
    assert mortal.begun.take() == "busy"


def by_an_answer(context: Context, mortal: Mortal, spawn_again: SpawnAgain) -> None:
    def ask() -> None:
        with socket.create_connection(mortal.pid.address, timeout=TIMEOUT) as sock:
            sock.sendall(b"GET /mortal/page HTTP/1.1\r\nHost: x\r\n\r\n")
            assert read_answer(sock)[0] == 500
            spawn_again()

    threading.Thread(target=ask).start()
    assert mortal.begun.take() == "busy"


SIGNS = [
    by_its_exit,
    by_its_exit_elsewhere,
    by_a_queued_dispatch,
    by_a_dispatch_under_way,
    by_a_dead_letter,
    by_an_answer,
]


@pytest.mark.parametrize("show", SIGNS)
@pytest.mark.parametrize("kind", [Mortal, AsyncMortal])
def test_an_id_is_free_when_the_end_shows(
    context: Context,
    spawn_again: SpawnAgain,
    spawned_again: Events,
    kind: type[Mortal],
    show: Callable[..., None],
) -> None:
    mortal = spawned(context, kind())
    show(context, mortal, spawn_again)

    context.terminate(mortal.pid)

    assert spawned_again.take() == mortal.pid


class FailingToEnd(Mortal):
    def finalize(self) -> None:
        super().finalize()
        raise LookupError


class FailingToEndAsynchronously(Mortal):
    async def finalize(self) -> None:
        await asyncio.sleep(0)
        raise LookupError


class FailingToBegin(Mortal):
    async def initialize(self) -> None:
        raise LookupError


@pytest.mark.parametrize("kind", [FailingToEnd, FailingToEndAsynchronously, FailingToBegin])
def test_an_id_is_free_when_the_log_tells_of_the_end(
    context: Context, spawn_again: SpawnAgain, spawned_again: Events, kind: type[Mortal]
) -> None:
    class Handler(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            spawn_again()

    log, handler = logging.getLogger("compactor"), Handler(logging.ERROR)
    log.addHandler(handler)
    try:
        mortal = spawned(context, kind())
        if kind is not FailingToBegin:
            context.terminate(mortal.pid)
        assert spawned_again.take() == mortal.pid
    finally:
        log.removeHandler(handler)


def test_a_coroutine_that_finalize_wakes_can_use_the_id(context: Context) -> None:
    ended = asyncio.Event()

    class Telling(Mortal):
        async def finalize(self) -> None:
            ended.set()

    class Heir(Process):
        async def wait(self) -> PID:
            await ended.wait()
            return self.context.spawn(Process("mortal"))

    heir, mortal = spawned(context, Heir("heir")), spawned(context, Telling())
    inherited = context.dispatch(heir.pid, heir.wait)

    context.terminate(mortal.pid)

    assert inherited.result(TIMEOUT) == mortal.pid


def test_what_a_second_terminate_finds_is_reported_with_the_rest(context: Context) -> None:
    letters: list[str | None] = []

    class Slow(Mortal):
        async def be_busy(self, *_: Any) -> None:
            try:
                await super().be_busy()
            finally:
                context.terminate(self.pid, inject=False)
                context.terminate(self.pid)
                context.terminate(self.pid)

    context.on_dead_letter(lambda letter: letters.append(letter.name))
    slow = spawned(context, Slow())
    busy = context.dispatch(slow.pid, slow.be_busy)
    context.post(slow.pid, "message")
    assert slow.begun.take() == "busy"

    context.terminate(slow.pid)
    context.post(slow.pid, "late")

    with pytest.raises(Exception, match="dispatch of 'be_busy': terminated"):
        busy.result(TIMEOUT)
    settle(spawned(context, Process("mortal")))
    assert letters == ["message", "late"]
