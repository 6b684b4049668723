"""``Portal``: the calls that other threads ask the thread of a loop to make."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections import deque
from collections.abc import Callable
from threading import get_ident
from typing import Any

from compactor.errors import ContextStopped
from compactor.metrics.logs import logger

log = logger("context")

_BATCH = 1024  # calls before sockets and mailboxes have their turn


class Portal:
    """Calls that other threads ask the loop's thread to make, in the order asked.

    Calls made before the loop runs wait for it.  The loop is woken only if no wake-up is on its
    way already: one system call for a burst, not one per call.

    Args:
        before, then: called on the loop's thread around a batch of calls.  What is asked for can
            so be done before the loop looks at its sockets again.

    Attributes:
        thread: the ident of the loop's thread, while it makes the calls of this portal at once.
        is_stopping: whether those who can be told so should post no more.
    """

    def __init__(self, before: Callable[[], Any], then: Callable[[], Any]) -> None:
        self._before = before
        self._then = then
        self._calls: deque[tuple[Callable[..., Any], tuple[Any, ...]]] = deque()
        self._loop: asyncio.AbstractEventLoop | None = None
        self.thread: int | None = None
        self.is_stopping = False
        self._woken = False
        self._closed = False
        self._closing = threading.RLock()  # a signal handler may post in the middle of a post

    @property
    def on_loop(self) -> bool:
        """Whether the calling thread is the loop's."""
        return self.thread == get_ident()

    @property
    def is_served_here(self) -> bool:
        """Whether the calling coroutine runs on the loop, be all calls made or not."""
        return asyncio.get_running_loop() is self._loop

    def attach(self, loop: asyncio.AbstractEventLoop) -> None:
        """Make the calls on ``loop``, whose thread is the calling one, from now on."""
        self._loop = loop
        self._woken = True
        loop.call_soon(self._drain)

    def post(self, call: Callable[..., Any], *args: Any) -> None:
        """Have the loop's thread make the call soon.

        Raises:
            ContextStopped: there is no loop any more; the call is not made.
        """
        self.put(call, args)

    def put(self, call: Callable[..., Any], args: tuple[Any, ...]) -> None:
        """``post``, for those who post often."""
        if self._closed:
            raise ContextStopped("the context has been stopped; make a new one")
        self._calls.append((call, args))
        if not self._woken and self._loop is not None:
            self._woken = True
            with contextlib.suppress(RuntimeError):  # the loop was closed in this moment
                self._loop.call_soon_threadsafe(self._drain)
        if self._closed:
            self._make_calls(len(self._calls))  # close() may have looked before the append

    def interrupt(self, call: Callable[[], Any]) -> None:
        """Have the loop's thread make the call soon, as long as there is a loop.

        A signal handler may ask for it.  On the loop's own thread that sleeps it must wake the
        loop, and it may stand between a wake-up that is noted and the one that is made.
        """
        self._calls.append((call, ()))
        if self._loop is not None:
            with contextlib.suppress(RuntimeError):  # the loop is closed
                self._loop.call_soon_threadsafe(self._drain)

    def call(self, call: Callable[..., Any], *args: Any) -> None:
        """Make the call at once on the loop's thread, else post it.

        Raises:
            ContextStopped: there is no loop any more; the call is not made.
        """
        if self.thread == get_ident():
            call(*args)
        else:
            self.post(call, *args)

    def close(self) -> None:
        """Make the calls that are left on the calling thread, and take no more."""
        self._closed = True
        self._make_calls(len(self._calls))
        self.thread = None

    def abandon(self) -> None:
        """Forget the calls that are left, which are another program's to make; take no more."""
        self._closed = True
        self.thread = None
        self._calls.clear()
        self._closing = threading.RLock()

    def _drain(self) -> None:
        self._woken = False
        self._before()
        try:
            self._make_calls(_BATCH)
            if not self._calls and not self._closed:
                # Only now: what this thread asked for before the loop was attached comes first.
                self.thread = get_ident()
        finally:
            try:
                if self._calls and not self._woken and self._loop is not None:
                    self._loop.call_soon(self._drain)
                    self._woken = True
            finally:
                self._then()

    def _make_calls(self, limit: int) -> None:
        calls = self._calls
        with self._closing if self._closed else contextlib.nullcontext():
            while calls and limit:
                limit -= 1
                try:
                    call, args = calls.popleft()
                except IndexError:
                    return
                try:
                    call(*args)
                except MemoryError as error:
                    _tell(call, error)
                except Exception:
                    log.exception("a call from another thread failed: %r%r", call, args)


def _tell(call: object, error: MemoryError) -> None:
    with contextlib.suppress(MemoryError):  # there may be none left to say so
        log.error("a call from another thread failed: %r", call, exc_info=error)
