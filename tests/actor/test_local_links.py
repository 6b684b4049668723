"""Links between processes of one context."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import pytest

from compactor import PID, Context, Process, Reason
from compactor.actor.links import Links
from tests.actors import Events, Receiver, end, settle


@pytest.fixture
def watcher(context: Context) -> Receiver:
    """A live process that records exits."""
    watcher = Receiver("watcher")
    context.spawn(watcher)
    return watcher


@pytest.fixture
def watched(context: Context) -> Process:
    """A live process to link to."""
    watched = Process("watched")
    context.spawn(watched)
    return watched


@pytest.mark.smoke
def test_exit_of_a_linked_process_is_told_once(watcher: Receiver, watched: Process) -> None:
    watcher.link(watched.pid)
    watcher.link(watched.pid)
    end(watched)

    assert watcher.exits.take() == (watched.pid, Reason.TERMINATED)
    settle(watcher)
    assert watcher.exits.is_empty


def test_exit_is_told_on_the_loop_as_an_event(watcher: Receiver, watched: Process) -> None:
    watcher.link(watched.pid)
    watched.send(watcher.pid, "message", b"last words")
    watched.terminate(inject=False)

    assert watcher.exits.take() == (watched.pid, Reason.TERMINATED)
    assert watcher.received.take() == (watched.pid, b"last words")


def test_link_is_one_way(context: Context) -> None:
    watcher, watched = Receiver("watcher"), Receiver("watched")
    context.spawn(watcher)
    context.spawn(watched)
    watcher.link(watched.pid)
    settle(watcher)
    end(watcher)
    settle(watched)

    assert watched.exits.is_empty


def test_each_linker_is_told(context: Context, watched: Process) -> None:
    watchers = [Receiver(f"watcher{n}") for n in range(5)]
    for watcher in watchers:
        context.spawn(watcher)
        watcher.link(watched.pid)
    watched.terminate()

    for watcher in watchers:
        assert watcher.exits.take() == (watched.pid, Reason.TERMINATED)


def test_link_to_an_unknown_process_is_told_at_once(context: Context, watcher: Receiver) -> None:
    nobody = PID(context.ip, context.port, "nobody")
    watcher.link(nobody)

    assert watcher.exits.take() == (nobody, Reason.NO_PROCESS)


def test_link_to_an_ended_process_is_told_at_once(watcher: Receiver, watched: Process) -> None:
    end(watched)
    watcher.link(watched.pid)

    assert watcher.exits.take() == (watched.pid, Reason.NO_PROCESS)


def test_link_is_used_up_by_an_exit(context: Context, watcher: Receiver, watched: Process) -> None:
    watcher.link(watched.pid)
    end(watched)
    assert watcher.exits.take() == (watched.pid, Reason.TERMINATED)
    again = Process("watched")
    context.spawn(again)
    end(again)
    settle(watcher)

    assert watcher.exits.is_empty


def test_link_works_again_after_an_exit(
    context: Context, watcher: Receiver, watched: Process
) -> None:
    for _ in range(3):
        watcher.link(watched.pid)
        end(watched)
        assert watcher.exits.take() == (watched.pid, Reason.TERMINATED)
        context.spawn(watched)


def test_exited_may_link_again(context: Context, watched: Process) -> None:
    class Persistent(Receiver):
        def exited(self, pid: PID, reason: Any) -> None:
            super().exited(pid, reason)
            if reason == Reason.TERMINATED:
                self.link(pid)

    persistent = Persistent()
    context.spawn(persistent)
    persistent.link(watched.pid)
    end(watched)

    assert persistent.exits.take() == (watched.pid, Reason.TERMINATED)
    assert persistent.exits.take() == (watched.pid, Reason.NO_PROCESS)


def test_process_linked_to_itself_ends_quietly(watcher: Receiver) -> None:
    watcher.link(watcher.pid)
    settle(watcher)
    end(watcher)

    assert watcher.exits.is_empty
    assert watcher.context.metrics.handler_failures == 0


def test_processes_linked_to_each_other_end_in_turn(context: Context) -> None:
    one, other = Receiver("one"), Receiver("other")
    context.spawn(one)
    context.spawn(other)
    one.link(other.pid)
    other.link(one.pid)
    settle(one, other)
    end(one)

    assert other.exits.take() == (one.pid, Reason.TERMINATED)
    end(other)
    assert one.exits.is_empty


def test_link_made_in_initialize_counts(context: Context, watched: Process) -> None:
    class Watching(Receiver):
        def initialize(self) -> None:
            self.link(watched.pid)

    watching = Watching()
    context.spawn(watching)
    end(watched)

    assert watching.exits.take() == (watched.pid, Reason.TERMINATED)


def test_ended_linker_is_told_nothing_and_its_links_are_forgotten(
    context: Context, watcher: Receiver, watched: Process
) -> None:
    watcher.link(watched.pid)
    settle(watcher)
    assert context._links == {watcher.pid: {watched.pid}}
    end(watcher)
    assert context._links == {}
    again = Receiver("watcher")
    context.spawn(again)
    end(watched)
    settle(again)

    assert again.exits.is_empty


def test_relink_to_a_live_process_reports_nothing(watcher: Receiver, watched: Process) -> None:
    watcher.link(watched.pid)
    watcher.link(watched.pid, reconnect=True)
    settle(watcher)
    assert watcher.exits.is_empty
    end(watched)

    assert watcher.exits.take() == (watched.pid, Reason.TERMINATED)


def test_exited_takes_the_pid_alone_or_a_reason_too(context: Context, watched: Process) -> None:
    events = Events()

    class One(Process):
        def exited(self, pid: PID) -> None:  # type: ignore[override]
            events.put(("one", pid))

    class Two(Process):
        def exited(self, pid: PID, reason: Any) -> None:
            events.put(("two", pid, reason))

    class Optional(Process):
        def exited(self, pid: PID, why: Any = None) -> None:
            events.put(("optional", pid, why))

    class Inherited(One):
        pass

    for process in (One("one"), Two("two"), Optional("optional"), Inherited("inherited")):
        context.spawn(process)
        process.link(watched.pid)
        settle(process)
    watched.terminate()

    pid, reason = watched.pid, Reason.TERMINATED
    assert sorted(events.take_many(4), key=repr) == sorted(
        [("one", pid), ("one", pid), ("two", pid, reason), ("optional", pid, reason)], key=repr
    )


def _opaque(method: Callable[..., Any]) -> Callable[..., Any]:
    def wrapper(*args: Any, **kw: Any) -> Any:
        return method(*args, **kw)

    return wrapper


def test_exited_behind_an_opaque_wrapper_is_called_as_in_0_3_0(
    context: Context, watched: Process
) -> None:
    events = Events()

    class Wrapped(Process):
        @_opaque
        def exited(self, pid: PID) -> None:
            events.put(("wrapped", pid))

    class Gathering(Process):
        def exited(self, pid: PID, *reason: Any) -> None:
            events.put(("gathering", pid, *reason))

    mocked = Process("mocked")
    mocked.exited = lambda *args: events.put(("mocked", *args))  # type: ignore[method-assign]
    for process in (Wrapped("wrapped"), Gathering("gathering"), mocked):
        context.spawn(process)
        process.link(watched.pid)
        settle(process)
    watched.terminate()

    assert sorted(events.take_many(3)) == [
        ("gathering", watched.pid, Reason.TERMINATED),
        ("mocked", watched.pid),
        ("wrapped", watched.pid),
    ]


def _decorated(method: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(method)
    def wrapper(self: Any, *args: Any, **kw: Any) -> Any:
        return method(self, *args, **kw)

    return wrapper


def test_exited_may_be_wrapped_by_a_decorator(context: Context, watched: Process) -> None:
    class Wrapped(Process):
        events = Events()

        @_decorated
        def exited(self, pid: PID) -> None:  # type: ignore[override]
            self.events.put(pid)

    wrapped = Wrapped("wrapped")
    context.spawn(wrapped)
    wrapped.link(watched.pid)
    end(watched)

    assert wrapped.events.take() == watched.pid


def test_default_exited_does_nothing(context: Context, watched: Process) -> None:
    process = Process("process")
    context.spawn(process)
    process.link(watched.pid)
    settle(process)
    end(watched)
    settle(process)
    process.exited(watched.pid)

    assert context.metrics.handler_failures == 0


def test_reason_reads_as_a_string() -> None:
    assert Reason.REFUSED == "refused"
    assert str(Reason.NO_PROCESS) == f"{Reason.NO_PROCESS}" == "no such process"


def test_a_watcher_that_was_dropped_while_a_loss_is_told_is_not_told() -> None:
    links, to = Links(), PID("127.0.0.1", 1, "lost")
    for watcher in ("one", "two", "three"):
        links.add(watcher, to)
    told = []
    for _, watcher in links.lost(to.address):
        told.append(watcher)
        for other in {"one", "two", "three"} - {watcher}:
            links.drop(other)
    assert len(told) == 1
    assert not links.linked


def test_each_of_two_losses_is_told_to_those_who_were_not_dropped() -> None:
    links, to = Links(), PID("127.0.0.1", 1, "lost")
    losses = []
    for _ in range(2):
        for watcher in ("again", "ended"):
            links.add(watcher, to)
        losses.append(links.lost(to.address))
    assert set(losses.pop(0)) == {(to, "again"), (to, "ended")}
    links.drop("ended")
    links.add("ended", to)  # another one of that name, which has lost nothing
    assert list(losses.pop()) == [(to, "again")]
    assert links.watchers(to) == ["ended"]
    assert links.linked == {"ended": {to: None}}
    assert not links._losses
