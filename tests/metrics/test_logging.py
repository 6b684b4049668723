"""Loggers by room, their parent, fields for structured handlers, and a line for each connection."""

from __future__ import annotations

import logging
import socket
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from compactor import PID, Context, Process
from compactor.metrics.logs import fields, log, logger, skipped_in
from tests.actors import Receiver, wait_until
from tests.raw import dead_port

server_log = logger("server")


class Records(logging.Handler):
    def __init__(self) -> None:
        super().__init__()
        self.records: list[logging.LogRecord] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.records.append(record)

    def of(self, event: str) -> list[logging.LogRecord]:
        return [r for r in self.records if getattr(r, "event", None) == event]


@pytest.fixture
def records() -> Iterator[Records]:
    handler = Records()
    log.addHandler(handler)
    level = log.level
    log.setLevel(logging.DEBUG)
    yield handler
    log.removeHandler(handler)
    log.setLevel(level)


def test_what_the_parent_was_told_holds_for_its_rooms(records: Records) -> None:
    server_log.warning("from %s", "a\nb")
    assert records.records[-1].name == "compactor.server"
    assert records.records[-1].getMessage() == r"from a\nb"

    log.disabled = True
    try:
        server_log.warning("unseen")
    finally:
        log.disabled = False

    def drops(record: logging.LogRecord) -> bool:
        return "drop" not in record.getMessage()

    log.addFilter(drops)
    try:
        server_log.warning("dropped")
    finally:
        log.removeFilter(drops)

    log.setLevel(logging.ERROR)
    server_log.warning("too low")
    assert len(records.records) == 1


def test_two_calls_for_one_logger_filter_once() -> None:
    assert logger("server") is server_log
    assert len(server_log.filters) == 1


def test_fields_are_short_and_on_one_line() -> None:
    made = fields("x", reason="a\r\nb" + "c" * 5000, size=7, none=None, pid="\x1b[31m@h:1")
    assert made["event"] == "x"
    assert made["size"] == 7
    assert "none" not in made
    assert made["pid"] == r"\x1b[31m@h:1"
    assert made["reason"].startswith(r"a\r\nbc")
    assert len(made["reason"]) < 520
    assert [skipped_in(""), skipped_in("; 12 more like it since the last line")] == [0, 12]


def test_each_connection_link_and_exit_has_a_line(
    records: Records, make_context: Callable[..., Context]
) -> None:
    here, there = make_context(), make_context()
    watched = there.spawn(Process("watched"))
    watcher = Receiver("watcher")
    here.spawn(watcher)
    here.link(watcher.pid, watched)
    wait_until(lambda: records.of("link"))
    here.send(watcher.pid, watched, "hello")
    wait_until(lambda: there.metrics.dead_letters)
    for _ in range(50):
        here.send(watcher.pid, watched, "hello")
    place = f"{there.ip}:{there.port}"
    wait_until(lambda: len(records.of("link")) == 2)
    link = records.of("link")[0]
    assert (link.name, link.levelno) == ("compactor.links", logging.DEBUG)
    assert (vars(link)["pid"], vars(link)["to"]) == ("watcher", str(watched))
    dials = records.of("dial")
    assert {vars(dial)["peer"] for dial in dials} == {place}
    accepts = records.of("accept")
    assert len(accepts) == len(dials) <= 2  # messages, and notices
    assert {record.name for record in accepts} == {"compactor.server"}

    there.terminate(watched)
    wait_until(lambda: records.of("exit"))
    there.stop()
    wait_until(lambda: records.of("close"))
    exits = records.of("exit")
    assert [(vars(e)["to"], vars(e)["reason"]) for e in exits] == [(str(watched), "terminated")]
    wait_until(lambda: len(records.of("close")) == 2 * len(dials))  # of both ends
    closes = records.of("close")
    of_notices = [r for r in closes if "for notices" in r.getMessage()]
    others = [r for r in closes if r not in of_notices]
    assert {vars(r)["reason"] for r in others} <= {"closed", "reset"}
    assert vars(of_notices[0])["reason"] in {"closed", "reset", "it is wanted no more"}
    assert [(r.name, vars(r)["peer"]) for r in of_notices] == [("compactor.peers", place)]
    per_message = [r for r in records.records if r.levelno == logging.DEBUG]
    assert len(per_message) < 20  # and 51 messages


def test_a_dial_in_vain_has_a_line(records: Records, make_context: Callable[..., Context]) -> None:
    context = make_context()
    pid = context.spawn(Process("sender"))
    to = PID("127.0.0.1", dead_port(), "nobody")
    context.send(pid, to, "hello", b"12345")
    wait_until(lambda: records.of("dead_letter"))
    (dial,) = records.of("dial")
    assert vars(dial)["peer"] == f"127.0.0.1:{to.port}"
    assert "refused" in vars(dial)["reason"].lower()
    (letter,) = records.of("dead_letter")
    told = {n: vars(letter)[n] for n in ("reason", "to", "sender", "message_name", "size")}
    assert told == {
        "reason": "refused",
        "to": str(to),
        "sender": str(pid),
        "message_name": "hello",
        "size": 5,
    }


@pytest.mark.parametrize(
    ("id_", "name", "reason"),
    [
        ("nobody", "x", "no such process"),
        ("there", "unheard-of", "no handler"),
    ],
)
def test_the_sender_is_told_what_a_live_compactor_does_not_take(
    make_context: Callable[..., Context], id_: str, name: str, reason: str
) -> None:
    here, there = make_context(), make_context()
    there.spawn(Process("there"))
    letters: list[Any] = []
    here.on_dead_letter(letters.append)
    sender = here.spawn(Process("sender"))
    to = PID(there.ip, there.port, id_)
    here.link(sender, PID(there.ip, there.port, "there"))  # so there are notices
    here.send(sender, to, name)
    wait_until(lambda: letters)
    assert (letters[0].reason, letters[0].to, letters[0].name) == (reason, to, name)


def test_lines_of_peers_carry_where_from_and_how_many_were_left_out(
    records: Records, make_context: Callable[..., Context]
) -> None:
    context = make_context()
    for _ in range(3):
        with socket.create_connection((context.ip, context.port)) as sock:
            sock.sendall(b"nonsense\r\n\r\n")
            sock.recv(1000)
    wait_until(lambda: context.metrics.malformed == 3)
    (line,) = records.of("malformed")
    assert vars(line)["peer"].startswith("127.0.0.1:")
    assert vars(line)["skipped"] == 0
