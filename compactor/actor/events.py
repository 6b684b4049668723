"""The events of a mailbox besides dispatches and requests, and what is left of those awaited."""

from __future__ import annotations

import asyncio
import functools
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


def is_method_of(call: Any, process: Any) -> bool:
    """Whether a call is that of a method of an object, with or without some of its arguments."""
    while isinstance(call, functools.partial):
        call = call.func
    return getattr(call, "__self__", None) is process


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

    def moved(self, mailbox: Any, page_of: Callable[[bytes], Any]) -> bool:
        moved = getattr(self._event, "moved", None)
        return moved is None or moved(mailbox, page_of)

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
    """A linked pid is gone.

    Args:
        pid, reason, detail: what ``exited`` is told.
    """

    __slots__ = ("detail", "pid", "reason")

    def __init__(self, pid: PID, reason: Reason, detail: str = "") -> None:
        self.pid = pid
        self.reason = reason
        self.detail = detail

    def serve(self, mailbox: Any) -> Any:
        process = mailbox.process
        told = process.__handlers__().exited_is_told
        return process.exited(*(self.pid, self.reason, self.detail)[:told])

    def discard(self, reason: Reason) -> None:
        pass  # a process that ends needs to hear of no more exits

    def __str__(self) -> str:
        return f"exit of {self.pid} ({self.reason})"


class Initialization:
    """The rest of an ``async def initialize``, as the first event; its failure ends the process.

    Args:
        coroutine: what ``initialize`` returned; None if it was not called yet.
        over: called with the error, or None.
        is_supervised: whether a policy says what a failure does.
    """

    __slots__ = ("_coroutine", "_is_supervised", "_over")

    def __init__(
        self,
        coroutine: Coroutine[Any, Any, Any] | None,
        over: Callable[[BaseException | None], Any],
        is_supervised: bool = False,
    ) -> None:
        self._coroutine = coroutine
        self._over = over
        self._is_supervised = is_supervised

    def serve(self, mailbox: Any) -> Any:
        return self._initialize(mailbox)

    async def _initialize(self, mailbox: Any) -> None:
        assert self._coroutine is not None
        try:
            await self._coroutine
        except Exception as error:
            if self._is_supervised:
                self._over(error)
                raise
            mailbox.abandon(Reason.FAILED, self, error)
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
        if self._coroutine is not None:
            self._coroutine.close()
        self._over(ProcessTerminated(f"{self}: {reason}"))

    def __str__(self) -> str:
        return "initialize"
