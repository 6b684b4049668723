"""Frames that were encoded here, decoded again: to tell which messages were lost."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from typing import Any

from compactor.wire.request_decoder import RequestDecoder
from compactor.wire.request_head import Head


def frames_of(
    blocks: deque[list[Any]], new_decoder: Callable[[int, int], RequestDecoder]
) -> Iterator[tuple[Head, bytes]]:
    """Head and body of each frame, found in steps.

    Args:
        blocks: whole frames, some in the buffers of each.  They are taken off one by one, so that
            their memory goes as they are told.
        new_decoder: of the backend.
    """
    while blocks:
        block = b"".join(blocks.popleft())
        decoder = new_decoder(len(block), len(block))
        found = decoder.feed_some(block)
        while found or decoder.has_more:
            yield from zip(found[::2], found[1::2], strict=True)
            found = decoder.feed_some(b"")
