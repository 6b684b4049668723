"""Outgoing connections: one ``Peer`` per remote address, which dials, parks, batches and loses."""

from __future__ import annotations

import asyncio
import errno
import ipaddress
import logging
import socket
from collections import deque
from collections.abc import Callable, Iterable
from typing import Any, Protocol, cast
from urllib.parse import unquote

import httptools

from compactor.errors import Reason
from compactor.links import Address
from compactor.mailbox import RunQueue
from compactor.settings import Settings

log = logging.getLogger("compactor")

# Frames handed to the transport at a time.  What the transport holds cannot be taken back when
# the connection breaks; what is still parked can be reported.
_WRITE_BYTES = 256 * 1024


class PeerOwner(Protocol):
    """What a peer reports to: the runtime of its context.

    Attributes:
        outgoing: the open connections of all peers, those that they have given up too.
    """

    outgoing: set[PeerConnection]

    def peer_lost(self, peer: Peer, reason: Reason) -> None: ...
    def link_exited(self, address: Address, id_: str, reason: Reason) -> None: ...
    def frames_dropped(self, address: Address, frames: Iterable[bytes], reason: Reason) -> None: ...
    def message_refused(self, address: Address) -> None: ...


class Peer:
    """Everything that goes to one remote address, in one FIFO and over one connection.

    Attributes:
        address: (ip or host name, port).
        is_connected: whether there is a connection right now.
    """

    __slots__ = (
        "__weakref__",
        "_connection",
        "_dialling",
        "_dirty",
        "_link_frames",
        "_owner",
        "_parked",
        "_parked_bytes",
        "_run_queue",
        "_settings",
        "address",
    )

    def __init__(
        self, address: Address, owner: PeerOwner, run_queue: RunQueue, settings: Settings
    ) -> None:
        self.address = address
        self._owner = owner
        self._run_queue = run_queue
        self._settings = settings
        self._parked: deque[bytes] = deque()
        self._parked_bytes = 0
        self._link_frames: dict[int, str] = {}  # by their number among the frames still parked
        self._dirty = False
        self._connection: PeerConnection | None = None
        self._dialling: asyncio.Task[None] | None = None

    @property
    def is_connected(self) -> bool:
        return self._connection is not None

    @property
    def is_idle(self) -> bool:
        """Whether nothing is connected, being dialled or parked."""
        return self._connection is None and self._dialling is None and not self._parked

    @property
    def parked_bytes(self) -> int:
        """Bytes of the frames that wait for the connection."""
        return self._parked_bytes

    def write(self, frame: bytes) -> None:
        """Park a frame; it leaves at the end of this turn, or when the connection lets it."""
        size = self._parked_bytes + len(frame)
        if size > self._settings.max_parked_bytes and self._parked:
            self._owner.frames_dropped(self.address, [frame], Reason.OVERFLOW)
            return
        self._parked_bytes = size
        self._parked.append(frame)
        if not self._dirty:
            self._dirty = True
            self._run_queue.flush_soon(self)

    def write_link(self, id_: str, frame: bytes) -> None:
        """Park a link frame: the answer to it tells whether the process ``id_`` lives."""
        self._link_frames[len(self._parked)] = id_
        self._parked_bytes += len(frame)
        self._parked.append(frame)
        if not self._dirty:
            self._dirty = True
            self._run_queue.flush_soon(self)

    def flush(self) -> None:
        """Write what is parked; dial first if there is no connection."""
        self._dirty = False
        connection = self._connection
        if connection is None:
            if self._parked and self._dialling is None:
                self._dial()
            return
        while self._parked and not connection.is_full:
            count = len(self._parked)
            if self._parked_bytes > _WRITE_BYTES:
                count = max(1, count * _WRITE_BYTES // self._parked_bytes)
            self._write_parked(connection, count)

    def _write_parked(self, connection: PeerConnection, count: int) -> None:
        parked = self._parked
        if self._link_frames:
            for number in sorted(n for n in self._link_frames if n < count):
                connection.expect_link(number, self._link_frames.pop(number))
            self._link_frames = {n - count: id_ for n, id_ in self._link_frames.items()}
        if count == len(parked):
            data = b"".join(parked)
            parked.clear()
        else:
            data = b"".join([parked.popleft() for _ in range(count)])
        self._parked_bytes -= len(data)
        connection.write(data, count)

    # Connecting

    def _dial(self) -> None:
        self._dialling = self._run_queue.loop.create_task(self._connect())

    async def _connect(self) -> None:
        loop = self._run_queue.loop
        reason = Reason.UNREACHABLE
        try:
            connection = await asyncio.wait_for(
                _open(loop, self.address, lambda: PeerConnection(self, loop, self._owner.outgoing)),
                self._settings.connect_timeout,
            )
        except asyncio.TimeoutError:
            reason = Reason.TIMEOUT
        except ConnectionRefusedError:
            reason = Reason.REFUSED
        except (socket.gaierror, UnicodeError):  # UnicodeError: no name can look like that
            reason = Reason.UNRESOLVED
        except ConnectionError:
            reason = Reason.RESET  # it was accepted, and broke before it could be used
        except OSError as error:
            if error.errno == errno.ENOTCONN:
                reason = Reason.RESET
            log.warning("cannot connect to %s:%d: %s", *self.address, error)
        else:
            self._dialling = None
            if connection.lost is not None:
                self._lost(connection.lost)
            else:
                self._connection = connection
                self.flush()
            return
        self._dialling = None
        self._lost(reason)

    def reconnect(self, link_frames: Iterable[tuple[str, bytes]]) -> None:
        """Move to a new connection, without an exit for anybody.

        Args:
            link_frames: the link frames that the new connection has to start with.
        """
        self._retire()
        if self._dialling is None:
            self._dial()
        before = list(link_frames)
        self._link_frames = {n + len(before): id_ for n, id_ in self._link_frames.items()}
        for number, (id_, frame) in reversed(list(enumerate(before))):
            self._link_frames[number] = id_
            self._parked.appendleft(frame)
            self._parked_bytes += len(frame)

    def disconnect(self, reason: Reason = Reason.DISCONNECTED) -> None:
        """Cut the connection; linkers see it as an exit."""
        if self._dialling is not None:
            self._dialling.cancel()
            self._dialling = None
        self._retire()
        self._lost(reason)

    close = disconnect  # what 0.3.0's ``context._connections[pid]`` offered

    async def finish(self) -> None:
        """Let everything parked leave, then end the connection and wait for its end."""
        if self._parked and self._connection is None and self._dialling is None:
            self._dial()
        if self._dialling is not None:
            await asyncio.wait([self._dialling])
        connection = self._connection
        if connection is not None:
            while self._parked and connection.lost is None:
                await connection.drained()
                self.flush()
            self._retire()
            await connection.ended

    def abort(self, reason: Reason) -> None:
        """Give up at once: what is parked is reported."""
        connection = self._connection
        self.disconnect(reason)
        if connection is not None:
            connection.abort()

    def _retire(self) -> None:
        """Leave a connection to end by itself; nothing that happens to it matters any more."""
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.retire(self._settings.connect_timeout)

    # Losing

    def connection_lost(self, connection: PeerConnection, reason: Reason) -> None:
        """A connection ended that had not been retired."""
        if connection is self._connection:
            self._connection = None
            self._lost(reason)

    def _lost(self, reason: Reason) -> None:
        frames = [f for n, f in enumerate(self._parked) if n not in self._link_frames]
        self._parked.clear()
        self._parked_bytes = 0
        self._link_frames = {}
        if frames:
            self._owner.frames_dropped(self.address, frames, reason)
        self._owner.peer_lost(self, reason)

    def link_answered(self, id_: str, reason: Reason) -> None:
        """The peer says that a linked process does not, or no longer, exist."""
        self._owner.link_exited(self.address, id_, reason)

    def message_refused(self) -> None:
        """The peer answered a message with 404."""
        self._owner.message_refused(self.address)


async def _open(
    loop: asyncio.AbstractEventLoop, address: Address, protocol: Callable[[], PeerConnection]
) -> PeerConnection:
    """Connect to the first address of a host that accepts; the last error if none does."""
    host, port = address
    try:
        ipaddress.ip_address(host)
        hosts = [host]
    except ValueError:
        try:
            found = await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM)
        except RuntimeError:  # the interpreter ends and starts no threads: waiting is all right
            found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
        hosts = list(dict.fromkeys(str(entry[4][0]) for entry in found))
    error: OSError = socket.gaierror(f"{host} has no address")
    for candidate in hosts:
        try:
            _, connection = await loop.create_connection(protocol, candidate, port)
            return connection
        except OSError as failure:
            error = failure
    raise error


class PeerConnection(asyncio.Protocol):
    """One outgoing connection.

    Only HTTP answers come back on it.  All are read: closing a socket with unread answers in it
    would reset the connection, and take frames with it that the peer has not read yet.

    Most libprocess versions answer every frame, in order; compactor answers link frames only, and
    marks those answers.  So an answer without the mark belongs to the frame of its number.
    """

    def __init__(
        self, peer: Peer, loop: asyncio.AbstractEventLoop, all_open: set[PeerConnection]
    ) -> None:
        self._peer: Peer | None = peer
        self._all_open = all_open
        self._transport: asyncio.Transport | None = None
        self._parser: Any = httptools.HttpResponseParser(self)
        self._frames = 0
        self._answers = 0
        self._links: dict[int, str] = {}
        self._marked: str | None = None
        self._body = b""
        self._drain: asyncio.Future[None] | None = None
        self._loop = loop
        self.ended: asyncio.Future[None] = loop.create_future()
        self.is_full = False
        self.lost: Reason | None = None  # why, once it is

    def write(self, data: bytes, frames: int) -> None:
        """Write some whole frames."""
        self._frames += frames
        assert self._transport is not None
        self._transport.write(data)

    def expect_link(self, offset: int, id_: str) -> None:
        """The frame that comes ``offset`` frames from now asks whether ``id_`` lives."""
        self._links[self._frames + offset] = id_

    async def drained(self) -> None:
        """Wait until the transport takes more, or is lost."""
        if self.is_full:
            self._drain = self._loop.create_future()
            await self._drain

    def retire(self, timeout: float) -> None:
        """Send the end, and read on until the peer has sent its own, for at most ``timeout``."""
        self._peer = None
        if self._transport is not None and self.lost is None:
            self._transport.write_eof()
            self._loop.call_later(timeout, self._transport.abort)

    def abort(self) -> None:
        """Close at once."""
        if self._transport is not None:
            self._transport.abort()

    # asyncio.Protocol

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # uvloop's are no subclass
        self._all_open.add(self)

    def pause_writing(self) -> None:
        self.is_full = True

    def resume_writing(self) -> None:
        self.is_full = False
        self._wake_drain()
        if self._peer is not None:
            self._peer.flush()

    def data_received(self, data: bytes) -> None:
        if self._peer is not None and self._parser is not None:
            try:
                self._parser.feed_data(data)
            except (httptools.HttpParserError, httptools.HttpParserUpgrade) as error:
                self._parser = None
                log.info("answers of %s:%d are no HTTP, ignored: %s", *self._peer.address, error)

    def eof_received(self) -> bool:
        self._lost(Reason.CLOSED)
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        self._all_open.discard(self)
        self._lost(Reason.CLOSED if exc is None else _reason_of(exc))
        if not self.ended.done():
            self.ended.set_result(None)

    def _lost(self, reason: Reason) -> None:
        self.lost = self.lost or reason
        self._wake_drain()
        peer, self._peer = self._peer, None
        if peer is not None:
            peer.connection_lost(self, reason)

    def _wake_drain(self) -> None:
        drain, self._drain = self._drain, None
        if drain is not None and not drain.done():
            drain.set_result(None)

    # httptools

    def on_header(self, name: bytes, value: bytes) -> None:
        if name.lower() == b"compactor-link":
            self._marked = unquote(value.decode("latin-1"), errors="surrogateescape")

    def on_body(self, body: bytes) -> None:
        self._body = (self._body + body)[:64]

    def on_message_complete(self) -> None:
        status = self._parser.get_status_code()
        marked, self._marked = self._marked, None
        body, self._body = self._body, b""
        if self._peer is None:
            return
        if marked is not None:
            if status in (404, 410):
                reason = Reason.NO_PROCESS if status == 404 else Reason.TERMINATED
                self._peer.link_answered(marked, reason)
            return
        id_ = self._links.pop(self._answers, None)
        self._answers += 1
        # A 404 of libprocess says that there is no such process; other servers (Go's, say) mean
        # the path, and spell the body in another way.
        if status == 404 and body == b"404 Not Found.":
            if id_ is not None:
                self._peer.link_answered(id_, Reason.NO_PROCESS)
            else:
                self._peer.message_refused()


def _reason_of(error: Exception) -> Reason:
    return Reason.TIMEOUT if isinstance(error, TimeoutError) else Reason.RESET
