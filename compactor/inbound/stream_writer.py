"""``StreamWriter``: an answer that comes in pieces, written as its client reads it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, Protocol

from compactor.http.headers import header_line
from compactor.http.response import Streamed
from compactor.http.status import NO_CONTENT, STATUS_LINES
from compactor.http.streams import Sendable, Source, StreamEnded
from compactor.system.system import system
from compactor.wire.encoder import encode_head
from compactor.wire.fields import says_close
from compactor.wire.request_head import Head

_FRAMING = {"connection", "content-length", "date", "transfer-encoding"}
_LAST = b"0\r\n\r\n"


class StreamOwner(Protocol):
    """What is asked of the connection that a stream is written on."""

    @property
    def is_unread(self) -> bool: ...
    def send_out(self) -> None: ...
    def cut(self, why: str) -> None: ...
    def out_of_memory(self) -> None: ...


class Replies(Protocol):
    """What is asked of the replies of a connection."""

    due: list[bytes]

    def stream_over(self, is_last: bool) -> None: ...


class StreamWriter:
    """The answers in pieces of one connection, one at a time.

    Args:
        owner: the connection.
        responses: its answers, of which a stream is the oldest.
        transport: of the connection, on which nothing else is written meanwhile.
        date: tells the ``Date``.
    """

    def __init__(
        self,
        owner: StreamOwner,
        responses: Replies,
        transport: asyncio.Transport,
        date: Callable[[], bytes],
    ) -> None:
        self._owner = owner
        self._responses = responses
        self._transport = transport
        self._date = date
        self._source: Source | None = None
        self._task: asyncio.Task[None] | None = None
        self._room: asyncio.Future[None] | None = None

    @property
    def is_writing(self) -> bool:
        """Whether a stream has begun and not ended."""
        return self._task is not None

    @property
    def ends_with_client(self) -> bool:
        """Whether what is written now has no sense when the client sends no more."""
        return self._source is not None and self._source.ends_with_client

    def begin(self, response: Streamed, head: Head) -> None:
        """Write a stream; the next answer comes behind its end."""
        assert response.source is not None
        self._source = response.source
        self._task = asyncio.get_running_loop().create_task(self._write(response, head))

    def go_on(self) -> None:
        """The client has made room."""
        if self._room is not None and not self._room.done():
            self._room.set_result(None)

    def end(self) -> None:
        """The connection is lost."""
        if self._task is not None:
            self._task.cancel()
        if self._source is not None:
            self._source.close()

    async def _write(self, response: Streamed, head: Head) -> None:
        source, responses = response.source, self._responses
        assert source is not None
        is_chunked = source.length is None and not head.is_old
        has_body = head.method != "HEAD" and response.status not in NO_CONTENT
        begin, is_last = self._head(response, head, is_chunked)
        transport = self._transport
        has_more = has_body and source.length != len(response.first or b"")
        direct = source if has_more and isinstance(source, Sendable) else None
        if direct is not None and transport.get_extra_info("ssl_object") is None:
            direct.connect(system().copy_of(transport.get_extra_info("socket")))
        try:
            responses.due.append(begin)
            piece = response.first if has_body else None
            while piece is not None:
                if piece:
                    size = b"%x\r\n" % len(piece)
                    responses.due.extend((size, piece, b"\r\n") if is_chunked else (piece,))
                    self._owner.send_out()
                await self._has_room()
                if direct is not None and not transport.get_write_buffer_size():
                    while await direct.send():
                        pass
                piece = await source.next()
            if is_chunked and has_body:
                responses.due.append(_LAST)
        except StreamEnded as error:
            self._owner.cut(f"its answer cannot be completed: {error}")
            return
        except MemoryError:
            self._owner.out_of_memory()
            return
        finally:
            source.close()
        self._source = self._task = None
        responses.stream_over(is_last)
        self._owner.send_out()

    async def _has_room(self) -> None:
        """Wait until the client has read most of what was written."""
        while self._owner.is_unread:
            self._room = asyncio.get_running_loop().create_future()
            await self._room

    def _head(self, response: Streamed, head: Head, is_chunked: bool) -> tuple[bytes, bool]:
        """The head of an answer, and whether it is the last on its connection."""
        given = response.headers
        lines = [header_line(n, v) for n, v in given.get_all() if n.lower() not in _FRAMING]
        date = given["Date"].encode("latin-1") if "Date" in given else self._date()
        length: Any = response.source.length if response.source is not None else None
        is_last = not head.keep_alive or response.closes or (length is None and not is_chunked)
        options = ",".join(given.get_list("Connection"))
        if is_last and not says_close(options.encode("latin-1")):
            options = f"{options}, close" if options else "close"
        if options:
            lines.append(header_line("Connection", options))
        elif head.connection:
            lines.append(head.connection)
        if response.status not in NO_CONTENT:
            if length is not None:
                lines.append(b"Content-Length: %d" % length)
            elif is_chunked:
                lines.append(b"Transfer-Encoding: chunked")
        return encode_head(STATUS_LINES[response.status], date, lines), is_last
