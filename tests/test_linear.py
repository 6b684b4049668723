"""Whatever a peer chooses the bytes of costs time linear in them, and a head no more than a turn.

Four times the bytes take four times as long, not sixteen.  Times are those that the thread has
computed, the least of several, so that what else the machine does matters little.
"""

from __future__ import annotations

import contextlib
import gzip
import time
from collections.abc import Callable
from typing import Any

import pytest

from compactor import PID, Request
from compactor.actor.run_queue import TURN_SECONDS
from compactor.runtime.hot_path import Backend
from compactor.wire import notices
from compactor.wire.escapes import escaped
from compactor.wire.inflate import Inflater
from compactor.wire.request_head import parse_sender
from compactor.wire.response_decoder import ResponseDecoder

SMALL, LARGE = 20_000, 80_000  # bytes
SQUARED = (LARGE / SMALL) ** 2
ADDITIONS = 150_000  # take a turn on the machine that the bounds were found on
HEAD = b"GET /%b HTTP/1.1\r\nHost: x\r\n%b\r\n"
MESSAGE = b"POST /a/b HTTP/1.1\r\nLibprocess-From: %b\r\n\r\n"
CHUNKED = b"POST /a/b HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
ANSWER = b"HTTP/1.1 200 OK\r\n"
ROUTES = {"/": 1, "/a": 2, "/a/b/c": 3}


def spread(line: bytes, size: int, lines: int = 900) -> bytes:
    """So many lines, that take so many bytes in all."""
    return line % (b"c" * (size // lines - len(line))) * lines


HEADS: dict[str, Callable[[int], bytes]] = {
    "segments": lambda n: HEAD % (b"a/" * (n // 2), b""),
    "escapes in a path": lambda n: HEAD % (b"%41" * (n // 3), b""),
    "arguments": lambda n: HEAD % (b"?" + b"a&" * (n // 2), b""),
    "escapes in a query": lambda n: HEAD % (b"?" + b"%41" * (n // 3), b""),
    "host in a target": lambda n: b"GET http://%b/ HTTP/1.1\r\nHost: x\r\n\r\n" % (b"a" * n),
    "blanks in a line": lambda n: b"GET /%b HTTP/1.1\r\nHost: x\r\n\r\n" % (b" " * n),
    "fields": lambda n: HEAD % (b"", spread(b"A: %b\r\n", n)),
    "folded lines": lambda n: HEAD % (b"", b"A: b\r\n" + spread(b" %b\r\n", n)),
    "line feeds": lambda n: HEAD % (b"", spread(b"A: %b\n", n)),
    "blanks of a length": lambda n: HEAD % (b"", b"Content-Length:" + b" " * n + b"\r\n"),
    "empty lengths": lambda n: HEAD % (b"", b"Content-Length:\r\n" * (n // 90)),
    "options": lambda n: HEAD % (b"", b"Connection: " + b"close-," * (n // 7) + b"\r\n"),
    "codings": lambda n: HEAD % (b"", b"Content-Encoding: " + b"," * n + b"\r\n"),
    "id of a sender": lambda n: MESSAGE % (b"a" * n + b"@192.0.2.1:1"),
    "port of a sender": lambda n: MESSAGE % (b"a@192.0.2.1:" + b"1" * n),
    "at signs": lambda n: MESSAGE % (b"@" * n),
}
"""Heads of so many bytes, by what they have many of."""

STREAMS: dict[str, Callable[[int], bytes]] = {
    "chunks": lambda n: CHUNKED + b"1\r\nx\r\n" * (n // 6) + b"0\r\n\r\n",
    "blank lines": lambda n: b"\r\n" * (n // 2),
    "requests": lambda n: HEAD % (b"", b"") * (n // 30),
    "links, no two alike": lambda n: b"".join(
        b"POST /%d/x HTTP/1.1\r\nLibprocess-From: a@192.0.2.1:1\r\nCompactor-Link: 1\r\n\r\n" % i
        for i in range(n // 80)
    ),
}

ANSWERS: dict[str, Callable[[int], bytes]] = {
    "a field": lambda n: ANSWER + b"A: " + b"b" * (n // 2) + b"\r\nContent-Length: 0\r\n\r\n",
    "folded lines": lambda n: ANSWER + b"A: b\r\n" + spread(b" %b\r\n", n // 2) + b"\r\n",
    "trailers": lambda n: (
        ANSWER + b"Transfer-Encoding: chunked\r\n\r\n0\r\n" + b"a:\r\n" * (n // 4) + b"\r\n"
    ),
    "interim answers": lambda n: b"HTTP/1.1 100 C\r\n\r\n" * (n // 18),
}


def read_notices(data: bytes) -> None:
    lines = notices.Lines()
    for at in range(0, len(data), 100):
        lines.add(data[at : at + 100])
        for line in lines:
            notices.decode(line)


def inflate(data: bytes) -> int:
    """How many steps it takes to inflate all."""
    inflater = Inflater(data, 1 << 20)
    steps = 0
    while not inflater.is_done:
        inflater.step()
        steps += 1
    return steps


def members(size: int) -> bytes:
    return gzip.compress(b"", mtime=0) * (size // 20)


CALLS: dict[str, Callable[[int], tuple[Callable[..., Any], Any]]] = {
    "an escaped value of a notice": lambda n: (
        read_notices,
        b"exited " + b"%41" * (n // 3) + b" x\n",
    ),
    "a query": lambda n: (lambda query: Request("GET", "/", query).query, "%41" * (n // 3)),
    "a long argument": lambda n: (lambda query: Request("GET", "/", query).arguments, "=" * n),
    "an escaped id": lambda n: (escaped, "\xe4" * (n // 2)),
    "a sender": lambda n: (parse_sender, b"a" * n + b"@192.0.2.1:1"),
    "a notice": lambda n: (notices.decode, b" " * n),
    "a pid": lambda n: (PID.from_string, "a" * n + "@192.0.2.1:1"),
}


def seconds(call: Callable[[Any], Any], argument: Any) -> float:
    """What a call takes, whether it raises or not."""
    least = 60.0
    for _ in range(5):
        begun = time.thread_time()
        with contextlib.suppress(Exception):
            call(argument)
        least = min(least, time.thread_time() - begun)
    return least


def four_turns() -> float:
    """Seconds of four turns, for cores are shared; more on a machine that is slow as a whole."""
    return 4 * max(TURN_SECONDS, seconds(sum, range(ADDITIONS)))


def assert_linear(call: Callable[[Any], Any], make: Callable[[int], Any]) -> None:
    tries = []
    for _ in range(5):  # others on the machine slow some down, and all of what is not linear
        small, large = seconds(call, make(SMALL)), seconds(call, make(LARGE))
        if large < SQUARED / 1.6 * small + 0.0005:
            return
        tries.append(f"{small * 1e3:.2f} ms, {large * 1e3:.2f} ms")
    pytest.fail("; ".join(tries))


def feed(backend: Backend, data: bytes, step: int = 1 << 20) -> list[Any]:
    decoder = backend.RequestDecoder(1 << 17, 1 << 30)
    return [decoder.feed(data[at : at + step]) for at in range(0, len(data), step)]


@pytest.mark.parametrize("kind", HEADS)
def test_a_head_takes_time_linear_in_its_bytes_and_no_more_than_a_turn(
    backend: Backend, kind: str
) -> None:
    make = HEADS[kind]
    assert_linear(lambda data: feed(backend, data), make)
    assert seconds(lambda data: feed(backend, data), make(LARGE)) < four_turns()


@pytest.mark.parametrize("kind", ["segments", "arguments", "fields", "line feeds", "options"])
def test_a_head_that_comes_in_many_pieces_does_too(backend: Backend, kind: str) -> None:
    assert_linear(lambda data: feed(backend, data, 10), HEADS[kind])


@pytest.mark.parametrize("kind", STREAMS)
def test_a_stream_takes_time_linear_in_its_bytes(backend: Backend, kind: str) -> None:
    assert_linear(lambda data: feed(backend, data), STREAMS[kind])


@pytest.mark.parametrize("step", [1 << 20, 10], ids=["whole", "in pieces"])
@pytest.mark.parametrize("kind", ANSWERS)
def test_an_answer_takes_time_linear_in_its_bytes(kind: str, step: int) -> None:
    def read(data: bytes) -> None:
        reader = ResponseDecoder()
        for at in range(0, len(data), step):
            reader.feed(data[at : at + step])

    assert_linear(read, ANSWERS[kind])


def test_notices_take_time_linear_in_their_bytes() -> None:
    assert_linear(read_notices, lambda n: b"exited a x\n" * (n // 11))


@pytest.mark.parametrize("path", ["a/", "/", "b", "a/b/c/"])
def test_a_path_is_matched_in_time_linear_in_its_length(backend: Backend, path: str) -> None:
    assert_linear(lambda rest: backend.match_route(ROUTES, rest), lambda n: path * (n // len(path)))


@pytest.mark.parametrize("path", [b"%41", b"+", b"a%2F", b"%zz", b"a"])
def test_a_path_is_split_in_time_linear_in_its_length(backend: Backend, path: bytes) -> None:
    assert_linear(backend.split_path, lambda n: b"/" + path * (n // len(path)))


@pytest.mark.parametrize("kind", CALLS)
def test_what_a_head_says_is_understood_in_time_linear_in_its_length(kind: str) -> None:
    make = CALLS[kind]
    assert_linear(lambda made: made[0](made[1]), make)
    assert seconds(*make(LARGE)) < four_turns()


def test_members_of_gzip_are_inflated_in_time_linear_in_their_number_each_by_itself() -> None:
    assert_linear(inflate, members)
    assert inflate(members(LARGE)) >= LARGE // 20  # others have their turn between two steps


def test_long_paths_are_matched_as_short_ones_are(backend: Backend) -> None:
    long = "x" * 300
    routes = {"/a": 1, f"/{long}": 2, f"/{long}/b": 3}
    for rest, found in {
        f"a/{long}": "/a",
        f"a{long}": None,
        f"{long}": f"/{long}",
        f"{long}/b": f"/{long}/b",
        f"{long}/bc": f"/{long}",
        f"{long}/b/c{long}": f"/{long}/b",
        f"{long}x/b": None,
        f"{long}/" + "b/" * 1000: f"/{long}/b",
    }.items():
        assert backend.match_route(routes, rest) == (found and (found, routes[found]))
    assert backend.match_route({}, long) is None


def test_a_query_has_a_thousand_arguments_at_most() -> None:
    assert len(Request("GET", "/", "&".join(map(str, range(1000)))).query) == 1000
    with pytest.raises(Exception, match="more than 1000 arguments"):
        Request("GET", "/", "&" * 1000).query  # noqa: B018
