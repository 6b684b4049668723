"""The other door: HTTP requests without a sender ask ``@answer`` methods."""

from __future__ import annotations

import asyncio
import gzip
import json
import socket
import struct
from collections.abc import Callable
from typing import Any

import pytest

from compactor import PID, Context, Process, Request, Settings, answer, install, route
from compactor.pid import NOBODY
from tests.actors import Receiver, dead_letters, settle, spawned, take_letter, wait_until
from tests.http.test_http_clients import run
from tests.raw import read_answer, read_bytes, read_head

Connect = Callable[[Context], socket.socket]
MakeContext = Callable[..., Context]


class Store(Receiver):
    def __init__(self, name: str = "store") -> None:
        super().__init__(name)
        self.values = {b"k": b"value"}
        self.may_go_on = asyncio.Event()

    @answer("get")
    def get(self, from_pid: PID, key: bytes) -> bytes:
        self.received.put(from_pid)
        return self.values[key]

    @answer("slowly")
    async def slowly(self, from_pid: PID, key: bytes) -> bytes:
        await asyncio.sleep(0)
        return self.values[key]

    @answer("held")
    async def held(self, from_pid: PID, body: bytes) -> bytes:
        self.received.put("held")
        try:
            await self.may_go_on.wait()
        except asyncio.CancelledError:
            self.received.put("cancelled")
            raise
        self.received.put("goes on")
        return body

    @answer("size")
    def size(self, from_pid: PID, body: bytes) -> bytes:
        return b"%d" % len(body)

    @answer("nothing")
    def nothing(self, from_pid: PID, body: bytes) -> None:
        pass

    @answer("text")
    def text(self, from_pid: PID, body: bytes) -> Any:
        return "text"

    @answer("exits")
    def exits_(self, from_pid: PID, body: bytes) -> Any:
        raise SystemExit("on purpose")

    @answer("shut", http=False)
    def shut(self, from_pid: PID, body: bytes) -> bytes:
        return b"shut"

    @install("installed")
    @answer("both")
    def both(self, from_pid: PID, body: bytes) -> bytes:
        return b"both"

    @answer("routed")
    def routed(self, from_pid: PID, body: bytes) -> bytes:
        return b"answer"

    @route("/routed")
    def page(self, request: Request) -> str:
        return "route"

    @answer("below/it")
    def below(self, from_pid: PID, body: bytes) -> bytes:
        return b"answer"

    @route("/below")
    def above(self, request: Request) -> str:
        return "route"


@pytest.fixture
def store(context: Context) -> Store:
    return spawned(context, Store())


def request(path: str, body: bytes = b"", method: str = "POST", **fields: str) -> bytes:
    given = {"Host": "x", "Content-Length": str(len(body)), **fields}
    lines = "".join(f"{name.replace('_', '-')}: {value}\r\n" for name, value in given.items())
    return f"{method} {path} HTTP/1.1\r\n{lines}\r\n".encode() + body


def asked(context: Context, path: str, body: bytes = b"", **kw: Any) -> tuple[int, bytes]:
    with socket.create_connection((context.ip, context.port), 20) as sock:
        sock.sendall(request(path, body, **kw))
        return read_answer(sock)


def reset_on_close(sock: socket.socket) -> None:
    """Have it end as that of a killed client does: one that only closes may still read."""
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


def go_on(store: Store) -> None:
    """Let what is held end."""
    store.context._call(store.may_go_on.set)


@pytest.mark.smoke
@pytest.mark.each_combination
def test_curl_asks(context: Context, store: Store) -> None:
    url = f"http://{store.pid.host}/store/"
    for name in ("get", "slowly"):
        said = run("curl", "-sS", "-i", "-d", "k", url + name)
        head, _, body = said.partition("\n\n")
        assert (head.split("\n")[0], body) == ("HTTP/1.1 200 OK", "value")
        assert "Content-Type: application/octet-stream" in head.split("\n")
    # Several on one connection, and a body that curl sends once it is told to.
    said = run("curl", "-sS", "-d", "k", url + "get", url + "get", "-w", " %{num_connects}\n")
    assert said == "value 1\nvalue 0\n"


def test_curl_sends_a_large_body_once_it_is_told_to(
    context: Context, store: Store, tmp_path: Any
) -> None:
    (tmp_path / "body").write_bytes(bytes(3 << 20))
    wanted = ("--data-binary", f"@{tmp_path / 'body'}", "-H", "Expect: 100-continue")
    url = store.pid.as_url("size")
    assert run("curl", "-sS", "--expect100-timeout", "30", *wanted, url) == str(3 << 20)


def test_the_handler_is_told_that_nobody_known_asks(context: Context, store: Store) -> None:
    assert asked(context, "/store/get", b"k") == (200, b"value")
    assert store.received.take() == NOBODY


def test_nothing_is_answered_as_an_empty_body(context: Context, store: Store) -> None:
    assert asked(context, "/store/nothing") == (200, b"")


def test_a_compressed_body_is_inflated(context: Context, store: Store) -> None:
    body = gzip.compress(b"k")
    assert asked(context, "/store/get", body, Content_Encoding="gzip") == (200, b"value")
    large = gzip.compress(bytes(3 << 20))
    assert asked(context, "/store/size", large, Content_Encoding="gzip") == (200, b"3145728")


@pytest.mark.parametrize(
    "path",
    [
        "/store/unknown",
        "/store/installed",
        "/store/message",
        "/store/shut",
        "/store/get/more",
        "/store//get",
        "/nobody/get",
        "/store/g%65t",
    ],
)
def test_what_is_not_open_is_not_found(context: Context, store: Store, path: str) -> None:
    assert asked(context, path, b"k") == (404, b"404 Not Found.")
    assert store.received.is_empty


def test_a_shut_door_is_open_to_messages(context: Context, store: Store) -> None:
    assert context.ask(store.pid, "shut").result(20) == b"shut"
    assert context.ask(store.pid, "installed").result(20) == b"both"


@pytest.mark.parametrize("method", ["GET", "HEAD", "PUT", "DELETE", "OPTIONS", "PATCH"])
def test_other_methods_than_post_are_not_allowed(
    context: Context, store: Store, method: str
) -> None:
    with socket.create_connection(store.pid.address, 20) as sock:
        sock.sendall(request("/store/get", method=method) + request("/store/get", b"k"))
        head = read_head(sock).decode().split("\r\n")
        assert head[0] == "HTTP/1.1 405 Method Not Allowed"
        assert "Allow: POST" in head
        if method != "HEAD":
            assert read_bytes(sock, 23) == b"405 Method Not Allowed."
        assert read_answer(sock) == (200, b"value")


def test_a_route_comes_first(context: Context, store: Store) -> None:
    for path in ("/store/routed", "/store/below/it"):
        assert asked(context, path) == (200, b"route")
    assert context.ask(store.pid, "below/it").result(20) == b"answer"


def test_an_error_is_told_by_its_type_and_logged(
    context: Context, store: Store, caplog: pytest.LogCaptureFixture
) -> None:
    for name in ("get", "slowly"):
        status, body = asked(context, f"/store/{name}", b"secret")
        assert (status, json.loads(body)) == (500, {"error": "KeyError"})
    status, body = asked(context, "/store/text")
    assert (status, json.loads(body)) == (500, {"error": "TypeError"})
    first, *_ = caplog.records
    said = f"process {store.pid} failed in request POST /store/get from 127.0.0.1"
    assert first.getMessage() == said
    assert first.exc_info is not None
    assert context.metrics.handler_failures == len(caplog.records) == 3


def test_the_text_of_an_error_is_shown_where_a_setting_allows_it(make_context: MakeContext) -> None:
    context = make_context(settings=Settings(http_error_text=True))
    spawned(context, Store())
    status, body = asked(context, "/store/get", b"secret")
    assert (status, json.loads(body)) == (500, {"error": "KeyError", "text": "b'secret'"})


def test_what_ends_programs_ends_none(
    context: Context, store: Store, caplog: pytest.LogCaptureFixture
) -> None:
    status, body = asked(context, "/store/exits")
    assert (status, json.loads(body)) == (500, {"error": "SystemExit"})
    settle(store)
    assert len(caplog.records) == 1
    assert asked(context, "/store/get", b"k") == (200, b"value")


def test_one_that_takes_too_long_is_answered_with_504(make_context: MakeContext) -> None:
    context = make_context(settings=Settings(ask_timeout=0.01))
    store = spawned(context, Store())
    with socket.create_connection(store.pid.address, 20) as sock:
        sock.sendall(request("/store/held"))
        assert read_answer(sock) == (504, b"504 Gateway Time-out.")
    assert store.received.take() == "held"
    assert store.received.take() == "cancelled"  # for nobody waits any more
    settle(store)
    assert not context._runtime.asks.waiting
    assert context.metrics.dead_letters == {}


def test_answers_leave_in_the_order_of_the_requests(
    context: Context, connect: Connect, store: Store
) -> None:
    other = spawned(context, Store("other"))
    sock = connect(context)
    sock.sendall(
        request("/store/held", b"first")
        + request("/other/get", b"k")
        + request("/other/routed")
        + request("/other/unknown")
        + request("/other/get", b"?")
    )
    assert store.received.take() == "held"
    settle(other)
    go_on(store)
    assert read_answer(sock) == (200, b"first")
    assert read_answer(sock) == (200, b"value")
    assert read_answer(sock) == (200, b"route")
    assert read_answer(sock)[0] == 404
    assert read_answer(sock)[0] == 500


def test_the_last_request_of_a_connection_is_answered(context: Context, store: Store) -> None:
    with socket.create_connection(store.pid.address, 20) as sock:
        sock.sendall(request("/store/slowly", b"k", Connection="close"))
        sock.shutdown(socket.SHUT_WR)
        assert read_answer(sock) == (200, b"value")
        assert sock.recv(1) == b""


def test_who_goes_away_cancels_nothing_and_its_answer_is_a_dead_letter(
    context: Context, store: Store
) -> None:
    letters = dead_letters(context)
    with socket.create_connection(store.pid.address, 20) as sock:
        sock.sendall(request("/store/held", b"k"))
        assert store.received.take() == "held"
        assert context._runtime.asks.waiting
        reset_on_close(sock)
    wait_until(lambda: not context._runtime.asks.waiting)
    go_on(store)
    assert store.received.take() == "goes on"
    letter = take_letter(letters)
    assert (letter.reason, letter.name, letter.size) == ("no such process", "held", 1)


def test_an_error_whose_asker_has_gone_is_logged(
    context: Context, store: Store, caplog: pytest.LogCaptureFixture
) -> None:
    class Failing(Store):
        @answer("fails")
        async def fails(self, from_pid: PID, body: bytes) -> None:
            await self.held(from_pid, body)
            raise LookupError("on purpose")

    failing = spawned(context, Failing("failing"))
    with socket.create_connection(failing.pid.address, 20) as sock:
        sock.sendall(request("/failing/fails"))
        assert failing.received.take() == "held"
        reset_on_close(sock)
    wait_until(lambda: not context._runtime.asks.waiting)
    go_on(failing)
    settle(failing)
    assert f"process {failing.pid} failed in message 'fails'" in caplog.text
    assert context.metrics.handler_failures == 1


def test_a_process_that_ends_is_told(context: Context, store: Store) -> None:
    with socket.create_connection(store.pid.address, 20) as sock:
        sock.sendall(request("/store/held") + request("/store/get", b"k"))
        assert store.received.take() == "held"
        store.terminate()
        for _ in range(2):
            status, body = read_answer(sock)
            told = {"error": "AskFailed", "reason": "terminated"}
            assert (status, json.loads(body)) == (500, told)
        sock.sendall(request("/store/get", b"k"))
        assert read_answer(sock)[0] == 404


def test_a_context_that_is_about_to_stop_takes_no_requests(context: Context, store: Store) -> None:
    with socket.create_connection(store.pid.address, 20) as sock:
        sock.sendall(request("/store/held", b"k"))
        assert store.received.take() == "held"
        context.stop(drain=20)
        sock.sendall(request("/store/get", b"k"))
        wait_until(lambda: context._runtime.server.state.is_draining)
        go_on(store)
        assert read_answer(sock) == (200, b"k")
        assert read_answer(sock)[0] in (200, 503)  # it may have come just before


@pytest.mark.parametrize(
    "fields",
    [
        {"Origin": "https://evil.example", "Sec-Fetch-Site": "cross-site"},
        {"Origin": "null"},
        {"Origin": "http://127.0.0.1"},  # what the context itself serves, neither
        {"Sec-Fetch-Site": "same-origin"},
        {"Accept-Language": "en", "Host": "evil.example"},
    ],
)
def test_what_a_page_may_not_send_it_may_not_ask(
    context: Context, store: Store, fields: dict[str, str]
) -> None:
    given = {"Host": "127.0.0.1", **fields}
    for method in ("POST", "GET"):
        assert asked(context, "/store/get", b"k", method=method, **given)[0] == 403
    assert context.metrics.refused_requests == 2
    assert store.received.is_empty


def test_pages_of_an_origin_that_may_send_may_ask(make_context: MakeContext) -> None:
    origin = "https://dashboard.example"
    context = make_context(settings=Settings(allowed_origins=(origin,)))
    spawned(context, Store())
    assert asked(context, "/store/get", b"k", Host="127.0.0.1", Origin=origin) == (200, b"value")


def test_a_form_of_curl_counts_as_no_type(context: Context, store: Store) -> None:
    for kind in ("application/x-www-form-urlencoded", "text/plain", "application/octet-stream"):
        assert asked(context, "/store/get", b"k", Content_Type=kind) == (200, b"value")


def test_protocol_buffers_over_http(context: Context, caplog: pytest.LogCaptureFixture) -> None:
    wrappers = pytest.importorskip("google.protobuf.wrappers_pb2")
    from compactor import ProtobufProcess

    class Length(ProtobufProcess):
        @ProtobufProcess.answer(wrappers.StringValue)
        def length(self, from_pid: PID, message: Any) -> Any:
            return wrappers.Int32Value(value=len(message.value))

        @ProtobufProcess.answer(wrappers.BytesValue, http=False)
        def shut(self, from_pid: PID, message: Any) -> Any:
            return message

    length = spawned(context, Length("length"))
    path, body = "/length/google.protobuf.StringValue", wrappers.StringValue(value="four")
    with socket.create_connection(length.pid.address, 20) as sock:
        sock.sendall(request(path, body.SerializeToString()))
        head = read_head(sock).decode().split("\r\n")
        wanted = "Content-Type: application/x-protobuf; proto=google.protobuf.Int32Value"
        assert head[0] == "HTTP/1.1 200 OK"
        assert wanted in head
        answered = wrappers.Int32Value(value=4).SerializeToString()
        assert read_bytes(sock, len(answered)) == answered
    assert not caplog.records
    status, why = asked(context, path, b"\xff\xff")
    assert status == 400
    assert why.startswith(b"2 bytes do not parse as google.protobuf.StringValue: ")
    assert context.metrics.handler_failures == 1
    assert "do not parse as google.protobuf.StringValue" in caplog.text
    assert asked(context, "/length/google.protobuf.BytesValue")[0] == 404


def test_a_process_that_sees_every_message_sees_requests_that_ask(context: Context) -> None:
    class Seeing(Store):
        def handle_message(self, name: str, from_pid: PID, body: bytes) -> Any:
            self.received.put(name)
            return super().handle_message(name, from_pid, body)

    seeing = spawned(context, Seeing())
    assert asked(context, "/store/slowly", b"k") == (200, b"value")
    assert seeing.received.take() == "slowly"


def test_a_delegate_of_unknown_paths_answers_by_its_routes_alone(make_context: MakeContext) -> None:
    context = make_context(delegate="store")
    spawned(context, Store())
    assert asked(context, "/routed") == (200, b"route")
    assert asked(context, "/get", b"k")[0] == 404


def test_an_override_stays_open_or_shut(context: Context) -> None:
    class Other(Store):
        def get(self, from_pid: PID, key: bytes) -> bytes:
            return b"overridden"

        @answer("slowly", http=False)
        async def slowly(self, from_pid: PID, key: bytes) -> bytes:
            return b"shut"

        @install("size")
        def size(self, from_pid: PID, body: bytes) -> bytes:  # no answer any more
            return b"size"

    other = spawned(context, Other())
    assert context.ask(other.pid, "get").result(20) == b"overridden"
    assert asked(context, "/store/get") == (200, b"overridden")
    assert context.ask(other.pid, "slowly").result(20) == b"shut"
    assert asked(context, "/store/slowly")[0] == 404
    assert asked(context, "/store/size")[0] == 404


def test_a_flood_of_requests_that_ask_is_held_back(make_context: MakeContext) -> None:
    """Who reads no answers cannot have any number of them wait."""
    context = make_context(settings=Settings(max_pipelined=10, mailbox_high_water=20))
    store = spawned(context, Store())
    with socket.create_connection(store.pid.address, 20) as sock:
        sock.sendall(request("/store/held") + request("/store/get", b"k") * 1000)
        assert store.received.take() == "held"
        settle_reading(context)
        assert context._runtime.asks.waiting <= 12
        go_on(store)
        assert read_answer(sock) == (200, b"")
        for _ in range(1000):
            assert read_answer(sock) == (200, b"value")


def settle_reading(context: Context) -> None:
    """Wait until the only connection is held."""

    def is_held() -> bool:
        return any(c._gate.is_held for c in list(context._runtime.server.state.connections))

    wait_until(is_held)


def test_a_process_without_answers_has_no_door(context: Context) -> None:
    spawned(context, Process("plain"))
    assert asked(context, "/plain/get")[0] == 404
