"""``MemoryTransport``: one end of a connection that is made of memory instead of sockets.

Two of them behave as the ends of a TCP connection do under asyncio, on any loop.  What is written
stands in the write buffer, which the limits are about; then it is on the way; then it has arrived
and is unread.  The last two hold no more than the window, as the buffers of a system would.
"""

from __future__ import annotations

import asyncio
import contextvars
import errno
import os
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from compactor.testing.segments import Cuts, Way, positive, sizes_of, taken

WINDOW = 256 * 1024
"""Bytes on the way and unread at most, unless a pair is given another number."""

_MAX_SEGMENT = 256 * 1024  # bytes, as the reads of asyncio and uvloop
_HIGH_WATER = 64 * 1024  # of write buffers, as with asyncio

Carry = Callable[[int, Callable[[], None]], object]
"""``carry(size, arrive)``: have ``arrive()`` called, later, when so many bytes are there."""

_END, _RESET = object(), object()  # stand behind the last bytes of a direction


class MemoryTransport(asyncio.Transport):
    """One end of a connection in memory.  ``memory_pair`` makes two that are connected.

    ``carry`` is the one place that decides when something arrives at the other end; subclasses
    override it, or give a function.  However late single segments are, the order stays.

    Args:
        loop: calls the protocol.
        extra: what ``get_extra_info`` knows, such as ``sockname`` and ``peername``.
        window: bytes on their way to the other end, and unread there, at most.
        cuts: where what is written is cut into segments, each of which the protocol at the other
            end receives by itself.  What is written in one turn of the loop is one stream.
        carry: instead of the method.

    Raises:
        ValueError: ``window`` or ``cuts`` is below 1.
        TypeError: ``window`` or ``cuts`` is something else.
    """

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        extra: Mapping[str, Any] | None = None,
        *,
        window: int = WINDOW,
        cuts: Cuts = None,
        carry: Carry | None = None,
    ) -> None:
        super().__init__(dict(extra or {}))
        self._loop = loop
        self._window = positive("window", window)
        self._next_size = sizes_of(cuts)
        if carry is not None:
            if not callable(carry):
                raise TypeError(f"carry must be callable, got {carry!r}")
            self.carry = carry  # type: ignore[method-assign,assignment]
        self._peer: MemoryTransport
        self._protocol: asyncio.BaseProtocol | None = None
        self._context = contextvars.copy_context()  # in which the protocol is called
        self._is_closing = False
        self._is_closed = False  # nothing more is sent or read; the protocol hears of it, or has
        # Of sending
        self._unsent: deque[bytes | memoryview] = deque()
        self._unsent_bytes = 0
        self._way = Way()
        self._is_ending = False  # after what is unsent
        self._has_ended = False
        self._is_send_due = False
        self._is_room_due = False  # the other end has made some
        self._has_reset = False
        self._has_paused = False  # the protocol, which was told
        self._high, self._low = _HIGH_WATER, _HIGH_WATER // 4
        # Of receiving
        self._unread: deque[Any] = deque()
        self._unread_bytes = 0
        self._is_paused = False
        self._has_read_end = False
        self._is_reset = False
        self._is_read_due = False

    def __repr__(self) -> str:
        state = "closed" if self._is_closed else "closing" if self._is_closing else "open"
        here, there = self.get_extra_info("sockname"), self.get_extra_info("peername")
        return f"<{type(self).__name__} {state} {here} to {there}>"

    def join(self, peer: MemoryTransport) -> None:
        """Make this and another transport the two ends of one connection."""
        self._peer, peer._peer = peer, self

    def open(self, protocol: asyncio.BaseProtocol) -> None:
        """Give this end its protocol, at once, in a copy of the context of the caller.

        What arrives before is unread, as in a socket that nobody has accepted.
        """
        self._protocol = protocol
        self._context = contextvars.copy_context()
        self._context.run(protocol.connection_made, self)
        self._read_soon()

    def carry(self, size: int, arrive: Callable[[], None]) -> object:
        """Have something arrive at the other end.

        Args:
            size: bytes; 0 for an end, a reset, or room that was made.
            arrive: is to be called later, never at once, and once at most.
        """
        return self._loop.call_soon(arrive)

    @property
    def peer(self) -> MemoryTransport:
        """The other end."""
        return self._peer

    @property
    def bytes_on_the_way(self) -> int:
        """How much has left the write buffer and is not at the other end yet."""
        return self._way.bytes

    @property
    def unread_bytes(self) -> int:
        """How much has arrived here and was not taken by the protocol."""
        return self._unread_bytes

    # Writing

    def write(self, data: Any) -> None:
        if not isinstance(data, (bytes, bytearray, memoryview)):
            raise TypeError(f"data must be a bytes-like object, got {data!r}")
        if self._is_ending and not self._is_closing:
            raise RuntimeError("write() was called after write_eof()")
        if self._is_closing or not len(data):
            return
        if self._is_reset:
            self._lose(_reset_error())
            return
        self._unsent.append(data if type(data) is bytes else bytes(data))
        self._unsent_bytes += len(self._unsent[-1])
        if not self._is_send_due:
            self._is_send_due = True
            self._loop.call_soon(self._send, context=self._context)
        self._pause_if_full()

    def writelines(self, list_of_data: Iterable[Any]) -> None:
        self.write(b"".join(list_of_data))

    def can_write_eof(self) -> bool:
        return True

    def write_eof(self) -> None:
        if not (self._is_ending or self._is_closing):
            self._is_ending = True
            self._send()

    def _room(self) -> int:
        return self._window - self._way.bytes - self._peer._unread_bytes

    def _send(self) -> None:
        """Have what is unsent leave, as far as there is room, and then the end."""
        self._is_send_due = False
        if self._is_closed:
            return
        while self._unsent and (room := self._room()) > 0:
            size = min(self._unsent_bytes, _MAX_SEGMENT, room)
            size = min(self.segment_size(size), size)
            self._unsent_bytes -= size
            self._start(taken(self._unsent, size), size)
        self._resume_if_low()
        if self._unsent or self._is_closed:
            return
        if self._is_closing:
            self._close_now(None)
        elif self._is_ending:
            self._send_end()

    def _send_end(self) -> None:
        if not self._has_ended:
            self._has_ended = True
            self._start(_END, 0)

    def _send_reset(self) -> None:
        if not self._has_reset:
            self._has_reset = True
            self._start(_RESET, 0)

    def segment_size(self, available: int) -> int:
        """How many bytes the next segment has, of so many that could leave."""
        return self._next_size(available)

    def _start(self, content: Any, size: int) -> None:
        """Send something on its way: bytes, the end, or a reset."""
        self.carry(size, self._way.start(content, size, self._peer._arrives))

    # Flow control of writing

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        if high is None:
            high = _HIGH_WATER if low is None else 4 * low
        if low is None:
            low = high // 4
        if not high >= low >= 0:
            raise ValueError(f"high ({high!r}) must be >= low ({low!r}), and low >= 0")
        self._high, self._low = high, low
        self._pause_if_full()

    def get_write_buffer_limits(self) -> tuple[int, int]:
        return self._low, self._high

    def get_write_buffer_size(self) -> int:
        if self._is_closed:
            return 0
        return max(self._unsent_bytes - max(self._room(), 0), 0)

    def _pause_if_full(self) -> None:
        if not self._has_paused and self.get_write_buffer_size() > self._high:
            self._has_paused = True
            self._tell("pause_writing")

    def _resume_if_low(self) -> None:
        if self._has_paused and self.get_write_buffer_size() <= self._low:
            self._has_paused = False
            self._tell("resume_writing")

    def _tell(self, method: str) -> None:
        try:
            getattr(self._protocol, method)()
        except (SystemExit, KeyboardInterrupt):
            raise
        except BaseException as error:
            self._report(f"protocol.{method}() failed", error)

    # Reading

    def is_reading(self) -> bool:
        return not (self._is_paused or self._is_closing)

    def pause_reading(self) -> None:
        self._is_paused = True

    def resume_reading(self) -> None:
        self._is_paused = False
        self._read_soon()

    def _can_read(self) -> bool:
        has_reader = self._protocol is not None and self.is_reading()
        return has_reader and bool(self._unread) and not self._has_read_end

    def _arrives(self, content: Any) -> None:
        self._context.run(self._arrived, content)

    def _arrived(self, content: Any) -> None:
        if self._is_closed:
            if type(content) is bytes:
                self._send_reset()  # nobody will read it
            return
        if content is _RESET:
            self._is_reset = True
            if self._unsent:
                self._lose(_reset_error())
                return
        self._unread.append(content)
        if type(content) is bytes:
            self._unread_bytes += len(content)
        if not self._is_read_due:
            self._read()

    def _read_soon(self) -> None:
        if self._can_read() and not self._is_read_due:
            self._is_read_due = True
            self._loop.call_soon(self._read, context=self._context)

    def _read(self) -> None:
        """Have the protocol take one segment."""
        self._is_read_due = False
        if not self._can_read():
            return
        content = self._unread.popleft()
        if content is _RESET:
            self._lose(_reset_error())
            return
        if content is _END:
            self._has_read_end = True
        keeps_open = False
        try:
            if content is _END:
                keeps_open = self._protocol.eof_received()  # type: ignore[union-attr]
            else:
                self._hand_over(content)
        except (SystemExit, KeyboardInterrupt):
            raise
        except BaseException as error:
            self._report("the protocol failed at what it received", error)
            if not self._is_closed:
                self._close_now(error)
            return
        if content is _END:
            if not keeps_open:
                self.close()
        else:
            self._tell_room()
            self._read_soon()

    def _hand_over(self, data: bytes) -> None:
        protocol = self._protocol
        if not isinstance(protocol, asyncio.BufferedProtocol):
            self._unread_bytes -= len(data)
            protocol.data_received(data)  # type: ignore[union-attr]
            return
        buffer = memoryview(protocol.get_buffer(-1))
        size = min(len(buffer), len(data))
        if not size:
            raise RuntimeError("get_buffer() returned an empty buffer")
        buffer[:size] = data[:size]
        if size < len(data):
            self._unread.appendleft(data[size:])
        self._unread_bytes -= size
        protocol.buffer_updated(size)

    def _tell_room(self) -> None:
        """What was read here has made room for the other end, if that waits for it."""
        peer = self._peer
        if peer._unsent and not peer._is_room_due:
            peer._is_room_due = True
            self.carry(0, lambda: peer._context.run(peer._room_was_made))

    def _room_was_made(self) -> None:
        self._is_room_due = False
        self._send()

    def set_protocol(self, protocol: asyncio.BaseProtocol) -> None:
        self._protocol = protocol

    def get_protocol(self) -> asyncio.BaseProtocol:
        return self._protocol  # type: ignore[return-value]

    # The end

    def is_closing(self) -> bool:
        return self._is_closing

    def close(self) -> None:
        """Close once everything is sent.  If then something is unread here, or arrives later, the
        other end is reset, as by a socket.
        """
        if not self._is_closing:
            self._is_closing = True
            self._send()

    def abort(self) -> None:
        """Close at once; the other end is reset after what is on the way."""
        if self._is_closed:
            return
        self._send()  # a socket would have taken as much
        if not self._is_closed:
            self._send_reset()
            self._lose(None)

    def _close_now(self, error: BaseException | None) -> None:
        if self._unread_bytes:
            self._send_reset()
        else:
            self._send_end()
        self._lose(error)

    def _lose(self, error: BaseException | None) -> None:
        """Nothing is sent or read any more."""
        self._is_closing = self._is_closed = True
        self._unsent.clear()
        self._unread.clear()
        self._unsent_bytes = self._unread_bytes = 0
        self._loop.call_soon(self._tell_lost, error, context=self._context)

    def _tell_lost(self, error: BaseException | None) -> None:
        protocol, self._protocol = self._protocol, None
        if protocol is not None:
            protocol.connection_lost(error)  # type: ignore[arg-type]

    def _report(self, what: str, error: BaseException) -> None:
        self._loop.call_exception_handler(
            {"message": what, "exception": error, "transport": self, "protocol": self._protocol}
        )


def _reset_error() -> ConnectionResetError:
    return ConnectionResetError(errno.ECONNRESET, os.strerror(errno.ECONNRESET))
