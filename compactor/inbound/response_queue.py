"""``ResponseQueue``: what one accepted connection answers, in the order of its requests."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from typing import Any

from compactor.errors import RemoteProtocolError
from compactor.http.content import TEXT
from compactor.http.headers import ResponseHeaders, header_line
from compactor.http.response import ErrorResponse, Response, Streamed
from compactor.http.status import NO_CONTENT, STATUS_LINES
from compactor.inbound.stream_writer import StreamOwner, StreamWriter
from compactor.inbound.streamed_body import StreamedBody
from compactor.net.flow_control import ReadGate
from compactor.system import clock
from compactor.wire.encoder import encode_head
from compactor.wire.fields import http_date, joined, says_close

from ..http.exchange import Exchange
from ..wire.request_head import Head

TEXT_LINE = header_line("Content-Type", TEXT)
CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"

_MAX_UNSENT = 64 * 1024  # bytes of replies, but small ones, that wait for the end of a turn
_SMALL = 256  # bytes of a reply; of such ones, one read cannot ask for many MiB
_ENCODED = {"connection", "content-length", "date", "transfer-encoding"}  # each in its own way
_CLOSE = b"Connection: close"
_TOO_MANY = "too many requests wait for their answers"

EncodeResponse = Callable[[bytes, bytes, list[bytes], bytes], bytes]


class HttpDate:
    """The value of the ``Date`` header, and the heads that differ in nothing else, made once a
    second.
    """

    __slots__ = ("_heads", "_second", "_until", "_value")

    def __init__(self) -> None:
        self._second = self._until = 0.0
        self._value = b""
        self._heads: dict[bytes, bytes] = {}

    def now(self) -> bytes:
        """The current time as RFC 1123 writes it."""
        now = clock.date()
        if not self._second <= now < self._until:
            self._second = now // 1
            self._until = self._second + 1
            self._value = http_date(self._second).encode()
            self._heads = {}
        return self._value

    def head(self, line: bytes, connection: bytes) -> bytes:
        """The head of a response of 200, up to the number of its Content-Length.

        Args:
            line: a header, or empty; of few, for all are kept for a second.
            connection: the one that says whether the connection stays open, or empty.
        """
        key = line + connection
        if self._second <= clock.date() < self._until:
            head = self._heads.get(key)
            if head is not None:
                return head
        date = b"Date: " + self.now()
        lines = [STATUS_LINES[200], date, line, connection, b"Content-Length: "]
        head = self._heads[key] = b"\r\n".join(filter(None, lines))
        return head


class ResponseQueue:
    """The replies of one connection.

    While some requests wait for theirs, whatever is replied later queues behind them.

    Args:
        encode: the encoder of responses.
        encode_body: the encoder of those of which all but the length of the body is there.
        date: tells the ``Date`` of a response.
        max_waiting, max_waiting_bytes: the connection is held while more requests wait.

    Attributes:
        due: the encoded replies that the end of the turn writes.
        waiting: the requests that wait, with the replies behind them that are there already.
        waiting_bytes: what those requests take, and those replies.
        early_bytes: what answers take that are there before others that go before them.
        is_left: whether the client sends no more.
        is_over: whether the last reply has been given, behind which there is none.
        body: of a request that is read as it comes.
        stream: writes the replies that come in pieces, once there was one.
    """

    __slots__ = (
        "_date",
        "_encode",
        "_encode_body",
        "_gate",
        "_max_waiting",
        "_max_waiting_bytes",
        "_owner",
        "_transport",
        "_unsent",
        "body",
        "due",
        "early_bytes",
        "is_left",
        "is_over",
        "stream",
        "waiting",
        "waiting_bytes",
    )

    def __init__(
        self,
        encode: EncodeResponse,
        encode_body: Callable[[bytes, bytes], bytes],
        date: HttpDate,
        max_waiting: int,
        max_waiting_bytes: int,
    ) -> None:
        self.due: list[bytes] = []
        self.waiting: deque[tuple[Exchange | bytes, Head | None, int]] = deque()
        self.waiting_bytes = 0
        self.early_bytes = 0
        self.is_over = self.is_left = False
        self.stream: StreamWriter | None = None
        self.body: StreamedBody | None = None
        self._encode = encode
        self._encode_body = encode_body
        self._date = date
        self._max_waiting = max_waiting
        self._max_waiting_bytes = max_waiting_bytes
        self._unsent = 0  # bytes of what is due and not small
        self._transport: asyncio.Transport
        self._gate: ReadGate
        self._owner: StreamOwner

    def open(self, transport: asyncio.Transport, gate: ReadGate, owner: StreamOwner) -> None:
        """Write to the transport of a connection from now on; the gate holds it."""
        self._transport = transport
        self._gate = gate
        self._owner = owner

    @property
    def is_held(self) -> bool:
        """Whether the connection is held, whatever for."""
        return self._gate.is_held

    def give(self, answer: Response | str | bytes, head: Head) -> bool:
        """Reply to a request before which none waits.

        Returns:
            Whether the connection is held, because the peer does not read what came before.
        """
        encoded = self.encoded(answer, head)
        is_held = False
        if len(encoded) > _SMALL:
            if self._unsent > _MAX_UNSENT:
                self.write()
            self._unsent += len(encoded)
            is_held = self._gate.is_held
        self.due.append(encoded)
        self.is_over = not head.keep_alive or (isinstance(answer, Response) and answer.closes)
        return is_held

    def queue(self, answer: Exchange | bytes, head: Head | None, size: int = 0) -> None:
        """Put a reply, or a request of this size that waits for its own, behind all others."""
        if self.is_over:
            if not isinstance(answer, bytes):
                answer.abandon()
            return
        if head is not None and not head.keep_alive:
            self.is_over = True
        if self.waiting or not isinstance(answer, bytes):
            if isinstance(answer, bytes):
                size = len(answer)
            else:
                answer.is_left = self.is_left
            self.waiting.append((answer, head, size))
            self.waiting_bytes += size
            if (
                len(self.waiting) > self._max_waiting
                or self.waiting_bytes > self._max_waiting_bytes
            ):
                self._gate.hold(_TOO_MANY)
            self.complete()
        else:
            self.due.append(answer)

    def queue_last(self, answer: bytes) -> None:
        """The same with a reply that is the last."""
        self.queue(answer, None)
        self.is_over = True

    def answer(self, status: int, body: bytes, head: Head) -> None:
        """Reply to a message whose sender reads replies, or to a request that reached no route."""
        if head.sender is None or head.wants_answer:
            if status >= 400 and head.sender is None and body:
                accept = joined(head.fields, b"accept").decode("latin-1")
                response = ErrorResponse(body.decode(), status).accepted(accept)
                self.queue(self.encoded(response, head), head)
                return
            lines = [TEXT_LINE] if body else []
            self.queue(self.encoded_parts(status, lines, body, head), head)

    def begin_body(
        self, call: Any, head: Head, peer: tuple[str, int], told: Callable[[Exchange], None]
    ) -> Exchange:
        """Have a request wait for its reply whose body its route reads as it comes."""
        body = self.body = StreamedBody(self._gate)
        exchange = Exchange(body.given_to(call), head, b"", peer)
        exchange.takes_gzip = head.takes_gzip
        exchange.answered = body.closed_before(told)
        self.queue(exchange, head, head.size)
        return exchange

    def end_body(self, rest: bytes) -> None:
        """That body is whole, with this."""
        if self.body is not None:
            self.body.end(rest)
            self.body = None

    def refuse(self, error: RemoteProtocolError) -> None:
        """Reply to what is no request, as the last: what follows it cannot be told apart."""
        if self.body is not None:
            self.body.lose(str(error))
        response = Response.error(error.status, f"{error}\n")
        if error.is_head:
            response.body = b""
        response.headers["Connection"] = "close"
        if error.status == 415:
            response.headers["Accept-Encoding"] = "gzip, deflate"
        self.queue_last(self.encoded(response, None))

    def answered(self, exchange: Exchange) -> None:
        """A request that waits has its answer."""
        waiting = self.waiting
        if waiting and waiting[0][0] is not exchange:
            answer = exchange.response
            exchange.early = len(answer.body if isinstance(answer, Response) else answer or b"")
            self.early_bytes += exchange.early
        else:
            self.complete()

    def complete(self) -> None:
        """From the oldest on, the replies that are there are due."""
        waiting = self.waiting
        while waiting:
            answer, head, size = waiting[0]
            if isinstance(answer, bytes):
                self.due.append(answer)
            elif answer.response is None:
                answer.become_oldest()
                break
            elif type(answer.response) is Streamed:
                self._begin_stream(answer.response, head)
                break
            else:
                encoded = self.encoded(answer.response, head)
                self.early_bytes -= answer.early
                if self._unsent > _MAX_UNSENT:
                    self.write()
                self._unsent += len(encoded)
                self.due.append(encoded)
                if isinstance(answer.response, Response) and answer.response.closes:
                    self.is_over = True
                    self._forget()
                    break
            waiting.popleft()
            self.waiting_bytes -= size
        if (
            len(waiting) <= self._max_waiting // 2
            and self.waiting_bytes <= self._max_waiting_bytes // 2
        ):
            self._gate.release(_TOO_MANY)

    def _begin_stream(self, answer: Streamed, head: Head | None) -> None:
        if self.stream is None:
            self.stream = StreamWriter(self._owner, self, self._transport, self._date.now)
        if head is not None and not self.stream.is_writing:
            self.stream.begin(answer, head)

    def stream_over(self, is_last: bool) -> None:
        """The oldest reply was one in pieces, and all of them are due."""
        _, _, size = self.waiting.popleft()
        self.waiting_bytes -= size
        if is_last:
            self.is_over = True
            self._forget()
        self.complete()

    def go_on(self) -> None:
        """The client has made room."""
        if self.stream is not None:
            self.stream.go_on()

    def client_left(self) -> bool:
        """The client sends no more; whether its oldest reply makes no sense then."""
        self.is_left = True
        if self.body is not None:
            self.body.lose("its client has left")
        for answer, _, _ in self.waiting:
            if not isinstance(answer, bytes):
                answer.is_left = True
        if self.stream is not None and self.stream.is_writing:
            return self.stream.ends_with_client
        oldest = self.waiting[0][0] if self.waiting else b""
        late = None if isinstance(oldest, bytes) else oldest.late
        return late is not None and late.ends_with_client

    def write(self) -> None:
        """Write what is due, in one go."""
        due = self.due
        if due:
            if not self._transport.is_closing():
                self._transport.write(due[0] if len(due) == 1 else b"".join(due))
            due.clear()
            self._unsent = 0

    def end(self) -> None:
        """The connection is lost: nothing is due, and there will be no replies."""
        self.is_over = True
        self.due.clear()
        if self.stream is not None:
            self.stream.end()
        if self.body is not None:
            self.body.lose("its client has left")
        self._forget()
        self._gate.release(_TOO_MANY)

    def _forget(self) -> None:
        for answer, _, _ in self.waiting:
            if not isinstance(answer, bytes):
                answer.abandon()
        self.waiting.clear()
        self.waiting_bytes = self.early_bytes = 0

    # Encoding

    def encoded(self, answer: Response | str | bytes, head: Head | None) -> bytes:
        """The bytes of what a route answered."""
        if not isinstance(answer, Response):
            line, body = (TEXT_LINE, answer.encode()) if isinstance(answer, str) else (b"", answer)
            if head is not None and head.method != "HEAD":
                return self._encode_body(self._date.head(line, head.connection), body)
            return self.encoded_parts(200, [line] if line else [], body, head)
        given = answer.headers.get_all()
        lines = [header_line(n, v) for n, v in given if n.lower() not in _ENCODED]
        if len(lines) == len(given):
            return self.encoded_parts(answer.status, lines, answer.body, head)
        return self.encoded_parts(answer.status, lines, answer.body, head, answer.headers)

    def encoded_parts(
        self,
        status: int,
        lines: list[bytes],
        body: bytes,
        head: Head | None,
        given: ResponseHeaders | None = None,
    ) -> bytes:
        """The bytes of a response of these parts; ``given`` stands above what we say ourselves."""
        if (
            given is not None
            or (head is not None and (head.connection or head.method == "HEAD"))
            or status in NO_CONTENT
        ):
            return self._encoded_unusually(status, lines, body, head, given or ResponseHeaders())
        return self._encode(STATUS_LINES[status], self._date.now(), lines, body)

    def _encoded_unusually(
        self,
        status: int,
        lines: list[bytes],
        body: bytes,
        head: Head | None,
        given: ResponseHeaders,
    ) -> bytes:
        """The same, if it has no body, says whether its connection stays, or was given more."""
        date = given["Date"].encode("latin-1") if "Date" in given else self._date.now()
        connection = head.connection if head is not None else b""
        options = ",".join(given.get_list("Connection"))
        if options and (connection != _CLOSE or says_close(options.encode("latin-1"))):
            connection = header_line("Connection", options)
        if connection:
            lines = [*lines, connection]
        if status not in NO_CONTENT and (head is None or head.method != "HEAD"):
            return self._encode(STATUS_LINES[status], date, lines, body)
        if status == 205:
            lines = [*lines, b"Content-Length: 0"]
        elif "Content-Length" in given and status != 204:
            lines = [*lines, header_line("Content-Length", given["Content-Length"])]
        elif status not in NO_CONTENT:
            lines = [*lines, b"Content-Length: %d" % len(body)]
        return encode_head(STATUS_LINES[status], date, lines)
