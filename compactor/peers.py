"""Outgoing connections: one ``Peer`` per remote address, which dials, parks, batches and loses."""

from __future__ import annotations

import asyncio
import errno
import ipaddress
import logging
import socket
from collections import deque
from collections.abc import Callable, Iterable
from typing import Protocol

from compactor.errors import Reason
from compactor.links import Address
from compactor.mailbox import RunQueue
from compactor.peer_connection import PeerConnection
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
