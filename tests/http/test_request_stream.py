"""Bodies that routes read as they come: flow control, ends, and what follows on the connection."""

from __future__ import annotations

import asyncio
import gzip
import hashlib
import http.client
import socket
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from compactor import Context, Process, Request, Response, Settings, route
from tests.actors import TIMEOUT, wait_until
from tests.http.curl import curl
from tests.raw import read_answer, read_head

Connect = Callable[[Context], socket.socket]
MIB = 2**20


class Site(Process):
    def __init__(self) -> None:
        super().__init__("site")
        self.read = 0
        self.pieces: list[bytes] = []
        self.failed = ""
        self.go = asyncio.Event()

    @route("/up", methods=["POST"], stream=True)
    async def up(self, request: Request) -> Any:
        digest = hashlib.sha256()
        count = 0
        async for piece in request.stream():
            digest.update(piece)
            self.read += len(piece)
            count += 1
        return [request.body.decode(), count > 1, digest.hexdigest()]

    @route("/items/{item}", methods=["PUT"], stream=True)
    async def put(self, request: Request) -> str:
        self.pieces = [piece async for piece in request.stream()]
        return request.path_params["item"]

    @route("/items/{item}", methods=["POST"])
    async def whole(self, request: Request) -> Any:
        return [len(request.body), len([piece async for piece in request.stream()])]

    @route("/waits", stream=True)
    async def waits(self, request: Request) -> str:
        await self.go.wait()
        async for piece in request.stream():
            self.read += len(piece)
        return "read"

    @route("/refuses", stream=True)
    def refuses(self, request: Request) -> Response:
        return Response("no", 403)

    @route("/slow", stream=True, concurrent=True)
    async def slow(self, request: Request) -> str:
        try:
            async for piece in request.stream():
                self.pieces.append(piece)
        except Exception as error:
            self.failed = str(error)
            raise
        return "read"

    @route("/plain")
    def plain(self, request: Request) -> str:
        return "plain"


@pytest.fixture
def site(context: Context) -> Site:
    made = Site()
    context.spawn(made)
    return made


def post(path: str, size: int, more: str = "", method: str = "POST") -> bytes:
    head = f"{method} /site/{path} HTTP/1.1\r\nHost: x\r\nContent-Length: {size}\r\n{more}\r\n"
    return head.encode()


PLAIN = b"GET /site/plain HTTP/1.1\r\nHost: x\r\n\r\n"


@pytest.mark.each_combination
@pytest.mark.parametrize("chunked", [True, False])
def test_curl_uploads_a_file(site: Site, tmp_path: Path, chunked: bool) -> None:
    body = bytes(range(256)) * 4096 * 8
    file = tmp_path / "file"
    file.write_bytes(body)
    more = ["-H", "Transfer-Encoding: chunked"] if chunked else []
    told = curl(*more, "--data-binary", f"@{file}", site.pid.as_url("up"))
    assert told == f'["", true, "{hashlib.sha256(body).hexdigest()}"]'
    assert curl("-T", str(file), *more, site.pid.as_url("items/a%20b")) == "a b"
    assert b"".join(site.pieces) == body
    assert len(site.pieces) > 1


@pytest.mark.each_combination
def test_a_piece_is_read_before_the_next_is_sent(site: Site, connect: Connect) -> None:
    sock = connect(site.context)
    sock.sendall(post("up", 9))
    for count in (3, 6):
        sock.sendall(b"abc")
        wait_until(lambda count=count: site.read == count)  # type: ignore[misc]
    sock.sendall(b"abc" + PLAIN + post("up", 3) + b"xyz" + PLAIN)
    digest = hashlib.sha256(b"abcabcabc").hexdigest()
    assert read_answer(sock) == (200, f'["", true, "{digest}"]'.encode())
    assert read_answer(sock) == (200, b"plain")
    digest = hashlib.sha256(b"xyz").hexdigest()
    assert read_answer(sock) == (200, f'["xyz", false, "{digest}"]'.encode())  # it came at once
    assert read_answer(sock) == (200, b"plain")


def test_a_route_that_does_not_read_holds_its_client_up(site: Site, connect: Connect) -> None:
    sock = connect(site.context)
    size = 48 * MIB
    sock.sendall(post("waits", size))
    sock.settimeout(1)
    sent = 0
    with pytest.raises(TimeoutError):
        while sent < size:
            sent += sock.send(bytes(min(64 * 1024, size - sent)))
    assert sent < 40 * MIB  # in the buffers of the system
    sock.settimeout(TIMEOUT)
    loop_go(site)
    sock.sendall(bytes(size - sent))
    assert read_answer(sock) == (200, b"read")
    assert site.read == size


def loop_go(site: Site) -> None:
    """Set the event on the loop; the process itself is busy."""
    other = Process("other")
    site.context.spawn(other)
    site.context.dispatch(other.pid, site.go.set).result(TIMEOUT)


def test_a_route_that_answers_early_has_the_rest_dropped(site: Site, connect: Connect) -> None:
    sock = connect(site.context)
    sock.sendall(post("refuses", 4 * MIB))
    assert read_answer(sock) == (403, b"no")
    sock.sendall(bytes(4 * MIB) + PLAIN)
    assert read_answer(sock) == (200, b"plain")


def test_a_client_is_told_to_go_on(site: Site, connect: Connect) -> None:
    sock = connect(site.context)
    sock.sendall(post("items/x", 3, "Expect: 100-continue\r\n", "PUT"))
    assert read_head(sock) == b"HTTP/1.1 100 Continue\r\n\r\n"
    sock.sendall(b"a")
    sock.sendall(b"bc")
    assert read_answer(sock) == (200, b"x")
    assert b"".join(site.pieces) == b"abc"


@pytest.mark.each_combination
@pytest.mark.parametrize("how", ["close", "reset", "half", "garbage"])
def test_a_client_that_leaves_in_mid_body_is_told_to_the_route(
    site: Site, connect: Connect, how: str
) -> None:
    sock = connect(site.context)
    sock.sendall(b"POST /site/slow HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n")
    sock.sendall(b"3\r\nabc\r\n")
    wait_until(lambda: site.pieces)
    if how == "garbage":
        sock.sendall(b"garbage\r\n")
    elif how == "half":
        sock.shutdown(socket.SHUT_WR)
    else:
        if how == "reset":
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        sock.close()
    wait_until(lambda: site.failed)
    assert site.failed.startswith("the body is not whole: ")
    if how in ("half", "garbage"):
        assert read_answer(sock)[0] == 400


def test_a_body_that_becomes_too_large_is_refused(
    make_context: Callable[..., Context], connect: Connect
) -> None:
    context = make_context(settings=Settings(max_body_bytes=1000))
    site = Site()
    context.spawn(site)
    sock = connect(context)
    sock.sendall(b"POST /site/slow HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n")
    sock.sendall(b"3e8\r\n" + bytes(1000) + b"\r\n")
    wait_until(lambda: sum(map(len, site.pieces)) == 1000)
    sock.sendall(b"1\r\na\r\n")
    wait_until(lambda: "exceeds 1000 bytes" in site.failed)


def test_other_routes_have_bodies_whole(site: Site, connect: Connect) -> None:
    sock = connect(site.context)
    sock.sendall(post("items/x", 6))
    for piece in (b"abc", b"def"):
        time.sleep(0.02)
        sock.sendall(piece)
    assert read_answer(sock) == (200, b"[6, 1]")


@pytest.mark.parametrize("more", ["Origin: http://x\r\nSec-Fetch-Site: same-origin\r\n", ""])
def test_what_is_compressed_or_of_a_browser_is_there_at_once(
    site: Site, connect: Connect, more: str
) -> None:
    body = b"x" * 10_000 if more else gzip.compress(b"x" * 10_000)
    more = more or "Content-Encoding: gzip\r\n"
    sock = connect(site.context)
    sock.sendall(post("items/x", len(body), f"{more}", "PUT").replace(b"Host: x", b"Host: [::1]"))
    sock.sendall(body[:10])
    time.sleep(0.02)
    sock.sendall(body[10:])
    assert read_answer(sock) == (200, b"x")
    assert site.pieces == [b"x" * 10_000]


def test_a_bomb_for_a_route_is_refused(
    make_context: Callable[..., Context], connect: Connect
) -> None:
    context = make_context(settings=Settings(max_inflated_bytes=MIB))
    context.spawn(Site())
    bomb = gzip.compress(bytes(64 * MIB))
    for path in ("up", "items/x"):
        sock = connect(context)
        sock.sendall(post(path, len(bomb), "Content-Encoding: gzip\r\n") + bomb)
        status, text = read_answer(sock)
        assert (status, text) == (413, b"the inflated body exceeds 1048576 bytes\n")


def test_a_query_of_a_megabyte_is_refused(site: Site, connect: Connect) -> None:
    sock = connect(site.context)
    sock.sendall(b"GET /site/plain?" + b"a=1&" * (MIB // 4) + b" HTTP/1.1\r\nHost: x\r\n\r\n")
    assert read_answer(sock)[0] == 431
    connection = http.client.HTTPConnection(*site.pid.address, timeout=TIMEOUT)
    connection.request("GET", "/site/plain?" + "a=%41&" * 10_000)
    with connection.getresponse() as answer:
        assert answer.read() == b"plain"
    connection.close()


def test_a_process_that_ends_leaves_no_connection_held(site: Site, connect: Connect) -> None:
    sock = connect(site.context)
    size = 8 * MIB
    sock.sendall(post("waits", size) + bytes(MIB))
    time.sleep(0.05)
    site.context.terminate(site.pid)
    assert read_answer(sock)[0] == 500
    sock.sendall(bytes(size - MIB) + PLAIN)
    assert read_answer(sock)[0] == 404
