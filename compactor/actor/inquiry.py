"""``Inquiry``: one message that was asked, where it is answered.

What an ``@answer`` method returns is the answer, unless it has asked for a ``Reply``, which is one
that comes later.  Any handler may answer by ``Process.reply``.  Which message that is for is told
by a variable of the context that the handler runs in, so it is known after an ``await`` as well.
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any

from compactor.actor.encoded import RAW, Encode, encoded
from compactor.actor.entries import unhandled
from compactor.actor.handlers import INSTALL_ATTRIBUTE, UNCANCELLABLE
from compactor.actor.inquiries import Inquiries, current_inquiry, finish
from compactor.actor.pending import FAILED, no_answer
from compactor.actor.protobuf import full_name
from compactor.actor.routes import Call
from compactor.errors import ProcessError, Reason
from compactor.pid import PID, TEMPORARY, Temporary

from .asks import Asks
from .scopes import scopes

_OPEN, _ANSWERED, _GIVEN_UP = range(3)  # the states of an inquiry


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
        asks: those of the context.
    """

    __slots__ = (
        "_answers",
        "_asks",
        "_encode",
        "_name",
        "_state",
        "_task",
        "_to",
        "call",
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
        encode: Encode | None,
        asks: Asks,
    ) -> None:
        self.process = process
        self.is_deferred = False
        self.call = call
        self._name = name
        self._to = to
        self._answers = answers
        self._encode = encode
        self._asks = asks
        self._state = _GIVEN_UP if to is None else _OPEN
        self._task: asyncio.Task[Any] | None = None

    @property
    def args(self) -> tuple[str]:
        """The name, for the log."""
        return (self._name,)

    @property
    def parse(self) -> Any:
        """What reads the body; None if the handler takes bytes."""
        return getattr(self.call, "parse", None)

    def renewed(self, mailbox: Any) -> Inquiry:
        """The same for the mailbox of a process that takes the place of the one that was asked."""
        process, name = mailbox.process, self._name
        call = mailbox.call_for(name) or unhandled(process, name)
        return Inquiry(process, name, call, self._to, self._answers, self._encode, self._asks)

    def __call__(self, from_pid: PID, body: Any) -> Any:
        return self.serve(from_pid, body)

    def serve(self, from_pid: PID, body: Any) -> Any:
        """Have the message handled."""
        before = scopes.set_variable(current_inquiry, self)
        try:
            result = self.call(from_pid, body)
            if type(result) is not bytes and isinstance(result, Coroutine):
                return finish(self, result)
            self.returned(result)
        except BaseException as error:
            if not self.handles(error):
                raise
        finally:
            scopes.reset_variable(current_inquiry, before)
        return None

    def returned(self, result: Any) -> None:
        """The handler is done; what it has returned may be the answer."""
        if self._answers and self._state == _OPEN and not self.is_deferred:
            self._give(result, True)

    # As an ``async`` handler

    def begin(self, task: Any) -> bool:
        """The handler takes its first step; False if nobody waits for it any more."""
        inquiries, to = self._inquiries, self._to
        if inquiries is not None and to is not None:
            if inquiries.is_given_up(to):
                return False
            self._task = task
            inquiries.running[to] = self
        return True

    def cancelled(self) -> None:
        """The handler was cancelled: who waits is told that there will be no answer."""
        if self._answers and not self.is_deferred:
            self._send(FAILED, no_answer(Reason.TERMINATED), RAW, True)

    def end(self) -> None:
        """The handler has taken its last step."""
        if self._task is not None:
            running = self.process.context._inquiries.running
            if running.get(self._to) is self:
                del running[self._to]

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

    def handles(self, error: BaseException) -> bool:
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
        self._give(value, False)

    def _give(self, value: Any, is_on_loop: bool) -> None:
        if type(value) is bytes and self._encode is None:
            self._send(self._name, value, RAW, is_on_loop)
        else:
            if value is None and self._encode is None:
                self._check_none()
            name, body, content_type = encoded(self._name, value, self._encode)
            self._send(name, body, content_type, is_on_loop)

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

    def _send(self, name: str, body: bytes, content_type: str, is_on_loop: bool) -> None:
        if self._state == _OPEN:
            self._state = _ANSWERED
            process, to = self.process, self._to
            if to is None or not (
                is_on_loop and self._asks.answer(process, to, name, body, content_type)
            ):
                process.context._answer(process.pid, to, name, body, content_type)


class Answering:
    """The call of an ``@answer`` method.

    Args:
        process: whose handler it is.
        name: of the message, and of its answer.
        call: takes who has asked, as far as that is known, and the body.
        encode: makes a message of what is returned; None for bytes and protocol buffers.

    Attributes:
        answers: whether it answers; calls that do not, do not have it.
        parse: what reads the body; None if the handler takes bytes.
    """

    __slots__ = ("_asks", "_call", "_encode", "_name", "_process", "answers", "parse")

    def __init__(self, process: Any, name: str, call: Call, encode: Encode | None) -> None:
        self.answers = True
        self.parse = getattr(call, "parse", None)
        self._process = process
        self._name = name
        self._call = call
        self._encode = encode
        self._asks = process.context._asks

    def __call__(self, from_pid: PID, body: Any) -> Any:
        to: PID | None = from_pid
        asker = from_pid
        if type(from_pid) is Temporary:
            asker = from_pid.asker or from_pid
        elif not from_pid.id.startswith(TEMPORARY):
            to = None  # sent, if it is not asked by who has a head for each
        process, name = self._process, self._name
        inquiry = Inquiry(process, name, self._call, to, True, self._encode, self._asks)
        return inquiry.serve(asker, body)
