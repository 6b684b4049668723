"""Processes that would wait for each other's answers for ever are told so at once."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from compactor import PID, AskTimeout, Context, Process, RemoteError, answer
from compactor.errors import ProcessError
from tests.actors import TIMEOUT

MakeContext = Callable[..., Context]


class Asker(Process):
    """Passes on what it is asked, and answers with what it is answered.

    Args:
        name: of it.
        how: how it asks, and waits.
    """

    def __init__(self, name: str, how: str = "awaits") -> None:
        super().__init__(name)
        self.how = how
        self.to: PID | None = None

    @answer("pass_on")
    async def pass_on(self, from_pid: PID, body: bytes) -> bytes:
        if self.to is None or body == b"enough":
            return b"at last"
        return await self.go_on(body)

    async def go_on(self, body: bytes = b"") -> bytes:
        assert self.to is not None
        if self.how == "beside":
            self.task = asyncio.create_task(self.again(b"enough"))
            return b"beside"
        return await self.again(body)

    async def again(self, body: bytes) -> bytes:
        assert self.to is not None
        return await self.ask(self.to, "pass_on", body, timeout=TIMEOUT)


def ring(context: Context, *askers: Asker) -> None:
    """Each asks the next, and the last one the first."""
    for asker in askers:
        context.spawn(asker)
    for asker, to in zip(askers, [*askers[1:], askers[0]], strict=True):
        asker.to = to.pid


@pytest.mark.each_combination
@pytest.mark.parametrize("count", [2, 3, 50])
def test_who_would_close_a_circle_is_told_which(context: Context, count: int) -> None:
    askers = [Asker(f"p{number}") for number in range(count)]
    ring(context, *askers)
    with pytest.raises(RemoteError) as raised:
        context.ask(askers[0].pid, "pass_on").result(TIMEOUT)
    last = askers[-1].name
    chain = " -> ".join([last, *(asker.name for asker in askers)])
    assert raised.value.text.endswith(f"{askers[-1].pid} would wait for itself, forever: {chain}")
    askers[0].to = None  # nothing waits any more
    assert context.ask(askers[1].pid, "pass_on").result(TIMEOUT) == b"at last"
    assert not context._runtime.asks.waiting


def test_a_dispatched_method_that_asks_holds_its_mailbox_too(context: Context) -> None:
    one, two = Asker("one"), Asker("two")
    ring(context, one, two)
    with pytest.raises(RemoteError, match="forever: two -> one -> two"):
        context.dispatch(one.pid, one.go_on).result(TIMEOUT)


def test_who_asks_itself_is_told(context: Context) -> None:
    one = Asker("one")
    ring(context, one)
    with pytest.raises(ProcessError, match="forever: one -> one"):
        context.dispatch(one.pid, one.go_on).result(TIMEOUT)


def test_a_task_beside_the_handler_holds_nothing_up(context: Context) -> None:
    """The last one answers the first, which so can be asked."""
    one, two = Asker("one"), Asker("two", "beside")
    ring(context, one, two)
    assert context.ask(one.pid, "pass_on").result(TIMEOUT) == b"beside"

    async def end() -> bytes:
        return await two.task

    assert context.dispatch(two.pid, end).result(TIMEOUT) == b"at last"


def test_a_handler_that_is_about_to_go_on_waits_for_nobody(context: Context) -> None:
    """Its answer is there, although its turn has not come."""

    class Busy(Asker):
        @answer("two_of_them")
        async def two_of_them(self, from_pid: PID, body: bytes) -> bytes:
            assert self.to is not None
            asked = [self.ask(self.to, "pass_on"), self.ask(self.to, "pass_on")]
            return b",".join([await each for each in asked])

    one, two = Busy("one"), Asker("two")
    ring(context, one, two)
    two.to = None
    assert context.ask(one.pid, "two_of_them").result(TIMEOUT) == b"at last,at last"


def test_a_circle_across_contexts_ends_with_a_time(make_context: MakeContext) -> None:
    class Brief(Asker):
        async def again(self, body: bytes) -> Any:
            assert self.to is not None
            return await self.ask(self.to, "pass_on", body, timeout=0.05)

    one, two = Brief("one"), Asker("two")
    here, there = make_context(), make_context()
    here.spawn(one)
    there.spawn(two)
    one.to, two.to = two.pid, one.pid
    with pytest.raises(AskTimeout):
        here.dispatch(one.pid, one.go_on).result(TIMEOUT)
