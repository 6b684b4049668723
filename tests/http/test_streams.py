"""Answers in pieces: what is on the wire, who is held up, and how they end."""

from __future__ import annotations

import asyncio
import contextlib
import http.client
import itertools
import socket
import threading
import time
from collections.abc import AsyncIterator, Callable
from typing import Any, NamedTuple

import pytest

from compactor import PID, Context, Process, Request, Response, Settings, install, route
from compactor.errors import LocalProtocolError
from tests.actors import TIMEOUT, wait_until
from tests.http.curl import curl
from tests.raw import read_bytes, read_head, read_until_end

Connect = Callable[[Context], socket.socket]
PIECE = 16 * 1024


class Site(Process):
    """Streams, and what they have done."""

    def __init__(self) -> None:
        super().__init__("site")
        self.made = 0
        self.messages = 0
        self.go = threading.Event()
        self.ended = threading.Event()

    @route("/words")
    async def words(self, request: Request) -> AsyncIterator[str]:
        for word in ("one ", "", "twö ", "three"):
            await asyncio.sleep(0)
            yield word

    @route("/bytes")
    async def bytes_(self, request: Request) -> AsyncIterator[bytes]:
        request.set_status(203)
        request.set_header("X-Test", "yes")
        yield b"\0\1"

    @route("/nothing")
    async def nothing(self, request: Request) -> AsyncIterator[bytes]:
        for piece in ():
            yield piece

    @route("/made", methods=["GET"])
    def made_(self, request: Request) -> Response:
        return Response.stream(
            self.words(request), 201, "text/x-words", [("Set-Cookie", "a=1"), ("Set-Cookie", "b=2")]
        )

    @route("/awaited")
    async def awaited(self, request: Request) -> Response:
        await asyncio.sleep(0)
        return Response.stream(self.words(request), headers={"Connection": "close"})

    @route("/waits")
    async def waits(self, request: Request) -> AsyncIterator[str]:
        try:
            yield "first"
            while not self.go.is_set():
                await asyncio.sleep(0.01)
            yield "second"
        finally:
            self.ended.set()

    @route("/endless")
    async def endless(self, request: Request) -> AsyncIterator[bytes]:
        try:
            for self.made in itertools.count(1):
                yield b"x" * PIECE
        finally:
            await asyncio.sleep(0)
            self.ended.set()

    @route("/silent")
    async def silent(self, request: Request) -> AsyncIterator[bytes]:
        try:
            await asyncio.sleep(3600)
            yield b""
        finally:
            self.ended.set()

    @route("/fails")
    async def fails(self, request: Request) -> AsyncIterator[str]:
        if request.query_string != "later":
            raise LookupError("at once")
        yield "begun"
        raise LookupError("later")

    @route("/numbers")
    async def numbers(self, request: Request) -> AsyncIterator[Any]:
        yield 5

    @route("/events")
    def events(self, request: Request) -> Response:
        return Response.events(self.three_events())

    async def three_events(self) -> AsyncIterator[Any]:
        yield "line 1\nline 2"
        yield {"n": 1}
        yield Response.event([1], event="tick", id="7", retry=1000)

    @route("/plain")
    def plain(self, request: Request) -> str:
        return "plain"

    @install("message")
    def message(self, from_pid: PID, body: bytes) -> None:
        self.messages += 1


@pytest.fixture
def site(context: Context) -> Site:
    made = Site()
    context.spawn(made)
    return made


class Answer(NamedTuple):
    status: int
    headers: Any
    body: bytes


def get(site: Site, path: str, method: str = "GET") -> Answer:
    connection = http.client.HTTPConnection(*site.pid.address, timeout=TIMEOUT)
    with contextlib.closing(connection):
        connection.request(method, f"/site/{path}")
        with connection.getresponse() as answer:
            return Answer(answer.status, answer.headers, answer.read())


def ask(connect: Connect, site: Site, path: str, version: str = "1.1", more: str = "") -> Any:
    sock = connect(site.context)
    sock.sendall(f"GET /site/{path} HTTP/{version}\r\nHost: x\r\n{more}\r\n".encode())
    return sock


@pytest.mark.each_combination
def test_pieces_are_chunks(site: Site, connect: Connect) -> None:
    sock = ask(connect, site, "words")
    head = read_head(sock)
    assert head.startswith(b"HTTP/1.1 200 OK\r\nDate: ")
    assert b"\r\nTransfer-Encoding: chunked\r\n" in head
    assert b"\r\nContent-Type: text/plain; charset=utf-8\r\n" in head
    assert b"Content-Length" not in head
    whole = "4\r\none \r\n5\r\ntwö \r\n5\r\nthree\r\n0\r\n\r\n".encode()
    assert read_bytes(sock, len(whole)) == whole


@pytest.mark.parametrize(
    ("path", "status", "kind", "body"),
    [
        ("words", 200, "text/plain; charset=utf-8", "one twö three".encode()),
        ("bytes", 203, None, b"\0\1"),
        ("nothing", 200, None, b""),
        ("made", 201, "text/x-words", "one twö three".encode()),
        ("awaited", 200, "text/plain; charset=utf-8", "one twö three".encode()),
    ],
)
def test_generators_are_answered_with_what_they_yield(
    site: Site, path: str, status: int, kind: str | None, body: bytes
) -> None:
    answer = get(site, path)
    assert (answer.status, answer.headers["Content-Type"], answer.body) == (status, kind, body)
    if path == "made":
        assert answer.headers.get_all("Set-Cookie") == ["a=1", "b=2"]
    if path == "bytes":
        assert answer.headers["X-Test"] == "yes"


def test_curl_reads_a_stream(site: Site) -> None:
    assert curl(site.pid.as_url("words")) == "one twö three"
    assert curl("--http1.0", site.pid.as_url("words")) == "one twö three"


def test_a_client_of_http_1_0_reads_to_the_end(site: Site, connect: Connect) -> None:
    sock = ask(connect, site, "words", "1.0", "Connection: keep-alive\r\n")
    head, _, body = read_until_end(sock).partition(b"\r\n\r\n")
    assert b"Transfer-Encoding" not in head
    assert b"\r\nConnection: close" in head
    assert body == "one twö three".encode()


def test_head_makes_no_piece(site: Site, connect: Connect) -> None:
    answer = get(site, "endless", "HEAD")
    assert (answer.status, answer.body) == (200, b"")
    assert answer.headers["Content-Length"] is None
    assert site.made == 0
    sock = connect(site.context)
    one = "HEAD /site/words HTTP/1.1\r\nHost: x\r\n\r\n"
    other = "GET /site/plain HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
    sock.sendall((one + other).encode())
    assert b"chunked" in read_head(sock)
    assert read_until_end(sock).endswith(b"\r\n\r\nplain")


@pytest.mark.each_combination
def test_a_piece_is_there_before_the_next_is_made(site: Site, connect: Connect) -> None:
    sock = ask(connect, site, "waits")
    read_head(sock)
    assert read_bytes(sock, 10) == b"5\r\nfirst\r\n"
    site.go.set()
    assert read_bytes(sock, 16) == b"6\r\nsecond\r\n0\r\n\r\n"
    assert site.ended.wait(TIMEOUT)


def test_messages_are_handled_between_two_pieces(site: Site, connect: Connect) -> None:
    sock = ask(connect, site, "endless")
    for count in range(1, 4):
        read_bytes(sock, 4 * PIECE)
        site.context.post(site.pid, "message")
        wait_until(lambda count=count: site.messages == count)  # type: ignore[misc]


def test_answers_behind_a_stream_come_behind_it(site: Site, connect: Connect) -> None:
    sock = connect(site.context)
    for path in ("plain", "words", "words", "plain"):
        sock.sendall(f"GET /site/{path} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
    sock.sendall(b"GET /site/awaited HTTP/1.1\r\nHost: x\r\n\r\n")
    sock.sendall(b"GET /site/plain HTTP/1.1\r\nHost: x\r\n\r\n")
    data = read_until_end(sock)  # ``awaited`` is the last
    order = [data.find(word) for word in (b"\r\n\r\nplain", b"three\r\n0\r\n\r\nHTTP")]
    assert data.count(b"HTTP/1.1 200 OK") == 5
    assert data.count(b"three\r\n0\r\n\r\n") == 3
    assert data.endswith(b"three\r\n0\r\n\r\n")
    assert -1 < order[0] < order[1]


@pytest.mark.each_combination
def test_a_client_that_does_not_read_holds_its_generator_up(site: Site, connect: Connect) -> None:
    sock = connect(site.context)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 64 * 1024)
    sock.sendall(b"GET /site/endless HTTP/1.1\r\nHost: x\r\n\r\n")
    wait_until(lambda: site.made > 1)
    before = -1
    while site.made != before:
        before = site.made
        time.sleep(0.3)
    assert site.made * PIECE < 16 * 2**20  # of the buffers of the system
    assert curl(site.pid.as_url("plain")) == "plain"  # nobody else is held up
    read_bytes(sock, before * PIECE)
    wait_until(lambda: site.made > before)
    sock.close()
    assert site.ended.wait(TIMEOUT)


def test_a_client_that_never_reads_is_cut(
    make_context: Callable[..., Context], connect: Connect
) -> None:
    context = make_context(settings=Settings(unread_timeout=0.3))
    site = Site()
    context.spawn(site)
    sock = connect(context)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    sock.sendall(b"GET /site/endless HTTP/1.1\r\nHost: x\r\n\r\n")
    assert site.ended.wait(TIMEOUT)
    assert context.metrics.cut_connections == 1


@pytest.mark.each_combination
@pytest.mark.parametrize("path", ["endless", "waits", "silent"])
@pytest.mark.parametrize("how", ["close", "reset", "half"])
def test_a_client_that_leaves_ends_the_generator(
    site: Site, connect: Connect, path: str, how: str
) -> None:
    sock = ask(connect, site, path)
    if path != "silent":
        read_head(sock)
    else:
        time.sleep(0.05)
    if how == "half":
        sock.shutdown(socket.SHUT_WR)
        read_until_end(sock)  # while answers are not read, the end of what it sends is not seen
    else:
        if how == "reset":
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        sock.close()
    assert site.ended.wait(TIMEOUT)
    assert get(site, "plain").body == b"plain"


def test_a_client_that_leaves_at_once_ends_the_generator(site: Site, connect: Connect) -> None:
    for _ in range(20):
        sock = ask(connect, site, "silent")
        sock.close()
    assert get(site, "plain").body == b"plain"


def test_what_waits_behind_another_answer_ends_with_its_client(
    site: Site, connect: Connect
) -> None:
    sock = connect(site.context)
    both = [f"GET /site/{path} HTTP/1.1\r\nHost: x\r\n\r\n" for path in ("waits", "endless")]
    sock.sendall("".join(both).encode())  # at once, as the first holds the mailbox behind its piece
    read_head(sock)
    sock.close()
    wait_until(lambda: site.ended.is_set())
    assert get(site, "plain").body == b"plain"
    assert site.made == 0  # of the one behind, whose turn has not come


@pytest.mark.parametrize("path", ["fails", "numbers"])
def test_a_generator_that_fails_at_once_is_answered_with_500(site: Site, path: str) -> None:
    answer = get(site, path)
    assert (answer.status, answer.body) == (500, b"500 Internal Server Error.")
    wait_until(lambda: site.context.metrics.handler_failures == 1)


def test_a_generator_that_fails_later_leaves_its_answer_cut_off(site: Site) -> None:
    with pytest.raises((http.client.IncompleteRead, ConnectionResetError)):
        get(site, "fails?later")
    wait_until(lambda: site.context.metrics.handler_failures == 1)
    assert get(site, "plain").body == b"plain"


@pytest.mark.parametrize("inject", [True, False])
@pytest.mark.parametrize("path", ["endless", "waits"])
def test_a_process_that_ends_leaves_its_answers_cut_off(
    site: Site, connect: Connect, inject: bool, path: str
) -> None:
    sock = ask(connect, site, path)
    read_head(sock)
    if path == "waits" and not inject:
        site.go.set()
    site.context.terminate(site.pid, inject)
    data = read_until_end(sock)
    assert site.ended.wait(TIMEOUT)
    if path == "endless":
        assert not data.endswith(b"0\r\n\r\n")


def test_a_context_stops_while_it_streams(
    make_context: Callable[..., Context], connect: Connect
) -> None:
    context = make_context()
    site = Site()
    context.spawn(site)
    sock = ask(connect, site, "endless")
    read_head(sock)
    context.stop()
    context.join(TIMEOUT)
    assert not context.is_alive()
    assert not read_until_end(sock).endswith(b"0\r\n\r\n")


def test_server_sent_events(site: Site) -> None:
    answer = get(site, "events")
    assert answer.headers["Content-Type"] == "text/event-stream"
    assert answer.headers["Cache-Control"] == "no-cache"
    assert answer.body == (
        b"data: line 1\ndata: line 2\n\n"
        b'data: {"n": 1}\n\n'
        b"event: tick\nid: 7\nretry: 1000\ndata: [1]\n\n"
    )


@pytest.mark.parametrize(
    "given", [{"event": "a\nid: 1"}, {"id": "1\r"}, {"id": "\0"}, {"retry": -1}, {"retry": "1"}]
)
def test_no_event_can_bring_another(given: dict[str, Any]) -> None:
    with pytest.raises(LocalProtocolError):
        Response.event("data", **given)
    assert Response.event("a\r\rdata: b") == b"data: a\ndata: \ndata: data: b\n\n"


def test_what_is_no_generator_is_refused() -> None:
    with pytest.raises(TypeError, match="an answer in pieces is made of an async generator"):
        Response.stream(["a"])  # type: ignore[arg-type]


class Late(Site):
    """Has its streams begin when their clients have gone."""

    is_busy = False

    @route("/busy")
    async def busy(self, request: Request) -> str:
        self.is_busy = True
        while not self.go.is_set():
            await asyncio.sleep(0.005)
        return "done"

    @route("/file")
    def file(self, request: Request) -> Response:
        return Response.file(__file__)

    @route("/made")
    async def counted(self, request: Request) -> AsyncIterator[bytes]:
        self.made += 1
        yield b"x"


@pytest.mark.each_combination
def test_what_nobody_waits_for_any_more_is_not_begun(context: Context, connect: Connect) -> None:
    site = Late()
    context.spawn(site)
    sock = connect(context)
    for path in ("busy", "made", "file", "made", "file"):
        sock.sendall(f"GET /site/{path} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
    wait_until(lambda: site.is_busy)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
    sock.close()
    time.sleep(0.1)
    site.go.set()
    assert get(site, "plain").body == b"plain"
    assert site.made == 0


class Busy(Process):
    """Two streams that need each other's turns, or messages."""

    def __init__(self) -> None:
        super().__init__("busy")
        self.came = asyncio.Event()
        self.ended = threading.Event()

    @route("/waits", concurrent=True)
    async def waits(self, request: Request) -> AsyncIterator[str]:
        try:
            yield "waits "
            await self.came.wait()
            yield "came"
        finally:
            self.ended.set()

    @route("/events", concurrent=True)
    async def events(self, request: Request) -> Response:
        return Response.events(self.waits(request))

    @route("/fails", concurrent=True)
    async def fails(self, request: Request) -> AsyncIterator[str]:
        yield "begun"
        raise LookupError("later")

    @install("message")
    def message(self, from_pid: PID, body: bytes) -> None:
        self.came.set()


@pytest.mark.parametrize("path", ["waits", "events"])
def test_a_concurrent_stream_may_wait_for_messages(
    context: Context, connect: Connect, path: str
) -> None:
    busy = Busy()
    context.spawn(busy)
    socks = [connect(context) for _ in range(5)]
    for sock in socks:
        sock.sendall(f"GET /busy/{path} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
        data = b""
        while b"waits" not in data:
            data += sock.recv(1000)
    context.post(busy.pid, "message")
    for sock in socks:
        data = b""
        while not data.endswith(b"0\r\n\r\n"):
            data += sock.recv(1000)
        assert b"came" in data


def test_a_client_that_leaves_ends_a_concurrent_stream(context: Context, connect: Connect) -> None:
    busy = Busy()
    context.spawn(busy)
    sock = connect(context)
    sock.sendall(b"GET /busy/waits HTTP/1.1\r\nHost: x\r\n\r\n")
    read_head(sock)
    sock.close()
    assert busy.ended.wait(TIMEOUT)


def test_a_process_that_ends_takes_its_concurrent_streams_with_it(
    context: Context, connect: Connect
) -> None:
    busy = Busy()
    context.spawn(busy)
    sock = connect(context)
    sock.sendall(b"GET /busy/waits HTTP/1.1\r\nHost: x\r\n\r\n")
    read_head(sock)
    read_bytes(sock, 11)
    context.terminate(busy.pid)
    assert busy.ended.wait(TIMEOUT)
    assert not read_until_end(sock).endswith(b"0\r\n\r\n")


def test_a_concurrent_stream_that_fails_is_counted(context: Context, connect: Connect) -> None:
    busy = Busy()
    context.spawn(busy)
    sock = connect(context)
    sock.sendall(b"GET /busy/fails HTTP/1.1\r\nHost: x\r\n\r\n")
    data = read_until_end(sock)
    assert b"begun" in data
    assert not data.endswith(b"0\r\n\r\n")
    wait_until(lambda: context.metrics.handler_failures == 1)
