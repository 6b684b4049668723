"""RunQueue: what is flushed in a turn, and what becomes of the rest when that fails."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any

import pytest

from compactor import PID
from compactor.runtime.hot_path import Backend
from compactor.wire.encoder import message_prefix

TO = PID("192.0.2.7", 5050, "there")
PREFIX = message_prefix(PID("192.0.2.8", 5050, "here"), TO, "message")


class Flushable:
    """Records that it is flushed, and may fail each time, or the first time."""

    def __init__(self, name: str, flushed: list[str], *errors: BaseException) -> None:
        self.name = name
        self.flushed = flushed
        self.errors = list(errors)

    def flush(self) -> None:
        self.flushed.append(self.name)
        if self.errors:
            raise self.errors.pop(0)


@pytest.fixture
def loop() -> Iterator[asyncio.AbstractEventLoop]:
    """A loop that runs when told to."""
    loop = asyncio.new_event_loop()
    yield loop
    loop.close()


@pytest.fixture
def run_queue(backend: Backend, loop: asyncio.AbstractEventLoop) -> Any:
    """The run queue of that loop."""
    run_queue = backend.RunQueue()
    run_queue.attach(loop)
    return run_queue


def turns(loop: asyncio.AbstractEventLoop, count: int = 5) -> None:
    """Have the loop do what it has to do."""
    for _ in range(count):
        loop.run_until_complete(asyncio.sleep(0))


def test_a_flush_that_fails_is_logged_once_and_harms_no_other(
    run_queue: Any, loop: asyncio.AbstractEventLoop, caplog: pytest.LogCaptureFixture
) -> None:
    flushed: list[str] = []
    run_queue.flush_soon(Flushable("a", flushed))
    run_queue.flush_soon(Flushable("b", flushed, LookupError("broken"), LookupError("broken")))
    run_queue.flush_soon(Flushable("c", flushed))

    turns(loop)

    assert flushed == ["a", "b", "c"]
    assert caplog.text.count("LookupError: broken") == 1


def test_a_flush_that_failed_can_ask_for_another(
    run_queue: Any, loop: asyncio.AbstractEventLoop
) -> None:
    flushed: list[str] = []
    failing = Flushable("a", flushed, LookupError())
    run_queue.flush_soon(failing)
    turns(loop)

    run_queue.flush_soon(failing)
    turns(loop)

    assert flushed == ["a", "a"]


def test_what_control_c_keeps_from_being_flushed_has_the_next_turn(
    run_queue: Any, loop: asyncio.AbstractEventLoop
) -> None:
    flushed: list[str] = []
    run_queue.begin_turn()
    run_queue.flush_soon(Flushable("a", flushed))
    run_queue.flush_soon(Flushable("b", flushed, KeyboardInterrupt()))
    run_queue.flush_soon(Flushable("c", flushed))

    with pytest.raises(KeyboardInterrupt):
        run_queue.end_turn()
    turns(loop)

    assert flushed == ["a", "b", "b", "c"]


class Transport:
    """Takes some writes, and fails at the next one."""

    def __init__(self, takes: int) -> None:
        self.takes = takes
        self.is_aborted = False

    def write(self, data: bytes) -> None:
        if not self.takes:
            raise LookupError
        self.takes -= 1

    def is_closing(self) -> bool:
        return self.is_aborted

    def abort(self) -> None:
        self.is_aborted = True

    def get_extra_info(self, name: str) -> None:
        return None


@pytest.mark.parametrize("takes", [0, 1])
def test_a_write_that_fails_cuts_the_connection_and_keeps_the_rest_to_be_reported(
    backend: Backend, run_queue: Any, loop: asyncio.AbstractEventLoop, takes: int
) -> None:
    send_queue = backend.SendQueue(object(), run_queue, 1 << 20, 1 << 20)
    transport = Transport(takes)
    send_queue.open(transport)
    for number in range(2):
        send_queue.write_message(PREFIX, bytes(300_000) + b"%d" % number)  # blocks of their own
    send_queue.write_message(PREFIX, b"2")

    turns(loop)

    assert transport.is_aborted
    assert [body[-1:] for _, body in send_queue.take_back()] == [b"0", b"1", b"2"]
    assert (send_queue.parked, send_queue.size) == (0, 0)
