"""Paths to targets: splitting, nested-prefix matching, and the table of message paths."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from compactor import PID, Context, Process, install
from compactor.actor.routes import RouteTable
from compactor.errors import RemoteProtocolError
from compactor.runtime.hot_path import Backend
from compactor.wire.encoder import message_path
from tests.actors import Events, end


@pytest.mark.parametrize(
    ("path", "id_", "rest"),
    [
        (b"/master/ping", "master", "ping"),
        (b"/slave%281%29/ping", "slave(1)", "ping"),
        (b"/slave(1)/ping", "slave(1)", "ping"),
        (b"/a+b/c+d", "a b", "c+d"),
        (b"/a%2Fb/c%2Fd", "a/b", "c%2Fd"),
        (b"/a%2bb/", "a+b", ""),
        (b"/a", "a", ""),
        (b"/", "", ""),
        (b"//ping", "", "ping"),
        (b"/a/b/c", "a", "b/c"),
        (b"/%C3%BC/x", "\u00fc", "x"),
        (b"/a/%zz", "a", "%zz"),
    ],
)
def test_path_is_split_into_decoded_id_and_raw_rest(
    path: bytes, id_: str, rest: str, backend: Backend
) -> None:
    assert backend.split_path(path) == (id_, rest)


@pytest.mark.parametrize("path", [b"/%", b"/a%2/ping", b"/%zz/ping", b"/a%/b"])
def test_bad_percent_escape_in_an_id_is_refused(path: bytes, backend: Backend) -> None:
    with pytest.raises(RemoteProtocolError, match="percent"):
        backend.split_path(path)


ROUTES = {"/": "root", "/a": "a", "/a/b": "ab", "/c/d": "cd"}


@pytest.mark.parametrize(
    ("rest", "route"),
    [
        ("", "/"),
        ("/", "/"),
        ("a", "/a"),
        ("a/", "/a"),
        ("a/b", "/a/b"),
        ("a/b/c/d", "/a/b"),
        ("a/c", "/a"),
        ("c/d", "/c/d"),
    ],
)
def test_longest_leading_part_with_a_route_serves(rest: str, route: str, backend: Backend) -> None:
    assert backend.match_route(ROUTES, rest) == (route, ROUTES[route])


@pytest.mark.parametrize("rest", ["b", "ab", "c", "c/e", "A", "a%2Fb"])
def test_path_without_a_route_matches_nothing(rest: str, backend: Backend) -> None:
    assert backend.match_route(ROUTES, rest) is None


class Box:
    """A mailbox as a route table sees one."""

    def __init__(self, *names: str) -> None:
        self.paths: list[bytes] | None = None
        self.calls: dict[str, Callable[[Any, Any], Any]] = {n: lambda a, b: None for n in names}

    def call_for(self, name: str) -> Callable[[Any, Any], Any] | None:
        return self.calls.get(name)


def test_table_remembers_the_usual_spelling_of_a_path() -> None:
    box = Box("ping")
    table = RouteTable({"slave(1)": box}.get)
    path = message_path("slave(1)", "ping").encode()

    assert table.resolve(path) == (box, box.calls["ping"], "ping")
    assert table.known == {path: (box, box.calls["ping"])}


@pytest.mark.parametrize(
    "path", [b"/slave%281%29/ping", b"/slave(1)/unknown", b"/nobody/ping", b"/slav%65(1)/ping"]
)
def test_table_remembers_nothing_that_a_peer_could_vary(path: bytes) -> None:
    table = RouteTable({"slave(1)": Box("ping")}.get)
    table.resolve(path)

    assert table.known == {}


def test_table_tells_no_process_from_no_handler() -> None:
    box = Box("ping")
    table = RouteTable({"p": box}.get)

    assert table.resolve(b"/nobody/ping") is None
    assert table.resolve(b"/p/unknown") == (box, None, "unknown")
    with pytest.raises(RemoteProtocolError):
        table.resolve(b"/%/ping")


def test_table_forgets_the_paths_of_an_ended_process() -> None:
    one, other = Box("ping", "pong"), Box("ping")
    table = RouteTable({"one": one, "other": other}.get)
    for path in (b"/one/ping", b"/one/pong", b"/other/ping"):
        table.resolve(path)
    table.forget(one)

    assert set(table.known) == {b"/other/ping"}
    assert one.paths is None


class AnyName(Process):
    """Sees every message, whatever its name."""

    def __init__(self) -> None:
        super().__init__("any")
        self.names = Events()

    def handle_message(self, name: str, from_pid: PID, body: bytes) -> None:
        self.names.put(name)

    @install("usual")
    def usual(self, from_pid: PID, body: bytes) -> None: ...


def test_names_that_a_peer_makes_up_are_not_remembered(
    make_context: Callable[..., Context],
) -> None:
    here, there = make_context(), make_context()
    sender, process = Process("sender"), AnyName()
    here.spawn(sender)
    there.spawn(process)
    for number in range(2000):
        sender.send(process.pid, f"made-up-{number}")
    process.names.take_many(2000)

    assert len(there._runtime.routes.known) < 1000
    assert len(there._runtime.registry.live["any"].calls or ()) < 1000


def test_known_paths_end_with_their_process(make_context: Callable[..., Context]) -> None:
    here, there = make_context(), make_context()
    sender, process = Process("sender"), AnyName()
    here.spawn(sender)
    there.spawn(process)
    sender.send(process.pid, "usual")
    process.names.take()
    end(process)

    assert there._runtime.routes.known == {}
