"""``Asked``: the answer that a handler waits for.

A future for other threads and loops takes four times its memory, most of it for a lock that no
handler needs.  This one is known to the context's own loop alone, and is served by the run queue
like a mailbox, so a task goes on in the turn that brings the answer.
"""

from __future__ import annotations

import asyncio
import contextvars
from collections.abc import Callable
from typing import Any

from compactor.actor.pending import Pending, no_answer_of, type_and_text
from compactor.actor.protobuf import DoesNotParse
from compactor.errors import ContextError, Reason, RemoteError
from compactor.pid import PID

from .mailbox import SUSPENDED
from .outcome import end_with
from .run_queue import RunQueue

_Step = Callable[[Any], Any]


class Asked:
    """An answer that is still to come, for who awaits it on the loop of its context.

    To asyncio it is a future, to ``Asks`` what ``Pending`` is.

    Args:
        to, name: who was asked, and what.
        asker: the process that has asked.
        decode: makes the answer of the name and bytes of the message; None for the bytes alone.
        run_queue: the turns of the loop.
        forget: called with this once nobody waits any more.
        check: called with this before somebody waits, and whether who calls awaits it; may have it
            fail.

    Attributes:
        number: what tells this ask from all others, once it is under way; -1 before.
        mailbox: of whom was asked; None if that is nobody here.
    """

    __slots__ = (
        "_asyncio_future_blocking",
        "_check",
        "_context",
        "_error",
        "_forget",
        "_is_checked",
        "_is_done",
        "_later",
        "_result",
        "_run_queue",
        "_step",
        "asker",
        "decode",
        "mailbox",
        "name",
        "number",
        "to",
    )

    def __init__(
        self,
        to: PID,
        name: str,
        asker: PID | None,
        decode: Callable[[str, bytes], Any] | None,
        run_queue: RunQueue,
        forget: Callable[[Any], Any],
        check: Callable[[Any, bool], Any],
    ) -> None:
        self._asyncio_future_blocking = False
        self.to = to
        self.name = name
        self.asker = asker
        self.decode = decode
        self.number: Any = -1
        self.mailbox: Any = None
        self._run_queue = run_queue
        self._forget = forget
        self._check = check
        self._is_checked = False
        self._is_done = False
        self._result: Any = None
        self._error: BaseException | None = None
        self._step: _Step | None = None  # of the first who waits
        self._context: contextvars.Context | None = None
        self._later: list[tuple[_Step, contextvars.Context]] | None = None  # of all others

    # What comes of it

    def keep(self, result: Any) -> None:
        """The answer is there."""
        if not self._is_done:
            self._result = result
            self._end()

    def fail(self, error: BaseException) -> None:
        """There will be no answer."""
        if isinstance(error, StopIteration):  # which would end whoever awaits as if it returned
            cause = error
            error = RuntimeError(f"what was called raised {cause!r}")
            error.__cause__ = cause
        if not self._is_done:
            self._error = error
            self._end()

    def fail_for(self, reason: Reason) -> None:
        """There will be no answer, for a reason."""
        self.fail(no_answer_of(self.name, self.to, reason))

    def raised(self, error: BaseException) -> bool:
        """The handler that was asked has raised; whether whoever has asked handles that."""
        self.fail(RemoteError(*type_and_text(error)))
        return not isinstance(error, DoesNotParse)

    def forget(self) -> None:
        """Wait no more."""
        self._forget(self)

    def take(self, name: str, body: bytes, content_type: str) -> None:
        """The answer has come."""
        if self.decode is None:
            if not self._is_done:
                self._result = body
                self._end()
            return
        try:
            answer = self.decode(name, body)
        except Exception as error:
            self.fail(error)
        else:
            self.keep(answer)

    def cancel(self, msg: Any = None) -> bool:
        """Wait no more; False if there was nothing to wait for."""
        if self._is_done:
            return False
        self._error = asyncio.CancelledError() if msg is None else asyncio.CancelledError(msg)
        self._forget(self)
        self._end()
        return True

    def _end(self) -> None:
        self._is_done = True
        if self._step is not None:
            self._run_queue.schedule(self)

    def drain(self, limit: int) -> None:
        """Let those who wait go on: what the run queue calls when it is this one's turn."""
        step, context, later = self._step, self._context, self._later
        self._step = self._context = self._later = None
        if step is not None and context is not None:
            context.run(step, self)
        for step, context in later or ():
            context.run(step, self)

    # Waiting

    def __await__(self) -> Any:
        if not self._is_done and self._may_be_circle():
            self._check(self, True)
        self._is_checked = True
        return self

    def _may_be_circle(self) -> bool:
        """Whether whom was asked waits for somebody, who might wait for this."""
        return self.mailbox is not None and self.mailbox.state == SUSPENDED

    def __next__(self) -> Any:
        if not self._is_done:
            self._asyncio_future_blocking = True  # "yielded to be waited for"
            return self
        if self._error is not None:
            raise self._error
        end_with(self._result)
        raise StopIteration

    def result(self, timeout: float | None = None) -> Any:
        """The answer; raises what there is instead.

        Raises:
            ContextError: it has not come, and nothing could wait for it here.
        """
        if not self._is_done:
            what = f"the answer of {self.to}"
            raise ContextError(
                f"a handler cannot wait for {what}, which needs the same thread: await it, "
                "in an async method"
            )
        if self._error is not None:
            raise self._error
        return self._result

    def exception(self) -> BaseException | None:
        """Why there is no answer; None if there is one."""
        if not self._is_done:
            raise asyncio.InvalidStateError(f"{self!r} has not come")
        if isinstance(self._error, asyncio.CancelledError):
            raise self._error
        return self._error

    def done(self) -> bool:
        """Whether there is nothing to wait for any more."""
        return self._is_done

    def cancelled(self) -> bool:
        """Whether somebody has cancelled it."""
        return isinstance(self._error, asyncio.CancelledError)

    def get_loop(self) -> asyncio.AbstractEventLoop:
        """The loop of its context, the only one that it can be awaited on."""
        return self._run_queue._loop  # type: ignore[return-value]  # it runs

    def add_done_callback(self, step: _Step, *, context: contextvars.Context | None = None) -> None:
        """Have a function be called with this once it is done, on its loop."""
        if context is None:
            context = contextvars.copy_context()
        # Who awaits it has looked before.
        if not self._is_checked and not self._is_done and self._may_be_circle():
            self._check(self, False)
        if self._step is None:
            self._step, self._context = step, context
            if self._is_done:
                self._run_queue.schedule(self)
        elif self._later is None:
            self._later = [(step, context)]
        else:
            self._later.append((step, context))

    def remove_done_callback(self, step: _Step) -> int:
        """Have a function not be called; return how often it would have been."""
        waiting = [(self._step, self._context), *(self._later or ())]
        kept = [each for each in waiting if each[0] != step and each[0] is not None]
        self._step, self._context = kept[0] if kept else (None, None)
        self._later = kept[1:] or None  # pyright: ignore[reportAttributeAccessIssue]
        return sum(each[0] == step for each in waiting)

    def __repr__(self) -> str:
        return f"<the answer of {self.to} to {self.name!r}>"


Pending.register(Asked)
