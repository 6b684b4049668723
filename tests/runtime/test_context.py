"""Context: how it starts, and its loop."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable

import pytest

from compactor import Context
from tests.actors import TIMEOUT, Events, Receiver, settle
from tests.raw import connects

LoopFactory = Callable[[], asyncio.AbstractEventLoop]


def test_context_listens_before_it_is_started() -> None:
    context = Context(ip="127.0.0.1", port=0)

    assert connects(context.ip, context.port)
    assert not context.is_alive()
    context.stop()


@pytest.mark.smoke
def test_first_call_starts_the_loop(new_loop: LoopFactory) -> None:
    context = Context(ip="127.0.0.1", port=0, loop=new_loop())
    receiver = Receiver()
    context.spawn(receiver)
    receiver.send(receiver.pid, "message", b"x")

    assert receiver.received.take() == (receiver.pid, b"x")
    assert context.is_alive()
    context.stop()
    context.join(TIMEOUT)
    assert not context.is_alive()


def test_start_can_be_repeated(context: Context) -> None:
    receiver = Receiver()
    context.start()
    context.spawn(receiver)
    context.start()
    receiver.send(receiver.pid, "message")

    assert receiver.received.take() == (receiver.pid, b"")


def test_loop_runs_in_a_daemon_thread_named_after_the_context(context: Context) -> None:
    receiver, threads = Receiver(), Events()
    context.spawn(receiver)
    context.dispatch(receiver.pid, lambda: threads.put(threading.current_thread()))

    thread = threads.take()
    assert thread.daemon
    assert thread.name == context.name == f"CompactorContext({context.ip}:{context.port})"
    assert str(context) == f"Context({context.ip}:{context.port})"


def test_given_loop_is_the_one_that_runs(new_loop: LoopFactory) -> None:
    loop = new_loop()
    context = Context(ip="127.0.0.1", port=0, loop=loop)
    receiver = Receiver()
    context.spawn(receiver)

    async def running() -> asyncio.AbstractEventLoop:
        return asyncio.get_running_loop()

    assert context.dispatch(receiver.pid, running).result(TIMEOUT) is loop
    context.stop()
    context.join(TIMEOUT)


def test_no_event_loop_policy_is_touched(context: Context) -> None:
    settle_on = Receiver()
    context.spawn(settle_on)
    settle(settle_on)

    async def running() -> str:
        return type(asyncio.get_running_loop()).__module__

    assert asyncio.run(running()).startswith("asyncio")
