"""``LargeBodyReader``: reads what is missing of a large body from the socket to its place."""

from __future__ import annotations

import asyncio
from typing import Any

from compactor.wire.body_decoder import BodyDecoder


class LargeBodyReader(asyncio.BufferedProtocol):
    """Takes the place of a connection's protocol until one body is complete.

    Bytes that arrive by ``data_received`` are copied twice more: into an object of their own, and
    from there into the body.

    Args:
        protocol: the connection's protocol, which takes over again, and hears of all else
            meanwhile.
        transport: its transport, which is being read.
        decoder: lends the place.
    """

    def __init__(
        self, protocol: asyncio.Protocol, transport: asyncio.Transport, decoder: BodyDecoder
    ) -> None:
        self._protocol = protocol
        self._transport = transport
        self._decoder = decoder
        self._hand_over(self)

    def _hand_over(self, protocol: asyncio.BaseProtocol) -> None:
        # uvloop looks at what kind of protocol it has when it begins to read.
        self._transport.pause_reading()
        self._transport.set_protocol(protocol)
        self._transport.resume_reading()

    def get_buffer(self, sizehint: int) -> Any:
        return self._decoder.lend()

    def buffer_updated(self, nbytes: int) -> None:
        if self._decoder.filled(nbytes):
            self._hand_over(self._protocol)
            self._protocol.data_received(b"")

    def eof_received(self) -> bool | None:
        return self._protocol.eof_received()

    def connection_lost(self, exc: Exception | None) -> None:
        self._protocol.connection_lost(exc)

    def pause_writing(self) -> None:
        self._protocol.pause_writing()

    def resume_writing(self) -> None:
        self._protocol.resume_writing()
