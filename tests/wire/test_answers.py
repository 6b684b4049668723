"""Answers, sans IO: what peers send, what is refused, any split; held to httptools."""

from __future__ import annotations

import pathlib
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from compactor.wire.response_decoder import KEPT_BODY_BYTES, Answer, ResponseDecoder
from tests.wire.test_decoder import every_way

CAPTURES = pathlib.Path(__file__).parents[1] / "captures"

START = b"HTTP/1.1 200 OK\r\n"
CHUNKED = START + b"Transfer-Encoding: chunked\r\n\r\n"
NEXT = b"HTTP/1.1 202 Accepted\r\nContent-Length: 0\r\n\r\n"
BEHIND = (202, b"")


def read(*pieces: bytes) -> tuple[list[Answer], str | None]:
    reader = ResponseDecoder()
    answers = [answer for piece in pieces for answer in reader.feed(piece)]
    return answers, str(reader.error) if reader.error else None


def seen(answers: list[Answer]) -> list[tuple[int, bytes]]:
    return [(answer.status, answer.body) for answer in answers]


ACCEPTED = {
    "no body": (NEXT * 3, [BEHIND] * 3),
    "length": (START + b"Content-Length: 2\r\n\r\nhi" + NEXT, [(200, b"hi"), BEHIND]),
    "long body": (
        START + b"Content-Length: 300\r\n\r\n" + b"x" * 300 + NEXT,
        [(200, b"x" * KEPT_BODY_BYTES), BEHIND],
    ),
    "no reason": (b"HTTP/1.1 404\r\nContent-Length: 2\r\n\r\nhi" + NEXT, [(404, b"hi"), BEHIND]),
    "blank reason": (b"HTTP/1.1 404 \r\nContent-Length: 0\r\n\r\n" + NEXT, [(404, b""), BEHIND]),
    "HTTP/1.0": (b"HTTP/1.0 202 A\r\nContent-Length: 0\r\n\r\n" + NEXT, [BEHIND] * 2),
    "blank lines before": (b"\r\n\n\r\n" + NEXT + b"\r\n" + NEXT, [BEHIND] * 2),
    "chunks": (
        CHUNKED + b"2\r\nhi\r\nA\r\n0123456789\r\n0\r\n\r\n" + NEXT,
        [(200, b"hi0123456789"), BEHIND],
    ),
    "many chunks": (
        CHUNKED + (b"28\r\n" + b"y" * 40 + b"\r\n") * 3 + b"0\r\n\r\n" + NEXT,
        [(200, b"y" * KEPT_BODY_BYTES), BEHIND],
    ),
    "no chunk": (CHUNKED + b"0\r\n\r\n" + NEXT, [(200, b""), BEHIND]),
    "chunk extensions": (CHUNKED + b"2;x=y\r\nhi\r\n0;z\r\n\r\n" + NEXT, [(200, b"hi"), BEHIND]),
    "trailers": (CHUNKED + b"2\r\nhi\r\n0\r\nX: y\r\nZ: 0\r\n\r\n" + NEXT, [(200, b"hi"), BEHIND]),
    "204": (b"HTTP/1.1 204 No Content\r\n\r\n" + NEXT, [(204, b""), BEHIND]),
    "304 with a length": (
        b"HTTP/1.1 304 N\r\nContent-Length: 5\r\n\r\n" + NEXT,
        [(304, b""), BEHIND],
    ),
    "interim": (b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 E\r\nX: y\r\n\r\n" + NEXT, [BEHIND]),
    "until close": (START + b"\r\n" + NEXT, []),
    "incomplete": (NEXT + START + b"Content-Length: 3\r\n\r\nhi", [BEHIND]),
}


@pytest.mark.parametrize("case", ACCEPTED)
def test_answers_are_read_in_any_split(case: str) -> None:
    data, expected = ACCEPTED[case]
    for pieces in [*every_way(data), *([data[:i], data[i:]] for i in range(len(data)))]:
        answers, error = read(*pieces)
        assert error is None
        assert seen(answers) == expected


def test_the_recorded_answer_of_mesos_is_read() -> None:
    data = (CAPTURES / "mesos-1.11-reply-to-message.bin").read_bytes()
    for pieces in every_way(data * 2):
        (answer, other), error = read(*pieces)
        assert error is None
        assert answer == other
        assert (answer.status, answer.body) == (202, b"")
        assert b"date" in answer.fields


def test_fields_are_lower_case_and_the_last_of_a_name_wins() -> None:
    (answer,), _ = read(START + b"X: 1\r\nx:  2 \r\nContent-Length: 0\r\n\r\n")
    assert answer.fields == {b"x": b"2", b"content-length": b"0"}


REFUSED = {
    "request": b"POST / HTTP/1.1\r\n\r\n",
    "HTTP/2": b"HTTP/2.0 200 OK\r\n\r\n",
    "HTTP/0.9": b"<html>hello</html>",
    "TLS": b"\x15\x03\x01\x00\x02\x02\x46",
    "no status": b"HTTP/1.1 OK\r\n\r\n",
    "short status": b"HTTP/1.1 20 OK\r\n\r\n",
    "long status": b"HTTP/1.1 2000 OK\r\n\r\n",
    "status below 100": b"HTTP/1.1 099 OK\r\n\r\n",
    "status behind two blanks": b"HTTP/1.1  200 OK\r\n\r\n",
    "switching protocols": b"HTTP/1.1 101 S\r\nUpgrade: x\r\n\r\n",
    "no colon": START + b"nonsense\r\n\r\n",
    "two lengths": START + b"Content-Length: 1\r\nContent-Length: 1\r\n\r\nx",
    "both lengths": START + b"Content-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n",
    "signed length": START + b"Content-Length: +1\r\n\r\nx",
    "unknown coding": START + b"Transfer-Encoding: gzip\r\n\r\n",
    "bad chunk size": CHUNKED + b"zz\r\n",
    "signed chunk size": CHUNKED + b"+2\r\nhi\r\n0\r\n\r\n",
    "huge chunk size": CHUNKED + b"f" * 16 + b"\r\n",
    "chunk longer than its size": CHUNKED + b"2\r\nhigh\r\n",
    "endless chunk size line": CHUNKED + b"2;" + b"x" * 2000,
    "endless trailer": CHUNKED + b"0\r\nX: " + b"x" * 2000,
    "endless head": START + b"X: " + b"x" * 70_000,
    "head of many lines": START + b"X:\r\n" * 1000 + b"\r\n",
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_is_no_answer_is_refused_and_nothing_read_behind_it(case: str) -> None:
    data = NEXT + REFUSED[case]
    ways = every_way(data) if len(data) < 10_000 else [[data], [data[:100], data[100:]]]
    for pieces in ways:
        answers, error = read(*pieces, NEXT)
        assert error
        assert seen(answers) == [BEHIND]


@pytest.mark.parametrize(
    ("one", "count"),
    [
        (NEXT, 1),
        (b"HTTP/1.1 202 %d\r\nContent-Length: 0\r\n\r\n", 1),
        (CHUNKED + b"1\r\nx\r\n" * 5 + b"0\r\n\r\n", 1),
        (b"HTTP/1.1 100 C\r\n\r\n", 0),
    ],
    ids=["alike", "no two alike", "chunks", "interim"],
)
def test_many_answers_take_many_steps(one: bytes, count: int) -> None:
    data = b"".join(one.replace(b"%d", b"%d" % number) for number in range(1000)) + NEXT
    reader = ResponseDecoder()
    answers, steps = reader.feed_some(data), 1
    while reader.has_more:
        answers += reader.feed_some(b"")
        steps += 1
    assert steps > 1
    assert len(answers) == 1000 * count + 1
    assert answers == read(*every_way(data)[-1])[0]


def test_any_number_of_blank_lines_is_one_step() -> None:
    reader = ResponseDecoder()
    assert seen(reader.feed_some(b"\r\n" * 100_000 + NEXT)) == [BEHIND]
    assert not reader.has_more


def test_what_comes_between_two_steps_comes_behind_the_rest() -> None:
    reader = ResponseDecoder()
    answers = reader.feed_some(NEXT * 1000)
    assert reader.has_more
    answers += reader.feed_some(START + b"Content-Length: 0\r\n\r\nnonsense\r\n")
    answers += reader.feed(b"")
    assert seen(answers) == [BEHIND] * 1000 + [(200, b"")]
    assert reader.error is not None
    assert not reader.has_more


def test_what_is_kept_of_an_unfinished_answer_is_bounded() -> None:
    endless = ResponseDecoder()
    endless.feed(START + b"Content-Length: 1000000000\r\n\r\n")
    until_close = ResponseDecoder()
    until_close.feed(START + b"\r\n")
    trailers = ResponseDecoder()
    trailers.feed(CHUNKED + b"0\r\n")
    for _ in range(200):
        endless.feed(b"x" * 10_000)
        until_close.feed(b"x" * 10_000)
        trailers.feed(b"X: y\r\n" * 1000)
    for reader in (endless, until_close, trailers):
        assert reader.error is None
        assert len(reader._tail) + len(reader._body) <= KEPT_BODY_BYTES


def httptools_reads(data: bytes) -> tuple[list[tuple[int, bytes]], bool]:
    """Answers as httptools reads them, and whether it refused something."""
    httptools = pytest.importorskip("httptools")
    found: list[tuple[int, bytes]] = []

    class Collector:
        body = b""

        def on_body(self, body: bytes) -> None:
            self.body += body

        def on_message_complete(self) -> None:
            found.append((parser.get_status_code(), self.body[:KEPT_BODY_BYTES]))
            self.body = b""

    parser: Any = httptools.HttpResponseParser(Collector())
    parser.set_dangerous_leniencies(lenient_headers=True, lenient_keep_alive=True)
    try:
        parser.feed_data(data)
    except (httptools.HttpParserError, httptools.HttpParserUpgrade):
        return found, True
    return found, False


def chunked(parts: list[bytes]) -> bytes:
    return b"".join(b"%x\r\n%b\r\n" % (len(part), part) for part in [*parts, b""])


statuses = st.sampled_from([200, 202, 204, 304, 400, 404, 410, 500, 503])
lines = st.sampled_from(
    [b"", b"Date: Mon, 01 Jan 2024 00:00:00 GMT\r\n", b"X: a\r\n b\r\n", b"Connection: close\r\n"]
)
bodies = st.one_of(
    st.just(b"\r\n"),
    st.binary(max_size=90).map(lambda body: b"Content-Length: %d\r\n\r\n%b" % (len(body), body)),
    st.lists(st.binary(min_size=1, max_size=90), max_size=3).map(
        lambda parts: b"Transfer-Encoding: chunked\r\n\r\n" + chunked(parts)
    ),
)
whole_answers = st.builds(
    lambda version, status, line, body: (
        b"HTTP/1.%d %d Reason\r\n%b%b"
        % (version, status, line, body if status not in (204, 304) else b"\r\n")
    ),
    st.integers(0, 1),
    statuses,
    lines,
    bodies,
)
streams = st.lists(whole_answers, min_size=1, max_size=4).map(b"".join)
EXAMPLES = settings(max_examples=400)


@given(streams, st.lists(st.integers(0, 600), max_size=5))
@EXAMPLES
def test_sound_streams_read_as_httptools_reads_them(stream: bytes, cuts: list[int]) -> None:
    places = sorted(min(cut, len(stream)) for cut in cuts)
    pieces = [stream[a:b] for a, b in zip([0, *places], [*places, len(stream)], strict=True)]
    answers, error = read(*pieces)
    assert (seen(answers), error is not None) == httptools_reads(stream)


@given(streams, st.lists(st.tuples(st.integers(0, 600), st.integers(0, 3), st.binary(max_size=3))))
@example(b"HTTP/1.0 204 Reason\r\nConnection: close\r\n\r\n", [(36, 3, b"\0")])
@EXAMPLES
def test_damaged_streams_end_alike_whole_and_split_and_where_httptools_says(
    stream: bytes, damages: list[tuple[int, int, bytes]]
) -> None:
    """Each refuses some things that the other takes; what both take, they read alike.

    With leniency httptools ends some lines at a bare LF, where the decoder waits for CR LF and
    refuses the whole head when it has come: that is a refusal, too.
    """
    for at, gone, new in damages:
        stream = stream[:at] + new + stream[at + gone :]
    answers, error = read(stream)
    assert read(*(stream[i : i + 1] for i in range(len(stream))))[0] == answers
    expected, refused = httptools_reads(stream)
    interim = any(status < 200 for status, _ in expected)
    if error is None and not refused and not interim and seen(answers) != expected:
        later, error = read(stream, b"\r\n\r\n")
        assert error is not None
        assert seen(later) == expected[: len(later)]
