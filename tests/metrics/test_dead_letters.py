"""Dead letters: what could not be delivered, and that it is reported."""

from __future__ import annotations

import socket
import struct
import time
from collections.abc import Callable

import pytest

from compactor import PID, Context, Process, Reason
from tests.actors import (
    TIMEOUT,
    Receiver,
    dead_letters,
    settle,
    spawned,
    take_letter,
    wait_until,
)
from tests.raw import dead_port, have_no_notices, pid_at

ContextFactory = Callable[..., Context]


@pytest.mark.smoke
def test_message_without_handler_is_a_dead_letter(sender: Process, there: Context) -> None:
    letters = dead_letters(there)
    receiver = spawned(there, Receiver())

    sender.send(receiver.pid, "unknown", b"four")
    sender.send(receiver.pid, "message", b"x")

    letter = take_letter(letters)
    assert (letter.reason, letter.to, letter.sender) == (
        Reason.NO_HANDLER,
        receiver.pid,
        sender.pid,
    )
    assert (letter.name, letter.size) == ("unknown", 4)
    assert receiver.received.take() == (sender.pid, b"x")
    counted = there.metrics.snapshot()
    assert (counted["dead_letters"], counted["dead_letters/no handler"]) == (1, 1)


@pytest.mark.smoke
def test_message_to_nobody_is_a_dead_letter(sender: Process, there: Context) -> None:
    letters = dead_letters(there)
    there.spawn(Process("somebody"))
    nobody = PID(there.ip, there.port, "nobody")

    sender.send(nobody, "unknown", b"four")

    letter = take_letter(letters)
    assert (letter.reason, letter.to, letter.sender) == (Reason.NO_PROCESS, nobody, sender.pid)
    assert (letter.name, letter.size) == ("unknown", 4)


def test_message_to_a_port_where_nobody_listens_is_a_dead_letter(context: Context) -> None:
    letters = dead_letters(context)
    sender = Process("sender")
    context.spawn(sender)
    nobody = PID("127.0.0.1", dead_port(), "no/body")

    sender.send(nobody, "message", b"four")

    letter = take_letter(letters)
    assert (letter.reason, letter.to, letter.sender) == (Reason.REFUSED, nobody, sender.pid)
    assert (letter.name, letter.size) == ("message", 4)


@pytest.mark.parametrize("stops", [False, True], ids=["goes on", "stops"])
def test_a_burst_on_a_connection_that_was_reset_is_lost_up_to_what_the_loop_holds(
    context: Context, listener: socket.socket, stops: bool
) -> None:
    sender, letters = spawned(context, Receiver("sender")), dead_letters(context)
    pid = pid_at(listener)
    sender.link(pid)
    connection, _ = listener.accept()
    have_no_notices(listener)
    settle(sender)
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))

    def reset_and_send() -> None:  # the loop sees neither before both have happened
        connection.close()
        for _ in range(10_000):
            sender.send(pid, "message", bytes(1000))
        if stops:
            context.stop()

    context.dispatch(sender.pid, reset_and_send).result(TIMEOUT)

    reasons = {take_letter(letters).reason for _ in range(10_000 - 256)}
    assert reasons <= {Reason.RESET, Reason.STOPPED}
    if stops:
        context.join(TIMEOUT)
        assert not context.is_alive()


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "127.0.0.1"])
def test_message_to_an_address_that_cannot_be_dialled_is_a_dead_letter(
    context: Context, host: str
) -> None:
    letters = dead_letters(context)
    sender = Process("sender")
    context.spawn(sender)

    sender.send(PID(host, 0, "x"), "message")

    assert take_letter(letters).reason == Reason.UNREACHABLE


@pytest.mark.parametrize(
    "host",
    ["no.such.host.invalid", "a..b", "a" * 64, "\u00fc" * 80],
    ids=["unknown", "empty label", "long label", "long label after idna"],
)
def test_message_to_a_host_name_that_does_not_resolve_is_a_dead_letter(
    context: Context, host: str
) -> None:
    letters = dead_letters(context)
    sender = Receiver("sender")
    context.spawn(sender)
    nobody = PID(host, 5050, "x")

    sender.send(nobody, "message", b"1")
    sender.link(nobody)

    assert take_letter(letters).reason == Reason.UNRESOLVED
    assert sender.exits.take() == (nobody, Reason.UNRESOLVED)


def test_raising_dead_letter_hook_does_no_harm(
    context: Context, caplog: pytest.LogCaptureFixture
) -> None:
    @context.on_dead_letter
    def fail(letter: object) -> None:
        raise RuntimeError("hook")

    letters = dead_letters(context)
    receiver = Receiver()
    context.spawn(receiver)
    receiver.send(receiver.pid, "unknown")
    receiver.send(receiver.pid, "message")

    assert take_letter(letters).name == "unknown"
    assert receiver.received.take() == (receiver.pid, b"")
    assert "hook" in caplog.text


def test_dead_letters_are_logged_once_per_reason_and_address(
    context: Context, caplog: pytest.LogCaptureFixture
) -> None:
    letters = dead_letters(context)
    sender = Process("sender")
    context.spawn(sender)

    for _ in range(50):
        sender.send(PID(context.ip, context.port, "nobody"), "name")
    letters.take_many(50)

    lines = [r.getMessage() for r in caplog.records if "dead letter" in r.getMessage()]
    assert 1 <= len(lines) <= 2
    assert f"nobody@{context.ip}:{context.port}" in lines[0]
    assert str(sender.pid) in lines[0]
    assert "no such process" in lines[0]


def test_a_hook_that_would_end_the_program_ends_no_report(
    context: Context, caplog: pytest.LogCaptureFixture
) -> None:
    letters = dead_letters(context)

    def leave(_: object) -> None:
        raise SystemExit

    context.on_dead_letter(leave)
    ending = spawned(context, Receiver())

    def send_and_end() -> None:
        for _ in range(100):
            ending.send(ending.pid, "message")
        ending.terminate()

    context.dispatch(ending.pid, send_and_end).result(TIMEOUT)
    assert len(letters.take_many(100)) == 100
    wait_until(lambda: caplog.text.count("a dead letter hook failed") == 100)


def test_dead_letters_to_any_number_of_addresses_are_logged_at_a_bounded_rate(
    context: Context, caplog: pytest.LogCaptureFixture
) -> None:
    letters = dead_letters(context)
    sender = Process("sender")
    context.spawn(sender)
    count = 5000
    begun = time.monotonic()
    for port in range(1, count + 1):
        sender.send(PID("0.0.0.0", port, "x"), "message")
    letters.take_many(count)
    seconds = time.monotonic() - begun
    lines = [r for r in caplog.records if "dead letter" in r.getMessage()]
    assert 256 <= len(lines) <= 512 * (1 + seconds)
    assert context.metrics.dead_letters[Reason.UNREACHABLE] == count
