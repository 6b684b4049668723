"""Buffers of frames: in C, the memory of one that has left is used for another."""

from __future__ import annotations

import tracemalloc
from collections.abc import Iterator
from typing import Any

import pytest

PREFIX = b"prefix\r\n"
BODY = b"x" * 1000
MOST = 16  # buffers that are kept


@pytest.fixture
def frames() -> Iterator[Any]:
    """The module in C; it keeps nothing of other tests."""
    module = pytest.importorskip("compactor._speedups.wire.encoder")
    forget(module)
    yield module
    forget(module)


def forget(frames: Any) -> None:
    for _ in range(MOST):
        frames.reuse(bytearray(1))
    while frames.new_buffer().__alloc__():
        pass


def filled(frames: Any) -> bytearray:
    buffer: bytearray = frames.new_buffer()
    for _ in range(100):
        frames.append_message(buffer, PREFIX, BODY)
    return buffer


def test_the_memory_of_a_buffer_is_used_again_once_nobody_holds_it(frames: Any) -> None:
    frame = frames.encode_message(PREFIX, BODY)
    held = [filled(frames), filled(frames)]
    capacity = held[0].__alloc__()
    for number in range(2):
        frames.reuse(held[number])
    assert frames.new_buffer().__alloc__() == 0  # the first one is held
    view = memoryview(held.pop(0))
    assert frames.new_buffer().__alloc__() == 0
    view.release()
    again = frames.new_buffer()
    assert again == b""
    assert again.__alloc__() == capacity
    frames.append_message(again, PREFIX, BODY)
    assert again == frame
    assert again.__alloc__() == capacity
    assert held == [frame * 100]
    assert frames.new_buffer().__alloc__() == 0  # the second one is still held


def test_few_buffers_are_kept_and_none_that_is_large(frames: Any) -> None:
    tracemalloc.start()
    try:
        before = tracemalloc.get_traced_memory()[0]
        for _ in range(5 * MOST):
            frames.reuse(bytearray(500_000))
        frames.reuse(bytearray(2_000_000))
        kept = tracemalloc.get_traced_memory()[0] - before
    finally:
        tracemalloc.stop()
    assert MOST * 500_000 <= kept < (MOST + 1) * 500_000


def test_what_is_no_buffer_is_not_kept(frames: Any) -> None:
    for other in (b"bytes", None, bytearray(), memoryview(b"view")):
        frames.reuse(other)
    assert frames.new_buffer().__alloc__() == 0
