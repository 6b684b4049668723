"""What becomes of processes whose handlers raise: resume, stop, restart, escalate."""

from __future__ import annotations

import asyncio
import functools
import logging
import subprocess
import sys
import urllib.request
from collections.abc import Callable
from contextvars import ContextVar
from typing import Any

import pytest

from compactor import (
    PID,
    Context,
    Escalate,
    Process,
    Reason,
    RemoteError,
    Restart,
    Resume,
    Stop,
    answer,
    install,
    route,
)
from compactor.actor.supervision import Restarts
from compactor.errors import InvalidProcess, ProcessTerminated
from compactor.pid import NOBODY
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

AT_ONCE = Restart(limit=3, within=600.0, backoff=0.0)
NEVER_SO_SOON = Restart(limit=3, within=600.0, backoff=500.0, max_backoff=500.0)


class Broken(Exception):
    """What a handler raises."""


class Unspeakable(Exception):
    """Has no text."""

    def __str__(self) -> str:
        raise ValueError


class Worker(Process):
    """Tells what it does, and fails when it is told to."""

    def __init__(self, events: Events, name: str = "worker") -> None:
        super().__init__(name)
        self.events = events
        self.work_done = 0

    def initialize(self) -> None:
        self.events.put("initialize")

    def finalize(self) -> None:
        self.events.put("finalize")

    @install("work")
    def work(self, from_pid: PID, body: bytes) -> None:
        self.work_done += 1
        self.events.put((body, self.work_done))

    @install("fail")
    def fail(self, from_pid: PID, body: bytes) -> None:
        raise Broken(body.decode())

    @install("fail_later")
    async def fail_later(self, from_pid: PID, body: bytes) -> None:
        await asyncio.sleep(0)
        raise Broken(body.decode())

    @install("hold")
    async def hold(self, from_pid: PID, body: bytes) -> None:
        gate = self.gate = asyncio.Event()
        self.events.put("holding")
        await gate.wait()
        raise Broken("held")

    def let_go(self) -> None:
        self.context._portal.post(self.gate.set)

    @route("/page")
    def page(self, request: Any) -> str:
        return f"page of {id(self)}"


class Watching(Receiver):
    """Records exits with their cause."""

    def exited(self, pid: PID, reason: Any, detail: str = "") -> None:
        self.exits.put((pid, reason, detail))


def hosted(context: Context, pid: PID) -> Any:
    """The object that lives under a pid."""
    return context._runtime.registry.live[pid.id].process


# Policies


def test_without_a_policy_a_process_goes_on_as_in_0_3_0(context: Context) -> None:
    events = Events()
    worker = spawned(context, Worker(events))
    for name in ("work", "fail", "work"):
        context.post(worker.pid, name, b"x")

    assert events.take_many(3) == ["initialize", (b"x", 1), (b"x", 2)]


@pytest.mark.parametrize("failure", ["fail", "fail_later"])
def test_resume_goes_on_in_the_state_that_it_has(context: Context, failure: str) -> None:
    events = Events()
    pid = context.spawn(Worker(events), on_failure=Resume())
    for name in ("work", failure, "work"):
        context.post(pid, name, b"x")

    assert events.take_many(3) == ["initialize", (b"x", 1), (b"x", 2)]


@pytest.mark.parametrize("failure", ["fail", "fail_later"])
def test_stop_ends_the_process_and_linkers_hear_why(
    contexts: tuple[Context, Context], failure: str
) -> None:
    here, there = contexts
    events, letters = Events(), dead_letters(there)
    pid = there.spawn(Worker(events), on_failure=Stop())
    watcher = spawned(here, Watching("watcher"))
    watcher.link(pid)
    if here is not there:
        wait_until(lambda: there._runtime.observers.watched)
    reason = there.wait(pid)
    there.post(pid, failure, b"no disk")

    assert watcher.exits.take() == (pid, Reason.FAILED, "Broken: no disk")
    assert reason.result(TIMEOUT) is Reason.FAILED
    assert events.take_many(2) == ["initialize", "finalize"]
    letter = take_letter(letters)
    assert (letter.reason, letter.to, letter.name, letter.size) == (
        Reason.FAILED,
        pid,
        failure,
        len(b"no disk"),
    )


@pytest.mark.parametrize("failure", ["fail", "fail_later"])
def test_restart_keeps_pid_linkers_and_what_waits(context: Context, failure: str) -> None:
    events, letters = Events(), dead_letters(context)
    pid = context.spawn(lambda: Worker(events), on_failure=AT_ONCE)
    watcher = spawned(context, Watching("watcher"))
    watcher.link(pid)
    settle(watcher)
    old = hosted(context, pid)
    context.post(pid, "hold")
    assert events.take_many(2) == ["initialize", "holding"]
    large = b"x" * 100_000
    for name, body in (("work", b"1"), ("nobody", b"2"), ("work", large), ("work", b"3")):
        context.post(pid, name, body)
    context.dispatch(pid, lambda: None)  # all of them wait
    old.let_go()

    assert events.take_many(5) == [
        "finalize",
        "initialize",
        (b"1", 1),
        (large, 2),
        (b"3", 3),
    ]
    assert hosted(context, pid) is not old
    assert [take_letter(letters).name for _ in range(2)] == ["hold", "nobody"]
    assert watcher.exits.is_empty
    assert context._runtime.backlog.total == 0


def test_the_first_call_of_the_factory_is_here_and_later_ones_are_on_the_loop(
    context: Context,
) -> None:
    import threading

    calls = Events()

    def make() -> Worker:
        calls.put(threading.get_ident())
        return Worker(Events())

    pid = context.spawn(make, on_failure=AT_ONCE)
    context.post(pid, "fail")

    assert calls.take() == threading.get_ident()
    assert calls.take() == context.dispatch(pid, threading.get_ident).result(TIMEOUT)


def test_dispatches_by_name_are_bound_anew_and_those_of_the_old_object_fail(
    context: Context,
) -> None:
    class Counter(Worker):
        def count(self) -> int:
            self.work_done += 1
            return self.work_done

        def itself(self) -> Any:
            return self

    events = Events()
    pid = context.spawn(lambda: Counter(events), on_failure=AT_ONCE)
    old = hosted(context, pid)
    old.work_done = 100
    context.post(pid, "hold")
    assert events.take_many(2) == ["initialize", "holding"]
    by_name = context.dispatch(pid, "count")
    by_method = context.dispatch(pid, old.count)
    by_partial = context.dispatch(pid, functools.partial(old.count))
    by_function = context.dispatch(pid, lambda: "function")
    itself = context.dispatch(pid, "itself")
    old.let_go()

    assert by_name.result(TIMEOUT) == 1
    assert by_function.result(TIMEOUT) == "function"
    assert itself.result(TIMEOUT) is hosted(context, pid) is not old
    for future in (by_method, by_partial):
        with pytest.raises(ProcessTerminated):
            future.result(TIMEOUT)


def test_a_request_that_waits_is_answered_by_the_new_object(context: Context) -> None:
    events = Events()
    pid = context.spawn(lambda: Worker(events), on_failure=AT_ONCE)
    old = hosted(context, pid)
    context.post(pid, "hold")
    assert events.take_many(2) == ["initialize", "holding"]

    async def ask() -> bytes:
        return await asyncio.to_thread(lambda: urllib.request.urlopen(pid.as_url("page")).read())

    async def main() -> bytes:
        answer = asyncio.create_task(ask())
        mailbox = context._runtime.registry.live[pid.id]
        while not mailbox.queue:
            await asyncio.sleep(0.001)
        old.let_go()
        return await answer

    answer = asyncio.run(main())
    assert answer.decode() == f"page of {id(hosted(context, pid))}"
    assert hosted(context, pid) is not old
    assert urllib.request.urlopen(pid.as_url("page")).read() == answer


def test_past_the_limit_the_process_ends_and_linkers_hear_it(context: Context) -> None:
    events = Events()
    pid = context.spawn(lambda: Worker(events), on_failure=AT_ONCE)
    watcher = spawned(context, Watching("watcher"))
    watcher.link(pid)
    settle(watcher)
    for number in range(5):
        context.post(pid, "fail", b"%d" % number)

    assert watcher.exits.take() == (pid, Reason.FAILED, "Broken: 3")
    assert events.take_many(8) == ["initialize", "finalize"] * 4
    assert not context._runtime.supervision.records
    again = context.spawn(Worker(events))
    assert again == pid


def test_a_limit_of_0_is_no_restart(context: Context) -> None:
    pid = context.spawn(lambda: Worker(Events()), on_failure=Restart(limit=0))
    ended = context.wait(pid)
    context.post(pid, "fail")

    assert ended.result(TIMEOUT) is Reason.FAILED


def test_others_are_served_while_one_fails_without_end(context: Context) -> None:
    class Hopeless(Process):
        started = 0

        def initialize(self) -> None:
            type(self).started += 1
            if self.started > 1:
                raise Broken

        @install("fail")
        def fail(self, from_pid: PID, body: bytes) -> None:
            raise Broken

    logging.getLogger("compactor").setLevel(logging.CRITICAL)
    try:
        without_end = Restart(limit=None, backoff=0.0)
        pid = context.spawn(lambda: Hopeless("hopeless"), on_failure=without_end)
        other = spawned(context, Receiver())
        context.post(pid, "fail")
        wait_until(lambda: Hopeless.started > 20)
        context.post(other.pid, "message", b"served")
        assert other.received.take()[1] == b"served"
        ended = context.wait(pid)
        context.terminate(pid)
        assert ended.result(TIMEOUT) is Reason.TERMINATED
    finally:
        logging.getLogger("compactor").setLevel(logging.NOTSET)


def test_escalation_is_a_failure_of_the_parent(context: Context) -> None:
    events = Events()

    class Parent(Worker):
        def initialize(self) -> None:
            super().initialize()
            self.spawn(lambda: Worker(events, "child"), on_failure=Escalate())

    parent = context.spawn(lambda: Parent(events, "parent"), on_failure=AT_ONCE)
    watcher = spawned(context, Watching("watcher"))
    child = PID(parent.ip, parent.port, "child")
    watcher.link(child)
    watcher.link(parent)
    settle(watcher)
    context.post(child, "fail", b"badly")

    assert watcher.exits.take() == (child, Reason.FAILED, "Broken: badly")
    assert events.take_many(6) == ["initialize"] * 2 + ["finalize"] * 2 + ["initialize"] * 2
    assert watcher.exits.is_empty
    assert hosted(context, parent).children == [child]


def test_escalation_without_a_parent_is_an_end(context: Context) -> None:
    pid = context.spawn(Worker(Events()), on_failure=Escalate())
    ended = context.wait(pid)
    context.post(pid, "fail")

    assert ended.result(TIMEOUT) is Reason.FAILED


@pytest.mark.parametrize("kind", ["answer", "answer_later", "install"])
def test_an_ask_that_fails_is_answered_and_a_failure(
    contexts: tuple[Context, Context], kind: str, caplog: pytest.LogCaptureFixture
) -> None:
    class Asked(Worker):
        @answer("answer")
        def answered(self, from_pid: PID, body: bytes) -> bytes:
            raise Broken("asked")

        @answer("answer_later")
        async def answered_later(self, from_pid: PID, body: bytes) -> bytes:
            await asyncio.sleep(0)
            raise Broken("asked")

        @install("install")
        def installed(self, from_pid: PID, body: bytes) -> None:
            raise Broken("asked")

        @answer("count")
        def count(self, from_pid: PID, body: bytes) -> bytes:
            self.work_done += 1
            return b"%d" % self.work_done

    here, there = contexts
    events = Events()
    pid = there.spawn(lambda: Asked(events), on_failure=AT_ONCE)
    if here is not there:  # whoever is asked may tell of the error by then
        spawned(here, Receiver()).link(pid)
        wait_until(lambda: there._runtime.observers.watched)
    letters = dead_letters(there)
    assert here.ask(pid, "count").result(TIMEOUT) == b"1"
    with pytest.raises(RemoteError, match="asked"):
        here.ask(pid, kind).result(TIMEOUT)

    assert here.ask(pid, "count").result(TIMEOUT) == b"1"
    assert events.take_many(3) == ["initialize", "finalize", "initialize"]
    assert "asked" not in caplog.text
    assert letters.is_empty


@pytest.mark.parametrize(
    ("error", "detail"),
    [
        (Broken(), "Broken"),
        (Broken("x" * 10_000_000), "Broken: " + "x" * 492),
        (
            Broken("two\nlines, 50 % of \x00 and \ud800"),
            "Broken: two\nlines, 50 % of \x00 and \\ud800",
        ),
        (SystemExit(3), "SystemExit: 3"),
        (Unspeakable(), "Unspeakable"),
    ],
    ids=["no text", "long", "odd", "exit", "unspeakable"],
)
def test_whatever_the_cause_says_is_told(
    contexts: tuple[Context, Context], error: BaseException, detail: str
) -> None:
    class Raising(Process):
        def fail(self) -> None:
            raise error

    here, there = contexts
    pid = there.spawn(Raising("raising"), on_failure=Stop())
    watcher = spawned(here, Watching("watcher"))
    watcher.link(pid)
    if here is not there:
        wait_until(lambda: there._runtime.observers.watched)
    failed = there.dispatch(pid, "fail")

    assert watcher.exits.take() == (pid, Reason.FAILED, detail)
    assert failed.exception(TIMEOUT) is error


# The hook


def test_failed_is_called_before_the_policy_acts(context: Context) -> None:
    class Telling(Worker):
        def failed(self, error: BaseException) -> None:
            self.events.put(repr(error))

    events = Events()
    pid = context.spawn(lambda: Telling(events), on_failure=AT_ONCE)
    context.post(pid, "fail", b"x")

    assert events.take_many(4) == ["initialize", "Broken('x')", "finalize", "initialize"]


def test_an_async_failed_is_awaited_and_a_failing_one_is_logged(
    context: Context, caplog: pytest.LogCaptureFixture
) -> None:
    class Telling(Worker):
        async def failed(self, error: BaseException) -> None:
            await asyncio.sleep(0)
            self.events.put("failed")
            raise LookupError("in the hook")

    events = Events()
    pid = context.spawn(Telling(events), on_failure=Resume())
    context.post(pid, "fail", b"x")
    context.post(pid, "work", b"x")

    assert events.take_many(3) == ["initialize", "failed", (b"x", 1)]
    assert "in the hook" in caplog.text


def test_attributes_of_0_3_0_programs_are_left_alone(context: Context) -> None:
    class Old(Worker):
        def __init__(self, events: Events) -> None:
            super().__init__(events)
            self.children = ["of its own"]
            self.failed: Any = 0
            self.spawn: Any = None

    class Older(Worker):
        children = 5

        def failed(self, error: BaseException) -> None:
            raise AssertionError("it is not called")

    for process in (Old(Events()), Older(Events(), "older")):
        context.spawn(process)
        context.post(process.pid, "fail")
        context.post(process.pid, "work")
        assert process.events.take_many(2) == ["initialize", (b"", 1)]
    assert Old(Events()).children == ["of its own"]


def test_a_supervised_0_3_0_object_may_shadow_the_hook(context: Context) -> None:
    class Old(Worker):
        def initialize(self) -> None:
            self.failed: Any = 0
            super().initialize()

    events = Events()
    pid = context.spawn(lambda: Old(events), on_failure=AT_ONCE)
    context.post(pid, "fail")

    assert events.take_many(3) == ["initialize", "finalize", "initialize"]


# What is gone


def test_timers_of_the_old_object_are_gone(context: Context) -> None:
    made: list[Process] = []

    class Timed(Worker):
        def initialize(self) -> None:
            super().initialize()
            made.append(self)
            if len(made) == 1:
                self.every(0.001, "tick")
                self.delay(600.0, "tick")
                self.delay(0, "hold", NOBODY, b"")
                self.delay(0, "tick")  # which waits by then

        def tick(self) -> None:
            self.events.put("tick")

    events = Events()
    pid = context.spawn(lambda: Timed(events), on_failure=AT_ONCE)
    while events.take() != "holding":
        pass
    queue = context._runtime.registry.live[pid.id]
    wait_until(lambda: queue.queue)
    made[0].let_go()  # type: ignore[attr-defined]
    while events.take() != "initialize":
        pass
    settle(made[1])

    assert events.is_empty
    assert len(context._runtime.watches.links.watchers(pid)) == 1  # its record


def test_asks_of_the_old_object_are_gone(context: Context) -> None:
    class Asking(Worker):
        @install("ask")
        def ask_somebody(self, from_pid: PID, body: bytes) -> None:
            self.ask(PID(self.pid.ip, self.pid.port, "silent"), "work", timeout=500.0)

    context.spawn(Worker(Events(), "silent"))
    events = Events()
    pid = context.spawn(lambda: Asking(events), on_failure=AT_ONCE)
    context.post(pid, "ask")
    settle(hosted(context, pid))
    assert context._runtime.asks.waiting
    context.post(pid, "fail")

    assert events.take_many(3) == ["initialize", "finalize", "initialize"]
    assert not context._runtime.asks.waiting


# Beginning


class Loading(Worker):
    """Initialized on the loop; fails while there are errors."""

    def __init__(self, events: Events, errors: list[Exception], name: str = "loading") -> None:
        super().__init__(events, name)
        self.errors = errors

    async def initialize(self) -> None:  # type: ignore[override]
        await asyncio.sleep(0)
        if self.errors:
            raise self.errors.pop()
        self.events.put("initialized")


@pytest.mark.parametrize("policy", [None, Resume(), Stop(), Escalate()])
def test_a_failing_async_initialize_is_told_to_linkers_and_to_whoever_waits(
    context: Context, policy: Any
) -> None:
    class Gated(Loading):
        async def initialize(self) -> None:  # type: ignore[override]
            await gate.wait()
            await super().initialize()

    gate = asyncio.Event()
    watcher = spawned(context, Watching("watcher"))
    pid = context.spawn(Gated(Events(), [Broken("no file")]), on_failure=policy)
    watcher.link(pid)
    ended, ready = context.wait(pid), context.ready(pid)
    settle(watcher)
    context._portal.post(gate.set)

    assert watcher.exits.take() == (pid, Reason.FAILED, "Broken: no file")
    assert ended.result(TIMEOUT) is Reason.FAILED
    with pytest.raises(Broken):
        ready.result(TIMEOUT)


def test_a_failing_async_initialize_is_tried_again_by_restart(context: Context) -> None:
    events = Events()
    errors: list[Exception] = [Broken("1"), Broken("2")]
    pid = context.spawn(lambda: Loading(events, errors), on_failure=AT_ONCE)
    context.post(pid, "work", b"waited")

    assert events.take_many(4) == ["finalize", "finalize", "initialized", (b"waited", 1)]


def test_a_failing_initialize_is_for_the_caller_at_first_and_a_failure_later(
    context: Context,
) -> None:
    errors: list[Exception] = [Broken("at first")]
    events = Events()

    class Fragile(Worker):
        def initialize(self) -> None:
            if errors:
                raise errors.pop()
            super().initialize()

    with pytest.raises(Broken):
        context.spawn(lambda: Fragile(events), on_failure=AT_ONCE)
    assert not context._runtime.supervision.records
    pid = context.spawn(lambda: Fragile(events), on_failure=AT_ONCE)
    errors += [Broken("later"), Broken("once more")]
    context.post(pid, "fail")
    context.post(pid, "work", b"waited")

    assert events.take_many(6) == [
        "initialize",
        "finalize",
        "finalize",
        "finalize",
        "initialize",
        (b"waited", 1),
    ]


variable = ContextVar("variable", default="nothing")


def test_the_context_variables_of_the_spawn_are_kept(context: Context) -> None:
    class Reading(Worker):
        def initialize(self) -> None:
            self.events.put(variable.get())

    events = Events()
    token = variable.set("set")
    pid = context.spawn(lambda: Reading(events), on_failure=AT_ONCE)
    variable.reset(token)
    context.post(pid, "fail")

    assert events.take_many(3) == ["set", "finalize", "set"]
    assert context.dispatch(pid, variable.get).result(TIMEOUT) == "set"


# Ending meanwhile


@pytest.mark.parametrize("way", ["terminate", "stop"])
def test_a_process_that_is_to_be_made_anew_can_be_ended(context: Context, way: str) -> None:
    events, letters = Events(), dead_letters(context)
    pid = context.spawn(lambda: Worker(events), on_failure=NEVER_SO_SOON)
    context.post(pid, "fail")
    assert events.take_many(2) == ["initialize", "finalize"]
    assert take_letter(letters).name == "fail"
    context.post(pid, "work", b"waits")
    wait_until(lambda: context._runtime.registry.live[pid.id].queue)
    ended = context.wait(pid)
    if way == "terminate":
        context.terminate(pid)
        assert ended.result(TIMEOUT) is Reason.TERMINATED
    else:
        context.stop()
        context.join(TIMEOUT)
        assert not context.is_alive()
    assert take_letter(letters).name == "work"
    assert events.is_empty


def test_a_process_that_ends_in_order_handles_what_waits_once_it_is_made_anew(
    context: Context,
) -> None:
    events = Events()
    pid = context.spawn(lambda: Worker(events), on_failure=AT_ONCE)
    old = hosted(context, pid)
    context.post(pid, "hold")
    assert events.take_many(2) == ["initialize", "holding"]
    context.post(pid, "work", b"waits")
    ended = context.wait(pid)
    context.terminate(pid, inject=False)
    settle(spawned(context, Receiver()))
    old.let_go()

    assert events.take_many(4) == ["finalize", "initialize", (b"waits", 1), "finalize"]
    assert ended.result(TIMEOUT) is Reason.TERMINATED


# Bad input


def test_restart_needs_a_callable(context: Context) -> None:
    with pytest.raises(TypeError, match="Restart needs a callable"):
        context.spawn(Worker(Events()), on_failure=Restart())


@pytest.mark.parametrize("policy", [Restart, Stop, "stop", 5, lambda: None])
def test_what_is_no_policy_is_an_error(context: Context, policy: Any) -> None:
    with pytest.raises(TypeError, match="on_failure takes"):
        context.spawn(lambda: Worker(Events()), on_failure=policy)


@pytest.mark.parametrize("value", [5, None, "worker", object()])
def test_what_is_no_process_and_makes_none_is_an_error(context: Context, value: Any) -> None:
    with pytest.raises(TypeError, match="only a Process can be spawned"):
        context.spawn(value)


async def _make() -> Process:
    raise AssertionError("it is not run")


@pytest.mark.parametrize("factory", [lambda: None, lambda: "worker", lambda: Worker, _make])
def test_a_factory_that_makes_no_process_is_an_error(context: Context, factory: Any) -> None:
    with pytest.raises(TypeError, match="must return a Process"):
        context.spawn(factory, on_failure=AT_ONCE)


def test_a_factory_that_raises_at_first_is_an_error_of_the_caller(context: Context) -> None:
    def make() -> Process:
        raise Broken

    with pytest.raises(Broken):
        context.spawn(make, on_failure=AT_ONCE)


@pytest.mark.parametrize(
    ("kind", "detail"),
    [
        ("raises", "Broken: no more"),
        ("itself", "InvalidProcess: <Worker worker@"),
        ("other", "InvalidProcess: <Receiver receiver@"),
        ("name", "InvalidProcess: the process that takes the place of 'worker' must have its name"),
        ("nothing", "TypeError: the callable given to spawn must return a Process"),
    ],
)
def test_a_factory_that_fails_later_counts_as_a_failure(
    context: Context, kind: str, detail: str
) -> None:
    other = spawned(context, Receiver())
    calls: list[Any] = []
    worker = Worker(Events())

    def make() -> Any:
        calls.append(kind)
        if len(calls) == 1:
            return worker
        if kind == "raises":
            raise Broken("no more")
        made = {"itself": worker, "other": other, "name": Worker(Events(), "w"), "nothing": None}
        return made[kind]

    watcher = spawned(context, Watching("watcher"))
    pid = context.spawn(make, on_failure=AT_ONCE)
    watcher.link(pid)
    settle(watcher)
    context.post(pid, "fail")

    told, reason, text = watcher.exits.take()
    assert (told, reason) == (pid, Reason.FAILED)
    assert text.startswith(detail)
    assert len(calls) == 4
    context.post(other.pid, "message", b"lives")
    assert other.received.take()[1] == b"lives"


@pytest.mark.parametrize(
    "arguments",
    [
        {"limit": -1},
        {"limit": 1.5},
        {"limit": True},
        {"within": 0},
        {"within": True},
        {"within": float("nan")},
        {"within": float("inf")},
        {"backoff": -1},
        {"backoff": "1"},
        {"max_backoff": float("nan")},
        {"backoff": 31.0},
    ],
)
def test_a_restart_of_bad_numbers_is_an_error(arguments: Any) -> None:
    with pytest.raises(ValueError, match=f"{next(iter(arguments))}="):
        Restart(**arguments)


# Backoff


def test_backoff_doubles_up_to_its_maximum_and_begins_again() -> None:
    policy = Restart(limit=None, within=10.0, backoff=1.0, max_backoff=8.0)
    least, most = Restarts(policy, lambda: 0.0), Restarts(policy, lambda: 1.0)
    now = 0.0
    found = []
    for _ in range(6):
        found.append((least.pause(now), most.pause(now)))
        now += 10.0  # less than what it takes to be settled
    assert found[:4] == [(1.0, 1.25), (2.0, 2.5), (4.0, 5.0), (6.4, 8.0)]
    assert found[4:] == [(6.4, 8.0)] * 2
    assert least.pause(now + 100.0) == 1.0


def test_failures_count_within_the_time_only() -> None:
    restarts = Restarts(Restart(limit=2, within=10.0, backoff=0.0))
    assert [restarts.pause(now) for now in (0.0, 5.0, 11.0, 16.0)] == [0.0] * 4
    assert restarts.pause(17.0) is None


# Children


class Parent(Worker):
    def initialize(self) -> None:
        super().initialize()
        for number in range(3):
            self.spawn(Worker(self.events, f"child-{number}"))


def test_children_end_before_their_parent(context: Context) -> None:
    events = Events()
    parent = spawned(context, Parent(events, "parent"))
    assert [pid.id for pid in parent.children] == ["child-0", "child-1", "child-2"]
    for _ in range(3):  # with the same names each time
        ended = context.wait(parent.pid)
        context.terminate(parent.pid)
        assert ended.result(TIMEOUT) is Reason.TERMINATED
        assert not context._runtime.registry.live
        assert not context._runtime.supervision.records
        assert not context._runtime.supervision.parents
        assert parent.children == []
        assert events.take_many(8) == ["initialize"] * 4 + ["finalize"] * 4
        parent = spawned(context, Parent(events, "parent"))


def test_a_child_that_has_ended_is_no_child_any_more(context: Context) -> None:
    parent = spawned(context, Parent(Events(), "parent"))
    first = parent.children[0]
    ended = context.wait(first)
    context.terminate(first)
    ended.result(TIMEOUT)

    assert [pid.id for pid in parent.children] == ["child-1", "child-2"]


def test_grandchildren_end_with_an_async_finalize_awaited(context: Context) -> None:
    events = Events()

    class Slow(Worker):
        async def finalize(self) -> None:  # type: ignore[override]
            await asyncio.sleep(0.01)
            self.events.put(self.name)

    class Middle(Slow):
        def initialize(self) -> None:
            self.spawn(lambda: Slow(events, "leaf"))

    class Top(Slow):
        def initialize(self) -> None:
            self.spawn(lambda: Middle(events, "middle"))

    top = context.spawn(Top(events, "top"))
    assert events.take() == "initialize"
    ended = context.wait(top)
    context.terminate(top)

    assert events.take_many(3) == ["leaf", "middle", "top"]
    assert ended.result(TIMEOUT) is Reason.TERMINATED


def test_children_end_if_their_parent_cannot_be_initialized(context: Context) -> None:
    class Failing(Parent):
        def initialize(self) -> None:
            super().initialize()
            raise Broken

    with pytest.raises(Broken):
        context.spawn(Failing(Events(), "parent"))
    wait_until(lambda: not context._runtime.registry.live)
    assert not context._runtime.supervision.parents


def test_children_end_if_their_parents_async_initialize_fails(context: Context) -> None:
    class Failing(Parent):
        async def initialize(self) -> None:  # type: ignore[override]
            super().initialize()
            raise Broken

    context.spawn(Failing(Events(), "parent"))
    wait_until(lambda: not context._runtime.registry.live)
    assert not context._runtime.supervision.parents


def test_children_of_a_process_that_is_made_anew_are_made_anew(context: Context) -> None:
    events = Events()
    pid = context.spawn(lambda: Parent(events, "parent"), on_failure=AT_ONCE)
    old = [hosted(context, child) for child in hosted(context, pid).children]
    context.post(pid, "fail")

    assert events.take_many(12) == ["initialize"] * 4 + ["finalize"] * 4 + ["initialize"] * 4
    new = [hosted(context, child) for child in hosted(context, pid).children]
    assert [p.pid for p in new] == [p.pid for p in old]
    assert not set(map(id, new)) & set(map(id, old))


def test_a_child_can_be_spawned_from_another_thread_and_by_nobody_that_has_ended(
    context: Context,
) -> None:
    parent = spawned(context, Worker(Events(), "parent"))
    child = parent.spawn(lambda: Worker(Events(), "child"))
    assert parent.children == [child]
    ended = context.wait(child)
    context.terminate(parent.pid)
    assert ended.result(TIMEOUT) is Reason.TERMINATED
    context.wait(parent.pid).result(TIMEOUT)
    with pytest.raises(InvalidProcess, match="has ended"):
        parent.spawn(Worker(Events(), "child"))


def test_a_process_that_was_not_spawned_has_no_children() -> None:
    assert Process("process").children == []


# Names


def test_a_process_without_a_name_is_given_one(context: Context) -> None:
    class Nameless(Process):
        pass

    one, other = Nameless(), Nameless()
    assert one.name.startswith("nameless(")
    assert one.name != other.name
    assert context.spawn(one).id == one.name
    assert type(one.pid.id) is str


def test_a_name_that_was_made_up_is_kept(context: Context) -> None:
    class Nameless(Worker):
        def __init__(self, events: Events) -> None:
            Process.__init__(self)
            self.events = events
            self.work_done = 0

    events = Events()
    pid = context.spawn(lambda: Nameless(events), on_failure=AT_ONCE)
    context.post(pid, "fail")
    context.post(pid, "work")

    assert events.take_many(4) == ["initialize", "finalize", "initialize", (b"", 1)]
    assert hosted(context, pid).name == pid.id


# Much that waits


def test_all_that_waits_stays_in_order_while_more_comes(context: Context) -> None:
    events = Events()
    pid = context.spawn(lambda: Worker(events), on_failure=AT_ONCE)
    old = hosted(context, pid)
    context.post(pid, "hold")
    assert events.take_many(2) == ["initialize", "holding"]
    count = 20_000
    for number in range(count):
        context.post(pid, "work", b"%d" % number)
    old.let_go()
    for number in range(count, count + 1000):
        context.post(pid, "work", b"%d" % number)

    assert events.take_many(2) == ["finalize", "initialize"]
    expected = [(b"%d" % number, number + 1) for number in range(count + 1000)]
    assert events.take_many(count + 1000) == expected


# Another OS process

PROGRAM = """
import sys
from compactor import Context, Process, Restart, install

class Worker(Process):
    @install("fail")
    def fail(self, from_pid, body):
        raise OSError("the disk is full")

context = Context(ip="127.0.0.1")
pid = context.spawn(lambda: Worker("worker"), on_failure=Restart(limit=1, backoff=0.0))
print(pid, flush=True)
sys.stdin.read()
context.stop()
context.join()
"""


def test_a_linker_in_another_program_sees_restarts_not_and_the_failure(
    make_context: Callable[..., Context],
) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", PROGRAM],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    ) as program:
        assert program.stdout is not None
        pid = PID.from_string(program.stdout.readline().strip())
        context = make_context()
        watcher = spawned(context, Watching("watcher"))
        watcher.link(pid)
        context.post(pid, "fail")
        context.post(pid, "fail")

        assert watcher.exits.take() == (pid, Reason.FAILED, "OSError: the disk is full")
        assert watcher.exits.is_empty
        program.communicate("", timeout=TIMEOUT)
