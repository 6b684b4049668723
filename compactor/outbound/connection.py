"""``PeerConnection``: one outgoing connection, frames out, answers in."""

from __future__ import annotations

import asyncio
import ssl
from logging import DEBUG
from typing import Protocol, cast

from compactor.actor.run_queue import TURN_SECONDS, RunQueue
from compactor.errors import Reason
from compactor.metrics.logs import fields, logger, place_of
from compactor.metrics.metrics import Metrics
from compactor.net.flow_control import FULL_READ, ReadGate
from compactor.net.keepalive import AckWatch, probe
from compactor.net.lingering_close import LingeringClose
from compactor.net.memory import cut, cuts_without_memory
from compactor.outbound.reasons import may_live, why_lost, why_refused
from compactor.outbound.send_queue import ASKED, TAKEN, SendQueue
from compactor.pid import Address
from compactor.system import clock
from compactor.system.system import system
from compactor.tls.failures import describe
from compactor.wire.notices import LINK_FIELD, NUMBERS_FIELD
from compactor.wire.response_decoder import Answer, ResponseDecoder

log = logger("peers")


class ConnectionOwner(Protocol):
    """What a connection reports to: the peer that dialled it."""

    address: Address

    send_queue: SendQueue

    def connection_lost(self, connection: PeerConnection, reason: Reason) -> None: ...
    def answered(self, number: int) -> None: ...
    def refused(self, number: int, status: int, reason: Reason, lives: bool) -> None: ...


class PeerConnection(asyncio.Protocol):
    """One outgoing connection.

    Only HTTP answers come back on it.  All are read: closing a socket with unread answers in it
    would reset the connection, and take frames with it that the peer has not read yet.

    Most libprocess versions answer every frame, in order; compactor answers link frames only, and
    marks those answers.  So an answer without the mark belongs to the message of its number.

    Args:
        peer: dialled it, and is told what happens.
        run_queue: the turns of the loop.
        all_open: holds it as long as it is open.
        metrics: counts and logs what is wrong with the peer.
        peer_timeout: seconds of silence of the peer's machine.
        patience: seconds without any progress after which a connection that only has to end is
            closed all the same.
    """

    def __init__(
        self,
        peer: ConnectionOwner,
        run_queue: RunQueue,
        all_open: dict[PeerConnection, None],
        metrics: Metrics,
        peer_timeout: float,
        patience: float,
    ) -> None:
        self._peer: ConnectionOwner | None = peer
        self._address = peer.address
        self._all_open = all_open
        self._metrics = metrics
        self._peer_timeout = peer_timeout
        self._patience = patience
        self._watch: AckWatch | None = None
        self.transport: asyncio.Transport | None = None
        self._gate: ReadGate
        self._reader = ResponseDecoder()
        self._answers = 0
        self._unanswered = 0  # frames that a peer may still answer, once the end is sent
        self._lingering: LingeringClose | None = None
        self._drain: asyncio.Future[None] | None = None
        self._run_queue = run_queue
        self._loop = run_queue.loop
        self.ended: asyncio.Future[None] = self._loop.create_future()
        self._is_full = False
        self.lost: Reason | None = None  # why, once it is

    async def drained(self) -> None:
        """Wait until the transport takes more, or is lost."""
        assert self.transport is not None
        if self.lost is None and (self._is_full or self.transport.is_closing()):
            self._drain = self._loop.create_future()
            await self._drain

    def retire(self) -> None:
        """Send the end, and read on until the peer has sent its own."""
        peer, self._peer = self._peer, None
        if self.transport is not None and self.lost is None:
            if peer is not None:
                self._unanswered = peer.send_queue.written - self._answers
            if self.transport.is_closing():
                return  # it is lost, and what it brought is still being read
            self._linger(self.transport).send_end()

    def _linger(self, transport: asyncio.Transport) -> LingeringClose:
        self._lingering = LingeringClose(
            self, transport, self._loop, self._left, self.abort, self._patience
        )
        return self._lingering

    def _left(self) -> int:
        """What the peer has still to read, to answer and, once for its own end, to send."""
        return self._unread() + max(self._unanswered, 0) + 1

    def _unread(self) -> int:
        """Bytes that the loop and the system hold, our end among them as one."""
        assert self.transport is not None
        in_system = system().unacknowledged(self.transport.get_extra_info("socket"))
        return self.transport.get_write_buffer_size() + in_system

    def abort(self) -> None:
        """Close at once, and tell what is lost with it."""
        if self.transport is not None:
            unread, why = self._unread(), ""
            if unread > 1:
                why = f"up to {unread} bytes for it are lost"
            elif self._unanswered > 0:
                why = "what its machine has taken, and its program has not read, is lost"
            if why:
                self._metrics.peer_trouble("nothing is read any more by", self._address, why)
            self.transport.abort()

    # asyncio.Protocol

    @cuts_without_memory
    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)  # uvloop's are no subclass
        self._gate = ReadGate(self, self.transport, self._loop, self._read_on)
        self._all_open[self] = None
        probe(transport.get_extra_info("socket"), self._peer_timeout)
        self._watch = AckWatch(self._loop, transport, self._peer_timeout, self._vanished)

    def pause_writing(self) -> None:
        self._is_full = True
        self._metrics.writing_pauses += 1
        if self._peer is not None:
            self._peer.send_queue.is_full = True

    @cuts_without_memory
    def resume_writing(self) -> None:
        self._is_full = False
        self._wake_drain()
        if self._peer is not None:
            self._peer.send_queue.resume()

    def data_received(self, data: bytes) -> None:
        in_time = self._read(data)
        is_full = len(data) >= FULL_READ
        if not in_time or (is_full and self._run_queue.is_hogged_by(id(self))):
            self._gate.rest()

    def _read(self, data: bytes) -> bool:
        """Take the next answers, or what is left of them; whether a turn had time for all."""
        end = clock.now() + TURN_SECONDS
        reader = self._reader
        if reader.error is not None:
            return True
        for answer in reader.feed_some(data):
            self._take(answer)
        while reader.has_more:
            if clock.now() > end:
                return False
            for answer in reader.feed_some(b""):
                self._take(answer)
        if reader.error is not None and self._peer is not None:
            self._metrics.peer_trouble("no answers are understood of", self._address, reader.error)
        return True

    def _read_on(self) -> None:
        if not self._read(b""):
            self._gate.rest()

    @cuts_without_memory
    def eof_received(self) -> bool:
        self._lost(Reason.CLOSED)
        if self._lingering is None and self.transport is not None:
            self._linger(self.transport).wait()  # what was written still leaves, if it is read
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        self._all_open.pop(self, None)
        if self._watch is not None:
            self._watch.close()
        if self._lingering is not None:
            self._lingering.cancel()
        if isinstance(exc, ssl.SSLError):
            self._metrics.tls_broke(self._address, describe(exc))
        reason = why_lost(exc)
        if log.isEnabledFor(DEBUG):
            place = place_of(self._address)
            told = fields("close", peer=place, reason=reason)
            log.debug("the connection to %s has ended: %s", place, reason, extra=told)
        self._end(reason)

    def _end(self, reason: Reason) -> None:
        """Nothing comes any more; what came is read all the same, in turns."""
        try:
            if self._peer is not None and not self._read(b""):
                self._loop.call_soon(self._end, reason)
                return
        except MemoryError:
            self.out_of_memory()
        self._lost(reason)
        if not self.ended.done():
            self.ended.set_result(None)

    def out_of_memory(self) -> None:
        """Give up a connection that there is no memory for."""
        if self.transport is not None:
            cut(self.transport)

    def _vanished(self) -> None:
        """The peer's machine acknowledges nothing any more."""
        self._lost(Reason.TIMEOUT)
        if self.transport is not None:
            self.transport.abort()

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

    def _take(self, answer: Answer) -> None:
        self._unanswered -= 1
        if self._peer is None:
            return
        status = answer.status
        if LINK_FIELD in answer.fields:  # to a link; what it asks for is told elsewhere
            if NUMBERS_FIELD in answer.fields and self._peer.send_queue.numbers == ASKED:
                self._peer.send_queue.numbers = TAKEN
            return
        self._answers += 1
        if status < 400:
            self._peer.answered(self._answers - 1)
        else:
            reason = why_refused(answer)
            self._peer.refused(self._answers - 1, status, reason, may_live(answer))
