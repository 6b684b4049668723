"""Asks under attack: what strangers, and peers that were asked, may say and send."""

from __future__ import annotations

import json
import socket
from collections.abc import Callable

import pytest

from compactor import (
    PID,
    AskFailed,
    Context,
    Process,
    Reason,
    RemoteError,
    Settings,
    answer,
    install,
)
from compactor.runtime import strangers
from tests.actors import TIMEOUT, Receiver, dead_letters, settle, spawned, take_letter
from tests.raw import frame, have_no_notices, pid_at, read_answer, read_head

MakeContext = Callable[..., Context]
Connect = Callable[[Context], socket.socket]


class Echo(Receiver):
    @answer("echo")
    def echo(self, from_pid: PID, body: bytes) -> bytes:
        self.received.put(from_pid)
        return body

    @answer("fails")
    def fails(self, from_pid: PID, body: bytes) -> bytes:
        raise LookupError(body.decode() * 5000)


class Odd(Process):
    """Says of an ask that it has failed, in words of its own."""

    def __init__(self, told: bytes) -> None:
        super().__init__("odd")
        self.told = told

    @install("ask")
    def ask_(self, from_pid: PID, _: bytes) -> None:
        self.send(from_pid, "compactor.ask.failed", self.told)


@pytest.mark.parametrize(
    "told",
    [
        pytest.param(b'{"error":' * 5000 + b"1" + b"}" * 5000, id="deep"),
        pytest.param(b'{"error": %b, "text": "x"}' % (b"[" * 900 + b"]" * 900), id="list as type"),
        pytest.param(b'{"error": 1e999, "text": 1e999}', id="infinite"),
        pytest.param(b'{"error": "x", "text": %b}' % (b"9" * 4000), id="large number"),
        pytest.param(b'{"error": "x", "text": %b}' % (b"9" * 9000), id="larger number"),
        pytest.param(b'{"error": "x", "text": "%b"}' % (b"y" * (1 << 20)), id="large text"),
        pytest.param(b'{"reason": ["refused"]}', id="list as reason"),
        pytest.param(b'["reason"]', id="list"),
        pytest.param(b'"reason"', id="text"),
        pytest.param(b"null", id="null"),
        pytest.param(b'{"reason": "%b"}' % (b"z" * 60_000), id="large reason"),
    ],
)
def test_what_a_peer_says_of_a_failure_is_not_believed_if_it_is_odd(
    context: Context, told: bytes
) -> None:
    odd = spawned(context, Odd(told))
    with pytest.raises(AskFailed, match=r"^odd@.* has refused 'ask', and does not say why$") as it:
        context.ask(odd.pid, "ask").result(TIMEOUT)
    assert it.value.reason is Reason.REJECTED


def test_the_text_of_an_error_is_cut(context: Context, make_context: MakeContext) -> None:
    for there in (context, make_context()):
        echo = spawned(there, Echo())
        with pytest.raises(RemoteError) as raised:
            context.ask(echo.pid, "fails", "\U0001f600é".encode()).result(TIMEOUT)
        assert len(raised.value.text) == 4096
        assert raised.value.text.endswith("...")
    odd = spawned(
        make_context(), Odd(json.dumps({"error": "E" * 500, "text": "t" * 9000}).encode())
    )
    with pytest.raises(RemoteError) as raised:
        context.ask(odd.pid, "ask").result(TIMEOUT)
    assert (len(raised.value.type), len(raised.value.text)) == (256, 4096)


def test_who_forges_a_sender_here_reaches_no_ask(context: Context, connect: Connect) -> None:
    """An ask waits, and a stranger pretends to be askers of the same context."""
    echo = spawned(context, Echo())
    mute = spawned(context, Receiver("mute"))
    question = context.ask(mute.pid, "message")
    mute.received.take()
    letters, sock = dead_letters(context), connect(context)
    for number in ("1", "-1", "9" * 100, "", "1)(", "\xe9"):
        forged = f"__req_res__({number})@{context.ip}:{context.port}"
        sender = f"Libprocess-From: {forged}\r\n"
        asks = f"POST /receiver/echo HTTP/1.1\r\n{sender}Content-Length: 1\r\n\r\nx"
        sock.sendall(asks.encode())
        assert read_answer(sock)[0] == 202
        assert echo.received.take().id == f"__req_res__({number})"
        assert take_letter(letters).reason == Reason.NO_PROCESS
        # And an answer out of nowhere, on a connection of its own.
        sock.sendall(
            f"POST /__req_res__({number})/echo HTTP/1.1\r\nLibprocess-From: x\r\n\r\n".encode()
        )
        assert read_answer(sock)[0] == 404
        assert take_letter(letters).reason == Reason.NO_PROCESS
    assert not question.done()
    assert question.cancel()


def test_an_answer_whose_path_is_escaped_is_one(context: Context, listener: socket.socket) -> None:
    question = context.ask(pid_at(listener, "foreign"), "get")
    accepted, _ = listener.accept()
    have_no_notices(listener)
    with accepted, socket.create_connection((context.ip, context.port), TIMEOUT) as sock:
        head = read_head(accepted).decode()
        id_ = head.partition("Libprocess-From: ")[2].partition("@")[0]
        escaped = id_.replace("(", "%28").replace(")", "%29")
        path = f"/{escaped}/any".encode()
        sock.sendall(b"POST %b HTTP/1.1\r\nLibprocess-From: x@1.2.3.4:5\r\n\r\n" % path)
        assert read_answer(sock) == (202, b"")
        assert question.result(TIMEOUT) == b""


def test_names_of_control_characters_and_other_bytes_reach_nobody(
    context: Context, connect: Connect
) -> None:
    echo = spawned(context, Echo())
    letters = dead_letters(context)
    for name in (b"ech%00o", b"ech\xffo", b"ech\xc2\x85o", b"echo%0d%0a", b"\xe2\x80\xaeecho"):
        for sender in (b"Libprocess-From: __req_res__(1)@%b:9\r\n" % context.ip.encode(), b""):
            sock = connect(context)
            sock.sendall(b"POST /receiver/%b HTTP/1.1\r\nHost: x\r\n%b\r\n" % (name, sender))
            assert read_answer(sock)[0] == (202 if sender else 404)
            if sender:
                assert take_letter(letters).reason == Reason.NO_HANDLER
    for name in (b"ec\x01ho", b"ec\rho", b"ec\x7fho"):
        sock = connect(context)
        sock.sendall(b"POST /receiver/%b HTTP/1.1\r\nHost: x\r\n\r\n" % name)
        assert read_answer(sock)[0] == 400
    settle(echo)
    assert echo.received.is_empty


def test_strangers_have_a_bounded_number_of_addresses_dialled(
    make_context: MakeContext, monkeypatch: pytest.MonkeyPatch, deaf_ports: Callable[[], int]
) -> None:
    """Who asks in the name of others has their addresses dialled, where nobody may answer."""
    monkeypatch.setattr(strangers, "MOST_DIALLED", 2)
    monkeypatch.setattr(strangers, "_PAUSE", 0.0)
    context = make_context(settings=Settings(connect_timeout=TIMEOUT))
    echo = spawned(context, Echo())
    letters = dead_letters(context)
    senders = [PID("127.0.0.1", deaf_ports(), "__req_res__(1)") for _ in range(3)]
    with socket.create_connection((context.ip, context.port), TIMEOUT) as sock:

        def ask_from(sender: PID) -> None:
            sock.sendall(frame(echo.pid, "echo", b"x", sender=sender))
            assert read_answer(sock)[0] == 202
            settle(echo)

        for sender in senders:
            ask_from(sender)
        letter = take_letter(letters)
        assert (letter.reason, letter.to) == (Reason.OVERFLOW, senders[2])
        for _ in range(3):
            ask_from(senders[0])  # which is dialled already
        assert letters.is_empty
        # There is room as soon as one is connected or lost.
        context.disconnect(senders[0])
        assert {letter.reason for letter in letters.take_many(4)} == {Reason.DISCONNECTED}
        ask_from(senders[2])
        assert letters.is_empty


def test_strangers_have_a_bounded_number_of_bytes_wait(
    make_context: MakeContext, monkeypatch: pytest.MonkeyPatch, deaf_port: int
) -> None:
    context = make_context(settings=Settings(max_unread_bytes_in_all=10_000))
    echo = spawned(context, Echo())
    letters = dead_letters(context)
    with socket.create_connection((context.ip, context.port), TIMEOUT) as sock:
        for number in range(3):  # the first may be of any size, as of any peer
            sender = PID("127.0.0.1", deaf_port, f"__req_res__({number})")
            sock.sendall(frame(echo.pid, "echo", b"x" * 9000, sender=sender))
            assert read_answer(sock)[0] == 202
        assert [take_letter(letters).reason for _ in range(2)] == [Reason.OVERFLOW] * 2
