"""What an isolated process has done: messages, asks and timers, as tests look at them."""

from __future__ import annotations

from collections.abc import Callable, Generator
from typing import Any, Generic, TypeVar

from compactor.actor.answer_forms import AnswerForm
from compactor.actor.asks import Asks
from compactor.actor.encoded import encoded
from compactor.actor.future import Future
from compactor.actor.message_types import MessageTypes
from compactor.actor.messages import check_message_type
from compactor.actor.pending import FAILED, failure_of, no_answer
from compactor.actor.timers import Timer
from compactor.errors import ProcessError, Reason
from compactor.pid import PID, number_in

Kind = TypeVar("Kind")
Result = TypeVar("Result")


class Done:
    """What a step returns that was taken already: ``await`` it or not."""

    def __await__(self) -> Generator[Any, None, None]:
        yield from ()


class Outcome(Generic[Result]):
    """What comes of something that an isolated process was asked, or called for."""

    def __init__(self, future: Future[Result], what: str) -> None:
        self._future = future
        self._what = what

    def done(self) -> bool:
        """Whether it is there."""
        return self._future.done()

    def result(self) -> Result:
        """It; or what was raised is raised.  ``await`` gives the same.

        Raises:
            ProcessError: it is not there yet.
        """
        if not self._future.done():
            raise ProcessError(
                f"{self._what} has not ended yet: the process waits for a time, which advance() "
                "lets go by, or for an answer to what it has asked, which is in asked"
            )
        return self._future.result(0)

    def exception(self) -> BaseException | None:
        """What was raised, or None.

        Raises:
            ProcessError: it is not there yet.
        """
        if not self._future.done():
            self.result()
        return self._future.exception(0)

    def __await__(self) -> Generator[Any, None, Result]:
        yield from ()
        return self.result()

    def __repr__(self) -> str:
        return f"<outcome of {self._what}, {'done' if self.done() else 'not there yet'}>"


class Sent:
    """A message that an isolated process has sent.

    Attributes:
        to: the receiver.
        name: of the message.
        body: its bytes.
        sender: the process, or whose message it has passed on.
    """

    def __init__(self, to: PID, name: str, body: bytes, sender: PID, types: MessageTypes) -> None:
        self.to = to
        self.name = name
        self.body = body
        self.sender = sender
        self._types = types

    def decode(self, kind: type[Kind]) -> Kind:
        """The message as one of a type.

        Raises:
            ValueError: it has another name than messages of that type.
            TypeError: that is no type of messages.
        """
        name = check_message_type(kind)
        if name != self.name:
            raise ValueError(f"this message is {self.name!r}, and no {name!r}")
        message: Kind = self._types.codec(kind).decode(self.body)
        return message

    def __eq__(self, other: object) -> bool:
        """As a tuple of receiver, name and body."""
        mine = self.to, self.name, self.body
        if isinstance(other, Sent):
            return mine == (other.to, other.name, other.body)
        return mine == other if isinstance(other, tuple) else NotImplemented

    __hash__ = None  # type: ignore[assignment]

    def __iter__(self) -> Any:
        """``to, name, body = sent``."""
        return iter((self.to, self.name, self.body))

    def __repr__(self) -> str:
        return f"{type(self).__name__}(to={self.to}, name={self.name!r}, body={self.body!r:.200})"


class AskedOther(Sent):
    """What an isolated process has asked somebody else; ``answer`` or ``fail`` ends it.

    Attributes:
        to: the receiver.
        name: of the message.
        body: its content.
        sender: a pid of its own, that of this one ask.
    """

    def __init__(
        self,
        to: PID,
        name: str,
        body: bytes,
        sender: PID,
        types: MessageTypes,
        asks: Asks,
        form: AnswerForm | None,
        step: Callable[[Callable[[], object]], Done],
    ) -> None:
        super().__init__(to, name, body, sender, types)
        self._asks = asks
        self._form = form
        self._step = step

    @property
    def is_open(self) -> bool:
        """Whether the process still waits for the answer."""
        return self._asks.is_waiting(number_in(self.sender))

    def answer(self, value: Any = None) -> Done:
        """Have the answer arrive, and the process go on.

        Args:
            value: what the ``answer`` method of the other one would have returned.

        Raises:
            ProcessError: nobody waits for it any more.
            TypeError: it is no answer to this.
        """
        self._check_open()
        answer = encoded(self.name, value, self._form.encode if self._form else None)
        return self._step(lambda: self._asks.answered(number_in(self.sender), *answer))

    def fail(self, error: BaseException | Reason) -> Done:
        """Have it fail, and the process go on.

        Args:
            error: what the other one has raised: the process gets a ``RemoteError`` of its type and
                text; or why there is no answer: it gets an ``AskFailed``.

        Raises:
            ProcessError: nobody waits for it any more.
            TypeError: ``error`` is neither.
        """
        self._check_open()
        if isinstance(error, Reason):
            body = no_answer(error)
        elif isinstance(error, BaseException):
            body = failure_of(error)
        else:
            raise TypeError(f"an ask fails with an exception or a Reason, got {error!r}")
        return self._step(lambda: self._asks.answered(number_in(self.sender), FAILED, body))

    def _check_open(self) -> None:
        if not self.is_open:
            raise ProcessError(f"nobody waits for an answer to {self!r} any more")


class StartedTimer:
    """A call that an isolated process has put off.

    Attributes:
        name: of the method.
        args: what it will be given.
        interval: seconds from one call to the next, None for a single one.
    """

    def __init__(
        self,
        timer: Timer,
        pid: PID,
        method: str | Callable[..., Any],
        args: tuple[Any, ...],
        interval: float | None,
    ) -> None:
        self._timer = timer
        self.pid = pid
        self.name = method if isinstance(method, str) else getattr(method, "__name__", repr(method))
        self.args = args
        self.interval = interval

    @property
    def when(self) -> float:
        """The time of the next call, in seconds as ``Isolated.time`` has them."""
        return self._timer.when

    @property
    def is_pending(self) -> bool:
        """Whether it is still to come."""
        return self._timer.is_pending

    def __repr__(self) -> str:
        every = "" if self.interval is None else f", interval={self.interval:g}"
        when = f"{self.when:g}" if self.is_pending else "over"
        return f"<timer {self.name}{self.args!r}, when={when}{every}>"
