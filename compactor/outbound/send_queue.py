"""``SendQueue``: the frames on their way to one address; parked, bounded, written in batches.

A message that is sent is encoded straight into the last buffer of its address, and nothing else
happens until the turn ends: then all that was parked is written at once.  So a thousand small
messages cost one write.  A large body is not copied; it stands between two buffers.

Buffers are gathered in blocks of a quarter of a MiB.  One block after another is handed to the
transport while that takes more, for what it holds cannot be taken back.  All else stays here, where
it is counted, bounded, and reported frame by frame if the connection breaks: the frames are decoded
again for that, which costs only who loses them.

Without a connection the peer is asked to dial, and what is parked waits.  Beyond ``max_bytes`` a
message is refused; beyond ``high_water`` the peer is told, so that senders who can wait do.
"""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Iterator
from typing import Any, Protocol

from compactor.net.memory import cut
from compactor.outbound.unanswered import Unanswered
from compactor.outbound.unnumbered import unnumbered
from compactor.pid import Address
from compactor.wire.frames import frames_of

from ..actor.run_queue import RunQueue
from ..wire.encoder import (
    append_message,
    append_numbered,
    encode_message,
    message_parts,
    new_buffer,
    reuse,
)
from ..wire.request_decoder import RequestDecoder
from ..wire.request_head import Head

_BLANK = b"\r\n" * 3  # HTTP ignores such lines before a request; to TLS they are no record

# Bytes handed to the transport at a time.  What the transport holds cannot be taken back when
# the connection breaks; what is still parked can be reported.
_BLOCK_BYTES = 256 * 1024

_LARGE = 32 * 1024  # bodies from here on are written from where they are, not copied
_REUSED = 32 * 1024  # bytes of a block whose buffers are worth to be used again
_FRAMING = 64  # bytes of a frame besides beginning and body, at most
_NUMBER = 32  # bytes of the number of an ask, at most

ASKED, TAKEN, BROKE = 1, 2, 3  # whether numbers of asks arrive, as ``SendQueue.numbers`` tells

_NUMBERED = re.compile(rb";[ar]=\d")


class Source(Protocol):
    """What a send queue asks of its peer."""

    def dial(self) -> None: ...
    def overflowed(self, head: Head, body: bytes) -> None: ...
    def backed_up(self) -> None: ...
    def relieved(self) -> None: ...


class SendQueue:
    """One FIFO of frames; the first one of a turn has them written at its end.

    Frames are gathered in blocks, each a list of buffers; a block ends where a frame does, and
    ended blocks wait in line behind each other.

    Args:
        peer: dials, and is told what happens.
        run_queue: the turns of the loop.
        max_bytes: what may be parked.
        high_water: bytes beyond which the send queue is backed up, until a quarter of them is left.

    Attributes:
        parked: frames that wait.
        size: their bytes.
        written: frames that the open connection has been given.
        unanswered: keeps what was written to the connection; None if nobody will ask for it.
        is_full: whether the transport takes no more for now.
        is_held: whether nothing may be written yet, for another reason.
        is_backed_up: whether those who can wait should.
        numbers: whether what stands behind the size of a chunk arrives at the other end of the
            connection: 0 while that is not known, ``ASKED``, or ``TAKEN`` once it has said so;
            ``BROKE`` on all connections behind one that has ended instead.
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
        "_links",
        "_max_bytes",
        "_peer",
        "_room",
        "_run_queue",
        "_transport",
        "is_backed_up",
        "is_full",
        "is_held",
        "numbers",
        "parked",
        "size",
        "unanswered",
        "written",
    )

    def __init__(self, peer: Source, run_queue: RunQueue, max_bytes: int, high_water: int) -> None:
        self.parked = 0
        self.size = 0
        self.written = 0
        self.unanswered: Unanswered | None = None
        self.is_full = False
        self.is_held = False
        self.is_backed_up = False
        self.numbers = 0
        self._peer = peer
        self._run_queue = run_queue
        self._max_bytes = max_bytes
        self._high_water = high_water
        self._block_bytes = min(_BLOCK_BYTES, high_water)
        self._room = min(self._block_bytes, max_bytes) - _FRAMING  # with less nothing is to be done
        self._ended: deque[tuple[list[Any], int, int]] = deque()  # buffers, frames, bytes
        self._ended_frames = 0
        self._ended_size = 0
        self._buffer = new_buffer()  # the last one of the block that has not ended
        self._block: list[Any] = [self._buffer]
        self._transport: Any = None
        self._dirty = False
        self._links: dict[int, bytes] = {}  # parked, by what tells them from other buffers

    # Parking

    def write_message(self, prefix: bytes, body: bytes) -> None:
        """Park a message; it leaves at the end of this turn, or when the connection lets it."""
        length = len(body)
        size = self.size
        is_much = size + len(prefix) + length > self._room
        if is_much and self.parked and size + len(prefix) + length + _FRAMING > self._max_bytes:
            for frame in frames_of(deque([[encode_message(prefix, body)]]), RequestDecoder):
                self._peer.overflowed(*frame)
            return
        if length < _LARGE:
            size += append_message(self._buffer, prefix, body)
        else:
            first, _, last = message_parts(prefix, body)
            behind = bytearray(last)
            self._block += (body, behind)
            try:
                self._buffer += first
            except MemoryError:  # half a frame would make nonsense of all that follow it
                del self._block[len(self._block) - 2 :]
                raise
            self._buffer = behind
            size += len(first) + length + len(last)
        self.size = size
        self.parked += 1
        if is_much:
            self._is_much()
        if not self._dirty:
            self._run_queue.flush_soon(self)
            self._dirty = True

    def write_numbered(self, prefix: bytes, kind: bytes, number: int, body: bytes) -> bool:
        """Park a message with the number of an ask, unless there is hardly room for it.

        Returns:
            Whether that was done; what says no to others says it of this one, too.
        """
        size = self.size + len(prefix) + len(body) + _FRAMING + _NUMBER
        if (self.parked and size > self._max_bytes) or len(body) >= _LARGE:
            return False
        size = self.size + append_numbered(self._buffer, prefix, kind, number, body)
        self.size = size
        self.parked += 1
        if size >= self._block_bytes:
            self._is_much()
        if not self._dirty:
            self._run_queue.flush_soon(self)
            self._dirty = True
        return True

    def write_link(self, frame: bytes) -> None:
        """Park a link frame."""
        buffer = new_buffer()
        self._links[id(frame)] = frame
        self._block += (frame, buffer)
        self._buffer = buffer
        size = self.size + len(frame)
        self.size = size
        self.parked += 1
        if size >= self._block_bytes:
            self._is_much()
        if not self._dirty:
            self._run_queue.flush_soon(self)
            self._dirty = True

    def drop_links(self) -> None:
        """Take the link frames out of what is parked."""
        links, self._links = self._links, {}
        if not links:
            return
        self._end_block()
        ended, self._ended = self._ended, deque()
        for buffers, frames, size in ended:
            kept = [buffer for buffer in buffers if id(buffer) not in links]
            left = sum(map(len, kept))
            dropped = len(buffers) - len(kept)
            self.parked -= dropped
            self.size -= size - left
            self._ended_frames -= dropped
            self._ended_size -= size - left
            if left:
                self._ended.append((kept, frames - dropped, left))
        if self.size <= self._high_water // 4:
            self._relieve()

    def _is_much(self) -> None:
        """End a block that is large enough, and tell the peer when it is backed up.

        A block is no larger than what the high water lets park, so this is asked from there on.
        """
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
        self._buffer = new_buffer()
        self._block = [self._buffer]

    def hold(self) -> None:
        """Write nothing that is parked from now on."""
        if not self.is_held:
            self.flush()
            self.is_held = True

    def release(self) -> None:
        """Write what is parked."""
        if self.is_held:
            self.is_held = False
            self.flush()

    # The connection

    def probe(self) -> None:
        """Have a peer that does not speak HTTP show it, by the end of the connection."""
        if self._transport is not None and not self._transport.is_closing():
            self._transport.write(_BLANK)

    def open(self, transport: Any) -> None:
        """Write to this transport from now on."""
        self._transport = transport
        self.unanswered = Unanswered()
        self.flush()

    def close(self) -> None:
        """Write to no transport: what is parked waits for the next one."""
        self._transport = None
        self.unanswered = None
        self.is_full = self.is_held = False
        if self.numbers != BROKE:
            self.numbers = 0
        self.written = 0

    def write_no_numbers(self, address: Address) -> None:
        """Have what is parked leave as to strangers: the next connection may lead to some.

        Args:
            address: the one that all of it is for.
        """
        self._end_block()
        ended, self._ended = self._ended, deque()
        for buffers, frames, size in ended:
            if any(map(_NUMBERED.search, buffers)):
                plain = unnumbered(buffers, address, RequestDecoder)
                self.parked -= frames - len(plain)
                self._ended_frames -= frames - len(plain)
                buffers, frames = [b"".join(plain)], len(plain)
                change = len(buffers[0]) - size
                self.size += change
                self._ended_size += change
                size += change
            if frames:
                self._ended.append((buffers, frames, size))

    def take_back(self) -> Iterator[tuple[Head, bytes]]:
        """Park nothing any more; return what was, messages and link frames."""
        self._end_block()
        blocks = deque(map(_buffers, self._ended))
        self._ended.clear()
        self._links.clear()
        self.parked = self._ended_frames = 0
        self.size = self._ended_size = 0
        self._relieve()
        return frames_of(blocks, RequestDecoder)

    def resume(self) -> None:
        """The transport takes more."""
        self.is_full = False
        self.flush()

    # In one piece: made for every address and turn, where each call in it counts.
    def flush(self) -> None:
        """Write what is parked; have the peer dial first if there is no connection."""
        self._dirty = False
        transport = self._transport
        if transport is None:
            if self.parked:
                self._peer.dial()
            return
        if self.is_held:
            return
        # What is handed to a transport that closes is dropped, so it stays here to be reported.
        while self.parked and not self.is_full and not transport.is_closing():
            if self._ended_frames:
                buffers, frames, size = self._ended.popleft()
                self._ended_frames -= frames
                self._ended_size -= size
                self.parked -= frames
                self.size -= size
            else:
                buffer = new_buffer()
                block: list[Any] = [buffer]
                buffers = self._block
                frames = self.parked
                size = self.size
                self._buffer = buffer
                self._block = block
                self.parked = 0
                self.size = 0
            if self._links:
                for each in buffers:
                    self._links.pop(id(each), None)
            if self.unanswered is not None and not self.unanswered.wrote(
                self.written, frames, size, buffers
            ):
                self.unanswered = None
            self.written += frames
            try:
                for buffer in buffers:
                    transport.write(buffer)
                if size >= _REUSED:
                    for buffer in buffers:
                        reuse(buffer)
            except BaseException as error:
                # What comes next would be taken for the rest of this, so nothing does: the end of
                # the connection reports all that is parked.
                cut(transport)
                self._ended.appendleft((buffers, frames, size))
                self._ended_frames += frames
                self._ended_size += size
                self.parked += frames
                self.size += size
                if isinstance(error, MemoryError):
                    return
                raise
        if self.is_backed_up and self.size <= self._high_water // 4:
            self._relieve()

    def _relieve(self) -> None:
        if self.is_backed_up:
            self.is_backed_up = False
            self._peer.relieved()


def _buffers(block: tuple[list[Any], int, int]) -> list[Any]:
    return block[0]
