"""A process alone: what a test does to it, what it does, and what is refused."""

from __future__ import annotations

import asyncio
import gc
import socket
import threading
import weakref
from dataclasses import dataclass
from typing import Any

import pytest

from compactor import (
    PID,
    Ask,
    Bound,
    Context,
    Process,
    ProtobufProcess,
    Reason,
    Restart,
    Settings,
    Stop,
    install,
)
from compactor.errors import (
    AskFailed,
    AskTimeout,
    InvalidMethod,
    InvalidProcess,
    ProcessError,
    ProcessTerminated,
    RemoteError,
)
from compactor.testing import Isolated, isolated
from tests.actors import Receiver

pytestmark = pytest.mark.usefixtures("backend")

PEER = PID("10.0.0.7", 5050, "peer")


@dataclass
class Add:
    a: int
    b: int


@dataclass
class Sum:
    value: int


@dataclass
class Double(Ask[int]):
    value: int


class Worker(Process):
    """Does a little of everything."""

    def __init__(self, name: str = "worker") -> None:
        super().__init__(name)
        self.seen: list[Any] = []

    @install("echo")
    def echo(self, from_pid: PID, body: bytes) -> None:
        self.seen.append((from_pid, body))
        self.send(from_pid, "echoed", body)

    @install("slow")
    async def slow(self, from_pid: PID, body: bytes) -> None:
        await asyncio.sleep(3)
        self.send(from_pid, "done", body)

    @install("fail")
    def fail(self, from_pid: PID, body: bytes) -> None:
        raise ZeroDivisionError(body.decode())

    @install("fail_later")
    async def fail_later(self, from_pid: PID, body: bytes) -> None:
        await asyncio.sleep(1)
        raise ZeroDivisionError(body.decode())

    @install("link")
    def link_it(self, from_pid: PID, body: bytes) -> None:
        self.link(from_pid)

    @install("fetch")
    async def fetch(self, from_pid: PID, body: bytes) -> None:
        try:
            self.seen.append(await self.ask(PEER, "get", body, timeout=5))
        except (AskFailed, AskTimeout, RemoteError) as error:
            self.seen.append(error)

    @Process.answer("twice")
    def twice(self, from_pid: PID, body: bytes) -> bytes:
        self.seen.append(from_pid)
        return body * 2

    @Process.answer("never")
    async def never(self, from_pid: PID, body: bytes) -> bytes:
        await asyncio.sleep(100)
        return b"after all"

    @Process.answer("broken")
    def broken(self, from_pid: PID, body: bytes) -> bytes:
        raise KeyError("missing")

    def add(self, a: int, b: int) -> int:
        return a + b

    async def wait_for(self, event: asyncio.Event) -> str:
        await event.wait()
        return "it is set"

    def note(self, *what: Any) -> None:
        self.seen.append((self.context.loop.time(), *what))

    def exited(self, pid: PID, reason: Reason, detail: str) -> None:
        self.seen.append((pid, reason, detail))


@pytest.fixture
def actor() -> Isolated[Worker]:
    return isolated(Worker())


# Messages


def test_a_message_is_handled_and_what_is_sent_is_there(actor: Isolated[Worker]) -> None:
    actor.deliver("echo", b"hello", sender=PEER)
    assert actor.process.seen == [(PEER, b"hello")]
    assert actor.sent == [(PEER, "echoed", b"hello")]
    to, name, body = actor.sent[0]
    assert (to, name, body) == (PEER, "echoed", b"hello")
    assert actor.sent[0].sender == actor.pid
    assert repr(actor.sent[0]) == "Sent(to=peer@10.0.0.7:5050, name='echoed', body=b'hello')"
    actor.sent.clear()
    actor.deliver("echo", sender=PEER)
    assert actor.sent == [(PEER, "echoed", b"")]
    assert actor.sent != [(PEER, "echoed", b"x")]
    assert actor.sent[0] != "something else"


def test_it_is_awaited_in_tests_that_are_coroutines() -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        actor = isolated(Worker())
        await actor.deliver("slow", b"x", sender=PEER)
        await actor.advance(3)
        assert actor.sent == [(PEER, "done", b"x")]
        assert await actor.ask("twice", b"ab") == b"abab"
        assert await actor.dispatch("add", 1, 2) == 3
        assert asyncio.get_running_loop() is loop
        assert asyncio.current_task() is not None
        await asyncio.sleep(0)

    asyncio.run(main(), debug=True)


def test_others_are_given_by_name_too(actor: Isolated[Worker]) -> None:
    actor.deliver("echo", sender="somebody")
    assert actor.sent[0].to == actor.elsewhere("somebody")
    assert actor.sent[0].to.address != actor.pid.address
    actor.deliver("echo", sender="peer@10.0.0.7:5050")
    assert actor.sent[1].to == PEER


def test_async_handlers_go_on_with_time_and_one_at_a_time(actor: Isolated[Worker]) -> None:
    actor.deliver("slow", b"1", sender=PEER)
    actor.deliver("echo", b"2", sender=PEER)
    assert actor.is_waiting
    actor.advance(2.9)
    assert actor.sent == []
    actor.advance(0.1)
    assert not actor.is_waiting
    assert [sent.name for sent in actor.sent] == ["done", "echoed"]


def test_concurrent_handlers_do_not_hold_the_others() -> None:
    class Concurrent(Worker):
        @install("load", concurrent=True)
        async def load(self, from_pid: PID, body: bytes) -> None:
            await asyncio.sleep(float(body))
            if body == b"3":
                raise ZeroDivisionError
            self.send(from_pid, "loaded", body)

    actor = isolated(Concurrent())
    for body in (b"3", b"2", b"1"):
        actor.deliver("load", body, sender=PEER)
    assert not actor.is_waiting
    actor.deliver("echo", sender=PEER)
    actor.advance(2)
    assert [sent.body for sent in actor.sent] == [b"", b"1", b"2"]
    with pytest.raises(ZeroDivisionError):
        actor.advance(1)


def test_what_a_test_sets_is_noticed_by_settle(actor: Isolated[Worker]) -> None:
    event = asyncio.Event()
    outcome = actor.dispatch("wait_for", event)
    event.set()
    assert not outcome.done()
    actor.settle()
    assert outcome.result() == "it is set"


def test_messages_to_itself_and_to_children_arrive() -> None:
    class Parent(Worker):
        def initialize(self) -> None:
            self.child = self.spawn(Worker("child"))

        @install("begin")
        def begin(self, from_pid: PID, body: bytes) -> None:
            self.send(self.pid, "echoed", b"mine")
            self.send(self.child, "echo", b"yours")

        @install("echoed")
        def echoed(self, from_pid: PID, body: bytes) -> None:
            self.seen.append((from_pid, body))

    actor = isolated(Parent())
    actor.deliver("begin")
    pid, child = actor.pid, actor.process.child
    assert actor.process.seen == [(pid, b"mine"), (child, b"yours")]
    assert actor.sent == [
        (pid, "echoed", b"mine"),
        (child, "echo", b"yours"),
        (pid, "echoed", b"yours"),
    ]
    assert [sent.sender for sent in actor.sent] == [pid, pid, child]
    actor.process.link(child)
    actor.process.context.terminate(child)
    actor.settle()
    assert actor.process.seen[2:] == [(child, Reason.TERMINATED, "")]


def test_delegated_messages_keep_their_sender(actor: Isolated[Worker]) -> None:
    actor.process.delegate("other", actor.elsewhere("delegate"))
    actor.deliver("other", b"x", sender=PEER)
    assert actor.sent == [(actor.elsewhere("delegate"), "other", b"x")]
    assert actor.sent[0].sender == PEER


def test_handle_message_sees_every_name() -> None:
    class All(Process):
        def handle_message(self, name: str, from_pid: PID, body: bytes) -> None:
            self.send(from_pid, f"seen_{name}", body)

    actor = isolated(All("all"))
    actor.deliver("anything", sender=PEER)
    assert actor.sent == [(PEER, "seen_anything", b"")]


def test_what_cannot_be_sent_is_a_dead_letter(actor: Isolated[Worker]) -> None:
    actor.deliver("echo")  # by nobody, who gets no answer
    assert [letter.reason for letter in actor.dead_letters] == [Reason.NO_PROCESS]
    nobody = PID(actor.pid.ip, actor.pid.port, "nobody")
    actor.deliver("echo", sender=nobody)
    assert [(letter.to, letter.reason) for letter in actor.dead_letters[1:]] == [
        (nobody, Reason.NO_PROCESS)
    ]


def test_it_sends_what_it_sends_in_a_context(make_context: Any) -> None:
    class Teller(Process):
        def initialize(self) -> None:
            self.count = 0
            self.every(0.05, "tick")

        def tick(self) -> None:
            self.count += 1
            if self.count == 2:
                self.send(self.asked, "message", b"two ticks")

        @install("begin")
        async def begin(self, from_pid: PID, body: bytes) -> None:
            self.asked = from_pid
            await asyncio.sleep(0.01)
            self.send(from_pid, "message", body)
            self.send(self.pid, "self", body)

        @install("self")
        def myself(self, from_pid: PID, body: bytes) -> None:
            self.send(self.asked, "message", b"from " + from_pid.id.encode())

    peer = Receiver("peer")
    make_context().spawn(peer)
    make_context().spawn(teller := Teller("teller"))
    peer.send(teller.pid, "begin", b"hello")
    seen = [peer.received.take()[1] for _ in range(3)]

    actor = isolated(Teller("teller"))
    actor.deliver("begin", b"hello", sender=peer.pid)
    actor.advance(1)
    assert [sent.body for sent in actor.sent if sent.to == peer.pid] == seen


# Types


def test_messages_of_types() -> None:
    pytest.importorskip("msgspec")

    class Adder(Process):
        @install(Add)
        def add(self, from_pid: PID, message: Add) -> None:
            self.send(from_pid, Sum(message.a + message.b))

        @Process.answer(Double)
        def double(self, from_pid: PID, message: Double) -> int:
            return message.value * 2

        @install("forward")
        async def forward(self, from_pid: PID, body: bytes) -> None:
            self.got = await self.ask(PEER, Double(int(body)))

    actor = isolated(Adder("adder"))
    actor.deliver(Add(2, 3), sender=PEER)
    assert actor.sent[0].decode(Sum) == Sum(5)
    assert actor.sent[0].name == "Sum"
    with pytest.raises(ValueError, match="this message is 'Sum', and no 'Add'"):
        actor.sent[0].decode(Add)
    with pytest.raises(TypeError):
        actor.sent[0].decode(int)
    assert actor.ask(Double(4)).result() == 8
    actor.deliver("forward", b"21")
    assert actor.asked[0].decode(Double) == Double(21)
    with pytest.raises(TypeError, match="answered with int, not with 'no number'"):
        actor.asked[0].answer("no number")
    actor.asked[0].answer(42)
    assert actor.process.got == 42
    with pytest.raises(ValueError, match="Add"):
        actor.deliver("Add", b"no JSON", sender=PEER)  # DoesNotParse
    with pytest.raises(TypeError, match="sent without a body"):
        actor.deliver(Add(1, 2), b"body")


def test_protocol_buffers() -> None:
    wrappers = pytest.importorskip("google.protobuf.wrappers_pb2")
    text, number = wrappers.StringValue, wrappers.Int32Value

    class Lengths(ProtobufProcess):
        @ProtobufProcess.install(text)
        def length(self, from_pid: PID, message: Any) -> None:
            self.send(from_pid, number(value=len(message.value)))

        @ProtobufProcess.answer(number)
        async def add(self, from_pid: PID, message: Any) -> Any:
            more = await self.ask(PEER, text(value="more"), reply=number)
            return number(value=message.value + more.value)

    actor = isolated(Lengths("lengths"))
    actor.deliver(text(value="abc"), sender=PEER)
    assert actor.sent[0].decode(number).value == 3
    outcome = actor.ask(number(value=5), reply=number)
    assert actor.asked[0].decode(text).value == "more"
    actor.asked[0].answer(number(value=2))
    assert outcome.result().value == 7


# Errors of handlers


def test_what_a_handler_raises_is_raised_to_the_test(actor: Isolated[Worker]) -> None:
    with pytest.raises(ZeroDivisionError, match="now"):
        actor.deliver("fail", b"now")
    actor.deliver("fail_later", b"later")
    with pytest.raises(ZeroDivisionError, match="later"):
        actor.advance(1)
    actor.deliver("echo", sender=PEER)  # it goes on, as under the default policy
    assert len(actor.sent) == 1


def test_what_the_others_raise_is_raised_to_the_test() -> None:
    class Bad(Worker):
        def exited(self, pid: PID, reason: Reason) -> None:
            raise ZeroDivisionError("exited")

        def finalize(self) -> None:
            raise ZeroDivisionError("finalize")

        def tick(self) -> None:
            raise ZeroDivisionError("tick")

    actor = isolated(Bad())
    actor.deliver("link", sender=PEER)
    with pytest.raises(ZeroDivisionError, match="exited"):
        actor.exited(PEER)
    actor.process.every(1, "tick")
    with pytest.raises(ZeroDivisionError, match="tick"):
        actor.advance(5)
    assert actor.time == 5
    with pytest.raises(ZeroDivisionError, match="finalize"):
        actor.terminate()
    assert not actor.is_alive


def test_what_initialize_raises_is_raised_by_isolated() -> None:
    class Bad(Worker):
        def initialize(self) -> None:
            raise ZeroDivisionError

    class BadLater(Worker):
        async def initialize(self) -> None:
            raise ZeroDivisionError

    for kind in (Bad, BadLater):
        with pytest.raises(ZeroDivisionError):
            isolated(kind())


def test_policies_act(actor: Isolated[Worker]) -> None:
    stopping = isolated(Worker(), on_failure=Stop())
    with pytest.raises(ZeroDivisionError):
        stopping.deliver("fail")
    assert not stopping.is_alive

    restarting = isolated(Worker, on_failure=Restart())
    first = restarting.process
    with pytest.raises(ZeroDivisionError):
        restarting.deliver("fail")
    restarting.advance(60)
    assert restarting.is_alive
    assert restarting.process is not first
    restarting.deliver("echo", sender=PEER)
    assert restarting.process.seen == [(PEER, b"")]


def test_bounds_hold() -> None:
    actor = isolated(Worker(), mailbox=Bound(2))
    actor.deliver("slow", sender=PEER)
    for number in range(3):
        actor.deliver("echo", str(number).encode(), sender=PEER)
    assert [letter.reason for letter in actor.dead_letters] == [Reason.OVERFLOW]
    actor.advance(3)
    assert len(actor.sent) == 3


# Asking it


def test_asks(actor: Isolated[Worker]) -> None:
    assert actor.ask("twice", b"ab").result() == b"abab"
    assert actor.ask("twice", b"ab", sender=PEER).exception() is None
    assert actor.process.seen[1] == PEER
    outcome = actor.ask("broken")
    with pytest.raises(RemoteError, match="KeyError: 'missing'") as caught:
        outcome.result()
    assert isinstance(caught.value.__cause__, KeyError)
    assert isinstance(outcome.exception(), RemoteError)


def test_an_ask_that_is_not_answered_yet(actor: Isolated[Worker]) -> None:
    outcome = actor.ask("never", timeout=1000)
    assert not outcome.done()
    assert repr(outcome) == "<outcome of ask 'never', not there yet>"
    for look in (outcome.result, outcome.exception):
        with pytest.raises(ProcessError, match=r"ask 'never' has not ended yet: .* advance\(\)"):
            look()
    with pytest.raises(ProcessError, match="has not ended yet"):
        asyncio.run(_awaited(outcome))
    actor.advance(100)
    assert outcome.result() == b"after all"
    assert repr(outcome) == "<outcome of ask 'never', done>"


async def _awaited(outcome: Any) -> Any:
    return await outcome


def test_an_ask_ends_with_its_time_or_the_process(actor: Isolated[Worker]) -> None:
    late = actor.ask("never", timeout=50)
    actor.advance(50)
    with pytest.raises(AskTimeout):
        late.result()
    assert not actor.is_waiting  # who gives up is told of
    waiting = actor.ask("never")
    actor.terminate()
    with pytest.raises(AskFailed, match="terminated"):
        waiting.result()


def test_an_installed_method_that_fails_tells_who_has_asked(actor: Isolated[Worker]) -> None:
    with pytest.raises(RemoteError, match="ZeroDivisionError: why"):
        actor.ask("fail", b"why").result()
    actor.deliver("echo", sender=PEER)  # nothing is left to be raised


# What it asks


def test_it_is_answered_by_the_test(actor: Isolated[Worker]) -> None:
    actor.deliver("fetch", b"key")
    asked = actor.asked[0]
    assert asked == (PEER, "get", b"key")
    assert asked.is_open
    assert actor.sent == []
    asked.answer(b"value")
    assert actor.process.seen == [b"value"]
    assert not asked.is_open
    with pytest.raises(ProcessError, match="nobody waits for an answer to AskedOther"):
        asked.answer(b"again")
    with pytest.raises(ProcessError, match="nobody waits"):
        asked.fail(Reason.REFUSED)


@pytest.mark.parametrize(
    ("error", "seen", "text"),
    [
        (KeyError("gone"), RemoteError, "KeyError: 'gone'"),
        (Reason.REFUSED, AskFailed, "refused"),
    ],
)
def test_what_it_asks_fails(
    actor: Isolated[Worker], error: Any, seen: type[Exception], text: str
) -> None:
    actor.deliver("fetch")
    actor.asked[0].fail(error)
    assert type(actor.process.seen[0]) is seen
    assert text in str(actor.process.seen[0])


def test_what_it_asks_ends_with_time_or_with_the_other(actor: Isolated[Worker]) -> None:
    actor.deliver("fetch")
    actor.advance(5)
    assert isinstance(actor.process.seen[0], AskTimeout)
    assert not actor.asked[0].is_open
    actor.deliver("fetch")
    actor.exited(PEER, Reason.RESET)
    assert actor.process.seen[1].reason is Reason.RESET


def test_asks_fail_with_what_can_fail(actor: Isolated[Worker]) -> None:
    actor.deliver("fetch")
    with pytest.raises(TypeError, match="an exception or a Reason, got 'refused'"):
        actor.asked[0].fail("refused")  # type: ignore[arg-type]
    assert actor.asked[0].is_open


# Methods


def test_dispatch(actor: Isolated[Worker]) -> None:
    assert actor.dispatch("add", 1, 2).result() == 3
    assert actor.dispatch(actor.process.add, 3, 4).result() == 7
    with pytest.raises(ZeroDivisionError):
        actor.dispatch(lambda: 1 / 0).result()
    with pytest.raises(InvalidMethod):
        actor.dispatch("nothing")
    actor.deliver("echo", sender=PEER)  # nothing is left to be raised


# Links


def test_links_and_exits(actor: Isolated[Worker]) -> None:
    actor.deliver("link", sender=PEER)
    actor.deliver("link", sender="other")
    assert actor.links == {PEER, actor.elsewhere("other")}
    actor.exited(PEER, Reason.RESET)
    actor.exited("other", "failed", detail="why")  # type: ignore[arg-type]
    assert actor.process.seen == [
        (PEER, Reason.RESET, ""),
        (actor.elsewhere("other"), Reason.FAILED, "why"),
    ]
    assert actor.links == frozenset()


def test_exits_that_nobody_would_hear_of(actor: Isolated[Worker]) -> None:
    with pytest.raises(ValueError, match=r"nothing of the end of peer@.*: it is linked to nobody"):
        actor.exited(PEER)
    actor.deliver("link", sender="other")
    with pytest.raises(ValueError, match="linked to other@127"):
        actor.exited(PEER)
    with pytest.raises(ValueError, match="'no reason' is not a valid Reason"):
        actor.exited("other", "no reason")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=r"worker@127\.0\.0\.1:1 is here"):
        actor.exited(actor.pid)


# Time


def test_timers_end_in_order_each_at_its_time(actor: Isolated[Worker]) -> None:
    process = actor.process
    process.delay(4, "note", "four")
    process.every(1.5, "note", "each")
    process.delay(3, process.note, "three")
    off = process.delay(2, "note", "off")
    assert [(timer.name, timer.when, timer.args, timer.interval) for timer in actor.timers] == [
        ("note", 1.5, ("each",), 1.5),
        ("note", 2.0, ("off",), None),
        ("note", 3.0, ("three",), None),
        ("note", 4.0, ("four",), None),
    ]
    assert repr(actor.timers[0]) == "<timer note('each',), when=1.5, interval=1.5>"
    assert repr(actor.timers[1]) == "<timer note('off',), when=2>"
    off.cancel()
    actor.advance(0)
    assert len(actor.timers) == 3
    actor.advance(4)
    assert actor.time == 4
    assert process.seen == [(1.5, "each"), (3.0, "three"), (3.0, "each"), (4.0, "four")]
    assert [timer.when for timer in actor.timers] == [4.5]
    actor.terminate()
    assert actor.timers == []


def test_a_long_time_goes_by_at_once(actor: Isolated[Worker]) -> None:
    actor.process.every(60, "note")
    actor.advance(86_400)
    assert len(actor.process.seen) == 1440
    later = isolated(Worker())
    later.advance(1e15)
    later.process.delay(1, "note", "x")
    later.advance(1)
    assert later.process.seen == [(1e15 + 1, "x")]


# Its end


def test_nothing_is_left_of_it(caplog: pytest.LogCaptureFixture) -> None:
    actor: Any = isolated(Worker())
    actor.deliver("slow")  # and so it ends in the middle of a handler
    process, context = weakref.ref(actor.process), weakref.ref(actor.process.context)
    del actor
    gc.collect()
    assert process() is None
    assert context() is None
    assert caplog.records == []


# What it does not have


def test_there_are_no_sockets_and_no_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: Any, **__: Any) -> None:
        raise AssertionError("a socket is made")

    before = threading.enumerate()
    monkeypatch.setattr(socket, "socket", refuse)
    monkeypatch.setenv("LIBPROCESS_PORT", "5050")
    actor = isolated(Worker())
    actor.deliver("echo", sender=PEER)
    actor.deliver("link", sender=PEER)
    actor.advance(3600)
    actor.terminate()
    assert threading.enumerate() == before


@pytest.mark.parametrize(
    "call",
    [
        lambda: asyncio.to_thread(print),
        lambda: asyncio.open_connection("127.0.0.1", 1),
        lambda: asyncio.start_server(print, "127.0.0.1", 1),
        lambda: asyncio.create_subprocess_exec("true"),
        lambda: asyncio.create_subprocess_shell("true"),
        lambda: asyncio.get_running_loop().getaddrinfo("localhost", 1),
    ],
    ids=["thread", "connection", "server", "program", "shell", "name"],
)
def test_what_takes_a_system_is_refused(actor: Isolated[Worker], call: Any) -> None:
    async def run() -> None:
        await call()

    with pytest.raises(RuntimeError, match="no sockets, threads and subprocesses"):
        actor.dispatch(run).result()


# Bad input


def test_names_without_a_handler(actor: Isolated[Worker]) -> None:
    for tell in (actor.deliver, actor.ask):
        with pytest.raises(ValueError, match=r"no handler for 'ecoh'; it handles broken, echo, fa"):
            tell("ecoh")
    with pytest.raises(ValueError, match="it handles no message at all"):
        isolated(Process("plain")).deliver("x")


@pytest.mark.parametrize("name", [5, None, b"echo", object()])
def test_names_that_are_none(actor: Isolated[Worker], name: Any) -> None:
    with pytest.raises(TypeError):
        actor.deliver(name)


def test_other_bad_arguments(actor: Isolated[Worker]) -> None:
    with pytest.raises(TypeError, match="given by a PID or a name, got 5"):
        actor.deliver("echo", sender=5)  # type: ignore[arg-type]
    with pytest.raises(TypeError):
        actor.deliver("echo", 5)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="above 0, got -1"):
        actor.ask("twice", timeout=-1)
    assert actor.process.seen == []


@pytest.mark.parametrize("process", [5, "worker", None])
def test_what_is_no_process(process: Any) -> None:
    with pytest.raises(TypeError, match="only a Process can be spawned"):
        isolated(process)


def test_a_process_that_lives_already(actor: Isolated[Worker], context: Context) -> None:
    with pytest.raises(InvalidProcess, match="lives already"):
        isolated(actor.process)
    elsewhere = Worker("elsewhere")
    context.spawn(elsewhere)
    with pytest.raises(InvalidProcess, match="lives already"):
        isolated(elsewhere)


def test_settings_are_those_of_the_process() -> None:
    actor = isolated(Worker(), settings=Settings(ask_timeout=2))
    outcome = actor.ask("never")
    actor.advance(2)
    assert isinstance(outcome.exception(), AskTimeout)


@pytest.mark.parametrize("seconds", [-1, -0.001, float("nan"), float("inf")])
def test_times_that_cannot_go_by(actor: Isolated[Worker], seconds: float) -> None:
    with pytest.raises(ValueError, match="a finite number of seconds, got"):
        actor.advance(seconds)
    assert actor.time == 0


@pytest.mark.parametrize("seconds", ["5", None, True])
def test_times_that_are_no_numbers(actor: Isolated[Worker], seconds: Any) -> None:
    with pytest.raises(TypeError, match="a number of seconds, got"):
        actor.advance(seconds)


def test_use_after_the_end(actor: Isolated[Worker]) -> None:
    actor.deliver("link", sender=PEER)
    process = actor.process
    actor.terminate()
    assert not actor.is_alive
    assert not actor.is_waiting
    assert actor.links == frozenset()
    assert actor.process is process
    for call in (
        lambda: actor.deliver("echo"),
        lambda: actor.ask("twice"),
        lambda: actor.dispatch("add", 1, 2),
        lambda: actor.exited(PEER),
    ):
        with pytest.raises(ProcessTerminated, match="<isolated Worker worker> has ended"):
            call()
    actor.advance(1)
    actor.terminate()


def test_the_end_that_it_chooses_itself() -> None:
    class Ending(Worker):
        @install("end")
        def end(self, from_pid: PID, body: bytes) -> None:
            self.terminate()

        @install("stop")
        def stop(self, from_pid: PID, body: bytes) -> None:
            self.context.stop()

    for name in ("end", "stop"):
        actor = isolated(Ending())
        actor.deliver(name)
        assert not actor.is_alive


def test_messages_to_itself_without_an_end() -> None:
    class Endless(Process):
        @install("again")
        def again(self, from_pid: PID, body: bytes) -> None:
            self.context.loop.call_soon(self.send, self.pid, "again")

    actor = isolated(Endless("endless"))
    with pytest.raises(RuntimeError, match="not come to rest within 100000 turns"):
        actor.deliver("again")


def test_it_is_not_driven_by_itself() -> None:
    class Nested(Process):
        @install("again")
        def again(self, from_pid: PID, body: bytes) -> None:
            actor.deliver("again")

    actor = isolated(Nested("nested"))
    with pytest.raises(RuntimeError, match="driven by what it runs itself"):
        actor.deliver("again")


def test_it_is_driven_by_one_thread(actor: Isolated[Worker]) -> None:
    errors = []

    def drive() -> None:
        try:
            actor.deliver("echo")
        except ProcessError as error:
            errors.append(str(error))

    thread = threading.Thread(target=drive)
    thread.start()
    thread.join()
    assert errors == [
        "<isolated Worker worker> is driven by the thread that has made it, and no other"
    ]
