"""Bodies beyond all water marks, 8 MiB and more, between a context and a plain socket."""

from __future__ import annotations

import socket
from collections.abc import Callable

import pytest

from compactor import PID, Context, Process, Reason, Request, route
from compactor.frames import encode_message, message_prefix
from tests.actors import TIMEOUT, Receiver, spawned
from tests.raw import SENDER, frame, pid_at, read_answer, read_bytes

Connect = Callable[[Context], socket.socket]

LARGE = bytes(range(256)) * (9 * 4096)  # 9 MiB; a mailbox pauses its feeders at 8


def in_chunks(to: PID, body: bytes, size: int) -> bytes:
    """A message whose body comes in chunks of a size."""
    head = frame(to).replace(b"Content-Length: 0", b"Transfer-Encoding: chunked")
    pieces = [body[at : at + size] for at in range(0, len(body), size)]
    return head + b"".join(b"%x\r\n%b\r\n" % (len(p), p) for p in pieces) + b"0\r\n\r\n"


@pytest.mark.parametrize("framing", ["length", "one chunk", "many chunks"])
def test_large_messages_of_a_plain_socket_arrive_and_are_answered(
    context: Context, connect: Connect, framing: str
) -> None:
    receiver = spawned(context, Receiver())
    data = {
        "length": frame(receiver.pid, body=LARGE),
        "one chunk": in_chunks(receiver.pid, LARGE, len(LARGE)),
        "many chunks": in_chunks(receiver.pid, LARGE, 100_003),
    }[framing]
    sock = connect(context)

    sock.sendall(data * 3 + frame(receiver.pid, body=b"small"))

    assert [receiver.received.take() for _ in range(4)] == [
        *[(SENDER, LARGE)] * 3,
        (SENDER, b"small"),
    ]
    assert [read_answer(sock) for _ in range(4)] == [(202, b"")] * 4


def test_large_messages_reach_a_plain_socket_that_reads_late(
    context: Context, listener: socket.socket
) -> None:
    sender, to = spawned(context, Process("sender")), pid_at(listener)
    for body in (LARGE, b"small", LARGE):
        sender.send(to, "message", body)

    expected = b"".join(
        encode_message(message_prefix(sender.pid, to, "message"), body)
        for body in (LARGE, b"small", LARGE)
    )
    connection, _ = listener.accept()
    with connection:
        connection.settimeout(TIMEOUT)
        assert read_bytes(connection, len(expected)) == expected


def test_large_request_is_answered_at_large(context: Context, connect: Connect) -> None:
    class Mirror(Process):
        @route("/body")
        def body(self, request: Request) -> bytes:
            return request.body

    mirror, receiver = spawned(context, Mirror("mirror")), spawned(context, Receiver())
    sock = connect(context)
    request = b"PUT /mirror/body HTTP/1.1\r\nContent-Length: %d\r\n\r\n" % len(LARGE)

    sock.sendall(request + LARGE + frame(receiver.pid))
    assert receiver.received.take() == (SENDER, b"")  # it is served while the answer waits

    assert read_answer(sock) == (200, LARGE)
    assert read_answer(sock) == (202, b"")
    assert mirror.context.metrics.handler_failures == 0


def test_large_answers_of_a_peer_are_read_and_dropped(
    context: Context, listener: socket.socket
) -> None:
    here, live, gone = spawned(context, Receiver()), pid_at(listener), pid_at(listener, "gone")
    here.send(live, "message")
    here.link(gone)
    connection, _ = listener.accept()
    with connection:
        connection.settimeout(TIMEOUT)
        connection.sendall(b"HTTP/1.1 202 Accepted\r\nContent-Length: %d\r\n\r\n" % len(LARGE))
        connection.sendall(LARGE)
        connection.sendall(b"HTTP/1.1 404 Not Found\r\nContent-Length: 14\r\n\r\n404 Not Found.")

        assert here.exits.take() == (gone, Reason.NO_PROCESS)
