"""What a handler awaits of a dispatch on its own loop: it goes on in the turn of the result."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextvars import ContextVar
from typing import Any

import pytest

from compactor import PID, Context, Process
from compactor.errors import ProcessTerminated
from tests.actors import TIMEOUT, Events

ContextFactory = Callable[..., Context]
word: ContextVar[str] = ContextVar("word", default="none")


class Callee(Process):
    def __init__(self) -> None:
        super().__init__("callee")
        self.is_inside = False
        self.rounds = 0

    def add(self, number: int) -> int:
        self.is_inside = True
        self.rounds += 1
        word.set("of the callee")
        self.is_inside = False
        return number + 1

    def fail(self) -> None:
        raise LookupError("broken")

    def stop_iteration(self) -> None:
        raise StopIteration

    async def hang(self) -> None:
        await asyncio.sleep(TIMEOUT)

    def end(self) -> None:
        self.context.terminate(self.pid)


class Caller(Process):
    def __init__(self, callee: Callee) -> None:
        super().__init__("caller")
        self.callee = callee
        self.events = Events()

    def call(self, method: str | Callable[..., Any], *args: Any) -> Any:
        return self.context.dispatch(self.callee.pid, method, *args)

    async def ask(self) -> int:
        word.set("of the caller")
        task, total = asyncio.current_task(), 0
        for _ in range(100):
            total = await self.call("add", total)
            assert not self.callee.is_inside
            assert asyncio.current_task() is task
            assert word.get() == "of the caller"
        return total

    async def ask_for_errors(self) -> None:
        with pytest.raises(LookupError, match="broken"):
            await self.call("fail")
        with pytest.raises(RuntimeError, match="StopIteration"):
            await self.call("stop_iteration")
        done = self.call("add", 1)
        assert await done == await done == 2
        many = await asyncio.gather(*(self.call("add", number) for number in range(5)))
        assert many == [1, 2, 3, 4, 5]

    async def give_up(self) -> None:
        hanging = self.call("hang")
        waiting = self.call("add", 1)
        with pytest.raises(asyncio.TimeoutError):
            await asyncio.wait_for(waiting, 0.01)
        assert waiting.cancelled()
        assert hanging.running()

    async def see_the_end(self) -> None:
        hanging, late = self.call("hang"), self.call("add", 1)
        asyncio.get_running_loop().call_soon(self.callee.end)
        with pytest.raises(ProcessTerminated):
            await late
        with pytest.raises(ProcessTerminated):
            await hanging

    async def ask_for_ever(self) -> None:
        try:
            while True:
                await self.call("add", 1)
        finally:
            self.events.put("ended")


@pytest.fixture
def caller(make_context: ContextFactory) -> Caller:
    context = make_context()
    callee = Callee()
    context.spawn(callee)
    caller = Caller(callee)
    context.spawn(caller)
    return caller


@pytest.mark.parametrize("method", ["ask_for_errors", "give_up", "see_the_end"])
def test_what_a_handler_may_await(caller: Caller, method: str) -> None:
    caller.context.dispatch(caller.pid, method).result(TIMEOUT)


def test_a_handler_goes_on_as_itself_and_outside_of_others(caller: Caller) -> None:
    assert caller.context.dispatch(caller.pid, "ask").result(TIMEOUT) == 100


def test_who_asks_for_ever_holds_up_nobody_and_can_be_ended(caller: Caller) -> None:
    context = caller.context
    context.dispatch(caller.pid, "ask_for_ever")
    other: PID = context.spawn(Process("other"))
    for _ in range(3):
        assert context.dispatch(other, lambda: 7).result(TIMEOUT) == 7
    seen = caller.callee.rounds
    assert context.delay(0.0, other, lambda: caller.events.put("on time")) is not None
    assert caller.events.take() == "on time"
    context.terminate(caller.pid)
    assert caller.events.take() == "ended"
    assert caller.callee.rounds >= seen


async def asked(caller: Caller) -> list[int]:
    dispatches = [caller.call("add", number) for number in range(3)]
    return [await dispatch for dispatch in dispatches]


def test_other_loops_are_told_by_their_own(caller: Caller) -> None:
    assert asyncio.run(asked(caller)) == [1, 2, 3]
