"""Messages between two contexts over the wire: order, size, frames, bounds; and kill -9."""

from __future__ import annotations

import queue
import random
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable

import pytest

from compactor import PID, Context, Process, Reason, Settings, install
from tests.actors import TIMEOUT, Receiver, dead_letters, spawned, take_letter
from tests.raw import dead_port, pid_at, read_bytes

pytestmark = pytest.mark.each_combination

MakeContext = Callable[..., Context]
Pair = tuple[Receiver, Receiver]


@pytest.mark.smoke
def test_an_unlinked_burst_arrives_whole_and_in_order(pair: Pair) -> None:
    here, there = pair
    for n in range(20_000):
        here.send(there.pid, "message", b"%d" % n)
    assert [there.received.take() for _ in range(20_000)] == [
        (here.pid, b"%d" % n) for n in range(20_000)
    ]


def test_messages_leave_while_a_process_always_has_something_to_do(
    make_context: MakeContext,
) -> None:
    class Restless(Process):
        @install("tick")
        def tick(self, from_pid: PID, body: bytes) -> None:
            time.sleep(0.0005)  # lets other threads go on
            self.send(self.pid, "tick")

    here, there = make_context(), make_context()
    restless, sender = spawned(here, Restless("restless")), spawned(here, Process("sender"))
    receiver = spawned(there, Receiver())
    sender.send(restless.pid, "tick")
    for _ in range(3):
        sender.send(receiver.pid, "message", b"x")
        assert receiver.received.take() == (sender.pid, b"x")


def test_host_names_can_be_dialled(make_context: MakeContext) -> None:
    here, there = make_context(), make_context()
    sender, receiver = Receiver("sender"), Receiver()
    here.spawn(sender)
    there.spawn(receiver)
    by_name = PID.from_string(f"receiver@localhost:{there.port}")

    sender.link(by_name)
    sender.send(by_name, "message", b"x")

    assert receiver.received.take() == (sender.pid, b"x")
    assert sender.exits.is_empty
    there.stop()
    assert sender.exits.take()[0] == by_name


@pytest.mark.smoke
def test_a_large_body_arrives(pair: Pair) -> None:
    here, there = pair
    body = bytes(range(256)) * 40_000
    here.send(there.pid, "message", body)
    assert there.received.take() == (here.pid, body)


@pytest.mark.smoke
def test_a_peer_receives_the_frame_of_libprocess_over_one_connection(
    context: Context, listener: socket.socket
) -> None:
    here = spawned(context, Receiver())
    here.send(pid_at(listener), "first", b"")
    here.send(pid_at(listener, "y"), "second", b"hi")
    connection, _ = listener.accept()
    me, port = here.pid, listener.getsockname()[1]
    expected = (
        f"POST /x/first HTTP/1.1\r\nUser-Agent: libprocess/{me}\r\nLibprocess-From: {me}\r\n"
        f"Connection: Keep-Alive\r\nHost: 127.0.0.1:{port}\r\n\r\n"
        f"POST /y/second HTTP/1.1\r\nUser-Agent: libprocess/{me}\r\nLibprocess-From: {me}\r\n"
        f"Connection: Keep-Alive\r\nHost: 127.0.0.1:{port}\r\n"
        "Transfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\n\r\n"
    ).encode()
    connection.settimeout(TIMEOUT)
    with connection:
        assert read_bytes(connection, len(expected)) == expected


@pytest.mark.smoke
def test_a_connect_that_failed_is_tried_again_by_the_next_send(make_context: MakeContext) -> None:
    here_context, port = make_context(), dead_port()
    letters, here = dead_letters(here_context), spawned(here_context, Receiver("here"))
    to = PID("127.0.0.1", port, "there")
    for _ in range(2):
        here.send(to, "message", b"lost")
        assert take_letter(letters).reason is Reason.REFUSED
    there = spawned(make_context(port=port), Receiver("there"))
    here.send(to, "message", b"found")
    assert there.received.take() == (here.pid, b"found")


def test_what_is_parked_for_a_peer_that_does_not_read_is_bounded(
    make_context: MakeContext, listener: socket.socket
) -> None:
    context = make_context(settings=Settings(max_parked_bytes=1 << 20))
    letters = dead_letters(context)
    here = spawned(context, Receiver())
    for _ in range(3000):
        here.send(pid_at(listener), "message", bytes(10_000))
    assert take_letter(letters).reason is Reason.OVERFLOW
    (peer,) = context._runtime.peers.values()
    assert peer.send_queue.size <= 1 << 20


ECHO = """
import sys
from compactor import Context, Process

class Echo(Process):
    @Process.install("ping")
    def ping(self, from_pid, body):
        self.send(from_pid, "pong", body)

context = Context(ip="127.0.0.1", port=int(sys.argv[1]))
print(context.spawn(Echo("echo")), flush=True)
context.join()
"""


class Driver(Process):
    """Sends numbered messages in windows and keeps account of what comes back.

    From each of ``pauses`` on it sends no more before the next start.
    """

    WINDOW = 2000

    def __init__(self, pauses: list[int], total: int) -> None:
        super().__init__("driver")
        self.total = total
        self.pauses = [*pauses, total]
        self.paused = threading.Event()
        self.next = 0
        self.back: list[tuple[int, int]] = []
        self.incarnation = 0
        self.exits: queue.Queue[Reason] = queue.Queue()
        self.target: PID | None = None
        self.done = threading.Event()

    def start(self, target: PID) -> None:
        self.target = target
        self.incarnation += 1
        self.link(target)
        self.burst()

    def burst(self) -> None:
        assert self.target is not None
        stop = min(self.next + self.WINDOW, self.total)
        while self.next < stop:
            self.send(self.target, "ping", b"%d %d" % (self.incarnation, self.next))
            self.next += 1
        self.last = self.next - 1
        if self.next >= self.pauses[0]:
            del self.pauses[0]
            self.last = -1
            self.paused.set()

    @Process.install("pong")
    def pong(self, from_pid: PID, body: bytes) -> None:
        incarnation, number = map(int, body.split())
        self.back.append((incarnation, number))
        if number == self.total - 1:
            self.done.set()
        elif number == self.last and incarnation == self.incarnation:
            self.burst()

    def exited(self, pid: PID, reason: Reason) -> None:
        self.exits.put(reason)


def test_100_000_messages_each_way_under_kill_9(make_context: MakeContext) -> None:
    """No duplicate, no reorder, one exit for every kill, and sends resume after the restart."""
    context = make_context()
    kills = [random.randrange(begin, begin + 25_000) for begin in (5_000, 35_000, 65_000)]
    print("killed at", kills)
    driver = Driver(kills, 100_000)
    context.spawn(driver)
    port = dead_port()

    def start() -> subprocess.Popen[str]:
        child = subprocess.Popen(
            [sys.executable, "-c", ECHO, str(port)], stdout=subprocess.PIPE, text=True
        )
        assert child.stdout is not None
        line = child.stdout.readline()
        context.dispatch(driver.pid, "start", PID.from_string(line.strip()))
        return child

    child = start()
    try:
        for _ in kills:
            assert driver.paused.wait(60)  # with its last window on the way
            driver.paused.clear()
            child.send_signal(signal.SIGKILL)
            child.wait()
            child.stdout.close()  # type: ignore[union-attr]
            assert driver.exits.get(timeout=TIMEOUT) in (Reason.RESET, Reason.CLOSED)
            child = start()
        assert driver.done.wait(60)
    finally:
        child.kill()
        child.wait()
        child.stdout.close()  # type: ignore[union-attr]
    assert driver.exits.get(timeout=TIMEOUT) in (Reason.RESET, Reason.CLOSED)
    assert driver.exits.empty()
    assert driver.back == sorted(set(driver.back))  # no duplicate, no reorder
    assert {incarnation for incarnation, _ in driver.back} == {1, 2, 3, 4}
