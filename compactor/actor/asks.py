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
from compactor.errors import AskFailed, AskTimeout, Reason, RemoteError
from compactor.metrics.dead_letters import DeadLetter
from compactor.net.portal import Portal
from compactor.pid import PID, Address

TEMPORARY = "__req_res__("
"""How the id of a sender begins that waits for one answer."""

FAILED = "compactor.ask.failed"
"""The name of an answer that says why there is none: JSON, a reason, or the error of a handler."""

_TOLD = (Reason.NO_HANDLER, Reason.OVERFLOW, Reason.TERMINATED, Reason.STOPPED)
"""Why a process here does not answer; of all else the status of a response tells."""


class Asked(Promise[Any]):
    """An answer that is still to come.

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
        self.id = ""
        self.timer: asyncio.TimerHandle | None = None

    def exited(self, pid: PID, reason: Reason) -> None:
        """Whom was asked has ended."""
        self._forget(self)
        self.fail_for(reason)

    def fail_for(self, reason: Reason) -> None:
        """There will be no answer."""
        self.fail(AskFailed(f"{self.name!r} was not answered by {self.to}: {reason}", reason))


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
        self._waiting: dict[str, Asked] = {}

    def ask(self, asked: Asked, body: bytes, timeout: float) -> None:
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

    def forget(self, asked: Asked) -> None:
        """Wait for an answer no more."""
        if self._waiting.pop(asked.id, None) is not None:
            self._watches.links.drop(asked)
            if asked.timer is not None:
                asked.timer.cancel()

    def _is_late(self, asked: Asked, timeout: float) -> None:
        self.forget(asked)
        asked.fail(
            AskTimeout(f"{asked.name!r} was not answered by {asked.to} within {timeout:g} s")
        )

    # What comes of it

    def answered(self, id_: str, name: str, body: bytes) -> bool:
        """A message for a temporary sender has come; False if that does not wait any more."""
        asked = self._waiting.get(id_)
        if asked is None:
            return False
        self.forget(asked)
        if name == FAILED:
            asked.fail(_failure(asked, body))
            return True
        try:
            answer = body if asked.decode is None else asked.decode(name, body)
        except Exception as error:
            asked.fail(error)
        else:
            asked.keep(answer)
        return True

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

    def abandon(self) -> None:
        """The context stops."""
        for asked in list(self._waiting.values()):
            self.forget(asked)
            asked.fail_for(Reason.STOPPED)


def failure_of(error: BaseException) -> bytes:
    """What is answered for an error of a handler."""
    try:
        text = str(error)
    except Exception:  # of the __str__ of an error
        text = ""
    return json.dumps({"error": type(error).__qualname__, "text": text}).encode()


def no_answer(reason: Reason) -> bytes:
    """What is answered if the handler will not answer."""
    return json.dumps({"reason": reason.value}).encode()


def _failure(asked: Asked, body: bytes) -> Exception:
    try:
        told = json.loads(body)
        if "reason" in told:
            reason = Reason(told["reason"])
            return AskFailed(f"{asked.name!r} was not answered by {asked.to}: {reason}", reason)
        return RemoteError(str(told["error"]), str(told["text"]))
    except (ValueError, TypeError, KeyError, RecursionError):  # peers may say anything
        return AskFailed(
            f"{asked.to} has refused {asked.name!r}, and does not say why", Reason.REJECTED
        )
