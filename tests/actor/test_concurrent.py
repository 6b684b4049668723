"""Handlers with ``concurrent=True``: they do not hold the mailbox while they await."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import json
import socket
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest

from compactor import (
    PID,
    Ask,
    AskFailed,
    AskTimeout,
    Context,
    Process,
    ProtobufProcess,
    Reason,
    RemoteError,
    Request,
    Restart,
    Settings,
    Stop,
    answer,
    install,
    route,
)
from compactor.errors import ProcessError
from tests.actor.test_async import make_eager
from tests.actors import (
    TIMEOUT,
    Events,
    Receiver,
    dead_letters,
    end,
    settle,
    spawned,
    take_letter,
    wait_until,
)
from tests.raw import read_answer

ContextFactory = Callable[..., Context]
Connect = Callable[[Context], socket.socket]


@dataclass
class Slowly(Ask[int]):
    """Asks for a number that takes its time."""

    number: int


class Server(Receiver):
    """Its concurrent handlers wait for the gate."""

    def __init__(self, name: str = "server") -> None:
        super().__init__(name)
        self.events = Events()
        self.gate = asyncio.Event()
        self.is_finalized = False

    async def wait(self, what: str) -> str:
        self.events.put(f"begins {what}")
        try:
            await self.gate.wait()
        except asyncio.CancelledError:
            self.events.put(f"cancelled {what}{' late' if self.is_finalized else ''}")
            raise
        self.events.put(f"ends {what}")
        return what

    @install("job", concurrent=True)
    async def job(self, from_pid: PID, body: bytes) -> None:
        await self.wait(body.decode())

    @install("work", concurrent=True)
    async def work(self, from_pid: PID, body: bytes) -> None:
        reply = self.defer_reply()
        reply((await self.wait(body.decode())).encode())

    @install("reply", concurrent=True)
    async def reply_at_once(self, from_pid: PID, body: bytes) -> None:
        await asyncio.sleep(0)
        self.reply(body)
        await self.gate.wait()

    @answer("slow", concurrent=True)
    async def slow(self, from_pid: PID, body: bytes) -> bytes:
        return (await self.wait(body.decode())).encode()

    @answer("resolute", concurrent=True, cancellable=False)
    async def resolute(self, from_pid: PID, body: bytes) -> bytes:
        return (await self.wait(body.decode())).encode()

    @answer(Slowly, concurrent=True)
    async def slowly(self, from_pid: PID, message: Slowly) -> int:
        await self.wait(str(message.number))
        return message.number

    @answer("quick")
    async def quick(self, from_pid: PID, body: bytes) -> bytes:
        return b"quick"

    @answer("fails", concurrent=True)
    async def fails(self, from_pid: PID, body: bytes) -> None:
        await asyncio.sleep(0)
        raise LookupError(body.decode())

    @install("breaks", concurrent=True)
    async def breaks(self, from_pid: PID, body: bytes) -> None:
        await asyncio.sleep(0)
        raise LookupError(body.decode())

    @answer("myself", concurrent=True)
    async def myself(self, from_pid: PID, body: bytes) -> bytes:
        return await self.ask(self.pid, "quick", timeout=TIMEOUT)

    @answer("dispatches", concurrent=True)
    async def dispatches(self, from_pid: PID, body: bytes) -> bytes:
        found: bytes = await self.context.dispatch(self.pid, lambda: b"dispatched")
        return found

    @route("/page", concurrent=True)
    async def page(self, request: Request) -> str:
        return await self.wait("page")

    @route("/nap", concurrent=True)
    async def nap(self, request: Request) -> str:
        await asyncio.sleep(0.3)
        return request.query["n"]

    @route("/broken", concurrent=True)
    async def broken(self, request: Request) -> str:
        await asyncio.sleep(0)
        raise LookupError

    def finalize(self) -> None:
        self.is_finalized = True
        self.events.put("finalized")

    def let_go(self) -> None:
        """Open the gate, from any thread."""
        self.context.dispatch(self.pid, self.gate.set)


@pytest.fixture(params=["local", "remote"])
def there(
    request: pytest.FixtureRequest, context: Context, make_context: ContextFactory
) -> Context:
    """Where the server lives: in ``context``, or elsewhere."""
    return context if request.param == "local" else make_context()


@pytest.mark.each_combination
def test_asks_of_a_concurrent_handler_overlap_and_others_go_on(
    context: Context, there: Context
) -> None:
    server = spawned(there, Server())
    asks = [
        context.ask(server.pid, "slow", str(number).encode(), timeout=TIMEOUT)
        for number in range(50)
    ]
    assert [server.events.take() for _ in asks] == [f"begins {number}" for number in range(50)]
    assert context.ask(server.pid, "quick", timeout=TIMEOUT).result(TIMEOUT) == b"quick"
    server.let_go()
    assert [ask.result(TIMEOUT) for ask in asks] == [str(n).encode() for n in range(50)]


def test_messages_and_typed_asks_may_be_concurrent(context: Context, there: Context) -> None:
    server, sender = spawned(there, Server()), spawned(context, Receiver("sender"))
    sender.send(server.pid, "job", b"a")
    asked = context.ask(server.pid, Slowly(7), timeout=TIMEOUT)
    worked = context.ask(server.pid, "work", b"w" * 10_000, timeout=TIMEOUT)
    assert len({server.events.take() for _ in range(3)}) == 3
    server.let_go()
    assert asked.result(TIMEOUT) == 7
    assert worked.result(TIMEOUT) == b"w" * 10_000
    assert context.ask(server.pid, "reply", b"r", timeout=TIMEOUT).result(TIMEOUT) == b"r"


def test_protocol_buffers_may_be_concurrent(context: Context) -> None:
    pytest.importorskip("google.protobuf")
    from google.protobuf.duration_pb2 import Duration
    from google.protobuf.timestamp_pb2 import Timestamp

    class Clock(ProtobufProcess):
        gate = None

        def initialize(self) -> None:
            self.gate = asyncio.Event()
            self.got = Events()

        @ProtobufProcess.install(Timestamp, concurrent=True)
        async def stamp(self, from_pid: PID, message: Timestamp) -> None:
            await self.gate.wait()
            self.got.put(message.seconds)

        @ProtobufProcess.answer(Duration, concurrent=True)
        async def later(self, from_pid: PID, message: Duration) -> Timestamp:
            self.gate.set()
            await asyncio.sleep(0)
            return Timestamp(seconds=message.seconds)

    clock, sender = spawned(context, Clock("clock")), spawned(context, ProtobufProcess("sender"))
    sender.send(clock.pid, Timestamp(seconds=1))
    asked = context.ask(clock.pid, Duration(seconds=2), reply=Timestamp, timeout=TIMEOUT)
    assert asked.result(TIMEOUT).seconds == 2
    assert clock.got.take() == 1


# The bound


@pytest.mark.each_combination
def test_beyond_the_bound_the_next_waits_in_its_place(make_context: ContextFactory) -> None:
    context = make_context(settings=Settings(max_concurrent_handlers=3))
    server, sender = spawned(context, Server()), spawned(context, Receiver("sender"))
    for number in range(10):
        sender.send(server.pid, "job", str(number).encode())
    sender.send(server.pid, "message", b"behind")
    assert server.events.take_many(3) == ["begins 0", "begins 1", "begins 2"]
    wait_until(lambda: context._registry.live["server"].queue)
    assert server.events.is_empty
    assert server.received.is_empty  # it stands behind what waits
    context._runtime.run_queue.loop.call_soon_threadsafe(server.gate.set)
    seen = server.events.take_many(17)
    begun = [event for event in seen if event.startswith("begins")]
    assert begun == [f"begins {number}" for number in range(3, 10)]
    assert server.received.take()[1] == b"behind"


@pytest.mark.each_combination
def test_large_bodies_under_way_are_bounded(make_context: ContextFactory) -> None:
    context = make_context(settings=Settings(mailbox_high_water_bytes=100_000))
    server, sender = spawned(context, Server()), spawned(context, Receiver("sender"))
    backlog = context._runtime.backlog
    for number in range(5):
        sender.send(server.pid, "job", str(number).encode() * 60_000)
    assert [server.events.take()[:8] for _ in range(2)] == ["begins 0", "begins 1"]
    wait_until(lambda: len(context._registry.live["server"].queue) == 2)
    assert server.events.is_empty
    assert backlog.total == 4 * 60_000  # two are under way, two wait; one holds the mailbox
    context._runtime.run_queue.loop.call_soon_threadsafe(server.gate.set)
    events = [event[:8] for event in server.events.take_many(8)]
    assert [e for e in events if e.startswith("begins")] == ["begins 2", "begins 3", "begins 4"]
    wait_until(lambda: backlog.total == 0)


def test_large_pages_under_way_are_bounded(make_context: ContextFactory, connect: Connect) -> None:
    context = make_context(settings=Settings(mailbox_high_water_bytes=100_000))
    server = spawned(context, Server())
    socks = [connect(context) for _ in range(4)]
    head = b"POST /server/page HTTP/1.1\r\nHost: x\r\nContent-Length: 60000\r\n\r\n"
    for sock in socks:
        sock.sendall(head + b"x" * 60_000)
    assert server.events.take_many(2) == ["begins page", "begins page"]
    wait_until(lambda: context._registry.live["server"].queue)
    assert server.events.is_empty
    context._runtime.run_queue.loop.call_soon_threadsafe(server.gate.set)
    assert [read_answer(sock) for sock in socks] == [(200, b"page")] * 4
    wait_until(lambda: context._runtime.backlog.total == 0)


def test_small_bodies_are_not_counted(make_context: ContextFactory) -> None:
    context = make_context(settings=Settings(mailbox_high_water_bytes=10_000))
    server, sender = spawned(context, Server()), spawned(context, Receiver("sender"))
    for _ in range(100):
        sender.send(server.pid, "job", b"x" * 4096)
    assert len(server.events.take_many(100)) == 100
    end(server)
    assert context._runtime.backlog.total == 0


def test_a_page_beyond_the_bound_waits_and_is_answered(
    make_context: ContextFactory, connect: Connect
) -> None:
    context = make_context(settings=Settings(max_concurrent_handlers=1))
    server = spawned(context, Server())
    first, second, third = connect(context), connect(context), connect(context)
    body = b"x" * 10_000
    for sock in (first, second, third):
        sock.sendall(
            b"POST /server/page HTTP/1.1\r\nHost: x\r\nContent-Length: 10000\r\n\r\n" + body
        )
    assert server.events.take() == "begins page"
    wait_until(lambda: context._registry.live["server"].queue)
    context._runtime.run_queue.loop.call_soon_threadsafe(server.gate.set)
    for sock in (first, second, third):
        assert read_answer(sock) == (200, b"page")
    assert context._registry.live["server"].large_bytes == 0


@pytest.mark.each_combination
def test_pipelined_requests_overlap_and_are_answered_in_order(
    context: Context, connect: Connect
) -> None:
    spawned(context, Server())
    sock = connect(context)
    began = time.monotonic()
    sock.sendall(
        b"".join(b"GET /server/nap?n=%d HTTP/1.1\r\nHost: x\r\n\r\n" % n for n in range(20))
    )
    assert [read_answer(sock) for _ in range(20)] == [(200, str(n).encode()) for n in range(20)]
    assert time.monotonic() - began < 3.0  # one after the other they take six


def test_of_one_path_each_method_says_for_itself(context: Context, connect: Connect) -> None:
    class Items(Server):
        @route("/items/{item}", methods=["GET"], concurrent=True)
        async def look(self, request: Request) -> str:
            return await self.wait(f"look {request.path_params['item']}")

        @route("/items/{item}", methods=["POST", "PUT"])
        async def change(self, request: Request) -> str:
            return await self.wait("change")

    items = spawned(context, Items())
    socks = [connect(context) for _ in range(5)]
    for sock, method in zip(socks, ["GET", "HEAD", "DELETE", "PUT", "POST"], strict=True):
        sock.sendall(b"%s /server/items/5 HTTP/1.1\r\nHost: x\r\n\r\n" % method.encode())
        if method in ("GET", "HEAD", "PUT"):  # POST waits behind that
            assert items.events.take().startswith("begins")
    assert read_answer(socks[2])[0] == 405
    context._runtime.run_queue.loop.call_soon_threadsafe(items.gate.set)
    assert items.events.take_many(3) == ["ends look 5", "ends look 5", "ends change"]
    assert items.events.take_many(2) == ["begins change", "ends change"]


def test_http_asks_of_a_concurrent_handler_overlap(context: Context, connect: Connect) -> None:
    server = spawned(context, Server())
    socks = [connect(context) for _ in range(3)]
    for number, sock in enumerate(socks):
        sock.sendall(
            b"POST /server/slow HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\n\r\n%d" % number
        )
    assert {server.events.take() for _ in socks} == {f"begins {n}" for n in range(3)}
    server.let_go()
    assert [read_answer(sock) for sock in socks] == [(200, b"0"), (200, b"1"), (200, b"2")]


# Failures


def test_a_failure_is_told_as_always(
    context: Context, there: Context, caplog: pytest.LogCaptureFixture, connect: Connect
) -> None:
    server, sender = spawned(there, Server()), spawned(context, Receiver("sender"))
    with pytest.raises(RemoteError, match=r"LookupError.*why"):
        context.ask(server.pid, "fails", b"why", timeout=TIMEOUT).result(TIMEOUT)
    with pytest.raises(RemoteError, match=r"LookupError.*why"):
        context.ask(server.pid, "breaks", b"why", timeout=TIMEOUT).result(TIMEOUT)
    assert there.metrics.handler_failures == 0
    sender.send(server.pid, "breaks", b"sent")
    wait_until(lambda: "failed in message 'breaks' from sender@" in caplog.text)
    assert there.metrics.handler_failures == 1
    sock = connect(there)
    sock.sendall(b"GET /server/broken HTTP/1.1\r\nHost: x\r\n\r\n")
    assert read_answer(sock)[0] == 500
    wait_until(lambda: there.metrics.handler_failures == 2)


def test_what_does_not_parse_does_not_begin(context: Context) -> None:
    server, sender = spawned(context, Server()), spawned(context, Receiver("sender"))
    sender.send(server.pid, "Slowly", b"{")
    wait_until(lambda: context.metrics.handler_failures == 1)
    assert server.events.is_empty


@pytest.mark.each_combination
@pytest.mark.parametrize("name", ["fails", "breaks"])
@pytest.mark.parametrize("is_asked", [True, False])
def test_a_failure_restarts_the_process_and_cancels_the_others_first(
    context: Context, name: str, is_asked: bool
) -> None:
    made: list[Server] = []

    def make() -> Server:
        made.append(Server())
        return made[-1]

    pid = context.spawn(make, on_failure=Restart(backoff=0.0))
    sender = spawned(context, Receiver("sender"))
    letters = dead_letters(context)
    first = made[0]
    slow = context.ask(pid, "slow", b"asked", timeout=TIMEOUT)
    sender.send(pid, "job", b"sent")
    assert {first.events.take(), first.events.take()} == {"begins asked", "begins sent"}
    if is_asked:
        with pytest.raises(RemoteError):
            context.ask(pid, name, timeout=TIMEOUT).result(TIMEOUT)
    else:
        sender.send(pid, name)
    assert {first.events.take(), first.events.take()} == {"cancelled asked", "cancelled sent"}
    assert first.events.take() == "finalized"
    with pytest.raises(AskFailed):
        slow.result(TIMEOUT)
    assert context.ask(pid, "quick", timeout=TIMEOUT).result(TIMEOUT) == b"quick"
    assert len(made) == 2
    told = {take_letter(letters).name for _ in range(1 if is_asked else 2)}
    assert told == ({"job"} if is_asked or name == "fails" else {"job", "breaks"}) | (
        {"fails"} if name == "fails" and not is_asked else set()
    )
    end(made[1])


def test_what_waits_for_a_place_survives_a_restart(make_context: ContextFactory) -> None:
    context = make_context(settings=Settings(max_concurrent_handlers=2))
    made: list[Server] = []

    class Failing(Server):
        @install("later", concurrent=True)
        async def later(self, from_pid: PID, body: bytes) -> None:
            await self.gate.wait()
            raise LookupError

    def make() -> Server:
        made.append(Failing())
        return made[-1]

    pid = context.spawn(make, on_failure=Restart(backoff=0.0))
    sender = spawned(context, Receiver("sender"))
    sender.send(pid, "later")
    sender.send(pid, "later")
    for number in range(3):
        sender.send(pid, "job", str(number).encode() * 5000)
    sender.send(pid, "message", b"behind")
    wait_until(lambda: len(context._registry.live["server"].queue) == 3)
    context._runtime.run_queue.loop.call_soon_threadsafe(made[0].gate.set)
    wait_until(lambda: len(made) == 2)
    assert [made[1].events.take()[:8] for _ in range(2)] == ["begins 0", "begins 1"]
    assert made[0].events.take() == "finalized"
    context._runtime.run_queue.loop.call_soon_threadsafe(made[1].gate.set)
    assert made[1].received.take()[1] == b"behind"
    settle(made[1])
    assert context._registry.live["server"].large_bytes == 0


def test_a_policy_may_end_the_process(context: Context) -> None:
    server = Server()
    pid = context.spawn(server, on_failure=Stop())
    ended = context.wait(pid)
    with pytest.raises(RemoteError):
        context.ask(pid, "fails", timeout=TIMEOUT).result(TIMEOUT)
    assert ended.result(TIMEOUT) is Reason.FAILED


@pytest.mark.filterwarnings("ignore:coroutine .* was never awaited", "ignore:Exception ignored")
@pytest.mark.each_combination
@pytest.mark.parametrize("is_full", [False, True])
def test_what_finds_no_memory_for_a_task_is_told(
    make_context: ContextFactory,
    connect: Connect,
    caplog: pytest.LogCaptureFixture,
    is_full: bool,
) -> None:
    find_no_memory(make_context(settings=Settings(max_concurrent_handlers=1)), connect, is_full)
    caplog.clear()  # of tracebacks
    gc.collect()  # what was never awaited is warned of here, and in no test that comes later


def find_no_memory(context: Context, connect: Connect, is_full: bool) -> None:
    server = spawned(context, Server())
    settle(server)  # the loop runs
    is_short = True

    def new_task(loop: Any, coroutine: Any, **kw: Any) -> Any:
        if is_short and coroutine.__name__ in ("_finish", "finish") and not server.events.is_empty:
            raise MemoryError
        return asyncio.Task(coroutine, loop=loop, **kw)

    context._call(context._runtime.run_queue.loop.set_task_factory, new_task)
    if is_full:
        first = context.ask(server.pid, "slow", b"first", timeout=TIMEOUT)
        wait_until(lambda: not server.events.is_empty)
    else:
        server.events.put("begins first")
    sock = connect(context)
    sock.sendall(b"GET /server/page HTTP/1.1\r\nHost: x\r\n\r\n")
    asked = context.ask(server.pid, "slow", b"second", timeout=TIMEOUT)
    if is_full:
        wait_until(lambda: context._registry.live["server"].queue)
        context._call(server.gate.set)
        assert first.result(TIMEOUT) == b"first"
    assert read_answer(sock)[0] == 500
    with pytest.raises(RemoteError, match="MemoryError"):
        asked.result(TIMEOUT)
    is_short = False
    context._call(server.gate.set)
    again = context.ask(server.pid, "slow", b"again", timeout=TIMEOUT)
    assert again.result(TIMEOUT) == b"again"


# The end of the process


@pytest.mark.each_combination
def test_the_end_cancels_before_it_finalizes(context: Context, there: Context) -> None:
    server, sender = spawned(there, Server()), spawned(context, Receiver("sender"))
    asked = context.ask(server.pid, "slow", b"asked", timeout=TIMEOUT)
    assert server.events.take() == "begins asked"
    sender.send(server.pid, "job", b"sent")
    assert server.events.take() == "begins sent"
    end(server)
    assert {server.events.take(), server.events.take()} == {"cancelled asked", "cancelled sent"}
    assert server.events.take() == "finalized"
    with pytest.raises(AskFailed):
        asked.result(TIMEOUT)


def test_an_end_behind_what_waits_lets_them_finish(context: Context) -> None:
    server, sender = spawned(context, Server()), spawned(context, Receiver("sender"))
    sender.send(server.pid, "job", b"sent")
    assert server.events.take() == "begins sent"
    context.terminate(server.pid, inject=False)
    context._runtime.run_queue.loop.call_later(0.1, server.gate.set)
    assert server.events.take_many(2) == ["ends sent", "finalized"]


def test_an_end_behind_what_waits_can_be_hurried(context: Context) -> None:
    server, sender = spawned(context, Server()), spawned(context, Receiver("sender"))
    sender.send(server.pid, "job", b"sent")
    assert server.events.take() == "begins sent"
    context.terminate(server.pid, inject=False)
    wait_until(lambda: context._registry.live["server"]._finalizing)
    end(server)
    assert server.events.take_many(2) == ["cancelled sent", "finalized"]


def test_what_waits_for_a_place_at_the_end_is_a_dead_letter(make_context: ContextFactory) -> None:
    context = make_context(settings=Settings(max_concurrent_handlers=1))
    server, sender = spawned(context, Server()), spawned(context, Receiver("sender"))
    letters = dead_letters(context)
    for body in (b"a", b"b"):
        sender.send(server.pid, "job", body)
    asked = context.ask(server.pid, "slow", b"c", timeout=TIMEOUT)
    assert server.events.take() == "begins a"
    settle(sender)
    end(server)
    assert server.events.take_many(2) == ["cancelled a", "finalized"]
    names = sorted(str(take_letter(letters).name) for _ in range(3))
    assert names == ["job", "job", "slow"]  # what was cancelled under way is one, too
    with pytest.raises(AskFailed):
        asked.result(TIMEOUT)


def test_an_ask_that_waits_for_a_place_ends_with_the_process(make_context: ContextFactory) -> None:
    context = make_context(settings=Settings(max_concurrent_handlers=1))
    server = spawned(context, Server())
    asks = [context.ask(server.pid, name, timeout=TIMEOUT) for name in ("slow", "slow", "work")]
    assert server.events.take() == "begins "
    end(server)
    for asked in asks:
        with pytest.raises(AskFailed):
            asked.result(TIMEOUT)


def test_pages_under_way_or_waiting_are_answered_at_the_end(
    make_context: ContextFactory, connect: Connect
) -> None:
    context = make_context(settings=Settings(max_concurrent_handlers=1))
    server = spawned(context, Server())
    socks = [connect(context) for _ in range(3)]
    for sock in socks:
        sock.sendall(b"GET /server/page HTTP/1.1\r\nHost: x\r\n\r\n")
    assert server.events.take() == "begins page"
    wait_until(lambda: context._registry.live["server"].queue)
    end(server)
    assert [read_answer(sock)[0] for sock in socks] == [500, 500, 500]


@pytest.mark.each_combination
def test_a_handler_that_does_not_end_is_left_after_linger(
    make_context: ContextFactory, caplog: pytest.LogCaptureFixture
) -> None:
    context = make_context(settings=Settings(linger=0.1))

    class Stubborn(Server):
        @install("stubborn", concurrent=True)
        async def stubborn(self, from_pid: PID, body: bytes) -> None:
            self.events.put("begins")
            while not self.gate.is_set():
                with contextlib.suppress(asyncio.CancelledError):
                    await self.gate.wait()
            raise LookupError("too late")

    server, sender = spawned(context, Stubborn()), spawned(context, Receiver("sender"))
    sender.send(server.pid, "stubborn")
    assert server.events.take() == "begins"
    end(server)
    assert "1 concurrent handlers did not end within 0.1 s" in caplog.text
    again = spawned(context, Server())
    assert context.ask(again.pid, "quick", timeout=TIMEOUT).result(TIMEOUT) == b"quick"
    context._runtime.run_queue.loop.call_soon_threadsafe(server.gate.set)
    wait_until(lambda: "too late" in caplog.text)


@pytest.mark.each_combination
def test_a_drain_waits_for_them(make_context: ContextFactory) -> None:
    context = make_context()
    server, sender = spawned(context, Server()), spawned(context, Receiver("sender"))
    sender.send(server.pid, "job", b"sent")
    assert server.events.take() == "begins sent"
    context._runtime.run_queue.loop.call_later(0.2, server.gate.set)
    context.stop(drain=TIMEOUT)
    context.join(TIMEOUT)
    assert server.events.take_many(2) == ["ends sent", "finalized"]


def test_a_drain_is_over_in_time(
    make_context: ContextFactory, caplog: pytest.LogCaptureFixture
) -> None:
    context = make_context()
    server, sender = spawned(context, Server()), spawned(context, Receiver("sender"))
    sender.send(server.pid, "job", b"sent")
    assert server.events.take() == "begins sent"
    context.stop(drain=0.1)
    context.join(TIMEOUT)
    assert server.events.take_many(2) == ["cancelled sent", "finalized"]
    assert "cancels 1 handlers" in caplog.text


# Askers that give up


def test_who_gives_up_cancels_their_own_run_alone(context: Context, there: Context) -> None:
    server = spawned(there, Server())
    short = context.ask(server.pid, "slow", b"short", timeout=0.2)
    long = context.ask(server.pid, "slow", b"long", timeout=TIMEOUT)
    firm = context.ask(server.pid, "resolute", b"firm", timeout=0.2)
    assert len({server.events.take() for _ in range(3)}) == 3
    with pytest.raises(AskTimeout):
        short.result(TIMEOUT)
    assert server.events.take() == "cancelled short"
    with pytest.raises(AskTimeout):
        firm.result(TIMEOUT)
    settle(server)
    assert server.events.is_empty
    server.let_go()
    assert long.result(TIMEOUT) == b"long"
    assert {server.events.take(), server.events.take()} == {"ends long", "ends firm"}


# Circles


class Asker(Process):
    """Asks another one, who may ask back."""

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.to: PID | None = None

    @answer("apart", concurrent=True)
    async def apart(self, from_pid: PID, body: bytes) -> bytes:
        return await self.on(body)

    @answer("held")
    async def held(self, from_pid: PID, body: bytes) -> bytes:
        return await self.on(body)

    async def on(self, body: bytes) -> bytes:
        name, _, rest = body.partition(b" ")
        if not name:
            return b"at last"
        assert self.to is not None
        return await self.ask(self.to, name.decode(), rest, timeout=TIMEOUT)


@pytest.mark.each_combination
@pytest.mark.parametrize("way", ["apart held apart", "apart apart apart held held", "held apart"])
def test_nobody_is_blamed_for_a_circle_who_does_not_hold_a_mailbox(
    context: Context, way: str
) -> None:
    one, other = spawned(context, Asker("one")), spawned(context, Asker("other"))
    one.to, other.to = other.pid, one.pid
    first, _, rest = way.partition(" ")
    asked = context.ask(one.pid, first, rest.encode(), timeout=TIMEOUT)
    assert asked.result(TIMEOUT) == b"at last"


def test_a_circle_of_held_mailboxes_is_still_told(context: Context) -> None:
    one, other = spawned(context, Asker("one")), spawned(context, Asker("other"))
    one.to, other.to = other.pid, one.pid
    with pytest.raises(RemoteError, match="would wait for itself"):
        context.ask(one.pid, "held", b"held held", timeout=TIMEOUT).result(TIMEOUT)


@pytest.mark.each_combination
def test_a_concurrent_handler_may_ask_its_own_process(context: Context) -> None:
    server = spawned(context, Server())
    assert context.ask(server.pid, "myself", timeout=TIMEOUT).result(TIMEOUT) == b"quick"
    asked = context.ask(server.pid, "dispatches", timeout=TIMEOUT)
    assert asked.result(TIMEOUT) == b"dispatched"


def test_others_may_not(context: Context) -> None:
    class Selfish(Server):
        @answer("selfish")
        async def selfish(self, from_pid: PID, body: bytes) -> bytes:
            return await self.ask(self.pid, "quick")

    server = spawned(context, Selfish())
    context.ask(server.pid, "slow", b"beside", timeout=TIMEOUT)
    assert server.events.take() == "begins beside"
    with pytest.raises(RemoteError, match="would wait for itself"):
        context.ask(server.pid, "selfish", timeout=TIMEOUT).result(TIMEOUT)


# Eager tasks


@pytest.mark.skipif(not hasattr(asyncio, "eager_task_factory"), reason="before Python 3.12")
@pytest.mark.parametrize("most", [1, 1000])
def test_eager_tasks_make_no_difference(make_context: ContextFactory, most: int) -> None:
    context = make_context(settings=Settings(max_concurrent_handlers=most))
    make_eager(context)

    class Eager(Server):
        @answer("at_once", concurrent=True)
        async def at_once(self, from_pid: PID, body: bytes) -> bytes:
            return body

    eager = spawned(context, Eager())
    for name, told in (("at_once", b"x"), ("myself", b"quick"), ("dispatches", b"dispatched")):
        assert context.ask(eager.pid, name, b"x", timeout=TIMEOUT).result(TIMEOUT) == told
    asks = [context.ask(eager.pid, "slow", b"%d" % n, timeout=TIMEOUT) for n in range(5)]
    failing = [context.ask(eager.pid, "fails", timeout=TIMEOUT) for n in range(5)]
    assert eager.events.take() == "begins 0"
    context._call(eager.gate.set)
    assert [ask.result(TIMEOUT) for ask in asks] == [b"%d" % n for n in range(5)]
    for ask in failing:
        with pytest.raises(RemoteError, match="LookupError"):
            ask.result(TIMEOUT)
    wait_until(lambda: not context._runtime.supervision.running())


# Slow steps


@pytest.mark.usefixtures("tells_slow_handlers")
def test_a_step_that_holds_the_loop_is_told(
    make_context: ContextFactory, caplog: pytest.LogCaptureFixture
) -> None:
    context = make_context(settings=Settings(slow_handler=0.01))

    class Heavy(Process):
        @install("heavy", concurrent=True)
        async def heavy(self, from_pid: PID, body: bytes) -> None:
            await asyncio.sleep(0)
            time.sleep(0.05)  # noqa: ASYNC251

    heavy, sender = spawned(context, Heavy("heavy")), spawned(context, Receiver("sender"))
    sender.send(heavy.pid, "heavy")
    wait_until(lambda: "message 'heavy' from sender@" in caplog.text)
    assert context.metrics.slow_handlers


# Classes


def plain(self: Any, *_: Any) -> None:
    """A handler, or route, that awaits nothing."""


@pytest.mark.parametrize(
    "decorate",
    [
        install("name", concurrent=True),
        install(Slowly, concurrent=True),
        answer("name", concurrent=True),
        answer(Slowly, concurrent=True),
        route("/name", concurrent=True),
    ],
)
def test_a_plain_method_cannot_be_concurrent(decorate: Any) -> None:
    with pytest.raises(TypeError, match=r"Bad\.method .* no 'async def'"):
        type("Bad", (Process,), {"method": decorate(plain)})
    with pytest.raises(TypeError, match=r"Bad\.method .* no 'async def'"):
        type("Bad", (Process,), {"method": decorate(staticmethod(plain))})


def test_a_plain_protobuf_method_cannot_be_concurrent() -> None:
    pytest.importorskip("google.protobuf")
    from google.protobuf.duration_pb2 import Duration

    for decorate in (ProtobufProcess.install, ProtobufProcess.answer):
        with pytest.raises(TypeError, match=r"Bad\.method .* no 'async def'"):
            type(
                "Bad",
                (ProtobufProcess,),
                {"method": decorate(Duration, concurrent=True)(lambda *_: None)},
            )


def test_a_plain_override_of_a_concurrent_method_is_served(
    context: Context, connect: Connect
) -> None:
    class Plain(Server):
        def slow(self, from_pid: PID, body: bytes) -> bytes:  # type: ignore[override]
            return b"plain"

        def page(self, request: Request) -> str:  # type: ignore[override]
            return "plain"

    server = spawned(context, Plain())
    assert context.ask(server.pid, "slow", timeout=TIMEOUT).result(TIMEOUT) == b"plain"
    sock = connect(context)
    sock.sendall(b"GET /server/page HTTP/1.1\r\nHost: x\r\n\r\n")
    assert read_answer(sock) == (200, b"plain")


def test_context_variables_are_those_of_the_process(context: Context) -> None:
    from contextvars import ContextVar

    variable: ContextVar[str] = ContextVar("variable", default="nobody's")

    class Keeper(Process):
        def initialize(self) -> None:
            variable.set("the keeper's")

        @answer("read", concurrent=True)
        async def read(self, from_pid: PID, body: bytes) -> bytes:
            before = variable.get()
            variable.set("one run's")
            await asyncio.sleep(0)
            return json.dumps([before, variable.get()]).encode()

    keeper = spawned(context, Keeper("keeper"))
    for _ in range(2):
        told = context.ask(keeper.pid, "read", timeout=TIMEOUT).result(TIMEOUT)
        assert json.loads(told) == ["the keeper's", "one run's"]


def test_a_reply_from_elsewhere_is_not_mixed_up(context: Context) -> None:
    class Later(Process):
        @install("later", concurrent=True)
        async def later(self, from_pid: PID, body: bytes) -> None:
            await asyncio.sleep(0.01 * (10 - int(body)))
            self.reply(body)
            with pytest.raises(ProcessError, match="answered already"):
                self.reply(b"twice")

    later = spawned(context, Later("later"))
    asks = [context.ask(later.pid, "later", str(n).encode(), timeout=TIMEOUT) for n in range(10)]
    assert [ask.result(TIMEOUT) for ask in asks] == [str(n).encode() for n in range(10)]
