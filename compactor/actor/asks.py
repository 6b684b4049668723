"""``Asks``: what the processes of one context have asked and were not answered yet.

An ask is a message from a sender of its own, ``__req_res__(N)``, as libprocess sends it, and any
message to that pid answers it.  So C++ actors and 0.3.0 answer without knowing what an ask is.  N
cannot be guessed, so nobody else answers.  An ask that can get no answer fails as soon as that is
known: by a dead letter from its sender, by the end of whom was asked, or by the end of its time.
"""

from __future__ import annotations

import asyncio
import json
import secrets
from collections.abc import Callable
from typing import Any, Protocol

from compactor.actor.links import Links, Watcher
from compactor.actor.promises import Promise
from compactor.actor.protobuf import DoesNotParse
from compactor.errors import AskFailed, AskTimeout, Reason, RemoteError
from compactor.metrics.dead_letters import DeadLetter
from compactor.net.portal import Portal
from compactor.pid import PID, Address

TEMPORARY = "__req_res__("
"""How the id of a sender begins that waits for one answer."""

FAILED = "compactor.ask.failed"
"""The name of an answer that says why there is none: JSON, a reason, or the error of a handler."""

_MOST_TOLD = 64 * 1024  # bytes of such an answer that are read: a few make a thousand objects
_MOST_TEXT = 4096  # characters of the text of an error: one may quote all that it was sent
_MOST_TYPE = 256  # and of the name of its type

_TOLD = (
    Reason.NO_HANDLER,
    Reason.OVERFLOW,
    Reason.TERMINATED,
    Reason.FAILED,
    Reason.STOPPED,
)
"""Why a process here does not answer; of all else the status of a response tells."""


class Pending:
    """An answer that is still to come.

    Attributes:
        to, name: who was asked, and what.
        asker: who has asked, as the handler is told; None for the temporary sender.
        id: that of the temporary sender, once there is one.
        timer: ends the time for the answer.
    """

    to: PID
    name: str
    asker: PID | None
    id = ""
    timer: asyncio.TimerHandle | None = None

    def done(self) -> bool:
        """Whether nobody waits any more."""
        return False

    def forget(self) -> None:
        """Wait no more."""
        raise NotImplementedError

    def take(self, name: str, body: bytes, content_type: str) -> None:
        """The answer has come."""
        raise NotImplementedError

    def raised(self, error: BaseException) -> bool:
        """The handler that was asked has raised; it is of this context.

        Returns:
            Whether whoever has asked is the one to handle that, or to report it.
        """
        raise NotImplementedError

    def fail(self, error: BaseException) -> None:
        """There will be no answer."""
        raise NotImplementedError

    def exited(self, pid: PID, reason: Reason) -> None:
        """Whom was asked has ended."""
        self.forget()
        self.fail_for(reason)

    def fail_for(self, reason: Reason) -> None:
        """There will be no answer, for a reason."""
        self.fail(AskFailed(f"{self.name!r} was not answered by {self.to}: {reason}", reason))


class Asked(Promise[Any], Pending):
    """The future of an answer.

    Args:
        to, name: who was asked, and what.
        asker: the process that has asked, if one has.
        decode: makes the answer of the name and bytes of the message; None for the bytes alone.
        portal, forget: as for ``Promise``.
    """

    def __init__(
        self,
        to: PID,
        name: str,
        asker: PID | None,
        decode: Callable[[str, bytes], Any] | None,
        portal: Portal,
        forget: Callable[[Any], Any],
    ) -> None:
        super().__init__(f"the answer of {to}", portal, forget)
        self.to = to
        self.name = name
        self.asker = asker
        self.decode = decode

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


class Watching(Protocol):
    """What has those watched who were asked."""

    links: Links

    def wait(self, watcher: Watcher, to: PID) -> None: ...


class Asks:
    """The asks of one context.

    Args:
        here: the advertised (ip, port).
        watches: tells of the ends of those who were asked.
        forward: sends a message of any sender.
        refuse: tells the address of a sender that a message of a name to an id is not handled.
    """

    def __init__(
        self,
        here: Address,
        watches: Watching,
        forward: Callable[[PID, PID, str, bytes], None],
        refuse: Callable[[PID, str, str, Reason], None],
    ) -> None:
        self._here = here
        self._watches = watches
        self._forward = forward
        self._refuse = refuse
        self._waiting: dict[str, Pending] = {}

    def ask(self, asked: Pending, body: bytes, timeout: float) -> None:
        """Send the message of an ask, on the loop's thread."""
        if asked.done():
            return
        asked.id = f"{TEMPORARY}{secrets.randbits(63)})"
        self._waiting[asked.id] = asked
        loop = asyncio.get_running_loop()
        asked.timer = loop.call_later(timeout, self._is_late, asked, timeout)
        self._watches.wait(asked, asked.to)
        if asked.id in self._waiting:  # it is known by now that there is nobody
            self._forward(PID(*self._here, asked.id), asked.to, asked.name, body)

    def forget(self, asked: Pending) -> None:
        """Wait for an answer no more."""
        if self._waiting.pop(asked.id, None) is not None:
            self._watches.links.drop(asked)
            if asked.timer is not None:
                asked.timer.cancel()

    def _is_late(self, asked: Pending, timeout: float) -> None:
        self.forget(asked)
        asked.fail(
            AskTimeout(f"{asked.name!r} was not answered by {asked.to} within {timeout:g} s")
        )

    # What comes of it

    def answered(self, id_: str, name: str, body: bytes, content_type: str = "") -> bool:
        """A message for a temporary sender has come; False if that does not wait any more."""
        asked = self._waiting.get(id_)
        if asked is None:
            return False
        self.forget(asked)
        if name == FAILED:
            asked.fail(_failure(asked, body))
        else:
            asked.take(name, body, content_type)
        return True

    def failed(self, id_: str, error: BaseException) -> bool:
        """A handler here has raised; False if that is for others to report, too."""
        asked = self._waiting.get(id_)
        if asked is None:
            return False
        self.forget(asked)
        return asked.raised(error)

    def not_delivered(self, letter: DeadLetter) -> None:
        """A message has become a dead letter, perhaps that of an ask: whoever has asked is told."""
        sender, to = letter.sender, letter.to
        if sender is None or not sender.id.startswith(TEMPORARY):
            return
        if sender.address == self._here:
            asked = self._waiting.get(sender.id)
            if asked is not None:
                self.forget(asked)
                asked.fail_for(letter.reason)
        elif to is not None and to.address == self._here and letter.reason in _TOLD:
            self._refuse(sender, to.id, letter.name or "", letter.reason)

    def asker_of(self, sender: PID) -> PID:
        """Who has asked, if that is known; else the temporary sender itself."""
        if sender.address == self._here:
            asked = self._waiting.get(sender.id)
            if asked is not None and asked.asker is not None:
                return asked.asker
        return sender

    def end_those_of(self, asker: PID) -> None:
        """A process is made anew, and its successor has asked nothing yet."""
        for asked in list(self._waiting.values()):
            if asked.asker == asker:
                self.forget(asked)
                asked.fail_for(Reason.TERMINATED)

    def abandon(self) -> None:
        """The context stops."""
        for asked in list(self._waiting.values()):
            self.forget(asked)
            asked.fail_for(Reason.STOPPED)


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


def no_answer(reason: Reason) -> bytes:
    """What is answered if the handler will not answer."""
    return json.dumps({"reason": reason.value}).encode()


def _failure(asked: Pending, body: bytes) -> Exception:
    try:
        told: Any = json.loads(body) if len(body) <= _MOST_TOLD else None
        if "reason" in told:
            reason = Reason(told["reason"])
            return AskFailed(f"{asked.name!r} was not answered by {asked.to}: {reason}", reason)
        type_, text = told["error"], told["text"]
        if isinstance(type_, str) and isinstance(text, str):
            return RemoteError(_shortened(type_, _MOST_TYPE), _shortened(text, _MOST_TEXT))
    except (ValueError, TypeError, KeyError, RecursionError):  # peers may say anything
        pass
    return AskFailed(
        f"{asked.to} has refused {asked.name!r}, and does not say why", Reason.REJECTED
    )
