"""What contexts and processes count: messages, bytes, depths and times, on both backends."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from compactor import PID, Context, Process, Restart, Settings, install
from compactor.metrics.catalog import CATALOG
from compactor.runtime.hot_path import Backend
from tests.actors import wait_until as until

PAGE = Path(__file__).parents[2] / "docs" / "metrics.md"
MANY = 3000


class Echo(Process):
    @install("ping")
    def ping(self, from_pid: PID, body: bytes) -> None:
        self.send(from_pid, "pong", body)

    @install("pong")
    def pong(self, from_pid: PID, body: bytes) -> None: ...

    @install("slow")
    async def slow(self, from_pid: PID, body: bytes) -> None:
        await asyncio.sleep(0.02)

    @install("bad")
    def bad(self, from_pid: PID, body: bytes) -> None:
        raise ValueError("as wanted")

    def add(self) -> None: ...


def of(context: Context, id_: str, name: str) -> float:
    return context.metrics.snapshot()[f"processes/{id_}/{name}"]


def test_messages_between_contexts_are_counted_on_both_sides(contexts: tuple[Context, Context]):
    here, there = contexts
    one, other = here.spawn(Echo("one")), there.spawn(Echo("other"))
    for _ in range(MANY):
        here.send(one, other, "ping", b"12345")
    until(lambda: of(here, "one", "events_handled") == MANY)
    seen = here.metrics.snapshot()
    is_local = here is there
    assert of(there, "other", "events_handled") == MANY
    assert seen["processes/one/messages_in"] == seen["processes/one/messages_out"] == MANY
    assert seen["processes/one/messages_local"] == (MANY if is_local else 0)
    assert seen["processes/one/bytes_out"] == (0 if is_local else 5 * MANY)
    assert seen["processes/one/bytes_in"] == (0 if is_local else 5 * MANY)
    assert seen["messages_in"] == seen["messages_out"] == (0 if is_local else MANY)
    assert seen["messages_local"] == (2 * MANY if is_local else 0)
    assert seen["events_handled"] == (2 * MANY if is_local else MANY)
    assert seen["processes/one/mailbox_depth"] == 0


def test_other_events_are_handled_and_are_no_messages(make_context: Callable[..., Context]):
    context = make_context()
    pid = context.spawn(Echo("one"))
    for _ in range(10):
        context.dispatch(pid, "add").result(5)
    context.send(pid, pid, "pong", b"")
    until(lambda: of(context, "one", "events_handled") == 11)
    assert of(context, "one", "messages_in") == 1


def test_deepest_is_remembered_and_what_waits_is_the_depth(make_context: Callable[..., Context]):
    context = make_context()
    pid = context.spawn(Echo("one"))
    context.send(pid, pid, "slow", b"")
    for _ in range(5):
        context.send(pid, pid, "pong", b"")
    until(lambda: of(context, "one", "mailbox_depth") == 5)
    until(lambda: of(context, "one", "mailbox_depth") == 0)
    assert of(context, "one", "mailbox_high_water") >= 5
    assert context.metrics.snapshot()["mailbox_high_water"] >= 5


def test_those_that_have_ended_stay_in_the_sums(make_context: Callable[..., Context]):
    context = make_context()
    one = context.spawn(Echo("one"))
    for _ in range(10):
        context.send(one, one, "pong", b"")
    until(lambda: of(context, "one", "events_handled") == 10)
    context.terminate(one)
    until(lambda: not context.metrics.snapshot()["processes"])
    seen = context.metrics.snapshot()
    assert (seen["events_handled"], seen["messages_local"]) == (10, 10)
    assert not any(name.startswith("processes/") for name in seen)


def test_process_that_is_started_anew_counts_on(make_context: Callable[..., Context]):
    context = make_context()
    one = context.spawn(lambda: Echo("one"), on_failure=Restart())
    context.send(one, one, "pong", b"")
    context.send(one, one, "bad", b"")
    context.send(one, one, "pong", b"")
    until(
        lambda: of(context, "one", "messages_in") == 3 and not of(context, "one", "mailbox_depth")
    )
    assert of(context, "one", "messages_local") == 3


@pytest.mark.parametrize("is_by_process", [False, True])
def test_handlers_are_timed_until_they_return(
    make_context: Callable[..., Context], is_by_process: bool
):
    context = make_context(settings=Settings(process_histograms=is_by_process))
    pid = context.spawn(Echo("one"))
    for _ in range(8):
        context.send(pid, pid, "slow", b"")
    until(
        lambda: (
            of(context, "one", "events_handled") == 8 and not of(context, "one", "mailbox_depth")
        )
    )
    until(lambda: context.metrics.snapshot().get("handler_ms/count", 0) >= 6)
    seen = context.metrics.snapshot()
    assert seen["handler_ms/p50"] == pytest.approx(20, rel=0.5)
    assert seen["mailbox_wait_ms/max"] > 60  # the last one has waited for those before it
    assert seen["loop_lag_ms/count"] >= 1
    assert ("processes/one/handler_ms/p99" in seen) is is_by_process


def test_only_those_are_listed_that_have_handled_most(make_context: Callable[..., Context]):
    context = make_context(settings=Settings(max_process_metrics=2))
    pids = [context.spawn(Echo(f"p{number}")) for number in range(5)]
    for number in (1, 3):
        context.send(pids[number], pids[number], "pong", b"")
    until(lambda: context.metrics.snapshot()["events_handled"] == 2)
    seen = context.metrics.snapshot()
    assert seen["processes"] == 5
    assert {name.split("/")[1] for name in seen if name.startswith("processes/")} == {"p1", "p3"}


def test_ids_are_escaped_where_they_would_be_parts_of_a_name(make_context: Callable[..., Context]):
    context = make_context()
    context.spawn(Echo("a/b%c(1)"))
    assert of(context, "a%2Fb%25c(1)", "mailbox_depth") == 0


def test_idle_process_takes_no_counts_of_its_own(backend: Backend):
    run_queue = backend.RunQueue()
    owner: Any = None
    mailboxes = [
        backend.Mailbox(owner, PID("127.0.0.1", 1, str(n)), owner, run_queue) for n in range(3)
    ]
    assert {id(mailbox.counts) for mailbox in mailboxes} == {id(run_queue.counts)}
    assert mailboxes[0].counts.own(mailboxes[0]) is mailboxes[0].counts is not run_queue.counts


@pytest.mark.parametrize("is_of_process", [False, True])
def test_page_lists_every_metric_as_the_catalog_does(is_of_process: bool):
    part = PAGE.read_text("utf-8").split("## Of a process")[is_of_process]
    rows = re.findall(r"^\| `(.+?)` \| (\w+) \| (\w+) \| (.+) \|$", part, re.MULTILINE)
    known = [d for d in CATALOG if d.is_of_process is is_of_process]
    assert rows == [(d.name, d.kind, d.unit, d.meaning) for d in known]


def test_catalog_has_all_that_is_read(make_context: Callable[..., Context]):
    context = make_context(settings=Settings(process_histograms=True))
    pid = context.spawn(Echo("one"))
    context.send(pid, pid, "bad", b"")
    context.send(pid, pid, "nothing", b"")
    until(lambda: context.metrics.snapshot()["dead_letters"])
    known = {(d.name, d.is_of_process) for d in CATALOG}
    *_, found = context.metrics.take()
    read = {(r.name, r.process is not None) for r in found or ()}
    assert read <= known
    assert {name for name, _ in known - read} == {
        "dial_failures/<reason>",
        "connections_lost/<reason>",
        "parked_bytes/<destination>",
    }
