"""What a mailbox holds besides messages: dispatches, exits, what ``initialize`` has left to do.

Everything in a mailbox is a triple ``(call, a, b)`` that is served by ``call(a, b)``.  A message
is ``(handler, sender, body)``.  All else is rarer and is ``(serve, event, mailbox)``.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
from collections.abc import Callable, Coroutine, Generator
from typing import Any, Generic, Protocol, TypeVar

from compactor.errors import ProcessTerminated, Reason
from compactor.pid import PID

Result = TypeVar("Result")


class Event(Protocol):
    """One event that is not a message."""

    def serve(self, mailbox: Any) -> Any:
        """Let the process handle it; an awaitable result is awaited before the next event."""

    def discard(self, reason: Reason) -> None:
        """The process ends, or has ended, before this event's turn."""

    def __str__(self) -> str:
        """What it is, for the log."""


def serve(event: Event, mailbox: Any) -> Any:
    """The call of every event that is not a message."""
    return event.serve(mailbox)


class Future(concurrent.futures.Future[Result], Generic[Result]):
    """The result of a dispatch: threads call ``result(timeout)``, coroutines ``await`` it."""

    def __await__(self) -> Generator[Any, None, Result]:
        return asyncio.wrap_future(self).__await__()


class Dispatch:
    """A call of a method, and the future of its result."""

    __slots__ = ("args", "function", "future", "mailbox", "name")

    def __init__(
        self, mailbox: Any, name: str, function: Callable[..., Any], args: tuple[Any, ...]
    ) -> None:
        self.mailbox = mailbox
        self.name = name
        self.function = function
        self.args = args
        self.future: Future[Any] = Future()

    def serve(self, mailbox: Any) -> Any:
        if not self.future.set_running_or_notify_cancel():
            return None
        try:
            result = self.function(*self.args)
        except BaseException as error:
            self.future.set_exception(error)
            raise
        if isinstance(result, Coroutine):
            return self._finish(result)
        self.future.set_result(result)
        return None

    async def _finish(self, coroutine: Coroutine[Any, Any, Any]) -> None:
        try:
            self.future.set_result(await coroutine)
        except asyncio.CancelledError:
            self.discard(Reason.TERMINATED)
            raise
        except BaseException as error:
            self.future.set_exception(error)
            raise

    def discard(self, reason: Reason) -> None:
        if not self.future.done() and (
            self.future.running() or self.future.set_running_or_notify_cancel()
        ):
            self.future.set_exception(ProcessTerminated(f"{self}: {reason}"))

    def __str__(self) -> str:
        return f"dispatch of {self.name!r}"


class Exited:
    """A linked pid is gone."""

    __slots__ = ("pid", "reason", "takes_reason")

    def __init__(self, pid: PID, reason: Reason, takes_reason: bool) -> None:
        self.pid = pid
        self.takes_reason = takes_reason
        self.reason = reason

    def serve(self, mailbox: Any) -> Any:
        process = mailbox.process
        if self.takes_reason:
            return process.exited(self.pid, self.reason)
        return process.exited(self.pid)

    def discard(self, reason: Reason) -> None:
        pass  # a process that ends needs to hear of no more exits

    def __str__(self) -> str:
        return f"exit of {self.pid} ({self.reason})"


class Initialization:
    """The rest of an ``async def initialize``, as the first event; its failure ends the process.

    Args:
        coroutine: what ``initialize`` returned.
        failed: called with the mailbox, this event as its entry, and the error.
    """

    __slots__ = ("_coroutine", "_failed")

    def __init__(
        self, coroutine: Coroutine[Any, Any, Any], failed: Callable[[Any, Any, Exception], None]
    ) -> None:
        self._coroutine = coroutine
        self._failed = failed

    def serve(self, mailbox: Any) -> Any:
        return self._initialize(mailbox)

    async def _initialize(self, mailbox: Any) -> None:
        try:
            await self._coroutine
        except Exception as error:
            self._failed(mailbox, (serve, self, mailbox), error)
            mailbox.abandon(Reason.TERMINATED)

    def discard(self, reason: Reason) -> None:
        self._coroutine.close()

    def __str__(self) -> str:
        return "initialize"
