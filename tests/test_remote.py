"""Two contexts over the wire: sends, links, exits with reasons, bounds; and kill -9."""

from __future__ import annotations

import queue
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator

import pytest

from compactor import PID, Context, DeadLetter, Process, Reason, Settings
from tests.recorder import SECONDS, Recorder, read_bytes

MakeContext = Callable[..., Context]


@pytest.fixture
def listener() -> Iterator[socket.socket]:
    """A foreign peer: a socket that accepts, and is no compactor."""
    with socket.create_server(("127.0.0.1", 0)) as sock:
        sock.settimeout(SECONDS)
        yield sock


def pid_at(sock: socket.socket, id_: str = "x") -> PID:
    return PID("127.0.0.1", sock.getsockname()[1], id_)


def dead_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as sock:
        return int(sock.getsockname()[1])


def letters_of(context: Context) -> queue.Queue[DeadLetter]:
    letters: queue.Queue[DeadLetter] = queue.Queue()
    context.on_dead_letter(letters.put)
    return letters


def spawned(context: Context, name: str = "recorder") -> Recorder:
    recorder = Recorder(name)
    context.spawn(recorder)
    return recorder


def test_an_unlinked_burst_arrives_whole_and_in_order(make_context: MakeContext) -> None:
    here, there = spawned(make_context(), "here"), spawned(make_context(), "there")
    for n in range(20_000):
        here.send(there.pid, "ping", b"%d" % n)
    assert [there.next_message() for _ in range(20_000)] == [
        (here.pid, b"%d" % n) for n in range(20_000)
    ]


def test_a_large_body_arrives(make_context: MakeContext) -> None:
    here, there = spawned(make_context(), "here"), spawned(make_context(), "there")
    body = bytes(range(256)) * 40_000
    here.send(there.pid, "ping", body)
    assert there.next_message() == (here.pid, body)


def test_a_peer_receives_the_frame_of_libprocess_over_one_connection(
    context: Context, listener: socket.socket
) -> None:
    here = spawned(context)
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
    connection.settimeout(SECONDS)
    with connection:
        assert read_bytes(connection, len(expected)) == expected


def test_a_process_that_ends_while_its_context_lives_exits_its_remote_linkers(
    make_context: MakeContext,
) -> None:
    here, there = spawned(make_context(), "here"), spawned(make_context(), "there")
    here.link(there.pid)
    here.link(there.pid)
    here.send(there.pid, "ping")
    there.next_message()  # the link frame went ahead of it
    pid = there.pid
    there.terminate()
    assert here.next_exit() == (pid, Reason.TERMINATED)
    here.settle()
    assert here.exits.empty()


def test_a_link_to_an_unknown_process_at_a_live_address_exits(make_context: MakeContext) -> None:
    here, there = spawned(make_context(), "here"), make_context()
    nobody = PID(there.ip, there.port, "nobody")
    for _ in range(2):  # and again: an exit uses a link up
        here.link(nobody)
        assert here.next_exit() == (nobody, Reason.NO_PROCESS)


def test_a_link_to_a_dead_address_exits_every_pid_once_with_refused(context: Context) -> None:
    here, other = spawned(context, "here"), spawned(context, "other")
    port = dead_port()
    pids = {PID("127.0.0.1", port, name) for name in "abc"}
    for pid in sorted(pids):
        here.link(pid)
        other.link(pid)
    for linker in (here, other):
        assert {linker.next_exit() for _ in pids} == {(pid, Reason.REFUSED) for pid in pids}
        linker.settle()
        assert linker.exits.empty()


@pytest.mark.parametrize("name", ["no.such.host.invalid"])
def test_a_link_to_an_unresolvable_host_exits_with_unresolved(context: Context, name: str) -> None:
    here = spawned(context)
    pid = PID(name, 5050, "x")
    here.link(pid)
    assert here.next_exit() == (pid, Reason.UNRESOLVED)


def test_a_host_name_is_dialled(make_context: MakeContext) -> None:
    here, there = spawned(make_context(), "here"), spawned(make_context(), "there")
    here.send(PID("localhost", there.pid.port, "there"), "ping", b"by name")
    assert there.next_message() == (here.pid, b"by name")


def test_ipv6_peers_talk(make_context: MakeContext) -> None:
    if not socket.has_ipv6:
        pytest.skip("this Python has no IPv6")
    try:
        socket.create_server(("::1", 0), family=socket.AF_INET6).close()
    except OSError:
        pytest.skip("this host has no ::1")
    here, there = spawned(make_context(ip="::1"), "here"), spawned(make_context(ip="::1"), "there")
    assert str(here.pid) == f"here@[::1]:{here.pid.port}"
    here.link(there.pid)
    here.send(there.pid, "ping", b"six")
    assert there.next_message() == (PID.from_string(str(here.pid)), b"six")


def test_a_stopped_context_exits_its_remote_linkers_and_a_new_one_is_reached_again(
    make_context: MakeContext,
) -> None:
    here, there_context = spawned(make_context(), "here"), make_context()
    there = spawned(there_context, "there")
    pid = there.pid
    here.link(pid)
    here.send(pid, "ping")
    there.next_message()
    there_context.stop()
    there_context.join(SECONDS)
    assert here.next_exit()[0] == pid
    again = spawned(make_context(port=pid.port), "there")
    here.link(pid)
    here.send(pid, "ping", b"again")
    assert again.next_message() == (here.pid, b"again")
    again.terminate()
    assert here.next_exit() == (pid, Reason.TERMINATED)


def test_a_link_sees_a_foreign_peer_close_and_reset(
    context: Context, listener: socket.socket
) -> None:
    import struct

    here = spawned(context)
    pid = pid_at(listener)
    for linger, reason in ((None, Reason.CLOSED), (struct.pack("ii", 1, 0), Reason.RESET)):
        here.link(pid)
        connection, _ = listener.accept()
        if linger is not None:
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
        else:
            connection.recv(4096)
        connection.close()
        assert here.next_exit() == (pid, reason)


def test_answers_of_every_frame_and_a_404_for_a_link_are_matched(
    context: Context, listener: socket.socket
) -> None:
    """C++ answers every frame in order and without our mark."""
    here = spawned(context)
    live, gone = pid_at(listener, "live"), pid_at(listener, "gone")
    here.send(live, "ping")
    here.link(live)
    here.link(gone)
    connection, _ = listener.accept()
    with connection:
        connection.settimeout(SECONDS)
        seen = b""
        while seen.count(b"\r\n\r\n") < 3:
            seen += connection.recv(4096)
        accepted = b"HTTP/1.1 202 Accepted\r\nDate: x\r\nContent-Length: 0\r\n\r\n"
        missing = b"HTTP/1.1 404 Not Found\r\nContent-Length: 14\r\n\r\n404 Not Found."
        connection.sendall(accepted + accepted + missing)
        assert here.next_exit() == (gone, Reason.NO_PROCESS)
    assert here.next_exit()[0] == live


def test_a_404_that_is_not_libprocess_s_says_nothing_about_a_process(
    context: Context, listener: socket.socket
) -> None:
    here = spawned(context)
    here.link(pid_at(listener))
    connection, _ = listener.accept()
    with connection:
        connection.recv(4096)
        connection.sendall(
            b"HTTP/1.1 404 Not Found\r\nContent-Length: 19\r\n\r\n404 page not found\n"
        )
    assert here.next_exit()[1] is not Reason.NO_PROCESS


def test_reconnect_moves_to_a_new_connection_unnoticed(
    context: Context, listener: socket.socket
) -> None:
    here = spawned(context)
    pid = pid_at(listener)
    here.link(pid)
    first, _ = listener.accept()
    first.settimeout(SECONDS)
    while not first.recv(4096).endswith(b"\r\n\r\n"):
        pass
    here.link(pid, reconnect=True)
    second, _ = listener.accept()
    assert first.recv(4096) == b""  # our end of the old one
    first.close()
    here.send(pid, "ping")
    second.settimeout(SECONDS)
    seen = b""
    while b"POST /x/ping" not in seen:
        seen += second.recv(4096)
    assert seen.startswith(b"POST /x/compactor.link")
    assert here.exits.empty()
    second.close()
    assert here.next_exit()[0] == pid


def test_disconnect_exits_the_linkers_and_the_next_send_reconnects(
    make_context: MakeContext,
) -> None:
    context = make_context()
    here, there = spawned(context, "here"), spawned(make_context(), "there")
    here.link(there.pid)
    here.send(there.pid, "ping")
    there.next_message()
    context._connections[there.pid].close()
    assert here.next_exit() == (there.pid, Reason.DISCONNECTED)
    here.send(there.pid, "ping", b"again")
    assert there.next_message()[1] == b"again"


def test_what_cannot_be_sent_becomes_dead_letters_with_all_they_said(context: Context) -> None:
    letters = letters_of(context)
    here = spawned(context)
    pid = PID("127.0.0.1", dead_port(), "a/b")
    here.send(pid, "ping", b"12345")
    assert letters.get(timeout=SECONDS) == DeadLetter(Reason.REFUSED, pid, here.pid, "ping", 5)
    here.send(PID("0.0.0.0", 0, ""), "ping")
    assert letters.get(timeout=SECONDS).reason is Reason.UNREACHABLE


def test_what_is_parked_for_a_peer_that_does_not_read_is_bounded(
    make_context: MakeContext, listener: socket.socket
) -> None:
    context = make_context(settings=Settings(max_parked_bytes=1 << 20))
    letters = letters_of(context)
    here = spawned(context)
    for _ in range(3000):
        here.send(pid_at(listener), "ping", bytes(10_000))
    assert letters.get(timeout=SECONDS).reason is Reason.OVERFLOW
    (peer,) = context._runtime.peers.values()
    assert peer.outflow.size <= 1 << 20


def test_stop_lets_what_was_sent_leave(make_context: MakeContext) -> None:
    context = make_context()
    here, there = spawned(context, "here"), spawned(make_context(), "there")
    for n in range(5000):
        here.send(there.pid, "ping", b"%d" % n)
    context.stop()
    assert [there.next_message()[1] for _ in range(5000)] == [b"%d" % n for n in range(5000)]


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
    """Sends numbered messages in windows and keeps account of what comes back."""

    WINDOW = 2000

    def __init__(self, total: int) -> None:
        super().__init__("driver")
        self.total = total
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
    driver = Driver(100_000)
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
    kills = 0
    try:
        for at in (7_000, 31_000, 64_000):
            while driver.next < at and not driver.done.is_set():
                context.dispatch(driver.pid, lambda: None).result(SECONDS)
            child.send_signal(signal.SIGKILL)
            child.wait()
            child.stdout.close()  # type: ignore[union-attr]
            kills += 1
            assert driver.exits.get(timeout=SECONDS) in (Reason.RESET, Reason.CLOSED)
            child = start()
        assert driver.done.wait(60)
    finally:
        child.kill()
        child.wait()
        child.stdout.close()  # type: ignore[union-attr]
    assert driver.exits.get(timeout=SECONDS) in (Reason.RESET, Reason.CLOSED)
    assert driver.exits.empty()
    assert driver.back == sorted(set(driver.back))  # no duplicate, no reorder
    assert {incarnation for incarnation, _ in driver.back} == {1, 2, 3, 4}
