"""``Promise``: a future of what the loop of a context will tell, for threads and coroutines."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from typing import Any, TypeVar

from compactor.actor.future import Future
from compactor.errors import ContextError, ContextStopped, Reason
from compactor.net.portal import Portal
from compactor.pid import PID

Result = TypeVar("Result")


class Promise(Future[Result]):
    """A future that is kept on the thread of a loop, and need not be kept if it is cancelled.

    Args:
        what: is waited for, for the text of errors.
        portal: leads to the thread.
        forget: called there once nobody waits any more.
    """

    def __init__(self, what: str, portal: Portal, forget: Callable[[Any], Any]) -> None:
        super().__init__()
        self._what = what
        self._portal = portal
        self._forget = forget

    def result(self, timeout: float | None = None) -> Result:
        self._check_wait(timeout)
        return super().result(timeout)

    def exception(self, timeout: float | None = None) -> BaseException | None:
        self._check_wait(timeout)
        return super().exception(timeout)

    def _check_wait(self, timeout: float | None) -> None:
        """Refuse to wait on the thread that keeps it."""
        if timeout != 0 and self._portal.on_loop and not self.done():
            raise ContextError(
                f"a handler cannot wait for {self._what}, which needs the same thread: await it, "
                "in an async method"
            )

    def cancel(self) -> bool:
        if not super().cancel():
            return False
        with contextlib.suppress(ContextStopped):
            self._portal.call(self._forget, self)
        return True

    def keep(self, result: Result) -> None:
        """Have it be done, unless it was cancelled; on the loop's thread."""
        if self.set_running_or_notify_cancel():
            self.set_result(result)

    def fail(self, error: BaseException) -> None:
        """Have it fail, unless it was cancelled; on the loop's thread."""
        if self.set_running_or_notify_cancel():
            self.set_exception(error)


class Exit(Promise[Reason]):
    """The reason of an exit; it watches as a linker does.

    Attributes:
        detail: once it is done, the text of the cause, where it is known: that of the error with
            which the process has failed.  Empty for all other ends.
    """

    detail = ""

    def exited(self, pid: PID, reason: Reason) -> None:
        """It has come."""
        self.keep(reason)
