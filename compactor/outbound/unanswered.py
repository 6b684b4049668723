"""``Unanswered``: the frames of one connection that its peer may still answer.

libprocess answers messages in order, without saying which one an answer is for.  So what was
written is kept until it is answered.  Its bytes are parsed only once an answer refuses one of them.
"""

from __future__ import annotations

from collections import deque
from typing import NamedTuple

from compactor.wire.frames import frames_of
from compactor.wire.request_decoder import RequestDecoder
from compactor.wire.request_head import Head

# Bytes of frames that are kept.  Beyond, an answer still says that a message was refused, but not
# which; and a peer that has answered none of them answers none at all, as other compactors do.
_MAX_BYTES = 256 * 1024


class _Block(NamedTuple):
    first: int  # the number of its first frame
    end: int
    size: int
    buffers: list[bytes]


class Unanswered:
    """What was written to one connection and not answered, in blocks.

    Args:
        has_answers: whether the peer is known to answer.
    """

    __slots__ = ("_blocks", "_frames", "_has_answers", "_read", "_size")

    def __init__(self, has_answers: bool = False) -> None:
        self._blocks: deque[_Block] = deque()
        self._size = 0
        self._has_answers = has_answers
        self._read: _Block | None = None  # the block that was looked into last
        self._frames: list[tuple[Head, int]] = []

    def wrote(self, first: int, frames: int, size: int, buffers: list[bytes]) -> bool:
        """Keep a block of whole frames; return whether more are to be kept.

        Args:
            first: the number of its first frame on the connection.
            frames, size, buffers: how many, their bytes, and those themselves.
        """
        self._blocks.append(_Block(first, first + frames, size, buffers))
        self._size += size
        if self._size > _MAX_BYTES and not self._has_answers:
            return False
        while self._size > _MAX_BYTES:
            self._size -= self._blocks.popleft().size
        return True

    def answered(self, number: int) -> None:
        """The frame of that number, and all before it, need not be kept any more."""
        self._has_answers = True
        while self._blocks and self._blocks[0].end <= number + 1:
            self._size -= self._blocks.popleft().size

    def frame(self, number: int) -> tuple[Head, int] | None:
        """The head of the frame of that number and the bytes of its body, if it is kept."""
        for block in self._blocks:
            if block.first <= number < block.end:
                if block is not self._read:
                    self._read, self._frames = block, _heads_of(block)
                return self._frames[number - block.first]
            if block.first > number:
                break
        return None


def _heads_of(block: _Block) -> list[tuple[Head, int]]:
    found = frames_of(deque([block.buffers]), RequestDecoder)
    return [(head, len(body)) for head, body in found]
