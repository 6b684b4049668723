"""Both backends are one program: same bytes and values in, same events, bytes and errors out."""

from __future__ import annotations

import weakref
from array import array
from copy import copy
from importlib import import_module
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from compactor import Process
from compactor.pid import PID
from compactor.runtime import hot_path
from compactor.wire.encoder import message_prefix
from tests.backends import both, outcome
from tests.fuzz.streams import LENDING, LIMITS, NOISE, STREAMS, cut, edited, seen
from tests.wire.test_decoder import SENDER

TO = PID("10.0.0.1", 5050, "to")

# Decoders

frames = st.builds(
    lambda to, name, body: (
        message_prefix(SENDER, PID("10.0.0.1", 1, to), name)
        + (b"Transfer-Encoding: chunked\r\n\r\n%x\r\n%b\r\n0\r\n\r\n" % (len(body), body))
    ),
    st.sampled_from(["a", "b", "slave(1)", "\u00fc"]),
    st.sampled_from(["ping", "pong", "a/b"]),
    st.binary(min_size=1, max_size=40),
)
streams = st.builds(
    lambda parts, edits: edited(b"".join(parts), edits),
    st.lists(
        st.one_of(st.sampled_from(STREAMS), frames, frames.map(lambda frame: frame * 3)),
        max_size=5,
    ),
    st.lists(
        st.tuples(
            st.integers(0, 5000),
            st.integers(0, 3),
            st.one_of(st.sampled_from(NOISE), st.binary(max_size=3)),
        ),
        max_size=3,
    ),
)


@given(streams, st.lists(st.integers(0, 10**6), max_size=12), st.sampled_from(LIMITS))
@settings(max_examples=500)
def test_decoders_see_the_same_in_a_stream_whole_and_in_any_split(
    stream: bytes, cuts: list[int], limits: tuple[int, int, int]
) -> None:
    python, cython = both()
    for pieces in ([stream], cut(stream, cuts)):
        for way in LENDING:
            assert seen(python, pieces, limits, way) == seen(cython, pieces, limits, way)


@pytest.mark.parametrize("stream", STREAMS, ids=map(str, range(len(STREAMS))))
@pytest.mark.smoke
def test_decoders_see_the_same_in_each_known_stream_byte_by_byte(stream: bytes) -> None:
    python, cython = both()
    pieces = [stream[at : at + 1] for at in range(len(stream))]
    assert seen(python, pieces, LIMITS[0]) == seen(cython, pieces, LIMITS[0])


class OwnBytes(bytes):
    """Bytes whose own methods lie."""

    def __len__(self) -> int:
        return 3

    def __getitem__(self, key: Any) -> Any:
        return b"?"


class OwnStr(str):
    """A str whose own methods lie."""

    __slots__ = ()

    def strip(self, chars: str | None = None) -> str:
        return "a"


GET = b"GET /a HTTP/1.1\r\nHost: x\r\n\r\n"
NO_BYTES = [
    None,
    0,
    5,
    "",
    "GET / HTTP/1.1\r\nHost: x\r\n\r\n",
    bytearray(GET),
    memoryview(GET),
    [GET],
]


@pytest.mark.parametrize("data", NO_BYTES, ids=lambda data: type(data).__name__)
def test_decoders_refuse_what_is_no_bytes_in_the_same_words_and_go_on(data: Any) -> None:
    pieces = [GET[:5], data, GET[5:]]
    python, cython = (seen(kind, pieces, LIMITS[0]) for kind in both())
    assert python == cython
    assert python[1][:2] == (
        "TypeError",
        f"a decoder is fed with bytes, got {type(data).__name__}",
    )
    assert python[2][1][0][0][:2] == ["GET", b"/a"]


def test_decoders_read_what_a_subclass_of_bytes_holds() -> None:
    python, cython = (seen(kind, [OwnBytes(GET)], LIMITS[0]) for kind in both())
    assert python == cython
    assert python[0][1][0][0][:2] == ["GET", b"/a"]


# Frames and routes


UNUSUAL = [
    None,
    0,
    5,
    "",
    "text",
    OwnStr("text"),
    bytearray(),
    bytearray(b"ab"),
    memoryview(b"ab"),
    memoryview(array("i", [1, 2])),
    OwnBytes(b"abcd"),
    [],
    [b"a"],
    object,
]
unusual = st.integers(0, len(UNUSUAL) - 1).map(UNUSUAL.__getitem__)  # some cannot be hashed
values = st.one_of(st.binary(max_size=40), unusual)
prefixes = st.one_of(st.just(message_prefix(SENDER, TO, "name")), values)


def twins(module: str) -> list[Any]:
    """A module of each backend."""
    return [import_module(f"{hot_path.PACKAGES[kind.kind]}.{module}") for kind in both()]


def agree(module: str, function: str, *args: Any) -> tuple[str, Any]:
    python, cython = (outcome(getattr(twin, function), *args) for twin in twins(module))
    assert python == cython
    assert type(python[1]) is type(cython[1])
    return python


@given(prefixes, values)
def test_messages_are_encoded_alike_whatever_they_are_made_of(prefix: Any, body: Any) -> None:
    agree("wire.encoder", "encode_message", prefix, body)
    agree("wire.encoder", "message_parts", prefix, body)


SIZES = sorted({16**digits + more for digits in range(6) for more in (-1, 0, 1)})


@pytest.mark.parametrize("size", SIZES)
def test_sizes_are_written_alike(size: int) -> None:
    result, _ = agree("wire.encoder", "encode_message", b"prefix\r\n", bytes(size))
    assert result == "returned"
    agree("wire.encoder", "message_parts", b"prefix\r\n", bytes(size))


@given(
    st.one_of(st.builds(bytearray, st.binary(max_size=20)), values),
    st.lists(st.tuples(prefixes, values), min_size=1, max_size=5),
)
def test_messages_are_appended_alike(buffer: Any, messages: list[tuple[Any, Any]]) -> None:
    traces = []
    for twin in twins("wire.encoder"):
        grown = copy(buffer) if isinstance(buffer, (bytearray, list)) else buffer
        said = [outcome(twin.append_message, grown, *message) for message in messages]
        traces.append((said, grown))
    assert traces[0] == traces[1]


def test_a_buffer_that_cannot_grow_is_refused_and_left_alone() -> None:
    for twin in twins("wire.encoder"):
        buffer = bytearray(b"before")
        with memoryview(buffer), pytest.raises(BufferError):
            twin.append_message(buffer, b"prefix\r\n", b"body")
        assert buffer == b"before"


def test_what_is_appended_to_a_buffer_that_was_cut_at_its_front_stays_within_it() -> None:
    for twin in twins("wire.encoder"):
        buffer = bytearray(b"x" * 100)
        del buffer[:60]
        for _ in range(50):
            twin.append_message(buffer, b"prefix\r\n", b"body")
        assert buffer == b"x" * 40 + twin.encode_message(b"prefix\r\n", b"body") * 50


@given(
    values,
    values,
    st.one_of(st.lists(values, max_size=4), st.binary(max_size=4), st.none(), st.just("ab")),
    values,
)
def test_responses_are_encoded_alike_whatever_they_are_made_of(
    status_line: Any, date: Any, headers: Any, body: Any
) -> None:
    agree("wire.encoder", "encode_response", status_line, date, headers, body)


@given(
    st.lists(st.one_of(st.binary(max_size=9), unusual), max_size=4),
    st.binary(max_size=9),
)
def test_headers_of_a_response_may_come_from_an_iterator(lines: list[Any], body: bytes) -> None:
    python, cython = (
        outcome(twin.encode_response, b"HTTP/1.1 200 OK", b"now", iter(lines), body)
        for twin in twins("wire.encoder")
    )
    assert python == cython


IN_PATHS = st.sampled_from(
    [b"/", b"/", b"%", b"%2F", b"%zz", b"%C3%BC", b"%ff", b"+", b"a", b"slave(1)", b"\0", b"\xff"]
)
paths = st.one_of(
    st.lists(IN_PATHS, max_size=8).map(b"".join),
    st.lists(IN_PATHS, max_size=8).map(lambda parts: b"/" + b"".join(parts)),
    values,
)


@given(paths)
@settings(max_examples=300)
def test_paths_are_split_alike(path: Any) -> None:
    agree("actor.routes", "split_path", path)


ROUTES = {"/": 0, "/a": 1, "/a/b": 2, "/c/d": 3, "/\u00fc": 4}


@given(
    st.one_of(st.text("abcd/\u00fc", max_size=8), unusual),
    st.sampled_from([ROUTES, {}, [], None, list(ROUTES), {"/a": None}]),
)
def test_routes_match_alike(rest: Any, routes: Any) -> None:
    agree("actor.routes", "match_route", routes, rest)


# Pids and classes


def test_pids_of_checked_parts_are_as_any() -> None:
    pid = PID("::1", 5050, "slave(1)")
    for twin in twins("pid"):
        made = twin.pid_of("::1", 5050, "slave(1)")
        assert type(made) is PID
        assert (made, hash(made), str(made)) == (pid, hash(pid), str(pid))
        assert weakref.ref(made)() is made
        with pytest.raises(AttributeError, match="immutable"):
            made.id = "another"


def test_tables_of_handlers_follow_their_class_whoever_looks_first() -> None:
    python, cython = twins("actor.handlers")

    class Base(Process):
        @Process.install("one")
        def one(self, from_pid: PID, body: bytes) -> None: ...

    class Sub(Base): ...

    class Mixin:
        @Process.install("mixed")
        def mixed(self, from_pid: PID, body: bytes) -> None: ...

    def names(cls: type) -> set[str]:
        tables = [twin.handler_table(cls) for twin in (cython, python, cython, cython)]
        assert all(table is tables[0] for table in tables)
        return set(tables[0].messages)

    assert names(Base) == names(Sub) == {"one"}
    Base.two = Process.install("two")(lambda self, from_pid, body: None)  # type: ignore[attr-defined]
    assert names(Sub) == names(Base) == {"one", "two"}
    Sub.one = None  # type: ignore[assignment]
    assert names(Sub) == {"two"}
    assert names(Base) == {"one", "two"}
    Sub.__bases__ = (Mixin, Base)
    assert names(Sub) == {"two", "mixed"}
    del Sub.one
    assert names(Sub) == {"one", "two", "mixed"}
