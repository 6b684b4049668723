"""TLS and plain peers on one port, and plain connections to peers that have no TLS."""

from __future__ import annotations

import socket
from collections.abc import Callable

import pytest

from compactor import Context, Reason
from compactor.tls.acceptor import sniff
from tests.actors import Receiver, settle, spawned, wait_until
from tests.raw import SENDER, frame, pid_at, read_answer, read_until_end
from tests.tls_fixture import Certificates

MakeContext = Callable[..., Context]
Connect = Callable[[Context], socket.socket]


@pytest.fixture
def both(make_context: MakeContext, certificates: Certificates) -> Context:
    """A context that serves TLS and plain peers."""
    return make_context(tls=certificates.settings(support_downgrade=True))


@pytest.fixture
def hasty(make_context: MakeContext, certificates: Certificates) -> Context:
    """One that soon cuts off who has begun to speak and does not go on."""
    return make_context(tls=certificates.settings(support_downgrade=True, handshake_timeout=0.3))


@pytest.mark.parametrize(
    ("data", "is_tls"),
    [
        (b"", None),
        (b"\x16", None),
        (b"\x16\x03\x01\x00\x05", None),
        (b"\x16\x03\x01\x00\x05\x01", True),
        (b"\x16\x03\x01\x00\x05\x02", False),
        (b"\x16\x02", False),
        (b"\x80\x2e", None),
        (b"\x80\x2e\x01", True),
        (b"\x80\x2e\x02", False),
        (b"P", False),
        (b"POST / HTTP/1.1\r\n", False),
    ],
)
def test_first_bytes_tell_tls_as_libprocess_does(data: bytes, is_tls: bool | None) -> None:
    assert sniff(data) is is_tls


@pytest.mark.parametrize("dials_with_tls", [True, False])
def test_both_kinds_of_peers_are_served_on_one_port(
    make_context: MakeContext, certificates: Certificates, both: Context, dials_with_tls: bool
) -> None:
    here = spawned(
        make_context(tls=certificates.settings() if dials_with_tls else None), Receiver("here")
    )
    there = spawned(both, Receiver("there"))
    pid = there.pid
    here.link(pid)
    bodies = [b"x", b"y" * 3_000_000, b"z"]
    for body in bodies:
        here.send(pid, "message", body)
    assert there.received.take_many(3) == [(here.pid, body) for body in bodies]
    there.terminate()
    assert here.exits.take() == (pid, Reason.TERMINATED)
    assert both.metrics.tls_failures == 0


def test_plain_request_in_pieces_is_served(both: Context, connect: Connect) -> None:
    there, sock = spawned(both, Receiver("there")), connect(both)
    data = frame(there.pid, body=b"hello")
    for byte in data[:5]:
        sock.sendall(bytes([byte]))
    sock.sendall(data[5:])
    assert there.received.take() == (SENDER, b"hello")
    assert read_answer(sock)[0] == 202


def test_silent_plain_peer_stays_connected(hasty: Context, connect: Connect) -> None:
    silent, slow = connect(hasty), connect(hasty)
    slow.sendall(b"\x16\x03\x01\x00\x05\x01")
    assert read_until_end(slow) == b""  # after the handshake's 0.3 s, in which the other stays
    there = spawned(hasty, Receiver("there"))
    silent.sendall(frame(there.pid, body=b"at last"))
    assert there.received.take() == (SENDER, b"at last")
    silent = connect(hasty)
    hasty.stop()
    assert read_until_end(silent) == b""


@pytest.mark.parametrize("first", [b"\x16", b"\x16\x03\x01\x02\x00", b"\x80\x01"])
def test_peer_that_begins_and_does_not_go_on_is_cut_off(
    hasty: Context, connect: Connect, first: bytes
) -> None:
    sock = connect(hasty)
    sock.sendall(first)
    assert read_until_end(sock) == b""
    wait_until(lambda: hasty._runtime.server.state._admission.total == 0)


def test_peer_that_ends_before_it_has_said_anything_is_forgotten(
    both: Context, connect: Connect
) -> None:
    for first in (b"", b"\x16", b"P"):
        sock = connect(both)
        sock.sendall(first)
        sock.shutdown(socket.SHUT_WR)
        read_until_end(sock)
    wait_until(lambda: not both._runtime.server.connections)
    wait_until(lambda: both._runtime.server.state._admission.total == 0)


def test_peer_without_tls_is_dialled_plainly_and_nothing_is_lost(
    make_context: MakeContext, certificates: Certificates, caplog: pytest.LogCaptureFixture
) -> None:
    there = spawned(make_context(), Receiver("there"))
    tls = certificates.settings(support_downgrade=True)
    here = spawned(make_context(tls=tls), Receiver("here"))
    pid = there.pid
    here.link(pid)
    for number in range(50):
        here.send(pid, "message", b"%d" % number)
    assert [int(body) for _, body in there.received.take_many(50)] == list(range(50))
    settle(here)
    assert here.exits.is_empty
    assert f"no TLS with 127.0.0.1:{pid.port}, so it is dialled plainly" in caplog.text
    there.terminate()
    assert here.exits.take() == (pid, Reason.TERMINATED)


def test_peer_that_closes_on_tls_is_dialled_plainly(
    make_context: MakeContext, certificates: Certificates, listener: socket.socket
) -> None:
    tls = certificates.settings(support_downgrade=True)
    here = spawned(make_context(tls=tls), Receiver("here"))
    here.send(pid_at(listener), "message", b"hello")
    first, _ = listener.accept()
    with first:
        assert first.recv(1) == b"\x16"
    second, _ = listener.accept()
    with second:
        assert second.recv(5) == b"POST "


def test_verification_beside_downgrade_is_warned_about(
    make_context: MakeContext, certificates: Certificates, caplog: pytest.LogCaptureFixture
) -> None:
    make_context(tls=certificates.verifying(support_downgrade=True))
    assert "support_downgrade lets peers do without TLS" in caplog.text
