"""HTTP over raw sockets: order, bytes, collisions with messages, ends, and answers gone wrong."""

from __future__ import annotations

import asyncio
import concurrent.futures
import http.client
import socket
from collections.abc import Callable, Generator
from typing import Any

import pytest

from compactor import PID, Context, Process, Request, Response, Settings, install, route
from tests.actors import TIMEOUT, Events, Receiver, settle, spawned, wait_until

Connect = Callable[[Context], socket.socket]


class Web(Receiver):
    """Answers in many ways; ``slow`` waits for the gate."""

    def __init__(self, name: str = "web") -> None:
        super().__init__(name)
        self.gate = asyncio.Event()
        self.events = Events()

    @route("/fast")
    def fast(self, request: Request) -> str:
        self.events.put("fast")
        return "fast"

    @route("/slow")
    async def slow(self, request: Request) -> str:
        self.events.put("slow")
        await self.gate.wait()
        return "slow"

    @route("/broken")
    def broken(self, request: Request) -> str:
        raise LookupError("broken")

    @route("/broken-later")
    async def broken_later(self, request: Request) -> str:
        await asyncio.sleep(0)
        raise LookupError("broken later")

    @route("/broken-generator")
    def broken_generator(self, handler: Any) -> Generator[Any, Any, None]:
        try:
            yield self.broken_later(handler)
        except LookupError as error:
            handler.write(f"caught {error}")
        yield None
        raise LookupError("in the end")

    @route("/generator")
    def generator(self, handler: Any) -> Generator[Any, Any, None]:
        values = yield [asyncio.sleep(0, "a"), self.context.dispatch(other_pid(self), str, 5)]
        handler.write(",".join(values))

    @route("/caught")
    def caught(self, handler: Any) -> Generator[Any, Any, None]:
        try:
            yield self.broken_later(handler)
        except LookupError as error:
            handler.write(error.args[0])

    @route("/message")
    def page(self, request: Request) -> str:
        return f"{request.method} page"

    @route("/nothing")
    def nothing(self, request: Request) -> None:
        return None

    @route("/number")
    def number(self, request: Request) -> int:
        return 5

    @route("/list")
    def list_(self, request: Request) -> list[int]:
        return [1, 2]

    @route("/dict-written")
    def dict_written(self, handler: Any) -> None:
        handler.write({"a": 1})

    @route("/pieces")
    def pieces(self, handler: Any) -> None:
        handler.write("a")
        handler.write(b"b")
        handler.finish("c")

    @route("/snowman")
    def snowman(self, request: Request) -> Response:
        return Response("ok", headers={"X-Snowman": "\u2603"})

    @route("/late-header")
    def late_header(self, request: Request) -> Response:
        response = Response("ok")
        response.headers["X"] = "a\r\nInjected: yes"
        return response

    @route("/path")
    def path_(self, request: Request) -> str:
        return request.path

    @route("/late-status")
    def late_status(self, request: Request) -> Response:
        response = Response("ok")
        response.status = 999
        return response

    @route("/own-length")
    def own_length(self, handler: Any) -> None:
        handler.set_header("Content-Length", 2)
        handler.write("ok")

    @route("/closing")
    def closing(self, request: Request) -> Response:
        return Response("bye", headers={"connection": "close"})

    @route("/arguments")
    def arguments(self, handler: Any) -> dict[str, Any]:
        values = {n: [v.decode() for v in vs] for n, vs in handler.arguments.items()}
        return {"arguments": values, "query": handler.query}

    @install("note")
    def note(self, from_pid: PID, body: bytes) -> None:
        self.events.put("note")

    def exited(self, pid: PID, reason: Any) -> None:
        self.events.put("exited")

    def finalize(self) -> None:
        self.events.put("finalized")

    def let_go(self) -> None:
        """Open the gate, from any thread."""
        self.context._runtime.run_queue.loop.call_soon_threadsafe(self.gate.set)


def other_pid(process: Process) -> PID:
    """The pid of a second process that answers while ``process`` is busy."""
    return PID(process.pid.ip, process.pid.port, "other")


@pytest.fixture
def web(context: Context) -> Web:
    """A live process with routes."""
    web = Web()
    context.spawn(web)
    context.spawn(Web("other"))
    return web


class Client:
    """A raw connection."""

    def __init__(self, sock: socket.socket) -> None:
        self.sock = sock
        sock.settimeout(TIMEOUT)

    def get(self, *paths: str, method: str = "GET", extra: str = "") -> None:
        """Send requests in one piece."""
        self.send("".join(f"{method} {p} HTTP/1.1\r\nHost: x\r\n{extra}\r\n" for p in paths))

    def send(self, text: str) -> None:
        self.sock.sendall(text.encode())

    def answer(self, method: str = "GET") -> tuple[int, str]:
        """Status and body of the next answer."""
        response = http.client.HTTPResponse(self.sock, method=method)
        response.fp.close()
        # Unbuffered: what belongs to the next answer stays in the socket.
        response.fp = self.sock.makefile("rb", 0)
        response.begin()
        self.headers = response.headers
        status, body = response.status, response.read().decode()
        response.close()
        return status, body


@pytest.fixture
def client(web: Web, connect: Connect) -> Client:
    """A connection to the context of ``web``."""
    return Client(connect(web.context))


def test_pipelined_answers_keep_the_order_of_their_requests(web: Web, client: Client) -> None:
    client.get("/web/slow", "/other/fast", "/nobody", "/other/number")
    assert web.events.take() == "slow"
    other = web.context._processes[other_pid(web)]
    assert other.events.take() == "fast"  # type: ignore[attr-defined]
    settle(other)
    web.let_go()

    assert [client.answer() for _ in range(4)] == [
        (200, "slow"),
        (200, "fast"),
        (404, "404 Not Found."),
        (200, "5"),
    ]


def test_requests_of_one_process_are_served_one_after_another(web: Web, client: Client) -> None:
    client.get("/web/slow", "/web/fast")
    assert web.events.take() == "slow"
    other = web.context._processes[other_pid(web)]
    settle(other)
    assert web.events.is_empty
    web.let_go()

    assert [client.answer(), client.answer()] == [(200, "slow"), (200, "fast")]


def test_answers_to_messages_keep_their_place_among_requests(web: Web, client: Client) -> None:
    client.send(
        "GET /other/slow HTTP/1.1\r\nHost: x\r\n\r\n"
        "POST /web/message HTTP/1.1\r\nLibprocess-From: x@127.0.0.1:1\r\n\r\n"
        "GET /web/fast HTTP/1.1\r\nHost: x\r\n\r\n"
    )
    assert web.received.take() == (PID("127.0.0.1", 1, "x"), b"")
    web.context._processes[other_pid(web)].let_go()  # type: ignore[attr-defined]

    assert [client.answer()[0] for _ in range(3)] == [200, 202, 200]


def test_slow_route_holds_up_no_other_connection(
    web: Web, client: Client, connect: Connect
) -> None:
    client.get("/web/slow")
    assert web.events.take() == "slow"
    second = Client(connect(web.context))
    second.get("/other/fast")
    assert second.answer() == (200, "fast")
    web.let_go()

    assert client.answer() == (200, "slow")


@pytest.mark.parametrize("method", ["GET", "POST", "PUT", "DELETE", "OPTIONS", "PATCH"])
def test_route_whose_name_is_a_message_name_too_works(
    web: Web, client: Client, method: str
) -> None:
    client.get("/web/message", method=method)
    assert client.answer() == (200, f"{method} page")
    client.get("/web/message", method=method, extra="Libprocess-From: x@127.0.0.1:1\r\n")
    if method == "POST":
        assert client.answer() == (202, "")
        assert web.received.take() == (PID("127.0.0.1", 1, "x"), b"")
    else:
        assert client.answer() == (200, f"{method} page")
        assert web.received.is_empty


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("/web/nothing", (200, "")),
        ("/web/number", (200, "5")),
        ("/web/list", (200, "[1, 2]")),
        ("/web/dict-written", (200, '{"a": 1}')),
        ("/web/pieces", (200, "abc")),
        ("/web/generator", (200, "a,5")),
        ("/web/caught", (200, "broken later")),
        ("/web/fast?x=1#y", (200, "fast")),
        ("/web/fast/", (200, "fast")),
        ("/web/fast/deeper", (200, "fast")),
        ("/web", (404, "404 Not Found.")),
        ("/web/fastest", (404, "404 Not Found.")),
        ("/", (404, "404 Not Found.")),
        ("/%zz/fast", (404, "404 Not Found.")),
    ],
)
def test_route_answers(client: Client, path: str, expected: tuple[int, str]) -> None:
    client.get(path)

    assert client.answer() == expected


@pytest.mark.parametrize("path", ["broken", "broken-later", "broken-generator"])
def test_raising_route_is_answered_500_logged_and_counted(
    web: Web, client: Client, path: str, caplog: pytest.LogCaptureFixture
) -> None:
    client.get(f"/web/{path}", "/web/fast")

    assert client.answer() == (500, "500 Internal Server Error.")
    assert client.answer() == (200, "fast")
    assert web.context.metrics.handler_failures == 1
    assert f"{web.pid} failed in request GET /web/{path}" in caplog.text


@pytest.mark.parametrize("path", ["/web/fast", "/web/broken", "/nobody", "/web/list"])
def test_head_has_the_length_but_no_body(client: Client, path: str) -> None:
    client.get(path)
    status, body = client.answer()
    client.get(path, method="HEAD")

    assert client.answer("HEAD") == (status, "")
    assert client.headers["Content-Length"] == str(len(body))
    client.get("/web/fast")
    assert client.answer() == (200, "fast")


@pytest.mark.parametrize("path", ["snowman", "late-header", "late-status"])
def test_answer_that_cannot_be_sent_becomes_a_500(web: Web, client: Client, path: str) -> None:
    client.get(f"/web/{path}", "/web/fast")

    assert client.answer()[0] == 500
    assert client.answer() == (200, "fast")


@pytest.mark.parametrize("before", ["/web/path", "/other/slow"])
def test_text_that_cannot_be_sent_becomes_a_500_and_holds_up_nothing(
    web: Web, client: Client, before: str
) -> None:
    client.sock.sendall(
        f"GET {before} HTTP/1.1\r\nHost: x\r\n\r\nGET /web/path/".encode()
        + b"\xff HTTP/1.1\r\nHost: x\r\n\r\n"
        + b"POST /web/message HTTP/1.1\r\nLibprocess-From: x@127.0.0.1:1\r\n\r\n"
    )
    assert web.received.take() == (PID("127.0.0.1", 1, "x"), b"")
    web.context._processes[other_pid(web)].let_go()  # type: ignore[attr-defined]
    answers = [client.answer() for _ in range(3)]
    assert answers[1] == (500, "500 Internal Server Error.")
    assert [status for status, _ in answers] == [200, 500, 202]
    assert web.context.metrics.handler_failures == 1


def test_answer_has_one_content_length(client: Client) -> None:
    client.get("/web/own-length")

    assert client.answer() == (200, "ok")
    assert client.headers.get_all("Content-Length") == ["2"]


def test_answer_that_says_close_is_the_last(client: Client) -> None:
    client.get("/web/closing", "/web/fast")

    assert client.answer() == (200, "bye")
    assert client.sock.recv(4096) == b""


def test_arguments_and_query_read_the_same(client: Client) -> None:
    client.get("/web/arguments?a=1%3Bd=3;e&&b=%20+x&a=2&c&%66%3d=%zz".replace("%zz", "%5C"))

    assert client.answer() == (
        200,
        '{"arguments": {"a": ["1;d=3;e", "2"], "b": ["  x"], "c": [""], "f=": ["\\\\"]}, '
        '"query": {"a": "2", "b": "  x", "c": "", "f=": "\\\\"}}',
    )


@pytest.mark.parametrize("bound", ["max_pipelined", "max_pipelined_bytes", "mailbox_high_water"])
def test_connection_is_not_read_while_too_many_of_its_requests_wait(
    make_context: Callable[..., Context], connect: Connect, bound: str
) -> None:
    context = make_context(settings=Settings(**{bound: 4}))
    web = spawned(context, Web())
    client = Client(connect(context))
    client.get("/web/slow", *["/web/fast"] * 20)
    assert web.events.take() == "slow"
    (connection,) = context._runtime.server.connections
    wait_until(lambda: connection._gate.is_held)
    web.let_go()

    assert [client.answer()[1] for _ in range(21)] == ["slow", *["fast"] * 20]
    wait_until(lambda: not connection._gate.is_held)


@pytest.mark.parametrize(
    "request_",
    [
        b"POST /web/fast HTTP/1.1\r\nHost: x\r\nContent-Length: 100000\r\n\r\n" + bytes(100_000),
        b"GET /web/fast HTTP/1.1\r\nHost: x\r\n" + b"a:\r\n" * 999 + b"\r\n",
    ],
    ids=["bodies", "headers"],
)
def test_requests_that_wait_are_bounded_in_bytes(
    make_context: Callable[..., Context], connect: Connect, request_: bytes
) -> None:
    web = spawned(make_context(settings=Settings(max_pipelined_bytes=500_000)), Web())
    client = Client(connect(web.context))
    client.get("/web/slow")
    assert web.events.take() == "slow"
    with concurrent.futures.ThreadPoolExecutor() as pool:
        sent = pool.submit(client.sock.sendall, request_ * 50)
        (connection,) = web.context._runtime.server.connections
        wait_until(lambda: connection._gate.is_held)
        assert len(connection._responses.waiting) < 8
        web.let_go()
        assert [client.answer()[1] for _ in range(51)] == ["slow", *["fast"] * 50]
        sent.result(TIMEOUT)
    assert connection._responses.waiting_bytes == 0


def test_answers_that_wait_behind_a_request_are_bounded_in_bytes(
    make_context: Callable[..., Context], connect: Connect
) -> None:
    web = spawned(make_context(settings=Settings(max_pipelined_bytes=5_000)), Web())
    client = Client(connect(web.context))
    client.get("/web/slow")
    assert web.events.take() == "slow"
    message = b"POST /nobody/%b HTTP/1.1\r\nLibprocess-From: x@127.0.0.1:1\r\n\r\n"
    with concurrent.futures.ThreadPoolExecutor() as pool:
        sent = pool.submit(client.sock.sendall, message % (b"x" * 15_000) * 400)
        (connection,) = web.context._runtime.server.connections
        wait_until(lambda: connection._gate.is_held)
        assert len(connection._responses.waiting) < 300
        web.let_go()
        assert client.answer()[1] == "slow"
        answers = bytearray()
        while answers.count(b"404 Not Found.") < 400:
            answers += client.sock.recv(1 << 20)
        assert answers.count(b"HTTP/1.1 404") == 400
        sent.result(TIMEOUT)
    assert connection._responses.waiting_bytes == 0


def test_events_of_all_kinds_share_one_fifo(web: Web, client: Client) -> None:
    client.get("/web/slow")
    assert web.events.take() == "slow"
    other = web.context._processes[other_pid(web)]
    client.send(
        "GET /web/fast HTTP/1.1\r\nHost: x\r\n\r\n"
        "POST /web/note HTTP/1.1\r\nLibprocess-From: x@127.0.0.1:1\r\n\r\n"
        "GET /nobody HTTP/1.1\r\nHost: x\r\n\r\n"
        "GET /other/fast HTTP/1.1\r\nHost: x\r\n\r\n"
    )
    assert other.events.take() == "fast"  # type: ignore[attr-defined]
    web.context.dispatch(web.pid, web.events.put, "dispatched")
    web.link(PID(web.pid.ip, web.pid.port, "nobody"))
    web.terminate(inject=False)
    web.let_go()

    assert web.events.take_many(5) == ["fast", "note", "dispatched", "exited", "finalized"]
    assert [client.answer()[0] for _ in range(4)] == [200, 200, 202, 404]


def test_answer_reaches_a_client_that_sends_no_more(web: Web, client: Client) -> None:
    client.get("/web/slow")
    assert web.events.take() == "slow"
    client.sock.shutdown(socket.SHUT_WR)
    web.let_go()

    assert client.answer() == (200, "slow")
    assert client.sock.recv(4096) == b""


# Ends


def test_terminate_answers_the_served_and_the_queued_requests_500(web: Web, client: Client) -> None:
    watcher = Receiver("watcher")
    web.context.spawn(watcher)
    watcher.link(web.pid)
    client.get("/web/slow", "/web/fast", "/web/slow")
    assert web.events.take() == "slow"
    web.terminate()

    assert [client.answer()[0] for _ in range(3)] == [500, 500, 500]
    assert watcher.exits.take()[0] == web.pid
    client.get("/web/fast", "/other/fast")
    assert [client.answer() for _ in range(2)] == [(404, "404 Not Found."), (200, "fast")]
    assert web.events.take() == "finalized"
    assert web.events.is_empty


def test_async_route_that_is_cancelled_before_its_first_step_is_answered_500(
    web: Web, client: Client
) -> None:
    class Killer(Process):
        @install("kill")
        def kill(self, from_pid: PID, body: bytes) -> None:
            web.terminate()

    web.context.spawn(Killer("killer"))
    client.send(
        "GET /web/slow HTTP/1.1\r\nHost: x\r\n\r\n"
        "POST /killer/kill HTTP/1.1\r\nLibprocess-From: x@127.0.0.1:1\r\n\r\n"
    )

    assert client.answer()[0] == 500
    assert client.answer()[0] == 202


def test_stop_answers_what_is_being_served_then_closes(web: Web, client: Client) -> None:
    client.get("/web/slow")
    assert web.events.take() == "slow"
    web.context.stop()

    assert client.answer()[0] == 500
    assert client.sock.recv(4096) == b""


def test_request_waits_until_initialize_has_returned(context: Context, connect: Connect) -> None:
    other = Receiver("other")
    context.spawn(other)

    class Starting(Web):
        def initialize(self) -> None:
            self.client = Client(connect(self.context))
            self.client.get("/nobody", "/web/fast")
            assert self.client.answer()[0] == 404
            settle(other)
            assert self.events.is_empty

    starting = Starting()
    context.spawn(starting)

    assert starting.client.answer() == (200, "fast")


# Delegate


def test_delegate_serves_what_nobody_else_does(
    make_context: Callable[..., Context], connect: Connect
) -> None:
    context = make_context(delegate="web")
    context.spawn(Web())
    client = Client(connect(context))
    client.get("/fast", "/number/x", "/web/fast", "/unknown")

    assert [client.answer() for _ in range(4)] == [
        (200, "fast"),
        (200, "5"),
        (200, "fast"),
        (404, "404 Not Found."),
    ]


def test_delegate_that_does_not_live_serves_nothing(
    make_context: Callable[..., Context], connect: Connect
) -> None:
    context = make_context(delegate="web")
    client = Client(connect(context))
    client.get("/fast")

    assert client.answer()[0] == 404


def test_overridden_handle_http_sees_every_request(context: Context, connect: Connect) -> None:
    class Seeing(Web):
        def handle_http(self, route: str, handler: Any, *args: Any, **kw: Any) -> Any:
            self.events.put(route)
            return super().handle_http(route, handler, *args, **kw)

    seeing = Seeing()
    context.spawn(seeing)
    client = Client(connect(context))
    client.get("/web/number/x?y")

    assert client.answer() == (200, "5")
    assert seeing.events.take() == "/number"


def test_inherited_and_overridden_routes_serve(context: Context, connect: Connect) -> None:
    class Derived(Web):
        def fast(self, request: Request) -> str:
            return "overridden"

        @route("/renamed")
        def number(self, request: Request) -> int:
            return 6

        list_ = None  # type: ignore[assignment]

    context.spawn(Derived())
    client = Client(connect(context))
    client.get("/web/fast", "/web/renamed", "/web/number", "/web/list", "/web/nothing")

    assert [client.answer() for _ in range(5)] == [
        (200, "overridden"),
        (200, "6"),
        (404, "404 Not Found."),
        (404, "404 Not Found."),
        (200, ""),
    ]
