"""Answers that are no results: ``reply`` and ``defer_reply``."""

from __future__ import annotations

import asyncio
import functools
import re
import socket
import threading
from collections.abc import Callable
from typing import Any

import pytest

from compactor import PID, Context, Process, Reason, RemoteError, Reply, answer, install
from compactor.errors import AskFailed, ContextStopped, ProcessError
from tests.actors import TIMEOUT, Events, Receiver, dead_letters, spawned, take_letter, wait_until
from tests.raw import frame, read_message

MakeContext = Callable[..., Context]


class Replying(Receiver):
    """Answers in every way but by what a method returns."""

    def __init__(self, name: str = "replying") -> None:
        super().__init__(name)
        self.replies = Events()
        self.errors = Events()

    @answer("answer.now")
    @install("install.now")
    def now(self, from_pid: PID, body: bytes) -> bytes:
        self.reply(b"now " + body)
        return b"dropped"

    @answer("answer.awaited")
    @install("install.awaited")
    async def awaited(self, from_pid: PID, body: bytes) -> bytes:
        await asyncio.sleep(0)
        self.reply(b"awaited " + body)
        return b"dropped"

    @answer("answer.task")
    @install("install.task")
    async def in_a_task(self, from_pid: PID, body: bytes) -> None:
        async def work() -> None:
            await asyncio.sleep(0)
            self.reply(b"task " + body)

        await asyncio.create_task(work())

    @answer("answer.later")
    @install("install.later")
    def later(self, from_pid: PID, body: bytes) -> bytes:
        self.replies.put(self.defer_reply())
        return b"dropped"

    @answer("answer.async_later")
    @install("install.async_later")
    async def async_later(self, from_pid: PID, body: bytes) -> bytes:
        await asyncio.sleep(0)
        self.replies.put(self.defer_reply())
        return b"dropped"

    @answer("answer.twice")
    @install("install.twice")
    def twice(self, from_pid: PID, body: bytes) -> None:
        self.reply(b"once")
        for again in (functools.partial(self.reply, b"twice"), self.defer_reply):
            self._note(again)

    @answer("answer.bad")
    @install("install.bad")
    def bad(self, from_pid: PID, body: bytes) -> None:
        with pytest.raises(TypeError, match="Body must be a sequence of bytes, got 5"):
            self.reply(5)
        self.reply()

    @answer("answer.raises")
    @install("install.raises")
    def raises(self, from_pid: PID, body: bytes) -> None:
        self.reply(b"before")
        raise LookupError("after the answer")

    @answer("answer.deferring")
    @install("install.deferring")
    def deferring(self, from_pid: PID, body: bytes) -> None:
        self.replies.put(self.defer_reply())
        raise LookupError("instead of an answer")

    @install("sent")
    def sent(self, from_pid: PID, body: bytes) -> None:
        self._note(functools.partial(self.reply, b"to nobody"))
        self._note(self.defer_reply)

    def _note(self, call: Callable[[], Any]) -> None:
        try:
            self.errors.put(call())
        except ProcessError as error:
            self.errors.put(str(error))


KINDS = pytest.mark.parametrize("kind", ["answer", "install"])


@pytest.fixture(params=["local", "remote"])
def replying(
    request: pytest.FixtureRequest, context: Context, make_context: MakeContext
) -> Replying:
    """For askers of ``context``."""
    return spawned(context if request.param == "local" else make_context(), Replying())


@KINDS
@pytest.mark.smoke
@pytest.mark.parametrize("way", ["now", "awaited", "task"])
def test_a_reply_is_the_answer(context: Context, replying: Replying, kind: str, way: str) -> None:
    letters = dead_letters(context)
    for _ in range(2):  # the first one goes another way
        question = context.ask(replying.pid, f"{kind}.{way}", b"k")
        assert question.result(TIMEOUT) == f"{way} k".encode()
    assert replying.context.metrics.handler_failures == 0
    assert letters.is_empty


@KINDS
@pytest.mark.parametrize("way", ["later", "async_later"])
@pytest.mark.each_combination
def test_a_deferred_reply_is_the_answer(
    context: Context, replying: Replying, kind: str, way: str
) -> None:
    first, second = (context.ask(replying.pid, f"{kind}.{way}", b"k") for _ in range(2))
    replies = replying.replies.take_many(2)
    assert re.fullmatch(rf"<reply of replying@.* to '{kind}\.{way}'>", repr(replies[0]))
    assert not first.done()
    thread = threading.Thread(target=replies[1], args=(b"of a thread",))
    thread.start()
    assert second.result(TIMEOUT) == b"of a thread"
    thread.join()
    replying.context.dispatch(replying.pid, replies[0], b"of another event")
    assert first.result(TIMEOUT) == b"of another event"
    with pytest.raises(ProcessError, match=r"was answered already: an ask has one answer$"):
        replies[0](b"again")
    with pytest.raises(ProcessError, match=r"was answered already"):
        replies[1].fail(LookupError("too late"))


def test_a_deferred_reply_may_be_an_error(context: Context, replying: Replying) -> None:
    question = context.ask(replying.pid, "install.later")
    reply = replying.replies.take()
    with pytest.raises(TypeError, match="a reply fails with an exception, got 'no error'"):
        reply.fail("no error")
    reply.fail(LookupError("not found"))
    with pytest.raises(RemoteError, match=r"^LookupError: not found$"):
        question.result(TIMEOUT)


@KINDS
def test_a_second_reply_is_an_error(context: Context, replying: Replying, kind: str) -> None:
    assert context.ask(replying.pid, f"{kind}.twice").result(TIMEOUT) == b"once"
    for error in replying.errors.take_many(2):
        expected = rf"'{kind}\.twice' from .*__req_res__\(.* was answered already: an ask has one.*"
        assert re.fullmatch(expected, error)


@KINDS
def test_what_cannot_be_sent_is_no_answer(context: Context, replying: Replying, kind: str) -> None:
    assert context.ask(replying.pid, f"{kind}.bad").result(TIMEOUT) == b""


@KINDS
def test_an_error_after_the_answer_is_logged(
    context: Context, replying: Replying, kind: str, caplog: pytest.LogCaptureFixture
) -> None:
    letters = dead_letters(context)
    assert context.ask(replying.pid, f"{kind}.raises").result(TIMEOUT) == b"before"
    wait_until(lambda: "LookupError: after the answer" in caplog.text)
    assert f"failed in message '{kind}.raises' from" in caplog.text
    assert letters.is_empty


@KINDS
def test_an_error_answers_though_a_reply_was_to_come(
    context: Context, replying: Replying, kind: str
) -> None:
    question = context.ask(replying.pid, f"{kind}.deferring")
    with pytest.raises(RemoteError, match=r"^LookupError: instead of an answer$"):
        question.result(TIMEOUT)
    if kind == "answer":
        with pytest.raises(ProcessError, match="was answered already"):
            replying.replies.take()(b"late")


def test_what_installs_and_was_only_sent_has_nothing_to_reply_to(
    context: Context, replying: Replying
) -> None:
    sender = spawned(context, Process("sender"))
    sender.send(replying.pid, "sent")
    nothing = (
        f"{replying!r} has nothing to reply to: it handles no message, or one that was sent and "
        "not asked; what is answered later needs self.defer_reply() in the handler"
    )
    assert replying.errors.take_many(2) == [nothing] * 2
    for call in (replying.reply, replying.defer_reply):
        with pytest.raises(ProcessError, match=re.escape(nothing)):
            call()  # outside of all handlers
        question = replying.context.dispatch(replying.pid, call)
        with pytest.raises(ProcessError, match=re.escape(nothing)):
            question.result(TIMEOUT)


@pytest.mark.parametrize("way", ["now", "awaited", "task", "later", "async_later"])
def test_what_answers_and_was_only_sent_replies_to_nobody(
    context: Context, replying: Replying, way: str
) -> None:
    letters = dead_letters(replying.context)
    receiver = spawned(context, Receiver("sender"))
    receiver.send(replying.pid, f"answer.{way}")
    if "later" in way:
        reply: Reply = replying.replies.take()
        reply(b"dropped")
        reply(b"dropped again")
    receiver.send(replying.pid, "message", b"behind")
    assert replying.received.take() == (receiver.pid, b"behind")
    assert replying.context.metrics.handler_failures == 0
    assert letters.is_empty
    assert receiver.received.is_empty


def test_a_process_replies_for_itself_alone(context: Context) -> None:
    other = spawned(context, Process("other"))

    class Confused(Process):
        @answer("m")
        def m(self, from_pid: PID, body: bytes) -> bytes:
            other.reply(b"not mine")
            return b"unreached"

    confused = spawned(context, Confused("confused"))
    with pytest.raises(RemoteError, match=r"^ProcessError: <Process other.* has nothing to reply"):
        context.ask(confused.pid, "m").result(TIMEOUT)


def test_who_waits_for_a_deferred_reply_is_told_of_the_end(
    context: Context, replying: Replying
) -> None:
    question = context.ask(replying.pid, "answer.later")
    reply = replying.replies.take()
    replying.terminate()
    with pytest.raises(AskFailed) as failed:
        question.result(TIMEOUT)
    assert failed.value.reason is Reason.TERMINATED
    letters = dead_letters(context)
    reply(b"late")
    assert take_letter(letters).reason is Reason.NO_PROCESS


def test_a_reply_after_the_end_of_its_context_is_an_error(make_context: MakeContext) -> None:
    here, there = make_context(), make_context()
    replying = spawned(there, Replying())
    question = here.ask(replying.pid, "answer.later")
    reply = replying.replies.take()
    there.stop()
    there.join(TIMEOUT)
    with pytest.raises(ContextStopped):
        reply(b"late")
    with pytest.raises(AskFailed):
        question.result(TIMEOUT)


def test_an_error_that_nobody_is_told_of_is_logged_once(
    context: Context, listener: socket.socket, caplog: pytest.LogCaptureFixture
) -> None:
    """Asked by a stranger that reads no notices: only what has an answer is sent anywhere."""
    replying = spawned(context, Replying())
    foreign = PID(*listener.getsockname(), "__req_res__(7)")
    with socket.create_connection(replying.pid.address, TIMEOUT) as sock:
        sock.sendall(frame(replying.pid, "install.raises", sender=foreign))
        accepted, _ = listener.accept()
        with accepted, accepted.makefile("rb") as stream:
            assert read_message(stream) == (
                "/__req_res__(7)/install.raises",
                str(replying.pid),
                b"before",
            )
    wait_until(lambda: "failed in message 'install.raises'" in caplog.text)
    assert context.metrics.handler_failures == 1


def test_protocol_buffers_are_replied(context: Context) -> None:
    wrappers = pytest.importorskip("google.protobuf.wrappers_pb2")
    from compactor import ProtobufProcess

    class Length(ProtobufProcess):
        @ProtobufProcess.install(wrappers.StringValue)
        async def length(self, from_pid: PID, message: Any) -> None:
            self.reply(wrappers.Int32Value(value=len(message.value)))

    class Asker(ProtobufProcess):
        async def question(self, to: PID) -> Any:
            text = wrappers.StringValue(value="four")
            return await self.ask(to, text, reply=wrappers.Int32Value)

    length, asker = context.spawn(Length("length")), context.spawn(Asker("asker"))
    assert context.dispatch(asker, "question", length).result(TIMEOUT).value == 4


def test_an_override_without_a_decorator_answers(context: Context, replying: Replying) -> None:
    class Base(Process):
        @answer("m")
        def m(self, from_pid: PID, body: bytes) -> bytes:
            return b"base"

    class Derived(Base):
        def m(self, from_pid: PID, body: bytes) -> bytes:
            return b"derived"

    assert context.ask(context.spawn(Derived("derived")), "m").result(TIMEOUT) == b"derived"
