"""``ContextAsking``: asks, as a context takes and answers them."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from compactor.actor.answering import Encoded
from compactor.actor.asks import Asked
from compactor.actor.future import Future
from compactor.errors import ProcessError
from compactor.pid import PID, check_pid
from compactor.runtime.loop_owner import LoopOwner
from compactor.settings import Settings
from compactor.wire.encoder import Body, check_name, content_of


class ContextAsking(LoopOwner):
    """The part of ``Context`` that asks."""

    settings: Settings

    def ask(
        self, to: PID, name: str, body: Body | None = None, *, timeout: float | None = None
    ) -> Future[bytes]:
        """Send a message, and wait for its answer.

        Whoever has a method under that name by ``answer`` answers with what it returns.  Others,
        C++ actors and 0.3.0 among them, answer by sending any message to the sender of the ask.

        Args:
            to: the receiver, local or remote.
            name: the message name.
            body: the content, or None for none.
            timeout: seconds; default the setting ``ask_timeout``.

        Returns:
            A future for the answer: ``result()`` in a thread, ``await`` in a coroutine on any loop.
            It always ends: with the answer; with ``RemoteError`` if the handler has raised; with
            ``AskTimeout``; or with ``AskFailed`` and its ``reason`` as soon as it is known that no
            answer can come.  Who cancels it forgets the ask.

        Raises:
            ContextStopped: the context was stopped.
            TypeError, ValueError: the receiver, name, body or time cannot be used.
        """
        return self._ask_from(None, to, name, body, timeout)

    def _ask_from(
        self,
        asker: PID | None,
        to: PID,
        name: str,
        body: Body | None,
        timeout: float | None,
        decode: Callable[[str, bytes], Any] | None = None,
    ) -> Future[Any]:
        check_pid(to)
        if asker is not None and to == asker:
            raise ProcessError(f"{to} would wait for itself, forever")
        seconds = _check_timeout(self.settings.ask_timeout if timeout is None else timeout)
        asks = self._runtime.asks
        asked = Asked(to, check_name(name), asker, decode, self._portal, asks.forget)
        self._ask(asks.ask, asked, content_of(body), seconds)
        return asked

    def _asker_of(self, sender: PID) -> PID:
        """Who has asked from a temporary sender, if that is known."""
        return self._runtime.asks.asker_of(sender)

    def _answer(self, sender: PID, to: PID, answer: Encoded) -> None:
        """Give an answer to a temporary sender."""
        self._ask(self._runtime.answers.give, sender, to, answer)

    def _answer_failure(self, sender: PID, to: PID, name: str, error: BaseException) -> None:
        """Tell a temporary sender that the handler of its message has raised."""
        self._ask(self._runtime.answers.fail, sender, to, name, error)


def _check_timeout(seconds: float) -> float:
    if not isinstance(seconds, (int, float)) or not 0 < seconds < math.inf:
        raise ValueError(
            f"the time for an answer must be a finite number of seconds above 0, got {seconds!r}"
        )
    return seconds
