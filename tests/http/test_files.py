"""Files and folders as answers: conditions, ranges, and paths that lead nowhere."""

from __future__ import annotations

import contextlib
import email
import errno
import http.client
import os
import random
import socket
import time
from collections.abc import AsyncGenerator, Callable
from email.utils import formatdate
from pathlib import Path
from typing import Any

import pytest

from compactor import Context, Process, Request, Response, route
from compactor.http.folder import open_below
from compactor.http.ranges import Span, spans_of
from compactor.system import sockets
from tests.actors import TIMEOUT, wait_until
from tests.http.curl import curl, curl_bytes
from tests.raw import read_bytes, read_head

CONTENT = bytes(range(256)) * 8
BIG = 16 * 2**20


def opened_of(*beginnings: object) -> list[str]:
    """What is open whose names begin so."""
    found = []
    for name in os.listdir("/proc/self/fd"):
        with contextlib.suppress(OSError):
            found.append(os.readlink(f"/proc/self/fd/{name}"))
    return [name for name in found if name.startswith(tuple(map(str, beginnings)))]


class Site(Process):
    def __init__(self, folder: Path) -> None:
        super().__init__("site")
        self.folder = folder
        self.begun = 0

    @route("/pieces")
    async def pieces(self, request: Request) -> AsyncGenerator[bytes, None]:
        self.begun += 1
        while True:
            yield bytes(1_000_000)

    @route("/file")
    def file(self, request: Request) -> Response:
        return Response.file(self.folder / "data.bin", headers={"X-Test": "yes"})

    @route("/typed")
    async def typed(self, request: Request) -> Response:
        return Response.file(self.folder / "data.bin", "text/x-data")

    @route("/big")
    def big(self, request: Request) -> Response:
        return Response.file(self.folder / "big")

    @route("/path")
    def path(self, request: Request) -> Response:
        return Response.file(self.folder / request.query["name"])

    @route("/below", methods=["GET"])
    def below(self, request: Request) -> Response:
        return Response.file_below(self.folder / "public", request.below, "index.html")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "data.bin").write_bytes(CONTENT)
    (tmp_path / "empty").touch()
    with (tmp_path / "big").open("wb") as big:
        big.truncate(BIG)  # more than the buffers of the system
    public = tmp_path / "public"
    (public / "sub folder").mkdir(parents=True)
    (public / "index.html").write_text("<p>index")
    (public / "sub folder" / "é.txt").write_text("é", "utf-8")
    (public / "sub folder" / "archive.tar.gz").write_bytes(b"gz")
    (tmp_path / "secret").write_text("secret")
    (tmp_path / "publicity").write_text("secret")
    if hasattr(os, "symlink"):
        (public / "link").symlink_to(tmp_path / "secret")
        (public / "folder-link").symlink_to(tmp_path)
    if hasattr(os, "mkfifo"):
        os.mkfifo(public / "pipe")
    return tmp_path


@pytest.fixture
def site(context: Context, folder: Path) -> Site:
    class Static(Site):
        assets = Process.static("/assets", folder / "public")
        bare = Process.static("/bare", str(folder / "public"), index=None)

    made = Static(folder)
    context.spawn(made)
    return made


Answer = tuple[int, Any, bytes]


def ask(site: Site, path: str, method: str = "GET", **headers: str) -> Answer:
    connection = http.client.HTTPConnection(*site.pid.address, timeout=TIMEOUT)
    given = {name.replace("_", "-"): value for name, value in headers.items()}
    connection.request(method, f"/site/{path}", headers=given)
    with connection.getresponse() as answer:
        found = answer.status, answer.headers, answer.read()
    connection.close()
    return found


@pytest.mark.each_combination
def test_a_file_is_answered_with_what_tells_its_version(site: Site) -> None:
    status, headers, body = ask(site, "file")
    assert (status, body) == (200, CONTENT)
    assert headers["Content-Length"] == str(len(CONTENT))
    assert headers["Content-Type"] == "application/octet-stream"
    assert headers["X-Test"] == "yes"
    assert headers["Accept-Ranges"] == "bytes"
    assert headers["ETag"].startswith('"')
    modified = (site.folder / "data.bin").stat().st_mtime
    assert headers["Last-Modified"] == formatdate(int(modified), usegmt=True)
    assert ask(site, "typed")[1]["Content-Type"] == "text/x-data"


def test_head_of_a_file_has_its_length_alone(site: Site) -> None:
    status, headers, body = ask(site, "file", "HEAD")
    assert (status, headers["Content-Length"], body) == (200, str(len(CONTENT)), b"")


def test_curl_reads_a_large_file_and_goes_on_where_it_left(site: Site, tmp_path: Path) -> None:
    url = site.pid.as_url("big")
    assert curl_bytes(url) == bytes(BIG)
    assert curl_bytes("--http1.0", url) == bytes(BIG)
    there = tmp_path / "there"
    there.write_bytes(bytes(BIG - 10))
    curl("-C", "-", "-o", str(there), url)
    assert there.stat().st_size == BIG


@pytest.mark.each_combination
@pytest.mark.skipif(not hasattr(os, "sendfile"), reason="has no sendfile")
@pytest.mark.parametrize("takes", ["all it can", "little", "nothing"])
def test_the_system_sends_what_it_can_of_a_file_in_order(
    site: Site,
    connect: Callable[[Context], socket.socket],
    monkeypatch: pytest.MonkeyPatch,
    takes: str,
) -> None:
    """The rest is read and written, and answers come behind it."""
    content = random.Random(0).randbytes(BIG)
    (site.folder / "big").write_bytes(content)
    sent: list[int] = []

    def send_file(connection: int, file: int, start: int, size: int) -> int:
        if takes == "nothing":
            size = 0
        elif takes == "little":
            size = min(size, len(sent) * 4321)
        sent.append(real(connection, file, start, size))
        return sent[-1]

    real = sockets.send_file
    monkeypatch.setattr(sockets, "send_file", send_file)
    sock = connect(site.context)
    requests = (b"GET /site/%s HTTP/1.1\r\nHost: x\r\n\r\n" % name for name in (b"big", b"file"))
    sock.sendall(b"".join(requests))
    assert b"Content-Length: %d\r\n" % BIG in read_head(sock)
    if takes == "all it can":
        wait_until(lambda: sent)  # its buffers are full
    assert read_bytes(sock, BIG) == content
    read_head(sock)
    assert read_bytes(sock, len(CONTENT)) == CONTENT
    assert sent
    assert sum(sent) > {"all it can": BIG / 4, "little": 4321, "nothing": -1}[takes]


def test_a_file_that_a_client_has_is_not_sent_again(site: Site, tmp_path: Path) -> None:
    _, headers, _ = ask(site, "file")
    tag, modified = headers["ETag"], headers["Last-Modified"]
    status, headers, body = ask(site, "file", If_None_Match=tag)
    assert (status, headers["ETag"], body) == (304, tag, b"")
    assert ask(site, "file", If_None_Match=f'"x", W/{tag}')[0] == 304
    assert ask(site, "file", If_None_Match="*")[0] == 304
    assert ask(site, "file", "HEAD", If_None_Match=tag)[0] == 304
    assert ask(site, "file", If_None_Match='"x"', If_Modified_Since=modified)[0] == 200
    assert ask(site, "file", If_Modified_Since=modified)[0] == 304
    assert ask(site, "file", If_Modified_Since="Sun, 06 Nov 1994 08:49:37 GMT")[0] == 200
    for wrong in ("yesterday", "Sun, 99 Nov 1994 08:49:37 GMT", "9" * 1000):
        assert ask(site, "file", If_Modified_Since=wrong)[0] == 200
    os.utime(site.folder / "data.bin", (1, 1))
    assert ask(site, "file", If_None_Match=tag)[0] == 200
    etags = tmp_path / "etags"
    assert curl("--etag-save", str(etags), "-o", os.devnull, site.pid.as_url("file")) == ""
    code = curl(
        "--etag-compare",
        str(etags),
        "-w",
        "%{http_code}",
        "-o",
        os.devnull,
        site.pid.as_url("file"),
    )
    assert code == "304"


def test_a_condition_that_does_not_hold_is_told(site: Site) -> None:
    tag = ask(site, "file")[1]["ETag"]
    assert ask(site, "file", If_Match=tag)[0] == 200
    assert ask(site, "file", If_Match='"x"')[0] == 412
    assert ask(site, "file", If_Unmodified_Since="Sun, 06 Nov 1994 08:49:37 GMT")[0] == 412
    assert ask(site, "file", "PUT", If_None_Match=tag)[0] == 412


@pytest.mark.parametrize(
    ("wanted", "start", "stop"),
    [
        ("bytes=0-0", 0, 1),
        ("bytes=10-19", 10, 20),
        ("bytes=2000-", 2000, 2048),
        ("bytes=-5", 2043, 2048),
        ("bytes=-5000", 0, 2048),
        ("bytes=2000-9000", 2000, 2048),
        ("Bytes = 1-2", 1, 3),
        ("bytes=5000-6000, 1-2", 1, 3),
    ],
)
def test_a_range_is_sent_alone(site: Site, wanted: str, start: int, stop: int) -> None:
    status, headers, body = ask(site, "file", Range=wanted)
    assert (status, body) == (206, CONTENT[start:stop])
    assert headers["Content-Range"] == f"bytes {start}-{stop - 1}/2048"
    assert headers["Content-Length"] == str(stop - start)


def test_several_ranges_are_parts(site: Site) -> None:
    status, headers, body = ask(site, "typed", Range="bytes=0-1, 100-104 ,-3")
    assert status == 206
    whole = email.message_from_bytes(
        b"Content-Type: %b\r\n\r\n%b" % (headers["Content-Type"].encode(), body)
    )
    assert headers["Content-Type"].startswith("multipart/byteranges; boundary=")
    parts: Any = whole.get_payload()
    assert [part["Content-Range"] for part in parts] == [
        "bytes 0-1/2048",
        "bytes 100-104/2048",
        "bytes 2045-2047/2048",
    ]
    assert {part["Content-Type"] for part in parts} == {"text/x-data"}
    assert body.count(CONTENT[100:105]) == 1


@pytest.mark.parametrize("wanted", ["bytes=2048-", "bytes=9000-9001,5000-", "bytes=-0"])
def test_a_range_that_there_is_not_is_told(site: Site, wanted: str) -> None:
    status, headers, body = ask(site, "file", Range=wanted)
    assert (status, headers["Content-Range"], body) == (416, "bytes */2048", b"")


@pytest.mark.parametrize(
    "wanted",
    [
        "bytes=5-4",
        "bytes=a-b",
        "bytes=-",
        "bytes=1",
        "lines=1-2",
        "bytes",
        "bytes=1-2,x",
        "bytes=" + ",".join(["0-0"] * 33),
        "bytes=0-," * 100,
        "bytes=0-,0-",
        "bytes=²-",
        "bytes=" + "0" * 2000 + "-1",
    ],
)
def test_what_is_no_range_is_ignored(site: Site, wanted: str) -> None:
    assert spans_of(wanted, 2048) is None
    if wanted.isascii():
        assert ask(site, "file", Range=wanted)[::2] == (200, CONTENT)


def test_a_range_of_an_older_version_is_the_whole(site: Site) -> None:
    _, headers, _ = ask(site, "file")
    for condition in (headers["ETag"], headers["Last-Modified"]):
        assert ask(site, "file", Range="bytes=0-0", If_Range=condition)[0] == 206
    for condition in ('"x"', f"W/{headers['ETag']}", "Sun, 06 Nov 1994 08:49:37 GMT", "x"):
        assert ask(site, "file", Range="bytes=0-0", If_Range=condition)[0] == 200


def test_spans_of_nothing() -> None:
    assert spans_of("bytes=0-", 0) == []
    assert spans_of("bytes=-1", 0) == []
    assert spans_of("bytes=1-1", 2) == [Span(1, 2)]


@pytest.mark.parametrize("name", ["nothing", "public", "public/pipe", "data.bin/x", "x" * 300])
def test_what_is_no_file_is_not_found(site: Site, name: str) -> None:
    status, _, body = ask(site, f"path?name={name}")
    assert (status, body) == (404, b"404 Not Found.")


@pytest.mark.parametrize("base", ["below", "assets", "bare"])
@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("/index.html", ("text/html; charset=utf-8", b"<p>index")),
        ("/sub%20folder/%C3%A9.txt", ("text/plain; charset=utf-8", "é".encode())),
        ("/sub%20folder/archive.tar.gz", ("application/octet-stream", b"gz")),
        ("", ("text/html; charset=utf-8", b"<p>index")),
        ("/", ("text/html; charset=utf-8", b"<p>index")),
    ],
)
def test_a_folder_is_served(site: Site, base: str, path: str, expected: tuple[str, bytes]) -> None:
    status, headers, body = ask(site, base + path)
    if base == "bare" and path in ("", "/"):
        assert status == 404
    else:
        assert (status, headers["Content-Type"], body) == (200, *expected)


TRAVERSALS = [
    "/../secret",
    "/%2e%2e/secret",
    "/%2E%2E%2Fsecret",
    "/..%2fsecret",
    "/%252e%252e/secret",
    "/%252e%252e%252fsecret",
    "/sub%20folder/../../secret",
    "/sub%20folder/%2e%2e/%2e%2e/secret",
    "/./index.html",
    "/%2e/index.html",
    "//secret",
    "/%2fsecret",
    "/..\\secret",
    "/%5c..%5csecret",
    "/link",
    "/folder-link/secret",
    "/folder-link/",
    "/pipe",
    "/index.html%00",
    "/%00",
    "/index.html/x",
    "/sub%20folder",
    "/sub%20folder/",
    "/%zz",
    "/..",
    "/%2e%2e",
    "/..ity",
    "/%c0%ae%c0%ae/secret",
    "/" + "a/" * 5000,
    "/" + "a" * 5000,
]


@pytest.mark.parametrize("base", ["below", "assets"])
@pytest.mark.parametrize("path", TRAVERSALS)
def test_no_path_leads_out_of_a_folder(site: Site, connect: Any, base: str, path: str) -> None:
    sock = connect(site.context)
    sock.sendall(f"GET /site/{base}{path} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
    assert read_head(sock).startswith(b"HTTP/1.1 404 ")


@pytest.mark.parametrize("path", TRAVERSALS)
def test_nor_where_folders_cannot_be_opened(
    folder: Path, path: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("compactor.http.folder._HAS_PLACES", False)
    if path in ("/pipe", "/sub%20folder"):
        return  # found, and refused for what they are
    with pytest.raises((OSError, ValueError)):
        open_below(str(folder / "public"), path, None)[0].close()
    file, _ = open_below(str(folder / "public"), "/sub%20folder/%C3%A9.txt", None)
    with file:
        assert file.read() == "é".encode()


def test_a_folder_serves_reading_alone(site: Site) -> None:
    status, headers, _ = ask(site, "assets/index.html", "POST")
    assert (status, headers["Allow"]) == (405, "GET, HEAD, OPTIONS")


def test_a_client_that_does_not_read_a_file_holds_nobody_up(
    site: Site, connect: Callable[[Context], socket.socket]
) -> None:
    socks = [connect(site.context) for _ in range(4)]
    for sock in socks:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        sock.sendall(b"GET /site/big HTTP/1.1\r\nHost: x\r\n\r\n")
        read_head(sock)
    assert ask(site, "file")[0] == 200
    for sock in socks:
        sock.close()


@pytest.mark.skipif(not os.path.isdir("/proc/self/fd"), reason="tells what is open")
def test_no_file_stays_open(site: Site, connect: Callable[[Context], socket.socket]) -> None:
    def opened() -> int:
        return len(opened_of(site.folder, "socket:"))

    before = opened()
    for _ in range(10):
        sock = connect(site.context)
        sock.sendall(b"GET /site/big HTTP/1.1\r\nHost: x\r\n\r\n")
        time.sleep(0.002)
        sock.close()
        ask(site, "file", "HEAD")
        assert ask(site, "path?name=empty")[2] == b""
        ask(site, "file", If_None_Match="*")
        ask(site, "file", Range="bytes=9999-")
    wait_until(lambda: opened() == before)


@pytest.mark.skipif(not os.path.isdir("/proc/self/fd"), reason="tells what is open")
@pytest.mark.parametrize("path", [b"big", b"pieces"])
def test_of_many_requests_one_answer_in_pieces_is_begun(
    site: Site, connect: Callable[[Context], socket.socket], path: bytes
) -> None:
    """Or one client could have any number of files opened, and read into memory."""
    sock = connect(site.context)
    sock.sendall(b"GET /site/%s HTTP/1.1\r\nHost: x\r\n\r\n" % path * 100)
    read_head(sock)
    for _ in range(3):
        ask(site, "file")
    assert len(opened_of(site.folder / "big")) <= 1
    assert site.begun <= 1
    sock.close()
    wait_until(lambda: not opened_of(site.folder))


@pytest.mark.parametrize("number", [errno.EMFILE, errno.ENFILE, errno.ENOMEM])
def test_who_brings_about_that_no_file_can_be_opened_ends_no_process(
    site: Site, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    def refuse(*_: object, **__: object) -> int:
        raise OSError(number, os.strerror(number))

    with monkeypatch.context() as patched:
        patched.setattr("compactor.http.files.open_path", refuse)
        status, _, body = ask(site, "file")
        assert (status, body) == (503, b"No more files can be opened right now.")
    assert ask(site, "file")[0] == 200
    assert site.context.metrics.handler_failures == 0


def test_a_file_that_becomes_shorter_leaves_its_answer_cut_off(
    site: Site, connect: Callable[[Context], socket.socket]
) -> None:
    connection = http.client.HTTPConnection(*site.pid.address, timeout=TIMEOUT)
    connection.connect()
    connection.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 64 * 1024)
    connection.request("GET", "/site/big")
    answer = connection.getresponse()
    os.truncate(site.folder / "big", 1000)
    with pytest.raises((http.client.IncompleteRead, ConnectionResetError)):
        answer.read()
    answer.close()
    connection.close()


def test_what_is_no_folder_is_refused() -> None:
    with pytest.raises(TypeError, match="a folder"):
        Process.static("/x", 5)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="no path of a request"):
        Process.static("/x//y", "/tmp")
