"""Requests whose answers nobody reads: they wait, in order with all else, and nothing is lost."""

from __future__ import annotations

import asyncio
import collections
import concurrent.futures
import contextlib
import http.client
import itertools
import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable

import pytest

from compactor import Context, Request, Settings, route
from compactor.inbound.unread_answers import UnreadAnswers
from tests.actors import TIMEOUT, Receiver, settle, spawned, wait_until
from tests.raw import read_answer, read_bytes, read_until_end

REQUESTS = 1000
ANSWER = "x" * 100_000
GET = b"GET /web/large HTTP/1.1\r\nHost: x\r\n\r\n"
MESSAGE = (
    b"POST /web/message HTTP/1.1\r\nLibprocess-From: x@127.0.0.1:1\r\nContent-Length: 4\r\n\r\n"
)


class Web(Receiver):
    """Counts its requests, and has each answer begin with the number."""

    requests = 0

    @route("/large")
    def large(self, request: Request) -> str:
        self.requests += 1
        return f"{self.requests:06}{ANSWER}"


@pytest.fixture
def web(make_context: Callable[..., Context]) -> Web:
    # Those that wait for their turn are answered, read or not; a slow machine has more of them.
    return spawned(make_context(settings=Settings(max_pipelined=10)), Web("web"))


@pytest.fixture
def client(web: Web, connect: Callable[[Context], socket.socket]) -> socket.socket:
    """A connection with all requests under way, a message in their middle, and some read by us."""
    client = connect(web.context)
    client.settimeout(TIMEOUT)
    half = GET * (REQUESTS // 2)
    client.sendall(half + MESSAGE + b"body" + half)
    connections = web.context._runtime.server.connections
    wait_until(lambda: any(connection._gate.is_held for connection in connections))
    settle(web)
    return client


def numbers_answered(client: socket.socket) -> list[int]:
    """The numbers of the requests that are answered, and of the message, which is 0."""
    numbers = []
    with client.makefile("rb") as stream:
        for _ in range(REQUESTS + 1):
            status = int(stream.readline().split()[1])
            headers = http.client.parse_headers(stream)
            body = stream.read(int(headers["Content-Length"]))
            numbers.append(int(body[:6]) if status == 200 else 0)
    return numbers


def test_an_answer_that_is_being_read_survives_stop(
    make_context: Callable[..., Context], connect: Callable[[Context], socket.socket]
) -> None:
    class Large(Receiver):
        @route("/page")
        def page(self, request: Request) -> bytes:
            return bytes(20_000_000)

    web = spawned(make_context(settings=Settings(linger=TIMEOUT)), Large("web"))
    client = connect(web.context)
    client.sendall(b"GET /web/page HTTP/1.1\r\nHost: x\r\n\r\n")
    seen = len(client.recv(1000))
    web.context.stop()
    while data := client.recv(1 << 20):
        seen += len(data)
    assert seen > 20_000_000
    web.context.join(TIMEOUT)
    assert not web.context.is_alive()


def test_answers_of_the_turn_in_which_a_peer_reads_no_more_count_as_unread(
    make_context: Callable[..., Context], connect: Callable[[Context], socket.socket]
) -> None:
    web = spawned(make_context(), Web("web"))
    clients = [connect(web.context) for _ in range(10)]
    for client in clients:
        client.sendall(GET * 200)
    server = web.context._runtime.server
    wait_until(lambda: len(server.connections) == 10)
    wait_until(lambda: all(connection.is_unread for connection in server.connections))
    settle(web)
    assert server.state.unread.total >= sum(each.unread_bytes for each in server.connections)


def test_a_connection_that_is_cut_has_no_others_cut_for_what_it_left(
    make_context: Callable[..., Context], connect: Callable[[Context], socket.socket]
) -> None:
    # More requests of one connection, waiting while those of others are served, would have it cut
    # for what it leaves unread itself.
    settings = Settings(
        max_unread_bytes_in_all=1_000_000, max_unread_bytes=500_000, max_pipelined=1
    )
    web = spawned(make_context(settings=settings), Web("web"))
    clients = [connect(web.context) for _ in range(20)]
    for client in clients:
        client.sendall(GET * 100)
    server, metrics = web.context._runtime.server, web.context.metrics

    def left() -> int:
        """How many stay, once those that do not have ended; each has a few answers at most."""
        stay = server.connections
        is_over = metrics.cut_connections + len(stay) == len(clients) > len(stay)
        return len(stay) if is_over and all(connection.is_unread for connection in stay) else 0

    for _ in range(2):
        settle(web)
        wait_until(lambda: web.context.dispatch(web.pid, left).result(TIMEOUT) > 1)


@pytest.mark.parametrize("ends", [False, True], ids=["stays", "sends no more"])
def test_answers_are_made_as_they_are_read(web: Web, client: socket.socket, ends: bool) -> None:
    if ends:
        client.shutdown(socket.SHUT_WR)
        settle(web)
    assert 0 < web.requests < REQUESTS // 3  # what two socket buffers hold
    assert web.received.is_empty

    half = REQUESTS // 2
    assert numbers_answered(client) == [*range(1, half + 1), 0, *range(half + 1, REQUESTS + 1)]
    assert web.received.take()[1] == b"body"
    if ends:
        assert client.recv(1) == b""


def test_what_waits_behind_them_survives_the_connection(web: Web, client: socket.socket) -> None:
    assert web.received.is_empty
    client.close()  # with answers unread: a reset

    assert web.received.take()[1] == b"body"
    settle(web)
    assert web.requests == REQUESTS


def test_what_waits_behind_them_is_handled_before_a_malformed_end(
    web: Web, client: socket.socket
) -> None:
    client.sendall(b"nonsense\r\n\r\n")
    settle(web)
    assert not web.context.metrics.malformed
    assert len(numbers_answered(client)) == REQUESTS + 1
    wait_until(lambda: web.context.metrics.malformed == 1)


# Those who read nothing are cut.

PAGE = 8_000_000  # more than Linux keeps for a socket that has not read it


class Pages(Receiver):
    """Answers with large pages, at once or when told to."""

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.asked = 0
        self.is_open = concurrent.futures.Future[None]()

    @route("/page")
    def page(self, request: Request) -> bytes:
        self.asked += 1
        return bytes(PAGE)

    @route("/later")
    async def later(self, request: Request) -> bytes:
        self.asked += 1
        await asyncio.wrap_future(self.is_open)
        return bytes(PAGE)


def unread_client(context: Context, asked: bytes) -> socket.socket:
    """A client that has asked, and has seen no more than the beginning of its answer."""
    client = socket.socket()
    client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    client.settimeout(TIMEOUT)
    client.connect((context.ip, context.port))
    client.sendall(asked)
    return client


def get(target: str) -> bytes:
    return f"GET {target} HTTP/1.1\r\nHost: x\r\n\r\n".encode()


def total(context: Context) -> int:
    """Bytes that all clients of a context have left unread, as it knows."""
    return context._runtime.server.state.unread.total


def cuts(context: Context) -> int:
    return context.metrics.snapshot()["cut_connections"]


def test_who_reads_nothing_is_cut_and_who_reads_slowly_is_not(
    make_context: Callable[..., Context], caplog: pytest.LogCaptureFixture
) -> None:
    context = make_context(settings=Settings(unread_timeout=1.5))
    spawned(context, Pages("web"))
    with (
        unread_client(context, get("/web/page")) as idle,
        unread_client(context, get("/web/page")) as slow,
    ):
        seen = 0
        while not cuts(context):
            seen += len(read_bytes(slow, 2048))
            time.sleep(0.002)
        with contextlib.suppress(ConnectionResetError):
            while len(idle.recv(1 << 16)):
                pass
        read_bytes(slow, PAGE - seen)
    assert cuts(context) == 1
    assert "it has read none of its answers for 1.5 s" in caplog.text
    wait_until(lambda: not total(context))


def test_answers_of_all_are_bounded_and_the_one_idle_for_longest_has_to_go(
    make_context: Callable[..., Context],
) -> None:
    context = make_context(settings=Settings(max_unread_bytes_in_all=2 * PAGE))
    web = spawned(context, Pages("web"))
    with contextlib.ExitStack() as opened:
        clients = []
        for _ in range(8):
            clients.append(opened.enter_context(unread_client(context, get("/web/page"))))
            assert clients[-1].recv(1)
            settle(web)
            assert total(context) <= 2 * PAGE
        cut = cuts(context)
        assert 2 <= cut <= 6  # the system takes some MB
        read_bytes(clients[-1], PAGE - 1)
    assert cuts(context) == cut
    wait_until(lambda: not total(context))


def test_one_answer_more_than_one_connection_may_leave_unread_cuts_it(
    make_context: Callable[..., Context], caplog: pytest.LogCaptureFixture
) -> None:
    context = make_context(settings=Settings(max_unread_bytes=100_000))
    web = spawned(context, Pages("web"))
    message = MESSAGE + b"body"
    with unread_client(context, get("/web/later") * 3 + message) as client:
        wait_until(lambda: web.asked)
        web.is_open.set_result(None)
        wait_until(lambda: cuts(context))
        assert len(read_until_end(client)) < PAGE
    assert web.received.take()[1] == b"body"
    assert "it has not read" in caplog.text
    assert total(context) == 0


def test_answers_that_wait_behind_one_that_is_not_there_are_bounded_as_well(
    make_context: Callable[..., Context],
) -> None:
    context = make_context(settings=Settings(max_unread_bytes=2 * PAGE))
    slow, web = spawned(context, Pages("slow")), spawned(context, Pages("web"))
    with unread_client(context, get("/slow/later") + get("/web/page") * 100):
        wait_until(lambda: cuts(context))
        settle(web)
    assert not slow.is_open.done()
    assert total(context) == 0


def test_an_answer_larger_than_all_bounds_reaches_who_reads_it(
    make_context: Callable[..., Context],
) -> None:
    context = make_context(settings=Settings(max_unread_bytes=1, max_unread_bytes_in_all=1))
    spawned(context, Pages("web"))
    for _ in range(2):
        with unread_client(context, get("/web/page")) as client:
            assert read_answer(client) == (200, bytes(PAGE))
    assert not cuts(context)


class Peer:
    """A connection, as the bounds see it."""

    def __init__(self) -> None:
        self.unread_bytes = 0
        self.in_system = 0
        self.is_unread = True
        self.reasons: list[str] = []

    @property
    def unacknowledged_bytes(self) -> int:
        return self.unread_bytes + self.in_system

    def cut(self, why: str) -> None:
        self.reasons.append(why)


def cut_idle(unread: UnreadAnswers) -> None:
    """The look at all that comes now and again, in one go."""
    collections.deque(unread.cut_idle(), maxlen=0)


def test_only_time_in_which_nothing_is_read_counts() -> None:
    now = 0.0
    unread = UnreadAnswers(1 << 30, 1 << 30, 60, lambda: now)
    idle, slow, waiting = Peer(), Peer(), Peer()
    waiting.is_unread = False  # its answers wait for one that we have not made
    for peer in (idle, slow, waiting):
        peer.unread_bytes = peer.in_system = 1_000_000
        unread.added(peer)
    for now in (15.0, 30.0, 45.0, 59.0, 60.0):
        slow.in_system -= 1
        cut_idle(unread)
        assert bool(idle.reasons) is (now == 60)
    assert not slow.reasons
    assert not waiting.reasons
    assert unread.total == slow.unread_bytes + waiting.unread_bytes
    slow.unread_bytes += 500_000  # one more answer is not read either
    unread.added(slow)
    now = 120.0
    cut_idle(unread)
    assert slow.reasons


def test_who_has_read_nothing_for_longest_goes_first_and_a_look_comes_before() -> None:
    now = 0.0
    unread = UnreadAnswers(1 << 30, 3_000_000, 60, lambda: now)
    first, _, third, fourth = peers = [Peer() for _ in range(4)]
    for peer in peers[:3]:
        peer.unread_bytes = 1_000_000
        unread.added(peer)
    now = 1.0
    first.unread_bytes -= 1
    fourth.unread_bytes = 1_000_000
    unread.added(fourth)
    assert [bool(peer.reasons) for peer in peers] == [False, True, False, False]
    third.unread_bytes = 70_000  # nobody has told, but there is room
    fourth.unread_bytes += 500_000
    unread.added(fourth)
    assert [bool(peer.reasons) for peer in peers] == [False, True, False, False]
    assert unread.total == first.unread_bytes + 70_000 + 1_500_000


def test_who_reads_an_answer_larger_than_all_bounds_is_cut_by_no_look_at_all() -> None:
    now = 0.0
    unread = UnreadAnswers(1000, 1000, 60, lambda: now)
    slow, idle = Peer(), Peer()
    for peer in (slow, idle):
        peer.unread_bytes = peer.in_system = 1_000_000
    unread.added(slow)
    while now < 30:
        now += 15
        slow.in_system -= 1
        cut_idle(unread)
    assert not slow.reasons
    unread.added(idle)
    assert slow.reasons  # it has read none for longest
    now = 46.0
    cut_idle(unread)
    assert idle.reasons


def test_those_that_are_given_more_have_all_looked_at_now_and_then() -> None:
    looks = 0

    class Looked(Peer):
        @property
        def unacknowledged_bytes(self) -> int:
            nonlocal looks
            looks += 1
            return self.unread_bytes

    unread = UnreadAnswers(1 << 30, 10_000_000, 60, lambda: 0.0)
    peers = [Looked() for _ in range(100)]
    for peer in peers:
        peer.unread_bytes = 100_000
        unread.added(peer)
    looks = 0
    for one, other in itertools.pairwise(peers * 2):
        one.unread_bytes -= 1000  # read, which nobody tells
        other.unread_bytes += 1000
        unread.added(other)
    assert looks < 5 * len(peers)  # not 200 times as many
    assert not any(peer.reasons for peer in peers)


PROGRAM = """
import resource, socket, time
from compactor import Context, Process, Settings, route

class Web(Process):
    @route("/page")
    def page(self, request):
        return bytes(16_000_000)

def resident():
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * resource.getpagesize()

settings = Settings(max_unread_bytes_in_all=64_000_000)
context = Context(ip="127.0.0.1", settings=settings)
web = context.spawn(Web("web"))
before = resident()
peak = 0
clients = []
for _ in range(60):
    clients.append(socket.create_connection((context.ip, context.port), timeout=10))
    clients[-1].sendall(b"GET /web/page HTTP/1.1\\r\\nHost: x\\r\\n\\r\\n")
    clients[-1].recv(1)
    peak = max(peak, resident())
context.stop()
context.join()
print(peak - before, resident() - before, context.metrics.cut_connections)
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="/proc tells what is resident")
def test_sixty_clients_that_read_nothing_cost_little_more_than_the_bound() -> None:
    run = [sys.executable, "-c", PROGRAM]
    # Else glibc keeps freed blocks: 480 MB of them on asyncio's loop, 140 on uvloop.
    environ = {**os.environ, "MALLOC_MMAP_THRESHOLD_": "131072"}
    done = subprocess.run(run, env=environ, capture_output=True, text=True, timeout=60, check=True)
    peak, left, cut = map(int, done.stdout.split())
    assert cut > 40
    assert peak < 1.5 * 64_000_000 + 4 * 16_000_000
    assert left < 16_000_000
