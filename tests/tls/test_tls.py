"""TLS between contexts: messages, links, what is verified, how it fails, certificates anew."""

from __future__ import annotations

import os
import socket
import ssl
import struct
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import pytest

from compactor import PID, Context, Process, Reason, Settings, install, route
from tests.actors import Receiver, dead_letters, spawned, take_letter, wait_until
from tests.raw import frame, pid_at, read_answer, read_until_end
from tests.tls_fixture import Certificates

MakeContext = Callable[..., Context]

MIB = 1 << 20


class Echo(Process):
    """Sends every message back, and has a page."""

    @install("say")
    def say(self, from_pid: PID, body: bytes) -> None:
        self.send(from_pid, "message", body)

    @route("/page")
    def page(self, request: Any) -> str:
        return "seen"

    @route("/large")
    def large(self, request: Any) -> bytes:
        return b"z" * (10 * 1024)


def raw_tls(context: Context, files: Certificates, name: str | None = "host") -> ssl.SSLSocket:
    """A connection of Python's own TLS to a context."""
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    tls.check_hostname = False
    tls.load_verify_locations(files.path("ca"))
    if name is not None:
        tls.load_cert_chain(files.path(name), files.folder / f"{name}.key")
    return tls.wrap_socket(socket.create_connection((context.ip, context.port), timeout=10))


def logged(caplog: pytest.LogCaptureFixture, words: str) -> list[str]:
    return [r.getMessage() for r in caplog.records if words in r.getMessage()]


@pytest.mark.parametrize("verify", [False, True])
@pytest.mark.parametrize("version", ["1.2", "1.3"])
@pytest.mark.smoke
def test_messages_of_all_sizes_go_both_ways_in_order(
    make_context: MakeContext,
    certificates: Certificates,
    verify: bool,
    version: str,
) -> None:
    make = certificates.verifying if verify else certificates.settings
    tls = make(enable_tls_v1_3=version == "1.3", enable_tls_v1_2=version == "1.2")
    here, echo = Receiver("here"), Echo("echo")
    make_context(tls=tls).spawn(here)
    pid = make_context(tls=tls).spawn(echo)
    bodies = [b"", b"x", b"y" * 40_000, bytes(range(256)) * 4096 * 8, b"end"]
    for body in bodies:
        here.send(pid, "say", body)
    assert [body for _, body in here.received.take_many(len(bodies))] == bodies
    here.link(pid)
    here.send(pid, "say", b"behind the link")
    here.received.take()
    echo.terminate()
    assert here.exits.take() == (pid, Reason.TERMINATED)


def test_stopped_context_is_closed_for_its_linkers(
    make_context: MakeContext,
    certificates: Certificates,
) -> None:
    here, there = Receiver("here"), make_context(tls=certificates.settings())
    make_context(tls=certificates.settings()).spawn(here)
    pid = there.spawn(Echo("echo"))
    here.link(pid)
    here.send(pid, "say", b"hello")
    here.received.take()
    there.stop()
    assert here.exits.take()[0] == pid


def test_what_was_sent_before_the_stop_arrives(
    make_context: MakeContext,
    certificates: Certificates,
) -> None:
    sender, receiver = Process("sender"), Receiver()
    context = make_context(tls=certificates.settings(), settings=Settings(linger=20))
    context.spawn(sender)
    pid = make_context(tls=certificates.settings()).spawn(receiver)
    for number in range(2000):
        sender.send(pid, "message", b"%d" % number + bytes(3000))
    context.stop()
    received = receiver.received.take_many(2000)
    assert [int(body.rstrip(b"\0")) for _, body in received] == list(range(2000))


def test_flood_is_held_at_the_receiver_and_arrives_whole(
    make_context: MakeContext,
    certificates: Certificates,
) -> None:
    tls = certificates.settings()
    sender, receiver = Process("sender"), Receiver()
    there = make_context(
        tls=tls, settings=Settings(mailbox_high_water=100, mailbox_high_water_bytes=1 << 18)
    )
    pid = there.spawn(receiver)
    make_context(tls=tls).spawn(sender)
    count = 6000
    for number in range(count):
        sender.send(pid, "message", number.to_bytes(4, "big") + bytes(number % 9000))
    received = receiver.received.take_many(count)
    assert [int.from_bytes(body[:4], "big") for _, body in received] == list(range(count))


@pytest.mark.smoke
def test_http_over_tls_is_answered_and_ends_with_the_end_of_tls(
    make_context: MakeContext,
    certificates: Certificates,
) -> None:
    context = make_context(tls=certificates.settings())
    context.spawn(Echo("echo"))
    with raw_tls(context, certificates) as sock:
        sock.sendall(b"GET /echo/page HTTP/1.1\r\nHost: x\r\n\r\n" * 2)
        assert [read_answer(sock) for _ in range(2)] == [(200, b"seen")] * 2
        sock.sendall(b"GET /echo/page HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        assert read_until_end(sock).endswith(b"seen")  # SSLEOFError if it were cut off


def test_half_closed_client_has_its_answers(
    make_context: MakeContext,
    certificates: Certificates,
) -> None:
    context = make_context(tls=certificates.settings())
    context.spawn(Echo("echo"))
    with raw_tls(context, certificates) as sock:
        sock.sendall(
            b"GET /echo/page HTTP/1.1\r\nHost: x\r\n\r\nGET /echo/none HTTP/1.1\r\nHost: x\r\n\r\n"
        )
        with socket.socket(fileno=os.dup(sock.fileno())) as below:
            below.shutdown(socket.SHUT_WR)
        answers = read_until_end(sock)
        assert answers.count(b"HTTP/1.1 ") == 2


def test_default_ciphers_meet_a_default_peer_in_cpp(
    make_context: MakeContext,
    certificates: Certificates,
) -> None:
    context = make_context(tls=certificates.settings())
    echo = context.spawn(Echo("echo"))
    in_cpp = certificates.settings(
        enable_tls_v1_3=False,
        ciphers="AES128-SHA:AES256-SHA:RC4-SHA:DHE-RSA-AES128-SHA:DHE-DSS-AES128-SHA:"
        "DHE-RSA-AES256-SHA:DHE-DSS-AES256-SHA",
    )
    here = spawned(make_context(tls=in_cpp), Receiver("here"))
    here.send(echo, "say", b"hello")
    assert here.received.take() == (echo, b"hello")


@pytest.mark.parametrize("end", ["fin", "rst"])
def test_whole_messages_are_delivered_even_when_the_peer_is_gone(
    make_context: MakeContext, certificates: Certificates, end: str
) -> None:
    """What a broken connection has received is decrypted before it is given up."""
    context = make_context(tls=certificates.settings())
    receiver = spawned(context, Receiver())
    sock = raw_tls(context, certificates)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)  # a reset takes back what waits
    sock.sendall(b"".join(frame(receiver.pid, body=b"%d" % n) for n in range(200)))
    if end == "rst":
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    sock.close()
    bodies = [receiver.received.take()[1] for _ in range(200)]
    assert bodies == [b"%d" % n for n in range(200)]


def test_peer_that_reads_no_answers_is_not_read(
    make_context: MakeContext, certificates: Certificates
) -> None:
    context = make_context(tls=certificates.settings())
    context.spawn(Echo("echo"))
    request = b"GET /echo/large HTTP/1.1\r\nHost: x\r\n\r\n"
    with raw_tls(context, certificates) as sock:
        sock.settimeout(0.5)
        sent = 0
        with pytest.raises(TimeoutError):  # bounded: the answers would take 100 GB
            for _ in range(100_000):
                sock.sendall(request * 100)
                sent += 100
        connection = next(iter(context._runtime.server.connections))
        assert connection._gate.is_held
        assert connection._transport.get_write_buffer_size() < 64 * MIB
        sock.settimeout(10)
        for _ in range(20):
            assert read_answer(sock) == (200, b"z" * (10 * 1024))


# What is verified


@pytest.mark.parametrize(
    ("server", "words"),
    [
        ({"name": "expired"}, "certificate has expired"),
        ({"name": "foreign"}, "unable to get local issuer certificate"),
        ({"name": "elsewhere"}, "mismatch"),
        ({"name": "named"}, "mismatch"),
    ],
)
def test_peer_with_a_wrong_certificate_is_not_dialled(
    make_context: MakeContext,
    certificates: Certificates,
    caplog: pytest.LogCaptureFixture,
    server: dict[str, Any],
    words: str,
) -> None:
    there = make_context(tls=certificates.settings(**server))
    here_context = make_context(tls=certificates.verifying())
    letters, here = dead_letters(here_context), spawned(here_context, Receiver("here"))
    pid = there.spawn(Receiver("there"))
    for _ in range(2):
        here.link(pid)
        here.send(pid, "message", b"12345")
        assert here.exits.take() == (pid, Reason.TLS)
        assert take_letter(letters).reason is Reason.TLS
    (line,) = logged(caplog, f"no TLS with 127.0.0.1:{there.port}")
    assert words in line
    wait_until(lambda: there.metrics.tls_failures >= 2)  # one, or two, of each link and message


@pytest.mark.parametrize(
    ("client", "words"),
    [
        ({"name": "expired"}, "certificate has expired"),
        ({"name": "foreign"}, "unable to get local issuer certificate"),
    ],
)
@pytest.mark.parametrize("version", ["1.2", "1.3"])
def test_peer_that_dials_with_a_wrong_certificate_is_refused(
    make_context: MakeContext,
    certificates: Certificates,
    caplog: pytest.LogCaptureFixture,
    client: dict[str, Any],
    words: str,
    version: str,
) -> None:
    versions = {"enable_tls_v1_3": version == "1.3", "enable_tls_v1_2": version == "1.2"}
    there = make_context(tls=certificates.verifying(**versions))
    here = spawned(make_context(tls=certificates.settings(**client, **versions)), Receiver("here"))
    pid, letters = there.spawn(Receiver("there")), dead_letters(here.context)

    def dial_once() -> None:  # in one step: a link that has failed meanwhile would be dialled for
        here.link(pid)
        here.send(pid, "message", b"not lost in silence")

    for _ in range(2):
        here.context.dispatch(here.pid, dial_once)
        assert here.exits.take() == (pid, Reason.TLS)
        assert take_letter(letters).reason is Reason.TLS
    wait_until(lambda: there.metrics.tls_failures == 2)
    (line,) = logged(caplog, "connects from 127.0.0.1")
    assert words in line


def test_client_without_a_certificate_is_refused(
    make_context: MakeContext,
    certificates: Certificates,
    caplog: pytest.LogCaptureFixture,
) -> None:
    there = make_context(tls=certificates.verifying())
    with pytest.raises(ssl.SSLError), raw_tls(there, certificates, None) as sock:
        sock.recv(1)  # in TLS 1.3 the refusal comes after the handshake
    wait_until(lambda: there.metrics.tls_failures == 1)
    assert "shows no certificate" in logged(caplog, "connects from 127.0.0.1")[0]


@pytest.mark.parametrize("depth", [1, 2])
def test_chain_must_not_be_longer_than_allowed(
    make_context: MakeContext,
    certificates: Certificates,
    caplog: pytest.LogCaptureFixture,
    depth: int,
) -> None:
    there = make_context(tls=certificates.verifying("deep"))
    tls = certificates.verifying("host", verification_depth=depth)
    here, pid = spawned(make_context(tls=tls), Receiver("here")), there.spawn(Echo("echo"))
    here.link(pid)
    here.send(pid, "say", b"hello")
    if depth == 2:
        assert here.received.take() == (pid, b"hello")
    else:
        assert here.exits.take() == (pid, Reason.TLS)
        assert logged(caplog, "2 certificates stand between")


# OS processes

PEER = """
import sys
from compactor import Context, Process, install

class Echo(Process):
    @install("say")
    def say(self, from_pid, body):
        self.send(from_pid, "message", body)

context = Context(ip="127.0.0.1")
print(context.spawn(Echo("echo")), flush=True)
sys.stdin.read()
"""


def test_killed_peer_in_an_os_process_of_its_own_exits_its_linkers(
    make_context: MakeContext,
    certificates: Certificates,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("LIBPROCESS_SSL_ENABLED", "true")
    monkeypatch.setenv("LIBPROCESS_SSL_REQUIRE_CERT", "1")
    monkeypatch.setenv("LIBPROCESS_SSL_VERIFY_IPADD", "true")
    for name, file in {"KEY": "host.key", "CERT": "host.pem", "CA": "ca.pem"}.items():
        monkeypatch.setenv(f"LIBPROCESS_SSL_{name}_FILE", str(certificates.folder / file))
    here = spawned(make_context(), Receiver("here"))
    with subprocess.Popen(
        [sys.executable, "-c", PEER], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as peer:
        try:
            assert peer.stdout is not None
            echo = PID.from_string(peer.stdout.readline().strip())
            here.link(echo)
            here.send(echo, "say", b"z" * MIB)
            assert here.received.take() == (echo, b"z" * MIB)
        finally:
            peer.kill()
        assert here.exits.take()[0] == echo


def accepted(
    listener: socket.socket, certificates: Certificates, tickets: int = 2
) -> ssl.SSLSocket:
    """The next connection of a foreign peer that listens, with TLS."""
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.num_tickets = tickets
    tls.load_cert_chain(certificates.path("host"), certificates.folder / "host.key")
    raw, _ = listener.accept()
    peer = tls.wrap_socket(raw, server_side=True)
    peer.settimeout(10)
    return peer


def test_peer_that_says_nothing_behind_its_handshake_is_written_to_soon(
    make_context: MakeContext,
    certificates: Certificates,
    listener: socket.socket,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("compactor.tls.handshake._VERDICT_SECONDS", 0.05)
    sender = spawned(make_context(tls=certificates.settings()), Receiver("sender"))
    sender.send(pid_at(listener), "message", b"hello")
    with accepted(listener, certificates, tickets=0) as peer:
        assert peer.recv(5) == b"POST "


def test_large_body_waits_unencrypted_and_holds_nobody_up(
    make_context: MakeContext, certificates: Certificates, listener: socket.socket
) -> None:
    """The peer reads nothing: of 64 MiB, only what the sockets take is encrypted."""
    context = make_context(tls=certificates.settings(), settings=Settings(linger=0.2))
    sender = spawned(context, Receiver("sender"))
    size = 64 * MIB
    sender.send(pid_at(listener), "message", bytes(size))
    with accepted(listener, certificates) as peer:
        assert peer.recv(5) == b"POST "
        (connection,) = context._runtime.outgoing
        transport = connection.transport
        assert transport is not None
        wait_until(lambda: transport.get_write_buffer_size() > size - 16 * MIB)
        assert transport._unsent_bytes > size - 16 * MIB  # type: ignore[attr-defined]
        left = size
        while left > 0:
            left -= len(peer.recv(MIB))
        wait_until(lambda: transport.get_write_buffer_size() == 0)


def test_stop_sends_what_is_unsent_before_the_end(
    make_context: MakeContext, certificates: Certificates, listener: socket.socket
) -> None:
    context = make_context(tls=certificates.settings(), settings=Settings(linger=20))
    sender = spawned(context, Receiver("sender"))
    size = 32 * MIB
    sender.send(pid_at(listener), "message", bytes(size))
    with accepted(listener, certificates) as peer:
        context.stop()
        received = 0
        while piece := peer.recv(MIB):  # until the end of TLS; an error if it were cut off
            received += len(piece)
        assert received > size
    context.join(10)
    assert not context.is_alive()
