"""Answers in gzip: for whom, which, and what they say."""

from __future__ import annotations

import asyncio
import contextlib
import gzip
import http.client
import random
import socket
import threading
import zlib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from compactor import Context, Process, Request, Response, route
from compactor.http.compressed_pieces import AT_ONCE
from compactor.wire.preferences import takes_gzip
from tests.actors import TIMEOUT, wait_until
from tests.http.curl import curl
from tests.raw import read_bytes, read_head, read_until_end

TEXT = "compactor " * 1000
LARGE = TEXT * 100


WORDS = ["one ", "two ", "three"]
PIECE = 64 * 1024
BIG = "".join(f"line {number} of a file\n" for number in range(100_000))


class Site(Process):
    folder: Path

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.made = 0
        self.go = threading.Semaphore(0)
        self.ended = threading.Event()

    @route("/text")
    def text(self, request: Request) -> str:
        return TEXT

    @route("/large")
    async def large(self, request: Request) -> str:
        return LARGE

    @route("/json")
    def json(self, request: Request) -> Any:
        return [TEXT]

    @route("/short")
    def short(self, request: Request) -> str:
        return "s" * 1023

    @route("/bytes")
    def bytes_(self, request: Request) -> bytes:
        return TEXT.encode()

    @route("/random")
    def random(self, request: Request) -> Response:
        return Response(random.Random(1).randbytes(2000), content_type="text/x-random")

    @route("/svg")
    def svg(self, request: Request) -> Response:
        headers = [("ETag", '"1"'), ("Set-Cookie", "a=1"), ("Set-Cookie", "b=2"), ("Vary", "X")]
        return Response(TEXT.encode(), 404, "image/svg+xml", headers)

    @route("/identity")
    def identity(self, request: Request) -> Response:
        return Response(TEXT, headers={"Content-Encoding": "identity"})

    @route("/stream")
    async def stream(self, request: Request) -> AsyncIterator[str]:
        yield ""
        yield TEXT
        yield "a" * (AT_ONCE + 1)

    @route("/endless")
    async def endless(self, request: Request) -> AsyncIterator[str]:
        try:
            while True:
                self.made += 1
                yield random.Random(self.made).randbytes(PIECE // 2).hex()
        finally:
            self.ended.set()

    @route("/slow")
    async def slow(self, request: Request) -> AsyncIterator[str]:
        for word in WORDS:
            while not self.go.acquire(blocking=False):
                await asyncio.sleep(0.005)
            yield word

    @route("/breaks")
    async def breaks(self, request: Request) -> AsyncIterator[str]:
        yield TEXT
        raise LookupError("later")

    @route("/nothing")
    async def nothing(self, request: Request) -> AsyncIterator[str]:
        for word in WORDS[:0]:
            yield word

    @route("/pieces")
    def pieces(self, request: Request) -> Response:
        kind = request.query_string
        return Response.stream(self.stream(request), content_type=kind)

    @route("/events")
    def events(self, request: Request) -> Response:
        return Response.events(self.stream(request))

    @route("/file")
    def file(self, request: Request) -> Response:
        name = request.query["name"]
        return Response.file(self.folder / name, headers={"X-Test": "yes"})

    @route("/written")
    def written(self, handler: Any) -> None:
        handler.write(TEXT)


def ask(
    context: Context,
    path: str,
    coding: str | None = "gzip",
    method: str = "GET",
    **fields: str,
) -> Any:
    made = http.client.HTTPConnection(context.ip, context.port, timeout=TIMEOUT)
    with contextlib.closing(made) as connection:
        connection.putrequest(method, f"/site/{path}", skip_accept_encoding=True)
        if coding is not None:
            connection.putheader("Accept-Encoding", coding)
        for name, value in fields.items():
            connection.putheader(name.replace("_", "-"), value)
        connection.endheaders()
        with connection.getresponse() as answer:
            return answer.status, answer.headers, answer.read()


@pytest.fixture
def site(context: Context) -> Context:
    context.spawn(Site("site"))
    return context


@pytest.mark.parametrize(
    ("path", "plain"),
    [
        ("text", TEXT),
        ("large", LARGE),
        ("json", f'["{TEXT}"]'),
        ("svg", TEXT),
        ("written", TEXT),
    ],
)
@pytest.mark.each_combination
def test_what_is_worth_it_is_compressed(site: Context, path: str, plain: str) -> None:
    status, headers, body = ask(site, path)
    assert status == (404 if path == "svg" else 200)
    assert headers["Content-Encoding"] == "gzip"
    assert headers["Content-Length"] == str(len(body))
    assert headers.get_all("Vary")[-1] == "Accept-Encoding"
    assert len(body) < len(plain) / 10
    assert gzip.decompress(body).decode() == plain
    if path == "svg":
        assert headers["ETag"] == 'W/"1"'
        assert headers.get_all("Set-Cookie") == ["a=1", "b=2"]
        assert headers.get_all("Vary") == ["X", "Accept-Encoding"]
    _, head, nothing = ask(site, path, method="HEAD")
    assert (head["Content-Length"], nothing) == (str(len(body)), b"")
    status, headers, body = ask(site, path, None)
    assert headers["Content-Encoding"] is None
    assert body.decode() == plain


@pytest.mark.parametrize(
    "path", ["short", "bytes", "random", "identity", "events", "pieces?video/mp4"]
)
def test_what_is_not_worth_it_is_sent_as_it_is(site: Context, path: str) -> None:
    _, headers, body = ask(site, path)
    assert headers["Content-Encoding"] in (None, "identity")
    assert body == ask(site, path, None)[2]
    assert len(body) > 1000


@pytest.mark.parametrize(
    ("coding", "is_taken"),
    [
        ("gzip", True),
        ("deflate, GZIP;q=0.5", True),
        ("x-gzip", True),
        ("*", True),
        ("br, *;q=0.1", True),
        ("gzip;q=0", False),
        ("gzip;q=0.0, *", False),
        ("gzip;q=x", False),
        ("br", False),
        ("identity", False),
        ("", False),
        ("gzip," * 1000, False),
    ],
)
def test_clients_say_whether_they_take_it(site: Context, coding: str, is_taken: bool) -> None:
    assert takes_gzip(coding) == is_taken
    assert (ask(site, "text", coding)[1]["Content-Encoding"] == "gzip") == is_taken


STREAMED = TEXT + "a" * (AT_ONCE + 1)


@pytest.mark.parametrize("path", ["stream", "pieces?text/csv", "pieces?application/x+json"])
@pytest.mark.each_combination
def test_answers_in_pieces_are_compressed(site: Context, path: str) -> None:
    status, headers, body = ask(site, path)
    assert status == 200
    assert (headers["Content-Encoding"], headers["Vary"]) == ("gzip", "Accept-Encoding")
    assert (headers["Content-Length"], headers["Transfer-Encoding"]) == (None, "chunked")
    assert gzip.decompress(body).decode() == STREAMED
    assert len(body) < 2000
    _, headers, body = ask(site, path, None)
    assert (headers["Content-Encoding"], body.decode()) == (None, STREAMED)


def test_clients_of_http_1_0_get_them_until_the_connection_ends(site: Context) -> None:
    with socket.create_connection((site.ip, site.port), timeout=TIMEOUT) as sock:
        sock.sendall(b"GET /site/stream HTTP/1.0\r\nAccept-Encoding: gzip\r\n\r\n")
        assert b"Content-Encoding: gzip" in read_head(sock)
        assert gzip.decompress(read_until_end(sock)).decode() == STREAMED


def test_of_nothing_nothing_is_compressed(site: Context) -> None:
    status, headers, body = ask(site, "nothing")
    assert (status, headers["Content-Encoding"], body) == (200, None, b"")


def read_chunk(sock: socket.socket) -> bytes:
    size = b""
    while not size.endswith(b"\r\n"):
        size += read_bytes(sock, 1)
    return read_bytes(sock, int(size, 16) + 2)[:-2]


@pytest.mark.each_combination
def test_each_piece_can_be_read_once_it_has_come(context: Context) -> None:
    site = Site("site")
    context.spawn(site)
    reader = zlib.decompressobj(31)
    with socket.create_connection((context.ip, context.port), timeout=TIMEOUT) as sock:
        sock.sendall(b"GET /site/slow HTTP/1.1\r\nHost: x\r\nAccept-Encoding: gzip\r\n\r\n")
        site.go.release()
        head = read_head(sock)
        for number, word in enumerate(WORDS):
            if number:
                site.go.release()
            assert reader.decompress(read_chunk(sock)).decode() == word
        assert reader.decompress(read_chunk(sock)) == b""
        assert reader.eof
        assert read_chunk(sock) == b""
    assert b"Content-Encoding: gzip" in head


@pytest.mark.each_combination
def test_a_client_that_does_not_read_holds_up_what_is_compressed(context: Context) -> None:
    site = Site("site")
    context.spawn(site)
    with socket.create_connection((context.ip, context.port), timeout=TIMEOUT) as sock:
        sock.sendall(b"GET /site/endless HTTP/1.1\r\nHost: x\r\nAccept-Encoding: gzip\r\n\r\n")
        read_head(sock)
        before = -1

        def is_held() -> bool:
            nonlocal before
            is_same, before = site.made == before, site.made
            return is_same and ask(context, "text")[0] == 200 and site.made == before

        wait_until(is_held)
        read_bytes(sock, 4 * 2**20)
        wait_until(lambda: site.made > before)
    assert site.ended.wait(TIMEOUT)


def test_what_breaks_in_the_middle_does_not_look_whole(site: Context) -> None:
    with pytest.raises((http.client.IncompleteRead, ConnectionResetError)):
        ask(site, "breaks")


@pytest.fixture
def folder(site: Context, tmp_path: Path) -> Path:
    (tmp_path / "big.txt").write_text(BIG)
    (tmp_path / "small.txt").write_text("s" * 1023)
    (tmp_path / "picture.png").write_text(TEXT)
    (tmp_path / "done.txt.gz").write_text(TEXT)
    Site.folder = tmp_path
    return tmp_path


@pytest.mark.each_combination
def test_files_are_compressed(site: Context, folder: Path) -> None:
    status, headers, body = ask(site, "file?name=big.txt")
    assert (status, headers["Content-Encoding"], headers["X-Test"]) == (200, "gzip", "yes")
    assert headers["Vary"] == "Accept-Encoding"
    assert (headers["Content-Length"], headers["Accept-Ranges"]) == (None, None)
    assert gzip.decompress(body).decode() == BIG
    assert len(body) < len(BIG) / 4
    _, head, nothing = ask(site, "file?name=big.txt", method="HEAD")
    assert (head["Content-Encoding"], head["ETag"], nothing) == ("gzip", headers["ETag"], b"")
    _, plain, body = ask(site, "file?name=big.txt", None)
    assert (plain["Content-Length"], body.decode()) == (str(len(BIG)), BIG)
    assert headers["ETag"] == f"W/{plain['ETag']}"


@pytest.mark.parametrize("name", ["small.txt", "picture.png", "done.txt.gz"])
def test_files_that_are_small_already_are_sent_as_they_are(
    site: Context, folder: Path, name: str
) -> None:
    _, headers, body = ask(site, f"file?name={name}")
    assert (headers["Content-Encoding"], body) == (None, (folder / name).read_bytes())
    assert headers["ETag"].startswith('"')


def test_ranges_are_those_of_the_file_as_it_is(site: Context, folder: Path) -> None:
    path = "file?name=big.txt"
    tags = [ask(site, path, coding)[1]["ETag"] for coding in ("gzip", None)]
    status, headers, body = ask(site, path, Range="bytes=5-9")
    assert (status, headers["Content-Encoding"], body.decode()) == (206, None, BIG[5:10])
    assert headers["ETag"] == tags[1]
    status, headers, body = ask(site, path, Range="bytes=5-9", If_Range=tags[0])
    assert (status, headers["Content-Encoding"]) == (200, "gzip")  # of that there are no ranges
    assert gzip.decompress(body).decode() == BIG
    assert ask(site, path, Range="bytes=5-9", If_Range=tags[1])[0] == 206


def test_a_file_that_is_known_in_gzip_is_not_sent_again(site: Context, folder: Path) -> None:
    path = "file?name=big.txt"
    _, headers, _ = ask(site, path)
    status, again, body = ask(site, path, If_None_Match=headers["ETag"])
    assert (status, again["ETag"], again["Vary"]) == (304, headers["ETag"], "Accept-Encoding")
    assert body == b""
    status, again, _ = ask(site, path, None, If_None_Match=headers["ETag"])
    assert (status, again["ETag"], again["Vary"]) == (304, headers["ETag"][2:], None)


def test_curl_asks_for_it(site: Context) -> None:
    url = f"http://{site.ip}:{site.port}/site/large"
    assert curl("--compressed", url) == LARGE
    assert curl("--compressed", f"http://{site.ip}:{site.port}/site/stream") == STREAMED
    assert int(curl("--compressed", "-o", "/dev/null", "-w", "%{size_download}", url)) < 10_000
