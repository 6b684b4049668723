"""``stop(drain=seconds)``: what was accepted is handled, nothing more is, what is left is told."""

from __future__ import annotations

import asyncio
import logging
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from typing import Any

import pytest

from compactor import PID, Context, Process, Reason, Settings, install, route
from compactor.errors import ContextStopped, ProcessTerminated
from tests.actors import (
    TIMEOUT,
    Events,
    Receiver,
    dead_letters,
    settle,
    spawned,
    take_letter,
    wait_until,
)

ContextFactory = Callable[..., Context]
Connect = Callable[[Context], socket.socket]


class Worker(Process):
    """Does one job at a time, each once its gate is open."""

    def __init__(self, name: str = "worker", tell: PID | None = None) -> None:
        super().__init__(name)
        self.done: list[bytes] = []
        self.events = Events()
        self.gate = asyncio.Event()
        self.tell = tell

    @install("job")
    async def job(self, from_pid: PID, body: bytes) -> None:
        self.events.put("working")
        await self.gate.wait()
        self.done.append(body)
        if self.tell is not None:
            self.send(self.tell, "message", body)

    @route("/page")
    async def page(self, request: Any) -> str:
        await self.gate.wait()
        return "answered"

    def finalize(self) -> None:
        self.events.put("finalized")
        if self.tell is not None:
            self.send(self.tell, "message", b"finalized")

    def open(self) -> None:
        self.context._portal.post(self.gate.set)


def is_draining(context: Context) -> bool:
    return context._runtime.server.state.is_draining


def dropped(caplog: pytest.LogCaptureFixture) -> list[str]:
    lines = [record.getMessage() for record in caplog.records]
    return [line for line in lines if line.startswith("stopping drops")]


def open_gate_of(worker: Worker) -> None:
    """Once the context is stopping, through the loop, as no thread may ask for more."""
    wait_until(lambda: worker.context._portal.thread)  # which may still be about to begin
    worker.context._runtime.run_queue.loop.call_soon_threadsafe(worker.gate.set)


def test_all_accepted_jobs_are_done_and_the_last_words_leave(
    contexts: tuple[Context, Context], caplog: pytest.LogCaptureFixture
) -> None:
    here, there = contexts
    receiver = spawned(there, Receiver())
    worker = spawned(here, Worker(tell=receiver.pid))
    jobs = [b"%d" % number for number in range(50)]
    for job in jobs:
        here.post(worker.pid, "job", job)
    future = here.dispatch(worker.pid, lambda: "dispatched")
    here.stop(drain=TIMEOUT)
    open_gate_of(worker)
    here.join(TIMEOUT)

    assert worker.done == jobs
    assert future.result(0) == "dispatched"
    if here is not there:
        words = [receiver.received.take()[1] for _ in range(51)]
        assert words == [*jobs, b"finalized"]
    assert here.metrics.dead_letters.total() == (
        1 if here is there else 0
    )  # "finalized", to the same
    assert not dropped(caplog)


def test_a_chain_of_work_is_followed_to_its_end(context: Context) -> None:
    class Hop(Receiver):
        def __init__(self, number: int, next_: PID | None) -> None:
            super().__init__(f"hop-{number}")
            self.next = next_

        @install("message")
        async def message(self, from_pid: PID, body: bytes) -> None:
            await asyncio.sleep(0)
            if self.next is not None:
                self.send(self.next, "message", body)
            else:
                self.received.put(body)

    last = spawned(context, Hop(0, None))
    first = last
    for number in range(1, 10):
        first = spawned(context, Hop(number, first.pid))
    context.post(first.pid, "message", b"body")
    context.stop(drain=TIMEOUT)
    context.join(TIMEOUT)

    assert last.received.take() == b"body"
    assert context.metrics.dead_letters.total() == 0


def test_a_drain_takes_no_longer_than_its_time_and_tells_what_is_dropped(
    make_context: ContextFactory, caplog: pytest.LogCaptureFixture
) -> None:
    context = make_context(settings=Settings(linger=0.1))
    letters = dead_letters(context)
    worker = spawned(context, Worker())
    for _ in range(50):
        context.post(worker.pid, "job")
    assert worker.events.take() == "working"
    settle(spawned(context, Process("other")))
    context.stop(drain=0.05)
    context.join(TIMEOUT)

    assert worker.done == []
    assert worker.events.take() == "finalized"
    assert [letters.take().reason for _ in range(49)] == [Reason.TERMINATED] * 49
    assert dropped(caplog) == [
        "stopping drops 49 events that wait in mailboxes, and cancels 1 handlers; "
        "stop(drain=seconds) gives them time"
    ]


def test_without_a_drain_what_is_dropped_is_told_in_one_line(
    context: Context, caplog: pytest.LogCaptureFixture
) -> None:
    worker = spawned(context, Worker())
    for _ in range(3):
        context.post(worker.pid, "job")
    future = context.dispatch(worker.pid, worker.open)
    watched = spawned(context, Receiver())
    watched.link(worker.pid)
    settle(watched)
    context.stop()
    context.join(TIMEOUT)

    with pytest.raises(ProcessTerminated):
        future.result(0)
    assert [line.partition(";")[0] for line in dropped(caplog)] == [
        "stopping drops 3 events that wait in mailboxes, and cancels 1 handlers"
    ]


def test_a_stop_that_drops_nothing_says_nothing(
    context: Context, caplog: pytest.LogCaptureFixture
) -> None:
    worker = spawned(context, Worker())
    context.post(worker.pid, "job")
    assert worker.events.take() == "working"
    context.stop()
    context.join(TIMEOUT)

    assert not [r for r in caplog.records if r.levelno >= logging.WARNING]


def test_other_threads_may_ask_for_nothing_more_while_handlers_go_on(context: Context) -> None:
    class Parent(Worker):
        @install("job")
        async def job(self, from_pid: PID, body: bytes) -> None:
            self.events.put("working")
            await self.gate.wait()
            child = Worker("child")
            child.gate = self.gate
            self.context.spawn(child)
            self.send(child.pid, "job", b"of child")
            self.events.put(await self.context.dispatch(child.pid, lambda: list(child.done)))

    parent = spawned(context, Parent())
    context.post(parent.pid, "job")
    assert parent.events.take() == "working"
    context.stop(drain=TIMEOUT)

    calls: list[Callable[[], Any]] = [
        lambda: context.spawn(Process("late")),
        lambda: context.post(parent.pid, "job"),
        lambda: parent.send(parent.pid, "job"),
        lambda: context.dispatch(parent.pid, "open"),
        lambda: context.wait(parent.pid),
    ]
    for call in calls:
        with pytest.raises(ContextStopped):
            call()
    open_gate_of(parent)
    context.join(TIMEOUT)
    assert parent.events.take_many(2) == [[b"of child"], "finalized"]


def test_nothing_more_is_taken_from_outside(
    make_context: ContextFactory, caplog: pytest.LogCaptureFixture
) -> None:
    here, there = make_context(), make_context()
    worker = spawned(there, Worker())
    sender = spawned(here, Receiver())
    sender.link(worker.pid)
    letters, taken = dead_letters(here), dead_letters(there)
    sender.send(worker.pid, "job", b"early")
    assert worker.events.take() == "working"
    there.stop(drain=TIMEOUT)
    wait_until(lambda: is_draining(there))
    sender.send(worker.pid, "job", b"late")

    assert take_letter(taken).reason is Reason.STOPPED
    letter = take_letter(letters)
    assert (letter.reason, letter.name) == (Reason.REJECTED, "job")
    assert sender.exits.is_empty  # the process lives on, and its end will be told
    open_gate_of(worker)
    there.join(TIMEOUT)
    assert sender.exits.take() == (worker.pid, Reason.TERMINATED)
    assert worker.done == [b"early"]


def test_requests_are_answered_and_new_ones_refused(context: Context, connect: Connect) -> None:
    worker = spawned(context, Worker())
    early, late = connect(context), connect(context)
    late.sendall(b"GET /nobody HTTP/1.1\r\nHost: here\r\n\r\n")
    assert late.recv(65536).startswith(b"HTTP/1.1 404")
    early.sendall(b"GET /worker/page HTTP/1.1\r\nHost: here\r\n\r\n")
    mailbox = context._registry.live["worker"]
    wait_until(lambda: mailbox.state == 3)
    context.stop(drain=TIMEOUT)
    wait_until(lambda: is_draining(context))
    late.sendall(b"GET /worker/page HTTP/1.1\r\nHost: here\r\n\r\n")
    answer = late.recv(65536)

    assert answer.startswith(b"HTTP/1.1 503 Service Unavailable\r\n")
    assert answer.endswith(b"\r\n\r\n503 This context is about to stop.\n")
    with pytest.raises(OSError, match="refused"):
        connect(context)
    open_gate_of(worker)
    assert early.recv(65536).endswith(b"answered")
    context.join(TIMEOUT)


def test_the_shortest_drain_counts_and_zero_cuts_one_short(context: Context) -> None:
    worker = spawned(context, Worker())
    for _ in range(2):
        context.post(worker.pid, "job")
    assert worker.events.take() == "working"
    context.stop(drain=3600)
    assert context.seconds_to_end > 3600
    wait_until(lambda: is_draining(context))
    context.stop()  # says nothing of a drain
    context.stop(drain=7200)
    assert context.seconds_to_end > 3600
    assert context.is_alive()
    context.stop(drain=0)
    context.join(TIMEOUT)

    assert not context.is_alive()
    assert worker.done == []


def test_a_drain_after_stop_changes_nothing(context: Context) -> None:
    worker = spawned(context, Worker())
    context.post(worker.pid, "job")
    assert worker.events.take() == "working"
    context.stop()
    context.stop(drain=3600)
    context.join(TIMEOUT)

    assert not context.is_alive()


def test_a_drain_waits_for_processes_that_are_initialized_on_other_threads(
    context: Context,
) -> None:
    begun, gate = threading.Event(), threading.Event()

    class Late(Receiver):
        def initialize(self) -> None:
            self.context.post(self.pid, "message", b"early")
            begun.set()
            assert gate.wait(TIMEOUT)

    late = Late()
    thread = threading.Thread(target=context.spawn, args=(late,))
    thread.start()
    assert begun.wait(TIMEOUT)
    context.stop(drain=TIMEOUT)
    wait_until(lambda: is_draining(context))
    gate.set()
    context.join(TIMEOUT)
    thread.join()

    assert late.received.take()[1] == b"early"


def test_timers_go_on_in_a_drain_and_are_not_waited_for(context: Context) -> None:
    class Leased(Worker):
        def initialize(self) -> None:
            self.renewed = 0
            self.delay(3600, "open")
            other.every(0.001, self.renew)

        def renew(self) -> None:
            self.renewed += 1
            if is_draining(self.context) and self.renewed > 3:
                self.gate.set()

    other = spawned(context, Process("other"))
    leased = spawned(context, Leased())
    context.post(leased.pid, "job", b"done")
    context.stop(drain=TIMEOUT)
    context.join(TIMEOUT)

    assert leased.done == [b"done"]
    assert not context.is_alive()


@pytest.mark.parametrize("is_own", [True, False])
def test_a_context_in_a_loop_of_others_drains_too(is_own: bool) -> None:
    async def main() -> list[bytes]:
        async with Context(ip="127.0.0.1") as context:
            worker = spawned(context, Worker())
            worker.gate.set()
            for _ in range(5):
                context.post(worker.pid, "job", b"job")
            if is_own:
                await context.aclose(drain=TIMEOUT)
            else:
                context.stop(drain=TIMEOUT)
        assert not context.is_alive()
        return worker.done

    assert asyncio.run(main()) == [b"job"] * 5


@pytest.mark.parametrize("drain", [-1, float("nan"), float("inf"), "5", [], 10**400])
def test_drains_that_are_no_time_are_refused(context: Context, drain: Any) -> None:
    with pytest.raises(ValueError, match=r"drain=.* must be a finite number of seconds"):
        context.stop(drain=drain)
    assert not context.is_stopping


def test_a_context_that_was_never_started_stops_at_once() -> None:
    context = Context(ip="127.0.0.1")
    context.stop(drain=3600)
    context.join(TIMEOUT)
    assert not context.is_alive()


END = """
import time
from compactor import Context, Process, install

class Worker(Process):
    @install("job")
    def job(self, from_pid, body):
        time.sleep(0.001)
        print(body.decode(), end=" ", flush=True)

context = Context(ip="127.0.0.1")
worker = context.spawn(Worker("worker"))
for number in range(50):
    context.post(worker, "job", b"%d" % number)
context.stop(drain=60)
"""


def test_the_end_of_the_program_does_not_cut_a_drain_short() -> None:
    started = time.monotonic()
    done = subprocess.run([sys.executable, "-c", END], capture_output=True, text=True, timeout=60)

    assert done.stdout.split() == [str(number) for number in range(50)], done.stderr
    assert time.monotonic() - started < 50
