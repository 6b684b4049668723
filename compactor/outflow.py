"""``Outflow``: the frames on their way to one address, parked, bounded, and written in batches."""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Iterator
from typing import Any, Protocol

from .decoder import FrameDecoder
from .frames import append_message, encode_message, message_parts
from .heads import Head
from .run_queue import RunQueue

# Bytes handed to the transport at a time.  What the transport holds cannot be taken back when
# the connection breaks; what is still parked can be reported.
_BLOCK_BYTES = 256 * 1024

_LARGE = 32 * 1024  # bodies from here on are written from where they are, not copied
_FRAMING = 64  # bytes of a frame besides beginning and body, at most


class Source(Protocol):
    """What an outflow asks of its peer."""

    def dial(self) -> None: ...
    def overflowed(self, head: Head, body: bytes) -> None: ...
    def backed_up(self) -> None: ...
    def relieved(self) -> None: ...


class Outflow:
    """One FIFO of frames; the first one of a turn has them written at its end.

    Frames are gathered in blocks, each a list of buffers; a block ends where a frame does, and
    ended blocks wait in line behind each other.

    Args:
        peer: dials, and is told what happens.
        run_queue: the turns of the loop.
        max_bytes: what may be parked.
        high_water: bytes beyond which the outflow is backed up, until a quarter of them is left.

    Attributes:
        parked: frames that wait.
        size: their bytes.
        written: frames that the open connection has been given.
        links: the number of the link frame on the connection, by the id of the linked process,
            as long as it has no answer; lowest number first.
        links_again: those frames of them that were to be written once more meanwhile.
        is_full: whether the transport takes no more for now.
        is_backed_up: whether those who can wait should.
    """

    __slots__ = (
        "_block",
        "_block_bytes",
        "_buffer",
        "_dirty",
        "_ended",
        "_ended_frames",
        "_ended_size",
        "_high_water",
        "_max_bytes",
        "_peer",
        "_run_queue",
        "_transport",
        "is_backed_up",
        "is_full",
        "links",
        "links_again",
        "parked",
        "size",
        "written",
    )

    def __init__(self, peer: Source, run_queue: RunQueue, max_bytes: int, high_water: int) -> None:
        self.parked = 0
        self.size = 0
        self.written = 0
        self.links: OrderedDict[str, int] = OrderedDict()  # finds its first one at once
        self.links_again: dict[str, bytes] = {}
        self.is_full = False
        self.is_backed_up = False
        self._peer = peer
        self._run_queue = run_queue
        self._max_bytes = max_bytes
        self._high_water = high_water
        self._block_bytes = min(_BLOCK_BYTES, high_water)
        self._ended: deque[tuple[list[Any], int, int]] = deque()  # buffers, frames, bytes
        self._ended_frames = 0
        self._ended_size = 0
        self._buffer = bytearray()  # the last one of the block that has not ended
        self._block: list[Any] = [self._buffer]
        self._transport: Any = None
        self._dirty = False

    # Parking

    def write_message(self, prefix: bytes, body: bytes) -> None:
        """Park a message; it leaves at the end of this turn, or when the connection lets it."""
        length = len(body)
        size = self.size
        if size + len(prefix) + length + _FRAMING > self._max_bytes and self.parked:
            for frame in _frames(encode_message(prefix, body)):
                self._peer.overflowed(*frame)
            return
        if length < _LARGE:
            size += append_message(self._buffer, prefix, body)
        else:
            first, _, last = message_parts(prefix, body)
            self._buffer += first
            self._buffer = bytearray(last)
            self._block += (body, self._buffer)
            size += len(first) + length + len(last)
        self.size = size
        self.parked += 1
        if size - self._ended_size >= self._block_bytes or size > self._high_water:
            self._is_much()
        if not self._dirty:
            self._dirty = True
            self._run_queue.flush_soon(self)

    def write_link(self, id_: str, frame: bytes) -> None:
        """Park a link frame, if none waits for its answer: whether the process ``id_`` lives."""
        if id_ in self.links:
            if self.links[id_] < self.written:  # what is parked is answered later than this
                self.links_again[id_] = frame
            return
        self.links[id_] = self.written + self.parked
        self._buffer += frame
        size = self.size + len(frame)
        self.size = size
        self.parked += 1
        if size - self._ended_size >= self._block_bytes or size > self._high_water:
            self._is_much()
        if not self._dirty:
            self._dirty = True
            self._run_queue.flush_soon(self)

    def _is_much(self) -> None:
        """End a block that is large enough, and tell the peer when it is backed up."""
        if self.size - self._ended_size >= self._block_bytes:
            self._end_block()
        if self.size > self._high_water and not self.is_backed_up:
            self.is_backed_up = True
            self._peer.backed_up()

    def _end_block(self) -> None:
        frames = self.parked - self._ended_frames
        size = self.size - self._ended_size
        self._ended.append((self._block, frames, size))
        self._ended_frames += frames
        self._ended_size += size
        self._buffer = bytearray()
        self._block = [self._buffer]

    def prepend_links(self, links: list[tuple[str, bytes]]) -> None:
        """Park link frames before all else, but those that are parked already."""
        links = [(id_, frame) for id_, frame in links if id_ not in self.links]
        if not links:
            return
        count = len(links)
        before = OrderedDict((id_, number) for number, (id_, _) in enumerate(links))
        before.update((id_, number + count) for id_, number in self.links.items())
        self.links = before
        frames = [frame for _, frame in links]
        size = sum(map(len, frames))
        self._ended.appendleft((frames, count, size))
        self._ended_frames += count
        self._ended_size += size
        self.parked += count
        self.size += size

    # The connection

    def open(self, transport: Any) -> None:
        """Write to this transport from now on."""
        self._transport = transport
        self.flush()

    def close(self) -> None:
        """Write to no transport: what is parked waits for the next one."""
        self._transport = None
        self.is_full = False
        self.links = OrderedDict(
            (id_, number - self.written)
            for id_, number in self.links.items()
            if number >= self.written
        )
        self.links_again.clear()
        self.written = 0

    def take_back(self) -> Iterator[tuple[Head, bytes]]:
        """Park nothing any more; return what was, messages and link frames."""
        self._end_block()
        ended, self._ended = self._ended, deque()
        self.links.clear()
        self.links_again.clear()
        self.parked = self._ended_frames = 0
        self.size = self._ended_size = 0
        self._relieve()
        return _frames_of(ended)

    def resume(self) -> None:
        """The transport takes more."""
        self.is_full = False
        self.flush()

    def flush(self) -> None:
        """Write what is parked; have the peer dial first if there is no connection."""
        self._dirty = False
        if self._transport is None:
            if self.parked:
                self._peer.dial()
            return
        # What is handed to a transport that closes is dropped, so it stays here to be reported.
        while self.parked and not self.is_full and not self._transport.is_closing():
            if self._ended_frames:
                buffers, frames, size = self._ended.popleft()
                self._ended_frames -= frames
                self._ended_size -= size
            else:
                buffers, frames, size = self._block, self.parked, self.size
                self._buffer = bytearray()
                self._block = [self._buffer]
            self.parked -= frames
            self.size -= size
            self.written += frames
            for buffer in buffers:
                self._transport.write(buffer)
        if self.is_backed_up and self.size <= self._high_water // 4:
            self._relieve()

    def _relieve(self) -> None:
        if self.is_backed_up:
            self.is_backed_up = False
            self._peer.relieved()


def _frames_of(blocks: deque[tuple[list[Any], int, int]]) -> Iterator[tuple[Head, bytes]]:
    while blocks:
        yield from _frames(b"".join(blocks.popleft()[0]))


def _frames(frames: bytes) -> Iterator[tuple[Head, bytes]]:
    """What some whole frames were, decoded in steps."""
    decoder = FrameDecoder(len(frames), len(frames))
    found = decoder.feed_some(frames)
    while found or decoder.has_more:
        yield from zip(found[::2], found[1::2], strict=True)
        found = decoder.feed_some(b"")
