"""``Timing``: what a process asks to be done later, or from elsewhere: delay, every, defer."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from compactor.actor.future import Future
from compactor.actor.timers import Timer
from compactor.errors import ContextStopped, InvalidMethod, InvalidProcess, ProcessTerminated
from compactor.pid import PID


class Deferred:
    """What ``Process.defer`` returns: called from any thread, it makes a call an event."""

    __slots__ = ("_args", "_function", "_process")

    def __init__(
        self, process: Any, method: str | Callable[..., Any], args: tuple[Any, ...]
    ) -> None:
        function: Any = method
        if isinstance(method, str):
            function = getattr(process, method, None)
            if not callable(function):
                raise InvalidMethod(
                    f"Unknown method {method} on {process.pid}: {process!r} has none"
                )
        elif not callable(method):
            raise TypeError(f"a method is given by its name, or a callable, got {method!r}")
        self._process = process
        self._function = function
        self._args = args

    def __call__(self, *args: Any) -> Future[Any]:
        """Have the call made; raises nothing, for libraries would not know what to do with it.

        Returns:
            A future for the result.  If the process has ended, it fails with
            ``ProcessTerminated``; if its context was stopped, with ``ContextStopped``.
        """
        process = self._process
        error: Exception = ProcessTerminated(f"{self}: {process.pid} has ended")
        if process.context._hosts(process):  # and not a later one of the same name
            try:
                future: Future[Any] = process.context.dispatch(
                    process.pid, self._function, *self._args, *args
                )
                return future
            except InvalidProcess:
                pass  # it ended in this moment
            except ContextStopped as stopped:
                error = stopped
        elif process.context.is_stopping:
            error = ContextStopped(f"{self}: {process.context} has been stopped; make a new one")
        failed: Future[Any] = Future()
        failed.set_exception(error)
        return failed

    def __repr__(self) -> str:
        name = getattr(self._function, "__name__", self._function)
        return f"deferred {name!r}"


class Timing:
    """The part of ``Process`` that has to do with time and other threads."""

    if TYPE_CHECKING:

        @property
        def context(self) -> Any: ...
        @property
        def pid(self) -> PID: ...

    def delay(self, seconds: float, method: str | Callable[..., Any], *args: Any) -> Timer:
        """Call a method of this process after a time, as an event of it.

        Args:
            seconds: from now; a time that is over already is no wait.
            method: the name of any method, installed or not; or a callable.
            args: its arguments.

        Returns:
            A timer, whose ``cancel()`` calls it off from any thread.  It ends with the process.

        Raises:
            UnboundProcess: this process has not been spawned.
            InvalidProcess, InvalidMethod, ContextStopped: as ``Context.dispatch``.
            ValueError: ``seconds`` is no number, or is infinite.
        """
        timer: Timer = self.context.delay(seconds, self.pid, method, *args)
        return timer

    def every(self, seconds: float, method: str | Callable[..., Any], *args: Any) -> Timer:
        """Call a method of this process again and again, at a fixed rate, as events of it.

        The first call comes after ``seconds``, and all at multiples of it, however long one
        takes.  Calls do not pile up: one that would find the last one still waiting or running is
        left out.  If a call raises, that is reported as with every handler, and the next comes.

        Args:
            seconds: from one call to the next.
            method: the name of any method, installed or not; or a callable.
            args: its arguments.

        Returns:
            A timer, whose ``cancel()`` ends it from any thread.  It ends with the process.

        Raises:
            UnboundProcess: this process has not been spawned.
            InvalidProcess, InvalidMethod, ContextStopped: as ``Context.dispatch``.
            ValueError: ``seconds`` is no number, infinite, or not above 0.
        """
        timer: Timer = self.context.every(seconds, self.pid, method, *args)
        return timer

    def defer(self, method: str | Callable[..., Any], *args: Any) -> Callable[..., Future[Any]]:
        """A callable that has a method of this process called, as an event of it.

        Any thread may call it, so it can be given to libraries that call back, as
        libprocess's ``defer``::

            executor.submit(work).add_done_callback(self.defer("worked"))

        Args:
            method: the name of any method, installed or not; or a callable.
            args: its first arguments; those that the callable is given follow.

        Returns:
            The callable.  It returns a future for the result, as ``Context.dispatch`` does, and
            never raises: if the process has ended, or the context was stopped, the future fails.

        Raises:
            UnboundProcess: this process has not been spawned.
            InvalidMethod: the process has no such method.
            TypeError: ``method`` is neither name nor callable.
        """
        assert self.context is not None
        return Deferred(self, method, args)
