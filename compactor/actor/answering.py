"""``Inquiry``: one message that was asked, where it is answered; and the ways to answer it.

What an ``@answer`` method returns is the answer, unless it has asked for a ``Reply``, which is one
that comes later.  Any handler may answer by ``Process.reply``.  Which message that is for is told
by a variable of the context that the handler runs in, so it is known after an ``await`` as well.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from contextvars import ContextVar
from typing import Any, NamedTuple

from compactor.actor.handlers import INSTALL_ATTRIBUTE, UNCANCELLABLE
from compactor.actor.inquiries import Inquiries
from compactor.actor.pending import FAILED, no_answer
from compactor.actor.protobuf import full_name, message_name
from compactor.actor.routes import Call, split_path
from compactor.errors import ProcessError, Reason
from compactor.pid import PID, TEMPORARY, Temporary
from compactor.wire.encoder import TypedName, content_of

Encode = Callable[[Any], tuple[str, bytes]]

RAW = "application/octet-stream"
"""The content type of answers that are bytes."""


class Encoded(NamedTuple):
    """An answer as it leaves, by a message or in a response.

    Attributes:
        name: of the message.
        body: its content.
        content_type: what the body is, for who asks by HTTP.
    """

    name: str
    body: bytes
    content_type: str


def encoded(name: str, result: Any, encode: Encode | None = None) -> Encoded:
    """What a handler has returned, as it leaves.

    Args:
        name: of the message that is answered.
        encode: makes a message of the result; None for bytes and protocol buffers.

    Raises:
        TypeError: no answer has that type.
        google.protobuf.message.EncodeError: a required field is missing.
    """
    is_buffer = hasattr(result, "DESCRIPTOR")
    if encode is not None:
        name, body = encode(result)
    elif is_buffer:
        name, body = message_name(result), result.SerializeToString()
    else:
        body = content_of(result)
    if type(name) is TypedName:
        return Encoded(name, body, name.content_type)
    return Encoded(name, body, f"application/x-protobuf; proto={name}" if is_buffer else RAW)


_OPEN, _ANSWERED, _GIVEN_UP = range(3)  # the states of an inquiry

_current: ContextVar[Inquiry | None] = ContextVar("what a handler answers", default=None)


class Inquiry:
    """A message that was asked: the call that has it handled, and the place of its answer.

    Args:
        process: is asked.
        name: of the message, and of its answer.
        call: takes who has asked, as far as that is known, and the body.
        to: the temporary sender that waits; None for a message that was sent, whose answer is
            dropped.
        answers: whether what the handler returns is the answer.
        encode: makes a message of a value; None for bytes and protocol buffers.
    """

    __slots__ = (
        "_answers",
        "_call",
        "_encode",
        "_name",
        "_state",
        "_task",
        "_to",
        "is_deferred",
        "process",
    )

    def __init__(
        self,
        process: Any,
        name: str,
        call: Call,
        to: PID | None,
        answers: bool,
        encode: Encode | None = None,
    ) -> None:
        self.process = process
        self.is_deferred = False
        self._name = name
        self._call = call
        self._to = to
        self._answers = answers
        self._encode = encode
        self._state = _GIVEN_UP if to is None else _OPEN
        self._task: asyncio.Task[Any] | None = None

    @property
    def args(self) -> tuple[str]:
        """The name, for the log."""
        return (self._name,)

    @property
    def parse(self) -> Any:
        """What reads the body; None if the handler takes bytes."""
        return getattr(self._call, "parse", None)

    def renewed(self, process: Any, call: Call) -> Inquiry:
        """The same for a process that takes the place of the one that was asked."""
        return Inquiry(process, self._name, call, self._to, self._answers, self._encode)

    def __call__(self, from_pid: PID, body: Any) -> Any:
        before = _current.set(self)
        try:
            result = self._call(from_pid, body)
            if type(result) is not bytes and isinstance(result, Coroutine):
                return self._finish(result)
            if self._answers and self._state == _OPEN and not self.is_deferred:
                self.give(result)
        except BaseException as error:
            if not self._handles(error):
                raise
        finally:
            _current.reset(before)
        return None

    async def _finish(self, coroutine: Coroutine[Any, Any, Any]) -> None:
        """The rest of an ``async`` handler."""
        to, inquiries = self._to, self._inquiries
        if inquiries is not None and to is not None:
            if inquiries.is_given_up(to):
                coroutine.close()
                return
            self._task = asyncio.current_task()
            inquiries.running[to] = self
        _current.set(self)
        try:
            result = await coroutine
            if self._answers and self._state == _OPEN and not self.is_deferred:
                self.give(result)
        except asyncio.CancelledError:
            if self._answers and not self.is_deferred:
                self._send(FAILED, no_answer(Reason.TERMINATED), RAW)
            raise
        except BaseException as error:
            if not self._handles(error):
                raise
        finally:
            if inquiries is not None and to is not None and inquiries.running.get(to) is self:
                del inquiries.running[to]

    @property
    def _inquiries(self) -> Inquiries | None:
        """Where it is known as long as it runs; None if it may not be cancelled."""
        if not self._answers or self._state != _OPEN:
            return None
        trait = (INSTALL_ATTRIBUTE, self._name, UNCANCELLABLE)
        if trait in self.process.__handlers__().traits:
            return None
        inquiries: Inquiries = self.process.context._inquiries
        return inquiries

    def _handles(self, error: BaseException) -> bool:
        """Tell who has asked of an error; whether nobody else needs to hear of it."""
        if self._state == _OPEN:
            if not self._answers:
                return False  # what they are told depends on who they are
            self.fail(error)
            self.process.context._answer_failed(self.process, error)
        elif self._to is None or not isinstance(error, Exception):
            return False
        else:
            what = f"message {self._name!r} from {self._to}"
            self.process.context._report(self.process.pid, what, error)
            self.process.context._answer_failed(self.process, error)
        return isinstance(error, Exception)

    def give_up(self) -> None:
        """Nobody waits any more: what is given is dropped, and the handler is cancelled."""
        self._state = _GIVEN_UP
        if self._task is not None:
            self._task.cancel()

    # Answering, on any thread

    def check_open(self) -> None:
        """Raise an error if there is an answer already."""
        if self._state == _ANSWERED:
            raise ProcessError(
                f"{self._name!r} from {self._to} was answered already: an ask has one answer"
            )

    def give(self, value: Any) -> None:
        """Answer with a value; whoever has given up gets none."""
        if type(value) is bytes and self._encode is None:
            self._send(self._name, value, RAW)
        else:
            if value is None and self._encode is None:
                self._check_none()
            self._send(*encoded(self._name, value, self._encode))

    def _check_none(self) -> None:
        """Refuse to answer a protocol buffer with nothing, which would parse as an empty one."""
        _, kind = self.process.__handlers__().messages.get(self._name, (None, None))
        if kind is not None and full_name(kind, "FromString") is not None:
            raise TypeError(f"{self._name} is answered with a protocol buffer, not with None")

    def fail(self, error: BaseException) -> None:
        """Answer with an error."""
        if self._state == _OPEN:
            self._state = _ANSWERED
            process = self.process
            process.context._answer_failure(process.pid, self._to, self._name, error)

    def _send(self, name: str, body: bytes, content_type: str) -> None:
        if self._state == _OPEN:
            self._state = _ANSWERED
            process = self.process
            process.context._answer(process.pid, self._to, name, body, content_type)


class Reply:
    """What ``Process.defer_reply`` returns: called with a value, from any thread, it answers."""

    __slots__ = ("_inquiry",)

    def __init__(self, inquiry: Inquiry) -> None:
        self._inquiry = inquiry

    def __call__(self, value: Any = None) -> None:
        """Answer with a value, as what an ``answer`` method returns.

        Raises:
            ProcessError: the message is answered already.
            ContextStopped: the context was stopped, and this is another thread.
            TypeError: ``value`` cannot be sent.
        """
        self._inquiry.check_open()
        self._inquiry.give(value)

    def fail(self, error: BaseException) -> None:
        """Answer with an error: who has asked gets a ``RemoteError`` of its type and text.

        Raises:
            ProcessError: the message is answered already.
            ContextStopped: the context was stopped, and this is another thread.
            TypeError: ``error`` is no exception.
        """
        if not isinstance(error, BaseException):
            raise TypeError(f"a reply fails with an exception, got {error!r}")
        self._inquiry.check_open()
        self._inquiry.fail(error)

    def __repr__(self) -> str:
        (name,) = self._inquiry.args
        return f"<reply of {self._inquiry.process.pid} to {name!r}>"


def current(process: Any) -> Inquiry:
    """What a handler of a process answers.

    Raises:
        ProcessError: it handles no message that was asked.
    """
    inquiry = _current.get()
    if inquiry is None or inquiry.process is not process:
        raise ProcessError(
            f"{process!r} has nothing to reply to: it handles no message, or one that was sent and "
            "not asked; what is answered later needs self.defer_reply() in the handler"
        )
    return inquiry


def inquiry_of(call: Call) -> Call:
    """The inquiry that calls this right now; the call itself if none does."""
    inquiry = _current.get()
    return inquiry if inquiry is not None and inquiry._call is call else call


def asked(process: Any, name: str, call: Call, sender: PID) -> Call:
    """The call that has a message handled, such that ``reply`` answers it if it was asked.

    Args:
        process: whose message it is.
        name, sender: of the message.
        call: has such messages handled.
    """
    if not sender.id.startswith(TEMPORARY) or name in process.__handlers__().answers:
        return call
    types = process.context._types
    _, kind = process.__handlers__().messages.get(name, (None, None))
    form = None if kind is None else types.answers(kind)
    return Inquiry(process, name, call, sender, False, None if form is None else form.encode)


def asked_at(process: Any, path: bytes, call: Call, sender: PID) -> Call:
    """The same for a message to a path."""
    return asked(process, split_path(path)[1], call, sender)


def answering(process: Any, name: str, call: Call, encode: Encode | None = None) -> Call:
    """The call of an ``@answer`` method.

    Args:
        process: whose handler it is.
        name: of the message, and of its answer.
        call: takes who has asked, as far as that is known, and the body.
        encode: makes a message of what is returned; None for bytes and protocol buffers.
    """

    def handle(from_pid: PID, body: Any) -> Any:
        if type(from_pid) is Temporary:
            asker = from_pid.asker or from_pid
            return Inquiry(process, name, call, from_pid, True, encode)(asker, body)
        # Sent, if it is not asked by who has a head for each.
        to = from_pid if from_pid.id.startswith(TEMPORARY) else None
        return Inquiry(process, name, call, to, True, encode)(from_pid, body)

    handle.answers = True  # type: ignore[attr-defined]
    handle.parse = getattr(call, "parse", None)  # type: ignore[attr-defined]
    return handle
