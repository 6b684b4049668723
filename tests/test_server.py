"""The receiving side on real sockets: answers, order, malformed peers, flow control."""

from __future__ import annotations

import asyncio
import os
import socket
import struct
import threading
from collections.abc import Callable

import pytest

from compactor import PID, Context, Process, Request, Settings
from tests.recorder import SECONDS, Recorder, read_answer, read_until_end

Connect = Callable[[Context], socket.socket]
SENDER = PID("127.0.0.1", 9, "sender")


def frame(to: PID, name: str = "ping", body: bytes = b"", agent: bool = False) -> bytes:
    """A message of a peer that reads answers, or of one that calls itself libprocess."""
    who = f"User-Agent: libprocess/{SENDER}" if agent else f"Libprocess-From: {SENDER}"
    head = f"POST /{to.id}/{name} HTTP/1.1\r\n{who}\r\nContent-Length: {len(body)}\r\n\r\n"
    return head.encode() + body


class Web(Process):
    """A slow and a fast route, and one that shares its name with a mailbox."""

    def __init__(self) -> None:
        super().__init__("web")
        self.go = threading.Event()
        self.called: list[bytes] = []

    @Process.route("/slow")
    async def slow(self, request: Request) -> str:
        while not self.go.is_set():
            await asyncio.sleep(0)
        return "slow"

    @Process.route("/both")
    def both_route(self, request: Request) -> str:
        return f"route {request.method}"

    @Process.install("both")
    def both_message(self, from_pid: PID, body: bytes) -> None:
        self.called.append(body)

    @Process.route("/fail")
    def fail(self, request: Request) -> str:
        raise RuntimeError("this route fails on purpose")


def test_an_accepted_message_is_answered_202_with_date_and_no_body(
    context: Context, connect: Connect
) -> None:
    recorder = Recorder()
    context.spawn(recorder)
    sock = connect(context)
    sock.sendall(frame(recorder.pid, body=b"hello"))
    answer = sock.recv(4096)
    assert answer.startswith(b"HTTP/1.1 202 Accepted\r\nDate: ")
    assert answer.endswith(b" GMT\r\nContent-Length: 0\r\n\r\n")
    assert recorder.next_message() == (SENDER, b"hello")


def test_a_message_for_nobody_is_answered_404_and_becomes_a_dead_letter(
    context: Context, connect: Connect
) -> None:
    letters = []
    context.on_dead_letter(letters.append)
    sock = connect(context)
    sock.sendall(frame(PID("127.0.0.1", 1, "nobody")))
    assert read_answer(sock) == (404, b"404 Not Found.")
    assert [str(letter.reason) for letter in letters] == ["no such process"]


def test_peers_that_call_themselves_libprocess_get_no_answer(
    context: Context, connect: Connect
) -> None:
    recorder = Recorder()
    context.spawn(recorder)
    sock = connect(context)
    sock.sendall(frame(recorder.pid, agent=True) + frame(PID("127.0.0.1", 1, "x"), agent=True))
    sock.sendall(b"GET /nothing HTTP/1.1\r\n\r\n")
    assert read_answer(sock) == (404, b"404 Not Found.")  # the first answer of all
    recorder.next_message()


def test_an_escaped_id_reaches_its_process_and_a_bad_escape_is_answered_400(
    context: Context, connect: Connect
) -> None:
    recorder = Recorder("slave(1)")
    context.spawn(recorder)
    sock = connect(context)
    data = frame(recorder.pid)
    sock.sendall(data.replace(b"slave(1)", b"slave%281%29") + data.replace(b"slave(1)", b"sl%zz"))
    assert read_answer(sock)[0] == 202
    assert read_answer(sock)[0] == 400
    sock.sendall(data)
    assert read_answer(sock)[0] == 202  # the connection lives on
    assert context.metrics.malformed == 1


def test_answers_keep_the_order_of_their_requests(context: Context, connect: Connect) -> None:
    web, recorder = Web(), Recorder()
    context.spawn(web)
    context.spawn(recorder)
    sock = connect(context)
    sock.sendall(
        b"GET /web/slow HTTP/1.1\r\n\r\n" + frame(recorder.pid) + b"GET /no HTTP/1.1\r\n\r\n"
    )
    recorder.next_message()  # delivered, but its answer waits behind the slow one
    web.go.set()
    assert [read_answer(sock)[0] for _ in range(3)] == [200, 202, 404]


def test_a_name_that_is_route_and_mailbox_is_told_apart_by_the_sender(
    context: Context, connect: Connect
) -> None:
    web = Web()
    context.spawn(web)
    sock = connect(context)
    sock.sendall(frame(web.pid, "both", b"message"))
    assert read_answer(sock)[0] == 202
    for method in ("POST", "GET", "PUT"):
        sock.sendall(f"{method} /web/both HTTP/1.1\r\nContent-Length: 0\r\n\r\n".encode())
        assert read_answer(sock) == (200, f"route {method}".encode())
    assert web.called == [b"message"]


def test_a_failing_handler_or_route_harms_neither_process_nor_connection(
    context: Context, connect: Connect
) -> None:
    recorder, web = Recorder(), Web()
    context.spawn(recorder)
    context.spawn(web)
    sock = connect(context)
    sock.sendall(frame(recorder.pid, "fail") + frame(recorder.pid))
    assert [read_answer(sock)[0] for _ in range(2)] == [202, 202]
    recorder.next_message()
    sock.sendall(b"GET /web/fail HTTP/1.1\r\n\r\nGET /web/both HTTP/1.1\r\n\r\n")
    assert read_answer(sock)[0] == 500
    assert read_answer(sock)[0] == 200
    assert context.metrics.handler_failures == 2


@pytest.mark.parametrize(
    ("data", "status"),
    [
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", b"400"),
        (b"\x00\xff garbage", b"400"),
        (b"GET / HTTP/1.1\r\nX: " + b"y" * 90_000, b"431"),
        (b"POST /a/b HTTP/1.1\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n", b"400"),
        (b"POST /a/b HTTP/1.1\r\nContent-Length: 10000000000\r\n\r\n", b"413"),
    ],
    ids=["tls", "garbage", "headers", "both-lengths", "10-GB"],
)
def test_what_is_no_request_is_answered_counted_and_cut_off(
    context: Context, connect: Connect, data: bytes, status: bytes
) -> None:
    sock = connect(context)
    sock.sendall(data)
    assert read_until_end(sock).startswith(b"HTTP/1.1 " + status)
    assert context.metrics.malformed == 1
    recorder = Recorder()
    context.spawn(recorder)
    other = connect(context)
    other.sendall(frame(recorder.pid))
    assert read_answer(other)[0] == 202


def test_a_truncated_body_is_not_delivered_and_is_counted(
    context: Context, connect: Connect
) -> None:
    recorder = Recorder()
    context.spawn(recorder)
    sock = connect(context)
    sock.sendall(frame(recorder.pid, body=b"whole") + frame(recorder.pid, body=b"half")[:-2])
    sock.shutdown(socket.SHUT_WR)
    assert read_until_end(sock).count(b"HTTP/1.1 ") == 2  # 202 and 400
    assert recorder.next_message()[1] == b"whole"
    recorder.settle()
    assert recorder.messages.empty()
    assert context.metrics.malformed == 1


def test_a_peer_that_sends_byte_by_byte_is_understood(context: Context, connect: Connect) -> None:
    recorder = Recorder()
    context.spawn(recorder)
    sock = connect(context)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    for byte in frame(recorder.pid, body=b"slow"):
        sock.sendall(bytes([byte]))
    assert recorder.next_message() == (SENDER, b"slow")


@pytest.mark.parametrize("agent", [True, False], ids=["libprocess", "answered"])
@pytest.mark.parametrize("end", ["fin", "rst"])
def test_whole_messages_are_delivered_even_when_the_peer_is_gone(
    context: Context, connect: Connect, end: str, agent: bool
) -> None:
    """Unlinked C++ sockets close at once, and a reset follows an answer that they do not read.

    All of it fits into the receive window: what had not left yet, a reset would take back.
    """
    recorder = Recorder()
    context.spawn(recorder)
    sock = connect(context)
    sock.sendall(b"".join(frame(recorder.pid, body=b"%d" % n, agent=agent) for n in range(200)))
    if end == "rst":
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    sock.close()
    bodies = [recorder.next_message()[1] for _ in range(200)]
    assert bodies == [b"%d" % n for n in range(200)]


def test_http_1_0_without_keep_alive_is_answered_and_closed(
    context: Context, connect: Connect
) -> None:
    context.spawn(Web())
    sock = connect(context)
    sock.sendall(b"GET /web/both HTTP/1.0\r\n\r\n")
    assert read_until_end(sock).endswith(b"\r\n\r\nroute GET")


def test_stop_closes_the_port_and_accepted_connections(
    make_context: Callable[..., Context],
) -> None:
    context = make_context()
    sock = socket.create_connection((context.ip, context.port), timeout=SECONDS)
    sock.sendall(b"GET / HTTP/1.1\r\n\r\n")
    assert read_answer(sock)[0] == 404
    context.stop()
    context.join(SECONDS)
    assert read_until_end(sock) == b""
    sock.close()
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection((context.ip, context.port), timeout=SECONDS)
    make_context(port=context.port)


class Busy(Process):
    """Handles nothing until it is let go."""

    def __init__(self) -> None:
        super().__init__("busy")
        self.go = threading.Event()
        self.handled = 0
        self.expected = -1
        self.all_handled = threading.Event()

    def expect(self, count: int) -> None:
        self.expected = count
        self._check()

    def _check(self) -> None:
        if self.handled == self.expected:
            self.all_handled.set()

    @Process.install("ping")
    async def ping(self, from_pid: PID, body: bytes) -> None:
        while not self.go.is_set():
            await asyncio.sleep(0.001)
        self.handled += 1
        self._check()


@pytest.mark.parametrize("size", [100, 100_000], ids=["many", "large"])
def test_a_flood_meets_back_pressure_and_nothing_of_it_is_lost(
    make_context: Callable[..., Context], size: int
) -> None:
    context = make_context(
        settings=Settings(mailbox_high_water=1000, mailbox_high_water_bytes=1 << 20)
    )
    busy = Busy()
    context.spawn(busy)
    sock = socket.create_connection((context.ip, context.port))
    sock.setblocking(False)
    data = frame(busy.pid, body=bytes(size), agent=True)
    sent = 0
    rest = b""
    other = socket.create_connection((context.ip, context.port), timeout=SECONDS)
    while sent < 100_000_000 // size:
        rest = rest or data
        try:
            rest = rest[sock.send(rest) :]
            sent += not rest
        except BlockingIOError:
            # The socket is full.  Is it for good?  Requests elsewhere are served meanwhile.
            for _ in range(20):
                other.sendall(b"GET / HTTP/1.1\r\n\r\n")
                assert read_answer(other)[0] == 404
            try:
                rest = rest[sock.send(rest) :]
                sent += not rest
            except BlockingIOError:
                break
    else:
        pytest.fail("the flood was swallowed whole")
    queued = len(context._runtime.live["busy"].queue)
    assert queued <= 1000 + 5000
    busy.go.set()
    sock.setblocking(True)
    sock.sendall(rest)
    sent += bool(rest)
    sock.close()
    other.close()
    context.dispatch(busy.pid, busy.expect, sent)
    assert busy.all_handled.wait(60)
    assert busy.handled == sent


def test_answers_that_nobody_reads_stop_the_reading(context: Context, connect: Connect) -> None:
    recorder = Recorder()
    context.spawn(recorder)
    sock = connect(context)
    sock.settimeout(1)
    request = frame(recorder.pid) * 1000
    with pytest.raises(TimeoutError):
        for _ in range(1000):
            sock.sendall(request)
    (connection,) = context._runtime.server.connections
    assert connection._gate.is_held


def test_descriptors_are_given_back(context: Context) -> None:
    def count() -> int:
        return len(os.listdir("/proc/self/fd")) if os.path.exists("/proc/self/fd") else 0

    recorder = Recorder()
    context.spawn(recorder)
    before = count()
    for n in range(50):
        sock = socket.create_connection((context.ip, context.port), timeout=SECONDS)
        sock.sendall(frame(recorder.pid) if n % 2 else b"\0garbage")
        sock.shutdown(socket.SHUT_WR)
        read_until_end(sock)
        sock.close()
    context.dispatch(recorder.pid, lambda: None).result(SECONDS)
    assert count() <= before + 2
