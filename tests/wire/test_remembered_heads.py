"""Heads that a connection remembers: no other connection can take them from it."""

from __future__ import annotations

import tracemalloc
from typing import Any

import pytest

from compactor.pid import PID
from compactor.runtime import hot_path
from compactor.wire.encoder import encode_message, message_prefix
from tests.backends import kinds

PARSERS = kinds()
MASTER = PID("10.0.0.1", 5050, "master")


def beat(number: int, ip: str = "10.0.0.2", port: int = 5050) -> bytes:
    sender = PID(ip, port, f"worker{number}")
    return encode_message(message_prefix(sender, MASTER, "beat"), b"%d" % number)


def decoder_of(kind: str, max_fields: int = 1000) -> Any:
    return hot_path.backend(kind).RequestDecoder(80 * 1024, 1 << 20, max_fields)


def cache_of(kind: str) -> Any:
    parsed = hot_path.backend(kind).parse_head.__module__
    return __import__(parsed, fromlist=["cached_head"]).cached_head


def lookups(kind: str) -> int:
    """How often heads were looked for in what all connections share."""
    found = cache_of(kind).cache_info()
    return int(found.hits + found.misses)


def said(decoder: Any, data: bytes) -> list[tuple[str, str, bytes]]:
    events = decoder.feed(data)
    assert decoder.error is None
    return [
        (str(head.sender), head.path_text, body)
        for head, body in zip(events[::2], events[1::2], strict=True)
    ]


@pytest.mark.parametrize("kind", PARSERS)
@pytest.mark.parametrize("senders", [1, 8, 9, 30])
@pytest.mark.smoke
def test_heads_of_a_host_are_its_own(kind: str, senders: int) -> None:
    host, stranger = decoder_of(kind), decoder_of(kind)
    beats = [beat(number) for number in range(senders)]
    first = said(host, b"".join(beats))
    for number in range(5000):  # more than all connections share
        stranger.feed(beat(number, ip="10.0.0.3", port=1 + number))
    before = lookups(kind)
    for _ in range(3):
        assert said(host, b"".join(beats)) == first
        assert [said(host, one)[0] for one in reversed(beats)] == first[::-1]
    assert lookups(kind) == before


@pytest.mark.parametrize("kind", PARSERS)
def test_ever_new_heads_cost_their_connection_bounded_memory(kind: str) -> None:
    # The longest that are remembered, for which no other connection has room left.
    pad = b"".join(b"X%d: 1\r\n" % number for number in range(15))

    def padded(number: int) -> bytes:
        return beat(number).replace(b"\r\n\r\n", b"\r\n" + pad + b"\r\n", 1)

    filled = decoder_of(kind)
    for number in range(4200):  # what all share is full
        filled.feed(padded(number))
    decoders = [decoder_of(kind) for _ in range(10)]
    tracemalloc.start()
    try:
        before = tracemalloc.get_traced_memory()[0]
        for number in range(500):
            for decoder in decoders:
                decoder.feed(padded(10_000 + number))
        taken = tracemalloc.get_traced_memory()[0] - before
    finally:
        tracemalloc.stop()
    assert taken < len(decoders) * 128 * 1024 + 512 * 1024


@pytest.mark.parametrize("kind", PARSERS)
def test_blank_lines_before_heads_do_not_use_up_what_is_remembered(kind: str) -> None:
    decoder = decoder_of(kind)
    beats = [beat(number) for number in range(20)]
    for _ in range(500):
        decoder.feed(b"\r\n" + b"\r\n".join(beats))
    decoder.feed(b"".join(beats))
    before = lookups(kind)
    assert len(said(decoder, b"".join(beats))) == len(beats)
    assert lookups(kind) == before


@pytest.mark.parametrize("kind", PARSERS)
def test_more_senders_than_are_remembered_are_understood(kind: str) -> None:
    decoder = decoder_of(kind)
    everybody = [beat(number) for number in range(500)]
    for _ in range(3):
        assert [body for _, _, body in said(decoder, b"".join(everybody))] == [
            b"%d" % number for number in range(500)
        ]
