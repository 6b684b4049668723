"""What commands ask over HTTP: bounds, TLS, and secrets that go nowhere else."""

from __future__ import annotations

import base64
import ipaddress
import json
import socket
import time

import pytest

from compactor import Context, Process, install
from compactor.cli import http_client
from compactor.cli.credentials import challenges
from tests.cli.running import command, fails
from tests.cli.servers import head_of, saying, serving
from tests.ports import own_port


def send(host: str, *args: object, **kw: object) -> tuple[object, ...]:
    return ("send", f"clerk@{host}", "note", *args)


# Bounds


def test_a_server_that_talks_slowly_does_not_hold_a_command(monkeypatch):
    def drip(connection: socket.socket) -> None:
        head_of(connection)
        for byte in b"HTTP/1.1 202 Accepted\r\n" + b"a: b\r\n" * 1000:
            connection.sendall(bytes([byte]))
            time.sleep(0.01)

    with serving(drip) as host:
        begin = time.monotonic()
        assert "has not answered /clerk/note within 0.2 s" in fails(
            8, *send(host, "--timeout", 0.2)
        )
        assert time.monotonic() - begin < 5


def test_a_server_that_shakes_hands_slowly_does_not_hold_a_command():
    def drip(connection: socket.socket) -> None:
        for byte in b"\x16\x03\x03\x40\x00" + bytes(1000):
            connection.sendall(bytes([byte]))
            time.sleep(0.02)

    with serving(drip) as host:
        begin = time.monotonic()
        fails(4, *send(host, "--tls", "--timeout", 0.2))
        assert time.monotonic() - begin < 5


def test_a_server_that_never_ends_does_not_fill_the_memory(monkeypatch):
    monkeypatch.setattr(http_client, "MOST_BYTES", 2 << 20)

    def flood(connection: socket.socket) -> None:
        head_of(connection)
        connection.sendall(b"HTTP/1.1 200 OK\r\n\r\n")
        while True:
            connection.sendall(bytes(65536))

    with serving(flood) as host:
        assert "answers with more than 2 MiB" in fails(7, *send(host))


CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"


@pytest.mark.parametrize(
    ("said", "code", "why"),
    [
        (b"", 11, "has closed the connection without an answer, as one does that speaks TLS"),
        (b"220 smtp.example.com ESMTP\r\n", 7, "answers with what is no HTTP"),
        (b"\x15\x03\x03\x00\x02\x02\x46", 4, "speaks TLS: give --tls, and --ca"),
        (b"HTTP/1.1 202 \xff\xfe\r\n\r\n", 0, ""),
        (b"HTTP/1.1 99999 no\r\n\r\n", 7, "answers with what is no HTTP"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nabc", 7, "answers with what is no HTTP"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 1%s\r\n\r\nabc" % (b"0" * 12), 7, "more than 64 MiB"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 1%s\r\n\r\nabc" % (b"0" * 30), 7, "more than 64 MiB"),
        (CHUNKED + b"e8d4a51000\r\nabc", 7, "answers with what is no HTTP"),
        (CHUNKED + b"f" * 20 + b"\r\nabc", 7, "answers with what is no HTTP"),
        (CHUNKED + b"-5\r\nabc", 7, "answers with what is no HTTP"),
        (b"HTTP/1.1 200 OK\r\n" + b"a: b\r\n" * 1000 + b"\r\n", 7, "answers with what is no HTTP"),
        (b"HTTP/1.1 302 Found\r\nLocation: http://elsewhere/\r\n\r\n", 7, "has answered 302"),
        (b"HTTP/1.1 400 Bad Request\r\n\r\nno \x1b[31m such", 7, "has answered 400: no \\x1b[31m"),
    ],
)
def test_what_is_no_context_is_told(said, code, why):
    def answer(connection: socket.socket) -> None:
        head_of(connection)
        connection.sendall(said)

    with serving(answer) as host:
        done = command(*send(host))
    assert (done.exit_code, why in done.stderr) == (code, True), done.stderr


# TLS


class Clerk(Process):
    @install("note")
    def note(self, from_pid, body):
        pass


@pytest.fixture
def secure(certificates):
    """Makes contexts that speak TLS, with one clerk each; their ``host:port``."""
    made = []

    def make(**kw: object) -> str:
        made.append(Context(ip="127.0.0.1", port=own_port(), tls=certificates.settings(**kw)))
        made[-1].spawn(Clerk("clerk"))
        return f"127.0.0.1:{made[-1].port}"

    yield make
    for context in made:
        context.stop()


def test_a_context_that_speaks_tls_is_asked_in_tls(secure, certificates, monkeypatch):
    host, ca = secure(), certificates.path("ca")
    assert command(*send(host, "--ca", ca)).exit_code == 0
    assert command(*send(host), env={"COMPACTOR_CA": str(ca)}).exit_code == 0
    assert command(*send(host, "--insecure", "--tls")).exit_code == 0
    rules = {"ENABLED": "1", "CA_FILE": ca, "CERT_FILE": certificates.path("host")}
    rules["KEY_FILE"] = certificates.folder / "host.key"
    for name, value in rules.items():
        monkeypatch.setenv(f"LIBPROCESS_SSL_{name}", str(value))
    assert command(*send(host)).exit_code == 0


def test_a_certificate_of_ones_own_is_shown(secure, certificates):
    host, ca = secure(require_client_cert=True), certificates.path("ca")
    own = ("--cert", certificates.path("host"), "--key", certificates.folder / "host.key")
    assert command(*send(host, "--ca", ca, *own)).exit_code == 0
    assert command(*send(host, "--ca", ca)).exit_code in (4, 11)
    assert "--cert and --key are given together" in fails(2, *send(host, *own[:2]))


@pytest.mark.parametrize(
    ("name", "ca", "why"),
    [
        ("host", "other", "; give the CA that has signed it with --ca"),
        ("host", None, "; give the CA that has signed it with --ca"),
        ("elsewhere", "ca", "IP address mismatch, certificate is not valid for '127.0.0.1'"),
        ("expired", "ca", "certificate has expired; it has to be renewed"),
    ],
)
def test_a_certificate_that_proves_nothing_is_refused(secure, certificates, name, ca, why):
    trusted = ("--ca", certificates.path(ca)) if ca else ("--tls",)
    assert why in fails(4, *send(secure(name=name), *trusted))


def test_tls_on_one_side_alone_is_told(secure, context):
    context.spawn(Clerk("clerk"))
    plain = f"{context.ip}:{context.port}"
    said = fails(4, *send(plain, "--tls"))
    assert "leave out --tls" in said or "no-tls" in said
    done = command(*send(secure()))
    assert done.exit_code in (4, 11)
    assert "speaks TLS" in done.stderr


@pytest.mark.parametrize("ca", ["ca.key", "nothing"])
def test_a_ca_that_is_none_is_told(certificates, tmp_path, ca):
    (tmp_path / "nothing").write_text("")
    path = (certificates.folder if ca == "ca.key" else tmp_path) / ca
    assert f"the CA in {str(path)!r} cannot be used" in fails(2, *send("127.0.0.1:1", "--ca", path))


# Secrets

SECRET = "correct horse"
BASIC = "Basic " + base64.b64encode(f"ann:{SECRET}".encode()).decode()


@pytest.fixture
def guarded():
    """A server that asks who it is, by the given challenge; what it was told."""
    heads: list[str] = []

    class Guarded:
        challenge = 'Basic realm="ro"'
        told = heads

    def answer(connection: socket.socket) -> None:
        heads.append(head_of(connection))
        status = "202 Accepted" if "Authorization:" in heads[-1] else "401 Unauthorized"
        lines = f"HTTP/1.1 {status}\r\nWWW-Authenticate: {Guarded.challenge}\r\n"
        connection.sendall(f"{lines}Content-Length: 0\r\n\r\n".encode())

    with serving(answer) as host:
        Guarded.host = host  # type: ignore[attr-defined]
        yield Guarded


def authorization(head: str) -> str:
    return "".join(line[15:] for line in head.splitlines() if line.startswith("Authorization: "))


@pytest.mark.parametrize(
    "content",
    [
        {"principal": "ann", "secret": SECRET},
        {"credentials": [{"principal": "ann", "secret": SECRET, "realm": "ro"}]},
        [{"token": "t", "realm": "rw"}, {"principal": "ann", "secret": SECRET}],
    ],
)
def test_a_secret_is_told_to_who_asks_for_it(guarded, tmp_path, content):
    file = tmp_path / "secret"
    file.write_text(json.dumps(content))
    file.chmod(0o600)
    done = command(*send(guarded.host, "--credentials", file))
    assert done.exit_code == 0, done.stderr
    assert [authorization(head) for head in guarded.told] == ["", BASIC]
    assert SECRET not in done.output


def test_a_secret_that_can_be_read_on_its_way_is_warned_of_once(guarded, monkeypatch):
    monkeypatch.setattr(http_client, "ip_of", lambda _: ipaddress.ip_address("192.0.2.7"))
    env = {"COMPACTOR_USER": "ann", "COMPACTOR_PASSWORD": SECRET}
    done = command(*send(guarded.host), env=env)
    assert done.exit_code == 0
    assert done.stderr.count("can read the credentials") == 1
    assert SECRET not in done.output


def test_secrets_may_stand_in_the_environment(guarded):
    user = {"COMPACTOR_USER": "ann", "COMPACTOR_PASSWORD": SECRET}
    assert command(*send(guarded.host), env=user).exit_code == 0
    guarded.challenge = 'Basic realm="x, y", Bearer realm="jwt", error="invalid_token"'
    assert command(*send(guarded.host), env={"COMPACTOR_TOKEN": "a.b.c"}).exit_code == 0
    assert [authorization(head) for head in guarded.told] == ["", BASIC, "", "Bearer a.b.c"]
    said = fails(2, *send(guarded.host), env={"COMPACTOR_PASSWORD": SECRET})
    assert "COMPACTOR_PASSWORD is set, and COMPACTOR_USER is not" in said
    assert SECRET not in said


@pytest.mark.parametrize(
    ("challenge", "options"),
    [
        ('Basic realm="ro"', ("--realm", "rw")),
        ('Basic realm="other"', ("--realm", "ro")),
        ('Bearer realm="ro"', ()),
        ('Digest realm="ro"', ()),
        ("", ()),
    ],
)
def test_a_secret_is_told_to_nobody_else(guarded, challenge, options):
    guarded.challenge = challenge
    env = {"COMPACTOR_USER": "ann", "COMPACTOR_PASSWORD": SECRET}
    said = fails(5, *send(guarded.host, *options), env=env)
    assert f"wants to know who asks ({challenge})" in said
    assert not any(map(authorization, guarded.told))
    assert SECRET not in said


@pytest.mark.parametrize(
    "content",
    [
        "",
        "{",
        "ann",
        f"ann {SECRET}",
        "[" * 10_000,
        "[1]",
        '{"principal": "ann"}',
        '{"secret": "x"}',
    ]
    + [json.dumps({"principal": p, "secret": s}) for p, s in (("a:b", "x"), ("a", "x\r\ny"))]
    + [json.dumps({"token": t}) for t in ("", "é", 7)],
)
def test_credentials_that_are_none_are_told_without_them(guarded, tmp_path, content):
    file = tmp_path / "secret"
    file.write_text(content)
    file.chmod(0o600)
    said = fails(2, *send(guarded.host, "--credentials", file))
    assert str(file) in said
    assert SECRET not in said


def test_a_secret_that_everybody_can_read_is_not_used(guarded, tmp_path):
    (tmp_path / "secret").write_text("ann secret")
    (tmp_path / "secret").chmod(0o644)
    said = fails(2, *send(guarded.host, "--credentials", tmp_path / "secret"))
    assert "everybody can read" in said
    assert "chmod 600" in said


def test_a_challenge_takes_time_that_is_linear_in_it():
    begin = time.monotonic()
    challenges(["Basic " * 100_000, ", Basic x=" * 100_000, "Bearer " + "\\" * 1_000_000])
    assert time.monotonic() - begin < 1


def test_what_is_forbidden_is_told():
    with serving(saying("403 Forbidden", b"Endpoint '/x' is disabled")) as host:
        assert "is forbidden: Endpoint '/x' is disabled" in fails(5, *send(host))


def test_settings_of_tls_that_cannot_be_used_are_told(monkeypatch):
    monkeypatch.setenv("LIBPROCESS_SSL_ENABLED", "perhaps")
    assert "LIBPROCESS_SSL_ENABLED='perhaps' must be true" in fails(2, *send("127.0.0.1:1"))
