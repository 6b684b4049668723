"""``PeerConnection``: one outgoing connection, frames out, answers in."""

from __future__ import annotations

import asyncio
import logging
from typing import Protocol, cast
from urllib.parse import unquote

from compactor.answers import Answer, AnswerReader
from compactor.errors import Reason
from compactor.links import Address

log = logging.getLogger("compactor")


class Dialler(Protocol):
    """What a connection reports to: the peer that dialled it."""

    address: Address

    def flush(self) -> None: ...
    def connection_lost(self, connection: PeerConnection, reason: Reason) -> None: ...
    def link_answered(self, id_: str, reason: Reason) -> None: ...
    def message_refused(self) -> None: ...


class PeerConnection(asyncio.Protocol):
    """One outgoing connection.

    Only HTTP answers come back on it.  All are read: closing a socket with unread answers in it
    would reset the connection, and take frames with it that the peer has not read yet.

    Most libprocess versions answer every frame, in order; compactor answers link frames only, and
    marks those answers.  So an answer without the mark belongs to the frame of its number.
    """

    def __init__(
        self, peer: Dialler, loop: asyncio.AbstractEventLoop, all_open: set[PeerConnection]
    ) -> None:
        self._peer: Dialler | None = peer
        self._all_open = all_open
        self._transport: asyncio.Transport | None = None
        self._reader = AnswerReader()
        self._frames = 0
        self._answers = 0
        self._links: dict[int, str] = {}
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
        if self._peer is None or self._reader.error is not None:
            return
        address = self._peer.address
        for answer in self._reader.feed(data):
            self._take(answer)
        if self._reader.error is not None:
            log.info("answers of %s:%d are no HTTP, ignored: %s", *address, self._reader.error)

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

    def _take(self, answer: Answer) -> None:
        if self._peer is None:
            return
        status = answer.status
        mark = answer.fields.get(b"compactor-link")
        if mark is not None:
            if status in (404, 410):
                id_ = unquote(mark.decode("latin-1"), errors="surrogateescape")
                reason = Reason.NO_PROCESS if status == 404 else Reason.TERMINATED
                self._peer.link_answered(id_, reason)
            return
        asked = self._links.pop(self._answers, None)
        self._answers += 1
        # A 404 of libprocess says that there is no such process; other servers (Go's, say) mean
        # the path, and spell the body in another way.
        if status == 404 and answer.body == b"404 Not Found.":
            if asked is not None:
                self._peer.link_answered(asked, Reason.NO_PROCESS)
            else:
                self._peer.message_refused()


def _reason_of(error: Exception) -> Reason:
    return Reason.TIMEOUT if isinstance(error, TimeoutError) else Reason.RESET
