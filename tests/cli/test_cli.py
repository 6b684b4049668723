"""The ``compactor`` command, run as a user runs it."""

from __future__ import annotations

import dataclasses
import importlib.util
import os
import re
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

import compactor
from compactor import Settings, TlsSettings, __version__, speedups
from compactor.cli.bench.contest import COMPILED, PURE, Bench, Contestant
from compactor.cli.child import Child, ChildError
from compactor.cli.group import _COMMANDS

DEMO_SECONDS = 60
HIDDEN = {"bench-part", "demo-follower", "demo-leader"}


def run(
    *args: str, before: str = "", options: Sequence[str] = ()
) -> subprocess.CompletedProcess[str]:
    program = f"{before}\nfrom compactor.cli import main\nmain()"
    return subprocess.run(
        [sys.executable, "-W", "error", *options, "-c", program, *args],
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


@pytest.mark.smoke
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


ROW = re.compile(r"^(\S.*?)  +([\d,]+) msg/s +([\d.]*) +([\d.]+) us +([\d.]+) us *([\d.]*)$", re.M)


def test_bench_compares_backends_with_a_bare_loop():
    done = run("bench", "--seconds", "0.05", "--rounds", "1")
    assert done.returncode == 0, done.stderr
    (floor, *ours) = ROW.findall(done.stdout)
    assert floor[0] == f"bare {speedups().loop}"
    assert "round 1 of 1: compactor, pure Python" in done.stderr
    names = ["compactor, pure Python"]
    if importlib.util.find_spec("compactor._speedups.wire.encoder"):
        names.insert(0, "compactor, compiled")
    assert [row[0] for row in ours] == names
    assert ("no compiled extensions" in done.stdout) == (len(names) == 1)

    def number(text: str) -> float:
        return float(text.replace(",", ""))

    def check_ratio(ratio: str, above: str, below: str) -> None:
        """It is that of the numbers before they were rounded."""
        half = {text: 0.5 * 10.0 ** -len(text.partition(".")[2]) for text in (above, below, ratio)}
        least = (number(above) - half[above]) / (number(below) + half[below])
        most = (number(above) + half[above]) / (number(below) - half[below])
        assert least - half[ratio] <= number(ratio) <= most + half[ratio]

    for _, rate, of_rate, p50, p99, of_p50 in ours:
        check_ratio(of_rate, rate, floor[1])
        check_ratio(of_p50, floor[3], p50)
        assert number(p50) <= number(p99)


def test_bench_says_when_there_are_no_extensions(monkeypatch):
    monkeypatch.delenv("COMPACTOR_REQUIRE_SPEEDUPS", raising=False)
    done = run(
        *("bench", "--seconds", "0.02", "--rounds", "1"),
        before="import sys; sys.modules['compactor._speedups.wire.encoder'] = None",
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("There are no compiled extensions here, so pure Python is all: ") == 1
    is_source_tree = (Path(compactor.__file__).parents[1] / "setup.py").is_file()
    assert ("python setup.py build_ext --inplace" in done.stdout) == is_source_tree
    assert [row[0] for row in ROW.findall(done.stdout)][1:] == ["compactor, pure Python"]


def test_bench_runs_the_backend_that_it_names_whatever_the_environment_says(monkeypatch):
    monkeypatch.setenv("COMPACTOR_NO_SPEEDUPS", "1")
    monkeypatch.setenv("LIBPROCESS_PORT", "not a port")
    program = (
        "from compactor.runtime import hot_path; print('kind', hot_path.chosen.kind, sep='\\t')"
    )
    for contestant in Bench(1.0, 1, print).ours:
        environ = {n: v for n, v in {**os.environ, **contestant.environ}.items() if v is not None}
        found = subprocess.check_output([sys.executable, "-c", program], env=environ, text=True)
        kind = {COMPILED: "cython", PURE: "python"}[contestant.name]
        assert found.split() == ["kind", kind]


def test_bench_tells_what_a_child_said_when_it_failed(monkeypatch, tmp_path):
    monkeypatch.setattr("compactor.cli.bench.contest.PATIENCE", 10.0)
    bench = Bench(0.02, 1, print)
    bench.floor = Contestant("broken", prefix="no-such-")
    with pytest.raises(ChildError, match=r"(?s)broken: sink reported \['end'\].*no-such-sink"):
        bench.run()


@pytest.mark.parametrize("role", [["demo-leader"], ["demo-follower", "f", "leader@127.0.0.1:1"]])
def test_a_child_ends_when_the_demo_is_gone(role, tmp_path):
    with (tmp_path / "stderr").open("wb") as stderr:
        child = Child("part", role, stderr)
        try:
            child.expect("pid", DEMO_SECONDS)
            child.dismiss()
            child.expect_end(DEMO_SECONDS)
        finally:
            child.close()


@pytest.mark.parametrize("role", ["sink", "bare-sink"])
def test_a_child_of_a_benchmark_ends_when_the_benchmark_is_gone(role, tmp_path):
    with (tmp_path / "stderr").open("wb") as stderr:
        child = Child("part", ["bench-part", role, "first", "1", ""], stderr)
        try:
            child.expect("ready", DEMO_SECONDS)
            child.dismiss()
            child.expect_end(DEMO_SECONDS)
        finally:
            child.close()


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


def test_help_says_what_each_command_does_and_what_version_this_is():
    done = run("--help")
    commands = done.stdout.partition("Commands:\n")[2].splitlines()
    shown = [line.split()[0] for line in commands]
    assert shown == sorted(name for name in _COMMANDS if name not in HIDDEN)
    assert all(line.endswith(".") and not line.endswith("...") for line in commands)
    assert run("--version").stdout == f"compactor {__version__}\n"


def test_help_says_the_same_where_there_are_no_docstrings():
    for command in ((), ("bench",), ("certs",)):
        plain = run(*command, "--help").stdout
        assert len(plain.splitlines()) > 5
        assert run(*command, "--help", options=["-OO"]).stdout == plain


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
    plain, which, tls = done.stdout.split("\n\n")
    lines = {line.split()[0]: line for line in [*plain.splitlines(), *tls.splitlines()]}
    assert list(lines) == [
        field.name for kind in (Settings, TlsSettings) for field in dataclasses.fields(kind)
    ]
    assert "5050 (by default 0)" in lines["port"]
    assert "dead letters" in lines["max_parked_bytes"]
    assert "TLS is off" in which
    assert "10.0" in lines["handshake_timeout"]


def test_settings_lists_those_of_tls_with_the_values_of_the_environment(monkeypatch):
    for suffix, value in {"ENABLED": "1", "KEY_FILE": "a", "CERT_FILE": "b"}.items():
        monkeypatch.setenv(f"LIBPROCESS_SSL_{suffix}", value)
    monkeypatch.setenv("LIBPROCESS_SSL_VERIFICATION_DEPTH", "2")
    done = run("settings")
    assert "TLS is on" in done.stdout
    lines = {line.split()[0]: line for line in done.stdout.splitlines() if line}
    assert "2 (by default 4)" in lines["verification_depth"]
    assert lines["key_file"].split()[1:3] == ["'a'", "PEM"]


def test_settings_names_a_bad_variable(monkeypatch):
    monkeypatch.setenv("LIBPROCESS_PORT", "eighty")
    done = run("settings")
    assert done.returncode == 1
    assert "LIBPROCESS_PORT='eighty' must be a whole number from 0 to 65535" in done.stderr
