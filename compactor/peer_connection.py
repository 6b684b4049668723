"""``PeerConnection``: one outgoing connection, frames out, answers in."""

from __future__ import annotations

import asyncio
import errno
import functools
import math
import ssl
from collections.abc import Callable
from time import perf_counter
from typing import Protocol, cast
from urllib.parse import unquote

from compactor.answers import Answer, AnswerReader
from compactor.errors import Reason
from compactor.flow import FULL_READ, ReadGate
from compactor.keepalive import AckWatch, probe, unacknowledged
from compactor.outflow import Outflow
from compactor.pid import Address
from compactor.run_queue import TURN_SECONDS, RunQueue

_GONE = {403: Reason.SENDER_REFUSED, 404: Reason.NO_PROCESS, 410: Reason.TERMINATED}
"""What another compactor's marked answer says of the linked process."""

_NO_WAY = {errno.EHOSTUNREACH, errno.ENETUNREACH, getattr(errno, "EHOSTDOWN", None)}
"""What a network near by says of a machine that it cannot find any more."""


class Dialler(Protocol):
    """What a connection reports to: the peer that dialled it."""

    address: Address

    outflow: Outflow

    def connection_lost(self, connection: PeerConnection, reason: Reason) -> None: ...
    def link_answered(self, id_: str, gone: Reason | None) -> None: ...
    def answered(self, number: int, is_refused: bool) -> None: ...


class PeerConnection(asyncio.Protocol):
    """One outgoing connection.

    Only HTTP answers come back on it.  All are read: closing a socket with unread answers in it
    would reset the connection, and take frames with it that the peer has not read yet.

    Most libprocess versions answer every frame, in order; compactor answers link frames only, and
    marks those answers.  So an answer without the mark belongs to the frame of its number.

    Args:
        peer: dialled it, and is told what happens.
        run_queue: the turns of the loop.
        all_open: holds it as long as it is open.
        complain: logs what is wrong with the peer, at what address, and why.
        peer_timeout: seconds of silence of the peer's machine.
        patience: seconds without any progress after which a connection that only has to end is
            closed all the same.
    """

    def __init__(
        self,
        peer: Dialler,
        run_queue: RunQueue,
        all_open: set[PeerConnection],
        complain: Callable[[str, Address, object], None],
        peer_timeout: float,
        patience: float,
    ) -> None:
        self._peer: Dialler | None = peer
        self._address = peer.address
        self._all_open = all_open
        self._complain = complain
        self._peer_timeout = peer_timeout
        self._patience = patience
        self._watch: AckWatch | None = None
        self.transport: asyncio.Transport | None = None
        self._gate: ReadGate
        self._reader = AnswerReader()
        self._answers = 0
        self._unanswered = 0  # frames that a peer may still answer, once the end is sent
        self._ending: asyncio.TimerHandle | None = None
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
                self._unanswered = peer.outflow.written - self._answers
            if self.transport.is_closing():
                return  # it is lost, and what it brought is still being read
            try:
                self.transport.write_eof()
            except OSError:  # it has been reset; the loop has not noticed yet
                self.transport.abort()
            else:
                self._abort_unless_read(math.inf)

    def _abort_unless_read(self, before: float) -> None:
        """Close, unless the peer has less to read or to answer than before: then look again."""
        left = self._unread() + max(self._unanswered, 0)
        if left < before:
            self._ending = self._loop.call_later(self._patience, self._abort_unless_read, left)
        else:
            self.abort()

    def _unread(self) -> int:
        """Bytes that the loop and the system hold, our end among them as one."""
        assert self.transport is not None
        in_system = unacknowledged(self.transport.get_extra_info("socket"))
        return self.transport.get_write_buffer_size() + in_system

    def abort(self) -> None:
        """Close at once, and tell what is lost with it."""
        if self.transport is not None:
            unread = self._unread()
            if unread > 1:
                why = f"up to {unread} bytes for it are lost"
                self._complain("nothing is read any more by", self._address, why)
            self.transport.abort()

    # asyncio.Protocol

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)  # uvloop's are no subclass
        self._gate = ReadGate(self.transport)
        self._all_open.add(self)
        probe(transport.get_extra_info("socket"), self._peer_timeout)
        self._watch = AckWatch(self._loop, transport, self._peer_timeout, self._vanished)

    def pause_writing(self) -> None:
        self._is_full = True
        if self._peer is not None:
            self._peer.outflow.is_full = True

    def resume_writing(self) -> None:
        self._is_full = False
        self._wake_drain()
        if self._peer is not None:
            self._peer.outflow.resume()

    def data_received(self, data: bytes) -> None:
        in_time = self._read(data)
        is_full = len(data) >= FULL_READ
        if not in_time or (is_full and self._run_queue.is_hogged_by(id(self))):
            self._rest()

    def _read(self, data: bytes) -> bool:
        """Take the next answers, or what is left of them; whether a turn had time for all."""
        end = perf_counter() + TURN_SECONDS
        reader = self._reader
        if reader.error is not None:
            return True
        for answer in reader.feed_some(data):
            self._take(answer)
        while reader.has_more:
            if perf_counter() > end:
                return False
            for answer in reader.feed_some(b""):
                self._take(answer)
        if reader.error is not None and self._peer is not None:
            self._complain("no answers are understood of", self._address, reader.error)
        return True

    def _rest(self) -> None:
        """Read no more until the loop has looked at other sockets."""
        if not self._gate.is_resting:
            self._gate.rest()
            self._loop.call_soon(self._go_on)

    def _go_on(self) -> None:
        self._gate.go_on()
        if not self._read(b""):
            self._rest()

    def eof_received(self) -> bool:
        self._lost(Reason.CLOSED)
        if self._ending is None:
            self._abort_unless_read(math.inf)  # what was written still leaves, if it is read
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        self._all_open.discard(self)
        if self._watch is not None:
            self._watch.close()
        if self._ending is not None:
            self._ending.cancel()
        self._end(Reason.CLOSED if exc is None else _reason_of(exc))

    def _end(self, reason: Reason) -> None:
        """Nothing comes any more; what came is read all the same, in turns."""
        if self._peer is not None and not self._read(b""):
            self._loop.call_soon(self._end, reason)
            return
        self._lost(reason)
        if not self.ended.done():
            self.ended.set_result(None)

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
        mark = answer.fields.get(b"compactor-link")
        if mark is not None:
            self._peer.link_answered(_unescaped(mark), _GONE.get(status))
            return
        # A 404 of libprocess says that there is no such process; other servers (Go's, say) mean
        # the path, and spell the body in another way.
        self._answers += 1
        self._peer.answered(self._answers - 1, status == 404 and answer.body == b"404 Not Found.")


@functools.lru_cache(maxsize=256)
def _unescaped(mark: bytes) -> str:
    return unquote(mark.decode("latin-1"), errors="surrogateescape")


def _reason_of(error: Exception) -> Reason:
    if isinstance(error, ssl.SSLError):
        return Reason.TLS
    if isinstance(error, TimeoutError):
        return Reason.TIMEOUT
    if isinstance(error, OSError) and error.errno in _NO_WAY:
        return Reason.UNREACHABLE
    return Reason.RESET
