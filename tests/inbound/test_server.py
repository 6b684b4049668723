"""The receiving side on real sockets: answers, order, malformed peers, flow control."""

from __future__ import annotations

import asyncio
import concurrent.futures
import contextlib
import itertools
import os
import select
import socket
import ssl
import struct
import threading
import time
from collections.abc import Callable
from typing import Any

import pytest

from compactor import PID, Context, Process, Settings, install, route
from compactor.actor.future import Future
from compactor.actor.run_queue import TURN_SECONDS
from compactor.system import clock
from tests.actors import (
    TIMEOUT,
    Events,
    Receiver,
    dead_letters,
    settle,
    spawned,
    take_letter,
    wait_until,
)
from tests.raw import SENDER, frame, read_answer, read_until_end
from tests.tls_fixture import Certificates

Connect = Callable[[Context], socket.socket]


@pytest.mark.smoke
def test_an_accepted_message_is_answered_202_with_date_and_no_body(
    context: Context, connect: Connect
) -> None:
    receiver = spawned(context, Receiver())
    sock = connect(context)
    sock.sendall(frame(receiver.pid, body=b"hello"))
    answer = sock.recv(4096)
    assert answer.startswith(b"HTTP/1.1 202 Accepted\r\nDate: ")
    assert answer.endswith(b" GMT\r\nContent-Length: 0\r\n\r\n")
    assert receiver.received.take() == (SENDER, b"hello")


class Failing(Receiver):
    @install("fail")
    def fail(self, from_pid: PID, body: bytes) -> None:
        raise RuntimeError("this handler fails on purpose")


@pytest.mark.parametrize("name", ["fail", "unknown"])
def test_a_message_that_is_not_handled_is_answered_202_all_the_same(
    context: Context, connect: Connect, name: str
) -> None:
    receiver = spawned(context, Failing())
    sock = connect(context)
    sock.sendall(frame(receiver.pid, name) + frame(receiver.pid, body=b"after"))
    assert [read_answer(sock) for _ in range(2)] == [(202, b"")] * 2
    assert receiver.received.take() == (SENDER, b"after")


def test_a_message_for_nobody_is_answered_404_and_becomes_a_dead_letter(
    context: Context, connect: Connect
) -> None:
    letters = dead_letters(context)
    sock = connect(context)
    sock.sendall(frame(PID("127.0.0.1", 1, "nobody")))
    assert read_answer(sock) == (404, b"404 Not Found.")
    assert take_letter(letters).reason == "no such process"


def test_peers_that_call_themselves_libprocess_get_no_answer(
    context: Context, connect: Connect
) -> None:
    receiver = spawned(context, Receiver())
    sock = connect(context)
    sock.sendall(frame(receiver.pid, agent=True) + frame(PID("127.0.0.1", 1, "x"), agent=True))
    sock.sendall(b"GET /nothing HTTP/1.1\r\nHost: x\r\n\r\n")
    assert read_answer(sock) == (404, b"404 Not Found.")  # the first answer of all
    receiver.received.take()


def test_an_escaped_id_reaches_its_process_and_a_bad_escape_is_answered_400(
    context: Context, connect: Connect
) -> None:
    receiver = Receiver("slave(1)")
    context.spawn(receiver)
    sock = connect(context)
    data = frame(receiver.pid)
    sock.sendall(data.replace(b"slave(1)", b"slave%281%29") + data.replace(b"slave(1)", b"sl%zz"))
    assert read_answer(sock)[0] == 202
    assert read_answer(sock)[0] == 400
    sock.sendall(data)
    assert read_answer(sock)[0] == 202  # the connection lives on
    assert context.metrics.malformed == 1


def test_what_peers_send_in_vain_is_logged_at_a_bounded_rate(
    context: Context, connect: Connect, caplog: pytest.LogCaptureFixture
) -> None:
    receiver = spawned(context, Receiver())
    for _ in range(5):
        sock = connect(context)
        bad = frame(receiver.pid, agent=True).replace(b"receiver", b"%zz")
        sock.sendall(bad * 100 + b"\0 garbage")
        assert read_until_end(sock).startswith(b"HTTP/1.1 400")
    assert context.metrics.malformed == 505
    lines = [r for r in caplog.records if "connection from 127.0.0.1" in r.getMessage()]
    assert 1 <= len(lines) < 50  # one a second


@pytest.mark.parametrize(
    ("data", "status"),
    [
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", b"400"),
        (b"\x00\xff garbage", b"400"),
        (b"GET / HTTP/1.1\r\nX: " + b"y" * 90_000, b"431"),
        (b"POST /a/b HTTP/1.1\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n", b"400"),
        (b"POST /a/b HTTP/1.1\r\nHost: x\r\nContent-Length: 10000000000\r\n\r\n", b"413"),
        (b"GET / HTTP/2.0\r\nHost: x\r\n\r\n", b"505"),
        (b"GET / HTTP/1.1\r\n\r\n", b"400"),
    ],
    ids=["tls", "garbage", "headers", "both-lengths", "10-GB", "version", "no-host"],
)
@pytest.mark.smoke
def test_what_is_no_request_is_answered_counted_and_cut_off(
    context: Context, connect: Connect, data: bytes, status: bytes
) -> None:
    sock = connect(context)
    sock.sendall(data)
    assert read_until_end(sock).startswith(b"HTTP/1.1 " + status)
    assert context.metrics.malformed == 1
    receiver = spawned(context, Receiver())
    other = connect(context)
    other.sendall(frame(receiver.pid))
    assert read_answer(other)[0] == 202


def test_a_truncated_body_is_not_delivered_and_is_counted(
    context: Context, connect: Connect
) -> None:
    receiver = spawned(context, Receiver())
    sock = connect(context)
    sock.sendall(frame(receiver.pid, body=b"whole") + frame(receiver.pid, body=b"half")[:-2])
    sock.shutdown(socket.SHUT_WR)
    assert read_until_end(sock).count(b"HTTP/1.1 ") == 2  # 202 and 400
    assert receiver.received.take()[1] == b"whole"
    settle(receiver)
    assert receiver.received.is_empty
    assert context.metrics.malformed == 1


def test_a_peer_that_sends_byte_by_byte_is_understood(context: Context, connect: Connect) -> None:
    receiver = spawned(context, Receiver())
    sock = connect(context)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    for byte in frame(receiver.pid, body=b"slow"):
        sock.sendall(bytes([byte]))
    assert receiver.received.take() == (SENDER, b"slow")


@pytest.mark.parametrize("agent", [True, False], ids=["libprocess", "answered"])
@pytest.mark.parametrize("end", ["fin", "rst"])
def test_whole_messages_are_delivered_even_when_the_peer_is_gone(
    context: Context, connect: Connect, end: str, agent: bool
) -> None:
    """Unlinked C++ sockets close at once, and a reset follows an answer that they do not read.

    All of it fits into the receive window: what had not left yet, a reset would take back.
    """
    receiver = spawned(context, Receiver())
    sock = connect(context)
    sock.sendall(b"".join(frame(receiver.pid, body=b"%d" % n, agent=agent) for n in range(200)))
    if end == "rst":
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    sock.close()
    bodies = [receiver.received.take()[1] for _ in range(200)]
    assert bodies == [b"%d" % n for n in range(200)]


def test_a_sender_that_does_not_parse_is_nobody(context: Context, connect: Connect) -> None:
    receiver = spawned(context, Receiver())
    sock = connect(context)
    sock.sendall(frame(receiver.pid, body=b"x").replace(str(SENDER).encode(), b"who@knows"))
    assert read_answer(sock) == (202, b"")
    from_pid, body = receiver.received.take()
    assert (str(from_pid), body) == ("@0.0.0.0:0", b"x")


def test_messages_behind_a_request_to_close_are_delivered_and_not_answered(
    context: Context, connect: Connect
) -> None:
    receiver = spawned(context, Receiver())
    sock = connect(context)
    sock.sendall(
        b"GET /nothing HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n" + frame(receiver.pid)
    )
    assert read_until_end(sock).count(b"HTTP/1.1 ") == 1
    assert receiver.received.take() == (SENDER, b"")


def test_a_connection_is_closed_behind_its_last_answer_when_the_time_of_a_turn_is_over(
    make_context: Callable[..., Context], connect: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What came behind the last request waits for the next turn, and has no answer then."""
    every_look = itertools.count()
    monkeypatch.setattr(clock, "now", lambda: next(every_look) * TURN_SECONDS)
    context = make_context()
    receiver = spawned(context, Receiver())
    sock = connect(context)
    sock.sendall(
        b"GET /nothing HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n" + frame(receiver.pid)
    )
    assert read_until_end(sock).count(b"HTTP/1.1 ") == 1
    assert receiver.received.take() == (SENDER, b"")


def test_a_silent_connection_is_kept_beyond_all_timeouts(
    make_context: Callable[..., Context], connect: Connect
) -> None:
    context = make_context(settings=Settings(linger=0.02, connect_timeout=0.02))
    receiver = spawned(context, Receiver())
    sock = connect(context)
    waited = threading.Event()
    context.delay(0.3, receiver.pid, waited.set)
    assert waited.wait(TIMEOUT)
    sock.sendall(frame(receiver.pid))
    assert read_answer(sock) == (202, b"")


def test_a_peer_that_is_cut_off_and_stays_is_closed_all_the_same(
    make_context: Callable[..., Context], connect: Connect
) -> None:
    context = make_context(settings=Settings(linger=0.05))
    connect(context).sendall(b"\0 garbage")
    wait_until(lambda: context.metrics.malformed == 1)
    wait_until(lambda: not context._runtime.server.connections)


class Large(Process):
    """Answers more than sockets take at a time."""

    SIZE = 16 << 20

    @route("/page")
    def page(self, request: Any) -> bytes:
        return bytes(self.SIZE)


@pytest.mark.parametrize("secure", [False, True], ids=["plain", "tls"])
def test_a_last_answer_is_read_whole_however_long_that_takes(
    make_context: Callable[..., Context], certificates: Certificates, secure: bool
) -> None:
    context = make_context(
        tls=certificates.settings() if secure else False, settings=Settings(linger=0.05)
    )
    large = spawned(context, Large("large"))
    with contextlib.ExitStack() as opened:
        sock = opened.enter_context(socket.create_connection((context.ip, context.port), TIMEOUT))
        if secure:
            tls = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
            tls.load_verify_locations(certificates.path("ca"))
            sock = opened.enter_context(tls.wrap_socket(sock, server_hostname="localhost"))
        sock.sendall(b"GET /large/page HTTP/1.0\r\n\r\n")
        sock.recv(1)
        is_over = Events()
        context.delay(0.2, large.pid, is_over.put, None)  # much longer than it lingers
        is_over.take()
        received = 1 + len(read_until_end(sock))
        assert received > Large.SIZE


def test_a_last_answer_that_is_not_read_ends_with_its_time(
    make_context: Callable[..., Context], connect: Connect
) -> None:
    context = make_context(settings=Settings(linger=0.05, request_timeout=0.2))
    context.spawn(Large("large"))
    connect(context).sendall(b"GET /large/page HTTP/1.0\r\n\r\n")
    wait_until(lambda: context._runtime.server.connections)
    wait_until(lambda: not context._runtime.server.connections)


def test_http_1_0_without_keep_alive_is_answered_and_closed(
    context: Context, connect: Connect
) -> None:
    sock = connect(context)
    sock.sendall(b"GET /nothing HTTP/1.0\r\n\r\n")
    assert read_until_end(sock).endswith(b"\r\n\r\n404 Not Found.")


class Busy(Process):
    """Handles nothing until it is let go."""

    def __init__(self) -> None:
        super().__init__("busy")
        self.go = Future[None]()
        self.handled = 0
        self.expected = -1
        self.all_handled = threading.Event()

    def expect(self, count: int) -> None:
        self.expected = count
        self._check()

    def _check(self) -> None:
        if self.handled == self.expected:
            self.all_handled.set()

    @Process.install("message")
    async def message(self, from_pid: PID, body: bytes) -> None:
        if not self.go.done():
            await self.go
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
    other = socket.create_connection((context.ip, context.port), timeout=TIMEOUT)
    while sent < 100_000_000 // size:
        rest = rest or data
        try:
            rest = rest[sock.send(rest) :]
            sent += not rest
        except BlockingIOError:
            # The socket is full.  Is it for good?  Requests elsewhere are served meanwhile.
            for _ in range(20):
                other.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
                assert read_answer(other)[0] == 404
            try:
                rest = rest[sock.send(rest) :]
                sent += not rest
            except BlockingIOError:
                break
    else:
        pytest.fail("the flood was swallowed whole")
    queued = len(context._runtime.registry.live["busy"].queue)
    assert queued <= 1000 + 5000
    busy.go.set_result(None)
    sock.setblocking(True)
    sock.sendall(rest)
    sent += bool(rest)
    sock.close()
    other.close()
    context.dispatch(busy.pid, busy.expect, sent)
    assert busy.all_handled.wait(60)
    assert busy.handled == sent


class Slow(Process):
    """Takes a millisecond for each message; tells how many it had when others had their turn."""

    def __init__(self) -> None:
        super().__init__("slow")
        self.handled = 0
        self.turn = Future[int]()

    @install("message")
    def message(self, from_pid: PID, body: bytes) -> None:
        if not self.handled:
            asyncio.get_running_loop().call_soon(lambda: self.turn.set_result(self.handled))
        time.sleep(0.001)
        self.handled += 1

    def send_many(self, to: PID) -> None:
        for _ in range(60):
            self.send(to, "message")


@pytest.mark.parametrize("way", ["socket", "mailbox"])
def test_slow_handlers_let_others_have_their_turn(
    context: Context, connect: Connect, way: str
) -> None:
    slow = spawned(context, Slow())
    if way == "socket":
        connect(context).sendall(frame(slow.pid) * 60)
    else:
        context.dispatch(slow.pid, slow.send_many, slow.pid)
    assert slow.turn.result(TIMEOUT) <= 16  # 4, if sleep() kept its word
    wait_until(lambda: slow.handled == 60)


def test_answers_that_nobody_reads_stop_the_reading(context: Context, connect: Connect) -> None:
    receiver = spawned(context, Receiver())
    sock = connect(context)
    sock.setblocking(False)
    flood = rest = frame(receiver.pid) * 1000
    deadline = time.monotonic() + 4 * TIMEOUT
    while not [c for c in context._runtime.server.connections if c._gate.is_held]:
        assert time.monotonic() < deadline
        if select.select([], [sock], [], 0.1)[1]:
            rest = rest[sock.send(rest) :] or flood


class Blocked(Receiver):
    """Handles nothing until it is let go."""

    def __init__(self) -> None:
        super().__init__("blocked")
        self.gate = asyncio.Event()

    @install("block")
    async def block(self, from_pid: PID, body: bytes) -> None:
        await self.gate.wait()

    def let_go(self) -> None:
        self.context._call(self.gate.set)


@pytest.mark.parametrize("part", ["sender", "name"])
def test_long_names_and_senders_count_towards_the_bytes_of_a_mailbox(
    make_context: Callable[..., Context], connect: Connect, part: str
) -> None:
    context = make_context(settings=Settings(mailbox_high_water_bytes=500_000))
    blocked = spawned(context, Blocked())
    letters = dead_letters(context)
    sock = connect(context)
    sock.sendall(frame(blocked.pid, "block", agent=True))
    long = "x" * 50_000
    name = long if part == "name" else "message"
    data = frame(blocked.pid, name, agent=True)
    if part == "sender":
        data = data.replace(b"/sender@", f"/{long}@".encode())
    with concurrent.futures.ThreadPoolExecutor() as pool:
        sent = pool.submit(sock.sendall, data * 100)
        connections = context._runtime.server.connections
        wait_until(lambda: any(connection._gate.is_held for connection in connections))
        assert len(context._runtime.registry.live["blocked"].queue) < 20
        blocked.let_go()
        sent.result(TIMEOUT)
    (letters if part == "name" else blocked.received).take_many(100)
    settle(blocked)
    assert context._runtime.registry.live["blocked"].large_bytes == 0


def test_descriptors_are_given_back(context: Context) -> None:
    def count() -> int:
        return len(os.listdir("/proc/self/fd")) if os.path.exists("/proc/self/fd") else 0

    receiver = spawned(context, Receiver())
    before = count()
    for n in range(50):
        sock = socket.create_connection((context.ip, context.port), timeout=TIMEOUT)
        sock.sendall(frame(receiver.pid) if n % 2 else b"\0garbage")
        sock.shutdown(socket.SHUT_WR)
        read_until_end(sock)
        sock.close()
    settle(receiver)
    assert count() <= before + 2
