"""``Pending``: an answer that is still to come, and what is told where there is none."""

from __future__ import annotations

import abc
import json
from collections.abc import Callable, Generator
from typing import Any

from compactor.actor.promises import Promise
from compactor.actor.protobuf import DoesNotParse
from compactor.errors import AskFailed, Draining, Reason, RemoteError
from compactor.net.portal import Portal
from compactor.pid import PID

FAILED = "compactor.ask.failed"
"""The name of an answer that says why there is none: JSON, a reason, or the error of a handler."""

TOLD = (
    Reason.NO_HANDLER,
    Reason.OVERFLOW,
    Reason.TERMINATED,
    Reason.FAILED,
    Reason.STOPPED,
    Reason.DRAINING,
)
"""Why a process here does not answer; of all else the status of a response tells."""

_MOST_TOLD = 64 * 1024  # bytes of such an answer that are read: a few make a thousand objects
_MOST_TEXT = 4096  # characters of the text of an error: one may quote all that it was sent
_MOST_TYPE = 256  # and of the name of its type


class Pending(abc.ABC):
    """An answer that is still to come.

    Attributes:
        to, name: who was asked, and what.
        asker: who has asked, as the handler is told; None for the temporary sender.
        number: what tells it from all others, once it is under way; -1 before.
    """

    to: PID
    name: str
    asker: PID | None
    number = -1

    def done(self) -> bool:
        """Whether nobody waits any more."""
        return False

    @abc.abstractmethod
    def forget(self) -> None:
        """Wait no more."""

    @abc.abstractmethod
    def take(self, name: str, body: bytes, content_type: str) -> None:
        """The answer has come."""

    @abc.abstractmethod
    def raised(self, error: BaseException) -> bool:
        """The handler that was asked has raised; it is of this context.

        Returns:
            Whether whoever has asked is the one to handle that, or to report it.
        """

    @abc.abstractmethod
    def fail(self, error: BaseException) -> None:
        """There will be no answer."""

    def fail_for(self, reason: Reason) -> None:
        """There will be no answer, for a reason."""
        self.fail(no_answer_of(self.name, self.to, reason))


class Promised(Promise[Any], Pending):
    """The answer for another thread, or loop.

    Args:
        to, name: who was asked, and what.
        asker: the process that has asked, if one has.
        decode: makes the answer of the name and bytes of the message; None for the bytes alone.
        portal, forget: as for ``Promise``.
        check: called with this before somebody waits on the loop of the context; may have it fail.
            None where nobody does.
    """

    def __init__(
        self,
        to: PID,
        name: str,
        asker: PID | None,
        decode: Callable[[str, bytes], Any] | None,
        portal: Portal,
        forget: Callable[[Any], Any],
        check: Callable[[Any], Any] | None = None,
    ) -> None:
        super().__init__(f"the answer of {to}", portal, forget)
        self._check = check
        self.to = to
        self.name = name
        self.asker = asker
        self.decode = decode

    def __await__(self) -> Generator[Any, None, Any]:
        if self._check is not None and self._portal.on_loop and not self.done():
            self._check(self)
        return super().__await__()

    def forget(self) -> None:
        self._forget(self)

    def take(self, name: str, body: bytes, content_type: str) -> None:
        try:
            answer = body if self.decode is None else self.decode(name, body)
        except Exception as error:
            self.fail(error)
        else:
            self.keep(answer)

    def raised(self, error: BaseException) -> bool:
        self.fail(RemoteError(*type_and_text(error)))
        return not isinstance(error, DoesNotParse)  # which is the fault of who has asked


def failure_of(error: BaseException) -> bytes:
    """What is answered for an error of a handler."""
    type_, text = type_and_text(error)
    return json.dumps({"error": type_, "text": text}).encode()


def type_and_text(error: BaseException) -> tuple[str, str]:
    """What is told of an error: the name of its type, and what it says."""
    try:
        text = str(error)
    except Exception:  # of the __str__ of an error
        text = ""
    return _shortened(type(error).__qualname__, _MOST_TYPE), _shortened(text, _MOST_TEXT)


def _shortened(text: str, most: int) -> str:
    return text if len(text) <= most else f"{text[: most - 3]}..."


def no_answer_of(name: str, to: PID, reason: Reason) -> AskFailed:
    """The error of an ask that gets no answer."""
    if reason is Reason.DRAINING:
        return Draining(f"{name!r} was not answered by {to}: {reason}")
    return AskFailed(f"{name!r} was not answered by {to}: {reason}", reason)


def no_answer(reason: Reason) -> bytes:
    """What is answered if the handler will not answer."""
    return json.dumps({"reason": reason.value}).encode()


def told_failure(asked: Pending, body: bytes) -> Exception:
    """What has been answered for there being no answer."""
    try:
        told: Any = json.loads(body) if len(body) <= _MOST_TOLD else None
        if "reason" in told:
            return no_answer_of(asked.name, asked.to, Reason(told["reason"]))
        type_, text = told["error"], told["text"]
        if isinstance(type_, str) and isinstance(text, str):
            return RemoteError(_shortened(type_, _MOST_TYPE), _shortened(text, _MOST_TEXT))
    except (ValueError, TypeError, KeyError, RecursionError):  # peers may say anything
        pass
    return AskFailed(
        f"{asked.to} has refused {asked.name!r}, and does not say why", Reason.REJECTED
    )
