"""``ContextAsking``: asks, as a context takes and answers them."""

from __future__ import annotations

import sys
from threading import get_ident
from typing import Any, TypeVar, overload

from compactor.actor.asks import Asks
from compactor.actor.circles import Circles, waits_for_itself
from compactor.actor.concurrent import Crew
from compactor.actor.future import Future
from compactor.actor.inquiries import Inquiries
from compactor.actor.message_types import MessageTypes
from compactor.actor.messages import Ask, Message, ProtobufMessage
from compactor.actor.pending import Promised
from compactor.pid import PID, check_pid
from compactor.process import Process
from compactor.runtime.loop_owner import LoopOwner
from compactor.settings import Settings
from compactor.wire.encoder import Body

Answer = TypeVar("Answer")

_LONGEST = sys.float_info.max  # seconds: beyond it an int is no time of a loop
_MOST_NAMES = 1024
_plain_names: set[str] = set()  # that were asked with, and need no check and no codec


class ContextAsking(LoopOwner):
    """The part of ``Context`` that asks."""

    settings: Settings

    _types: MessageTypes
    _circles: Circles

    @overload
    def ask(
        self, to: PID, name: str, body: Body | None = None, *, timeout: float | None = None
    ) -> Future[bytes]: ...
    @overload
    def ask(
        self,
        to: PID,
        name: str,
        body: Body | None = None,
        *,
        reply: type[Answer],
        timeout: float | None = None,
    ) -> Future[Answer]: ...
    @overload
    def ask(
        self, to: PID, name: Ask[Answer], *, timeout: float | None = None
    ) -> Future[Answer]: ...
    @overload
    def ask(
        self, to: PID, name: Message, *, reply: type[Answer], timeout: float | None = None
    ) -> Future[Answer]: ...
    @overload
    def ask(
        self, to: PID, name: ProtobufMessage, *, timeout: float | None = None
    ) -> Future[bytes]: ...
    def ask(
        self,
        to: PID,
        name: Any,
        body: Body | None = None,
        *,
        reply: Any = None,
        timeout: float | None = None,
    ) -> Future[Any]:
        """Send a message, and wait for its answer.

        Whoever has a method under that name by ``answer`` answers with what it returns.  Others,
        C++ actors and 0.3.0 among them, answer by sending any message to the sender of the ask.

        Args:
            to: the receiver, local or remote.
            name: the message name; or a message of a type, without a body.
            body: the content, or None for none.
            reply: the type of the answer, where the type of the message does not say it.
            timeout: seconds; default the setting ``ask_timeout``.

        Returns:
            A future for the answer: ``result()`` in a thread, ``await`` in a coroutine on any loop.
            That to an ``Ask[int]`` is an ``int``; to a name, bytes.
            It always ends: with the answer; with ``RemoteError`` if the handler has raised; with
            ``AskTimeout``; or with ``AskFailed`` and its ``reason`` as soon as it is known that no
            answer can come.  Who cancels it forgets the ask.

        Raises:
            ContextStopped: the context was stopped.
            TypeError, ValueError: the receiver, name, body, message or time cannot be used.
            MissingPackage: what writes such messages is not installed.
        """
        promised: Future[Any] = self._ask_from(None, to, name, body, timeout, reply)
        return promised

    def _ask_from(
        self,
        asker: PID | None,
        to: PID,
        name: Any,
        body: Body | None,
        timeout: float | None,
        reply: Any = None,
    ) -> Any:
        """Ask; what a handler gets can be awaited on the loop of this context only."""
        if type(to) is not PID:
            check_pid(to)
        if asker is not None and to.id == asker.id and to == asker and not self._runs_beside(asker):
            raise waits_for_itself([to, to])
        seconds = self.settings.ask_timeout if timeout is None else checked_timeout(timeout)
        runtime = self._runtime
        decode = None
        if type(body) is bytes and type(name) is str and reply is None and name in _plain_names:
            wire_name, content = name, body
        else:
            wire_name, content = self._types.message(name, body)
            form = self._types.answers(name if isinstance(name, str) else type(name), reply)
            if form is not None:
                decode = form.decode
            elif type(wire_name) is str and len(_plain_names) < _MOST_NAMES:
                _plain_names.add(wire_name)
        asks = runtime.asks
        ends = asks.give_up, self._circles.check
        if asker is not None and self._portal.thread == get_ident():
            new = runtime.backend.Asked
            asked: Any = new(to, wire_name, asker, decode, runtime.run_queue, *ends)
            asks.ask(asked, asker, to, wire_name, content, seconds)
            return asked
        promised = Promised(to, wire_name, asker, decode, self._portal, *ends)
        self._ask(asks.ask_unless_done, promised, content, seconds)
        return promised

    def _new_asker(self, pid: PID) -> Any:
        """The short way of a process to ask."""
        runtime = self._runtime
        ways = runtime.asks, self._portal, runtime.run_queue, _plain_names
        return runtime.backend.Asker(pid, self, *ways, self.settings.ask_timeout)

    def _answer(self, sender: PID, to: PID, name: str, body: bytes, content_type: str) -> None:
        """Give an answer to a temporary sender."""
        give = self._runtime.answers.give
        if self._portal.thread == get_ident():
            give(sender, to, name, body, content_type)
        else:
            self._ask(give, sender, to, name, body, content_type)

    def _crew_of(self, process: Process) -> Crew:
        """What runs beside the mailbox of a process that is served right now."""
        return self._runtime.supervision.crew_of(process)

    def _runs_beside(self, pid: PID) -> bool:
        """Whether a handler of a process calls this that does not hold its mailbox."""
        return self._portal.on_loop and self._runtime.supervision.runs_beside(pid)

    @property
    def _asks(self) -> Asks:
        """Those of this context."""
        return self._runtime.asks

    @property
    def _inquiries(self) -> Inquiries:
        """Those that handlers answer right now."""
        return self._runtime.asks.inquiries

    def _report(self, pid: PID, what: str, error: BaseException) -> None:
        """Report a failure that nobody handles who has asked."""
        self._call(self._runtime.answers.report, pid, what, error)

    def _answer_failure(self, sender: PID, to: PID, name: str, error: BaseException) -> None:
        """Tell a temporary sender that the handler of its message has raised."""
        self._ask(self._runtime.answers.fail, sender, to, name, error)


def checked_timeout(seconds: float) -> float:
    """The seconds, if an answer can be waited for so long."""
    if isinstance(seconds, bool):
        raise TypeError(f"the time for an answer is a number of seconds, got {seconds!r}")
    if not isinstance(seconds, (int, float)) or not 0 < seconds <= _LONGEST:
        raise ValueError(
            f"the time for an answer must be a finite number of seconds above 0, got {seconds!r}"
        )
    return seconds
