"""Asks: every one of them ends, with an answer or with why there is none."""

from __future__ import annotations

import asyncio
import json
import math
import re
import socket
from collections.abc import Callable
from typing import Any

import pytest

from compactor import (
    PID,
    AskFailed,
    AskTimeout,
    Context,
    Process,
    Reason,
    RemoteError,
    Settings,
    answer,
    install,
)
from compactor.errors import ProcessError
from tests.actors import TIMEOUT, Receiver, dead_letters, spawned, take_letter, wait_until
from tests.raw import dead_port, frame, have_no_notices, pid_at, read_answer, read_message

MakeContext = Callable[..., Context]


class Store(Receiver):
    def __init__(self, name: str = "store") -> None:
        super().__init__(name)
        self.values = {b"k": b"value"}

    @answer("get")
    def get(self, from_pid: PID, key: bytes) -> bytes:
        self.received.put(from_pid)
        return self.values[key]

    @answer("slowly")
    async def slowly(self, from_pid: PID, key: bytes) -> bytes:
        await asyncio.sleep(0)
        return self.values[key]

    @answer("nothing")
    def nothing(self, from_pid: PID, body: bytes) -> None:
        pass

    @answer("number")
    def number(self, from_pid: PID, body: bytes) -> Any:
        return 5

    @answer("never")
    async def never(self, from_pid: PID, body: bytes) -> None:
        self.received.put("never")
        await asyncio.get_running_loop().create_future()

    @install("installed")
    def installed(self, from_pid: PID, body: bytes) -> None:
        self.send(from_pid, "any.name", b"by " + body)

    @install("raises")
    def raises(self, from_pid: PID, body: bytes) -> None:
        raise LookupError("on purpose")

    @install("mute")
    def mute(self, from_pid: PID, body: bytes) -> None:
        self.received.put("mute")


class User(Process):
    async def question(self, to: PID, name: str, body: bytes | None = None) -> Any:
        return await self.ask(to, name, body)


@pytest.fixture(params=["local", "remote"])
def store(request: pytest.FixtureRequest, context: Context, make_context: MakeContext) -> Store:
    """A store, for askers of ``context``."""
    return spawned(context if request.param == "local" else make_context(), Store())


def asked(context: Context, *args: Any, **kw: Any) -> Any:
    """What a thread gets for an ask."""
    return context.ask(*args, **kw).result(TIMEOUT)


def failure(context: Context, *args: Any, **kw: Any) -> tuple[Reason, str]:
    """Why there is no answer."""
    with pytest.raises(AskFailed) as failed:
        asked(context, *args, **kw)
    return failed.value.reason, str(failed.value)


@pytest.mark.each_combination
def test_an_answer_comes_to_handlers_threads_and_coroutines(context: Context, store: Store) -> None:
    user = spawned(context, User("user"))
    for name in ("get", "slowly"):
        question = context.dispatch(user.pid, "question", store.pid, name, b"k")
        assert question.result(TIMEOUT) == b"value"
        assert asked(context, store.pid, name, b"k") == b"value"

    async def on_another_loop() -> list[Any]:
        return await asyncio.gather(*[context.ask(store.pid, "get", b"k") for _ in range(9)])

    assert asyncio.run(on_another_loop()) == [b"value"] * 9
    assert not context._runtime.asks.waiting


@pytest.mark.smoke
def test_what_a_handler_raises_is_an_error_of_who_asks(
    context: Context, store: Store, caplog: pytest.LogCaptureFixture
) -> None:
    for name in ("get", "slowly"):
        with pytest.raises(RemoteError, match=r"^KeyError: b'missing'$") as raised:
            asked(context, store.pid, name, b"missing")
        assert (raised.value.type, raised.value.text) == ("KeyError", "b'missing'")
    with pytest.raises(RemoteError, match=r"^TypeError: Body must be a sequence of bytes, got 5"):
        asked(context, store.pid, "number")
    assert not caplog.records


def test_an_installed_handler_that_raises_is_an_error_of_who_asks(
    context: Context, store: Store, caplog: pytest.LogCaptureFixture
) -> None:
    with pytest.raises(RemoteError, match=r"^LookupError: on purpose$"):
        asked(context, store.pid, "raises")
    assert not caplog.records


def test_none_is_answered_as_nothing(context: Context, store: Store) -> None:
    assert asked(context, store.pid, "nothing") == b""


@pytest.mark.smoke
def test_an_installed_handler_answers_by_sending(context: Context, store: Store) -> None:
    assert asked(context, store.pid, "installed", b"hand") == b"by hand"


def test_an_asker_of_the_same_context_is_known(context: Context, make_context: MakeContext) -> None:
    here, there = spawned(context, Store()), spawned(make_context(), Store())
    user = spawned(context, User("user"))
    for store in (here, there):
        context.dispatch(user.pid, "question", store.pid, "get", b"k").result(TIMEOUT)
    assert here.received.take() == user.pid
    assert re.fullmatch(r"__req_res__\(\d+\)", there.received.take().id)


@pytest.mark.smoke
def test_an_ask_that_is_not_answered_in_time_fails(context: Context, store: Store) -> None:
    with pytest.raises(AskTimeout, match=r"^'mute' was not answered by .* within 0\.01 s$") as late:
        asked(context, store.pid, "mute", timeout=0.01)
    assert isinstance(late.value, TimeoutError)
    assert not context._runtime.asks.waiting


def test_the_setting_is_the_time_of_asks_that_name_none(make_context: MakeContext) -> None:
    context = make_context(settings=Settings(ask_timeout=0.01))
    with pytest.raises(AskTimeout, match=r"within 0\.01 s$"):
        asked(context, spawned(context, Store()).pid, "mute")


@pytest.mark.parametrize("timeout", [True, False])
def test_a_truth_is_no_time(context: Context, timeout: bool) -> None:
    with pytest.raises(TypeError, match="the time for an answer is a number of seconds, got"):
        context.ask(PID("127.0.0.1", 1, "a"), "name", timeout=timeout)


@pytest.mark.parametrize("timeout", [0, -1, math.nan, math.inf, "1", None.__class__])
def test_a_time_that_is_none_is_an_error(context: Context, timeout: Any) -> None:
    with pytest.raises(ValueError, match="a finite number of seconds above 0, got "):
        context.ask(PID("127.0.0.1", 1, "a"), "name", timeout=timeout)


@pytest.mark.each_combination
def test_an_ask_that_nobody_can_answer_fails_at_once(context: Context, store: Store) -> None:
    nobody = PID(store.pid.ip, store.pid.port, "nobody")
    reason, text = failure(context, nobody, "get")
    assert (reason, text) == (
        Reason.NO_PROCESS,
        f"'get' was not answered by {nobody}: no such process",
    )
    assert failure(context, store.pid, "unknown")[0] is Reason.NO_HANDLER
    dead = PID("127.0.0.1", dead_port(), "dead")
    assert failure(context, dead, "get")[0] is Reason.REFUSED


@pytest.mark.smoke
@pytest.mark.parametrize("name", ["mute", "never"])
def test_an_ask_fails_when_whom_was_asked_ends(context: Context, store: Store, name: str) -> None:
    question = context.ask(store.pid, name)
    assert store.received.take() == name
    store.terminate()
    with pytest.raises(AskFailed) as failed:
        question.result(TIMEOUT)
    assert failed.value.reason is Reason.TERMINATED


def test_an_ask_that_waits_fails_when_whom_was_asked_ends(context: Context, store: Store) -> None:
    first, second = context.ask(store.pid, "never"), context.ask(store.pid, "get", b"k")
    assert store.received.take() == "never"
    store.terminate()
    for question in (first, second):
        with pytest.raises(AskFailed) as failed:
            question.result(TIMEOUT)
        assert failed.value.reason is Reason.TERMINATED


def test_asks_fail_when_their_context_stops(make_context: MakeContext) -> None:
    here, there = make_context(), make_context()
    question = here.ask(spawned(there, Store()).pid, "mute")
    wait_until(lambda: here._runtime.asks.waiting)
    here.stop()
    with pytest.raises(AskFailed) as failed:
        question.result(TIMEOUT)
    assert failed.value.reason is Reason.STOPPED


def test_an_ask_that_is_cancelled_is_forgotten(context: Context, store: Store) -> None:
    question = context.ask(store.pid, "mute")
    assert store.received.take() == "mute"
    assert question.cancel()
    wait_until(lambda: not context._runtime.asks.waiting)
    assert not context._runtime.watches.links.linked


def test_a_second_a_late_and_a_forged_answer_are_dead_letters(
    context: Context, make_context: MakeContext
) -> None:
    letters = dead_letters(context)

    class Twice(Process):
        @install("twice")
        def twice(self, from_pid: PID, body: bytes) -> None:
            self.send(from_pid, "answer", b"1")
            self.send(from_pid, "answer", b"2")
            self.send(PID(from_pid.ip, from_pid.port, "__req_res__(1)"), "answer", b"3")

    process = spawned(make_context(), Twice("twice"))
    assert asked(context, process.pid, "twice") == b"1"
    assert [take_letter(letters).reason for _ in "23"] == [Reason.NO_PROCESS] * 2


def test_whoever_asks_itself_is_told(context: Context) -> None:
    user = spawned(context, User("user"))
    with pytest.raises(ProcessError, match="would wait for itself, forever"):
        context.dispatch(user.pid, "question", user.pid, "get").result(TIMEOUT)


def test_a_plain_handler_cannot_wait_for_an_answer(context: Context, store: Store) -> None:
    class Impatient(Process):
        def question(self) -> Any:
            return self.ask(store.pid, "get", b"k").result()

    process = spawned(context, Impatient("impatient"))
    with pytest.raises(
        context.Error, match=r"cannot wait for the answer of .*: await it, in an as"
    ):
        context.dispatch(process.pid, "question").result(TIMEOUT)


def test_a_message_that_was_not_asked_is_not_answered(context: Context, store: Store) -> None:
    letters, receiver = dead_letters(context), spawned(context, Receiver("receiver"))
    receiver.send(store.pid, "get", b"k")
    assert store.received.take() == receiver.pid
    assert asked(context, store.pid, "get", b"k") == b"value"
    assert letters.is_empty
    assert receiver.received.is_empty


def test_a_delegate_answers(context: Context, store: Store) -> None:
    front = spawned(context, Process("front"))
    front.delegate("get", store.pid)
    assert asked(context, front.pid, "get", b"k") == b"value"


def test_a_process_that_sees_every_message_answers(context: Context) -> None:
    class Seeing(Store):
        def handle_message(self, name: str, from_pid: PID, body: bytes) -> Any:
            self.received.put(name)
            return super().handle_message(name, from_pid, body)

    store = spawned(context, Seeing())
    assert asked(context, store.pid, "slowly", b"k") == b"value"
    assert store.received.take() == "slowly"


def test_protocol_buffers_ask_and_answer(context: Context, make_context: MakeContext) -> None:
    wrappers = pytest.importorskip("google.protobuf.wrappers_pb2")
    from compactor import ProtobufProcess

    class Length(ProtobufProcess):
        @ProtobufProcess.answer(wrappers.StringValue)
        def length(self, from_pid: PID, message: Any) -> Any:
            return wrappers.Int32Value(value=len(message.value))

    class Asker(ProtobufProcess):
        async def question(self, to: PID, text: str, reply: Any) -> Any:
            return await self.ask(to, wrappers.StringValue(value=text), reply=reply)

    asker = spawned(context, Asker("asker"))
    for there in (context, make_context()):
        length = there.spawn(Length("length"))
        for reply, expected in (
            (wrappers.Int32Value, wrappers.Int32Value(value=4)),
            (None, wrappers.Int32Value(value=4).SerializeToString()),
        ):
            question = context.dispatch(asker.pid, "question", length, "text", reply)
            assert question.result(TIMEOUT) == expected
        question = context.dispatch(asker.pid, "question", length, "text", wrappers.StringValue)
        with pytest.raises(ValueError, match=r"'google.protobuf.Int32Value', and not google"):
            question.result(TIMEOUT)


def test_an_answer_on_the_wire_is_a_message_as_libprocess_has_it(
    context: Context, listener: socket.socket
) -> None:
    """Asked by a peer that knows nothing of compactor, and asked of one."""
    store = spawned(context, Store())
    foreign = PID(*listener.getsockname(), "__req_res__(7)")
    with socket.create_connection(store.pid.address, TIMEOUT) as sock:
        for name, body in (("get", b"k"), ("get", b"?")):
            sock.sendall(frame(store.pid, name, body, sender=foreign))
        accepted, _ = listener.accept()
        with accepted, accepted.makefile("rb") as stream:
            assert read_message(stream) == ("/__req_res__(7)/get", str(store.pid), b"value")
            path, _, body = read_message(stream)
            assert path == "/__req_res__(7)/compactor.ask.failed"
            assert json.loads(body) == {"error": "KeyError", "text": "b'?'"}


def test_a_peer_that_knows_nothing_of_compactor_answers(
    context: Context, listener: socket.socket
) -> None:
    question = context.ask(pid_at(listener, "foreign"), "get", b"k")
    accepted, _ = listener.accept()
    have_no_notices(listener)
    with accepted, accepted.makefile("rb") as stream:
        path, sender, body = read_message(stream)
        assert (path, body) == ("/foreign/get", b"k")
        asker = PID.from_string(sender)
        with socket.create_connection(asker.address, TIMEOUT) as sock:
            sock.sendall(frame(asker, "whatever", b"answer"))
            assert question.result(TIMEOUT) == b"answer"
            assert read_answer(sock) == (202, b"")


@pytest.mark.parametrize("body", [b"", b"5", b"{}", b'{"reason": 5}', b"[" * 100_000, b"\xff"])
def test_a_failure_that_is_not_understood_fails(context: Context, body: bytes) -> None:
    class Odd(Process):
        @install("odd")
        def odd(self, from_pid: PID, _: bytes) -> None:
            self.send(from_pid, "compactor.ask.failed", body)

    odd = spawned(context, Odd("odd"))
    assert failure(context, odd.pid, "odd") == (
        Reason.REJECTED,
        f"{odd.pid} has refused 'odd', and does not say why",
    )


@pytest.mark.parametrize("decorator", [answer, install])
def test_an_error_that_cannot_be_printed_is_told(context: Context, decorator: Any) -> None:
    class Unprintable(Exception):
        def __str__(self) -> str:
            raise ValueError

    class Broken(Process):
        @decorator("broken")
        def broken(self, from_pid: PID, body: bytes) -> None:
            raise Unprintable

    broken = spawned(context, Broken("broken"))
    for _ in range(2):
        with pytest.raises(RemoteError, match=r"Unprintable$"):
            asked(context, broken.pid, "broken")


@pytest.mark.parametrize("id_", ["store", "plain"])
def test_no_stranger_has_us_call_up_an_address_to_tell_a_failure(
    context: Context, listener: socket.socket, id_: str
) -> None:
    """Only what has an answer goes wherever it is asked to."""
    spawned(context, Store())
    plain = spawned(context, Receiver("plain"))
    letters, foreign = dead_letters(context), PID(*listener.getsockname(), "__req_res__(7)")
    with socket.create_connection(plain.pid.address, TIMEOUT) as sock:
        for name in ("unknown", "raises"):
            sock.sendall(frame(PID(*plain.pid.address, id_), name, sender=foreign))
        sock.sendall(frame(plain.pid, sender=foreign))
        assert plain.received.take()[0] == foreign
    assert take_letter(letters).reason is Reason.NO_HANDLER
    listener.settimeout(0.05)
    with pytest.raises(TimeoutError):
        listener.accept()


def test_a_class_with_these_names_for_other_things_goes_on(context: Context) -> None:
    class Older(Receiver):
        answer = 42

        @install("ask")
        def ask(self, from_pid: PID, body: bytes) -> None:  # type: ignore[override]
            self.received.put((self.answer, body))

    older = spawned(context, Older())
    older.send(older.pid, "ask", b"what")
    assert older.received.take() == (42, b"what")


def test_a_stranger_who_claims_to_ask_for_us_hides_no_failure(
    context: Context, caplog: pytest.LogCaptureFixture
) -> None:
    store = spawned(context, Store())
    ours = PID(*store.pid.address, "__req_res__(7)")
    with socket.create_connection(store.pid.address, TIMEOUT) as sock:
        sock.sendall(frame(store.pid, "raises", sender=ours))
        wait_until(lambda: "failed in message 'raises'" in caplog.text)
    assert context.metrics.handler_failures == 1


def test_two_answers_of_one_name_in_one_class_are_an_error() -> None:
    with pytest.raises(TypeError, match=r"Two\.b and another method above it both answer 'm'"):
        type("Two", (Process,), {"a": answer("m")(lambda *a: b""), "b": install("m")(lambda *a: 0)})
