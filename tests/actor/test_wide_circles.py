"""Circles of asks that handlers await by what asyncio has for several, or by the context."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from compactor import PID, AskTimeout, Context, Process, RemoteError, answer
from compactor.actor import circles
from compactor.errors import ProcessError
from tests.actor.test_async import make_eager
from tests.actors import TIMEOUT, wait_until

MakeContext = Callable[..., Context]
SECONDS = 10.0  # no circle may last as long


class Asker(Process):
    """Passes on what it is asked.

    Args:
        name: of it.
        how: awaits what it asks, see ``WAYS``.
    """

    def __init__(self, name: str, how: str = "directly") -> None:
        super().__init__(name)
        self.how = how
        self.to: PID | None = None
        self.kept: list[Any] = []

    @answer("pass_on")
    async def pass_on(self, from_pid: PID, body: bytes) -> bytes:
        if self.to is None or body == b"enough":
            return b"at last"
        return await self.go_on()

    async def go_on(self) -> bytes:
        result: bytes = await WAYS[self.how](self)
        return result

    def question(self, body: bytes = b"") -> Any:
        assert self.to is not None
        return self.ask(self.to, "pass_on", body, timeout=SECONDS)

    def of_context(self) -> Any:
        assert self.to is not None
        return self.context.ask(self.to, "pass_on", timeout=SECONDS)

    async def coroutine(self) -> Any:
        return await self.question()


async def quick() -> bytes:
    return b"quick"


async def gathered(asker: Asker) -> Any:
    return (await asyncio.gather(quick(), asker.question()))[1]


async def gathered_coroutines(asker: Asker) -> Any:
    return (await asyncio.gather(asker.coroutine(), quick()))[0]


async def gathered_twice(asker: Asker) -> Any:
    return (await asyncio.gather(quick(), gathered_coroutines(asker)))[1]


async def waited_for(asker: Asker) -> Any:
    return await asyncio.wait_for(asker.question(), SECONDS)


async def coroutine_waited_for(asker: Asker) -> Any:
    return await asyncio.wait_for(asker.coroutine(), SECONDS)


async def task(asker: Asker) -> Any:
    return await asyncio.create_task(asker.coroutine())


async def task_of_task(asker: Asker) -> Any:
    return await asyncio.create_task(task(asker))


async def waited(asker: Asker) -> Any:
    done, _ = await asyncio.wait([asyncio.ensure_future(asker.coroutine())])
    return done.pop().result()


async def waited_asks(asker: Asker) -> Any:
    asked = asker.question()
    await asyncio.wait([asked, asyncio.ensure_future(quick())])
    return await asked


async def shielded(asker: Asker) -> Any:
    return await asyncio.shield(asker.coroutine())


async def shielded_ask(asker: Asker) -> Any:
    return await asyncio.shield(asker.question())


async def by_context(asker: Asker) -> Any:
    return await asker.of_context()


async def gathered_by_context(asker: Asker) -> Any:
    return (await asyncio.gather(asker.of_context()))[0]


async def wrapped(asker: Asker) -> Any:
    return await asyncio.wrap_future(asker.of_context())


async def in_group(asker: Asker) -> Any:
    try:
        async with asyncio.TaskGroup() as group:
            made = group.create_task(asker.coroutine())
    except Exception as errors:
        raise errors.exceptions[0] from None  # type: ignore[attr-defined]
    return made.result()


async def within_time(asker: Asker) -> Any:
    async with asyncio.timeout(SECONDS):
        return await asker.question()


Way = Callable[[Asker], Awaitable[Any]]
WAYS: dict[str, Way] = {
    "directly": Asker.coroutine,
    **{
        way.__name__: way
        for way in (
            gathered,
            gathered_coroutines,
            gathered_twice,
            waited_for,
            coroutine_waited_for,
            task,
            task_of_task,
            waited,
            waited_asks,
            shielded,
            shielded_ask,
            by_context,
            gathered_by_context,
        )
    },
}
if sys.version_info >= (3, 11):
    WAYS |= {"in_group": in_group, "within_time": within_time}


def ring(context: Context, *askers: Asker) -> None:
    """Each asks the next, and the last one the first."""
    for asker in askers:
        context.spawn(asker)
    for asker, to in zip(askers, [*askers[1:], askers[0]], strict=True):
        asker.to = to.pid


@pytest.mark.each_combination
@pytest.mark.parametrize("how", sorted(WAYS))
def test_a_circle_is_told_however_it_is_awaited(context: Context, how: str) -> None:
    """By the one that closes it, and by those that it goes through."""
    one, two, three = Asker("one"), Asker("two"), Asker("three", how)
    ring(context, one, two, three)
    with pytest.raises(RemoteError, match="forever: three -> one -> two -> three"):
        context.ask(one.pid, "pass_on").result(TIMEOUT)
    one.how, three.how = how, "directly"
    with pytest.raises(RemoteError, match="forever: three -> one -> two -> three"):
        context.ask(one.pid, "pass_on").result(TIMEOUT)
    one.to = None
    assert context.ask(two.pid, "pass_on").result(TIMEOUT) == b"at last"
    wait_until(lambda: not context._runtime.asks.waiting)


@pytest.mark.parametrize("how", sorted(WAYS))
def test_a_handler_of_an_other_kind_closes_a_circle(context: Context, how: str) -> None:
    """A dispatched method holds its mailbox as well."""
    one, two = Asker("one", how), Asker("two", how)
    ring(context, one, two)
    with pytest.raises((RemoteError, ProcessError), match="forever: two -> one -> two"):
        context.dispatch(one.pid, one.go_on).result(TIMEOUT)


@pytest.mark.parametrize("how", [how for how in sorted(WAYS) if "context" in how])
def test_who_asks_itself_by_the_context_is_told(context: Context, how: str) -> None:
    one = Asker("one", how)
    ring(context, one)
    with pytest.raises(ProcessError, match="forever: one -> one"):
        context.dispatch(one.pid, one.go_on).result(TIMEOUT)


@pytest.mark.skipif(not hasattr(asyncio, "eager_task_factory"), reason="before Python 3.12")
@pytest.mark.parametrize("how", sorted(WAYS))
def test_a_circle_of_eager_tasks_is_told(context: Context, how: str) -> None:
    make_eager(context)
    one, two = Asker("one", how), Asker("two", how)
    ring(context, one, two)
    with pytest.raises(RemoteError, match="forever: two -> one -> two"):
        context.ask(one.pid, "pass_on").result(TIMEOUT)


@pytest.mark.each_combination
def test_who_needs_what_it_dispatches_to_itself_is_told(context: Context) -> None:
    class Busy(Process):
        def work(self) -> bytes:
            return b"done"

        def dispatched(self) -> Any:
            return self.context.dispatch(self.pid, "work")

        async def coroutine(self) -> Any:
            return await self.dispatched()

        async def gathered(self) -> Any:
            return await asyncio.gather(self.dispatched())

        async def task(self) -> Any:
            return await asyncio.create_task(self.coroutine())

        async def beside(self) -> Any:
            self.kept = asyncio.create_task(self.coroutine())
            await asyncio.sleep(0.02)

        async def end(self) -> Any:
            return await self.kept

    busy = Busy("busy")
    context.spawn(busy)
    for way in (busy.coroutine, busy.gathered, busy.task):
        with pytest.raises(ProcessError, match=r"busy@.* would wait for itself, forever"):
            context.dispatch(busy.pid, way).result(TIMEOUT)
    context.dispatch(busy.pid, busy.beside).result(TIMEOUT)
    assert context.dispatch(busy.pid, busy.end).result(TIMEOUT) == b"done"


# What is no circle


class Beside(Asker):
    """Asks in tasks that it does not await, or not alone."""

    async def go_on(self) -> bytes:
        asked = asyncio.ensure_future(self.coroutine())
        self.kept.append(asked)
        return await getattr(self, self.how)(asked)  # type: ignore[no-any-return]

    async def not_at_all(self, asked: Any) -> bytes:
        await asyncio.sleep(0.05)  # in which the other asks back
        return b"beside"

    async def by_the_context(self, asked: Any) -> bytes:
        self.kept.append(asyncio.ensure_future(self.later()))
        return await self.not_at_all(asked)

    async def later(self) -> Any:
        return await self.of_context()

    async def first_of_two(self, asked: Any) -> bytes:
        other = asyncio.ensure_future(asyncio.sleep(0.05))
        await asyncio.wait([asked, other], return_when=asyncio.FIRST_COMPLETED)
        return b"beside"

    async def as_they_come(self, asked: Any) -> bytes:
        for first in asyncio.as_completed([asked, asyncio.sleep(0.05, b"beside")]):
            return bytes(await first)
        raise AssertionError

    async def gathered_and_left(self, asked: Any) -> bytes:
        self.kept.append(asyncio.gather(asked, self.question(b"enough")))
        return await self.not_at_all(asked)


@pytest.mark.each_combination
@pytest.mark.parametrize(
    "how", ["not_at_all", "by_the_context", "first_of_two", "as_they_come", "gathered_and_left"]
)
def test_what_a_handler_can_go_on_without_closes_no_circle(context: Context, how: str) -> None:
    """The other waits for it, which ends by itself; then all have their answers."""
    one, two = Beside("one", how), Asker("two", "gathered")
    ring(context, one, two)
    two.to = one.pid

    class Enough(Asker):
        @answer("pass_on")
        async def pass_on(self, from_pid: PID, body: bytes) -> bytes:
            assert self.to is not None
            return await self.ask(self.to, "pass_on", b"enough", timeout=SECONDS)

    other = Enough("other")
    context.spawn(other)
    other.to, one.to = one.pid, other.pid
    assert context.ask(one.pid, "pass_on").result(TIMEOUT) == b"beside"

    async def all_of_them() -> list[Any]:
        return [await each for each in one.kept]

    for found in context.dispatch(other.pid, all_of_them).result(TIMEOUT):
        assert found in (b"at last", [b"at last", b"at last"])


def test_a_task_that_outlives_its_handler_holds_no_mailbox(context: Context) -> None:
    one, two = Beside("one", "not_at_all"), Asker("two")
    ring(context, one, two)

    async def leave(_: Any) -> bytes:
        await asyncio.sleep(0)  # the task has asked
        one.to = None  # so that who asks back is answered at once
        return b"left"

    one.not_at_all = leave  # type: ignore[method-assign]
    assert context.ask(one.pid, "pass_on").result(TIMEOUT) == b"left"

    async def end() -> bytes:
        return bytes(await one.kept[0])

    other = context.spawn(Process("other"))
    assert context.dispatch(other, end).result(TIMEOUT) == b"at last"


def test_two_that_wait_for_a_third_are_no_circle(context: Context) -> None:
    """It is asked along two ways, and answers."""

    class Fork(Asker):
        def question(self, body: bytes = b"") -> Any:
            return asyncio.gather(*[self.ask(pid, "pass_on") for pid in self.kept])

    class Last(Asker):
        @answer("pass_on")
        async def pass_on(self, from_pid: PID, body: bytes) -> bytes:
            await asyncio.sleep(0.02)
            return b"last"

    first, left, right, last = Fork("first"), Asker("left"), Asker("right"), Last("last")
    for process in (first, left, right, last):
        context.spawn(process)
    first.kept, left.to, right.to = [left.pid, right.pid, last.pid], last.pid, last.pid
    asked = context.dispatch(first.pid, first.coroutine)
    assert asked.result(TIMEOUT) == [b"last", b"last", b"last"]


def test_of_more_than_is_looked_at_the_time_decides(
    context: Context, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(circles, "_MOST_PASSED", 3)
    askers = [Asker(f"p{number}") for number in range(5)]
    ring(context, *askers)
    for asker in askers:
        asker.question = lambda asker=asker: asker.ask(asker.to, "pass_on", timeout=0.05)  # type: ignore
    with pytest.raises(RemoteError, match="AskTimeout"):
        context.ask(askers[0].pid, "pass_on").result(TIMEOUT)
    with pytest.raises(AskTimeout):
        context.dispatch(askers[0].pid, askers[0].coroutine).result(TIMEOUT)
