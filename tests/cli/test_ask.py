"""``compactor ask``: answers, and why there are none."""

from __future__ import annotations

import json
import os

import pytest

from compactor import PID, Context, Process, answer, install
from tests.actors import spawned
from tests.cli.running import command, fails
from tests.ports import own_port


class Oracle(Process):
    @answer("echo")
    def echo(self, from_pid: PID, body: bytes) -> bytes:
        return body

    @answer("fail")
    def fail(self, from_pid: PID, body: bytes) -> bytes:
        raise LookupError("nothing there")

    @install("silent")
    def silent(self, from_pid: PID, body: bytes) -> None:
        pass

    @install("reply")
    def like_cpp(self, from_pid: PID, body: bytes) -> None:
        self.send(from_pid, "whatever", body.upper())

    @answer("end")
    def end(self, from_pid: PID, body: bytes) -> None:
        self.defer_reply()
        self.terminate()


@pytest.fixture
def oracle(context):
    return spawned(context, Oracle("oracle"))


@pytest.mark.parametrize("way", [(), ("--http",)])
def test_an_answer_is_printed_as_it_is(oracle, way):
    body = bytes(range(256)) * 4096
    done = command("ask", oracle.pid, "echo", "-", *way, input=body)
    assert done.exit_code == 0, done.stderr
    assert done.stdout_bytes == body
    assert done.stderr == ""


def test_an_actor_that_sends_its_answer_is_asked_as_well(oracle):
    assert command("ask", oracle.pid, "reply", "abc").stdout == "ABC"


@pytest.mark.parametrize(
    ("body", "shown"),
    [
        ('{"a": [1, "é"]}', {"json": {"a": [1, "é"]}}),
        ("plain", {"text": "plain"}),
        (b"\xff\x00", {"base64": "/wA="}),
        ("", {"text": ""}),
    ],
)
def test_json_has_the_answer_as_what_it_is(oracle, body, shown):
    done = command("ask", oracle.pid, "echo", "-", "--json", input=body)
    assert json.loads(done.stdout) == {"from": str(oracle.pid), "name": "echo", **shown}


def test_a_handler_that_has_raised_is_told(oracle):
    said = fails(7, "ask", oracle.pid, "fail")
    assert said == "Error: the handler of 'fail' has raised LookupError: nothing there\n"
    assert "has answered 500" in fails(7, "ask", oracle.pid, "fail", "--http")


@pytest.mark.parametrize(
    ("name", "code", "why"),
    [
        ("unknown", 6, "no handler"),
        ("end", 7, "terminated"),
        (
            "silent",
            8,
            "has not answered 'silent' within 0.2 s: it is busy, answers no such",
        ),
    ],
)
def test_who_gets_no_answer_hears_why(oracle, name, code, why):
    assert why in fails(code, "ask", oracle.pid, name, "--timeout", 0.2 if code == 8 else 5)


def test_who_cannot_be_reached_answers_nothing(oracle):
    said = fails(3, "ask", f"oracle@127.0.0.1:{own_port()}", "echo")
    assert "refused" in said
    unknown = PID(*oracle.pid.address, "orakel")
    assert "no such process" in fails(6, "ask", unknown, "echo")
    assert "there is no" in fails(6, "ask", unknown, "echo", "--http")


def test_an_answer_that_cannot_come_back_is_told_with_the_address_it_would_need(oracle):
    """The peer is told an address where nobody listens."""
    address = f"127.0.0.1:{own_port()}"
    said = fails(8, "ask", oracle.pid, "reply", "--advertise", address, "--timeout", 0.3)
    assert f"or cannot reach this command at {address} (see --bind, --advertise" in said
    done = command("ask", oracle.pid, "reply", "x", "--bind", f"127.0.0.1:{own_port()}")
    assert done.stdout == "X"


def test_the_ports_of_the_program_whose_environment_this_is_are_left_alone(oracle, monkeypatch):
    monkeypatch.setenv("LIBPROCESS_PORT", str(oracle.pid.port))
    monkeypatch.setenv("LIBPROCESS_ADVERTISE_PORT", str(own_port()))
    assert command("ask", oracle.pid, "reply", "x").stdout == "X"
    assert os.environ["LIBPROCESS_PORT"] == str(oracle.pid.port)


@pytest.mark.parametrize(
    ("option", "value", "why"),
    [
        ("--bind", "localhost", "give an IP address"),
        ("--bind", "127.0.0.1:99999", "the port must be a number from 0 to 65535"),
        ("--bind", "192.0.2.1", "no interface has that address"),
        ("--advertise", "0.0.0.0", "must be an address that peers can dial"),
        ("--advertise", "[::1]:x", "the port must be a number"),
    ],
)
def test_an_address_of_its_own_that_cannot_be_is_told(option, value, why):
    assert why in fails(2, "ask", "oracle@127.0.0.1:1", "echo", option, value)


# TLS


@pytest.fixture
def secure(certificates):
    """An oracle that wants to know who asks, and the options that show it."""
    context = Context(ip="127.0.0.1", port=own_port(), tls=certificates.verifying())
    oracle = spawned(context, Oracle("oracle"))
    files = {"ca": "ca.pem", "cert": "host.pem", "key": "host.key"}
    options = [f"--{name}={certificates.folder / file}" for name, file in files.items()]
    yield oracle, options
    context.stop()


def test_who_shows_a_certificate_is_answered_in_tls(secure):
    oracle, options = secure
    assert command("ask", oracle.pid, "echo", "abc", *options).stdout == "abc"
    assert command("ask", oracle.pid, "echo", "abc", "--http", *options).stdout == "abc"
    listed = command("ps", f"https://{oracle.pid.host}", "--interval", 0, *options)
    assert "oracle" in listed.stdout


def test_in_tls_a_command_that_listens_needs_a_certificate(secure):
    oracle, options = secure
    said = fails(2, "ask", oracle.pid, "echo", options[0])
    assert "LIBPROCESS_SSL_KEY_FILE" in said
    assert "This command listens, too, so it needs a certificate for TLS: --cert and --key" in said
    assert "as by one that speaks TLS (see --tls)" in fails(11, "ask", oracle.pid, "echo")


def test_a_peer_whose_certificate_proves_nothing_is_not_asked(certificates, secure):
    oracle, options = secure
    other = f"--ca={certificates.path('other')}"
    said = fails(4, "ask", oracle.pid, "echo", other, *options[1:])
    assert "tls" in said
    assert "the certificate of the peer is refused" in said
