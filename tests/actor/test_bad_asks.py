"""Asks and answers that are odd, many or late: each has one end, and nothing is left of it."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable
from typing import Any

import pytest

from compactor import PID, AskFailed, AskTimeout, Context, Process, Reason, RemoteError, answer
from tests.actors import TIMEOUT, Receiver, dead_letters, settle, spawned, wait_until

MakeContext = Callable[..., Context]


class OnTheWayOut(Exception):
    def __str__(self) -> str:
        raise ValueError("it cannot be printed")


ERRORS: dict[str, tuple[Any, str]] = {
    "SystemExit": (SystemExit(3), "3"),
    "KeyboardInterrupt": (KeyboardInterrupt(), ""),
    "GeneratorExit": (GeneratorExit(), ""),
    "MemoryError": (MemoryError("none"), "none"),
    "StopAsyncIteration": (StopAsyncIteration(5), "5"),
    "OnTheWayOut": (OnTheWayOut(), ""),
}


class Odd(Receiver):
    """Raises, answers and waits as it is asked to."""

    def __init__(self, name: str = "odd") -> None:
        super().__init__(name)
        self.open: asyncio.Event | None = None

    @answer("raise")
    def raise_(self, from_pid: PID, name: bytes) -> bytes:
        raise ERRORS[name.decode()][0]

    @answer("raise_later")
    async def raise_later(self, from_pid: PID, name: bytes) -> bytes:
        await asyncio.sleep(0)
        raise ERRORS[name.decode()][0]

    @answer("text")
    def text(self, from_pid: PID, body: bytes) -> Any:
        return "text"

    @answer("cancelled")
    async def cancelled(self, from_pid: PID, body: bytes) -> bytes:
        raise asyncio.CancelledError

    @answer("late", cancellable=False)
    async def late(self, from_pid: PID, body: bytes) -> bytes:
        if self.open is None:
            self.open = asyncio.Event()
        await self.open.wait()
        return body

    def let_go(self) -> None:
        assert self.open is not None
        self.open.set()


class Asker(Receiver):
    async def question(self, to: PID, name: str, body: bytes, timeout: float) -> Any:
        return await self.ask(to, name, body, timeout=timeout)


@pytest.fixture(params=["local", "remote"])
def odd(request: pytest.FixtureRequest, context: Context, make_context: MakeContext) -> Odd:
    """A process here, or in another context."""
    return spawned(context if request.param == "local" else make_context(), Odd())


@pytest.mark.parametrize("way", ["raise", "raise_later"])
@pytest.mark.parametrize("name", ERRORS)
def test_whatever_is_raised_is_told_once(
    context: Context, odd: Odd, way: str, name: str, caplog: pytest.LogCaptureFixture
) -> None:
    letters = dead_letters(context)
    with pytest.raises(RemoteError) as raised:
        context.ask(odd.pid, way, name.encode()).result(TIMEOUT)
    assert (raised.value.type, raised.value.text) == (name, ERRORS[name][1])
    assert context.ask(odd.pid, "late", timeout=0.001).exception(TIMEOUT)  # it lives on
    settle(spawned(context, Receiver("other")))
    odd.send(spawned(context, Receiver("last")).pid, "message")  # behind all that it has told
    assert context._runtime.registry.live["last"].process.received.take()
    assert letters.is_empty


def test_an_answer_that_cannot_be_sent_is_an_error_of_who_asks(context: Context, odd: Odd) -> None:
    with pytest.raises(RemoteError, match=r"TypeError: Body must be .* got 'text'"):
        context.ask(odd.pid, "text").result(TIMEOUT)


def test_a_handler_that_cancels_itself_answers_nothing(context: Context, odd: Odd) -> None:
    with pytest.raises(AskFailed) as failed:
        context.ask(odd.pid, "cancelled").result(TIMEOUT)
    assert failed.value.reason is Reason.TERMINATED


@pytest.mark.parametrize("timeout", [10**400, -(10**400)])
def test_a_time_beyond_all_numbers_is_an_error(context: Context, odd: Odd, timeout: int) -> None:
    with pytest.raises(ValueError, match="finite number of seconds above 0"):
        context.ask(odd.pid, "text", timeout=timeout)
    assert not context._runtime.asks.waiting


@pytest.mark.parametrize("timeout", [sys.float_info.max, 10**300, 5e-324])
def test_the_longest_and_the_shortest_times_are_times(
    context: Context, odd: Odd, timeout: float
) -> None:
    error = context.ask(odd.pid, "text", timeout=timeout).exception(TIMEOUT)
    assert isinstance(error, (RemoteError, AskTimeout))


def test_nothing_is_left_of_many_asks_that_are_answered_late(context: Context, odd: Odd) -> None:
    count = 500
    asker, letters = spawned(context, Asker("asker")), dead_letters(context)

    async def ask_many() -> list[Any]:
        asked = [asker.ask(odd.pid, "late", b"%d" % n, timeout=0.01) for n in range(count)]
        return await asyncio.gather(*asked, return_exceptions=True)

    found = context.dispatch(asker.pid, ask_many).result(TIMEOUT)
    assert {type(each) for each in found} == {AskTimeout}
    assert not context._runtime.asks.waiting
    wait_until(lambda: odd.open is not None)
    odd.context.dispatch(odd.pid, lambda: None)
    odd.context._portal.call(odd.let_go)
    last = context.ask(odd.pid, "late", b"last").result(TIMEOUT)
    assert last == b"last"  # and none of those that came late
    settle(odd, asker)
    assert asker.received.is_empty
    while not letters.is_empty:
        assert letters.take().reason is Reason.NO_PROCESS


def test_an_ask_ends_with_the_handler_that_awaits_it(context: Context, odd: Odd) -> None:
    asker = spawned(context, Asker("asker"))
    asked = context.dispatch(asker.pid, "question", odd.pid, "late", b"x", TIMEOUT)
    wait_until(lambda: odd.open is not None)
    asker.terminate()
    with pytest.raises(Process.Error):
        asked.result(TIMEOUT)
    wait_until(lambda: not context._runtime.asks.waiting)
    odd.context._portal.call(odd.let_go)
    assert context.ask(odd.pid, "late", b"next").result(TIMEOUT) == b"next"
