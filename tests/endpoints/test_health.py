"""``/health``: checks of all kinds, what they find, and how long they may take."""

from __future__ import annotations

import asyncio
import functools
import threading
import time
from collections.abc import Callable
from typing import Any

import pytest

from compactor import Context, Process, Restart, Settings, health_check, install
from tests.actors import TIMEOUT
from tests.endpoints.asking import Answer, fetch

MakeContext = Callable[..., Context]

WELL: list[Any] = [None, True]
ILL: list[tuple[Any, str]] = [
    (False, "it is false"),
    ("only 7 bytes are free", "only 7 bytes are free"),
    ("", "it is empty"),
    (5, "it returns a int, not None, a bool or a reason as str"),
    (ValueError("the password is 1234"), "ValueError"),
    ("x" * 10_000, "x" * 200),
]


class Plain(Process):
    def __init__(self, name: str, found: Any) -> None:
        super().__init__(name)
        self.found = found

    @health_check
    def check(self) -> Any:
        if isinstance(self.found, Exception):
            raise self.found
        return self.found


class Awaiting(Plain):
    @Process.health_check
    async def check(self) -> Any:
        await asyncio.sleep(0)
        return Plain.check(self)


KINDS: list[Callable[[str, Any], Process]] = [Plain, Awaiting]


def reasons(told: Answer) -> list[tuple[str, str, str]]:
    assert told.status == 503
    assert told.json["healthy"] is False
    return [(r["process"], r["check"], r["reason"]) for r in told.json["reasons"]]


@pytest.mark.smoke
def test_a_context_without_checks_is_well(context: Context) -> None:
    context.spawn(Process("a"))
    told = fetch(context, "/health")

    assert told.status == 200
    assert told.json == {"healthy": True, "checks": 0, "failed": 0, "reasons": []}
    assert fetch(context, "/health", "HEAD")[::2] == (200, b"")


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("found", WELL)
def test_what_finds_nothing_is_well(
    context: Context, kind: Callable[[str, Any], Process], found: Any
) -> None:
    context.spawn(kind("a", found))

    told = fetch(context, "/health")

    assert told.status == 200
    assert told.json == {"healthy": True, "checks": 1, "failed": 0, "reasons": []}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("found", "reason"), ILL)
def test_what_is_found_is_told(
    context: Context, kind: Callable[[str, Any], Process], found: Any, reason: str
) -> None:
    context.spawn(kind("a", found))

    assert reasons(fetch(context, "/health")) == [("a", "check", reason)]


def test_the_text_of_errors_is_told_where_that_is_set(
    make_context: MakeContext, caplog: pytest.LogCaptureFixture
) -> None:
    context = make_context(settings=Settings(http_error_text=True))
    pid = context.spawn(Plain("a", ValueError("no room")))

    for _ in range(3):
        assert reasons(fetch(context, "/health")) == [("a", "check", "ValueError: no room")]
    line = f"health check check of {pid} failed: ValueError: no room"
    assert caplog.text.count(line) == 1  # at a bounded rate


class Many(Process):
    @health_check
    def first(self) -> str:
        return "one"

    @health_check
    async def second(self) -> str:
        return "two"

    @health_check
    def third(self) -> None:
        raise KeyError

    @health_check
    async def fourth(self) -> None:
        pass


class Less(Many):
    second = None  # type: ignore[assignment]

    def first(self) -> str:
        return "one of an override"


def test_all_checks_of_a_class_and_its_bases_are_made(context: Context) -> None:
    context.spawn(Many("many"))
    context.spawn(Less("less"))

    told = fetch(context, "/health")

    assert reasons(told) == [
        ("many", "first", "one"),
        ("many", "second", "two"),
        ("many", "third", "KeyError"),
        ("less", "first", "one of an override"),
        ("less", "third", "KeyError"),
    ]
    assert (told.json["checks"], told.json["failed"]) == (7, 5)


def test_no_more_than_twenty_reasons_are_told(context: Context) -> None:
    for number in range(30):
        context.spawn(Plain(f"p{number}", False))

    told = fetch(context, "/health").json

    assert (told["failed"], len(told["reasons"])) == (30, 20)


class Hanging(Process):
    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.cancelled = 0
        self.handled = threading.Event()

    @health_check
    async def check(self) -> None:
        try:
            await asyncio.Event().wait()
        finally:
            self.cancelled += 1

    @install("hang")
    async def hang(self, from_pid: Any, body: bytes) -> None:
        await asyncio.Event().wait()

    @install("message")
    def message(self, from_pid: Any, body: bytes) -> None:
        self.handled.set()


@pytest.fixture
def quick(make_context: MakeContext) -> Context:
    return make_context(settings=Settings(health_timeout=0.05))


def test_a_check_that_hangs_is_a_reason_and_ends(quick: Context) -> None:
    process = Hanging("a")
    pid = quick.spawn(process)

    assert reasons(fetch(quick, "/health")) == [("a", "check", "it has no result after 0.05 s")]
    quick.send(pid, pid, "message", b"")
    assert process.handled.wait(TIMEOUT)
    assert process.cancelled == 1


def test_a_process_that_hangs_is_a_reason_and_is_asked_once(quick: Context) -> None:
    process = Hanging("a")
    pid = quick.spawn(process)
    quick.send(pid, pid, "hang", b"")

    for _ in range(3):
        assert reasons(fetch(quick, "/health")) == [
            ("a", "", "the process is busy with something else after 0.05 s")
        ]
    (mailbox,) = quick._registry.live.values()
    assert len(mailbox.queue) == 1
    quick.terminate(pid)
    quick.wait(pid).result(TIMEOUT)
    assert fetch(quick, "/health").status == 200


class Busy(Process):
    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.handled = 0
        self.seen: list[int] = []

    @install("message")
    async def message(self, from_pid: Any, body: bytes) -> None:
        await asyncio.sleep(0)  # a turn
        self.handled += 1

    @health_check
    def check(self) -> None:
        self.seen.append(self.handled)


def test_checks_go_before_what_waits(context: Context) -> None:
    process = Busy("a")
    pid = context.spawn(process)
    for _ in range(5000):
        context.send(pid, pid, "message", b"")

    assert fetch(context, "/health").status == 200
    assert process.seen[0] < 5000


def test_requests_at_the_same_time_share_a_round(context: Context) -> None:
    rounds: list[int] = []

    class Counting(Process):
        @health_check
        async def check(self) -> None:
            rounds.append(1)
            await asyncio.sleep(0.05)

    context.spawn(Counting("a"))
    threads = [
        threading.Thread(target=functools.partial(fetch, context, "/health")) for _ in range(10)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(TIMEOUT)

    assert 1 <= len(rounds) < 10


def test_what_is_mended_is_well_at_once(context: Context) -> None:
    process = Plain("a", False)
    context.spawn(process)

    for found in (False, None, "ill", True):
        process.found = found
        assert fetch(context, "/health").status == (503 if found in (False, "ill") else 200)


def test_a_check_that_raises_ends_no_process_and_calls_no_policy(context: Context) -> None:
    made: list[Plain] = []

    def make() -> Plain:
        made.append(Plain("a", ValueError()))
        return made[-1]

    context.spawn(make, on_failure=Restart())

    for _ in range(3):
        assert fetch(context, "/health").status == 503
    assert len(made) == 1


def test_a_process_that_ends_meanwhile_is_no_reason(context: Context) -> None:
    class Ending(Process):
        @health_check
        async def check(self) -> None:
            self.terminate()
            await asyncio.sleep(TIMEOUT)

    context.spawn(Ending("a"))
    began = time.monotonic()

    assert fetch(context, "/health").status == 200
    assert time.monotonic() - began < TIMEOUT / 2


def takes_more(self: Any, more: int) -> None: ...
def yields(self: Any) -> Any:
    yield


async def yields_later(self: Any) -> Any:
    yield


def nothing() -> None: ...


@pytest.mark.parametrize("function", [takes_more, yields, yields_later, nothing])
def test_what_can_be_no_check_is_an_error_at_once(function: Any) -> None:
    with pytest.raises(TypeError, match=rf"{function.__name__} is a health check, (but|so)"):
        health_check(function)
