"""``slow_handler``: what holds the loop for longer is told, with process, message and duration."""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import Callable
from typing import Any

import pytest

from compactor import PID, Context, Process, Settings, install
from compactor.actor.timed import Timed
from compactor.errors import SettingsError
from tests.actors import TIMEOUT, Events, settle, spawned, wait_until

pytestmark = pytest.mark.usefixtures("tells_slow_handlers")

ContextFactory = Callable[..., Context]

LIMIT = 0.15  # which a busy machine adds to no handler, as a rule
HELD = 0.2

LINE = re.compile(r"process worker@\S+ held the loop for (\S+) s in (.*)")


class Worker(Process):
    def __init__(self, name: str = "worker") -> None:
        super().__init__(name)
        self.done = Events()

    @install("block")
    def block(self, from_pid: PID, body: bytes) -> None:
        time.sleep(HELD)
        self.done.put("blocked")

    @install("block_later")
    async def block_later(self, from_pid: PID, body: bytes) -> None:
        await asyncio.sleep(0)
        time.sleep(HELD)  # noqa: ASYNC251 - the mistake that is to be told
        self.done.put("blocked")

    @install("wait")
    async def wait(self, from_pid: PID, body: bytes) -> None:
        await asyncio.sleep(HELD)
        self.done.put("waited")

    @install("quick")
    def quick(self, from_pid: PID, body: bytes) -> None:
        pass


@pytest.fixture
def slow_context(make_context: ContextFactory) -> Context:
    return make_context(settings=Settings(slow_handler=LIMIT))


def told(caplog: pytest.LogCaptureFixture) -> list[tuple[float, str]]:
    """Seconds and text of each line."""
    found = [LINE.match(record.getMessage()) for record in caplog.records]
    return [(float(line[1]), line[2]) for line in found if line is not None]


def wait_for_count(context: Context, count: int) -> None:
    wait_until(lambda: context.metrics.slow_handlers >= count)


@pytest.mark.parametrize("name", ["block", "block_later"])
def test_a_handler_that_holds_the_loop_is_told_with_its_message(
    slow_context: Context, caplog: pytest.LogCaptureFixture, name: str
) -> None:
    worker = spawned(slow_context, Worker())
    slow_context.post(worker.pid, name, b"body")

    assert worker.done.take() == "blocked"
    wait_until(lambda: told(caplog))
    (seconds, what), *_ = told(caplog)
    assert seconds > LIMIT
    assert what == f"message {name!r} from @0.0.0.0:0 (4 bytes)"
    assert slow_context.metrics.snapshot()["slow_handlers"] == slow_context.metrics.slow_handlers


@pytest.mark.parametrize("name", ["block", "block_later"])
def test_a_handler_of_a_message_from_elsewhere_is_told_too(
    make_context: ContextFactory,
    slow_context: Context,
    caplog: pytest.LogCaptureFixture,
    name: str,
) -> None:
    worker = spawned(slow_context, Worker())
    sender = spawned(make_context(), Process("sender"))
    for _ in range(3):
        sender.send(worker.pid, name, b"body")
        assert worker.done.take() == "blocked"
        settle(worker)
    wait_for_count(slow_context, 2)

    assert told(caplog)[0][1] == f"message {name!r} from {sender.pid} (4 bytes)"


def test_a_dispatch_that_holds_the_loop_is_told(
    slow_context: Context, caplog: pytest.LogCaptureFixture
) -> None:
    worker = spawned(slow_context, Worker())
    slow_context.dispatch(worker.pid, time.sleep, HELD).result(TIMEOUT)

    wait_until(lambda: told(caplog))
    assert told(caplog)[0][1] == "dispatch of 'sleep'"


def test_what_cannot_be_told_apart_is_told_as_such(
    slow_context: Context, caplog: pytest.LogCaptureFixture
) -> None:
    worker = spawned(slow_context, Worker())
    other = spawned(slow_context, Process("other"))

    def fill() -> None:
        slow_context.post(worker.pid, "quick")
        slow_context.post(worker.pid, "block")
        slow_context.post(worker.pid, "quick")

    slow_context.dispatch(other.pid, fill).result(TIMEOUT)
    settle(worker)
    wait_until(lambda: told(caplog))

    whats = [what for _, what in told(caplog)]
    assert whats[0].endswith("message 'quick' from @0.0.0.0:0 (0 bytes)")
    assert whats[0].startswith("one of 2 events, the last of which was ")


def test_lines_are_bounded_and_all_are_counted(
    slow_context: Context, caplog: pytest.LogCaptureFixture
) -> None:
    worker = spawned(slow_context, Worker())
    for _ in range(4):
        slow_context.post(worker.pid, "block")
    settle(worker)

    wait_for_count(slow_context, 4)
    assert len(told(caplog)) == 1


def test_a_handler_that_waits_holds_nothing(
    slow_context: Context, caplog: pytest.LogCaptureFixture
) -> None:
    worker = spawned(slow_context, Worker())
    slow_context.post(worker.pid, "wait")
    assert worker.done.take() == "waited"
    settle(worker)

    assert not [what for _, what in told(caplog) if "'wait'" in what]


def test_zero_switches_it_off(
    make_context: ContextFactory, caplog: pytest.LogCaptureFixture
) -> None:
    context = make_context(settings=Settings(slow_handler=0))
    worker = spawned(context, Worker())
    for name in ("block", "block_later"):
        context.post(worker.pid, name)
        assert worker.done.take() == "blocked"
    settle(worker)

    assert context.metrics.slow_handlers == 0
    assert not told(caplog)


@pytest.mark.parametrize("value", [-1, "1", None, True, float("nan"), [], False])
def test_what_is_no_time_is_refused(value: Any) -> None:
    with pytest.raises(SettingsError, match="slow_handler"):
        Settings(slow_handler=value)


def test_a_timed_handler_is_awaited_cancelled_and_shown_as_without_it() -> None:
    steps: list[float] = []

    async def handler(gate: asyncio.Event) -> str:
        try:
            await gate.wait()
        except asyncio.CancelledError:
            return "cancelled"
        return "done"

    async def main() -> None:
        gate = asyncio.Event()
        task = asyncio.create_task(Timed(handler(gate), 0.0, steps.append))
        await asyncio.sleep(0)
        assert "handler" in repr(task)
        assert task.get_stack()[0].f_code.co_name == "handler"
        gate.set()
        assert await task == "done"
        task = asyncio.create_task(Timed(handler(asyncio.Event()), 0.0, steps.append))
        await asyncio.sleep(0)
        task.cancel()
        assert await task == "cancelled"

    asyncio.run(main())
    assert len(steps) == 4
