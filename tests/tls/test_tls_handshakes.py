"""Handshakes that fail, or take too long, and certificates that are read anew."""

from __future__ import annotations

import contextlib
import shutil
import socket
import ssl
import struct
import threading
from collections.abc import Callable
from typing import Any

import pytest

from compactor import Context, Reason, Settings, TlsSettings
from compactor.errors import ContextError, SettingsError
from tests.actors import TIMEOUT, Receiver, settle, spawned, wait_until
from tests.raw import SENDER, frame, pid_at, read_answer, read_until_end
from tests.tls.test_tls import Echo, MakeContext, logged, raw_tls
from tests.tls_fixture import Certificates

# Handshakes that fail


def test_plain_peer_at_a_tls_port_is_cut_off_and_logged_once(
    make_context: MakeContext,
    certificates: Certificates,
    caplog: pytest.LogCaptureFixture,
) -> None:
    there = make_context(tls=certificates.settings(handshake_timeout=3 * TIMEOUT))
    here = spawned(make_context(), Receiver("here"))
    pid = there.spawn(Receiver("there"))
    for _ in range(2):  # at once, not only when the time of a handshake is over
        here.link(pid)
        gone, reason = here.exits.take()
        assert gone == pid
        assert reason in (Reason.CLOSED, Reason.RESET)
    wait_until(lambda: there.metrics.tls_failures >= 2)  # a link has a connection of its own
    lines = logged(caplog, "connects from 127.0.0.1")
    assert sum(line.endswith("does not speak TLS, but plain HTTP") for line in lines) == 1


def test_tls_peer_at_a_plain_port_exits_its_linkers_with_tls(
    make_context: MakeContext,
    certificates: Certificates,
    caplog: pytest.LogCaptureFixture,
) -> None:
    there = make_context()
    here = spawned(make_context(tls=certificates.settings()), Receiver("here"))
    pid = there.spawn(Receiver("there"))
    here.link(pid)
    assert here.exits.take() == (pid, Reason.TLS)
    (line,) = logged(caplog, f"no TLS with 127.0.0.1:{there.port}")
    assert line.endswith("the peer does not speak TLS")
    (line,) = logged(caplog, "connection from 127.0.0.1")
    assert line.endswith("does not begin an HTTP request; it is TLS")


@pytest.mark.parametrize("first", [b"", b"\x16\x03\x01\x02\x00\x01\x00"])
def test_silence_in_the_handshake_is_bounded_where_connections_are_accepted(
    make_context: MakeContext,
    certificates: Certificates,
    caplog: pytest.LogCaptureFixture,
    connect: Callable[[Context], socket.socket],
    first: bytes,
) -> None:
    there = make_context(tls=certificates.settings(handshake_timeout=0.2))
    sock = connect(there)
    sock.sendall(first)
    assert read_until_end(sock) == b""
    assert logged(caplog, "the handshake took longer than 0.2 s")


def test_silence_in_the_handshake_is_bounded_where_connections_are_dialled(
    make_context: MakeContext,
    certificates: Certificates,
    listener: socket.socket,
    caplog: pytest.LogCaptureFixture,
) -> None:
    tls = certificates.settings(handshake_timeout=0.2)
    here = spawned(make_context(tls=tls), Receiver("here"))
    here.link(pid_at(listener))
    assert here.exits.take() == (pid_at(listener), Reason.TLS)
    assert logged(caplog, "the handshake took longer than 0.2 s")


def test_handshake_byte_by_byte_succeeds(
    make_context: MakeContext,
    certificates: Certificates,
    connect: Callable[[Context], socket.socket],
) -> None:
    for downgrade in (False, True):
        context = make_context(tls=certificates.settings(support_downgrade=downgrade))
        context.spawn(Echo("echo"))
        incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        client = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        client.load_verify_locations(certificates.path("ca"))
        tls = client.wrap_bio(incoming, outgoing, server_hostname="localhost")
        sock = connect(context)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

        def send_slowly(sock: socket.socket = sock, data: ssl.MemoryBIO = outgoing) -> None:
            while data.pending:
                sock.sendall(data.read(1))

        for _ in range(100):
            try:
                tls.do_handshake()
                break
            except ssl.SSLWantReadError:
                send_slowly()
                incoming.write(sock.recv(65536))
        tls.write(b"GET /echo/page HTTP/1.1\r\nHost: x\r\n\r\n")
        send_slowly()
        answer = b""
        while not answer:
            incoming.write(sock.recv(65536))
            with contextlib.suppress(ssl.SSLWantReadError):  # the tickets of TLS 1.3 come first
                answer = tls.read(65536)
        assert answer.endswith(b"seen")


def test_connection_that_breaks_right_behind_the_handshake_exits_its_linkers(
    make_context: MakeContext, certificates: Certificates, listener: socket.socket
) -> None:
    """A peer with TLS 1.3 is killed when it has said its part, and the loop is busy meanwhile."""
    context = make_context(tls=certificates.settings(enable_tls_v1_2=False, enable_tls_v1_3=True))
    here, pid = spawned(context, Receiver("here")), pid_at(listener)
    here.link(pid)
    rules = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    rules.load_cert_chain(certificates.path("host"), certificates.folder / "host.key")
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    tls = rules.wrap_bio(incoming, outgoing, server_side=True)
    peer, _ = listener.accept()
    with peer:
        incoming.write(peer.recv(65536))
        with pytest.raises(ssl.SSLWantReadError):
            tls.do_handshake()
        is_busy, go_on = threading.Event(), threading.Event()

        def wait() -> None:
            is_busy.set()
            go_on.wait(10)

        context.dispatch(here.pid, wait)
        assert is_busy.wait(10)
        peer.sendall(outgoing.read())
        peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    go_on.set()
    gone, reason = here.exits.take()
    assert gone == pid
    assert reason in (Reason.RESET, Reason.TLS)  # found broken behind the handshake, or in it


def test_context_stops_while_handshakes_are_under_way(
    make_context: MakeContext,
    certificates: Certificates,
    listener: socket.socket,
    connect: Callable[[Context], socket.socket],
) -> None:
    context = make_context(tls=certificates.settings(), settings=Settings(linger=0.2))
    here = spawned(context, Receiver("here"))
    sock = connect(context)
    here.send(pid_at(listener), "message")
    accepted, _ = listener.accept()
    with accepted:
        assert accepted.recv(1) == b"\x16"
        context.stop()
        context.join(10)
        assert not context.is_alive()
        assert read_until_end(sock) == b""


def test_what_is_no_tls_any_more_cuts_the_connection(
    make_context: MakeContext,
    certificates: Certificates,
    connect: Callable[[Context], socket.socket],
) -> None:
    context = make_context(tls=certificates.settings())
    receiver = spawned(context, Receiver())
    sock = raw_tls(context, certificates)
    sock.sendall(frame(receiver.pid, body=b"good", agent=True))
    assert receiver.received.take() == (SENDER, b"good")
    with socket.socket(fileno=sock.detach()) as plain:
        plain.settimeout(10)
        plain.sendall(frame(receiver.pid, body=b"bad", agent=True) * 4)
        read_until_end(plain)
    settle(receiver)
    assert receiver.received.is_empty


# Certificates anew


def test_reloaded_certificates_serve_new_connections_and_old_ones_stay(
    make_context: MakeContext,
    certificates: Certificates,
    tmp_path: Any,
) -> None:
    def use(name: str) -> None:
        for kind in ("pem", "key"):
            shutil.copy(certificates.folder / f"{name}.{kind}", tmp_path / f"own.{kind}")

    use("host")
    context = make_context(
        tls=TlsSettings(key_file=str(tmp_path / "own.key"), cert_file=str(tmp_path / "own.pem"))
    )
    context.spawn(Echo("echo"))

    def serial(sock: ssl.SSLSocket) -> object:
        return (sock.getpeercert() or {})["serialNumber"]

    with raw_tls(context, certificates) as old:
        use("renewed")
        context.reload_tls()
        with raw_tls(context, certificates) as new:
            assert serial(new) != serial(old)
            for sock in (new, old):
                sock.sendall(b"GET /echo/page HTTP/1.1\r\nHost: x\r\n\r\n")
                assert read_answer(sock) == (200, b"seen")
    (tmp_path / "own.key").write_text("no key")
    with pytest.raises(SettingsError, match=r"own\.key"):
        context.reload_tls()
    with raw_tls(context, certificates) as sock:
        sock.sendall(b"GET /echo/page HTTP/1.1\r\nHost: x\r\n\r\n")
        assert read_answer(sock) == (200, b"seen")


def test_context_without_tls_has_nothing_to_reload(context: Context) -> None:
    with pytest.raises(ContextError, match="no TLS to reload"):
        context.reload_tls()
