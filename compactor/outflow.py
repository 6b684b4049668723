"""``Outflow``: the frames on their way to one address, parked, bounded, and written in batches."""

from __future__ import annotations

from collections import deque
from typing import Any, Protocol

from .frames import encode_message, message_parts
from .run_queue import RunQueue

Frame = Any
"""``bytes``, or a tuple of ``bytes`` to be joined: large bodies are not copied."""

# Frames handed to the transport at a time.  What the transport holds cannot be taken back when
# the connection breaks; what is still parked can be reported.
_WRITE_BYTES = 256 * 1024

_LARGE = 32 * 1024  # bodies from here on are written from where they are


class Source(Protocol):
    """What an outflow asks of its peer."""

    def dial(self) -> None: ...
    def overflowed(self, frame: bytes) -> None: ...


class Outflow:
    """One FIFO of frames; the first one of a turn has them written at its end.

    Attributes:
        size: bytes of the frames that are parked.
        written: frames that the open connection has been given.
        links: ids of linked processes by the number of their link frames on the connection.
        is_full: whether the transport takes no more for now.
    """

    __slots__ = (
        "_dirty",
        "_frames",
        "_large",
        "_max_bytes",
        "_peer",
        "_run_queue",
        "_transport",
        "is_full",
        "links",
        "size",
        "written",
    )

    def __init__(self, peer: Source, run_queue: RunQueue, max_bytes: int) -> None:
        self.size = 0
        self.written = 0
        self.links: dict[int, str] = {}
        self.is_full = False
        self._peer = peer
        self._run_queue = run_queue
        self._max_bytes = max_bytes
        self._frames: deque[Frame] = deque()
        self._large = 0  # how many of them are tuples
        self._transport: Any = None
        self._dirty = False

    def __len__(self) -> int:
        return len(self._frames)

    # Parking

    def write_message(self, prefix: bytes, body: bytes) -> None:
        """Park a message; it leaves at the end of this turn, or when the connection lets it."""
        frame: Frame
        if len(body) < _LARGE:
            frame = encode_message(prefix, body)
            size = self.size + len(frame)
        else:
            frame = message_parts(prefix, body)
            size = self.size + len(frame[0]) + len(body) + len(frame[2])
        if size > self._max_bytes and self._frames:
            self._peer.overflowed(b"".join(frame) if isinstance(frame, tuple) else frame)
            return
        if isinstance(frame, tuple):
            self._large += 1
        self.size = size
        self._frames.append(frame)
        if not self._dirty:
            self._dirty = True
            self._run_queue.flush_soon(self)

    def write_link(self, id_: str, frame: bytes) -> None:
        """Park a link frame: the answer to it tells whether the process ``id_`` lives."""
        self.links[self.written + len(self._frames)] = id_
        self._frames.append(frame)
        self.size += len(frame)
        if not self._dirty:
            self._dirty = True
            self._run_queue.flush_soon(self)

    def prepend_links(self, links: list[tuple[str, bytes]]) -> None:
        """Park link frames before all else."""
        count = len(links)
        self.links = {number + count: id_ for number, id_ in self.links.items()}
        self.links.update((number, id_) for number, (id_, _) in enumerate(links))
        for _, frame in reversed(links):
            self._frames.appendleft(frame)
            self.size += len(frame)

    # The connection

    def open(self, transport: Any) -> None:
        """Write to this transport from now on."""
        self._transport = transport
        self.flush()

    def close(self) -> None:
        """Write to no transport: what is parked waits for the next one."""
        self._transport = None
        self.is_full = False
        self.links = {n - self.written: id_ for n, id_ in self.links.items() if n >= self.written}
        self.written = 0

    def take_back(self) -> list[bytes]:
        """Park nothing any more; return the messages among what was."""
        frames = [
            b"".join(frame) if isinstance(frame, tuple) else frame
            for number, frame in enumerate(self._frames, self.written)
            if number not in self.links
        ]
        self.links.clear()
        self._frames.clear()
        self._large = 0
        self.size = 0
        return frames

    def resume(self) -> None:
        """The transport takes more."""
        self.is_full = False
        self.flush()

    def flush(self) -> None:
        """Write what is parked; have the peer dial first if there is no connection."""
        self._dirty = False
        if self._transport is None:
            if self._frames:
                self._peer.dial()
            return
        while self._frames and not self.is_full:
            if self._large or self.size > _WRITE_BYTES:
                self._write_some()
            else:
                count = len(self._frames)
                if count == 1:
                    data = self._frames.popleft()
                else:
                    data = b"".join(self._frames)
                    self._frames.clear()
                self.written += count
                self.size = 0
                self._transport.write(data)

    def _write_some(self) -> None:
        """Write as many whole frames as one batch holds, at least one."""
        parts: list[bytes] = []
        size = 0
        large = self._large
        while self._frames and size < _WRITE_BYTES:
            frame = self._frames.popleft()
            self.written += 1
            if isinstance(frame, tuple):
                self._large -= 1
                parts.extend(frame)
                size += sum(map(len, frame))
            else:
                parts.append(frame)
                size += len(frame)
        self.size -= size
        if self._large < large:
            self._transport.writelines(parts)
        else:
            self._transport.write(b"".join(parts))
