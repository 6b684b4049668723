"""Who is refused by the head of a request is told so before its body comes."""

from __future__ import annotations

import base64
import gzip
import socket
import threading
import tracemalloc
from collections.abc import Callable

import pytest

from compactor import Context, Process, Request, route
from compactor.auth import Access, Authenticator, Basic, hash_password
from tests.actors import TIMEOUT
from tests.raw import read_answer, read_head, read_until_end

MakeContext = Callable[..., Context]

SIZE = 100 * 2**20
WEAK = "secret"
HASHED = hash_password("of many")


def told(user: str, password: str) -> str:
    return f"Authorization: Basic {base64.b64encode(f'{user}:{password}'.encode()).decode()}\r\n"


class Web(Process):
    def __init__(self) -> None:
        super().__init__("web")
        self.go = threading.Event()

    @route("/open")
    def open(self, request: Request) -> str:
        return f"open {len(request.body)}"

    @route("/plain", realm="plain")
    def plain(self, request: Request) -> str:
        return f"{len(request.body)} of {request.principal}"

    @route("/hashed", realm="hashed")
    def hashed(self, request: Request) -> str:
        return f"{len(request.body)} of {request.principal}"

    @route("/signed", realm="signed")
    def signed(self, request: Request) -> str:
        return f"{len(request.body)} of {request.principal}"

    @route("/own", realm="own")
    def own(self, request: Request) -> str:
        return f"{len(request.body)} of {request.principal}"

    @route("/up", stream=True, realm="plain")
    async def up(self, request: Request) -> str:
        return f"{sum([len(piece) async for piece in request.stream()])} of {request.principal}"

    @route("/off")
    def off(self, request: Request) -> str:
        return "off"

    @route("/judged")
    def judged(self, request: Request) -> str:
        return "judged"


class Own(Authenticator):
    """Looks at the head alone, and says so."""

    reads_body = False

    def authenticate(self, request: Request) -> str | None:
        return request.headers.get("X-User")


def signs(request: Request) -> str | None:
    return "signer" if request.body.endswith(b"signed") else None


@pytest.fixture
def site(make_context: MakeContext) -> Context:
    access = Access(
        {
            "plain": Basic({"user": WEAK}),
            "hashed": Basic({"user": HASHED}),
            "signed": signs,
            "own": Own(),
        },
        authorizers={"/web/judged": lambda request, _: request.body == b"x" * 20},
        disabled_endpoints=["/web/off"],
    )
    context = make_context(access=access)
    context.spawn(Web())
    return context


def dial(context: Context) -> socket.socket:
    return socket.create_connection((context.ip, context.port), timeout=TIMEOUT)


def head(path: str, size: int, more: str = "") -> bytes:
    return f"POST /web/{path} HTTP/1.1\r\nHost: a\r\nContent-Length: {size}\r\n{more}\r\n".encode()


EXPECTS = "Expect: 100-continue\r\n"
OPEN = head("open", 0)
REFUSED = [
    ("plain", "", 401),
    ("plain", told("user", "wrong"), 401),
    ("hashed", "", 401),
    ("hashed", told("user", "wrong"), 401),
    ("own", "", 401),
    ("off", "", 403),
]


@pytest.mark.parametrize(("path", "more", "status"), REFUSED)
@pytest.mark.each_combination
def test_a_refused_body_is_never_kept(site: Context, path: str, more: str, status: int) -> None:
    size = 2**24 if more else SIZE
    with dial(site) as sock:
        sock.sendall(head(path, size, more) + b"x" * 1000)
        assert read_answer(sock)[0] == status
        tracemalloc.start()
        try:
            piece = bytes(2**20)
            for _ in range(size // 2**20 - 1):
                sock.sendall(piece)
            assert tracemalloc.get_traced_memory()[1] < 8 * 2**20
        finally:
            tracemalloc.stop()
        sock.sendall(bytes(2**20 - 1000) + OPEN)
        assert read_answer(sock) == (200, b"open 0")
    assert site.metrics.denied_requests + site.metrics.refused_credentials <= 1


@pytest.mark.parametrize(("path", "more", "status"), [*REFUSED, ("up", "", 401)])
@pytest.mark.each_combination
def test_who_asks_before_it_sends_a_body_is_refused_instead(
    site: Context, path: str, more: str, status: int
) -> None:
    with dial(site) as sock:
        sock.sendall(OPEN + head(path, SIZE, more + EXPECTS))
        assert read_answer(sock) == (200, b"open 0")
        lines = read_head(sock).split(b"\r\n")
        assert int(lines[0].split()[1]) == status
        assert b"Connection: close" in lines
        sock.sendall(b"x" * 2**20 + OPEN)  # of which nothing is a request
        assert b"HTTP/1.1" not in read_until_end(sock)


@pytest.mark.parametrize(
    ("path", "more"),
    [
        ("plain", told("user", WEAK)),
        ("hashed", told("user", "of many")),
        ("own", "X-User: user\r\n"),
        ("up", told("user", WEAK)),
    ],
)
@pytest.mark.parametrize("expects", ["", EXPECTS])
@pytest.mark.each_combination
def test_who_is_let_in_has_its_body_served(
    site: Context, path: str, more: str, expects: str
) -> None:
    size = 3_000_000
    with dial(site) as sock:
        for _ in range(2):
            sock.sendall(head(path, size, more + expects))
            if expects:
                assert read_head(sock) == b"HTTP/1.1 100 Continue\r\n\r\n"
            sock.sendall(b"x" * size + OPEN)
            assert read_answer(sock) == (200, f"{size} of user".encode())
            assert read_answer(sock) == (200, b"open 0")


@pytest.mark.parametrize("expects", ["", EXPECTS])
def test_who_looks_at_bodies_is_asked_once_they_are_there(site: Context, expects: str) -> None:
    body = b"x" * 14 + b"signed"
    for path, good, bad in (
        ("signed", (200, b"20 of signer"), 401),
        ("judged", (200, b"judged"), 403),
    ):
        with dial(site) as sock:
            for sent in (body, b"x" * 20):
                sock.sendall(head(path, len(sent), expects))
                if expects:
                    assert read_head(sock) == b"HTTP/1.1 100 Continue\r\n\r\n"
                sock.sendall(sent[:5])
                sock.sendall(sent[5:])
                found = read_answer(sock)
                is_good = (sent == body) == (path == "signed")
                assert found == good if is_good else found[0] == bad


@pytest.mark.parametrize("path", ["plain", "up", "hashed"])
@pytest.mark.each_combination
def test_refusals_come_behind_what_was_asked_before(site: Context, path: str) -> None:
    """Also behind a body that takes its time to be inflated."""
    packed = gzip.compress(bytes(2**24))
    before = head("open", len(packed), "Content-Encoding: gzip\r\n") + packed
    with dial(site) as sock:
        sock.sendall(before + head(path, 10) + b"x")
        assert read_answer(sock) == (200, f"open {2**24}".encode())
        assert read_answer(sock)[0] == 401
        sock.sendall(b"x" * 9 + before + head(path, 10, EXPECTS))
        assert read_answer(sock) == (200, f"open {2**24}".encode())
        assert b" 401 " in read_head(sock)


def test_a_client_that_leaves_while_it_is_looked_at_leaves_nothing(site: Context) -> None:
    with dial(site) as sock:
        sock.sendall(head("hashed", SIZE, told("user", "wrong") + EXPECTS))
    with dial(site) as sock:
        sock.sendall(OPEN)
        assert read_answer(sock) == (200, b"open 0")


def test_a_chunked_body_is_refused_as_well(site: Context) -> None:
    begin = b"POST /web/plain HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nab"
    with dial(site) as sock:
        sock.sendall(begin)
        assert read_answer(sock)[0] == 401
        sock.sendall(b"cde\r\n0\r\n\r\n" + OPEN)
        assert read_answer(sock) == (200, b"open 0")
