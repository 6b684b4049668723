"""The ``compactor`` command, run as a user runs it."""

from __future__ import annotations

import dataclasses
import os
import re
import subprocess
import sys

import pytest

from compactor import Settings, __version__, speedups
from compactor.cli.demo import Part

DEMO_SECONDS = 60


def run(*args: str, before: str = "") -> subprocess.CompletedProcess[str]:
    program = f"{before}\nfrom compactor.cli import main\nmain()"
    return subprocess.run(
        [sys.executable, "-W", "error", "-c", program, *args],
        capture_output=True,
        text=True,
        timeout=DEMO_SECONDS,
    )


def is_running(os_pid: int) -> bool:
    try:
        os.kill(os_pid, 0)
    except ProcessLookupError:
        return False
    return True


def test_demo_tells_the_whole_story_and_leaves_nothing_behind():
    done = run("demo")
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    steps = re.findall(r"^ *(\d+)\. (\S+) +(.*)$", done.stdout, re.MULTILINE)
    assert [int(number) for number, _, _ in steps] == list(range(1, 12))
    story = [
        ("leader", "starts as OS process"),
        ("follower-1", "its address is follower-1@127.0.0.1:"),
        ("follower-2", "its address is follower-2@127.0.0.1:"),
        ("leader", "gets 'register' from follower-1 and follower-2"),
        ("followers", "get 'registered' and link to the leader"),
        ("demo", "kills follower-1 (SIGKILL)"),
        ("leader", "is told that follower-1 has exited (reason: "),
        ("leader", "sends 'ping' to follower-2, which answers 'pong'"),
        ("demo", "tells the leader to stop"),
        ("follower-2", "is told that leader has exited (reason: terminated)"),
        ("follower-2", "ends as well, with status 0"),
    ]
    for (_, who, what), (expected_who, expected_what) in zip(steps, story, strict=True):
        assert who == expected_who
        assert expected_what in what
    assert re.search(r"^Done\. ", done.stdout, re.MULTILINE)
    os_pids = [int(number) for number in re.findall(r"OS process (\d+)", done.stdout)]
    assert len(set(os_pids)) == 3
    assert not any(is_running(os_pid) for os_pid in os_pids)


def test_demo_says_what_did_not_happen_in_time():
    done = run("demo", "--timeout", "0.001")
    assert done.returncode == 1
    assert "Error: the demo failed: leader did not report 'pid' within 0.001 s" in done.stderr


def test_demo_is_not_disturbed_by_the_environment(monkeypatch):
    monkeypatch.setenv("LIBPROCESS_PORT", "not a port")
    monkeypatch.setenv("LIBPROCESS_ADVERTISE_IP", "192.0.2.1")
    monkeypatch.setenv("LIBPROCESS_SSL_SUPPORT_DOWNGRADE", "perhaps")
    monkeypatch.setenv("SSL_ENABLED", "true")
    assert run("demo").returncode == 0


@pytest.mark.parametrize("role", [["demo-leader"], ["demo-follower", "f", "leader@127.0.0.1:1"]])
def test_a_part_ends_when_the_demo_is_gone(role, tmp_path):
    with (tmp_path / "stderr").open("wb") as stderr:
        part = Part("part", role, stderr)
        try:
            part.expect("pid", DEMO_SECONDS)
            part.dismiss()
            part.expect_end(DEMO_SECONDS)
        finally:
            part.close()


def test_version_names_everything_that_matters_in_a_bug_report():
    done = run("version")
    assert done.returncode == 0, done.stderr
    found = dict(line.split(None, 1) for line in done.stdout.splitlines())
    assert list(found) == ["compactor", "python", "loop", "httptools", "protobuf", "speedups"]
    assert found["compactor"] == __version__
    assert found["python"].startswith(".".join(map(str, sys.version_info[:3])))
    assert re.fullmatch(r"uvloop [\d.]+|asyncio", found["loop"])
    assert found["speedups"] == str(speedups())


def test_version_says_asyncio_where_uvloop_is_missing():
    done = run("version", before="import sys; sys.modules['uvloop'] = None")
    assert re.search(r"^loop +asyncio$", done.stdout, re.MULTILINE)


def test_missing_click_is_one_clear_line():
    done = run("demo", before="import sys; sys.modules['click'] = None")
    assert done.returncode == 1
    assert done.stderr.splitlines() == [
        "compactor: the command needs click; install it with: pip install 'compactor[cli]'"
    ]


def test_settings_lists_every_setting_with_the_values_of_the_environment(monkeypatch):
    monkeypatch.setenv("LIBPROCESS_PORT", "5050")
    done = run("settings")
    assert done.returncode == 0, done.stderr
    lines = {line.split()[0]: line for line in done.stdout.splitlines()}
    assert list(lines) == [field.name for field in dataclasses.fields(Settings)]
    assert "5050 (by default 0)" in lines["port"]
    assert "dead letters" in lines["max_parked_bytes"]


def test_settings_names_a_bad_variable(monkeypatch):
    monkeypatch.setenv("LIBPROCESS_PORT", "eighty")
    done = run("settings")
    assert done.returncode == 1
    assert "LIBPROCESS_PORT='eighty' must be a whole number from 0 to 65535" in done.stderr
