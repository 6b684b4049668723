"""What waits in all mailboxes of one context: bounded, without loss, and fair to who is quick."""

from __future__ import annotations

import asyncio
import concurrent.futures
import socket
from collections.abc import Callable

import pytest

from compactor import PID, Context, Request, Settings, install, route
from tests.actors import Receiver, end, settle, spawned, wait_until
from tests.raw import frame, read_answer

pytestmark = pytest.mark.each_combination

Connect = Callable[[Context], socket.socket]

BODY = bytes(100_000)
BOUND = 1_000_000
READ = 256 * 1024


class Slow(Receiver):
    """Begins to serve once it may."""

    def initialize(self) -> None:
        self.gate = asyncio.Event()

    @install("block")
    async def block(self, from_pid: PID, body: bytes) -> None:
        await self.gate.wait()

    @route("/size")
    def size(self, request: Request) -> str:
        return str(len(request.body))


@pytest.fixture
def context(make_context: Callable[..., Context]) -> Context:
    return make_context(settings=Settings(mailbox_high_water_bytes_in_all=BOUND))


def blocked(context: Context, connect: Connect, name: str) -> Slow:
    """A process that serves nothing for now."""
    slow = spawned(context, Slow(name))
    sock = connect(context)
    sock.sendall(frame(slow.pid, "block"))
    assert read_answer(sock)[0] == 202
    return slow


def let_go(*slow: Slow) -> None:
    for process in slow:
        process.context._call(process.gate.set)


def test_who_feeds_slow_processes_rests_and_others_go_on(
    context: Context, connect: Connect
) -> None:
    slow = [blocked(context, connect, f"slow{number}") for number in range(8)]
    quick = spawned(context, Receiver())
    backlog, connections = context._runtime.backlog, context._runtime.server.connections
    with concurrent.futures.ThreadPoolExecutor(10) as pool:
        feeders = [
            pool.submit(connect(context).sendall, frame(to.pid, body=BODY) * 100) for to in slow
        ]
        wait_until(lambda: sum(c._gate.is_held for c in connections) == len(slow))
        assert BOUND < backlog.total < BOUND + len(slow) * (READ + len(BODY))
        connect(context).sendall(frame(quick.pid, body=BODY) * 100)
        quick.received.take_many(100)
        let_go(*slow)
        for feeder in feeders:
            feeder.result(20)
    for to in slow:
        to.received.take_many(100)
        settle(to)
    assert backlog.total == 0


def test_requests_count_and_are_answered_in_the_end(context: Context, connect: Connect) -> None:
    slow = blocked(context, connect, "slow")
    request = b"PUT /slow/size HTTP/1.1\r\nHost: x\r\nContent-Length: 100000\r\n\r\n" + BODY
    socks = [connect(context) for _ in range(20)]
    for sock in socks:
        sock.sendall(request)
    backlog, connections = context._runtime.backlog, context._runtime.server.connections
    wait_until(lambda: backlog.total > len(socks) * len(BODY))
    wait_until(lambda: sum(c._gate.is_held for c in connections) >= 9)
    let_go(slow)
    assert [read_answer(sock) for sock in socks] == [(200, b"100000")] * len(socks)
    settle(slow)  # answers leave before the turn ends that gives them
    assert backlog.total == 0
    wait_until(lambda: not any(c._gate.is_held for c in connections))


def test_who_ends_gives_back_what_waited(context: Context, connect: Connect) -> None:
    slow, other = blocked(context, connect, "slow"), blocked(context, connect, "other")
    connect(context).sendall(frame(slow.pid, body=BODY) * 11)
    backlog, connections = context._runtime.backlog, context._runtime.server.connections
    wait_until(lambda: backlog.total > BOUND)
    sock = connect(context)
    sock.sendall(frame(other.pid, body=BODY) * 2 + frame(other.pid))
    wait_until(lambda: sum(c._gate.is_held for c in connections) == 2)
    end(slow)
    wait_until(lambda: backlog.total < BOUND)
    let_go(other)
    other.received.take_many(3)
    wait_until(lambda: not any(c._gate.is_held for c in connections))
    settle(other)
    assert backlog.total == 0


def test_a_lost_connection_counts_as_long_as_what_it_brought_waits(
    make_context: Callable[..., Context], connect: Connect
) -> None:
    """Or who resets one after the other could have any amount held."""
    settings = Settings(max_connections_per_ip=4, mailbox_high_water_bytes=50_000)
    context = make_context(settings=settings)
    slow = blocked(context, connect, "slow")  # takes one connection
    later = spawned(context, Slow("later"))
    again = connect(context)  # and another
    server = context._runtime.server
    request = b"PUT /later/size HTTP/1.1\r\nHost: x\r\n\r\n"
    for _ in range(2):
        context._call(later.gate.clear)
        again.sendall(frame(later.pid, "block"))
        assert read_answer(again)[0] == 202
        with connect(context) as sock:
            sock.sendall(request + frame(slow.pid, body=BODY))
            wait_until(lambda: any(c._gate.is_held for c in server.connections))
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        let_go(later)  # and so an answer is written
        wait_until(lambda: len(server.connections) == 2)
    with connect(context) as sock:
        assert sock.recv(1) == b""
    let_go(slow)
    slow.received.take_many(2)
    settle(slow)
    sock = connect(context)
    sock.sendall(frame(slow.pid))
    assert read_answer(sock)[0] == 202
