"""Links over the wire: exits with their reasons, answers of foreign peers, reconnecting."""

from __future__ import annotations

import asyncio
import gc
import pathlib
import socket
import struct
import time
import weakref
from collections.abc import Callable

import pytest

from compactor import PID, Context, Reason, Settings
from compactor.tls.credentials import Tls
from tests.actors import (
    TIMEOUT,
    Receiver,
    dead_letters,
    peer_of,
    settle,
    spawned,
    take_letter,
    wait_until,
)
from tests.network import run_in_own_network
from tests.raw import accept_notices, dead_port, have_no_notices, pid_at
from tests.tls_fixture import Certificates

CAPTURES = pathlib.Path(__file__).parents[1] / "captures"

LoopFactory = Callable[[], asyncio.AbstractEventLoop]
TURNS = 14  # of the loop; dialling takes less
MakeContext = Callable[..., Context]
Pair = tuple[Receiver, Receiver]


def not_read_by(listener: socket.socket) -> str:
    """What is logged when the peer of a listener did not read."""
    return f"nothing is read any more by 127.0.0.1:{listener.getsockname()[1]}"


@pytest.mark.smoke
def test_a_process_that_ends_while_its_context_lives_exits_its_remote_linkers(pair: Pair) -> None:
    here, there = pair
    here.link(there.pid)
    here.link(there.pid)
    here.send(there.pid, "message")
    there.received.take()  # the link frame went ahead of it
    pid = there.pid
    there.terminate()
    assert here.exits.take() == (pid, Reason.TERMINATED)
    settle(here)
    assert here.exits.is_empty


@pytest.mark.smoke
def test_a_link_to_an_unknown_process_at_a_live_address_exits(make_context: MakeContext) -> None:
    here, there = spawned(make_context(), Receiver("here")), make_context()
    nobody = PID(there.ip, there.port, "nobody")
    for _ in range(2):  # and again: an exit uses a link up
        here.link(nobody)
        assert here.exits.take() == (nobody, Reason.NO_PROCESS)


def test_nobody_has_an_empty_id(make_context: MakeContext) -> None:
    here, there = spawned(make_context(), Receiver("here")), make_context()
    letters = dead_letters(here.context)
    for context in (here.context, there):
        nobody = PID(context.ip, context.port, "")
        here.link(nobody)
        here.send(nobody, "message")
        assert here.exits.take() == (nobody, Reason.NO_PROCESS)
        assert (take_letter(letters).reason, letters.is_empty) == (Reason.NO_PROCESS, True)


def test_an_exit_is_found_among_many_links_without_a_look_at_all(
    make_context: MakeContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    here, there = spawned(make_context(), Receiver("here")), make_context()
    pids = [there.spawn(Receiver(f"there({number})")) for number in range(500)]
    for pid in pids:
        here.link(pid)
    wait_until(lambda: len(there._runtime.observers.watched) == 500)
    comparisons = []
    less = PID.__lt__
    monkeypatch.setattr(PID, "__lt__", lambda a, b: comparisons.append(1) or less(a, b))
    for pid in pids:
        there.terminate(pid)
    assert {here.exits.take() for _ in pids} == {(pid, Reason.TERMINATED) for pid in pids}
    assert len(comparisons) < 5000  # all 500 were sorted for each


@pytest.mark.smoke
def test_a_link_to_a_dead_address_exits_every_pid_once_with_refused(context: Context) -> None:
    here, other = spawned(context, Receiver("here")), spawned(context, Receiver("other"))
    port = dead_port()
    pids = {PID("127.0.0.1", port, name) for name in "abc"}
    for pid in sorted(pids):
        here.link(pid)
        other.link(pid)
    for linker in (here, other):
        assert {linker.exits.take() for _ in pids} == {(pid, Reason.REFUSED) for pid in pids}
        settle(linker)
        assert linker.exits.is_empty


@pytest.mark.parametrize(
    ("host", "port", "reason"),
    [
        ("0.0.0.0", 5050, Reason.UNREACHABLE),
        ("::", 5050, Reason.UNREACHABLE),
        ("127.0.0.1", 0, Reason.UNREACHABLE),
        ("224.0.0.1", 5050, Reason.UNREACHABLE),  # multicast: the system refuses to connect
        ("no.such.host.invalid", 5050, Reason.UNRESOLVED),
    ],
)
def test_a_link_to_what_cannot_be_dialled_exits_every_linker_with_the_reason(
    context: Context, host: str, port: int, reason: Reason
) -> None:
    here, other = spawned(context, Receiver("here")), spawned(context, Receiver("other"))
    pid = PID(host, port, "x")
    for linker in (here, other):
        linker.link(pid)
    for linker in (here, other):
        assert linker.exits.take() == (pid, reason)
        settle(linker)
        assert linker.exits.is_empty


def test_a_link_for_which_there_is_no_descriptor_exits_with_unreachable(
    context: Context, listener: socket.socket
) -> None:
    resource = pytest.importorskip("resource", reason="only POSIX bounds descriptors so")
    here = spawned(context, Receiver())
    settle(here)
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with socket.socket() as probe:
        next_descriptor = probe.fileno()
    resource.setrlimit(resource.RLIMIT_NOFILE, (next_descriptor, hard))
    try:
        here.link(pid_at(listener))
        assert here.exits.take() == (pid_at(listener), Reason.UNREACHABLE)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def test_a_link_that_takes_too_long_to_connect_exits_every_pid_once_with_timeout(
    make_context: MakeContext, deaf_port: int
) -> None:
    context = make_context(settings=Settings(connect_timeout=0.1))
    letters, here = dead_letters(context), spawned(context, Receiver())
    pids = {PID("127.0.0.1", deaf_port, name) for name in "ab"}
    for pid in pids:
        here.link(pid)
        here.send(pid, "message", b"12345")
    assert {here.exits.take() for _ in pids} == {(pid, Reason.TIMEOUT) for pid in pids}
    for _ in pids:
        letter = take_letter(letters)
        assert (letter.reason, letter.name, letter.size) == (Reason.TIMEOUT, "message", 5)
    settle(here)
    assert here.exits.is_empty


LOST_HOSTS = """
import pathlib, queue, socket, subprocess
from compactor import PID, Context, Process

exits = queue.Queue()

class Watcher(Process):
    def exited(self, pid, reason):
        exits.put((pid.ip, str(reason)))

def ip(*words):
    subprocess.run(["ip", *words], check=True)

ip("link", "set", "lo", "up")
ip("addr", "add", "198.51.100.1/32", "dev", "lo")
ip("route", "add", "unreachable", "198.51.100.2")
pathlib.Path("/proc/sys/net/ipv4/tcp_retries2").write_text("1")
watcher = Watcher("watcher")
Context(ip="127.0.0.1", port=0).spawn(watcher)

for host in ("192.0.2.1", "198.51.100.2"):
    watcher.link(PID(host, 5050, "x"))
    print(*exits.get(timeout=10))

with socket.create_server(("198.51.100.1", 0)) as listener:
    vanishing = PID("198.51.100.1", listener.getsockname()[1], "x")
    watcher.link(vanishing)
    connection, _ = listener.accept()
    ip("addr", "del", "198.51.100.1/32", "dev", "lo")
    watcher.send(vanishing, "message")
    print(*exits.get(timeout=20))
    connection.close()
"""


def test_hosts_without_a_route_are_unreachable_and_a_host_that_vanishes_times_out() -> None:
    done = run_in_own_network(LOST_HOSTS)
    assert done.stdout.splitlines() == [
        "192.0.2.1 unreachable",
        "198.51.100.2 unreachable",
        "198.51.100.1 timeout",
    ], done.stderr


def test_a_stopped_context_exits_its_remote_linkers_and_a_new_one_is_reached_again(
    make_context: MakeContext,
) -> None:
    here, there_context = spawned(make_context(), Receiver("here")), make_context()
    there = spawned(there_context, Receiver("there"))
    pid = there.pid
    here.link(pid)
    here.send(pid, "message")
    there.received.take()
    there_context.stop()
    there_context.join(TIMEOUT)
    assert here.exits.take()[0] == pid
    wait_until(lambda: not here.context._runtime.outgoing)  # the old connection's end was seen too
    again = spawned(make_context(port=pid.port), Receiver("there"))
    here.link(pid)
    here.send(pid, "message", b"again")
    assert again.received.take() == (here.pid, b"again")
    again.terminate()
    assert here.exits.take() == (pid, Reason.TERMINATED)


def test_a_link_sees_a_foreign_peer_close_and_reset(
    context: Context, listener: socket.socket
) -> None:

    here = spawned(context, Receiver())
    pid = pid_at(listener)
    for linger, reason in ((None, Reason.CLOSED), (struct.pack("ii", 1, 0), Reason.RESET)):
        here.link(pid)
        connection, _ = listener.accept()
        if linger is not None:
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
        have_no_notices(listener)
        connection.close()
        assert here.exits.take() == (pid, reason)


def test_a_broken_connection_exits_every_pid_of_every_linker_once(
    context: Context, listener: socket.socket
) -> None:
    linkers = [spawned(context, Receiver(name)) for name in ("one", "other")]
    pids = {pid_at(listener, name) for name in "abc"}
    for linker in linkers:
        for pid in pids:
            linker.link(pid)
    connection, _ = listener.accept()
    have_no_notices(listener)
    connection.close()
    for linker in linkers:
        assert {linker.exits.take()[0] for _ in pids} == pids
        settle(linker)
        assert linker.exits.is_empty


@pytest.mark.usefixtures("links_are_not_waited_for")
def test_a_peer_whose_answers_are_no_http_is_still_sent_to_and_watched(
    context: Context, listener: socket.socket
) -> None:
    here = spawned(context, Receiver())
    here.link(pid_at(listener))
    connection, _ = listener.accept()
    with connection:
        connection.settimeout(TIMEOUT)
        connection.sendall(b"\0\xff is this HTTP?\r\n\r\n" * 2)
        here.send(pid_at(listener), "message", b"content")
        seen = b""
        while b"content" not in seen:
            seen += connection.recv(4096)
        assert here.exits.is_empty
    assert here.exits.take()[0] == pid_at(listener)


def test_a_process_that_libprocess_has_not_exits_with_the_answer_to_a_message(
    context: Context, listener: socket.socket
) -> None:
    """C++ answers every message in order, and is told nothing of a link."""
    here = spawned(context, Receiver())
    live, gone = pid_at(listener, "live"), pid_at(listener, "gone")
    here.link(live)
    here.link(gone)
    connection, _ = listener.accept()
    have_no_notices(listener)
    with connection:
        connection.settimeout(TIMEOUT)
        here.send(live, "message")
        here.send(gone, "message")
        seen = b""
        while seen.count(b"\r\n\r\n") < 2:
            seen += connection.recv(4096)
        assert b"compactor" not in seen
        accepted = (CAPTURES / "mesos-1.11-reply-to-message.bin").read_bytes()
        missing = b"HTTP/1.1 404 Not Found\r\nContent-Length: 14\r\n\r\n404 Not Found."
        connection.sendall(accepted + missing)
        assert here.exits.take() == (gone, Reason.NO_PROCESS)
    assert here.exits.take()[0] == live


def test_answers_that_nothing_was_sent_for_count_as_no_message(
    context: Context, listener: socket.socket
) -> None:
    here = spawned(context, Receiver())
    pid = pid_at(listener)
    here.send(pid, "message")
    connection, _ = listener.accept()
    missing = b"HTTP/1.1 404 Not Found\r\nContent-Length: 14\r\n\r\n404 Not Found."
    with connection:
        connection.recv(4096)
        connection.sendall(missing * 100)
        (outgoing,) = context._runtime.outgoing
        wait_until(lambda: outgoing._answers == 100)
        here.send(pid, "message")
        assert connection.recv(4096)
    assert context.metrics.snapshot()["dead_letters/no such process"] == 1


def test_any_error_for_who_asks_for_notices_says_nothing_about_a_process(
    context: Context, listener: socket.socket
) -> None:
    here = spawned(context, Receiver())
    here.link(pid_at(listener))
    connection, _ = listener.accept()
    with connection:
        asked, _ = accept_notices(listener)
        with asked:
            asked.sendall(
                b"HTTP/1.1 403 Forbidden\r\nContent-Length: 19\r\n\r\n404 page not found\n"
            )
            assert asked.recv(1) == b""
        here.send(pid_at(listener), "message")
        assert connection.recv(4096).startswith(b"POST /x/message")
        assert here.exits.is_empty
    assert here.exits.take()[1] in (Reason.CLOSED, Reason.RESET)


def test_reconnect_moves_to_a_new_connection_unnoticed(
    context: Context, listener: socket.socket
) -> None:
    here = spawned(context, Receiver())
    pid = pid_at(listener)
    here.link(pid)
    first, _ = listener.accept()
    first.settimeout(TIMEOUT)
    have_no_notices(listener)
    here.link(pid, reconnect=True)
    second, _ = listener.accept()
    have_no_notices(listener)
    assert first.recv(4096) == b""  # our end of the old one
    first.close()
    here.send(pid, "message")
    second.settimeout(TIMEOUT)
    seen = b""
    while b"POST /x/message" not in seen:
        seen += second.recv(4096)
    assert here.exits.is_empty
    second.close()
    assert here.exits.take()[0] == pid


def test_reconnect_moves_on_from_a_connection_that_was_reset_a_moment_ago(
    context: Context, listener: socket.socket
) -> None:
    here = spawned(context, Receiver())
    pid = pid_at(listener)
    here.link(pid)
    first, _ = listener.accept()
    have_no_notices(listener)
    first.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))

    def reset_and_reconnect() -> None:  # the loop sees neither before both have happened
        first.close()
        here.link(pid, reconnect=True)

    context.dispatch(here.pid, reset_and_reconnect).result(TIMEOUT)
    second, _ = listener.accept()
    have_no_notices(listener)
    settle(here)
    assert here.exits.is_empty
    second.close()
    assert here.exits.take()[0] == pid


def test_reconnect_without_a_link_is_a_link(pair: Pair) -> None:
    here, there = pair
    here.link(there.pid, reconnect=True)
    here.send(there.pid, "message")
    there.received.take()
    pid = there.pid
    there.terminate()
    assert here.exits.take() == (pid, Reason.TERMINATED)


def cut_after(context: Context, seconds: float) -> None:
    """Have what is given up cut sooner: by default it is when a dial would have failed, which a
    busy machine may need all of.
    """
    wait_until(lambda: context._runtime.outgoing)
    for outgoing in context._runtime.outgoing:
        outgoing._patience = seconds


@pytest.mark.parametrize("retire", ["disconnect", "reconnect"])
def test_a_connection_that_is_given_up_ends_when_its_peer_has_read_all(
    context: Context, listener: socket.socket, retire: str
) -> None:
    here = spawned(context, Receiver())
    pid, body = pid_at(listener), bytes(20_000_000)
    here.send(pid, "message", body)
    connection, _ = listener.accept()
    with connection:
        connection.settimeout(TIMEOUT)
        seen = len(connection.recv(1000))
        cut_after(context, 1.0)
        if retire == "disconnect":
            context.disconnect(pid)
        else:
            here.link(pid, reconnect=True)
        while data := connection.recv(400_000):
            seen += len(data)
            time.sleep(0.03)  # 50 times: longer in all than may pass without a byte
        assert seen > len(body)


def test_a_connection_that_is_given_up_and_not_read_is_closed_and_says_so(
    context: Context, listener: socket.socket, caplog: pytest.LogCaptureFixture
) -> None:
    here = spawned(context, Receiver())
    pid = pid_at(listener)
    here.send(pid, "message", bytes(20_000_000))
    connection, _ = listener.accept()
    with connection:
        wait_until(lambda: peer_of(context, pid).is_connected)
        cut_after(context, 0.2)
        context.disconnect(pid)
        wait_until(lambda: not context._runtime.outgoing)
    assert not_read_by(listener) in caplog.text


def test_stop_tells_what_a_peer_has_not_read(
    make_context: MakeContext, listener: socket.socket, caplog: pytest.LogCaptureFixture
) -> None:
    context = make_context(settings=Settings(linger=0.1))
    here = spawned(context, Receiver())
    here.send(pid_at(listener), "message", bytes(20_000_000))
    connection, _ = listener.accept()
    with connection:
        assert connection.recv(1)
        context.stop()
        context.join(TIMEOUT)
    assert caplog.text.count(not_read_by(listener)) == 1


def test_a_connection_that_is_given_up_stays_while_its_peer_reads_and_answers_what_the_system_holds(
    context: Context, listener: socket.socket
) -> None:
    here, count = spawned(context, Receiver()), 1000
    pid = pid_at(listener)
    here.link(pid)
    connection, _ = listener.accept()
    with connection:
        connection.settimeout(TIMEOUT)
        have_no_notices(listener)
        for _ in range(count):
            here.send(pid, "message", bytes(1000))
        settle(here)
        cut_after(context, 1.0)
        context.disconnect(pid)
        seen = 0
        while data := connection.recv(20_000):
            messages = data.count(b"POST /x/message ")
            connection.sendall(b"HTTP/1.1 202 Accepted\r\nContent-Length: 0\r\n\r\n" * messages)
            seen += messages
            time.sleep(0.03)
        assert seen > count * 0.95  # some are cut in two


@pytest.mark.usefixtures("links_are_not_waited_for")
@pytest.mark.parametrize("secure", [False, True], ids=["plain", "tls"])
def test_a_connection_whose_peer_ends_its_side_and_does_not_read_is_closed_and_says_so(
    make_context: MakeContext,
    listener: socket.socket,
    certificates: Certificates,
    caplog: pytest.LogCaptureFixture,
    secure: bool,
) -> None:
    tls = certificates.settings() if secure else False
    context = make_context(tls=tls)
    here = spawned(context, Receiver())
    pid = pid_at(listener)
    here.link(pid)
    here.send(pid, "message", bytes(20_000_000))
    connection, _ = listener.accept()
    with connection:
        connection.settimeout(TIMEOUT)
        if tls:
            ssl_context = Tls(tls).accepting
            connection = ssl_context.wrap_socket(connection, server_side=True)
        assert connection.recv(4096)
        wait_until(lambda: peer_of(context, pid).send_queue.is_full)
        cut_after(context, 0.2)
        socket.socket.shutdown(connection, socket.SHUT_WR)
        assert here.exits.take() == (pid, Reason.CLOSED)
        wait_until(lambda: not context._runtime.outgoing)
        assert not_read_by(listener) in caplog.text
        connection.close()


def test_a_connection_that_was_given_up_and_has_ended_is_not_kept(pair: Pair) -> None:
    here, there = pair
    here.link(there.pid)
    here.send(there.pid, "message")
    there.received.take()
    connection = weakref.ref(*here.context._runtime.outgoing)
    here.context.disconnect(there.pid)

    def is_gone() -> bool:
        gc.collect()
        return connection() is None

    wait_until(is_gone)


def test_reconnect_that_fails_exits_every_linker_once(
    context: Context, listener: socket.socket
) -> None:
    one, other = spawned(context, Receiver("one")), spawned(context, Receiver("other"))
    pid = pid_at(listener)
    one.link(pid)
    other.link(pid)
    connection, _ = listener.accept()
    with connection:
        have_no_notices(listener)
        listener.close()
        one.link(pid, reconnect=True)
        for linker in (one, other):
            assert linker.exits.take() == (pid, Reason.REFUSED)
            settle(linker)
            assert linker.exits.is_empty


def test_disconnect_exits_the_linkers_and_the_next_send_reconnects(
    make_context: MakeContext,
) -> None:
    context = make_context()
    here, there = spawned(context, Receiver("here")), spawned(make_context(), Receiver("there"))
    here.link(there.pid)
    here.send(there.pid, "message")
    there.received.take()
    context.disconnect(there.pid)
    assert here.exits.take() == (there.pid, Reason.DISCONNECTED)
    here.send(there.pid, "message", b"again")
    assert there.received.take()[1] == b"again"


@pytest.mark.usefixtures("links_are_not_waited_for")
def test_disconnect_while_connecting_leaves_one_connection(
    new_loop: LoopFactory, listener: socket.socket
) -> None:
    async def disconnect_after(turns: int) -> None:
        here = Receiver("here")

        def act() -> None:
            here.context.disconnect(to)
            here.link(to)

        async with Context(ip="127.0.0.1") as context:
            context.spawn(here)
            context.link(here.pid, to)
            for _ in range(turns):
                await asyncio.sleep(0)
            await context.dispatch(here.pid, act)
            peer = context._runtime.peers[to.address]
            while not peer.is_connected or peer.send_queue.parked:
                await asyncio.sleep(0)
            for _ in range(TURNS):  # a second one would come by then
                await asyncio.sleep(0)
            heard = [each for each in context._runtime.outgoing if each._peer is peer]
            assert heard == [peer._connection]
            for each in context._runtime.outgoing.keys() - set(
                heard
            ):  # cut, and not ended by its peer
                each.abort()
            peer.abort(Reason.DISCONNECTED)
            stopped = time.monotonic()
        assert time.monotonic() - stopped < context.settings.linger / 2
        assert not context._runtime.outgoing

    to = pid_at(listener)
    loop = new_loop()
    for turns in range(TURNS):
        loop.run_until_complete(disconnect_after(turns))
    loop.close()
