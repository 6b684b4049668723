"""Event loops: which one to make, and the inbox through which other threads reach one."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import threading
from collections import deque
from collections.abc import Callable
from typing import Any

from compactor.errors import ContextStopped

log = logging.getLogger("compactor")

_LARGEST_BUFFER = 16 << 20  # bytes
_BATCH = 1024  # calls from other threads before sockets and mailboxes have their turn


def new_event_loop() -> asyncio.AbstractEventLoop:
    """A uvloop loop where uvloop is installed, else asyncio's; no policy is touched."""
    try:
        import uvloop
    except ImportError:
        return asyncio.new_event_loop()
    return uvloop.new_event_loop()


def loop_package() -> str:
    """What ``new_event_loop`` makes loops of in this program, ``uvloop`` or ``asyncio``."""
    try:
        import uvloop
    except ImportError:
        return "asyncio"
    return uvloop.__name__


def keep_large_buffers() -> None:
    """Have glibc reuse the memory of read and write buffers, whatever their size.

    Its malloc maps each block from 128 KiB on anew, for the kernel to clear page by page, and
    gives it back when it is freed.  It stops doing so for blocks up to the size of the largest
    mapped one that was freed so far, so one is freed here.  None of its pages is ever touched.
    """
    bytes(_LARGEST_BUFFER)


class Inbox:
    """Calls that other threads ask the loop's thread to make, in the order asked.

    Calls made before the loop runs wait for it.  The loop is woken only if no wake-up is on its
    way already: one system call for a burst, not one per call.

    Args:
        before, then: called on the loop's thread around a batch of calls.  What is asked for can
            so be done before the loop looks at its sockets again.

    Attributes:
        thread: the ident of the loop's thread, while it makes the calls of this inbox at once.
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
        self._closing = threading.Lock()

    @property
    def on_loop(self) -> bool:
        """Whether the calling thread is the loop's."""
        return self.thread == threading.get_ident()

    @property
    def is_served_here(self) -> bool:
        """Whether the calling coroutine runs on the loop, be all calls made or not."""
        return asyncio.get_running_loop() is self._loop

    async def caught_up(self) -> None:
        """Wait, on the loop, until all calls that were posted before this one are made.

        Raises:
            ContextStopped: there will be no more.
        """
        made = asyncio.Event()
        self.post(made.set)
        await made.wait()

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
        if self._closed:
            raise ContextStopped("the context has been stopped; make a new one")
        self._calls.append((call, args))
        if not self._woken and self._loop is not None:
            self._woken = True
            with contextlib.suppress(RuntimeError):  # the loop was closed in this moment
                self._loop.call_soon_threadsafe(self._drain)
        if self._closed:
            self._make_calls(len(self._calls))  # close() may have looked before the append

    def call(self, call: Callable[..., Any], *args: Any) -> None:
        """Make the call at once on the loop's thread, else post it.

        Raises:
            ContextStopped: there is no loop any more; the call is not made.
        """
        if self.thread == threading.get_ident():
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
        self._closing = threading.Lock()

    def _drain(self) -> None:
        self._woken = False
        self._before()
        try:
            self._make_calls(_BATCH)
            if not self._calls and not self._closed:
                # Only now: what this thread asked for before the loop was attached comes first.
                self.thread = threading.get_ident()
            if self._calls and not self._woken and self._loop is not None:
                self._woken = True
                self._loop.call_soon(self._drain)
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
                except Exception:
                    log.exception("a call from another thread failed: %r%r", call, args)


class Timer:
    """A call that is still to come: what ``Context.delay`` returns."""

    __slots__ = ("_call", "_handle", "_inbox")

    def __init__(self, inbox: Inbox, call: Callable[[], Any]) -> None:
        self._inbox = inbox
        self._call: Callable[[], Any] | None = call
        self._handle: asyncio.TimerHandle | None = None

    def start(self, loop: asyncio.AbstractEventLoop, seconds: float) -> None:
        """Start to count down, on the loop's thread."""
        if self._call is not None:
            self._handle = loop.call_later(seconds, self._fire)

    def cancel(self) -> bool:
        """Call it off, from any thread; False if it was made or called off before."""
        call, self._call = self._call, None
        if call is None:
            return False
        if self._handle is not None:
            with contextlib.suppress(ContextStopped):
                self._inbox.call(self._handle.cancel)
        return True

    def _fire(self) -> None:
        call, self._call = self._call, None
        if call is not None:
            call()
