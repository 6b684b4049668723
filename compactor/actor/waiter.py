"""``Waiter``: what a task that awaits a dispatch yields, and how those who await one are woken."""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
from asyncio import _get_running_loop
from collections.abc import Callable
from typing import Any

from .run_queue import RunQueue


class Waiter:
    """What a task of the context's own loop yields: it goes on in the turn that has the result.

    For asyncio it is a future that is waited for by one task.  A future of asyncio would take a
    round of the loop to tell the task; this one is served by the run queue like a mailbox, so
    outside of all handlers, and as long as the turn lasts.
    """

    __slots__ = (
        "_asyncio_future_blocking",
        "_context",
        "_is_cancelled",
        "_is_done",
        "_message",
        "_run_queue",
        "_step",
    )

    def __init__(self, run_queue: RunQueue) -> None:
        self._asyncio_future_blocking = True  # "yielded to be waited for"
        self._run_queue = run_queue
        self._step: Callable[[Any], Any] | None = None
        self._context: contextvars.Context | None = None
        self._is_done = False
        self._is_cancelled = False
        self._message: Any = None

    def set_result(self, result: None) -> None:
        if not self._is_done:
            self._is_done = True
            if self._step is not None:
                self._run_queue.schedule(self)

    def drain(self, limit: int) -> None:
        """Let the task go on: what the run queue calls when it is this one's turn."""
        step, context = self._step, self._context
        self._step = self._context = None
        if step is not None and context is not None:
            context.run(step, self)

    # For asyncio

    def add_done_callback(
        self, step: Callable[[Any], Any], *, context: contextvars.Context | None = None
    ) -> None:
        self._step = step
        self._context = contextvars.copy_context() if context is None else context
        if self._is_done:
            self._run_queue.schedule(self)

    def cancel(self, msg: Any = None) -> bool:
        if self._is_done:
            return False
        self._is_done = self._is_cancelled = True
        self._message = msg
        if self._step is not None:
            self._run_queue.loop.call_soon(self.drain, 0)
        return True

    def result(self) -> None:
        if self._is_cancelled:
            raise (
                asyncio.CancelledError()
                if self._message is None
                else asyncio.CancelledError(self._message)
            )

    def done(self) -> bool:
        return self._is_done

    def cancelled(self) -> bool:
        return self._is_cancelled

    def get_loop(self) -> asyncio.AbstractEventLoop:
        return self._run_queue.loop


def set_threadsafe(waiter: Waiter | asyncio.Future[None]) -> None:
    """Wake who awaits, on the loop that it runs on; the caller may run on any."""
    loop = waiter.get_loop()
    if _get_running_loop() is loop:
        _set(waiter)
    else:
        with contextlib.suppress(RuntimeError):  # that loop was closed meanwhile
            loop.call_soon_threadsafe(_set, waiter)


def _set(waiter: Waiter | asyncio.Future[None]) -> None:
    if not waiter.done():
        waiter.set_result(None)
