"""``compactor doctor``: set-ups in which two contexts do not reach each other, and what it says."""

from __future__ import annotations

import email.utils
import json
import socket
import sys
import time

import pytest

from compactor import Context, Process
from compactor.cli.doctor import surroundings
from tests.cli.running import command
from tests.cli.servers import saying, serving
from tests.ports import own_port


def doctor(code: int, *args: object) -> dict[str, tuple[str, str]]:
    """The last finding of each check: what was found, and what to change."""
    done = command("doctor", *args, "--json")
    assert done.exit_code == code, done.output
    found = json.loads(done.stdout)["findings"]
    return {one["check"]: (f"{one['state']}: {one['text']}", one["change"]) for one in found}


@pytest.fixture
def peer(context):
    context.spawn(Process("scheduler(1)"))
    return f"scheduler(1)@{context.ip}:{context.port}"


@pytest.fixture
def secure(certificates, monkeypatch):
    """Makes contexts that speak TLS."""
    made = []

    def make(name="host", **more):
        made.append(
            Context(ip="127.0.0.1", port=own_port(), tls=certificates.settings(name, **more))
        )
        made[-1].spawn(Process("scheduler(1)"))
        return f"scheduler(1)@127.0.0.1:{made[-1].port}"

    yield make
    for context in made:
        context.stop()


@pytest.fixture
def tls_here(certificates, monkeypatch):
    """Turns TLS on in the environment."""

    def turn_on(name="host", ca="ca"):
        for variable, value in {
            "ENABLED": "true",
            "KEY_FILE": certificates.folder / f"{name}.key",
            "CERT_FILE": certificates.path(name),
            "CA_FILE": certificates.path(ca),
            "REQUIRE_CERT": "true",
        }.items():
            monkeypatch.setenv(f"LIBPROCESS_SSL_{variable}", str(value))

    return turn_on


def test_where_all_is_well_it_says_so(peer):
    found = doctor(0, peer)
    assert found["connect"][0].endswith("takes connections from 127.0.0.1")
    assert "speaks no TLS, and neither do contexts here" in found["protocol"][0]
    assert "it is compactor 1" in found["http"][0]
    assert found["clock"] == ("ok: both machines show the same time", "")
    assert found["process"] == ("ok: 'scheduler(1)' lives there", "")
    assert found["its address"][0].startswith("ok: its pids say ")
    assert found["way back"][0].endswith("of 127.0.0.1: it reaches us")


def test_where_all_is_well_in_tls_it_says_so(secure, tls_here):
    tls_here()
    found = doctor(0, secure(require_client_cert=True))
    assert "speaks TLS, as contexts here do" in found["protocol"][0]
    assert "is signed by the CA in " in found["ca"][0]
    assert "<- CA of the tests; for localhost, 127.0.0.1, ::1; until 20" in found["certificate"][0]


# The six


def test_a_wrong_advertised_address_of_ones_own(peer, monkeypatch):
    dead = own_port()
    monkeypatch.setenv("LIBPROCESS_ADVERTISE_PORT", str(dead))
    found = doctor(9, peer)
    text, change = found["address"]
    assert f"problem: pids say 127.0.0.1:{dead}; what listens is 127.0.0.1:" in text
    assert f"from here that is not reached: nobody listens at 127.0.0.1:{dead}" in text
    assert "set LIBPROCESS_ADVERTISE_IP and LIBPROCESS_ADVERTISE_PORT to where they reach" in change
    text, change = found["way back"]
    assert f"connects to port {dead} of 127.0.0.1 in vain: refused" in text
    assert f"open port {dead} here in the firewalls" in change


def test_a_wrong_advertised_address_of_the_peer():
    port, dead = own_port(), own_port()
    with_it = Context(ip="127.0.0.1", port=port, advertise_port=dead)
    with_it.start()
    try:
        text, change = doctor(9, f"127.0.0.1:{port}")["its address"]
    finally:
        with_it.stop()
    assert f"its pids say 127.0.0.1:{dead}, and you dial 127.0.0.1:{port}" in text
    assert f"from here nobody listens at 127.0.0.1:{dead}" in text
    assert "LIBPROCESS_ADVERTISE_PORT in that program to what you dial" in change


def test_an_advertised_address_at_which_somebody_else_answers(context, monkeypatch):
    monkeypatch.setenv("LIBPROCESS_ADVERTISE_PORT", str(context.port))
    text, change = doctor(9, "--timeout", 0.3)["address"]
    assert "from here another program answers there" in text
    assert "peers would talk to that one" in change


def test_a_firewall(deaf_ports):
    port = deaf_ports()
    text, change = doctor(9, f"127.0.0.1:{port}", "--timeout", 0.1)["connect"]
    assert f"problem: 127.0.0.1:{port} has not answered within 0.1 s: a firewall drops" in text
    assert f"have the firewalls on the way let port {port} through" in change


def test_a_firewall_on_the_way_back(peer, deaf_ports, monkeypatch):
    port = deaf_ports()
    monkeypatch.setenv("LIBPROCESS_ADVERTISE_PORT", str(port))
    monkeypatch.setattr("compactor.endpoints.reach._SECONDS", 0.1)
    text, change = doctor(9, peer, "--timeout", 0.5)["way back"]
    assert f"connects to port {port} of 127.0.0.1 in vain: timeout" in text
    assert f"open port {port} here in the firewalls" in change


def test_tls_there_alone(secure):
    text, change = doctor(9, secure())["protocol"]
    assert text.endswith("speaks TLS, and contexts here do not")
    assert "turn it on here, with LIBPROCESS_SSL_ENABLED=true" in change


def test_tls_here_alone(peer, tls_here):
    tls_here()
    text, change = doctor(9, peer)["protocol"]
    assert "speaks no TLS, and contexts here do" in text
    assert "turn it on there, with LIBPROCESS_SSL_ENABLED=true, or off here" in change


def test_a_wrong_ca_here(secure, tls_here, certificates):
    tls_here(ca="other")
    text, change = doctor(9, secure())["ca"]
    assert "is signed by 'CA of the tests', and not by the CA in " in text
    assert "other.pem (LIBPROCESS_SSL_CA_FILE)" in text
    assert "must be that of 'CA of the tests'" in change


def test_a_wrong_ca_there(secure, tls_here):
    """The peer does not take what is shown here."""
    tls_here("foreign")
    found = doctor(9, secure(require_client_cert=True))
    text, change = found["http"]
    assert text.startswith("problem: ")
    assert "that its CA has signed" in change


def test_a_dead_port():
    port = own_port()
    text, change = doctor(9, f"127.0.0.1:{port}")["connect"]
    assert f"problem: nobody listens at 127.0.0.1:{port}" in text
    assert "is the program running, on that machine?" in change
    assert "LIBPROCESS_PORT" in change


def test_a_wrong_id(peer, context):
    text, change = doctor(9, f"scheduler@{context.ip}:{context.port}")["process"]
    assert text == f"problem: no process 'scheduler' lives at {context.ip}:{context.port}"
    assert "ids are compared to the letter" in change


# And more


def test_a_name_without_address():
    text, change = doctor(9, "no-such-host.invalid:5050")["connect"]
    assert "no address is found for the host name 'no-such-host.invalid'" in text
    assert "correct the name" in change


@pytest.mark.parametrize(
    ("name", "check", "text", "change"),
    [
        ("elsewhere", "name", "the certificate there is not for the address", "--host 127.0.0.1"),
        ("expired", "ca", "certificate has expired", "make another certificate"),
    ],
)
def test_a_certificate_that_proves_nothing(secure, tls_here, name, check, text, change):
    tls_here()
    found = doctor(9, secure(name))
    assert text in found[check][0]
    assert change in found[check][1]


def test_what_is_no_context():
    with serving(saying("200 OK", b"hello")) as host:
        found = doctor(0, host)
    assert "no compactor that tells it" in found["http"][0]
    assert "run on that machine" in found["way back"][1]
    with serving(lambda connection: connection.sendall(b"220 smtp ESMTP\r\n")) as host:
        assert doctor(9, host)["http"][1].startswith("is it a context?")


def test_a_clock_that_is_behind():
    then = email.utils.formatdate(time.time() - 3600, usegmt=True)
    with serving(saying(f"404 Not Found\r\nDate: {then}")) as host:
        text, change = doctor(9, host)["clock"]
    assert f"problem: the clock of {host} is 3,60" in text
    assert "s behind the one here" in text
    assert "NTP" in change


def test_settings_and_where_they_come_from(monkeypatch):
    monkeypatch.setenv("LIBPROCESS_ADVERTISE_PORT", "5050")
    monkeypatch.setenv("SSL_ENABLED", "false")
    done = command("doctor", "--json", "--timeout", 0.2)
    listed = {one["name"]: one for one in json.loads(done.stdout)["settings"]}
    assert listed["advertise_port"] == {
        "name": "advertise_port",
        "value": 5050,
        "source": "LIBPROCESS_ADVERTISE_PORT",
    }
    assert listed["linger"]["source"] == "default"
    text, _ = doctor(9, "--timeout", 0.2)["settings"]
    assert "advertise_port=5050 from LIBPROCESS_ADVERTISE_PORT" in text
    assert "SSL_ENABLED=false" in text


@pytest.mark.parametrize(
    ("variable", "value", "check", "text"),
    [
        ("LIBPROCESS_PORT", "eighty", "settings", "LIBPROCESS_PORT='eighty' must be"),
        ("LIBPROCESS_IP", "192.0.2.1", "address", "no interface of this machine has 192.0.2.1"),
        ("LIBPROCESS_SSL_ENABLED", "1", "tls", "needs LIBPROCESS_SSL_KEY_FILE"),
    ],
)
def test_a_variable_that_cannot_be(monkeypatch, variable, value, check, text):
    monkeypatch.setenv(variable, value)
    found, change = doctor(9)[check]
    assert found.startswith("problem: ")
    assert text in found
    assert change


def test_a_program_that_runs_is_looked_at_itself(context, monkeypatch):
    monkeypatch.setenv("LIBPROCESS_PORT", str(context.port))
    done = command("doctor")
    assert done.exit_code == 0
    assert "a program listens at 127.0.0.1:" in done.stdout
    assert "which is taken for your context" in done.stdout


@pytest.mark.skipif(sys.platform == "win32", reason="there are no limits")
def test_few_descriptors(monkeypatch):
    import resource

    for soft, state in ((20, "problem"), (1024, "note"), (5000, "ok"), (1 << 20, "ok")):
        monkeypatch.setattr(resource, "getrlimit", lambda _, soft=soft: (soft, 1 << 20))
        assert [one.state for one in surroundings.check_descriptors()] == [state]


def test_pure_python(monkeypatch):
    monkeypatch.setenv("COMPACTOR_NO_SPEEDUPS", "1")
    speedups = surroundings.speedups()
    slow = type(speedups)("uvloop", "python", "python")
    monkeypatch.setattr(surroundings, "speedups", lambda: slow)
    (found,) = surroundings.check_speed()
    assert (found.state, found.change) == (
        "note",
        "COMPACTOR_NO_SPEEDUPS asks for it: unset it",
    )


def test_people_read_what_to_change_below_what_was_found():
    done = command("doctor", f"127.0.0.1:{own_port()}")
    assert done.exit_code == 9
    assert "\nproblem  connect       nobody listens at " in done.stdout
    assert "\n                       -> is the program running, on that machine?" in done.stdout


def test_its_own_port_is_closed_when_it_is_done():
    port = own_port()
    for _ in range(2):
        assert command("doctor", env={"LIBPROCESS_PORT": str(port)}).exit_code == 0
    with socket.create_server(("127.0.0.1", port)):
        pass
