"""Heads that differ in the number of an ask: known ones say what the parser would have said."""

from __future__ import annotations

import tracemalloc
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from compactor.pid import PID
from compactor.runtime import hot_path
from compactor.wire.encoder import encode_message, message_prefix
from tests.backends import kinds
from tests.fuzz.streams import HEAD, NOISE, edited

STORE = PID("10.0.0.1", 5050, "store")
FIELDS = (*HEAD, "path_text", "query_text", "is_plain", "is_special", "browser", "size")
PARSERS = kinds()


def temporary(number: str) -> PID:
    return PID("10.0.0.2", 31000, f"__req_res__({number})")


def ask(number: str, body: bytes = b"k") -> bytes:
    return encode_message(message_prefix(temporary(number), STORE, "get"), body)


def answer(number: str, body: bytes = b"v") -> bytes:
    return encode_message(message_prefix(STORE, temporary(number), "get"), body)


def with_length(number: str) -> bytes:
    """Of a peer that is no libprocess, and has its messages answered."""
    return (
        b"POST /store/get?a=b HTTP/1.1\r\nHost: x\r\nAccept: */*\r\n"
        b"Libprocess-From: __req_res__(%b)@10.0.0.2:31000 more\r\nContent-Length: 1\r\n\r\nk"
        % number.encode()
    )


def as_old_libprocess(number: str) -> bytes:
    return (
        b"POST /store/get HTTP/1.0\r\nUser-Agent: libprocess/__req_res__(%b)@10.0.0.2:31000\r\n"
        b"Connection: Keep-Alive\r\n\r\n" % number.encode()
    )


MAKERS = [ask, answer, with_length, as_old_libprocess]


def all_said(decoder: Any, data: bytes) -> Any:
    """What comes of some bytes: all that heads say, the bodies, and what is wrong."""
    events = decoder.feed(data)
    heads = [[getattr(head, field) for field in FIELDS] for head in events[::2]]
    return heads, events[1::2], str(decoder.error), decoder.unfinished > 0


def decoder_of(kind: str, *limits: int) -> Any:
    return hot_path.backend(kind).RequestDecoder(*(limits or (80 * 1024, 1 << 20)))


numbers = st.one_of(
    st.integers(0, 2**64).map(str),
    st.sampled_from(["", "0", "007", "9" * 20, "9" * 21, "-1", "+1", "1_0", "\u0661", " 1", "1a"]),
)
edits = st.lists(
    st.tuples(
        st.integers(0, 400),
        st.integers(0, 3),
        st.one_of(st.sampled_from([*NOISE, b"(", b")", b"@", b"1"]), st.binary(max_size=3)),
    ),
    max_size=2,
)


@given(
    st.sampled_from(MAKERS),
    st.integers(0, 10**19).map(str),
    numbers,
    edits,
    st.sampled_from(PARSERS),
    st.sampled_from([80 * 1024, 260, 200]),
)
@example(ask, "1", "2", [], PARSERS[-1], 80 * 1024)
@settings(max_examples=500, deadline=None)
def test_a_relative_is_read_as_if_it_were_the_first(
    make: Any, first: str, other: str, changes: Any, kind: str, most: int
) -> None:
    try:
        stream = edited(make(other), changes) + make(first)
    except ValueError:  # such a pid cannot be made here
        stream = edited(make(first).replace(b"(%b)" % first.encode(), other.encode()), changes)
    knowing = decoder_of(kind, most, 1 << 20)
    knowing.feed(make(first))
    if knowing.error is None:
        assert all_said(knowing, stream) == all_said(decoder_of(kind, most, 1 << 20), stream)


@pytest.mark.parametrize("kind", PARSERS)
@pytest.mark.parametrize("make", MAKERS)
@pytest.mark.smoke
def test_relatives_are_not_parsed(make: Any, kind: str) -> None:
    decoder = decoder_of(kind)
    (first,) = all_said(decoder, make("17"))[0]
    parsed = hot_path.backend(kind).parse_head.__module__
    cache = __import__(parsed, fromlist=["cached_head"]).cached_head
    for number in range(5, 10**6, 9999):
        misses = cache.cache_info().misses
        said = all_said(decoder, make(str(number)))
        assert cache.cache_info().misses == misses
        assert said == all_said(decoder_of(kind), make(str(number)))
    assert all_said(decoder, make("17"))[0] == [first]


@pytest.mark.parametrize("kind", PARSERS)
def test_a_family_of_another_kind_is_not_mistaken(kind: str) -> None:
    decoder = decoder_of(kind)
    decoder.feed(ask("1") + answer("1"))
    both = ask("5").replace(b"Libprocess-From: __req_res__(5)", b"Libprocess-From: __req_res__(6)")
    longer = ask("5").replace(b"(5)@10.0.0.2", b"(5)@10.0.0.22")
    for frame in (both, longer, answer("5").replace(b"/get", b"/got"), ask("5")):
        assert all_said(decoder, frame) == all_said(decoder_of(kind), frame)


@pytest.mark.parametrize("kind", PARSERS)
def test_what_is_remembered_of_families_is_bounded(kind: str) -> None:
    decoder = decoder_of(kind)

    def send(count: int) -> None:
        for number in range(count):
            for frame in (
                ask("7" * (1 + number % 20)),
                ask(str(number)).replace(b"/get", b"/get%d" % number),
            ):
                decoder.feed(frame)

    send(4200)  # fills the cache of heads
    tracemalloc.start()
    try:
        send(1000)
        before = tracemalloc.get_traced_memory()[0]
        send(1000)
        assert tracemalloc.get_traced_memory()[0] - before < 512 * 1024
    finally:
        tracemalloc.stop()
