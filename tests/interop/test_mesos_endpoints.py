"""Our endpoints, and those of a live Mesos master, which are those of C++ libprocess."""

from __future__ import annotations

import http.client
from typing import Any, NamedTuple

import pytest

from compactor import Context, Process, Request, route
from tests.endpoints.asking import Answer, fetch

from .mesos_fixture import Cluster


class _There(NamedTuple):
    ip: str
    port: int


class Web(Process):
    @route("/hello")
    def hello(self, request: Request) -> str:
        """Says hello."""
        return "hello"


class Both(NamedTuple):
    """What we and they answer."""

    ours: Answer
    theirs: Answer


@pytest.fixture
def both(context: Context, cluster: Cluster) -> Any:
    """What asks us and a master."""
    context.spawn(Web("web"))
    context.start()
    there: Any = _There("127.0.0.1", cluster.port)

    def ask(path: str, method: str = "GET", **headers: str) -> Both:
        return Both(fetch(context, path, method, **headers), fetch(there, path, method, **headers))

    return ask


@pytest.mark.parametrize(
    "path",
    [
        "/system/stats.json",
        "/system/stats.json?jsonp=f",
        "/system/stats.json/x",
        "/system",
        "/logging/toggle",
        "/logging/toggle?level=1",
        "/logging/toggle?duration=1secs",
        "/logging/toggle?level=x&duration=1secs",
        "/logging/toggle?level=-1&duration=1secs",
        "/logging/toggle?level=1&duration=1",
        "/logging/toggle?level=1&duration=1years",
        "/logging/toggle?level=1&duration=1ms",
        "/logging",
        "/__processes__",
        "/__processes__/",
        "/__processes__/x",
        "/help",
        "/help/",
        "/help?format=json",
        "/help/logging",
        "/help/logging/toggle",
        "/help/system/nothing",
        "/help/nobody",
        "/nobody",
        "/%zz",
    ],
)
def test_status_and_headers_are_those_of_mesos(both: Any, path: str) -> None:
    ours, theirs = both(path, User_Agent="curl/7.88.1")

    assert (ours.status, ours.type) == (theirs.status, theirs.type)
    more = {"x-content-type-options"}
    assert ours.headers.keys() - more == theirs.headers.keys()
    if ours.status >= 400:
        assert ours.text.startswith(theirs.text.rstrip("\n"))


def test_objects_have_the_members_of_those_of_mesos(both: Any) -> None:
    stats = both("/system/stats.json")
    assert {n: type(v) for n, v in stats.ours.json.items()} == {
        n: type(v) for n, v in stats.theirs.json.items()
    }
    processes = both("/__processes__")
    assert {frozenset(p) for p in processes.ours.json} == {
        frozenset(p) for p in processes.theirs.json
    }
    help_ = both("/help?format=json")
    assert help_.ours.json.keys() == help_.theirs.json.keys()
    here, there = (
        {p["id"]: {e["name"] for e in p["endpoints"]} for p in answer.json["processes"]}
        for answer in help_
    )
    assert here["logging"] == there["logging"]
    assert here["system"] == there["system"]
    for answer in help_:
        for process in answer.json["processes"]:
            assert list(process)[:2] == ["id", "endpoints"]
            assert {tuple(e) for e in process["endpoints"]} == {("name", "text")}


def test_help_is_laid_out_as_that_of_mesos(both: Any) -> None:
    for path in ("/help/logging", "/help/system"):
        ours, theirs = both(path, User_Agent="curl/7.88.1")
        assert ours.text == theirs.text
    ours, theirs = both("/help/logging/toggle", User_Agent="curl/7.88.1")
    sections = [
        [line for line in answer.text.splitlines() if line.startswith("### ")]
        for answer in (ours, theirs)
    ]
    assert sections[0] == sections[1]
    assert ours.text.split("###")[2] == theirs.text.split("###")[2]  # how it is asked for


def test_a_level_is_changed_as_in_mesos(both: Any) -> None:
    for answer in both("/logging/toggle?level=1&duration=500ms"):
        assert (answer.status, answer.body) == (200, b"")
    while any(answer.body != b"0\n" for answer in both("/logging/toggle")):
        pass


def test_what_may_be_asked_otherwise_is_less_than_in_mesos(both: Any) -> None:
    posted = both("/system/stats.json", "POST")
    assert posted.ours.json.keys() == posted.theirs.json.keys()
    deleted = both("/system/stats.json", "DELETE")
    assert (deleted.ours.status, deleted.theirs.status) == (405, 200)


def test_a_head_has_a_body_in_mesos_alone(context: Context, cluster: Cluster) -> None:
    context.start()
    assert fetch(context, "/help", "HEAD").body == b""
    connection = http.client.HTTPConnection("127.0.0.1", cluster.port, timeout=20)
    connection.request("HEAD", "/help")
    assert connection.getresponse().status == 200
    assert connection.sock.recv(1) != b""
    connection.close()
