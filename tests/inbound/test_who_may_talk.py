"""Which senders a peer may write for, and the warning about ports that are open to all."""

from __future__ import annotations

import socket
import ssl
import subprocess
import sys
from collections.abc import Callable

import pytest

from compactor import PID, Context, Reason, Settings
from compactor.inbound.sender_policy import SenderRule
from compactor.wire import notices
from tests.actors import Receiver, dead_letters, spawned, take_letter
from tests.raw import read_answer, read_until_end
from tests.tls_fixture import Certificates

MakeContext = Callable[..., Context]

MATCH = Settings(require_peer_address_ip_match=True)


def message(to: PID, sender: str, body: bytes = b"") -> bytes:
    head = f"POST /{to.id}/message HTTP/1.1\r\nLibprocess-From: {sender}\r\n"
    return f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body


def test_messages_must_come_from_the_address_of_their_sender(
    make_context: MakeContext, connect: Callable[[Context], socket.socket]
) -> None:
    context = make_context(settings=MATCH)
    letters, receiver = dead_letters(context), spawned(context, Receiver())
    sock = connect(context)
    name, port = sock.getsockname()
    for sender in ("x@192.0.2.1:5", "x@localhost:5", "@0.0.0.0:0", "no pid"):
        sock.sendall(message(receiver.pid, sender, b"forged"))
        status, body = read_answer(sock)
        assert status == 400
        assert body.startswith(b"UPID IP address validation failed: Message from ")
        assert body.endswith(f" was sent from IP {name}:{port}".encode())
        letter = take_letter(letters)
        assert (letter.reason, letter.to) == (Reason.SENDER_REFUSED, receiver.pid)
    for sender in ("x@127.0.0.1:5", "y@127.0.0.1:6"):  # the connection is still there
        sock.sendall(message(receiver.pid, sender, b"true") * 2)
        assert [read_answer(sock)[0] for _ in range(2)] == [202, 202]
        assert receiver.received.take_many(2) == [(PID.from_string(sender), b"true")] * 2


def test_peers_of_that_rule_go_on_as_ever(make_context: MakeContext) -> None:
    here, there = Receiver("here"), Receiver("there")
    make_context(settings=MATCH).spawn(here)
    make_context(settings=MATCH).spawn(there)
    pid = there.pid
    here.link(pid)
    for number in range(500):
        here.send(pid, "message", b"%d" % number)
    assert [int(body) for _, body in there.received.take_many(500)] == list(range(500))
    there.terminate()
    assert here.exits.take() == (pid, Reason.TERMINATED)


def test_notices_for_a_forged_sender_are_refused(
    make_context: MakeContext, connect: Callable[[Context], socket.socket]
) -> None:
    sock = connect(make_context(settings=MATCH))
    sock.sendall(notices.request("there", "@192.0.2.1:5", "x" * 32))
    answer = read_until_end(sock)
    assert answer.startswith(b"HTTP/1.1 403 ")
    assert b"Compactor-Notices: 15" in answer


def test_a_link_that_is_refused_exits(make_context: MakeContext) -> None:
    there = spawned(make_context(settings=MATCH), Receiver("there"))
    here = spawned(make_context(advertise_ip="192.0.2.1"), Receiver("here"))
    for pid in (there.pid, PID(there.pid.ip, there.pid.port, "nobody")):
        here.link(pid)
        assert here.exits.take() == (pid, Reason.SENDER_REFUSED)
    assert there.context.metrics.dead_letters == {}


def test_variable_turns_the_rule_on(
    make_context: MakeContext,
    connect: Callable[[Context], socket.socket],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("LIBPROCESS_REQUIRE_PEER_ADDRESS_IP_MATCH", "true")
    context = make_context()
    receiver, sock = spawned(context, Receiver()), connect(context)
    sock.sendall(message(receiver.pid, "x@192.0.2.1:5"))
    assert read_answer(sock)[0] == 400


class _Transport:
    def __init__(self, ip: str) -> None:
        self._ip = ip

    def get_extra_info(self, name: str) -> object:
        return (self._ip, 7, 0, 0) if name == "peername" else None


@pytest.mark.parametrize(
    ("sender", "peer", "is_same"),
    [
        ("::1", "::1", True),
        ("0:0:0:0:0:0:0:1", "::1", True),
        ("192.0.2.1", "::ffff:192.0.2.1", True),
        ("fe80::1", "fe80::1%eth0", True),
        ("192.0.2.2", "::ffff:192.0.2.1", False),
    ],
)
def test_spellings_of_one_address_are_the_same(sender: str, peer: str, is_same: bool) -> None:
    rule = SenderRule(must_match_address=True, must_match_certificate=False)
    refusal = rule.refusal(PID(sender, 5, "x"), _Transport(peer))  # type: ignore[arg-type]
    assert (refusal is None) is is_same


def test_certificate_must_name_the_host_of_the_sender(
    make_context: MakeContext, certificates: Certificates
) -> None:
    context = make_context(tls=certificates.verifying(verify_sender=True))
    receiver = spawned(context, Receiver())
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    tls.load_verify_locations(certificates.path("ca"))
    tls.load_cert_chain(certificates.path("elsewhere"), certificates.folder / "elsewhere.key")
    raw = socket.create_connection((context.ip, context.port), timeout=10)
    with tls.wrap_socket(raw, server_hostname="localhost") as sock:
        for sender, status in (
            ("x@192.0.2.1:5", 202),
            ("x@elsewhere.example:5", 202),
            ("x@127.0.0.1:5", 400),
            ("x@elsewhere:5", 400),
        ):
            sock.sendall(message(receiver.pid, sender))
            found, body = read_answer(sock)
            assert found == status
            assert status == 202 or b"certificate does not name " in body


def test_contexts_with_certificates_for_their_addresses_talk(
    make_context: MakeContext, certificates: Certificates
) -> None:
    tls = certificates.verifying("numbered", verify_sender=True)
    here, there = Receiver("here"), Receiver("there")
    make_context(tls=tls).spawn(here)
    make_context(tls=tls).spawn(there)
    here.send(there.pid, "message", b"hello")
    assert there.received.take() == (here.pid, b"hello")


PROGRAM = """
import os, sys
from dataclasses import replace
from compactor import Context, Settings, TlsSettings
tls = TlsSettings(key_file=sys.argv[1], cert_file=sys.argv[2]) if sys.argv[1:] else None
for _ in range(2):
    Context(**{arguments}).stop()
"""


@pytest.mark.parametrize(
    ("arguments", "lines"),
    [
        ('{"ip": "0.0.0.0"}', 1),
        ('{"ip": "127.0.0.1"}', 0),
        ('{"ip": "127.1.2.3"}', 0),
        ('{"ip": "0.0.0.0", "tls": tls}', 0),
        ('{"ip": "0.0.0.0", "tls": replace(tls, support_downgrade=True)}', 1),
        ('{"ip": "0.0.0.0", "settings": Settings(warn_unprotected=False)}', 0),
    ],
)
def test_open_port_is_warned_about_once(
    certificates: Certificates, arguments: str, lines: int
) -> None:
    if "127.1" in arguments and sys.platform != "linux":
        pytest.skip("only Linux has all of 127.0.0.0/8")
    files = [str(certificates.folder / "host.key"), str(certificates.path("host"))]
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM.replace("{arguments}", arguments), *files],
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    assert done.stderr.count("is open to whoever reaches it") == lines
    assert len(done.stderr.splitlines()) == lines
