"""The ``compactor`` command, pointed at a live Mesos: C++ libprocess."""

from __future__ import annotations

import json

import pytest

from tests.cli.running import command, fails

from .mesos_fixture import Cluster


@pytest.fixture
def host(cluster: Cluster) -> str:
    return f"127.0.0.1:{cluster.port}"


def test_what_a_live_mesos_tells_is_shown(host: str) -> None:
    listed = command("ps", host, "--json")
    ids = {row["id"] for row in json.loads(listed.stdout)}
    assert {"master", "slave(1)", "metrics"} <= ids
    assert not any(name.startswith("__") for name in ids)
    assert command("ps", host).stdout.splitlines()[0].split() == ["ID", "WAITING"]

    told = json.loads(command("metrics", host, "master/*", "system/*", "--json").stdout)
    assert told["master/elected"] == 1
    assert told["system/cpus_total"] >= 1

    paths = [row["path"] for row in json.loads(command("help", host, "--json").stdout)]
    assert {"/master/state", "/metrics/snapshot", "/logging/toggle"} <= set(paths)
    assert "Provides a snapshot of the current metrics." in command("help", host, "metrics").stdout


def test_a_live_mesos_logs_more_for_a_while(host: str) -> None:
    done = command("logs", host, "--level", "debug", "--for", "1s")
    assert done.stdout == f"{host} logs at level 2 (debug) for 1secs\n"
    assert "does not take that level" in fails(2, "logs", host, "--level", "warning")


def test_messages_reach_a_live_mesos_and_watches_link_to_it(host: str) -> None:
    assert command("send", f"master@{host}", "nothing").exit_code == 0
    assert "no process 'mastr' lives" in fails(6, "send", f"mastr@{host}", "nothing")
    assert "has not ended within 0.3 s" in fails(8, "watch", f"master@{host}", "--for", 0.3)
    assert command("watch", f"mastr@{host}", "--for", 5).exit_code == 6
    said = fails(8, "ask", f"master@{host}", "nothing", "--timeout", 0.3)
    assert "answers no such message" in said


def test_the_doctor_knows_cpp(host: str) -> None:
    done = command("doctor", f"mastre@{host}", "--json")
    assert done.exit_code == 9
    found = {one["check"]: one for one in json.loads(done.stdout)["findings"]}
    assert found["http"]["text"].endswith("it is libprocess in C++")
    assert "'master'" in found["process"]["change"]
    assert found["way back"]["state"] == "note"
    assert command("doctor", f"master@{host}").exit_code == 0
