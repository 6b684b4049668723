"""``Dispatch``: a call of a method, and the future of its result; it costs little to who waits not.

A future of the standard library makes a lock and a condition, which take longer than most
dispatches.  This one makes them once a thread waits.  What decides, without a lock, whether a
result came before that are its steps: a list that whatever happens is appended to, which no thread
can be interrupted in.  Once there is a condition, all goes the library's way.
"""

from __future__ import annotations

import asyncio
import threading
from asyncio import _get_running_loop
from collections.abc import Callable, Coroutine, Generator
from concurrent.futures import Future as Library
from concurrent.futures import InvalidStateError, _base
from threading import get_ident
from typing import Any, NoReturn

from compactor.actor.cancelling import cancel_running
from compactor.actor.events import finish, is_method_of
from compactor.actor.future import Future
from compactor.actor.untold import keep_untold, tell
from compactor.actor.waits import needs
from compactor.errors import ContextError, InvalidMethod, ProcessError, ProcessTerminated, Reason
from compactor.pid import PID, check_pid

from ..net.portal import Portal
from .mailbox import ENDED, Mailbox
from .waiter import Waiter, set_threadsafe

_PENDING, _RUNNING, _FINISHED = _base.PENDING, _base.RUNNING, _base.FINISHED
_DONE = (_FINISHED, _base.CANCELLED, _base.CANCELLED_AND_NOTIFIED)
_Condition = threading.Condition
_LoopFuture = asyncio.Future
_PLAIN = frozenset((type(None), bool, int, float, str, bytes, tuple, list, dict))


class Call:
    """What a dispatch is besides a future of the library, all of which it brings about.

    Args:
        mailbox: of the process.
        method: the name of a method of the process, or a callable.
        args: its arguments.

    Raises:
        InvalidMethod: the process has no such method.
        TypeError: ``method`` is neither name nor callable.
    """

    __slots__ = (
        "_args",
        "_exception",
        "_function",
        "_kept",
        "_mailbox",
        "_method",
        "_result",
        "_said",
        "_steps",
    )

    def __init__(
        self, mailbox: Mailbox, method: str | Callable[..., Any], args: tuple[Any, ...]
    ) -> None:
        function: Any = method
        if isinstance(method, str):
            function = getattr(mailbox.process, method, None)
            if function is None or not callable(function):
                raise InvalidMethod(
                    f"Unknown method {method} on {mailbox.pid}: {mailbox.process!r} has none"
                )
        elif not callable(method):
            raise TypeError(f"a method is given by its name, or a callable, got {method!r}")
        self._mailbox = mailbox
        self._method: Any = method
        self._function = function
        self._args: tuple[Any, ...] = args
        self._steps: list[Any] = []  # _RUNNING, conditions, _FINISHED, those who await it
        self._said = _PENDING  # what the library has made the state
        self._result: Any = None
        self._exception: BaseException | None = None
        self._kept: tuple[list[Any], list[Any]] | None = None  # what threads wait by, and callbacks

    # As an event

    def put(self) -> None:
        """Put it into the mailbox, on the loop's thread."""
        if self._mailbox.state == ENDED:
            self._mailbox._owner.put_late(self._mailbox, self)
        else:
            self._mailbox.put_event(self)

    def serve(self, mailbox: Any) -> Any:
        if not self._start():
            return None
        function, args = self._function, self._args
        self._function = None  # whoever keeps the result need not keep these
        self._args = ()
        try:
            result = function(*args)  # pyright: ignore[reportOptionalCall]
        except BaseException as error:
            self._fail(error)
            raise
        if type(result) not in _PLAIN and isinstance(result, Coroutine):  # the latter is slow
            return finish(self, result, mailbox)
        self._succeed(result)
        return None

    def discard(self, reason: Reason) -> None:
        if not self.done() and (self.running() or self._start()):
            self._fail(ProcessTerminated(f"{self}: {reason}"))

    def moved(self, mailbox: Mailbox, page_of: Any) -> bool:
        """Have it be for the process of another mailbox; False if it calls the old object."""
        method = self._method
        if isinstance(method, str):
            method = getattr(mailbox.process, method, None)
            if not callable(method):
                return False
            self._function = method
        elif is_method_of(method, self._mailbox.process):
            return False
        self._mailbox = mailbox
        return True

    def __str__(self) -> str:
        method = self._method
        name = method if isinstance(method, str) else getattr(method, "__name__", str(method))
        return f"dispatch of {name!r}"

    # For the library

    @property
    def _condition(self) -> threading.Condition:
        while True:
            for step in self._steps:
                if type(step) is _Condition:
                    return step  # the first, whatever follows it
            self._steps.append(_Condition())

    def _early(self) -> Any:
        """The state that was reached before there was a condition."""
        state = _PENDING
        for step in self._steps:
            if step is _RUNNING or step is _FINISHED:
                state = step
            elif type(step) is _Condition:
                break
        return state

    @property
    def _state(self) -> str:
        return self._early() if self._said is _PENDING else self._said

    @_state.setter
    def _state(self, state: str) -> None:
        self._said = state

    @property
    def _waiters(self) -> list[Any]:
        if self._kept is None:  # the library looks with the condition held only
            self._kept = ([], [])
        return self._kept[0]

    @property
    def _done_callbacks(self) -> list[Any]:
        if self._kept is None:
            self._kept = ([], [])
        return self._kept[1]

    # Setting

    def _start(self) -> bool:
        steps = self._steps
        if not steps or (self._said is _PENDING and self._early() is _PENDING):
            steps.append(_RUNNING)
            if steps[0] is _RUNNING or self._early() is _RUNNING:
                return True
        return Library.set_running_or_notify_cancel(self)  # type: ignore[arg-type]

    def _succeed(self, result: Any) -> None:
        steps = self._steps
        if len(steps) == 1 and steps[0] is _RUNNING:
            self._result = result
            steps.append(_FINISHED)
            if steps[1] is _FINISHED:
                return
            if self._early() is not _FINISHED:
                self._finish_late(result, None)
        elif not self._finishes_early(result, None):
            self._finish_late(result, None)
        self._wake()

    def _fail(self, error: BaseException | None) -> None:
        # Raised where a coroutine waits, a StopIteration would end it as if it had returned.  Up to
        # Python 3.11 asyncio refuses to raise it, and leaves whoever waits where they are.
        if isinstance(error, StopIteration):
            cause = error
            error = RuntimeError(f"what was called raised {cause!r}")
            error.__cause__ = cause
        if not self._finishes_early(None, error):
            self._finish_late(None, error)
        self._wake()

    def _finishes_early(self, result: Any, error: BaseException | None) -> bool:
        """Set the outcome, unless somebody has made a condition."""
        if self._said is not _PENDING or self._early() is not _RUNNING:
            return False
        self._result, self._exception = result, error
        self._steps.append(_FINISHED)
        return self._early() is _FINISHED

    def _finish_late(self, result: Any, error: BaseException | None) -> None:
        """Set the outcome as the library does; of a call that was cancelled it is of no matter."""
        try:
            if error is None:
                Library.set_result(self, result)  # type: ignore[arg-type]
            else:
                Library.set_exception(self, error)  # type: ignore[arg-type]
        except InvalidStateError:
            if not self.cancelled():
                raise

    def set_running_or_notify_cancel(self) -> bool:
        return self._start()

    def set_result(self, result: Any) -> None:
        self._succeed(result)

    def set_exception(self, exception: BaseException | None) -> None:
        self._fail(exception)

    def cancel(self) -> bool:
        if self._early() is not _PENDING or not Library.cancel(self):  # type: ignore[arg-type]
            mailbox = self._mailbox
            if mailbox is None or not cancel_running(self, mailbox, mailbox._run_queue._loop):
                return False
        self._wake()
        return True

    # Waiting

    def _is_over(self) -> bool:
        said = self._said
        return self._early() is _FINISHED if said is _PENDING else said in _DONE

    def done(self) -> bool:
        return self._is_over()

    def running(self) -> bool:
        return self._state == _RUNNING

    def cancelled(self) -> bool:
        return self._said in _DONE[1:]

    def result(self, timeout: float | None = None) -> Any:
        if self._exception is None and self._early() is _FINISHED:
            return self._result
        self._check_wait(timeout)
        try:
            return Library.result(self, timeout)  # type: ignore[arg-type]
        finally:
            if self._exception is not None:
                tell(self._steps)

    def exception(self, timeout: float | None = None) -> BaseException | None:
        self._check_wait(timeout)
        error = Library.exception(self, timeout)  # type: ignore[arg-type]
        if error is not None:
            tell(self._steps)
        return error

    def _check_wait(self, timeout: float | None) -> None:
        """Refuse to wait on the thread that the call itself needs."""
        if timeout == 0 or self._is_over():
            return
        loop = _get_running_loop()
        if loop is not None and loop is self._mailbox._run_queue._loop:
            raise ContextError(
                f"a handler cannot wait for a dispatch to {self._mailbox.pid}, which needs the "
                "same thread: await it, in an async method"
            )

    def leave_failure(self, report: Callable[[], Any]) -> None:
        """Have a failure reported when nobody can be told of it any more, and nobody was."""
        for step in self._steps:
            if type(step) is Waiter or isinstance(step, _LoopFuture):
                return  # they are about to be
        keep_untold(self._steps, report)

    def _wake(self) -> None:
        """Wake those who await it, on their loops."""
        for step in self._steps:
            if type(step) is Waiter:
                waiter: Waiter = step
                if _get_running_loop() is waiter._run_queue._loop:
                    waiter.set_result(None)
                else:
                    set_threadsafe(waiter)
            elif isinstance(step, _LoopFuture):
                set_threadsafe(step)

    def __await__(self) -> Generator[Any, None, Any]:
        if not self._is_over():
            mailbox = self._mailbox
            loop = _get_running_loop() or asyncio.get_running_loop()
            if mailbox is not None and mailbox._run_queue._loop is loop:
                if mailbox._task is not None and needs(mailbox._task, asyncio.current_task(loop)):
                    self.cancel()
                    raise ProcessError(f"{mailbox.pid} would wait for itself, forever")
                waiter: Any = Waiter(mailbox._run_queue)
            else:
                waiter = loop.create_future()
                waiter._asyncio_future_blocking = True
            steps = self._steps
            steps.append(waiter)
            if not self._is_over():
                try:
                    yield waiter
                except asyncio.CancelledError:
                    steps[steps.index(waiter)] = None  # others may be looking, by position
                    self.cancel()
                    raise
        if self._exception is None and (self._early() is _FINISHED or self._said is _FINISHED):
            return self._result
        return (yield from asyncio.wrap_future(self).__await__())  # type: ignore[arg-type]

    def __reduce__(self) -> NoReturn:
        raise TypeError(f"cannot pickle {self!r}: it is a result that is still to come")


class Dispatch(Call, Future[Any]):  # type: ignore[override]
    """A call of a method, and the future of its result: one object, for there are many."""


class Unwatched(Dispatch):
    """A call whose result nobody has: that of a timer."""

    def moved(self, mailbox: Mailbox, page_of: Any) -> bool:
        return False  # timers end with the object that has set them

    def leave_failure(self, report: Callable[[], Any]) -> None:
        report()


class Dispatcher:
    """What ``Context.dispatch`` does on the loop's thread.

    Args:
        live: the mailboxes of the context by id.
        portal: of the context.
        is_local: whether a pid carries the context's address.
        refuse: returns the error for a pid that is no live process.
        later: has a call made on the loop's thread, if there will be one.
    """

    __slots__ = ("_is_local", "_later", "_live", "_portal", "_refuse")

    def __init__(
        self,
        live: dict[str, Mailbox],
        portal: Portal,
        is_local: Callable[[PID], bool],
        refuse: Callable[[PID], Exception],
        later: Callable[[Callable[[], None]], None],
    ) -> None:
        self._live = live
        self._portal = portal
        self._is_local = is_local
        self._refuse = refuse
        self._later = later

    def new(self, pid: PID, method: str | Callable[..., Any], args: tuple[Any, ...]) -> Dispatch:
        """A dispatch that is not put yet; raises what ``Context.dispatch`` does."""
        if type(pid) is not PID:
            check_pid(pid)
        mailbox = self._live.get(pid.id)
        if mailbox is None or (mailbox.pid is not pid and not self._is_local(pid)):
            raise self._refuse(pid)
        return Unwatched(mailbox, method, args)

    def dispatch(
        self, pid: PID, method: str | Callable[..., Any], args: tuple[Any, ...]
    ) -> Dispatch:
        if type(pid) is not PID:
            check_pid(pid)
        mailbox = self._live.get(pid.id)
        if mailbox is None or (mailbox.pid is not pid and not self._is_local(pid)):
            raise self._refuse(pid)
        event = Dispatch(mailbox, method, args)
        portal = self._portal
        if portal.thread == get_ident():
            mailbox.put_event(event)
        elif portal.thread is None or portal.is_stopping:
            self._later(event.put)
        else:
            portal.put(event.put, ())
        return event
