"""How connections with TLS end: what a peer says last, and what it says behind that."""

from __future__ import annotations

import _ssl
import asyncio
import contextlib
import ctypes
import os
import socket
import ssl
import struct
import sys
import threading
from collections.abc import Callable, Iterator

import pytest

from compactor import PID, Context, Process, Reason, Settings, install, route
from tests.actors import TIMEOUT, Receiver, spawned, wait_until
from tests.raw import frame, pid_at, read_until_end
from tests.tls.test_tls import Echo, MakeContext, accepted, logged
from tests.tls_fixture import Certificates

MIB = 1 << 20


class Client:
    """A peer that decides itself which bytes of TLS leave together."""

    def __init__(self, context: Context) -> None:
        rules = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        rules.check_hostname = False
        rules.verify_mode = ssl.CERT_NONE
        self.incoming, self.outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self.tls = rules.wrap_bio(self.incoming, self.outgoing)
        self.sock = socket.create_connection((context.ip, context.port), timeout=10)
        # A reset takes back what the system has not sent yet.
        self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        while True:
            try:
                self.tls.do_handshake()
                break
            except ssl.SSLWantReadError:
                self.send_out()
                self.incoming.write(self.sock.recv(65536))
        self.send_out()

    def write_end(self) -> None:
        """Say in TLS that nothing more will come."""
        with contextlib.suppress(ssl.SSLError):  # it would wait for the peer's end
            self.tls.unwrap()

    def send_out(self) -> None:
        """Send everything that was written."""
        self.sock.sendall(self.outgoing.read())

    def reset(self) -> None:
        """End the connection as the system does it for a killed program."""
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.sock.close()


@pytest.fixture
def clients() -> Iterator[contextlib.ExitStack]:
    """What closes the sockets of clients."""
    with contextlib.ExitStack() as opened:
        yield opened


def client_of(context: Context, clients: contextlib.ExitStack) -> Client:
    client = Client(context)
    clients.enter_context(client.sock)
    return client


def test_end_of_tls_right_behind_a_request_ends_the_connection(
    make_context: MakeContext, certificates: Certificates, clients: contextlib.ExitStack
) -> None:
    """Also when the peer leaves its side of the socket open, as whoever waits for our end does."""
    context = make_context(tls=certificates.settings())
    context.spawn(Echo("echo"))
    client = client_of(context, clients)
    client.tls.write(b"GET /echo/page HTTP/1.1\r\nHost: x\r\n\r\n")
    client.write_end()
    client.send_out()
    assert read_until_end(client.sock)
    wait_until(lambda: not context._runtime.server.connections)


class Patient(Process):
    """Has a page that takes long."""

    def __init__(self) -> None:
        super().__init__("patient")
        self.asked = threading.Event()
        self.go_on = asyncio.Event()

    def let_go_on(self) -> None:
        self.context._loop.call_soon_threadsafe(self.go_on.set)

    @route("/page")
    async def page(self, request: object) -> str:
        self.asked.set()
        await self.go_on.wait()
        return "seen"


def test_what_comes_behind_the_end_of_tls_is_not_kept(
    make_context: MakeContext, certificates: Certificates, clients: contextlib.ExitStack
) -> None:
    context = make_context(tls=certificates.settings())
    patient = Patient()
    context.spawn(patient)
    client = client_of(context, clients)
    client.tls.write(b"GET /patient/page HTTP/1.1\r\nHost: x\r\n\r\n")
    client.write_end()
    client.send_out()
    assert patient.asked.wait(10)
    (connection,) = context._runtime.server.connections
    for _ in range(32):
        client.sock.sendall(bytes(MIB))
    assert connection._transport._records.unread_bytes < MIB  # type: ignore[attr-defined]
    client.sock.shutdown(socket.SHUT_WR)
    patient.let_go_on()
    client.incoming.write(read_until_end(client.sock))
    assert client.tls.read(MIB).endswith(b"seen")


class Busy(Process):
    """Takes its time over the messages ``wait``, and has the loop wait with it."""

    def __init__(self) -> None:
        super().__init__("busy")
        self.received: list[bytes] = []
        self.waits = threading.Event()
        self.go_on = threading.Event()

    @install("message")
    def message(self, from_pid: PID, body: bytes) -> None:
        self.received.append(body)
        if body == b"wait":
            self.waits.set()
            self.go_on.wait(10)


@pytest.mark.parametrize("ends", [False, True], ids=["cut off", "ended"])
def test_messages_before_the_end_of_tls_survive_a_reset(
    make_context: MakeContext,
    certificates: Certificates,
    clients: contextlib.ExitStack,
    ends: bool,
) -> None:
    """The answer to the first message finds the connection broken while the others are unread."""
    busy = spawned(make_context(tls=certificates.settings()), Busy())
    client = client_of(busy.context, clients)
    client.tls.write(frame(busy.pid, body=b"first"))
    client.send_out()
    wait_until(lambda: busy.received == [b"first"])
    client.tls.write(frame(busy.pid, body=b"wait"))
    client.send_out()
    assert busy.waits.wait(10)
    bodies = [b"%d" % number for number in range(100)]
    for body in bodies:
        client.tls.write(frame(busy.pid, body=body))
    if ends:
        client.write_end()
    client.send_out()
    client.reset()
    busy.go_on.set()
    wait_until(lambda: busy.received == [b"first", b"wait", *bodies])


def test_peer_that_breaks_tls_is_told_so_and_counted(
    make_context: MakeContext,
    certificates: Certificates,
    clients: contextlib.ExitStack,
    caplog: pytest.LogCaptureFixture,
) -> None:
    context = make_context(tls=certificates.settings())
    client = client_of(context, clients)
    client.sock.sendall(b"what is this?")
    client.incoming.write(read_until_end(client.sock))
    with pytest.raises(ssl.SSLError, match="ALERT"):
        client.tls.read()
    wait_until(lambda: not context._runtime.server.connections)
    assert context.metrics.tls_failures == 1
    (ip, port) = client.sock.getsockname()
    assert logged(caplog, f"TLS with {ip}:{port} broke: the peer does not speak TLS")


def test_peer_that_breaks_tls_and_reads_nothing_is_lost_at_once(
    make_context: MakeContext,
    certificates: Certificates,
    listener: socket.socket,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Nothing is written to it any more while what was written before waits for the peer."""
    context = make_context(tls=certificates.settings(), settings=Settings(linger=3 * TIMEOUT))
    here, pid = spawned(context, Receiver("here")), pid_at(listener)
    here.link(pid)
    with accepted(listener, certificates) as peer:
        wait_until(lambda: context._runtime.outgoing)
        (connection,) = context._runtime.outgoing

        def write_until_full() -> None:
            assert connection.transport is not None
            while not connection.transport.get_write_buffer_size():
                connection.transport.write(bytes(20_000))

        context.dispatch(here.pid, write_until_full).result(10)
        with socket.socket(fileno=os.dup(peer.fileno())) as below:
            below.sendall(b"what is this?")
            assert here.exits.take() == (pid, Reason.TLS)
    assert context.metrics.tls_failures == 1
    assert logged(caplog, f"TLS with 127.0.0.1:{pid.port} broke: the peer does not speak TLS")


def ask_for_new_keys(peer: ssl.SSLSocket) -> Callable[[], None]:
    """What sends one KeyUpdate of TLS 1.3 that wants another back; Python has no call for it."""
    try:
        key_update = ctypes.CDLL(_ssl.__file__).SSL_key_update
    except (AttributeError, OSError) as error:
        pytest.skip(f"SSL_key_update of OpenSSL cannot be called here: {error}")
    behind_head_and_socket = object.__basicsize__ + ctypes.sizeof(ctypes.c_void_p)
    address = id(peer._sslobj) + behind_head_and_socket  # type: ignore[attr-defined]
    connection = ctypes.c_void_p.from_address(address)

    def ask() -> None:
        assert key_update(connection, 1) == 1
        peer.do_handshake()

    return ask


@pytest.mark.skipif(sys.implementation.name != "cpython", reason="reaches into CPython's objects")
@pytest.mark.skipif(not ssl.HAS_TLSv1_3, reason="OpenSSL has no TLS 1.3 here")
def test_peer_that_asks_for_new_keys_and_reads_none_is_cut_off(
    make_context: MakeContext, certificates: Certificates, listener: socket.socket
) -> None:
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    context = make_context(tls=certificates.settings(enable_tls_v1_3=True))
    here, pid = spawned(context, Receiver("here")), pid_at(listener)
    here.link(pid)
    with accepted(listener, certificates) as peer:
        assert peer.version() == "TLSv1.3"
        wait_until(lambda: context._runtime.outgoing)
        (connection,) = context._runtime.outgoing
        assert connection.transport is not None
        connection.transport.get_extra_info("socket").setsockopt(
            socket.SOL_SOCKET, socket.SO_SNDBUF, 4096
        )
        ask = ask_for_new_keys(peer)
        with contextlib.suppress(OSError):  # it is reset
            for number in range(200_000):
                ask()
                if number % 100:
                    continue
                size = context.dispatch(here.pid, connection.transport.get_write_buffer_size)
                assert size.result(TIMEOUT) < 2 * MIB
        assert here.exits.take() == (pid, Reason.TLS)
