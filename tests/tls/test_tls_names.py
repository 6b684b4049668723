"""Whom the certificate of a peer must name, by both schemes of libprocess; counted handshakes."""

from __future__ import annotations

import socket
from collections.abc import Callable
from typing import Any

import pytest

from compactor import PID, Context, Reason, Settings
from compactor.system.system import System
from tests.actors import Receiver, spawned, wait_until
from tests.raw import read_until_end
from tests.tls_fixture import Certificates

MakeContext = Callable[..., Context]


@pytest.fixture
def localhost() -> str:
    """The name that DNS gives for 127.0.0.1; it must be the one in the certificates."""
    name, _ = socket.getnameinfo(("127.0.0.1", 0), 0)
    if name != "localhost":
        pytest.skip(f"127.0.0.1 is called {name} here")
    return name


@pytest.fixture
def nameless(monkeypatch: pytest.MonkeyPatch) -> None:
    """No address has a name: with real DNS that would depend on where the tests run."""

    async def no_name(self: System, ip: str) -> None:
        return None

    monkeypatch.setattr(System, "name_of", no_name)


def talk(here: Context, there: Context, host: str = "127.0.0.1") -> str:
    """What comes of dialling: the reason of an exit, or '' if a message arrived."""
    watcher, receiver = spawned(here, Receiver("watcher")), spawned(there, Receiver("receiver"))
    pid = PID(host, there.port, receiver.pid.id)
    watcher.link(pid)
    watcher.send(pid, "message", b"hello")
    wait_until(lambda: not (watcher.exits.is_empty and receiver.received.is_empty))
    return "" if watcher.exits.is_empty else str(watcher.exits.take()[1])


def legacy(**more: Any) -> dict[str, Any]:
    return {"verify_server_cert": True, "hostname_validation_scheme": "legacy", **more}


def openssl(**more: Any) -> dict[str, Any]:
    return {"verify_server_cert": True, "hostname_validation_scheme": "openssl", **more}


@pytest.mark.parametrize(
    ("server", "ipadd", "words"),
    [
        ("named", False, ""),
        ("numbered", True, ""),
        ("numbered", False, "is for number, 127.0.0.1, and the peer is localhost (127.0.0.1)"),
        ("elsewhere", True, "the certificate is for elsewhere.example, "),
    ],
)
def test_legacy_scheme_asks_dns_for_the_name_of_the_address(
    make_context: MakeContext,
    certificates: Certificates,
    caplog: pytest.LogCaptureFixture,
    localhost: str,
    server: str,
    ipadd: bool,
    words: str,
) -> None:
    there = make_context(tls=certificates.settings(server))
    here = make_context(tls=certificates.settings(**legacy(verify_ipadd=ipadd)))
    assert talk(here, there) == (Reason.TLS if words else "")
    assert words in caplog.text


@pytest.mark.parametrize(("client", "passes"), [("named", True), ("elsewhere", False)])
def test_legacy_scheme_checks_those_who_dial_too(
    make_context: MakeContext,
    certificates: Certificates,
    localhost: str,
    client: str,
    passes: bool,
) -> None:
    there = make_context(tls=certificates.settings(**legacy(require_client_cert=True)))
    here = make_context(tls=certificates.settings(client))
    assert (talk(here, there) == "") is passes
    assert (there.metrics.tls_failures == 0) is passes


@pytest.mark.parametrize("ipadd", [False, True])
def test_legacy_scheme_knows_peers_of_ipv4_at_a_port_of_ipv6(
    make_context: MakeContext, certificates: Certificates, localhost: str, ipadd: bool
) -> None:
    if not socket.has_dualstack_ipv6():
        pytest.skip("there is no IPv6 here")
    rules = legacy(require_client_cert=True, verify_ipadd=ipadd)
    there = make_context(ip="::", advertise_ip="127.0.0.1", tls=certificates.settings(**rules))
    here = make_context(tls=certificates.settings("numbered" if ipadd else "named"))
    assert talk(here, there) == ""


@pytest.mark.parametrize(
    ("rules", "passes"),
    [
        (legacy(), True),
        (legacy(require_client_cert=True), False),
        (legacy(verify_ipadd=True), True),
    ],
)
def test_legacy_scheme_and_a_peer_without_a_name(
    make_context: MakeContext,
    certificates: Certificates,
    nameless: None,
    rules: dict[str, Any],
    passes: bool,
) -> None:
    there = make_context(tls=certificates.settings("numbered"))
    here = make_context(tls=certificates.settings(**rules))
    assert (talk(here, there) == "") is passes


@pytest.mark.parametrize(
    ("server", "host", "ipadd", "words"),
    [
        ("named", "localhost", False, ""),
        ("named", "localhost", True, ""),
        ("numbered", "127.0.0.1", True, ""),
        ("host", "127.0.0.1", False, "the peer is known as 127.0.0.1 only"),
        ("numbered", "localhost", True, "Hostname mismatch"),
        ("named", "127.0.0.1", True, "IP address mismatch"),
    ],
)
def test_openssl_scheme_takes_the_host_that_is_dialled(
    make_context: MakeContext,
    certificates: Certificates,
    caplog: pytest.LogCaptureFixture,
    server: str,
    host: str,
    ipadd: bool,
    words: str,
) -> None:
    there = make_context(tls=certificates.settings(server))
    here = make_context(tls=certificates.settings(**openssl(verify_ipadd=ipadd)))
    assert talk(here, there, host) == (Reason.TLS if words else "")
    assert words in caplog.text


def test_openssl_scheme_takes_any_valid_certificate_of_those_who_dial(
    make_context: MakeContext, certificates: Certificates
) -> None:
    there = make_context(tls=certificates.verifying())
    here = make_context(tls=certificates.settings("elsewhere"))
    assert talk(here, there) == ""


@pytest.mark.usefixtures("links_are_not_waited_for")
@pytest.mark.parametrize("downgrade", [False, True])
def test_connections_count_from_the_start_of_their_handshakes(
    make_context: MakeContext,
    certificates: Certificates,
    connect: Callable[[Context], socket.socket],
    downgrade: bool,
) -> None:
    context = make_context(
        tls=certificates.settings(support_downgrade=downgrade), settings=Settings(max_connections=2)
    )
    first, _ = connect(context), connect(context)
    admission = context._runtime.server.state._admission
    wait_until(lambda: admission.total == 2)
    assert read_until_end(connect(context)) == b""
    assert context.metrics.refused_connections == 1
    first.close()
    wait_until(lambda: admission.total == 1)
    here = make_context(tls=certificates.settings())
    assert talk(here, context) == ""
    assert admission.total == 2
