"""Long answers: in slices of a turn, one at a time, as fast as they are read, and so many."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import json
import socket
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from compactor import Context, Process, Request
from compactor.actor.run_queue import TURN_SECONDS
from compactor.endpoints import pieces
from compactor.endpoints.endpoint import Endpoint
from compactor.endpoints.pieces import IN_ONE, Crowd, Slices, in_pieces, work
from compactor.errors import RemoteProtocolError
from compactor.http.streams import StreamEnded
from compactor.system import clock
from tests.actors import TIMEOUT, wait_until
from tests.endpoints.asking import fetch

MakeContext = Callable[..., Context]

STEP_SECONDS = TURN_SECONDS / 40  # of a look at the clock


@pytest.fixture
def steady(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """A clock that goes on by a step with each look."""
    times = [0.0]

    def now() -> float:
        times.append(times[-1] + STEP_SECONDS)
        return times[-1]

    monkeypatch.setattr(clock, "now", now)
    return times


def numbered(many: int, made: list[int]) -> Iterator[str]:
    for number in range(many):
        made.append(number)
        yield ""


def test_many_steps_are_done_in_as_many_turns_as_they_take(steady: list[float]) -> None:
    made: list[int] = []
    turns: list[int] = []

    async def look() -> None:
        while True:
            turns.append(len(made))
            await asyncio.sleep(0)

    async def main() -> None:
        looking = asyncio.create_task(look())
        await work(asyncio.Lock(), numbered(100_000, made))
        looking.cancel()

    asyncio.run(main())

    most = max(b - a for a, b in itertools.pairwise(turns))
    in_time = TURN_SECONDS / 2 / STEP_SECONDS * 16  # of 16 steps between two looks at the clock
    assert 0 < most <= in_time + 16
    assert len(made) == 100_000


def test_a_hundred_at_a_time_have_one_slice_in_a_turn(steady: list[float]) -> None:
    made: list[int] = []
    most = 0

    async def main() -> None:
        nonlocal most
        turns = asyncio.Lock()
        tasks = [asyncio.create_task(work(turns, numbered(1000, made))) for _ in range(100)]
        while not all(task.done() for task in tasks):
            before = len(made)
            await asyncio.sleep(0)
            most = max(most, len(made) - before)

    asyncio.run(main())

    assert len(made) == 100_000
    assert most <= TURN_SECONDS / 2 / STEP_SECONDS * 16 + 16


class Reader(Slices):
    """An answer that is under way."""

    def __init__(self, crowd: Crowd) -> None:
        super().__init__(iter(()), crowd, "")


def test_long_answers_are_counted_by_address(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [100.0]
    monkeypatch.setattr(clock, "now", lambda: now[0])
    crowd = Crowd(patience=60.0)
    readers = [Reader(crowd) for _ in range(20)]

    def admit(number: int, address: int) -> None:
        crowd.admit(readers[number], f"192.0.2.{address}")

    for number in range(4):
        admit(number, 1)
    with pytest.raises(RemoteProtocolError, match="too many clients") as caught:
        admit(4, 1)
    assert caught.value.status == 503
    for number in range(5, 17):
        admit(number, number)
    with pytest.raises(RemoteProtocolError):
        admit(17, 17)

    readers[5].close()
    admit(17, 17)
    now[0] += 61.0
    admit(18, 18)  # in the place of the oldest
    assert readers[0] not in crowd.readers
    admit(19, 17)
    assert list(crowd.readers) == [*readers[2:4], *readers[6:20]]
    with pytest.raises(StreamEnded, match="read too slowly"):
        asyncio.run(readers[0].next())


def test_a_list_of_ids_is_shared_while_it_is_fresh(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [100.0]
    monkeypatch.setattr(clock, "now", lambda: now[0])
    crowd, live = Crowd(60.0), {"a": None}
    first = crowd.ids(live)
    live["b"] = None
    assert crowd.ids(live) is first
    now[0] += 1.5
    second = crowd.ids(live)
    assert (first, second) == (["a"], ["a", "b"])
    del live["a"], second
    assert crowd.ids(live) == ["b"]  # nobody has needed the last one any more


@pytest.fixture
def serve(make_context: MakeContext) -> Callable[[Callable[[], Iterator[str]]], Context]:
    """What makes a context that answers with parts at ``/long``."""

    def serve(make: Callable[[], Iterator[str]]) -> Context:
        context = make_context()

        def answer(request: Request, owner: Any) -> Any:
            return in_pieces(owner, make(), "text/plain")

        found = context._runtime.pages.endpoints()
        assert found is not None
        found.add(Endpoint("/long", answer, "Long."))
        return context

    return serve


Serve = Callable[[Callable[[], Iterator[str]]], Context]


@pytest.mark.parametrize("size", [0, 1, IN_ONE, IN_ONE + 1000, 10 * IN_ONE])
def test_short_answers_come_whole_and_long_ones_in_chunks(serve: Serve, size: int) -> None:
    parts = ["x" * 1000] * (size // 1000) + ["x" * (size % 1000)]
    context = serve(lambda: iter(parts))

    told, head = fetch(context, "/long"), fetch(context, "/long", "HEAD")

    assert told.text == "x" * size
    assert ("content-length" in told.headers) is (size <= IN_ONE)
    assert (head.status, head.body) == (200, b"")
    assert head.headers.get("content-length") == told.headers.get("content-length")


def test_what_is_worth_it_is_sent_in_gzip(serve: Serve) -> None:
    context = serve(lambda: iter(["x" * 1000] * 50))

    told = fetch(context, "/long", Accept_Encoding="gzip")

    assert told.headers["content-encoding"] == "gzip"
    assert len(told.body) < 1000


def failing(many: int) -> Iterator[str]:
    for _ in range(many):
        yield "x" * 1000
    raise ValueError("no more")


def test_what_fails_at_once_is_a_500(serve: Serve, caplog: pytest.LogCaptureFixture) -> None:
    assert fetch(serve(lambda: failing(3)), "/long").status == 500
    wait_until(lambda: "ValueError: no more" in caplog.text)  # it is logged on the loop, later


def test_what_fails_later_ends_the_connection(
    serve: Serve, caplog: pytest.LogCaptureFixture
) -> None:
    context = serve(lambda: failing(300))
    with socket.create_connection((context.ip, context.port), timeout=TIMEOUT) as sock:
        sock.sendall(b"GET /long HTTP/1.1\r\nHost: x\r\n\r\n")
        received = b""
        try:
            while data := sock.recv(1 << 16):
                received += data
        except ConnectionResetError:
            pass
    assert not received.endswith(b"0\r\n\r\n")
    wait_until(lambda: "the answer to <Request GET /long> cannot be completed" in caplog.text)


def test_a_client_that_does_not_read_has_nothing_made(serve: Serve) -> None:
    made: list[int] = []
    closed: list[bool] = []

    def make() -> Iterator[str]:
        try:
            for number in range(100_000):
                made.append(number)
                yield "x" * 1000
        finally:
            closed.append(True)

    context = serve(make)
    with socket.create_connection((context.ip, context.port), timeout=TIMEOUT) as sock:
        sock.sendall(b"GET /long HTTP/1.1\r\nHost: x\r\n\r\n")
        before = -1
        while len(made) != before or not made:
            before = len(made)
            time.sleep(0.05)
        assert len(made) < 50_000
        assert fetch(context, "/version").status == 200
        assert not closed
    until(lambda: closed == [True])


def test_short_answers_are_there_while_long_ones_are_not_read(serve: Serve) -> None:
    context = serve(lambda: iter(["x" * 1000] * 100_000))
    request = b"GET /long HTTP/1.1\r\nHost: x\r\n\r\n"
    found = context._runtime.pages.endpoints()
    assert found is not None
    with contextlib.ExitStack() as slow:
        for _ in range(4):
            sock = socket.create_connection((context.ip, context.port), timeout=TIMEOUT)
            slow.enter_context(sock).sendall(request)
        until(lambda: len(found.crowd.readers) == 4)
        assert fetch(context, "/long").status == 503
        for path in ("/__processes__", "/help", "/health"):
            assert fetch(context, path).status == 200
    until(lambda: not found.crowd.readers)
    assert fetch(context, "/long").status == 200


def until(holds: Callable[[], bool]) -> None:
    end = time.monotonic() + TIMEOUT
    while not holds():
        assert time.monotonic() < end
        time.sleep(0.001)


@pytest.mark.parametrize("path", ["/__processes__", "/help?format=json", "/help", "/health"])
def test_many_processes_take_time_that_is_linear_in_them(
    make_context: MakeContext, path: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    slices: list[float] = []
    of = pieces._slice_of

    def timed(parts: Iterator[str]) -> Any:
        began = time.thread_time()
        try:
            return of(parts)
        finally:
            slices.append(time.thread_time() - began)

    monkeypatch.setattr(pieces, "_slice_of", timed)
    context = make_context()
    few, many = 1500, 6000
    times = []
    spawned = 0
    for number in (few, many):
        for index in range(spawned, number):
            context.spawn(Shown(f"p{index}"))
        spawned = number
        least = 60.0
        for _ in range(3):
            slices.clear()
            told = fetch(context, path, User_Agent="curl")
            assert told.status == 200
            least = min(least, sum(slices))
        times.append(least)
    if path == "/__processes__":
        assert len(json.loads(told.body)) == many
    assert times[1] < (many / few) ** 1.6 * times[0]
    assert sorted(slices)[len(slices) // 2] < 2 * TURN_SECONDS


class Shown(Process):
    @Process.install("message")
    def message(self, from_pid: Any, body: bytes) -> None:
        pass

    @Process.health_check
    def check(self) -> None:
        pass
