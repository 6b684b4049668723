"""Commands, and contexts that want to know who asks."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest

from compactor import Context, Process, answer
from compactor.auth import Access, Basic
from tests.cli.running import command, fails
from tests.ports import own_port

SECRET = "correct horse"


class Till(Process):
    @answer("total", realm="staff")
    def total(self, from_pid, body):
        return b"12.50"


@pytest.fixture
def guarded() -> Iterator[str]:
    """A context with three realms; its ``host:port``."""
    everybody = Basic({"ann": SECRET})
    realms = {"readonly": everybody, "readwrite": Basic({"root": "all powers"}), "staff": everybody}
    context = Context(ip="127.0.0.1", port=own_port(), access=Access(authenticators=realms))
    context.spawn(Till("till"))
    yield f"127.0.0.1:{context.port}"
    context.stop()


@pytest.fixture
def file(tmp_path):
    """Credentials for two of the realms."""
    path = tmp_path / "credentials.json"
    ann = {"principal": "ann", "secret": SECRET}
    root = {"principal": "root", "secret": "all powers", "realm": "readwrite"}
    path.write_text(json.dumps({"credentials": [root, {**ann, "realm": "staff"}]}))
    path.chmod(0o600)
    return path


def test_each_realm_is_told_who_it_knows(guarded, file):
    said = fails(5, "logs", guarded)
    assert 'wants to know who asks (Basic realm="readwrite")' in said
    done = command("logs", guarded, "--level", "info", "--for", "1s", "--credentials", file)
    assert done.exit_code == 0, done.stderr
    done = command("ask", "--http", f"till@{guarded}", "total", "--credentials", file)
    assert done.stdout == "12.50"
    assert "forbidden" not in done.stderr


def test_who_is_not_known_is_told_so_and_no_secret_is_shown(guarded, file):
    args = ("ask", "--http", f"till@{guarded}", "total")
    wrong = {"COMPACTOR_USER": "ann", "COMPACTOR_PASSWORD": "wrong horse"}
    said = fails(5, *args, env=wrong)
    assert "what was given was refused" in said
    assert "horse" not in said
    said = fails(5, *args, "--credentials", file, "--realm", "readwrite")
    assert 'wants to know who asks (Basic realm="staff")' in said
    right = {"COMPACTOR_USER": "ann", "COMPACTOR_PASSWORD": SECRET}
    assert command(*args, env=right).stdout == "12.50"


def test_the_doctor_asks_as_who_it_is(guarded):
    who = {"COMPACTOR_USER": "ann", "COMPACTOR_PASSWORD": SECRET}
    found = json.loads(command("doctor", f"till@{guarded}", "--json", env=who).stdout)["findings"]
    assert found[-1]["text"].endswith("it reaches us")
    found = json.loads(command("doctor", f"till@{guarded}", "--json").stdout)["findings"]
    assert found[-1]["text"].startswith("whether it reaches us is not known: ")
