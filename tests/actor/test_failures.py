"""Handlers that fail are logged and counted, and harm nothing else."""

from __future__ import annotations

import asyncio
import logging

import pytest

from compactor import PID, Context, Process, install
from tests.actors import Receiver, spawned


class Failing(Receiver):
    @install("one")
    @install("two")
    def either(self, from_pid: PID, body: bytes) -> None:
        if body:
            raise LookupError(body.decode())
        self.received.put("either")

    @install("exit")
    def exit(self, from_pid: PID, body: bytes) -> None:
        raise SystemExit(3)

    @install("interrupt")
    def interrupt(self, from_pid: PID, body: bytes) -> None:
        raise KeyboardInterrupt

    @install("exit_later")
    async def exit_later(self, from_pid: PID, body: bytes) -> None:
        await asyncio.sleep(0)
        raise SystemExit(3)

    @install("interrupt_later")
    async def interrupt_later(self, from_pid: PID, body: bytes) -> None:
        raise KeyboardInterrupt


def test_failing_handler_is_logged_counted_and_harms_nothing(
    sender: Process, there: Context, caplog: pytest.LogCaptureFixture
) -> None:
    receiver = spawned(there, Failing())

    sender.send(receiver.pid, "one", b"broken")
    sender.send(receiver.pid, "message", b"after")

    assert receiver.received.take() == (sender.pid, b"after")
    assert there.metrics.handler_failures == 1
    (record,) = [r for r in caplog.records if r.levelno == logging.ERROR]
    text = record.getMessage()
    assert str(receiver.pid) in text
    assert "'one'" in text
    assert str(sender.pid) in text
    assert record.exc_info is not None
    assert isinstance(record.exc_info[1], LookupError)


def test_failure_is_logged_under_the_name_of_its_message(
    sender: Process, there: Context, caplog: pytest.LogCaptureFixture
) -> None:
    receiver = spawned(there, Failing())

    for body in (b"", b"x"):
        for name in ("one", "two"):
            sender.send(receiver.pid, name, body)
    sender.send(receiver.pid, "message")

    assert receiver.received.take_many(3) == ["either", "either", (sender.pid, b"")]
    names = [r.getMessage() for r in caplog.records if r.levelno == logging.ERROR]
    assert ["'one'" in names[0], "'two'" in names[1]] == [True, True]


def test_failure_with_a_large_body_is_logged_with_name_and_sender(
    sender: Process, there: Context, caplog: pytest.LogCaptureFixture
) -> None:
    receiver = spawned(there, Failing())

    sender.send(receiver.pid, "one", b"x" * 50_000)
    sender.send(receiver.pid, "message")

    assert receiver.received.take() == (sender.pid, b"")
    (record,) = [r for r in caplog.records if r.levelno == logging.ERROR]
    assert "'one'" in record.getMessage()
    assert str(sender.pid) in record.getMessage()
    assert "50000 bytes" in record.getMessage()


@pytest.mark.parametrize(
    ("name", "error"),
    [
        ("exit", "SystemExit"),
        ("interrupt", "KeyboardInterrupt"),
        ("exit_later", "SystemExit"),
        ("interrupt_later", "KeyboardInterrupt"),
    ],
)
def test_handler_that_raises_what_ends_programs_ends_nothing(
    sender: Process, there: Context, caplog: pytest.LogCaptureFixture, name: str, error: str
) -> None:
    receiver = spawned(there, Failing())

    sender.send(receiver.pid, name)
    sender.send(receiver.pid, "message", b"after")

    assert receiver.received.take() == (sender.pid, b"after")
    assert there.metrics.handler_failures == 1
    assert error in caplog.text


def test_failing_exited_is_logged_and_harms_nothing(
    context: Context, caplog: pytest.LogCaptureFixture
) -> None:
    class Fragile(Receiver):
        def exited(self, pid: PID, reason: str) -> None:
            raise LookupError(reason)

    process = Fragile()
    context.spawn(process)
    gone = PID(context.ip, context.port, "gone")
    process.link(gone)
    process.send(process.pid, "message")

    assert process.received.take() == (process.pid, b"")
    assert context.metrics.handler_failures == 1
    assert f"exit of {gone}" in caplog.text
