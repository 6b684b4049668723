"""Bodies beyond all water marks, 8 MiB and more, between a context and a plain socket."""

from __future__ import annotations

import gc
import itertools
import socket
import struct
import sys
import tracemalloc
from collections.abc import Callable

import pytest

from compactor import PID, Context, Process, Reason, Request, Settings, route
from compactor.wire.encoder import encode_message, message_prefix
from tests.actors import TIMEOUT, Receiver, settle, spawned, wait_until
from tests.raw import (
    SENDER,
    frame,
    have_no_notices,
    pid_at,
    read_answer,
    read_bytes,
    read_until_end,
)

pytestmark = pytest.mark.each_combination

fcntl = pytest.importorskip("fcntl")
termios = pytest.importorskip("termios")

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


@pytest.mark.parametrize("size", [128 * 1024, 300_000, 1_000_000])
@pytest.mark.parametrize("piece", [1, 50, 300])
def test_large_messages_arrive_however_they_come(
    context: Context, connect: Connect, size: int, piece: int
) -> None:
    receiver = spawned(context, Receiver())
    body = (LARGE[:size], LARGE[size : 2 * size])
    data = in_chunks(receiver.pid, body[0], size) + frame(receiver.pid, body=body[1])
    sock = connect(context)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    boundaries = (150, size + 150, len(data) - size, len(data))
    cuts = {cut for b in boundaries for cut in range(b - 150, b + 150, piece) if cut < len(data)}
    for start, stop in itertools.pairwise([*sorted(cuts | {0}), len(data)]):
        sock.sendall(data[start:stop])

    assert receiver.received.take_many(2) == [(SENDER, body[0]), (SENDER, body[1])]
    sock.sendall(frame(receiver.pid, body=b"small"))
    assert receiver.received.take() == (SENDER, b"small")
    assert [read_answer(sock) for _ in range(3)] == [(202, b"")] * 3


@pytest.mark.parametrize("end", ["FIN", "RST"])
@pytest.mark.parametrize("is_whole", [True, False], ids=["whole", "cut short"])
def test_a_large_message_before_the_end_of_its_connection_is_delivered_if_it_is_whole(
    context: Context, connect: Connect, end: str, is_whole: bool
) -> None:
    receiver = spawned(context, Receiver())
    data = frame(receiver.pid, body=LARGE)
    sock = connect(context)
    if end == "RST":
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))

    sock.sendall(data if is_whole else data[:-1])
    if end == "RST":  # it takes what is still to be sent with it
        wait_until(lambda: _unsent(sock) == 0)
    sock.close()

    wait_until(lambda: not context._runtime.server.connections)
    settle(receiver)
    assert receiver.received.is_empty != is_whole


def _unsent(sock: socket.socket) -> int:
    return int.from_bytes(fcntl.ioctl(sock, termios.TIOCOUTQ, bytes(4)), sys.byteorder)


def test_a_large_body_whose_peer_falls_silent_is_cut_off(
    make_context: Callable[..., Context], connect: Connect
) -> None:
    context = make_context(settings=Settings(request_timeout=0.3))
    receiver = spawned(context, Receiver())
    sock = connect(context)
    sock.sendall(frame(receiver.pid, body=LARGE)[:-1000])
    assert read_answer(sock)[0] == 408
    assert read_until_end(sock) == b""
    assert receiver.received.is_empty


@pytest.mark.parametrize("framing", ["length", "chunk", "gzip"])
def test_a_body_that_never_ends_goes_with_its_connection(
    context: Context, connect: Connect, framing: str
) -> None:
    """And not only when Python looks for what refers to itself, as connections do."""
    server = spawned(context, Receiver()).context._runtime.server
    half = {
        "length": b"Content-Length: 9000000\r\n\r\n",
        "chunk": b"Transfer-Encoding: chunked\r\n\r\n894400\r\n",
        "gzip": b"Content-Encoding: gzip\r\nContent-Length: 9000000\r\n\r\n",
    }[framing] + bytes(8_000_000)
    gc.collect()
    gc.disable()
    tracemalloc.start()
    try:
        before, _ = tracemalloc.get_traced_memory()
        for _ in range(2):
            with connect(context) as sock:
                sock.sendall(b"POST /x/y HTTP/1.1\r\nHost: x\r\n" + half)
                wait_until(lambda: server.connections)
                wait_until(lambda: tracemalloc.get_traced_memory()[0] > before + 6_000_000)
            wait_until(lambda: not server.connections)
            wait_until(lambda: tracemalloc.get_traced_memory()[0] < before + 1_000_000)
    finally:
        tracemalloc.stop()
        gc.enable()


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
    request = b"PUT /mirror/body HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n" % len(LARGE)

    sock.sendall(request + LARGE + frame(receiver.pid))

    assert read_answer(sock) == (200, LARGE)
    assert read_answer(sock) == (202, b"")
    assert receiver.received.take() == (SENDER, b"")
    assert mirror.context.metrics.handler_failures == 0


def test_large_answers_of_a_peer_are_read_and_dropped(
    context: Context, listener: socket.socket
) -> None:
    here, live, gone = spawned(context, Receiver()), pid_at(listener), pid_at(listener, "gone")
    here.link(gone)
    connection, _ = listener.accept()
    with connection:
        connection.settimeout(TIMEOUT)
        have_no_notices(listener)
        here.send(live, "message")
        here.send(gone, "message")
        settle(here)
        connection.sendall(b"HTTP/1.1 202 Accepted\r\nContent-Length: %d\r\n\r\n" % len(LARGE))
        connection.sendall(LARGE)
        connection.sendall(b"HTTP/1.1 404 Not Found\r\nContent-Length: 14\r\n\r\n404 Not Found.")

        assert here.exits.take() == (gone, Reason.NO_PROCESS)
