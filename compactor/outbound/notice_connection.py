"""``NoticeConnection``: the connection on which a peer is asked for notices, and tells them."""

from __future__ import annotations

import asyncio
import math
from logging import DEBUG
from typing import Protocol, cast

from compactor.actor.run_queue import TURN_SECONDS, RunQueue
from compactor.errors import RemoteProtocolError
from compactor.metrics.logs import fields, logger, place_of
from compactor.net.flow_control import FULL_READ, ReadGate
from compactor.net.keepalive import probe
from compactor.net.memory import cut, cuts_without_memory
from compactor.outbound.reasons import why_lost
from compactor.pid import Address
from compactor.system import clock
from compactor.wire import notices
from compactor.wire.response_decoder import Answer, ResponseDecoder

log = logger("peers")

_SILENT_INTERVALS = 3  # after which a stream counts as cut


class NoticeOwner(Protocol):
    """Who is told what comes."""

    def opened(self) -> None: ...
    def noticed(self, notice: list[str]) -> None: ...
    def not_understood(self, error: RemoteProtocolError) -> None: ...


class NoticeConnection(asyncio.Protocol):
    """One connection of its own: a request, and an answer without end.

    Args:
        address: of the peer.
        request: asks for the notices.
        owner: is told what comes.
        run_queue: the turns of the loop.
        peer_timeout: seconds of silence of the peer's machine.

    Attributes:
        answer: how the answer begins, once it has.
        is_open: whether that is a stream of notices.
        ended: done when nothing comes any more.
    """

    def __init__(
        self,
        address: Address,
        request: bytes,
        owner: NoticeOwner,
        run_queue: RunQueue,
        peer_timeout: float,
    ) -> None:
        self.answer: Answer | None = None
        self.is_open = False
        self.ended: asyncio.Future[None] = run_queue.loop.create_future()
        self.transport: asyncio.Transport | None = None
        self._address = address
        self._request = request
        self._owner: NoticeOwner | None = owner
        self._run_queue = run_queue
        self._loop = run_queue.loop
        self._peer_timeout = peer_timeout
        self._reader = ResponseDecoder(self)
        self._lines = notices.Lines()
        self._interval = math.inf
        self._heard = False
        self._silent = 0
        self._why = ""  # it is cut, if we cut it
        self._check: asyncio.TimerHandle | None = None
        self._gate: ReadGate

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)
        self._gate = ReadGate(self, self.transport, self._loop, self._read_on)
        probe(transport.get_extra_info("socket"), self._peer_timeout)
        self.transport.write(self._request)

    # What is answered

    def head(self, answer: Answer) -> None:
        """The answer has begun."""
        if self.answer is not None:
            raise RemoteProtocolError("an answer follows the notices, or stands for them")
        self.answer = answer
        interval = answer.fields.get(notices.FIELD)
        if answer.status == 200 and interval is not None and self._owner is not None:
            self.is_open = True
            self._interval = notices.interval_of(interval)
            self._listen()
            self._owner.opened()
        elif self.transport is not None:
            self._loop.call_soon(self.transport.close)  # the rest of it has come by then

    def body(self, piece: bytes) -> None:
        """More of it."""
        if self.is_open:
            self._lines.add(piece)

    def _listen(self) -> None:
        """Have silence cut the stream."""
        self._silent = 0 if self._heard else self._silent + 1
        self._heard = False
        if self._silent > _SILENT_INTERVALS:
            self._why = "nothing was heard for too long"
            self.abort()
        elif math.isfinite(self._interval):
            self._check = self._loop.call_later(self._interval, self._listen)

    # asyncio.Protocol

    @cuts_without_memory
    def data_received(self, data: bytes) -> None:
        self._heard = True
        in_time = self._read(data)
        if not in_time or (len(data) >= FULL_READ and self._run_queue.is_hogged_by(id(self))):
            self._gate.rest()

    def _read(self, data: bytes) -> bool:
        """Take the next notices, or what is left of them; whether a turn had time for all."""
        end = clock.now() + TURN_SECONDS
        try:
            self._reader.feed_some(data)
            while True:
                for line in self._lines:
                    if self._owner is not None:
                        self._owner.noticed(notices.decode(line))
                    if clock.now() > end:
                        return False
                if not self._reader.has_more:
                    break
                if clock.now() > end:  # steps may bring no line
                    return False
                self._reader.feed_some(b"")
        except RemoteProtocolError as error:
            self._fail(error)
        if self._reader.error is not None:
            self._fail(self._reader.error)
        return True

    def _fail(self, error: RemoteProtocolError) -> None:
        if self._owner is not None and self.answer is not None:  # else it may be TLS
            self._owner.not_understood(error)
        self._why = str(error)
        self.abort()

    def _read_on(self) -> None:
        if not self._read(b""):
            self._gate.rest()

    def eof_received(self) -> bool:
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        if self._owner is not None and not self._read(b""):
            self._loop.call_soon(self.connection_lost, exc)  # what came is read all the same
            return
        if not self.ended.done():
            self._tell_of_the_end(exc)
        self._owner = None
        self._lines = notices.Lines()  # this is kept until Python looks for what refers to itself
        if self._check is not None:
            self._check.cancel()
        if not self.ended.done():
            self.ended.set_result(None)

    def _tell_of_the_end(self, exc: Exception | None) -> None:
        if log.isEnabledFor(DEBUG):
            place, reason = place_of(self._address), self._why or why_lost(exc)
            told = fields("close", peer=place, reason=reason)
            log.debug("the connection to %s for notices has ended: %s", place, reason, extra=told)

    def out_of_memory(self) -> None:
        """Nothing that comes can be kept: it is asked for again."""
        if self.transport is not None:
            cut(self.transport)

    def abort(self) -> None:
        """Read no more."""
        if self.transport is not None:
            self.transport.abort()

    def drop(self) -> None:
        """The same, and tell nobody."""
        self._why = self._why or "it is wanted no more"
        self._owner = None
        self.abort()
