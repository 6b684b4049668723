"""``ContextDispatching``: calls of methods as events of their processes."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import TYPE_CHECKING, Any, TypeVar, overload

from compactor.actor.future import Future
from compactor.pid import PID
from compactor.runtime.loop_owner import LoopOwner

if TYPE_CHECKING:
    from typing_extensions import TypeVarTuple, Unpack

    Arguments = TypeVarTuple("Arguments")

Result = TypeVar("Result")


class ContextDispatching(LoopOwner):
    """The part of ``Context`` that dispatches."""

    _dispatcher: Any

    @overload
    def dispatch(
        self,
        pid: PID,
        method: Callable[[Unpack[Arguments]], Coroutine[Any, Any, Result]],
        *args: Unpack[Arguments],
    ) -> Future[Result]: ...
    @overload
    def dispatch(
        self, pid: PID, method: Callable[[Unpack[Arguments]], Result], *args: Unpack[Arguments]
    ) -> Future[Result]: ...
    @overload
    def dispatch(self, pid: PID, method: str, *args: Any) -> Future[Any]: ...
    def dispatch(self, pid: PID, method: Any, *args: Any) -> Future[Any]:  # type: ignore[misc]
        """Call a method of a local process, as an event of it.

        Args:
            pid: a process of this context.
            method: the name of any method, installed or not; or a callable.
            args: its arguments.

        Returns:
            A future for the result: ``result(timeout)`` in a thread, ``await`` in a coroutine.
            It fails with ``ProcessTerminated`` if the process ends first.

        Raises:
            InvalidProcess: no live process of this context has that pid.
            InvalidMethod: the process has no such method.
            ContextStopped: the context was stopped.
        """
        future: Future[Any] = self._dispatcher.dispatch(pid, method, args)
        return future
