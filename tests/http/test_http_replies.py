"""What answers say, line by line: bodies that there are none of, headers of the route, and ends."""

from __future__ import annotations

import concurrent.futures
import gzip
import json
import math
import socket
import threading
import zlib
from collections.abc import Callable, Generator
from typing import Any, ClassVar, NamedTuple

import pytest

from compactor import PID, Context, Process, Request, Response, install, route
from compactor.errors import LocalProtocolError
from tests.actors import TIMEOUT, Receiver, spawned
from tests.raw import read_bytes, read_until_end

Connect = Callable[[Context], socket.socket]

COOKIES = [("Set-Cookie", "a=1"), ("Set-Cookie", "b=2"), ("X-One", "1")]


class TaskLike:
    """What ``tornado.gen.Task`` of 0.3.0's time returned: no loop knows it, and none awaits it."""

    def __init__(self, value: Any) -> None:
        self._value = value
        self._done: concurrent.futures.Future[None] = concurrent.futures.Future()
        threading.Thread(target=self._done.set_result, args=(None,)).start()

    def add_done_callback(self, callback: Callable[[Any], None]) -> None:
        self._done.add_done_callback(lambda _: callback(self))

    def result(self) -> Any:
        if isinstance(self._value, Exception):
            raise self._value
        return self._value


class AwaitableTaskLike(TaskLike):
    """What it was from tornado 4.3 to 4.5: it can be awaited, but on no loop of asyncio."""

    def __await__(self) -> Generator[Any, Any, Any]:
        return (yield self)


class Site(Process):
    """Answers with the responses of a table, and with what it is sent."""

    RESPONSES: ClassVar[dict[str, Callable[[], Response]]] = {
        "204": lambda: Response("deleted", 204),
        "205": lambda: Response("reset", 205),
        "304": lambda: Response("same", 304, headers={"ETag": '"1"', "content-length": "4"}),
        "304-bare": lambda: Response(b"", 304),
        "csv": lambda: Response("a;b", headers={"content-TYPE": "text/csv"}),
        "csv-argument": lambda: Response("a;b", content_type="text/csv", headers={"X": "y"}),
        "dated": lambda: Response(b"", headers={"date": "Sun, 06 Nov 1994 08:49:37 GMT"}),
        "measured": lambda: Response(b"abc", headers={"content-length": "3"}),
        "too-long": lambda: Response(b"abc", headers={"content-length": "4"}),
        "kept": lambda: Response(b"", headers={"connection": "Keep-Alive"}),
        "last": lambda: Response(b"", headers={"connection": "x, Close"}),
        "cookies": lambda: Response(b"", headers=COOKIES),
    }

    other: PID

    @route("/response")
    def response(self, request: Request) -> Response:
        return self.RESPONSES[request.path.rpartition("/")[2]]()

    @route("/head-only")
    def head_only(self, request: Request) -> Response:
        return Response(b"", headers={"Content-Length": "12345"})

    @route("/assigned")
    def assigned(self, request: Request) -> Response:
        response = Response(b"x")
        response.headers = {"x-test": "1"}  # type: ignore[assignment]
        response.body = "text"  # type: ignore[assignment]
        return response

    @route("/written")
    def written(self, handler: Any) -> None:
        handler.add_header("Set-Cookie", "a=1")
        handler.add_header("Set-Cookie", "b=2")
        handler.set_header("content-type", "text/csv")
        handler.write("a;b")

    @route("/returned")
    def returned(self, handler: Any) -> dict[str, int]:
        handler.add_header("Set-Cookie", "a=1")
        handler.add_header("Set-Cookie", "b=2")
        return {}

    @route("/nan")
    async def nan(self, request: Request) -> dict[str, float]:
        return {"x": math.nan}

    @route("/nan-written")
    def nan_written(self, handler: Any) -> None:
        handler.write({"x": math.inf})

    @route("/echo")
    def echo(self, request: Request) -> bytes:
        return request.body

    @route("/tasks")
    def tasks(self, handler: Any) -> Generator[Any, Any, None]:
        one = yield TaskLike(1)
        many = yield [TaskLike(2), AwaitableTaskLike(3)]
        named = yield {"a": TaskLike(4), "b": [TaskLike(5)]}
        try:
            yield TaskLike(LookupError("failed"))
        except LookupError as error:
            handler.write({"all": [one, many, named, str(error)]})

    @route("/task")
    def task(self, handler: Any) -> TaskLike:
        handler.set_status(202)
        return TaskLike({"a": 1})

    @route("/dispatched")
    def dispatched(self, request: Request) -> Any:
        return self.context.dispatch(self.other, lambda: "asked another")


class Answer(NamedTuple):
    status: int
    lines: list[tuple[str, str]]  # of the head, names in lower case, without the date
    body: bytes


class Client:
    """A connection on which every answer must end where the next one begins."""

    def __init__(self, sock: socket.socket) -> None:
        self.sock = sock
        sock.settimeout(TIMEOUT)

    def ask(self, path: str, method: str = "GET", version: str = "1.1", extra: str = "") -> Answer:
        head = f"{method} /site/{path} HTTP/{version}\r\nHost: x\r\n{extra}\r\n"
        self.sock.sendall(head.encode())
        return self.answer(method)

    def post(self, body: bytes, coding: str) -> Answer:
        self.sock.sendall(
            b"POST /site/echo HTTP/1.1\r\nHost: x\r\nContent-Encoding: %b\r\n"
            b"Content-Length: %d\r\n\r\n%b" % (coding.encode(), len(body), body)
        )
        return self.answer()

    def answer(self, method: str = "GET") -> Answer:
        head = b""
        while not head.endswith(b"\r\n\r\n"):
            head += read_bytes(self.sock, 1)
        status_line, *rest = head.decode("latin-1").split("\r\n")[:-2]
        assert status_line.startswith("HTTP/1.1 ")
        lines = [(n.lower(), v) for n, _, v in (line.partition(": ") for line in rest)]
        assert sum(name == "date" for name, _ in lines) == 1
        status = int(status_line.split()[1])
        length = dict(lines).get("content-length")
        has_body = method != "HEAD" and status not in (100, 204, 304)
        body = read_bytes(self.sock, int(length or "missing")) if has_body else b""
        return Answer(status, [line for line in lines if line[0] != "date"], body)


@pytest.fixture
def client(context: Context, connect: Connect) -> Client:
    """A connection to a context with a site."""
    context.spawn(Site("site"))
    return Client(connect(context))


def test_each_answer_ends_where_the_next_one_begins(client: Client) -> None:
    text = ("content-type", "text/plain; charset=utf-8")
    found = {
        (method, status): client.ask(f"response/{status}", method)
        for status in ("204", "205", "304", "304-bare")
        for method in ("GET", "HEAD")
    }
    for method in ("GET", "HEAD"):
        assert found[method, "204"] == (204, [text], b"")
        assert found[method, "205"] == (205, [text, ("content-length", "0")], b"")
        assert found[method, "304"] == (
            304,
            [("etag", '"1"'), text, ("content-length", "4")],
            b"",
        )
        assert found[method, "304-bare"] == (304, [], b"")
    assert client.ask("head-only", "HEAD") == (200, [("content-length", "12345")], b"")
    assert client.ask("head-only").status == 500  # it would never end
    assert client.ask("response/too-long", "HEAD").status == 500
    assert client.ask("response/measured", "HEAD") == (200, [("content-length", "3")], b"")


def test_what_a_route_gives_is_sent_once_and_instead_of_ours(client: Client) -> None:
    csv = (200, [("content-type", "text/csv"), ("content-length", "3")], b"a;b")
    empty = ("content-length", "0")
    cookies = [("set-cookie", "a=1"), ("set-cookie", "b=2")]

    assert client.ask("response/csv") == csv
    assert client.ask("response/csv-argument").lines == [
        ("x", "y"),
        ("content-type", "text/csv"),
        ("content-length", "3"),
    ]
    assert client.ask("response/measured") == (200, [("content-length", "3")], b"abc")
    assert client.ask("response/too-long").status == 500
    assert client.ask("response/kept").lines == [("connection", "Keep-Alive"), empty]
    assert client.ask("response/cookies").lines == [*cookies, ("x-one", "1"), empty]
    assert client.ask("written").lines == [*cookies, *csv[1]]
    assert client.ask("returned").lines == [
        ("content-type", "application/json"),
        *cookies,
        ("content-length", "2"),
    ]
    assert client.ask("assigned") == (200, [("x-test", "1"), ("content-length", "4")], b"text")
    client.sock.sendall(b"GET /site/response/dated HTTP/1.1\r\nHost: x\r\n\r\n")
    dated = b"HTTP/1.1 200 OK\r\nDate: Sun, 06 Nov 1994 08:49:37 GMT\r\nContent-Length: 0\r\n\r\n"
    assert read_bytes(client.sock, len(dated)) == dated
    assert client.ask("response/last").lines == [("connection", "x, Close"), empty]
    assert read_until_end(client.sock) == b""


@pytest.mark.parametrize(
    "headers",
    [
        [("Content-Type", "a/b"), ("content-type", "c/d")],
        {"Date": "now", "date": "then"},
        {"Content-Length": "five"},
        {"A b": "c"},
    ],
)
def test_headers_that_cannot_be_sent_are_refused_where_they_are_given(headers: Any) -> None:
    with pytest.raises(LocalProtocolError, match=r"given twice|cannot be sent|number of bytes"):
        Response(headers=headers)


def test_headers_of_a_response_go_by_name_whatever_its_case() -> None:
    headers = Response("x", headers=COOKIES).headers
    assert headers["set-cookie"] == "b=2"
    assert headers.get_list("SET-cookie") == ["a=1", "b=2"]
    assert dict(headers) == {
        "Set-Cookie": "b=2",
        "X-One": "1",
        "Content-Type": headers["content-type"],
    }
    headers.update([("X-Two", "1"), ("x-two", "2")], Allow="GET")
    assert headers.get_list("X-Two") == ["1", "2"]
    headers.update(Response(headers={"x-two": "3"}).headers)
    assert headers.get_list("X-Two") == ["3"]
    del headers["X-TWO"], headers["allow"]
    headers["set-COOKIE"] = "c=3"
    del headers["x-one"], headers["Content-Type"]
    assert headers.get_all() == [("set-COOKIE", "c=3")]
    with pytest.raises(TypeError, match="must be str"):
        headers["X"] = 5  # type: ignore[assignment]


@pytest.mark.parametrize("path", ["nan", "nan-written"])
def test_what_json_has_no_form_for_is_no_answer(client: Client, path: str) -> None:
    assert client.ask(path).status == 500
    with pytest.raises(ValueError, match="JSON"):
        Response.json([math.nan])


@pytest.mark.parametrize(
    ("version", "options", "said"),
    [
        ("1.0", "keep-alive", "keep-alive"),
        ("1.0", "x,  Keep-Alive ,y", "keep-alive"),
        ("1.0", "keep-alive, close", "close"),
        ("1.0", "keep-alives", "close"),
        ("1.0", "", "close"),
        ("1.1", "x, CLOSE", "close"),
        ("1.1", "enclose, close-by", None),
        ("1.1", "", None),
    ],
)
def test_an_answer_says_whether_its_connection_stays(
    client: Client, version: str, options: str, said: str | None
) -> None:
    for path, method in (("echo", "GET"), ("nothing", "HEAD"), ("response/kept", "GET")):
        extra = f"Connection: {options}\r\n" if options else ""
        answer = client.ask(path, method, version, extra)
        if path == "response/kept" and said != "close":
            assert ("connection", "Keep-Alive") in answer.lines
        else:
            assert dict(answer.lines).get("connection") == said
        if said == "close":
            assert read_until_end(client.sock) == b""
            break


class Mailbox(Receiver):
    @install("other")
    def other(self, from_pid: object, body: bytes) -> None: ...


def test_who_waits_before_a_body_is_told_to_go_on(client: Client, context: Context) -> None:
    head = b"POST /site/echo HTTP/1.1\r\nHost: x\r\nExpect: 100-Continue\r\n%b\r\n"
    go_on = b"HTTP/1.1 100 Continue\r\n\r\n"
    for framing, body in (
        (b"Content-Length: 2\r\n", b"hi"),
        (b"Transfer-Encoding: chunked\r\n", b"2\r\nhi\r\n0\r\n\r\n"),
        (b"Content-Encoding: gzip\r\nContent-Length: 22\r\n", gzip.compress(b"hi")),
    ):
        client.sock.sendall(head % framing)
        assert read_bytes(client.sock, len(go_on)) == go_on
        client.sock.sendall(body)
        assert client.answer().body == b"hi"
        client.sock.sendall(head % framing + body)  # who does not wait is not told
        assert client.answer().body == b"hi"
    client.sock.sendall(head % b"Content-Length: 0\r\n")
    assert client.answer().body == b""
    client.sock.sendall((head % b"Content-Length: 2\r\n").replace(b"1.1", b"1.0") + b"hi")
    assert client.answer().body == b"hi"


@pytest.mark.parametrize(
    ("fields", "status"),
    [
        (b"Expect: 100-continue\r\nContent-Length: 99999999999", 413),
        (b"Expect: 200-ok\r\nContent-Length: 5", 417),
        (b"Content-Encoding: br\r\nContent-Length: 5", 415),
        (b"Content-Encoding: gzip, gzip\r\nContent-Length: 5", 415),
        (b"Content-Encoding: gzip\r\nContent-Encoding: deflate\r\nContent-Length: 5", 415),
    ],
)
def test_what_is_not_understood_is_refused_before_its_body_comes(
    client: Client, fields: bytes, status: int
) -> None:
    client.sock.sendall(b"POST /site/echo HTTP/1.1\r\nHost: x\r\n%b\r\n\r\n" % fields)
    answer = client.answer()
    assert (answer.status, dict(answer.lines)["connection"]) == (status, "close")
    assert dict(answer.lines).get("accept-encoding") == ("gzip, deflate" if status == 415 else None)
    client.sock.sendall(b"12345")
    assert read_until_end(client.sock) == b""


@pytest.mark.parametrize(
    ("fields", "status"),
    [("Content-Length: 99999999999", 413), ("Expect: more", 417), ("Host: y", 400)],
)
def test_a_head_that_is_refused_is_answered_without_a_body(
    client: Client, fields: str, status: int
) -> None:
    answer = client.ask("echo", "HEAD", extra=f"{fields}\r\n")
    assert (answer.status, dict(answer.lines)["connection"]) == (status, "close")
    assert read_until_end(client.sock) == b""


def test_messages_of_libprocess_may_expect_anything_and_are_told_nothing(
    client: Client, context: Context
) -> None:
    receiver = spawned(context, Receiver())
    for expected in (b"100-continue", b"anything"):
        client.sock.sendall(
            b"POST /receiver/message HTTP/1.1\r\nUser-Agent: libprocess/x@127.0.0.1:1\r\n"
            b"Expect: %b\r\nContent-Length: 2\r\n\r\n" % expected
        )
        client.sock.sendall(b"hi")
        assert receiver.received.take()[1] == b"hi"
    assert client.ask("echo").status == 200  # the first answer of all


def test_bodies_are_inflated_whatever_their_coding_is_called(client: Client) -> None:
    body = b"hello, " * 100
    bare = zlib.compress(body)[2:-4]
    for coding, data in {
        "GZIP": gzip.compress(body),
        "x-gzip": gzip.compress(body[:300]) + gzip.compress(body[300:]),
        "identity, gzip": gzip.compress(body),
        "Deflate": zlib.compress(body),
        "deflate": bare,
        "identity": body,
        "": body,
    }.items():
        assert client.post(data, coding).body == body
    for coding in ("gzip", "deflate"):
        assert client.post(b"", coding) == (200, [("content-length", "0")], b"")


def test_routes_of_old_may_yield_whatever_has_a_result_some_day(client: Client) -> None:
    assert json.loads(client.ask("tasks").body) == {
        "all": [1, [2, 3], {"a": 4, "b": [5]}, "failed"]
    }


def test_what_a_route_returns_may_have_its_result_some_day(
    client: Client, context: Context
) -> None:
    Site.other = context.spawn(Process("other"))
    text = ("content-type", "text/plain; charset=utf-8")
    assert client.ask("task").body == b'{"a": 1}'
    assert client.ask("dispatched") == (200, [text, ("content-length", "13")], b"asked another")


@pytest.mark.parametrize(
    "host", ["x", "", "x:1", "127.0.0.1:5050", "[::1]:5050", "[fe80::1%25eth0]", "a_b.c-d"]
)
def test_any_host_that_is_one_is_taken(client: Client, host: str) -> None:
    client.sock.sendall(f"GET /site/echo HTTP/1.1\r\nHost: {host}\r\n\r\n".encode())
    assert client.answer().status == 200


def test_options_for_all_of_a_server_are_answered_by_no_process(
    make_context: Callable[..., Context], connect: Connect
) -> None:
    context = make_context(delegate="site")
    context.spawn(Site("site"))
    client = Client(connect(context))
    client.sock.sendall(b"OPTIONS * HTTP/1.1\r\nHost: x\r\n\r\n")
    assert client.answer() == (200, [("content-length", "0")], b"")
    assert client.ask("echo").status == 200
