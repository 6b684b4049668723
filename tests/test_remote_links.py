"""Links over the wire: exits with their reasons, answers of foreign peers, reconnecting."""

from __future__ import annotations

import socket
import struct
from collections.abc import Callable

from compactor import PID, Context, Reason
from tests.actors import TIMEOUT, Receiver, settle, spawned
from tests.raw import dead_port, pid_at

MakeContext = Callable[..., Context]
Pair = tuple[Receiver, Receiver]


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


def test_a_link_to_an_unknown_process_at_a_live_address_exits(make_context: MakeContext) -> None:
    here, there = spawned(make_context(), Receiver("here")), make_context()
    nobody = PID(there.ip, there.port, "nobody")
    for _ in range(2):  # and again: an exit uses a link up
        here.link(nobody)
        assert here.exits.take() == (nobody, Reason.NO_PROCESS)


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
        else:
            connection.recv(4096)
        connection.close()
        assert here.exits.take() == (pid, reason)


def test_answers_of_every_frame_and_a_404_for_a_link_are_matched(
    context: Context, listener: socket.socket
) -> None:
    """C++ answers every frame in order and without our mark."""
    here = spawned(context, Receiver())
    live, gone = pid_at(listener, "live"), pid_at(listener, "gone")
    here.send(live, "message")
    here.link(live)
    here.link(gone)
    connection, _ = listener.accept()
    with connection:
        connection.settimeout(TIMEOUT)
        seen = b""
        while seen.count(b"\r\n\r\n") < 3:
            seen += connection.recv(4096)
        accepted = b"HTTP/1.1 202 Accepted\r\nDate: x\r\nContent-Length: 0\r\n\r\n"
        missing = b"HTTP/1.1 404 Not Found\r\nContent-Length: 14\r\n\r\n404 Not Found."
        connection.sendall(accepted + accepted + missing)
        assert here.exits.take() == (gone, Reason.NO_PROCESS)
    assert here.exits.take()[0] == live


def test_a_404_that_is_not_libprocess_s_says_nothing_about_a_process(
    context: Context, listener: socket.socket
) -> None:
    here = spawned(context, Receiver())
    here.link(pid_at(listener))
    connection, _ = listener.accept()
    with connection:
        connection.recv(4096)
        connection.sendall(
            b"HTTP/1.1 404 Not Found\r\nContent-Length: 19\r\n\r\n404 page not found\n"
        )
    assert here.exits.take()[1] is not Reason.NO_PROCESS


def test_reconnect_moves_to_a_new_connection_unnoticed(
    context: Context, listener: socket.socket
) -> None:
    here = spawned(context, Receiver())
    pid = pid_at(listener)
    here.link(pid)
    first, _ = listener.accept()
    first.settimeout(TIMEOUT)
    while not first.recv(4096).endswith(b"\r\n\r\n"):
        pass
    here.link(pid, reconnect=True)
    second, _ = listener.accept()
    assert first.recv(4096) == b""  # our end of the old one
    first.close()
    here.send(pid, "message")
    second.settimeout(TIMEOUT)
    seen = b""
    while b"POST /x/message" not in seen:
        seen += second.recv(4096)
    assert seen.startswith(b"POST /x/compactor.link")
    assert here.exits.is_empty
    second.close()
    assert here.exits.take()[0] == pid


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
