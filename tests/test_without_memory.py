"""Without memory: connections that find none are cut, and everything else goes on."""

from __future__ import annotations

import asyncio
import socket
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import pytest

from compactor import PID, Response
from compactor.actor.backlog import Backlog
from compactor.actor.mailbox import IDLE
from compactor.http.exchange import Exchange
from compactor.net import flow_control
from compactor.runtime.hot_path import Backend
from compactor.system import sockets
from compactor.wire.request_head import parse_head
from tests.actors import TIMEOUT
from tests.backends import EACH_KIND

PROGRAM = """
import asyncio, resource, sys
from compactor import Context, Process, install, route
from compactor.runtime import hot_path

loop_of, kind = sys.argv[1:]
hot_path.chosen = hot_path.backend(kind)
loop = asyncio.new_event_loop() if loop_of == "asyncio" else __import__("uvloop").new_event_loop()

class Web(Process):
    @install("message")
    def message(self, from_pid, body):
        pass

    @route("/small")
    def small(self, request):
        return "small"

    @route("/large")
    def large(self, request):
        return b"x" * int(request.query["size"])

    @route("/later")
    async def later(self, request):
        await asyncio.sleep(0)
        return b"x" * int(request.query["size"])

context = Context(ip="127.0.0.1", loop=loop)
web = context.spawn(Web("web"))
context.dispatch(web, lambda: None).result(5)
with open("/proc/self/statm") as file:
    used = int(file.read().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (used + 16 * 1024 * 1024,) * 2)
print(context.port, flush=True)
sys.stdin.read()
context.stop()
context.join(5)
print(context.is_alive(), context.metrics.cut_connections)
"""


@pytest.fixture(params=["asyncio", "uvloop"])
def loop(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(params=EACH_KIND)
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def starved(loop: str, kind: str) -> Iterator[subprocess.Popen[str]]:
    """A context with 16 MiB to spare, in a process of its own."""
    if loop == "uvloop":
        pytest.importorskip("uvloop")
    with subprocess.Popen(
        [sys.executable, "-c", PROGRAM, loop, kind],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        yield process
        process.kill()


def ask(port: int, sent: bytes) -> bytes | None:
    """What comes back until the end of a connection on which nothing follows; None: no end."""
    with socket.create_connection(("127.0.0.1", port), timeout=TIMEOUT) as sock:
        got = bytearray()
        try:
            sock.sendall(sent)
            sock.shutdown(socket.SHUT_WR)
            while data := sock.recv(1 << 20):
                got += data
        except ConnectionError:
            pass
        except TimeoutError:
            return None
        return bytes(got)


def get(target: str) -> bytes:
    return f"GET /web/{target} HTTP/1.1\r\nHost: x\r\n\r\n".encode()


def message(size: int) -> bytes:
    head = f"POST /web/message HTTP/1.1\r\nLibprocess-From: x@127.0.0.1:1\r\nContent-Length: {size}"
    return f"{head}\r\n\r\n".encode() + bytes(size)


@pytest.mark.skipif(sys.platform != "linux", reason="RLIMIT_AS is Linux's")
def test_who_asks_for_too_much_is_cut_and_nobody_else(starved: subprocess.Popen[str]) -> None:
    assert starved.stdout is not None
    port = int(starved.stdout.readline())
    for sent in (
        get("large?size=12000000"),
        get("later?size=12000000"),
        get("later?size=6000000") * 5,
        get("large?size=6000000") * 3 + get("later?size=6000000"),
        message(20_000_000),
        message(6_000_000) * 4 + get("large?size=12000000"),
        get("large?size=300000000") + get("small"),
    ):
        assert ask(port, sent) is not None, sent[:100]
        for target in ("small", "later?size=5", "large?size=100000"):
            answer = ask(port, get(target))
            assert answer is not None, (sent[:100], target)
            assert answer.startswith(b"HTTP/1.1 200 OK"), (sent[:100], target, answer)
    out, err = starved.communicate("", timeout=TIMEOUT)
    assert out.split()[0] == "False"
    assert starved.returncode == 0, err


class NoMemory:
    """A loop, a logger, a transport: all that it is asked for takes memory."""

    def __getattr__(self, name: str) -> Any:
        def fail(*_args: Any, **_kw: Any) -> Any:
            raise MemoryError

        return fail


class Owner:
    """Has no memory to report what failed, the first time."""

    low_water = 1
    backlog = Backlog(1, 1)
    slices: Any = None

    def __init__(self) -> None:
        self.failures: list[BaseException] = []

    def handler_failed(self, mailbox: Any, entry: Any, error: BaseException) -> None:
        self.failures.append(error)
        if len(self.failures) == 1:
            raise MemoryError


@pytest.fixture
def idle_mailbox(backend: Backend) -> Any:
    """An open mailbox whose loop has no memory for tasks."""
    run_queue = backend.RunQueue()
    loop = NoMemory()
    loop.call_soon = lambda *_: None
    run_queue.attach(loop)  # type: ignore[arg-type]
    mailbox: Any = backend.Mailbox(None, PID("127.0.0.1", 1, "x"), Owner(), run_queue)
    mailbox.open()
    return mailbox


def test_a_process_goes_on_though_nothing_could_be_said_of_its_failure(idle_mailbox: Any) -> None:
    def fail(_sender: Any, _body: Any) -> None:
        raise MemoryError

    idle_mailbox.serve_now(fail, None, b"")
    assert idle_mailbox.state == IDLE


def test_a_process_goes_on_though_its_handler_got_no_task(idle_mailbox: Any) -> None:
    async def handler(_sender: Any, _body: Any) -> None:
        raise AssertionError("it is not run")

    served = []
    for _ in range(2):
        idle_mailbox.serve_now(handler, None, b"")
        assert idle_mailbox.state == IDLE
    idle_mailbox.serve_now(lambda *entry: served.append(entry), None, b"after")
    assert served == [(None, b"after")]


@pytest.mark.filterwarnings("ignore:coroutine .* was never awaited:RuntimeWarning")
def test_a_request_whose_route_got_no_task_is_answered(idle_mailbox: Any) -> None:
    async def handler() -> str:
        raise AssertionError("it is not run")

    coroutine = handler()
    head = parse_head(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
    exchange = Exchange(lambda _request: coroutine, head, b"", ("127.0.0.1", 1))
    answered: list[Exchange] = []
    exchange.answered = answered.append
    serve = sys.modules[type(idle_mailbox).__module__].serve  # of the same backend
    idle_mailbox.serve_now(serve, exchange, idle_mailbox)
    assert answered == [exchange]
    assert isinstance(exchange.response, Response)
    assert exchange.response.status == 500
    coroutine.close()  # else it tells that it was never awaited


def test_one_flush_that_fails_keeps_none_from_theirs(backend: Backend) -> None:
    class Flushed:
        def __init__(self, error: type[BaseException] | None = None) -> None:
            self.error = error
            self.flushes = 0

        def flush(self) -> None:
            self.flushes += 1
            if self.error is not None:
                raise self.error

    run_queue = backend.RunQueue()
    first, failing, last = Flushed(), Flushed(MemoryError), Flushed()
    for flushable in (first, failing, last):
        run_queue.flush_soon(flushable)
    run_queue.run()
    assert (first.flushes, failing.flushes, last.flushes) == (1, 1, 1)


def test_a_turn_that_the_loop_has_forgotten_is_taken_later(backend: Backend) -> None:
    calls: list[Any] = []
    loop = NoMemory()
    loop.call_soon = calls.append
    run_queue = backend.RunQueue()
    run_queue.attach(loop)  # type: ignore[arg-type]
    mailbox: Any = NoMemory()
    run_queue.schedule(mailbox)
    run_queue.schedule(mailbox)
    assert len(calls) == 1
    run_queue.look_again()
    assert len(calls) == 2


def test_what_the_system_holds_of_a_broken_connection_may_be_lost_but_nothing_else_is(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    ours, theirs = socket.socketpair()
    taken: list[socket.socket] = []

    class Socket(socket.socket):
        def recv(self, *_: Any) -> bytes:
            taken.append(self)
            raise MemoryError

    class Transport:
        def get_extra_info(self, name: str) -> socket.socket | None:
            return ours if name == "socket" else None

    with ours, theirs:
        theirs.sendall(b"data")
        monkeypatch.setattr(sockets.socket, "socket", Socket)
        transport: Any = Transport()
        assert list(flow_control.unread_data(transport)) == []
    assert [sock.fileno() for sock in taken] == [-1]


def test_a_connection_that_writes_without_memory_is_cut(backend: Backend) -> None:
    class Transport(NoMemory):
        is_cut = False

        def is_closing(self) -> bool:
            return self.is_cut

        def abort(self) -> None:
            self.is_cut = True

        def get_extra_info(self, name: str) -> None:
            return None

    async def write() -> None:
        peer: Any = NoMemory()
        send_queue: Any = backend.SendQueue(peer, backend.RunQueue(), 1 << 20, 1 << 19)
        send_queue.write_message(b"head", b"body")
        transport = Transport()
        send_queue.open(transport)
        assert transport.is_cut
        assert send_queue.parked == 1  # the end of the connection reports it

    asyncio.run(write())
