"""``Supervisor``: strategies, kinds of children, and its end, as in OTP."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from compactor import PID, ChildSpec, Context, Process, Reason, Restart, Supervisor, install
from tests.actors import TIMEOUT, Events, Receiver, settle, spawned, wait_until


class Part(Process):
    """Tells of its beginning and its end, and fails or ends when told to."""

    def __init__(self, events: Events, name: str) -> None:
        super().__init__(name)
        self.events = events

    def initialize(self) -> None:
        self.events.put(f"+{self.name}")

    def finalize(self) -> None:
        self.events.put(f"-{self.name}")

    @install("fail")
    def fail(self, from_pid: PID, body: bytes) -> None:
        raise ValueError("broken")

    @install("end")
    def end(self, from_pid: PID, body: bytes) -> None:
        self.terminate()


class Watching(Receiver):
    def exited(self, pid: PID, reason: Any, detail: str = "") -> None:
        self.exits.put((pid.id, str(reason), detail))


def specs(events: Events, *kinds: Any) -> list[ChildSpec]:
    """Children ``a``, ``b`` and so on, of these kinds."""

    def spec(name: str, kind: Any) -> ChildSpec:
        return ChildSpec(lambda: Part(events, name), restart=kind)

    return [spec("abcdef"[number], kind) for number, kind in enumerate(kinds)]


@pytest.mark.parametrize(
    ("strategy", "expected"),
    [
        ("one_for_one", ["-b", "+b"]),
        ("one_for_all", ["-b", "-c", "-a", "+a", "+b", "+c"]),
        ("rest_for_one", ["-b", "-c", "+b", "+c"]),
    ],
)
def test_strategies(context: Context, strategy: Any, expected: list[str]) -> None:
    events = Events()
    children = specs(events, *["permanent"] * 3)
    supervisor = spawned(context, Supervisor("s", children, strategy=strategy))
    assert events.take_many(3) == ["+a", "+b", "+c"]
    assert [pid.id for pid in supervisor.children] == ["a", "b", "c"]
    context.post(supervisor.children[1], "fail")

    assert events.take_many(len(expected)) == expected
    settle(supervisor)
    assert {pid.id for pid in supervisor.children} == {"a", "b", "c"}
    context.terminate(supervisor.pid)
    assert sorted(events.take_many(3)) == ["-a", "-b", "-c"]


@pytest.mark.parametrize(
    ("kind", "message", "is_restarted"),
    [
        ("permanent", "fail", True),
        ("permanent", "end", True),
        ("transient", "fail", True),
        ("transient", "end", False),
        ("temporary", "fail", False),
        ("temporary", "end", False),
    ],
)
def test_kinds_of_children(context: Context, kind: str, message: str, is_restarted: bool) -> None:
    events = Events()
    supervisor = spawned(context, Supervisor("s", specs(events, kind)))
    child = supervisor.children[0]
    ended = context.wait(child)
    context.post(child, message)
    ended.result(TIMEOUT)
    settle(supervisor)

    assert events.take_many(2) == ["+a", "-a"]
    if is_restarted:
        assert events.take() == "+a"
    assert events.is_empty
    assert supervisor.children == ([child] if is_restarted else [])


def test_temporary_children_that_a_strategy_ends_are_not_started_anew(context: Context) -> None:
    events = Events()
    children = specs(events, "permanent", "temporary", "transient")
    supervisor = spawned(context, Supervisor("s", children, strategy="one_for_all"))
    assert events.take_many(3) == ["+a", "+b", "+c"]
    context.post(supervisor.children[0], "fail")

    assert events.take_many(5) == ["-a", "-c", "-b", "+a", "+c"]
    settle(supervisor)
    assert [pid.id for pid in supervisor.children] == ["a", "c"]
    assert events.is_empty


def test_linkers_of_a_child_hear_of_its_end_and_others_not(context: Context) -> None:
    events = Events()
    supervisor = spawned(context, Supervisor("s", specs(events, "permanent", "permanent")))
    watcher = spawned(context, Watching("watcher"))
    for pid in supervisor.children:
        watcher.link(pid)
    settle(watcher)
    context.post(supervisor.children[0], "fail")

    assert watcher.exits.take() == ("a", "failed", "ValueError: broken")
    assert events.take_many(4) == ["+a", "+b", "-a", "+a"]
    assert watcher.exits.is_empty


def test_more_restarts_than_the_intensity_end_the_supervisor_and_its_children(
    context: Context,
) -> None:
    events = Events()
    children = specs(events, "permanent", "permanent")
    supervisor = spawned(context, Supervisor("s", children, intensity=2, period=600.0))
    watcher = spawned(context, Watching("watcher"))
    watcher.link(supervisor.pid)
    settle(watcher)
    first = supervisor.children[0]
    assert events.take_many(2) == ["+a", "+b"]
    for _ in range(2):
        context.post(first, "fail")
        assert events.take_many(2) == ["-a", "+a"]
    context.post(first, "fail")

    name, reason, detail = watcher.exits.take()
    assert (name, reason) == ("s", "failed")
    assert "more than 2 times within 600 s" in detail
    assert "ValueError: broken" in detail
    assert events.take_many(2) == ["-a", "-b"]
    assert list(context._runtime.registry.live) == ["watcher"]


def test_a_supervisor_that_is_itself_a_child_is_started_anew(context: Context) -> None:
    events = Events()
    inner = ChildSpec(lambda: Supervisor("inner", specs(events, "permanent"), intensity=0))
    spawned(context, Supervisor("outer", [inner], intensity=1, period=600.0))
    child = PID(context.ip, context.port, "a")
    assert events.take() == "+a"
    context.post(child, "fail")
    assert events.take_many(2) == ["-a", "+a"]
    ended = context.wait(PID(context.ip, context.port, "outer"))
    context.post(child, "fail")

    assert ended.result(TIMEOUT) is Reason.FAILED
    assert events.take() == "-a"
    assert not context._runtime.registry.live


def test_a_supervisor_may_be_restarted_by_its_own_policy(context: Context) -> None:
    events = Events()
    pid = context.spawn(
        lambda: Supervisor("s", specs(events, "permanent"), intensity=0),
        on_failure=Restart(limit=1, within=600.0, backoff=0.0),
    )
    child = PID(pid.ip, pid.port, "a")
    assert events.take() == "+a"
    context.post(child, "fail")
    assert events.take_many(2) == ["-a", "+a"]
    ended = context.wait(pid)
    context.post(child, "fail")

    assert ended.result(TIMEOUT) is Reason.FAILED


def test_a_child_that_cannot_be_started_anew_is_tried_again_and_counts(context: Context) -> None:
    events = Events()
    failures: list[Exception] = []

    def make() -> Process:
        if failures:
            raise failures.pop()
        return Part(events, "a")

    supervisor = spawned(context, Supervisor("s", [ChildSpec(make)], intensity=3, period=600.0))
    failures += [OSError("one"), OSError("two")]
    context.post(supervisor.children[0], "fail")
    assert events.take_many(3) == ["+a", "-a", "+a"]
    ended = context.wait(supervisor.pid)
    failures += [OSError("one")] * 10
    context.post(supervisor.children[0], "fail")
    assert ended.result(TIMEOUT) is Reason.FAILED


def test_children_that_cannot_be_started_at_first_are_an_error_of_the_spawn(
    context: Context,
) -> None:
    events = Events()

    def fail() -> Process:
        raise OSError("no")

    with pytest.raises(OSError, match="no"):
        context.spawn(Supervisor("s", [*specs(events, "permanent"), ChildSpec(fail)]))
    assert events.take_many(2) == ["+a", "-a"]
    wait_until(lambda: not context._runtime.registry.live)


def test_a_child_can_be_added(context: Context) -> None:
    events = Events()
    supervisor = spawned(context, Supervisor("s", specs(events, "permanent")))
    spec = ChildSpec(lambda: Part(events, "z"))
    pid = context.dispatch(supervisor.pid, "start_child", spec).result(TIMEOUT)
    context.post(pid, "fail")

    assert events.take_many(4) == ["+a", "+z", "-z", "+z"]


def test_many_children_are_started_anew(
    make_context: Callable[..., Context],
) -> None:
    context = make_context()
    count = 2_000
    children = [ChildSpec(lambda n=n: Process(f"p{n}")) for n in range(count)]  # type: ignore[misc]
    supervisor = spawned(context, Supervisor("s", children, strategy="one_for_all"))
    assert len(supervisor.children) == count
    ended = context.wait(supervisor.children[7])
    context.terminate(supervisor.children[7])
    ended.result(TIMEOUT)
    settle(supervisor)
    assert len(supervisor.children) == count


@pytest.mark.parametrize(
    ("make", "error", "text"),
    [
        (lambda: ChildSpec(Process("p")), TypeError, "takes a callable"),  # type: ignore[arg-type]
        (lambda: ChildSpec(5), TypeError, "takes a callable"),  # type: ignore[arg-type]
        (lambda: ChildSpec(Process, restart="never"), ValueError, "restart='never'"),  # type: ignore[arg-type]
        (lambda: ChildSpec(Process, mailbox=5), TypeError, "mailbox takes"),  # type: ignore[arg-type]
        (lambda: Supervisor("s", [Process]), TypeError, "ChildSpec"),  # type: ignore[list-item]
        (lambda: Supervisor("s", Process("p")), TypeError, "a list of ChildSpec"),  # type: ignore[arg-type]
        (lambda: Supervisor("s", period=True), ValueError, "period=True"),
        (lambda: Supervisor("s", strategy="all"), ValueError, "strategy='all'"),  # type: ignore[arg-type]
        (lambda: Supervisor("s", intensity=-1), ValueError, "intensity=-1"),
        (lambda: Supervisor("s", period=0), ValueError, "period=0"),
    ],
)
def test_bad_arguments(make: Callable[[], Any], error: type[Exception], text: str) -> None:
    with pytest.raises(error, match=text):
        make()
