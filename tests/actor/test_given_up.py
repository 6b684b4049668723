"""Asks and dispatches that nobody waits for any more: their handlers are told."""

from __future__ import annotations

import asyncio
import concurrent.futures
import contextlib
import socket
from collections.abc import Callable
from typing import Any

import pytest

from compactor import PID, AskTimeout, Context, Process, answer, install
from compactor.actor import inquiries
from tests.actors import TIMEOUT, Events, Receiver, dead_letters, settle, spawned, wait_until
from tests.raw import frame, have_no_notices, pid_at, read_answer, read_message

MakeContext = Callable[..., Context]


class Slow(Receiver):
    """Its handlers wait for the gate."""

    def __init__(self, name: str = "slow") -> None:
        super().__init__(name)
        self.gate = asyncio.Event()
        self.events = Events()

    async def wait(self, name: str) -> bytes:
        self.events.put(name)
        try:
            await self.gate.wait()
        except asyncio.CancelledError:
            self.events.put("cancelled")
            raise
        self.events.put("done")
        return b"done"

    @answer("slow")
    async def slow(self, from_pid: PID, body: bytes) -> bytes:
        return await self.wait("slow")

    @answer("resolute", cancellable=False)
    async def resolute(self, from_pid: PID, body: bytes) -> bytes:
        return await self.wait("resolute")

    @install("installed")
    async def installed(self, from_pid: PID, body: bytes) -> None:
        self.reply(await self.wait("installed"))

    @answer("stubborn")
    async def stubborn(self, from_pid: PID, body: bytes) -> bytes:
        with contextlib.suppress(asyncio.CancelledError):
            await self.wait("stubborn")
        self.reply(b"dropped")
        return b"dropped as well"

    @answer("failing")
    async def failing(self, from_pid: PID, body: bytes) -> None:
        try:
            await self.wait("failing")
        finally:
            raise LookupError("on the way out")

    def let_go(self) -> None:
        """Open the gate, from any thread."""
        self.context._runtime.run_queue.loop.call_soon_threadsafe(self.gate.set)


@pytest.fixture(params=["local", "remote"])
def slow(request: pytest.FixtureRequest, context: Context, make_context: MakeContext) -> Slow:
    """For askers of ``context``."""
    return spawned(context if request.param == "local" else make_context(), Slow())


def nothing_is_left(*contexts: Context) -> bool:
    return not any(
        asks.inquiries.running or asks.waiting
        for asks in (context._runtime.asks for context in contexts)
    )


@pytest.mark.smoke
@pytest.mark.each_combination
def test_a_handler_is_cancelled_with_its_ask(context: Context, slow: Slow) -> None:
    letters = dead_letters(context)
    question = context.ask(slow.pid, "slow")
    assert slow.events.take() == "slow"
    assert question.cancel()
    assert slow.events.take() == "cancelled"
    settle(slow)
    assert slow.events.is_empty
    assert slow.context.metrics.handler_failures == 0
    assert letters.is_empty
    assert nothing_is_left(context, slow.context)


def test_a_handler_is_cancelled_when_the_task_that_asks_is(context: Context, slow: Slow) -> None:
    class Asker(Process):
        async def question(self) -> Any:
            return await self.ask(slow.pid, "slow")

    asker = spawned(context, Asker("asker"))
    context.dispatch(asker.pid, "question")
    assert slow.events.take() == "slow"
    asker.terminate()
    assert slow.events.take() == "cancelled"


@pytest.mark.smoke
def test_a_handler_is_cancelled_when_the_time_of_its_ask_is_over(
    context: Context, slow: Slow
) -> None:
    letters = dead_letters(context)
    with pytest.raises(AskTimeout):
        context.ask(slow.pid, "slow", timeout=0.2).result(TIMEOUT)
    assert slow.events.take_many(2) == ["slow", "cancelled"]
    settle(slow)
    assert letters.is_empty


@pytest.mark.parametrize("name", ["resolute", "installed"])
def test_a_handler_that_is_not_cancellable_goes_on(context: Context, slow: Slow, name: str) -> None:
    letters = dead_letters(context)
    question = context.ask(slow.pid, name)
    assert slow.events.take() == name
    assert question.cancel()
    if slow.context is not context:  # what was told has been taken
        context.ask(slow.pid, "slow", timeout=0.01).exception(TIMEOUT)
    slow.let_go()
    assert slow.events.take() == "done"
    assert letters.take().sender == slow.pid


def test_what_a_cancelled_handler_answers_is_dropped(context: Context, slow: Slow) -> None:
    letters = dead_letters(context)
    question = context.ask(slow.pid, "stubborn")
    assert slow.events.take() == "stubborn"
    question.cancel()
    assert slow.events.take() == "cancelled"
    settle(slow)
    assert letters.is_empty
    assert slow.context.metrics.handler_failures == 0


def test_what_a_cancelled_handler_raises_is_logged(
    context: Context, slow: Slow, caplog: pytest.LogCaptureFixture
) -> None:
    question = context.ask(slow.pid, "failing")
    assert slow.events.take() == "failing"
    question.cancel()
    assert slow.events.take() == "cancelled"
    wait_until(lambda: "LookupError: on the way out" in caplog.text)
    assert slow.context.metrics.handler_failures == 1


def test_a_handler_that_nobody_waits_for_any_more_does_not_begin(
    context: Context, slow: Slow
) -> None:
    first, second, third = (context.ask(slow.pid, "slow") for _ in range(3))
    assert slow.events.take() == "slow"
    mailbox = slow.context._runtime.registry.live[slow.pid.id]
    wait_until(lambda: len(mailbox.queue) == 2)  # else the second may not have left yet
    second.cancel()
    if slow.context is context:
        settle(spawned(context, Receiver("other")))
    else:
        wait_until(lambda: slow.context._runtime.asks.inquiries._given_up)
    slow.let_go()
    assert (first.result(TIMEOUT), third.result(TIMEOUT)) == (b"done", b"done")
    assert slow.events.take_many(3) == ["done", "slow", "done"]
    assert slow.events.is_empty
    assert not slow.context._runtime.asks.inquiries._given_up


def test_what_is_remembered_of_those_who_have_given_up_is_bounded(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(inquiries, "_MAX_GIVEN_UP", 3)
    asked = inquiries.Inquiries()
    senders = [PID("127.0.0.1", 1, f"__req_res__({number})") for number in range(5)]
    for sender in senders:
        asked.give_up(sender)
    assert [asked.is_given_up(sender) for sender in senders] == [False, False, True, True, True]
    assert not any(asked.is_given_up(sender) for sender in senders)


def test_a_stranger_is_told_nothing(context: Context, listener: socket.socket) -> None:
    question = context.ask(pid_at(listener, "foreign"), "get", b"k")
    accepted, _ = listener.accept()
    have_no_notices(listener)
    sender = spawned(context, Process("sender"))
    with accepted, accepted.makefile("rb") as stream:
        assert read_message(stream)[0] == "/foreign/get"
        assert question.cancel()
        wait_until(lambda: not context._runtime.asks.waiting)
        sender.send(pid_at(listener, "foreign"), "next", b"x")
        assert read_message(stream)[0] == "/foreign/next"


def test_a_forged_message_cancels_nothing(context: Context) -> None:
    slow = spawned(context, Slow())
    question = context.ask(slow.pid, "slow")
    assert slow.events.take() == "slow"
    forged = PID(context.ip, context.port, "__req_res__(1)")
    with socket.create_connection(slow.pid.address, TIMEOUT) as sock:
        for sender in (forged, slow.pid):
            sock.sendall(frame(slow.pid, "compactor.ask.given_up", sender=sender))
            assert read_answer(sock)[0] == 202
    slow.let_go()
    assert question.result(TIMEOUT) == b"done"


# Dispatches


@pytest.mark.smoke
@pytest.mark.each_combination
def test_an_async_method_is_cancelled_with_its_dispatch(context: Context) -> None:
    slow = spawned(context, Slow())
    future = context.dispatch(slow.pid, "wait", "dispatched")
    behind = context.dispatch(slow.pid, lambda: "behind")
    assert slow.events.take() == "dispatched"
    assert future.cancel()
    assert future.cancel()
    assert (future.cancelled(), future.done(), future.running()) == (True, True, False)
    with pytest.raises(concurrent.futures.CancelledError):
        future.result(TIMEOUT)
    assert slow.events.take() == "cancelled"
    assert behind.result(TIMEOUT) == "behind"
    assert context.metrics.handler_failures == 0


@pytest.mark.parametrize("where", ["the same loop", "another loop"])
def test_an_async_method_is_cancelled_with_the_task_that_awaits_it(
    context: Context, where: str
) -> None:
    slow = spawned(context, Slow())

    async def wait() -> None:
        with pytest.raises(asyncio.TimeoutError):
            await asyncio.wait_for(context.dispatch(slow.pid, "wait", "dispatched"), 0.2)

    if where == "the same loop":
        caller = spawned(context, Process("caller"))
        context.dispatch(caller.pid, wait).result(TIMEOUT)
    else:
        asyncio.run(wait())
    assert slow.events.take_many(2) == ["dispatched", "cancelled"]
    settle(slow)


def test_who_is_told_of_a_dispatch_that_is_cancelled_while_it_runs(context: Context) -> None:
    slow, told = spawned(context, Slow()), Events()
    future = context.dispatch(slow.pid, "wait", "dispatched")
    future.add_done_callback(told.put)
    assert slow.events.take() == "dispatched"
    waiter = spawned(context, Process("waiter"))

    async def wait() -> str:
        try:
            await future
        except asyncio.CancelledError:
            return "cancelled"
        return "not cancelled"

    waiting = context.dispatch(waiter.pid, wait)
    settle(spawned(context, Process("other")))
    assert future.cancel()
    assert told.take() is future
    assert waiting.result(TIMEOUT) == "cancelled"
    assert concurrent.futures.wait([future], TIMEOUT).done == {future}


def test_a_method_that_will_not_be_cancelled_returns_for_nobody(context: Context) -> None:
    slow = spawned(context, Slow())

    async def stubborn(error: Exception | None) -> str:
        with contextlib.suppress(asyncio.CancelledError):
            await slow.wait("stubborn")
        if error is not None:
            raise error
        return "for nobody"

    for number, error in enumerate((None, LookupError("for the log"))):
        future = context.dispatch(slow.pid, stubborn, error)
        assert slow.events.take() == "stubborn"
        assert future.cancel()
        settle(slow)
        assert slow.events.take() == "cancelled"
        assert future.cancelled()
        assert context.metrics.handler_failures == number


def test_a_plain_method_cannot_be_cancelled_while_it_runs(context: Context) -> None:
    slow, verdicts = spawned(context, Slow()), Events()

    def method() -> str:
        verdicts.put("begun")
        verdicts.put(futures.take().cancel())
        return "done"

    futures = Events()
    future = context.dispatch(slow.pid, method)
    futures.put(future)
    assert verdicts.take_many(2) == ["begun", False]
    assert future.result(TIMEOUT) == "done"


def test_a_method_that_cancels_its_own_dispatch_is_cancelled(context: Context) -> None:
    slow, futures = spawned(context, Slow()), Events()

    async def method() -> None:
        await asyncio.sleep(0)
        assert futures.take().cancel()
        await slow.wait("cancelled itself")

    future = context.dispatch(slow.pid, method)
    futures.put(future)
    with pytest.raises(concurrent.futures.CancelledError):
        future.result(TIMEOUT)
    settle(slow)
    assert slow.events.take_many(2) == ["cancelled itself", "cancelled"]


def test_cancelling_what_the_end_of_its_process_has_cancelled_disturbs_no_finalize(
    context: Context,
) -> None:
    class Ending(Slow):
        async def finalize(self) -> None:
            self.events.put("finalize")
            await self.gate.wait()
            self.events.put("finalized")

    ending = spawned(context, Ending())
    future = context.dispatch(ending.pid, "wait", "dispatched")
    assert ending.events.take() == "dispatched"
    ending.terminate()
    assert ending.events.take_many(2) == ["cancelled", "finalize"]
    future.cancel()
    settle(spawned(context, Process("other")))
    ending.let_go()
    assert ending.events.take() == "finalized"


def test_dispatches_are_cancelled_at_any_moment(context: Context) -> None:
    """Whatever comes of each, the process goes on, and all of them end."""
    slow = spawned(context, Slow())

    async def step() -> str:
        for _ in range(3):
            await asyncio.sleep(0)
        return "done"

    outcomes = set()
    for _ in range(500):
        future = context.dispatch(slow.pid, step)
        future.cancel()
        with contextlib.suppress(concurrent.futures.CancelledError):
            assert future.result(TIMEOUT) == "done"
        outcomes.add(future.cancelled())
    settle(slow)
    assert True in outcomes
    assert context.metrics.handler_failures == 0
