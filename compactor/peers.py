"""Outgoing connections: one ``Peer`` per remote address, which dials, parks, batches and loses."""

from __future__ import annotations

import asyncio
import errno
import socket
from collections.abc import Iterable, Iterator
from typing import Protocol

from compactor.dialling import dial
from compactor.errors import Reason
from compactor.flow import Feeder
from compactor.heads import Head
from compactor.losses import Losses
from compactor.metrics import Metrics
from compactor.outflow import Outflow
from compactor.peer_connection import PeerConnection
from compactor.pid import Address
from compactor.run_queue import RunQueue
from compactor.settings import Settings
from compactor.tls import Tls, TlsError
from compactor.wire import Backend

Frames = Iterator[tuple[Head, bytes]]


class PeerOwner(Protocol):
    """What a peer reports to: the runtime of its context.

    Attributes:
        outgoing: the open connections of all peers, those that they have given up too.
        tls: certificates and rules; None for plain connections.
    """

    backend: Backend
    settings: Settings
    metrics: Metrics
    losses: Losses
    run_queue: RunQueue
    outgoing: set[PeerConnection]
    tls: Tls | None

    def peer_lost(self, peer: Peer, reason: Reason) -> None: ...
    def link_exited(self, address: Address, id_: str, reason: Reason) -> None: ...
    def frame_dropped(self, address: Address, head: Head, body: bytes, reason: Reason) -> None: ...
    def frames_dropped(self, address: Address, frames: Frames, reason: Reason) -> None: ...
    def message_refused(self, address: Address) -> None: ...
    def backed_up(self, address: Address, is_backed_up: bool) -> None: ...


class Peer:
    """The remote address that an outflow leads to: dialled when it must be, lost and reported.

    Attributes:
        address: (ip or host name, port).
        outflow: everything that goes there, in one FIFO.
        is_connected: whether there is a connection right now.
        feeders: who waits until less is parked.
    """

    __slots__ = (
        "__weakref__",
        "_connection",
        "_dialling",
        "_owner",
        "address",
        "feeders",
        "outflow",
    )

    def __init__(self, address: Address, owner: PeerOwner) -> None:
        self.address = address
        settings = owner.settings
        self.outflow: Outflow = owner.backend.Outflow(
            self,
            owner.run_queue,
            settings.max_parked_bytes,
            min(settings.parked_high_water_bytes, settings.max_parked_bytes // 2),
        )
        self._owner = owner
        self._connection: PeerConnection | None = None
        self._dialling: asyncio.Task[None] | None = None
        self.feeders: dict[Feeder, None] | None = None

    @property
    def is_connected(self) -> bool:
        return self._connection is not None

    @property
    def is_idle(self) -> bool:
        """Whether nothing is connected, being dialled or parked."""
        return self._connection is None and self._dialling is None and not self.outflow.parked

    def overflowed(self, head: Head, body: bytes) -> None:
        """The outflow has no room for a message."""
        self._owner.frame_dropped(self.address, head, body, Reason.OVERFLOW)

    def backed_up(self) -> None:
        """More is parked than those who can wait should add to."""
        self._owner.backed_up(self.address, True)

    def relieved(self) -> None:
        """Most of that has left, or was lost."""
        self._owner.backed_up(self.address, False)
        feeders, self.feeders = self.feeders, None
        for feeder in feeders or ():
            feeder.release(self)

    # Connecting

    def dial(self) -> None:
        """Connect, if that is not under way."""
        if self._dialling is None:
            self._dialling = self._owner.run_queue.loop.create_task(self._connect())

    async def _connect(self) -> None:
        owner, settings = self._owner, self._owner.settings
        loop = owner.run_queue.loop
        reason = Reason.UNREACHABLE

        def make() -> PeerConnection:
            times = settings.peer_timeout, settings.connect_timeout
            return PeerConnection(
                self, owner.run_queue, owner.outgoing, owner.metrics.peer_trouble, *times
            )

        await owner.losses.reported(self.address)  # else another loss would have to wait for that
        try:
            connection = await dial(
                loop,
                self.address,
                make,
                settings.connect_timeout,
                owner.tls,
            )
        except asyncio.TimeoutError:
            reason = Reason.TIMEOUT
        except TlsError:  # logged where it happened
            reason = Reason.TLS
        except ConnectionRefusedError:
            reason = Reason.REFUSED
        except (socket.gaierror, UnicodeError):  # UnicodeError: no name can look like that
            reason = Reason.UNRESOLVED
        except ConnectionError:
            reason = Reason.RESET  # it was accepted, and broke before it could be used
        except OSError as error:
            if error.errno == errno.ENOTCONN:
                reason = Reason.RESET
            owner.metrics.peer_trouble("cannot connect to", self.address, error)
        else:
            self._dialling = None
            if connection.lost is not None:
                self._lost(connection.lost)
            else:
                self._connection = connection
                self.outflow.open(connection.transport)
            return
        self._dialling = None
        self._lost(reason)

    def reconnect(self, link_frames: Iterable[tuple[str, bytes]]) -> None:
        """Move to a new connection, without an exit for anybody.

        Args:
            link_frames: the link frames that the new connection has to start with.
        """
        self._retire()
        self.dial()
        self.outflow.prepend_links(list(link_frames))

    def disconnect(self, reason: Reason = Reason.DISCONNECTED) -> None:
        """Cut the connection; linkers see it as an exit."""
        if self._dialling is not None:
            self._dialling.cancel()
            self._dialling = None
        self._retire()
        self._lost(reason)

    async def finish(self) -> None:
        """Let everything parked leave, then end the connection and wait for its end."""
        if self.outflow.parked and self._connection is None:
            self.dial()
        if self._dialling is not None:
            await asyncio.wait([self._dialling])
        connection = self._connection
        if connection is not None:
            while self.outflow.parked and connection.lost is None:
                await connection.drained()
                self.outflow.flush()
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
            connection.retire()
        self.outflow.close()

    # Losing

    def connection_lost(self, connection: PeerConnection, reason: Reason) -> None:
        """A connection ended that had not been retired."""
        if connection is self._connection:
            self._connection = None
            self._lost(reason)

    def _lost(self, reason: Reason) -> None:
        frames = self.outflow.take_back()
        self.outflow.close()
        self._owner.frames_dropped(self.address, frames, reason)
        self._owner.peer_lost(self, reason)

    # Answers

    def link_answered(self, id_: str, gone: Reason | None) -> None:
        """Another compactor says whether a linked process lives, or why it does not."""
        self.outflow.links.pop(id_, None)
        self.outflow.links_again.pop(id_, None)  # it tells when the process ends
        if gone is not None:
            self._owner.link_exited(self.address, id_, gone)

    def answered(self, number: int, is_refused: bool) -> None:
        """The peer answered the frame of that number on its connection.

        Args:
            is_refused: whether it says that there is no such process.
        """
        links = self.outflow.links
        id_ = next(iter(links), None)
        if id_ is not None and links[id_] == number:
            del links[id_]
            again = self.outflow.links_again.pop(id_, None)
            if is_refused:
                self._owner.link_exited(self.address, id_, Reason.NO_PROCESS)
            elif again is not None:  # it lived, but may have ended before the later link was made
                self.outflow.write_link(id_, again)
        elif is_refused and number < self.outflow.written:
            self._owner.message_refused(self.address)
