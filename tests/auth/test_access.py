"""Realms, authorizers and disabled endpoints: every way that leads to a route or an answer."""

from __future__ import annotations

import asyncio
import base64
import gzip
import http.client
import logging
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from compactor import Context, Process, Request, Response, Restart, Settings, answer, install, route
from compactor.auth import Access, Authenticator, Basic, Forbidden, Principal, Unauthorized
from compactor.errors import InvalidProcess
from tests.actors import TIMEOUT, wait_until
from tests.raw import frame, read_answer, read_head

MakeContext = Callable[..., Context]
Connect = Callable[[Context], socket.socket]

GOOD = "Basic " + base64.b64encode(b"user:secret").decode()
BAD = "Basic " + base64.b64encode(b"user:wrong").decode()
CHALLENGE = ['Basic realm="ro"']


class Web(Process):
    """Each kind of route and answer, in the realm ``ro`` and outside."""

    def __init__(self, name: str = "web", folder: Path | None = None) -> None:
        super().__init__(name)
        self.served: list[str] = []
        self.go = asyncio.Event()

    @route("/open")
    def open(self, request: Request) -> str:
        return f"open to {request.principal}"

    @route("/plain", realm="ro")
    def plain(self, request: Request) -> str:
        self.served.append("plain")
        return f"plain for {request.principal}"

    @route("/items/{item}", realm="ro")
    def item(self, request: Request) -> str:
        return f"{request.path_params['item']} for {request.principal}"

    @route("/method", methods=["GET"], realm="ro")
    def read(self, request: Request) -> str:
        return f"read by {request.principal}"

    @route("/method", methods=["POST"])
    def write(self, request: Request) -> str:
        return f"written by {request.principal}"

    @route("/up", methods=["PUT"], stream=True, realm="ro")
    async def up(self, request: Request) -> str:
        self.served.append("up")
        size = 0
        async for piece in request.stream():
            size += len(piece)
        return f"{size} from {request.principal}"

    @route("/pieces", realm="ro")
    async def pieces(self, request: Request) -> Any:
        yield f"pieces for {request.principal}"

    @route("/beside", concurrent=True, realm="ro")
    async def beside(self, request: Request) -> str:
        return f"beside for {request.principal}"

    @route("/slow", realm="slow")
    def slow(self, request: Request) -> str:
        self.served.append(request.query["n"])
        return request.query["n"]

    @route("/slow-up", stream=True, realm="slow")
    async def slow_up(self, request: Request) -> str:
        return str(sum([len(piece) async for piece in request.stream()]))

    @answer("asked", realm="ro")
    def asked(self, from_pid: Any, body: bytes) -> bytes:
        self.served.append("asked")
        return b"answered " + body

    @answer("asked-slowly", realm="slow")
    def asked_slowly(self, from_pid: Any, body: bytes) -> bytes:
        return b"answered " + body

    @install("plain")
    def message(self, from_pid: Any, body: bytes) -> None:
        self.served.append("message")


class Slow(Authenticator):
    """Waits until it is told to go on."""

    def __init__(self) -> None:
        self.asked = 0
        self.cancelled = 0
        self.waiting: list[Callable[[], None]] = []

    async def authenticate(self, request: Request) -> str | None:
        self.asked += 1
        gone, loop = asyncio.Event(), asyncio.get_running_loop()
        self.waiting.append(lambda: loop.call_soon_threadsafe(gone.set))
        try:
            await gone.wait()
        except asyncio.CancelledError:
            self.cancelled += 1
            raise
        return None if "Authorization" in request.headers else "slow one"

    def go_on(self) -> None:
        wait_until(lambda: self.waiting)
        self.waiting.pop(0)()


def fetch(
    context: Context, path: str, method: str = "GET", body: bytes | None = None, **headers: str
) -> tuple[int, list[str] | None, str]:
    connection = http.client.HTTPConnection(context.ip, context.port, timeout=TIMEOUT)
    connection.request(method, path, body, headers)
    found = connection.getresponse()
    challenges = found.headers.get_all("WWW-Authenticate")
    text = found.read().decode()
    connection.close()
    return found.status, challenges, text


@pytest.fixture
def slow() -> Slow:
    return Slow()


@pytest.fixture
def web() -> Web:
    return Web()


@pytest.fixture
def make_one() -> Iterator[MakeContext]:
    """What makes contexts of one kind; few tests here are about what differs between kinds."""
    made: list[Context] = []

    def make(**kw: Any) -> Context:
        made.append(Context(ip="127.0.0.1", **kw))
        made[-1].start()
        return made[-1]

    yield make
    for context in made:
        context.stop()
        context.join(10)


@pytest.fixture
def context(make_one: MakeContext, slow: Slow, web: Web) -> Context:
    return guarded(make_one, slow, web)


@pytest.fixture
def each_context(make_context: MakeContext, slow: Slow, web: Web) -> Context:
    """The same of each kind."""
    return guarded(make_context, slow, web)


def guarded(make: MakeContext, slow: Slow, web: Web) -> Context:
    context = make(access=Access({"ro": Basic({"user": "secret"}), "slow": slow}))
    context.spawn(web)
    return context


WAYS = [
    ("GET", "/web/plain", "plain for user"),
    ("GET", "/web/plain/", "plain for user"),
    ("GET", "/web//plain", "plain for user"),
    ("GET", "/%77eb/plain", "plain for user"),
    ("GET", "/web/plain/below", "plain for user"),
    ("POST", "/web/plain", "plain for user"),
    ("HEAD", "/web/plain", ""),
    ("OPTIONS", "/web/plain", "plain for user"),
    ("GET", "/web/items/7", "7 for user"),
    ("GET", "/web/method", "read by user"),
    ("HEAD", "/web/method", ""),
    ("PUT", "/web/up", "4 from user"),
    ("GET", "/web/pieces", "pieces for user"),
    ("GET", "/web/beside", "beside for user"),
    ("POST", "/web/asked", "answered body"),
]


@pytest.mark.each_combination
def test_no_way_leads_around_a_realm(each_context: Context, web: Web) -> None:
    for method, path, expected in WAYS:
        web.served.clear()
        try_way(each_context, web, method, path, expected)


def try_way(context: Context, web: Web, method: str, path: str, expected: str) -> None:
    body = b"body" if method in ("POST", "PUT") else None
    text = "" if method == "HEAD" else "401 Unauthorized."
    for headers in ({}, {"Authorization": BAD}, {"Authorization": "Bearer x"}):
        assert fetch(context, path, method, body, **headers) == (401, CHALLENGE, text)
    assert web.served == []
    for _ in range(2):  # what was remembered of the first
        assert fetch(context, path, method, body, Authorization=GOOD) == (200, None, expected)
    assert fetch(context, path, method, body) == (401, CHALLENGE, text)


def test_what_is_in_no_realm_is_open_and_has_no_principal(context: Context) -> None:
    assert fetch(context, "/web/open", Authorization=GOOD) == (200, None, "open to None")
    assert fetch(context, "/web/method", "POST", b"") == (200, None, "written by None")
    assert fetch(context, "/web/nothing")[0] == 404
    assert fetch(context, "/web/method", "DELETE")[0] == 405


def test_what_has_no_lock_is_remembered_and_what_has_one_is_not(context: Context) -> None:
    for path in ("/web/open", "/web/plain", "/web/method"):
        fetch(context, path, Authorization=GOOD)
    assert set(context._runtime.routes.pages) == {b"/web/open"}


def test_a_refused_body_in_pieces_is_not_kept(context: Context, web: Web, connect: Connect) -> None:
    sock = connect(context)
    sock.sendall(b"PUT /web/up HTTP/1.1\r\nHost: a\r\nContent-Length: 3000000\r\n\r\n")
    assert b" 401 " in read_head(sock).split(b"\r\n")[0]
    sock.recv(17)
    sock.sendall(b"x" * 3_000_000 + b"GET /web/open HTTP/1.1\r\nHost: a\r\n\r\n")
    assert read_answer(sock) == (200, b"open to None")
    assert web.served == []


@pytest.mark.each_combination
def test_a_body_in_pieces_reaches_who_was_let_in(each_context: Context) -> None:
    body = b"x" * 3_000_000
    expected = (200, None, "3000000 from user")
    assert fetch(each_context, "/web/up", "PUT", body, Authorization=GOOD) == expected


def test_a_body_is_not_read_while_nobody_knows_whose_it_is(
    context: Context, slow: Slow, connect: Connect
) -> None:
    sock = connect(context)
    sock.sendall(b"PUT /web/slow-up HTTP/1.1\r\nHost: a\r\nContent-Length: 2000000\r\n\r\n")
    wait_until(lambda: slow.asked)
    sender = threading.Thread(target=sock.sendall, args=(b"x" * 2_000_000,))
    sender.start()
    slow.go_on()
    assert read_answer(sock) == (200, b"2000000")
    sender.join()


def test_messages_are_in_no_realm(context: Context, web: Web, connect: Connect) -> None:
    sock = connect(context)
    sock.sendall(frame(web.pid, "plain"))
    assert read_answer(sock)[0] == 202
    sock.sendall(frame(web.pid, "items/7"))  # and reach no route
    assert read_answer(sock)[0] == 202
    wait_until(lambda: web.served == ["message"])


def test_compressed_bodies_are_judged_as_others(context: Context) -> None:
    body, coding = gzip.compress(b"x" * 100_000), {"Content-Encoding": "gzip"}
    assert fetch(context, "/web/plain", "POST", body, **coding)[0] == 401
    assert fetch(context, "/web/asked", "POST", body, **coding)[0] == 401
    found = fetch(context, "/web/plain", "POST", body, Authorization=GOOD, **coding)
    assert found[::2] == (200, "plain for user")


def test_a_delegate_serves_behind_its_realms(make_one: MakeContext) -> None:
    context = make_one(
        delegate="web", access=Access({"ro": Basic({"user": "secret"}), "slow": None})
    )
    context.spawn(Web())
    assert fetch(context, "/plain") == (401, CHALLENGE, "401 Unauthorized.")
    assert fetch(context, "/plain", Authorization=GOOD) == (200, None, "plain for user")


def test_static_folders_may_be_in_a_realm(make_one: MakeContext, tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("text")
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "b.txt").write_text("below")

    class Site(Process):
        files = Process.static("/files", tmp_path, realm="ro")

    context = make_one(access=Access({"ro": Basic({"user": "secret"})}))
    context.spawn(Site("site"))
    for path, text in (("/site/files/a.txt", "text"), ("/site/files/sub/b.txt", "below")):
        assert fetch(context, path)[0] == 401
        assert fetch(context, path, Authorization=GOOD)[::2] == (200, text)


def test_a_realm_without_authenticator_lets_everybody_in(make_one: MakeContext) -> None:
    context = make_one(access=Access({"ro": None, "slow": None}))
    context.spawn(Web())
    assert fetch(context, "/web/plain") == (200, None, "plain for None")
    assert b"/web/plain" in context._runtime.routes.pages


@pytest.mark.parametrize(
    "access", [None, Access(), Access({"ro": None}), Access({"slow": None, "r": None})]
)
def test_a_realm_that_a_context_does_not_know_is_an_error_of_the_spawn(
    make_one: MakeContext, access: Access | None
) -> None:
    context = make_one(access=access)
    with pytest.raises(InvalidProcess, match=r"of Web is in the realm '(ro|slow)', which its"):
        context.spawn(Web())
    assert fetch(context, "/web/plain")[0] == 404


@pytest.mark.parametrize("field", ["authorizers", "disabled_endpoints"])
def test_a_misspelt_endpoint_is_an_error_of_the_spawn(make_one: MakeContext, field: str) -> None:
    named: Any = {"/web/plian": lambda *_: True} if field == "authorizers" else ["/web/plian"]
    context = make_one(access=Access({"ro": None, "slow": None}, **{field: named}))
    with pytest.raises(InvalidProcess, match=r"'/web/plian', and Web has none such; it has /web/a"):
        context.spawn(Web())
    context.spawn(Web("web2"))


def test_who_is_made_anew_is_still_behind_its_realm(make_one: MakeContext) -> None:
    class Fragile(Web):
        @install("fail")
        def fail(self, from_pid: Any, body: bytes) -> None:
            raise RuntimeError("on purpose")

    context = make_one(access=Access({"ro": Basic({"user": "secret"}), "slow": None}))
    made: list[Fragile] = []

    def make() -> Fragile:
        made.append(Fragile())
        return made[-1]

    pid = context.spawn(make, on_failure=Restart())
    context.post(pid, "fail")
    wait_until(lambda: len(made) == 2)
    assert fetch(context, "/web/plain")[0] == 401
    assert fetch(context, "/web/plain", Authorization=GOOD)[0] == 200


def test_requests_that_wait_for_a_process_go_to_the_one_after_it(
    make_one: MakeContext, connect: Connect
) -> None:
    class Held(Web):
        @install("fail")
        async def fail(self, from_pid: Any, body: bytes) -> None:
            made.append(self)
            await self.go.wait()
            raise RuntimeError("on purpose")

    made: list[Held] = []
    context = make_one(access=Access({"ro": Basic({"user": "secret"}), "slow": None}))
    pid = context.spawn(Held, on_failure=Restart())
    context.post(pid, "fail")
    wait_until(lambda: made)
    first, second = connect(context), connect(context)
    user = f"Authorization: {GOOD}"
    first.sendall(get(f"/{pid.id}/plain", user))
    second.sendall(get(f"/{pid.id}/up", user, "Content-Length: 9").replace(b"GET", b"PUT", 1))
    second.sendall(b"12345")
    mailbox = context._registry.live[pid.id]
    wait_until(lambda: len(mailbox.queue) == 2)
    context._portal.post(made[0].go.set)
    second.sendall(b"6789")
    assert read_answer(first) == (200, b"plain for user")
    assert read_answer(second) == (200, b"9 from user")


# Authenticators that are waited for


def get(path: str, *headers: str) -> bytes:
    lines = [f"GET {path} HTTP/1.1", "Host: a", *headers, "", ""]
    return "\r\n".join(lines).encode()


@pytest.mark.each_combination
def test_answers_and_handlers_stay_in_order_and_others_do_not_wait(
    each_context: Context, slow: Slow, web: Web, connect: Connect
) -> None:
    held, other = connect(each_context), connect(each_context)
    held.sendall(
        get("/web/slow?n=1") + get("/web/open") + get("/web/slow?n=2", "Authorization: no")
    )
    held.sendall(get("/web/slow?n=3") + get("/web/plain"))
    wait_until(lambda: slow.asked)
    other.sendall(get("/web/open"))
    assert read_answer(other) == (200, b"open to None")
    assert slow.asked == 1  # one for a connection
    for _ in range(3):
        slow.go_on()
    answers = [read_answer(held) for _ in range(5)]
    assert answers == [
        (200, b"1"),
        (200, b"open to None"),
        (401, b"401 Unauthorized."),
        (200, b"3"),
        (401, b"401 Unauthorized."),
    ]
    assert web.served == ["1", "3"]


def test_asks_wait_for_it_too(context: Context, slow: Slow, connect: Connect) -> None:
    sock = connect(context)
    sock.sendall(b"POST /web/asked-slowly HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nme")
    sock.sendall(get("/web/open"))
    slow.go_on()
    assert [read_answer(sock), read_answer(sock)] == [(200, b"answered me"), (200, b"open to None")]


def test_what_takes_too_long_is_answered_for(
    make_one: MakeContext, slow: Slow, connect: Connect, caplog: pytest.LogCaptureFixture
) -> None:
    context = make_one(
        access=Access({"ro": None, "slow": slow}), settings=Settings(access_timeout=0.05)
    )
    context.spawn(Web())
    sock = connect(context)
    sock.sendall(get("/web/slow?n=1") + get("/web/open"))
    assert [read_answer(sock)[0], read_answer(sock)[0]] == [503, 200]
    assert slow.cancelled == 1
    assert "cannot be said: it takes longer than 0.05 s" in caplog.text


def test_who_leaves_is_not_waited_for(context: Context, slow: Slow, connect: Connect) -> None:
    sock = connect(context)
    sock.sendall(get("/web/slow?n=1"))
    wait_until(lambda: slow.asked)
    context.stop()
    wait_until(lambda: slow.cancelled)


def test_a_process_that_has_ended_meanwhile_serves_nobody(
    context: Context, slow: Slow, web: Web, connect: Connect
) -> None:
    sock = connect(context)
    sock.sendall(get("/web/slow?n=1"))
    wait_until(lambda: slow.asked)
    context.terminate(web.pid)
    wait_until(lambda: "web" not in context._registry.live)
    slow.go_on()
    assert read_answer(sock)[0] == 503
    assert web.served == []


# What functions say


class One(Process):
    @route("/one", realm="x")
    def one(self, request: Request) -> Any:
        principal = request.principal
        return [str(principal), dict(principal.claims)] if principal else None

    @route("/any")
    def any(self, request: Request) -> str:
        return f"any for {request.principal}"


SECRET = "s3cr3t-t0ken"


def raises(request: Request) -> str:
    raise ValueError(f"bad token {request.headers['Authorization']}")


async def raises_later(request: Request) -> str:
    await asyncio.sleep(0)
    return raises(request)


async def cancels(request: Request) -> str:
    await asyncio.sleep(0)
    raise asyncio.CancelledError


@pytest.mark.parametrize(
    ("given", "status", "challenges"),
    [
        (lambda _: "ann", 200, None),
        (lambda _: Principal("ann", {"team": 1}), 200, None),
        (lambda _: Principal(claims={"team": 1}), 200, None),
        (lambda _: None, 401, ['Bearer realm="x"']),
        (lambda _: Unauthorized(scheme="Mac"), 401, ['Mac realm="x"']),
        (
            lambda _: Unauthorized("x", {"error": 'a"b\\c'}),
            401,
            ['Bearer realm="x", error="a\\"b\\\\c"'],
        ),
        (lambda _: Forbidden(), 403, None),
        ([lambda _: None, lambda _: "ann"], 200, None),
        (
            [lambda _: None, Basic({"a": "b"}), lambda _: Forbidden()],
            401,
            ['Bearer realm="x"', 'Basic realm="x"'],
        ),
        ([lambda _: Forbidden(), lambda _: Forbidden()], 403, None),
        (lambda _: True, 500, None),
        (lambda _: "", 500, None),
        (lambda _: Unauthorized("x", {"error": "a\r\nSet-Cookie: b"}), 500, None),
        (raises, 500, None),
        (raises_later, 500, None),
        (cancels, 503, None),
    ],
)
def test_what_authenticators_say(
    make_one: MakeContext,
    caplog: pytest.LogCaptureFixture,
    given: Any,
    status: int,
    challenges: list[str] | None,
) -> None:
    context = make_one(access=Access({"x": given}))
    context.spawn(One("one"))
    found = fetch(context, "/one/one", Authorization=f"Bearer {SECRET}")
    assert found[:2] == (status, challenges)
    assert SECRET not in caplog.text
    assert SECRET not in found[2]
    assert not [record for record in caplog.records if record.exc_info]


@pytest.mark.parametrize(
    ("said", "status"), [(True, 200), (False, 403), (None, 500), (1, 500), (raises, 500)]
)
@pytest.mark.parametrize("is_async", [False, True])
def test_what_authorizers_say(
    make_one: MakeContext, said: Any, status: int, is_async: bool
) -> None:
    asked: list[Any] = []

    def plain(request: Request, principal: Principal | None) -> Any:
        asked.append((request.path, principal))
        return said(request) if callable(said) else said

    async def later(request: Request, principal: Principal | None) -> Any:
        await asyncio.sleep(0)
        return plain(request, principal)

    authorizer = later if is_async else plain
    access = Access({"x": lambda _: "ann"}, {"/one/one": authorizer, "/one/any": authorizer})
    context = make_one(access=access)
    context.spawn(One("one"))
    assert fetch(context, "/one/one", Authorization=SECRET)[0] == status
    assert fetch(context, "/one/any", Authorization=SECRET)[0] == status
    assert asked == [("/one/one", Principal("ann")), ("/one/any", None)]


def test_authorizers_are_for_endpoints_and_not_asked_who_is_not_known(
    make_one: MakeContext,
) -> None:
    asked: list[str] = []

    def authorizer(request: Request, principal: Principal | None) -> bool:
        asked.append(request.path)
        return True

    endpoints = ("/web/items/{item}", "/web/asked")
    access = Access(
        {"ro": Basic({"user": "secret"}), "slow": None}, dict.fromkeys(endpoints, authorizer)
    )
    context = make_one(access=access)
    context.spawn(Web())
    for headers in ({}, {"Authorization": GOOD}):
        fetch(context, "/web/items/7", **headers)
        fetch(context, "/web/plain", **headers)
        fetch(context, "/web/asked", "POST", b"", **headers)
    assert asked == ["/web/items/7", "/web/asked"]


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/web/open", 403),
        ("/web/open/", 403),
        ("/web//open", 403),
        ("/%77eb/open", 403),
        ("/web/open/below", 403),
        ("/web/items/7", 403),
        ("/web/items/%37", 403),
        ("/web/items/8", 200),
        ("/nobody/there", 403),
        ("/web/plain", 200),
    ],
)
def test_disabled_endpoints_in_every_spelling(
    make_one: MakeContext, path: str, status: int
) -> None:
    disabled = ["/web/open", "/web/items/7", "/nobody/there"]
    context = make_one(access=Access({"ro": None, "slow": None}, None, disabled))
    context.spawn(Web())
    for _ in range(2):
        found = fetch(context, path)
        assert found[0] == status
    if status == 403:
        assert found[2] in [f"Endpoint '{endpoint}' is disabled" for endpoint in disabled]


@pytest.mark.parametrize(
    "path",
    [
        *("/web/open/secret", "/web/open//secret", "/web//open//secret/"),
        *("/open/secret", "//open//secret", "/open/%73ecret", "/items/7"),
    ],
)
def test_what_is_disabled_below_a_route_is_so_by_the_delegate_too(
    make_one: MakeContext, path: str
) -> None:
    access = Access({"ro": None, "slow": None}, None, ["/web/open/secret", "/web/items/7"])
    context = make_one(access=access, delegate="web")
    context.spawn(Web())
    for _ in range(2):
        assert fetch(context, path)[0] == 403
    assert fetch(context, "/open/other")[0] == fetch(context, "/web/open//other")[0] == 200


def test_many_failures_are_counted_and_few_are_logged(
    context: Context, caplog: pytest.LogCaptureFixture, connect: Connect
) -> None:
    caplog.set_level(logging.WARNING)
    sock = connect(context)
    for _ in range(50):
        sock.sendall(get("/web/plain", f"Authorization: {BAD}"))
        assert read_answer(sock)[0] == 401
    sock.sendall(get("/web/plain"))
    assert read_answer(sock)[0] == 401
    assert context.metrics.refused_credentials == 50
    assert context.metrics.snapshot()["refused_credentials"] == 50
    lines = [record for record in caplog.records if "credentials" in record.getMessage()]
    assert 1 <= len(lines) <= 25


def test_what_is_answered_can_be_json(context: Context) -> None:
    found = fetch(context, "/web/plain", Accept="application/json")
    assert found[1:] == (
        CHALLENGE,
        '{"status": 401, "error": "Unauthorized", "message": "401 Unauthorized."}',
    )


def test_who_overrides_handle_http_sees_what_is_let_in_alone(make_one: MakeContext) -> None:
    seen: list[str] = []

    class Watching(One):
        def handle_http(self, route: str, handler: Any, *args: Any, **kw: Any) -> Any:
            seen.append(f"{route} {handler.principal}")
            return Response("seen")

    context = make_one(access=Access({"x": Basic({"user": "secret"})}))
    context.spawn(Watching("one"))
    assert fetch(context, "/one/one")[0] == 401
    assert fetch(context, "/one/one", Authorization=GOOD)[0] == 200
    assert seen == ["/one user"]


def test_nothing_reaches_a_route_behind_the_back_of_the_guard(context: Context) -> None:
    page = context._runtime.find_route(b"/web/plain")
    assert page is not None
    assert page[1](Request("GET", "/web/plain")).status == 403


def test_a_context_without_any_of_it_imports_none_of_it() -> None:
    program = """
import sys
from compactor import Context, Process, route
class Web(Process):
    @route("/a", concurrent=True)
    async def a(self, request): return str(request.principal)
context = Context(ip="127.0.0.1")
pid = context.spawn(Web("web"))
import urllib.request
print(urllib.request.urlopen(pid.as_url("a")).read())
context.stop()
print([m for m in sys.modules if m.startswith(("compactor.auth", "jwt"))])
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.stdout == "b'None'\n[]\n", done.stderr
