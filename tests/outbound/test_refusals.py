"""A peer that answers messages with errors: a reason at the sender, for letters and links."""

from __future__ import annotations

import logging
import socket

import pytest

from compactor import Context, Reason
from compactor.outbound.unanswered import Unanswered
from tests.actors import TIMEOUT, Receiver, dead_letters, settle, spawned, take_letter
from tests.raw import have_no_notices, pid_at

TAKEN = b"HTTP/1.1 202 Accepted\r\nContent-Length: 0\r\n\r\n"
PAGE_OF_TORNADO = b"<html><title>500: Internal Server Error</title><body>...</body></html>"
NOT_ITS_ADDRESS = (
    b"UPID IP address validation failed: Message from x@192.0.2.1:5 was sent from IP 192.0.2.2:7"
)


def answer(status: int, body: bytes) -> bytes:
    return b"HTTP/1.1 %d Some Words\r\nContent-Length: %d\r\n\r\n%b" % (status, len(body), body)


def accept(listener: socket.socket, messages: int) -> socket.socket:
    """The connection on which so many messages have come."""
    connection, _ = listener.accept()
    connection.settimeout(TIMEOUT)
    seen = b""
    while seen.count(b"/message HTTP") < messages or not seen.endswith(b"\r\n\r\n"):
        seen += connection.recv(65536)
    return connection


@pytest.mark.parametrize(
    ("status", "body", "reason"),
    [
        (400, NOT_ITS_ADDRESS, Reason.SENDER_REFUSED),
        (404, b"404 Not Found.", Reason.NO_PROCESS),
        (404, b"404 page not found\n", Reason.REJECTED),
        (500, b"failed to decode body", Reason.REJECTED),
        (503, b"", Reason.REJECTED),
    ],
)
def test_an_error_for_a_message_is_a_letter_that_names_it_and_an_exit(
    context: Context,
    listener: socket.socket,
    caplog: pytest.LogCaptureFixture,
    status: int,
    body: bytes,
    reason: Reason,
) -> None:
    here, letters = spawned(context, Receiver("here")), dead_letters(context)
    good, bad = pid_at(listener, "good"), pid_at(listener, "bad")
    here.send(good, "message", b"1")
    here.send(bad, "message", b"22")
    with accept(listener, 2) as connection:
        for pid in (good, bad):
            context._portal.call(context._runtime.watches.links.add, "here", pid)
        settle(here)
        connection.sendall(TAKEN + answer(status, body))
        letter = take_letter(letters)
        assert (letter.reason, letter.to, letter.sender) == (reason, bad, here.pid)
        assert (letter.name, letter.size) == ("message", 2)
        exits = [here.exits.take()]
        if reason is Reason.SENDER_REFUSED:  # nothing of this context is taken there
            exits.append(here.exits.take())
        settle(here)
        assert here.exits.is_empty
        assert {pid for pid, _ in exits} == ({bad, good} if len(exits) == 2 else {bad})
        assert {each for _, each in exits} == {reason}
    assert context.metrics.dead_letters[reason] == 1
    assert (f"status {status}" in caplog.text) == (reason is not Reason.NO_PROCESS)


@pytest.mark.parametrize(
    ("status", "body"),
    [(405, b"Method Not Allowed"), (500, PAGE_OF_TORNADO)],
    ids=["not known", "failed"],
)
def test_what_a_peer_of_0_3_0_does_not_take_is_no_exit(
    context: Context, listener: socket.socket, status: int, body: bytes
) -> None:
    """It answers so to what a live process does not handle, and fails to handle."""
    here, pid, letters = spawned(context, Receiver("here")), pid_at(listener), dead_letters(context)
    here.link(pid)
    connection, _ = listener.accept()
    with connection:
        connection.settimeout(TIMEOUT)
        have_no_notices(listener)
        here.send(pid, "message")
        assert b"/message" in connection.recv(65536)
        connection.sendall(answer(status, body))
        assert take_letter(letters).reason is Reason.REJECTED
        assert here.exits.is_empty
        here.send(pid, "message")
        assert b"/message" in connection.recv(65536)
        connection.sendall(answer(404, b"404 Not Found."))
        assert here.exits.take() == (pid, Reason.NO_PROCESS)


def test_all_messages_that_are_refused_count_and_few_are_logged(
    context: Context, listener: socket.socket, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING)
    here, letters = spawned(context, Receiver("here")), dead_letters(context)
    for _ in range(50):
        here.send(pid_at(listener), "message")
    with accept(listener, 50) as connection:
        connection.sendall(answer(400, NOT_ITS_ADDRESS) * 50)
        assert {take_letter(letters).to for _ in range(50)} == {pid_at(listener)}
    assert context.metrics.snapshot()["dead_letters/sender refused"] == 50
    assert len(caplog.records) <= 8


def test_a_refusal_of_what_is_not_kept_any_more_names_the_address(
    context: Context, listener: socket.socket
) -> None:
    here, letters = spawned(context, Receiver("here")), dead_letters(context)
    here.send(pid_at(listener), "message")
    connection = accept(listener, 1)
    with connection:
        here.send(pid_at(listener), "message", bytes(1_000_000))
        seen = 0
        while seen < 1_000_000:
            seen += len(connection.recv(1 << 20))
        connection.sendall(answer(503, b"") * 2)
        for _ in range(2):
            letter = take_letter(letters)
            assert letter.reason is Reason.REJECTED
            assert letter.to is not None
            assert letter.to.address == pid_at(listener).address
    assert letter.to.id == ""


def test_what_is_kept_is_bounded_and_only_for_peers_that_answer() -> None:
    block = [bytes(100_000)]
    silent, answering = Unanswered(), Unanswered(has_answers=True)
    assert [silent.wrote(n, 1, 100_000, block) for n in range(3)] == [True, True, False]
    for number in range(100):
        assert answering.wrote(number, 1, 100_000, block)
    assert len(answering._blocks) == 2
    answering.answered(99)
    assert not answering._blocks
    assert answering._size == 0
