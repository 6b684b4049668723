"""The events of a mailbox besides dispatches and requests, and what is left of those awaited."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

from compactor.actor.entries import Event
from compactor.errors import ProcessTerminated, Reason
from compactor.pid import PID


async def then(first: Coroutine[Any, Any, Any], over: Callable[[Exception | None], Any]) -> None:
    """Await ``first``, and in the step that ends it call ``over`` with its error, if any."""
    error: Exception | None = None
    try:
        await first
    except Exception as failure:
        error = failure
    finally:
        over(error)


class Sized:
    """An event that takes so many bytes while it waits, which its mailbox has been told."""

    __slots__ = ("_event", "_size")

    def __init__(self, event: Event, size: int) -> None:
        self._event = event
        self._size = size

    def serve(self, mailbox: Any) -> Any:
        mailbox.account(-self._size)
        return self._event.serve(mailbox)

    def discard(self, reason: Reason) -> None:
        self._event.discard(reason)

    def __str__(self) -> str:
        return str(self._event)


async def finish(dispatch: Any, coroutine: Coroutine[Any, Any, Any], mailbox: Any) -> None:
    """What is left of a dispatch of a coroutine function."""
    try:
        dispatch.set_result(await coroutine)
    except asyncio.CancelledError:
        if not mailbox.drop(dispatch):
            dispatch.discard(Reason.TERMINATED)
        raise
    except BaseException as error:
        dispatch.set_exception(error)
        raise


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
        over: called with the error, or None.
    """

    __slots__ = ("_coroutine", "_over")

    def __init__(
        self, coroutine: Coroutine[Any, Any, Any], over: Callable[[BaseException | None], Any]
    ) -> None:
        self._coroutine = coroutine
        self._over = over

    def serve(self, mailbox: Any) -> Any:
        return self._initialize(mailbox)

    async def _initialize(self, mailbox: Any) -> None:
        try:
            await self._coroutine
        except Exception as error:
            mailbox.abandon(Reason.TERMINATED, self, error)
            self._over(error)
        except asyncio.CancelledError:
            self._over(ProcessTerminated(f"{self}: {Reason.TERMINATED}"))
            raise
        except BaseException as error:
            self._over(error)
            raise
        else:
            mailbox.adopt_context()
            self._over(None)

    def discard(self, reason: Reason) -> None:
        self._coroutine.close()
        self._over(ProcessTerminated(f"{self}: {reason}"))

    def __str__(self) -> str:
        return "initialize"
