"""Outgoing connections: one ``Peer`` per remote address, which dials, parks, batches and loses."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from contextvars import Context
from typing import Protocol

from compactor.actor.routes import split_path
from compactor.actor.slices import Slices
from compactor.actor.undelivered import Undelivered
from compactor.errors import Reason
from compactor.net.flow_control import Feeder, release_feeders
from compactor.outbound.connection import PeerConnection
from compactor.outbound.dial import dial
from compactor.outbound.reasons import why_not_dialled
from compactor.outbound.remote_links import LinkOwner, RemoteLinks
from compactor.outbound.send_queue import ASKED, BROKE, SendQueue
from compactor.outbound.unanswered import Unanswered
from compactor.pid import Address
from compactor.wire.request_head import Head


class PeerOwner(LinkOwner, Protocol):
    """What a peer reports to: the runtime of its context.

    Attributes:
        outgoing: the open connections of all peers, those that they have given up too.
    """

    slices: Slices
    undelivered: Undelivered
    outgoing: dict[PeerConnection, None]

    def new_send_queue(self, peer: Peer) -> SendQueue: ...


class Peer:
    """The remote address that a send queue leads to: dialled when it must be, lost and reported.

    Attributes:
        address: (ip or host name, port).
        send_queue: everything that goes there, in one FIFO.
        links: those to processes there.
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
        "links",
        "send_queue",
    )

    def __init__(self, address: Address, owner: PeerOwner) -> None:
        self.address = address
        self.send_queue = owner.new_send_queue(self)
        self.links = RemoteLinks(address, self.send_queue, owner)
        self._owner = owner
        self._connection: PeerConnection | None = None
        self._dialling: asyncio.Task[None] | None = None
        self.feeders: dict[Feeder, None] | None = None

    @property
    def is_connected(self) -> bool:
        return self._connection is not None

    @property
    def is_dialling(self) -> bool:
        """Whether there soon may be one."""
        return self._dialling is not None

    @property
    def is_idle(self) -> bool:
        """Whether nothing is connected, being dialled or parked."""
        return self._connection is None and self._dialling is None and not self.send_queue.parked

    def overflowed(self, head: Head, body: bytes) -> None:
        """The send queue has no room for a message."""
        self._owner.undelivered.frame(self.address, head, body, Reason.OVERFLOW)

    def backed_up(self) -> None:
        """More is parked than those who can wait should add to."""
        self._owner.metrics.set_backed_up(self.address, True)

    def relieved(self) -> None:
        """Most of that has left, or was lost."""
        self._owner.metrics.set_backed_up(self.address, False)
        release_feeders(self)

    # Connecting

    def dial(self) -> None:
        """Connect, if that is not under way."""
        if self._dialling is None:
            try:
                create_task = self._owner.run_queue.loop.create_task
                # A connection lives on; it keeps no context variables of whoever sent first.
                dialling = Context().run(create_task, self._connect())
            except MemoryError:
                self._lost(Reason.UNREACHABLE)
                return
            if not dialling.done():  # an eager task may have failed at once
                self._dialling = dialling

    async def _connect(self) -> None:
        owner, settings = self._owner, self._owner.settings
        loop = owner.run_queue.loop

        def make() -> PeerConnection:
            times = settings.peer_timeout, settings.connect_timeout
            return PeerConnection(self, owner.run_queue, owner.outgoing, owner.metrics, *times)

        await owner.slices.finished(self.address)  # else another loss would have to wait for that
        pause = owner.pace.pause(self.address, loop.time())
        if pause:
            await asyncio.sleep(pause)
        owner.metrics.dials += 1
        try:
            connection = await dial(
                loop,
                self.address,
                make,
                settings.connect_timeout,
                owner.tls,
                settings.local_handover,
            )
        except (OSError, UnicodeError, asyncio.TimeoutError, MemoryError) as error:
            reason = why_not_dialled(error)
            owner.metrics.dial_failures[reason] += 1
            if reason is Reason.UNREACHABLE:  # the others say all, and TLS has been logged
                owner.metrics.peer_trouble("cannot connect to", self.address, error)
        else:
            self._dialling = None
            if connection.lost is not None:
                self._lost(connection.lost)
            else:
                self._connection = connection
                self.send_queue.open(connection.transport)
                self.links.connected()
            return
        self._dialling = None
        self._lost(reason)

    def reconnect(self, ids: Iterable[str]) -> None:
        """Move to a new connection, without an exit for anybody.

        Args:
            ids: the processes that are watched there.
        """
        had_numbers = self.send_queue.numbers
        self._retire(forget=False)
        if had_numbers:
            self.send_queue.write_no_numbers(self.address)
        self.dial()
        for id_ in ids:
            self.links.link(id_)

    def disconnect(self, reason: Reason = Reason.DISCONNECTED) -> None:
        """Cut the connection; linkers see it as an exit."""
        if self._dialling is not None:
            self._dialling.cancel()
            self._dialling = None
        self._retire()
        self._lost(reason)

    async def finish(self) -> None:
        """Let everything parked leave, then end the connection and wait for its end."""
        if self.send_queue.parked and self._connection is None:
            self.dial()
        if self._dialling is not None:
            await asyncio.wait([self._dialling])
        connection = self._connection
        if connection is not None:
            self.links.release()
            while self.send_queue.parked and connection.lost is None:
                await connection.drained()
                self.send_queue.flush()
            self._retire()
            await connection.ended

    def abort(self, reason: Reason) -> None:
        """Give up at once: what is parked is reported."""
        connection = self._connection
        self.disconnect(reason)
        if connection is not None:
            connection.abort()

    def _retire(self, forget: bool = True) -> None:
        """Leave a connection to end by itself; nothing that happens to it matters any more."""
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.retire()
        self.send_queue.close()
        self.links.disconnected(forget)

    # Losing

    def connection_lost(self, connection: PeerConnection, reason: Reason) -> None:
        """A connection ended that had not been retired."""
        if connection is self._connection:
            self._connection = None
            self._owner.metrics.connections_lost[reason] += 1
            was_asked = self.send_queue.numbers == ASKED
            self._lost(reason)
            if was_asked:  # perhaps by that, so it is not tried over and over
                self.send_queue.numbers = BROKE

    def _lost(self, reason: Reason) -> None:
        frames = self.send_queue.take_back()
        self.send_queue.close()
        self._owner.undelivered.frames(self.address, frames, reason)
        self.links.disconnected(forget=True)
        self._owner.watches.lost(self.address, reason)

    # Answers

    def answered(self, number: int) -> None:
        """The peer has taken the frame of that number on its connection."""
        if self.send_queue.unanswered is None:  # it answers, so it may refuse one, too
            self.send_queue.unanswered = Unanswered(has_answers=True)
        self.send_queue.unanswered.answered(number)

    def refused(self, number: int, status: int, reason: Reason, lives: bool) -> None:
        """The peer has answered the frame of that number with an error.

        Args:
            lives: whether the process that it was for may live on.
        """
        send_queue = self.send_queue
        if number >= send_queue.written:
            return  # nothing was sent that it could be for
        frame = send_queue.unanswered.frame(number) if send_queue.unanswered is not None else None
        self.answered(number)
        self._owner.undelivered.refused(self.address, frame, status, reason)
        if frame is not None and not lives:
            id_, _ = split_path(frame[0].path)
            self._owner.watches.exited(self.address, id_, reason)
        if reason is Reason.SENDER_REFUSED:  # that holds for whatever this context sends
            self._owner.watches.lost(self.address, reason)
