"""/metrics/snapshot: the shapes of C++ libprocess, its durations, and gauges that do not answer."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Any

import pytest

from compactor import PID, Context, Process, Settings, install
from tests.actors import wait_until
from tests.endpoints.asking import fetch, recorded


class Peer(Process):
    """What the recorded peer has: a counter of lines and a timer."""

    def __init__(self) -> None:
        super().__init__("peer")
        self.lines = self.metrics.counter("lines")
        self.lines.add(5)
        for milliseconds in (5, 10, 20):
            self.metrics.timer("timer").record(milliseconds / 1000)


def test_what_cpp_shows_is_shown_under_the_same_names(make_context: Callable[..., Context]):
    context = make_context()
    context.spawn(Peer())
    ours, theirs = fetch(context, "/metrics/snapshot"), recorded("metrics_snapshot")
    assert (ours.status, ours.type) == (theirs.status, theirs.type)
    assert set(theirs.json) <= set(ours.json)
    assert ours.json["peer/lines"] == theirs.json["peer/lines"]
    assert ours.json["peer/timer_ms/count"] == 3
    assert all(type(value) is float for value in ours.json.values())
    assert list(ours.json) == sorted(ours.json)
    assert ours.json["processes/peer/mailbox_depth"] == 0


@pytest.mark.parametrize("text", ["bad", "", "5", "-1secs", "1years"])
def test_wrong_timeout_is_answered_as_in_cpp(make_context: Callable[..., Context], text: str):
    ours = fetch(make_context(), f"/metrics/snapshot?timeout={text}")
    theirs = recorded(f"metrics_snapshot_timeout={text}")
    assert (ours.status, ours.text, ours.type) == (400, theirs.text, theirs.type)


@pytest.mark.parametrize(
    "text", ["1secs", "0ns", "1.5secs", "500ms", "1secs&timeout=2secs", "1weeks"]
)
def test_durations_of_libprocess_are_understood(make_context: Callable[..., Context], text: str):
    assert fetch(make_context(), f"/metrics/snapshot?timeout={text}").status == 200


def test_timeout_of_a_megabyte_is_not_told_back(make_context: Callable[..., Context]):
    context = make_context(settings=Settings(max_header_bytes=2 << 20))
    answer = fetch(context, f"/metrics/snapshot?timeout={'9' * (1 << 20)}secs")
    assert answer.status == 400
    assert len(answer.body) < 500


@pytest.mark.parametrize(
    "name", ["metrics_snapshot_x", "metrics_snapshot_jsonp=f", "POST_metrics_snapshot"]
)
def test_paths_below_scripts_and_posts_are_answered(
    make_context: Callable[..., Context], name: str
):
    context, theirs = make_context(), recorded(name)
    path = {"metrics_snapshot_x": "/x", "metrics_snapshot_jsonp=f": "?jsonp=f"}.get(name, "")
    method = "POST" if name.startswith("POST") else "GET"
    ours = fetch(context, f"/metrics/snapshot{path}", method, host=f"127.0.0.1:{context.port}")
    assert (ours.status, ours.type) == (theirs.status, theirs.type)
    assert (ours.text[:2], ours.text[-1]) == (theirs.text[:2], theirs.text[-1])


class Gauges(Process):
    """Gauges that answer, raise, hang, and are no numbers."""

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.reads = 0
        for gauge in (self.good, self.late, self.raising, self.hanging, self.text):
            self.metrics.gauge(gauge.__name__, gauge)

    def good(self) -> float:
        self.reads += 1
        return 1.5

    async def late(self) -> float:
        await asyncio.sleep(0.01)
        return 2

    def raising(self) -> float:
        raise ValueError("as wanted")

    async def hanging(self) -> float:
        await asyncio.sleep(1000)
        return 3

    def text(self) -> Any:
        return "four"

    @install("hold")
    async def hold(self, from_pid: PID, body: bytes) -> None:
        await asyncio.sleep(float(body))

    @install("ping")
    def ping(self, from_pid: PID, body: bytes) -> None: ...


def test_gauges_that_hang_or_raise_are_left_out_in_time(
    make_context: Callable[..., Context], caplog: pytest.LogCaptureFixture
):
    context = make_context()
    pid = context.spawn(Gauges("g"))
    for _ in range(2):
        began = time.monotonic()
        seen = fetch(context, "/metrics/snapshot?timeout=300ms").json
        assert time.monotonic() - began < 5
        assert (seen["g/good"], seen["g/late"]) == (1.5, 2)
        assert not {"g/raising", "g/hanging", "g/text"} & set(seen)
    context.send(pid, pid, "ping", b"")  # the one that hung holds its process no more
    wait_until(lambda: not context.metrics.snapshot()["processes/g/mailbox_depth"])
    told = [record.message for record in caplog.records if "gauge" in record.message]
    assert sorted(told) == [
        "gauge raising cannot be read, and is left out: ValueError('as wanted')",
        "gauge text cannot be read, and is left out: "
        "TypeError(\"a metric takes an int or a float, got 'four'\")",
    ]


def test_busy_process_is_asked_once_however_often_it_is_scraped(
    make_context: Callable[..., Context],
):
    context = make_context()
    process = Gauges("g")
    pid = context.spawn(process)
    context.send(pid, pid, "hold", b"0.5")
    wait_until(lambda: context.metrics.snapshot()["processes/g/events_handled"])
    for _ in range(5):
        seen = fetch(context, "/metrics/snapshot?timeout=10ms").json
        assert "g/good" not in seen
    assert seen["processes/g/mailbox_depth"] <= 1
    wait_until(lambda: process.reads)
    assert process.reads == 1


def test_process_of_that_id_goes_first(make_context: Callable[..., Context]):
    class Own(Process):
        @Process.route("/snapshot")
        def snapshot(self, request: Any) -> str:
            return "mine"

    context = make_context()
    context.spawn(Own("metrics"))
    assert fetch(context, "/metrics/snapshot").body == b"mine"
