"""``Bound``: mailboxes that leave messages out when too much waits."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from compactor import (
    PID,
    AskFailed,
    Bound,
    Context,
    Process,
    Reason,
    Restart,
    answer,
    install,
)
from tests.actors import TIMEOUT, Events, Receiver, dead_letters, spawned, take_letter, wait_until


class Holding(Receiver):
    """Handles nothing while it is held."""

    @install("hold")
    async def hold(self, from_pid: PID, body: bytes) -> None:
        gate = self.gate = asyncio.Event()
        self.received.put("holding")
        await gate.wait()
        if body:
            raise ValueError(body)

    @answer("echo")
    def echo(self, from_pid: PID, body: bytes) -> bytes:
        return body

    def let_go(self) -> None:
        self.context._portal.post(self.gate.set)


def held(context: Context, bound: Bound) -> Holding:
    """A process that is held, with nothing in its mailbox."""
    process = Holding()
    context.spawn(process, mailbox=bound)
    context.post(process.pid, "hold")
    assert process.received.take() == "holding"
    return process


@pytest.mark.parametrize("size", [1, 100_000])
@pytest.mark.parametrize(
    ("overflow", "kept"), [("reject", [b"0", b"1"]), ("drop_oldest", [b"3", b"4"])]
)
def test_what_is_too_much_is_a_dead_letter(
    contexts: tuple[Context, Context], overflow: Any, kept: list[bytes], size: int
) -> None:
    here, there = contexts
    process = held(there, Bound(2, overflow=overflow))
    letters = dead_letters(there)
    sender = spawned(here, Process("sender"))
    for number in range(5):
        sender.send(process.pid, "message", b"%d" % number * size)
    for _ in range(3):
        letter = take_letter(letters)
        assert (letter.reason, letter.to, letter.name) == (
            Reason.OVERFLOW,
            process.pid,
            "message",
        )
        assert letter.sender == sender.pid
        assert letter.size == size
    process.let_go()

    taken = [body[:1] for _, body in process.received.take_many(2)]
    assert taken == kept
    there.dispatch(process.pid, lambda: None).result(TIMEOUT)
    assert process.received.is_empty
    assert there._runtime.backlog.total == 0


def test_an_ask_that_is_left_out_fails_with_overflow(context: Context) -> None:
    process = held(context, Bound(1))
    kept = context.ask(process.pid, "echo", b"kept")
    with pytest.raises(AskFailed) as failure:
        context.ask(process.pid, "echo", b"left out").result(TIMEOUT)
    assert failure.value.reason is Reason.OVERFLOW
    process.let_go()
    assert kept.result(TIMEOUT) == b"kept"


def test_dispatches_exits_and_the_end_are_never_left_out(context: Context) -> None:
    process = held(context, Bound(1, overflow="drop_oldest"))
    other = spawned(context, Process("other"))
    process.link(other.pid)
    futures = [context.dispatch(process.pid, lambda n=n: n) for n in range(5)]
    context.terminate(other.pid)
    letters = dead_letters(context)
    context.post(process.pid, "message", b"left out")  # there is no message to leave out instead
    assert take_letter(letters).reason is Reason.OVERFLOW
    ended = context.wait(process.pid)
    context.terminate(process.pid, inject=False)
    process.let_go()

    assert [future.result(TIMEOUT) for future in futures] == [0, 1, 2, 3, 4]
    assert process.exits.take()[0] == other.pid
    assert ended.result(TIMEOUT) is Reason.TERMINATED


def test_a_restarted_process_has_the_same_bound(context: Context) -> None:
    received = Events()
    made: list[Holding] = []

    def make() -> Holding:
        process = Holding()
        process.received = received
        made.append(process)
        return process

    pid = context.spawn(make, on_failure=Restart(backoff=0.0), mailbox=Bound(2))
    context.post(pid, "hold", b"fails")
    assert received.take() == "holding"
    context.post(pid, "hold")
    context.post(pid, "message", b"1")
    wait_until(lambda: len(context._runtime.registry.live[pid.id].queue) == 2)
    made[0].let_go()
    assert received.take() == "holding"
    letters = dead_letters(context)
    for number in range(2, 5):
        context.post(pid, "message", b"%d" % number)
    assert [take_letter(letters).reason for _ in range(2)] == [Reason.OVERFLOW] * 2
    made[1].let_go()
    assert [body for _, body in received.take_many(2)] == [b"1", b"2"]


def test_a_child_may_have_a_bound(context: Context) -> None:
    parent = spawned(context, Process("parent"))
    pid = parent.spawn(Holding, mailbox=Bound(1))
    child = context._runtime.registry.live[pid.id].process
    context.post(pid, "hold")
    assert child.received.take() == "holding"
    letters = dead_letters(context)
    for _ in range(2):
        context.post(pid, "message")
    assert take_letter(letters).reason is Reason.OVERFLOW


@pytest.mark.parametrize("limit", [0, -1, 1.5, True, "1", None])
def test_a_limit_is_a_number_above_0(limit: Any) -> None:
    with pytest.raises(ValueError, match="limit="):
        Bound(limit)


def test_an_overflow_is_one_of_two() -> None:
    with pytest.raises(ValueError, match="'reject' or 'drop_oldest'"):
        Bound(1, overflow="drop_newest")  # type: ignore[arg-type]


@pytest.mark.parametrize("bound", [5, Bound, "reject"])
def test_what_is_no_bound_is_an_error(context: Context, bound: Any) -> None:
    with pytest.raises(TypeError, match="mailbox takes Bound"):
        context.spawn(Process("process"), mailbox=bound)
