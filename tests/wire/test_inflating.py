"""Bodies that came compressed: any of them, in steps, held to the gzip module."""

from __future__ import annotations

import gzip
import random
import zlib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from compactor.errors import RemoteProtocolError
from compactor.wire.inflate import Inflater


def inflate(stream: bytes, limit: int = 1 << 24, coding: bytes = b"gzip") -> bytes:
    inflater = Inflater(stream, limit, coding)
    size = 0
    while not inflater.is_done:
        size += inflater.step()
    body = inflater.result()
    assert len(body) == size
    return body


def body_of(seed: int, size: int, kinds: int) -> bytes:
    """A body of so many different bytes: the fewer, the smaller it becomes."""
    return bytes(random.Random(seed).choices(range(kinds), k=size))


bodies = st.builds(
    body_of, st.integers(0, 1000), st.integers(0, 400_000), st.sampled_from([1, 2, 256])
)


@settings(max_examples=60, deadline=None)
@given(body=bodies, level=st.integers(0, 9), cut=st.integers(1, 15))
def test_any_body_comes_back_and_none_that_is_cut_or_has_a_tail(
    body: bytes, level: int, cut: int
) -> None:
    stream = gzip.compress(body, level)
    assert inflate(stream) == body
    assert inflate(stream * 3) == body * 3  # members
    for damaged in (stream[:-cut], stream + b"x" * cut, stream + stream[:cut]):
        with pytest.raises(RemoteProtocolError, match="failed to decode body"):
            inflate(damaged)


@settings(max_examples=60, deadline=None)
@given(body=bodies, level=st.integers(0, 9), cut=st.integers(1, 4), bare=st.booleans())
def test_deflate_is_understood_in_its_header_and_bare(
    body: bytes, level: int, cut: int, bare: bool
) -> None:
    packer = zlib.compressobj(level, wbits=-15 if bare else 15)
    stream = packer.compress(body) + packer.flush()
    assert inflate(stream, coding=b"deflate") == body
    for damaged in (stream[:1], stream[:-cut] or stream[:1], stream + b"x" * cut):
        with pytest.raises(RemoteProtocolError, match="failed to decode body"):
            inflate(damaged, coding=b"deflate")


@pytest.mark.parametrize("coding", [b"gzip", b"deflate"])
def test_nothing_becomes_nothing(coding: bytes) -> None:
    assert inflate(b"", coding=coding) == b""


def test_many_small_members_are_inflated_and_count_towards_the_limit() -> None:
    member = gzip.compress(b"ab")
    assert inflate(member * 5000) == b"ab" * 5000
    with pytest.raises(RemoteProtocolError, match="exceeds 9999 bytes"):
        inflate(member * 5000, 9999)


@settings(max_examples=60, deadline=None)
@given(body=bodies, position=st.integers(10, 1 << 20))
def test_a_damaged_stream_is_refused(body: bytes, position: int) -> None:
    stream = bytearray(gzip.compress(body))
    stream[-8 + position % 4] ^= 1  # the check sum
    with pytest.raises(RemoteProtocolError, match="failed to decode body"):
        inflate(bytes(stream))


@pytest.mark.parametrize("size", [0, 1, 128 * 1024, 128 * 1024 + 1, 1 << 20])
def test_a_body_may_have_its_limit_and_not_a_byte_more(size: int) -> None:
    stream = gzip.compress(bytes(size))
    assert inflate(stream, size) == bytes(size)
    if size:
        with pytest.raises(RemoteProtocolError, match=f"exceeds {size - 1} bytes"):
            inflate(stream, size - 1)


def test_a_step_is_small_whatever_the_stream_becomes() -> None:
    inflater = Inflater(gzip.compress(bytes(1 << 22)), 1 << 22)
    steps = 0
    while not inflater.is_done:
        assert inflater.step() <= 128 * 1024
        steps += 1
    assert steps >= 32
