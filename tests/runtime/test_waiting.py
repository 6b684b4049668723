"""``Context.wait`` and ``Context.ready``: ends and beginnings, for threads and coroutines."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import threading
from collections.abc import Callable
from typing import Any

import pytest

from compactor import PID, Context, Process, Reason, Stop, install
from compactor.errors import ContextError, ContextStopped, InvalidProcess, ProcessTerminated
from tests.actors import TIMEOUT, Events, Receiver, peer_of, settle, spawned, wait_until


class Slow(Process):
    """Initialized once its gate is open."""

    def __init__(self, name: str = "slow", error: BaseException | None = None) -> None:
        super().__init__(name)
        self.gate = asyncio.Event()
        self.error = error
        self.events = Events()

    async def initialize(self) -> None:
        self.events.put("initializing")
        await self.gate.wait()
        if self.error is not None:
            raise self.error

    def open(self) -> None:
        self.context._portal.post(self.gate.set)


def links_of(context: Context) -> dict[Any, Any]:
    return context._runtime.watches.links.linked


# wait


def test_wait_tells_the_reason_of_an_end_here_and_elsewhere(
    contexts: tuple[Context, Context],
) -> None:
    here, there = contexts
    pid = there.spawn(Process("process"))
    future = here.wait(pid)
    if here is not there:  # the peer has to know of it before the end
        wait_until(lambda: there._runtime.observers.watched)
    assert not future.done()
    there.terminate(pid)

    assert future.result(TIMEOUT) is Reason.TERMINATED
    wait_until(lambda: not links_of(here))


class Failing(Process):
    """Fails with whatever it is sent."""

    @install("fail")
    def fail(self, from_pid: PID, body: bytes) -> None:
        raise LookupError(body.decode())


def test_wait_tells_the_cause_of_a_failure(contexts: tuple[Context, Context]) -> None:
    here, there = contexts
    pid = there.spawn(Failing("failing"), on_failure=Stop())
    ended, given_up = here.wait(pid), here.wait(pid)
    assert given_up.cancel()
    if here is not there:
        wait_until(lambda: there._runtime.observers.watched)
    assert ended.detail == ""
    spawned(there, Receiver("sender")).send(pid, "fail", b"nothing there")
    assert ended.result(TIMEOUT) is Reason.FAILED
    assert ended.detail == "LookupError: nothing there"
    again = here.wait(pid)
    assert again.result(TIMEOUT) is Reason.NO_PROCESS
    assert again.detail == ""


def test_wait_for_what_does_not_live_is_over(contexts: tuple[Context, Context]) -> None:
    here, there = contexts
    pid = PID(there.ip, there.port, "nobody")

    assert here.wait(pid).result(TIMEOUT) is Reason.NO_PROCESS


def test_wait_for_a_lost_address_tells_why(context: Context, deaf_port: int) -> None:
    future = context.wait(PID("127.0.0.1", deaf_port, "far"))
    context.disconnect(PID("127.0.0.1", deaf_port, ""))

    assert future.result(TIMEOUT) is Reason.DISCONNECTED


def test_an_id_can_be_used_again_once_its_end_was_waited_for(context: Context) -> None:
    class Lasting(Process):
        async def finalize(self) -> None:
            await asyncio.sleep(0)  # its end comes in a later turn

    for _ in range(20):
        pid = context.spawn(Lasting("same"))
        context.terminate(pid)
        assert context.wait(pid).result(TIMEOUT) in (Reason.TERMINATED, Reason.NO_PROCESS)


def test_wait_is_awaited_on_the_own_loop_and_on_any_other(context: Context) -> None:
    class Waiter(Process):
        def __init__(self) -> None:
            super().__init__("waiter")
            self.events = Events()

        @install("begin")
        async def begin(self, from_pid: PID, body: bytes) -> None:
            self.events.put("waiting")
            self.events.put(await self.context.wait(other))

    other = context.spawn(Process("other"))
    waiter = spawned(context, Waiter())
    context.post(waiter.pid, "begin")
    assert waiter.events.take() == "waiting"

    async def wait_elsewhere() -> Reason:
        future = context.wait(other)
        context.terminate(other)
        return await asyncio.wait_for(future, TIMEOUT)

    assert asyncio.run(wait_elsewhere()) in (Reason.TERMINATED, Reason.NO_PROCESS)
    assert waiter.events.take() is Reason.TERMINATED


def test_who_gives_up_waiting_leaves_nothing_behind(context: Context) -> None:
    pid = context.spawn(Process("process"))
    far = PID("127.0.0.1", 1, "far")

    async def give_up() -> None:
        with pytest.raises(asyncio.TimeoutError):
            await asyncio.wait_for(context.wait(pid), 0.001)

    asyncio.run(give_up())
    future = context.wait(far)
    future.cancel()
    wait_until(lambda: not links_of(context))
    context.terminate(pid)
    assert context.wait(pid).result(TIMEOUT) in (Reason.TERMINATED, Reason.NO_PROCESS)


def test_many_wait_for_one(context: Context) -> None:
    pid = context.spawn(Process("process"))
    futures = [context.wait(pid) for _ in range(100)]
    context.terminate(pid)

    assert {future.result(TIMEOUT) for future in futures} == {Reason.TERMINATED}
    assert [process.name for process in context._processes.values()] == []


def test_what_is_waited_for_when_the_context_stops_is_over(
    context: Context, deaf_port: int
) -> None:
    local = context.wait(context.spawn(Process("process")))
    remote = context.wait(PID("127.0.0.1", deaf_port, "far"))
    context.stop()

    assert local.result(TIMEOUT) in (Reason.TERMINATED, Reason.STOPPED)
    assert remote.result(TIMEOUT) is Reason.STOPPED
    with pytest.raises(ContextStopped):
        context.wait(PID("127.0.0.1", deaf_port, "far"))


def test_a_handler_cannot_wait_for_its_own_thread(context: Context) -> None:
    pid = context.spawn(Process("process"))
    slow = spawned(context, Slow())

    def block() -> str:
        texts = []
        for future in (context.wait(pid), context.ready(slow.pid)):
            with pytest.raises(ContextError) as caught:
                future.result()
            with pytest.raises(ContextError):
                future.exception(1)
            texts.append(str(caught.value))
        return "\n".join(texts)

    texts = context.dispatch(pid, block).result(TIMEOUT)
    assert f"cannot wait for the end of {pid}, which needs the same thread" in texts
    assert f"cannot wait for {slow.pid} to be ready, which needs the same thread" in texts
    slow.open()


OTHER = """
import sys
from compactor import Context, Process
context = Context(ip="127.0.0.1")
print(context.spawn(Process("other")), flush=True)
sys.stdin.readline()
"""


@pytest.mark.parametrize("how", ["killed", "ended"])
def test_wait_for_a_process_of_another_program(context: Context, how: str) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", OTHER], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as program:
        assert program.stdin is not None
        assert program.stdout is not None
        pid = PID.from_string(program.stdout.readline().strip())
        future = context.wait(pid)
        receiver = spawned(context, Receiver())
        receiver.link(pid)
        wait_until(lambda: peer_of(context, pid).is_connected)
        if how == "killed":
            program.kill()
        else:
            program.stdin.write("\n")
            program.stdin.flush()

        assert future.result(TIMEOUT) is receiver.exits.take()[1]


@pytest.mark.parametrize("pid", ["process@127.0.0.1:1", None])
def test_wait_and_ready_take_pids_only(context: Context, pid: Any) -> None:
    for call in (context.wait, context.ready):
        with pytest.raises(TypeError):
            call(pid)


# ready


def test_ready_of_a_plain_process_is_at_once(context: Context) -> None:
    pid = context.spawn(Process("process"))

    assert context.ready(pid).result(TIMEOUT) is pid


def test_ready_waits_for_an_async_initialize(context: Context) -> None:
    slow = spawned(context, Slow())
    assert slow.events.take() == "initializing"
    future = context.ready(slow.pid)
    settle(spawned(context, Process("other")))
    assert not future.done()
    slow.open()

    assert future.result(TIMEOUT) == slow.pid
    assert context.ready(slow.pid).result(TIMEOUT) == slow.pid


def test_ready_comes_though_many_messages_wait(context: Context) -> None:
    class Stuck(Slow):
        @install("message")
        async def message(self, from_pid: PID, body: bytes) -> None:
            await asyncio.Event().wait()

    stuck = spawned(context, Stuck())
    for _ in range(3):
        context.post(stuck.pid, "message")
    future = context.ready(stuck.pid)
    stuck.open()

    assert future.result(TIMEOUT) == stuck.pid


def test_ready_waits_for_a_plain_initialize_on_another_thread(context: Context) -> None:
    class Blocking(Process):
        begun = threading.Event()
        gate = threading.Event()

        def initialize(self) -> None:
            self.begun.set()
            assert self.gate.wait(TIMEOUT)

    thread = threading.Thread(target=context.spawn, args=(Blocking("blocking"),))
    thread.start()
    assert Blocking.begun.wait(TIMEOUT)
    pid = PID(context.ip, context.port, "blocking")
    future = context.ready(pid)
    settle(spawned(context, Process("other")))
    assert not future.done()
    Blocking.gate.set()

    assert future.result(TIMEOUT) == pid
    thread.join()


@pytest.mark.parametrize("is_early", [True, False])
def test_ready_fails_with_the_failure_of_an_async_initialize(
    context: Context, is_early: bool
) -> None:
    error = LookupError("broken")
    slow = spawned(context, Slow(error=error))
    pid = slow.pid
    if is_early:
        future = context.ready(pid)
        slow.open()
    else:
        slow.open()
        context.wait(pid).result(TIMEOUT)
        future = context.ready(pid)

    assert future.exception(TIMEOUT) is error


def test_ready_fails_with_the_failure_of_a_plain_initialize(context: Context) -> None:
    class Broken(Process):
        def initialize(self) -> None:
            self.future = self.context.ready(self.pid)
            raise LookupError("broken")

    broken = Broken("broken")
    with pytest.raises(LookupError):
        context.spawn(broken)

    assert isinstance(broken.future.exception(TIMEOUT), LookupError | InvalidProcess)


def test_a_failure_is_forgotten_once_another_process_has_the_name(context: Context) -> None:
    slow = spawned(context, Slow(error=LookupError("broken")))
    slow.open()
    context.wait(slow.pid).result(TIMEOUT)
    pid = context.spawn(Process("slow"))
    assert context.ready(pid).result(TIMEOUT) == pid
    context.terminate(pid)
    context.wait(pid).result(TIMEOUT)

    assert isinstance(context.ready(pid).exception(TIMEOUT), InvalidProcess)


def test_only_some_failures_are_remembered(context: Context) -> None:
    for number in range(40):
        slow = spawned(context, Slow(f"slow-{number}", LookupError("broken")))
        slow.open()
        context.wait(slow.pid).result(TIMEOUT)

    readiness = context._runtime.readiness
    wait_until(lambda: not readiness._initializing)
    assert list(readiness._failures) == [f"slow-{number}" for number in range(8, 40)]


def test_ready_fails_if_the_process_ends_before(context: Context) -> None:
    slow = spawned(context, Slow())
    assert slow.events.take() == "initializing"
    future = context.ready(slow.pid)
    context.terminate(slow.pid)

    assert isinstance(future.exception(TIMEOUT), ProcessTerminated)


def test_ready_fails_if_the_context_stops_before(context: Context) -> None:
    future = context.ready(spawned(context, Slow()).pid)
    context.stop()

    assert isinstance(future.exception(TIMEOUT), ProcessTerminated)
    with pytest.raises(ContextStopped):
        context.ready(PID(context.ip, context.port, "slow"))


def test_ready_refuses_who_does_not_live_here(make_context: Callable[..., Context]) -> None:
    here, there = make_context(), make_context()
    pid = there.spawn(Process("there"))

    with pytest.raises(InvalidProcess, match="only its own processes are ready"):
        here.ready(pid)
    nobody = here.ready(PID(here.ip, here.port, "nobody")).exception(TIMEOUT)
    assert isinstance(nobody, InvalidProcess)
    assert "Unknown process nobody" in str(nobody)


def test_who_gives_up_waiting_for_a_beginning_leaves_nothing_behind(context: Context) -> None:
    slow = spawned(context, Slow())
    assert context.ready(slow.pid).cancel()
    wait_until(lambda: not context._runtime.readiness._waiting)
    slow.open()
    assert context.ready(slow.pid).result(TIMEOUT) == slow.pid
