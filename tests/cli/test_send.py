"""``compactor send``: what it takes, what it says, and what it ends with."""

from __future__ import annotations

import json

import pytest

from compactor import PID, Process, install
from compactor.cli import bodies
from tests.actors import Events, spawned
from tests.cli.running import command, fails
from tests.ports import own_port


class Clerk(Process):
    def __init__(self, name: str = "clerk(1)") -> None:
        super().__init__(name)
        self.got = Events()

    @install("note")
    def note(self, from_pid: PID, body: bytes) -> None:
        self.got.put((str(from_pid), body))


@pytest.fixture
def clerk(context):
    return spawned(context, Clerk())


def test_a_message_arrives_from_nobody_with_what_was_typed(clerk):
    done = command("send", clerk.pid, "note", "héllo")
    assert done.exit_code == 0, done.stderr
    assert done.stdout == f"{clerk.pid} has taken 'note', 6 bytes\n"
    assert clerk.got.take() == ("@0.0.0.0:0", "héllo".encode())


def test_a_message_may_have_no_body_and_a_sender(clerk):
    done = command("send", clerk.pid, "note", "--from", "me@127.0.0.1:9", "--json")
    assert json.loads(done.stdout) == {
        "to": str(clerk.pid),
        "name": "note",
        "bytes": 0,
        "status": 202,
    }
    assert clerk.got.take() == ("me@127.0.0.1:9", b"")


def test_bodies_come_from_files_and_from_standard_input_as_they_are(clerk, tmp_path):
    large = bytes(range(256)) * 8192  # 2 MiB, and no UTF-8
    (tmp_path / "body").write_bytes(large)
    assert command("send", clerk.pid, "note", "--file", tmp_path / "body").exit_code == 0
    assert clerk.got.take()[1] == large
    for args in (("-",), ("--file", "-")):
        assert command("send", clerk.pid, "note", *args, input=large).exit_code == 0
        assert clerk.got.take()[1] == large


def test_json_is_checked_before_anything_is_sent(clerk, tmp_path):
    assert command("send", clerk.pid, "note", '{"a": 1}', "--as-json").exit_code == 0
    assert clerk.got.take()[1] == b'{"a": 1}'
    assert "BODY is no JSON: " in fails(2, "send", clerk.pid, "note", "{a: 1}", "--as-json")
    said = fails(2, "send", clerk.pid, "note", "-", "--as-json", input=b"\xff")
    assert "standard input is no JSON: " in said
    assert "no JSON" in fails(2, "send", clerk.pid, "note", "-", "--as-json", input="[" * 200_000)
    assert clerk.got.is_empty


def test_files_that_cannot_be_read_are_named(tmp_path):
    pid = "clerk@127.0.0.1:1"
    missing = tmp_path / "missing"
    said = fails(2, "send", pid, "note", "--file", missing)
    assert f"{str(missing)!r} cannot be read: No such file or directory" in said
    assert "Is a directory" in fails(2, "send", pid, "note", "--file", tmp_path)
    assert "give BODY or --file, not both" in fails(2, "send", pid, "note", "a", "--file", "b")
    assert "embedded null" in fails(2, "send", pid, "note", "--file", "a\0b")


def test_what_no_context_would_take_is_not_sent(monkeypatch):
    monkeypatch.setattr(bodies, "MOST_BYTES", 1 << 20)
    said = fails(2, "send", "clerk@127.0.0.1:1", "note", "-", input=bytes((1 << 20) + 1))
    assert "standard input has more than 1 MiB" in said


@pytest.mark.parametrize(
    ("pid", "why"),
    [
        ("clerk", "'clerk' is not of the form id@ip:port; give one such as master@127.0.0.1:5050"),
        ("clerk@127.0.0.1", "is not of the form id@ip:port"),
        ("clerk@127.0.0.1:port", "is not of the form id@ip:port"),
        ("clerk@127.0.0.1:70000", "port 70000 is not from 0 to 65535"),
        ("clerk@127.0.0.1:0", "nobody listens at port 0"),
        ("@127.0.0.1:5050", "names no process before the @"),
        ("a b@127.0.0.1:5050", "must not contain ' '"),
        ("clerk@::1:5050", "has an IPv6 address without brackets"),
        ("cl\udcffrk@127.0.0.1:5050", "must not contain"),
        ("", "is not of the form id@ip:port"),
        ("x" * 100_000, "is not of the form id@ip:port"),
    ],
)
def test_a_malformed_pid_is_told_with_what_would_be_right(pid, why):
    said = fails(2, "send", pid, "note")
    assert why in said
    assert "Invalid value for 'PID'" in said


@pytest.mark.parametrize("name", ["", "a b", "a\nb", "n\udcffte", "nöte", "a?b"])
def test_a_name_that_no_message_can_have_is_told(name, clerk):
    assert "name" in fails(2, "send", clerk.pid, name)


def test_an_unknown_id_is_told(clerk):
    unknown = PID(clerk.pid.ip, clerk.pid.port, "clerk")
    said = fails(6, "send", unknown, "note")
    which = f"compactor ps {unknown.host} lists those that do"
    assert said == f"Error: no process 'clerk' lives at {unknown.host}; {which}\n"


def test_names_of_other_scripts_arrive(context):
    clerk = spawned(context, Clerk("büro"))
    assert command("send", clerk.pid, "note", "x").exit_code == 0
    assert clerk.got.take()[1] == b"x"


def test_a_dead_port_a_deaf_one_and_a_name_without_address_are_told_apart(deaf_ports):
    port = own_port()
    said = fails(3, "send", f"clerk@127.0.0.1:{port}", "note")
    assert f"nobody listens at 127.0.0.1:{port}: the program has ended, or has another port" in said
    said = fails(3, "send", f"clerk@127.0.0.1:{deaf_ports()}", "note", "--timeout", "0.05")
    assert "a firewall drops what goes there" in said
    said = fails(3, "send", "clerk@no-such-host.invalid:5050", "note")
    assert "no address is found for the host name 'no-such-host.invalid'" in said
    assert "no address is found" in fails(3, "send", f"clerk@{'x' * 70}:5050", "note")
