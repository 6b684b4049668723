"""The ways to answer a message that was asked; which one that is, and the calls that take such."""

from __future__ import annotations

from typing import Any

from compactor.actor.inquiries import current_inquiry
from compactor.actor.inquiry import Inquiry
from compactor.actor.routes import Call, split_path
from compactor.errors import ProcessError
from compactor.pid import PID, TEMPORARY


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
    inquiry: Inquiry | None = current_inquiry.get()
    if inquiry is None or inquiry.process is not process:
        raise ProcessError(
            f"{process!r} has nothing to reply to: it handles no message, or one that was sent and "
            "not asked; what is answered later needs self.defer_reply() in the handler"
        )
    return inquiry


def inquiry_of(call: Call) -> Call:
    """The inquiry that calls this right now; the call itself if none does."""
    inquiry = current_inquiry.get()
    return inquiry if inquiry is not None and inquiry.call is call else call


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
    encode = None if form is None else form.encode
    context = process.context
    call = context._inquiry(process, name, call, sender, False, encode, context._asks)
    return call


def asked_at(process: Any, path: bytes, call: Call, sender: PID) -> Call:
    """The same for a message to a path."""
    return asked(process, split_path(path)[1], call, sender)
