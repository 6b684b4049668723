"""Log lines: whatever peers and programs call things, a line is one line that can be written."""

from __future__ import annotations

import logging
import socket
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from compactor import PID, Context, Request, route
from compactor.metrics.logs import log, readable
from tests.actors import Receiver, settle, spawned
from tests.raw import read_answer, read_until_end

NASTY = {
    "no UTF-8": b"\xff\xfe",
    "a C1 control": "\x85\x9b2J".encode(),
    "a line separator": "\u2028".encode(),
    "text turned round": "\u202e".encode(),
    "much of it": b"m" * 70_000,
    "much that is none": b"\xff" * 70_000,
}


class Failing(Receiver):
    """Raises what it is given."""

    @route("/page")
    def page(self, request: Request) -> str:
        raise LookupError(f"{request.path}\n{request.path}")

    def handle_message(self, name: str, from_pid: PID, body: bytes) -> None:
        raise LookupError(f"{name} {body.decode('utf-8', 'surrogateescape')}")


@pytest.fixture
def written(tmp_path: Path) -> Iterator[Callable[[], list[str]]]:
    """What returns the lines that a handler has written to a file in UTF-8."""
    path = tmp_path / "log"
    handler = logging.FileHandler(path, encoding="utf-8")
    log.addHandler(handler)
    yield lambda: path.read_bytes().decode().split("\n")
    log.removeHandler(handler)
    handler.close()


@pytest.mark.parametrize("kind", NASTY)
def test_no_name_that_a_peer_chooses_spoils_a_line(
    context: Context,
    connect: Callable[[Context], socket.socket],
    written: Callable[[], list[str]],
    capsys: pytest.CaptureFixture[str],
    kind: str,
) -> None:
    name = NASTY[kind]
    receiver = spawned(context, Failing("failing"))
    post = b"POST /%b HTTP/1.1\r\nLibprocess-From: %b@127.0.0.1:1\r\nContent-Length: %d\r\n\r\n%b"
    sock = connect(context)
    for to, sender, body, status in (
        (b"nobody%b/%b" % (name[:30_000], name[:30_000]), b"x", b"", 404),
        (b"failing/message", name, name, 202),
        (b"failing/%b" % name, b"x", b"", 202),
    ):
        sock.sendall(post % (to, sender, len(body), body))
        assert read_answer(sock)[0] == status
    sock.sendall(b"GET /failing/page/%b HTTP/1.1\r\nHost: x\r\n\r\n" % name)
    assert read_answer(sock)[0] == 500
    sock.sendall(b"%b\0 / HTTP/1.1\r\n\r\n" % name)
    assert read_until_end(sock).startswith(b"HTTP/1.1 400")
    settle(receiver)

    lines = written()
    assert sum(" failed in " in line for line in lines) >= 3
    assert any(line.startswith("dead letter (no such process)") for line in lines)
    assert any("is cut off" in line for line in lines)
    assert all(line.isprintable() for line in lines)
    assert max(map(len, lines)) < 2000
    assert "Logging error" not in capsys.readouterr().err


def test_local_names_are_readable_as_well(
    context: Context, written: Callable[[], list[str]]
) -> None:
    process = spawned(context, Failing("turned\u202eround"))
    process.send(process.pid, "message", b"raise")
    context.post(PID(context.ip, context.port, "no\u2028body"), "name")
    settle(process)
    assert r"turned\u202eround@" in "\n".join(written())
    assert r"no\u2028body@" in "\n".join(written())


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain, \u00e4\u4e2d and \\", "plain, \u00e4\u4e2d and \\"),
        ("a\r\nb\tc\x1b[0m", r"a\r\nb\tc\x1b[0m"),
        ("\udcff\x85\u2028\u202e", r"\udcff\x85\u2028\u202e"),
        ("a" * 512, "a" * 512),
        ("a" * 400 + "b" * 400, "a" * 320 + "...(800 characters)..." + "b" * 128),
    ],
)
def test_what_is_readable_stays_and_the_rest_is_escaped(text: str, shown: str) -> None:
    assert readable(text) == shown


def test_numbers_and_tracebacks_are_logged_as_ever(written: Callable[[], list[str]]) -> None:
    try:
        raise ValueError("two\nlines")
    except ValueError:
        log.exception("%d of %s, %r", 1, "x", "y")
    assert written()[0] == "1 of x, 'y'"
    assert written()[-3:] == ["ValueError: two", "lines", ""]
