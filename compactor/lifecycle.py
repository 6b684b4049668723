"""The life of a context: whose thread its loop runs on, from the first call to the last."""

from __future__ import annotations

import asyncio
import atexit
import logging
import os
import socket
import threading
import weakref
from collections.abc import Callable
from typing import Any, TypeVar

from compactor.errors import ContextError, ContextStopped
from compactor.loop import Inbox, keep_large_buffers, new_event_loop
from compactor.runtime import Runtime

log = logging.getLogger("compactor")

Self = TypeVar("Self", bound="LoopOwner")

_running: weakref.WeakSet[LoopOwner] = weakref.WeakSet()


class LoopOwner:
    """Runs a runtime on one loop: in a daemon thread, on the calling thread, or in a given loop.

    Args:
        runtime: what runs.
        sock: the socket that it listens on.
        name: what the thread is called.
        loop: the loop, or None to make one.
    """

    def __init__(
        self,
        runtime: Runtime,
        sock: socket.socket,
        name: str,
        loop: asyncio.AbstractEventLoop | None,
    ) -> None:
        self.name = name
        self.lock = threading.Lock()
        self._runtime = runtime
        self._sock = sock
        self._loop = loop
        self._inbox = Inbox(runtime.run_queue.begin_turn, runtime.run_queue.run)
        self._thread: threading.Thread | None = None
        self._task: asyncio.Task[None] | None = None
        self._is_started = False
        self._is_stopping = False
        self._stop_requested = asyncio.Event()
        self._stopped = threading.Event()

    def start(self) -> None:
        """Run the loop in a daemon thread; nothing happens if it runs already.

        Raises:
            ContextStopped: the context was stopped.
        """
        with self.lock:
            self._check_usable()
            if self._is_started:
                return
            self._is_started = True
        _running.add(self)
        loop = self._loop
        if loop is not None and loop.is_running():
            asyncio.run_coroutine_threadsafe(self._main(), loop)
            return
        if loop is None:
            # Made here, for a thread may not import any more while the interpreter ends.
            self._loop = new_event_loop()
        self._thread = threading.Thread(target=self.run, name=self.name, daemon=True)
        self._thread.start()

    def run(self) -> None:
        """Run the loop on the calling thread until the context is stopped; ``start`` does it.

        Raises:
            RuntimeError: the loop runs already.
        """
        with self.lock:
            if self._is_started and threading.current_thread() is not self._thread:
                raise RuntimeError(f"the loop of {self} runs already, in a thread of its own")
            self._is_started = True
        loop = self._loop or new_event_loop()
        asyncio.set_event_loop(loop)
        try:
            self._run_to_the_end(loop)
        except Exception:
            log.exception("%s failed", self)
        finally:
            self._close()
            asyncio.set_event_loop(None)
            try:
                loop.close()
            finally:
                self._stopped.set()

    def _run_to_the_end(self, loop: asyncio.AbstractEventLoop) -> None:
        """Run the loop until the context is stopped.

        What an ``async`` handler raises to end a program, its task raises through the loop.  It is
        reported like all that handlers raise; only Control-C of a main thread ends more.
        """
        main = loop.create_task(self._main())
        while True:
            try:
                return loop.run_until_complete(main)
            except (SystemExit, KeyboardInterrupt) as error:
                is_main = threading.current_thread() is threading.main_thread()
                if main.done() or (is_main and isinstance(error, KeyboardInterrupt)):
                    raise

    async def _main(self) -> None:
        await self._open()
        await self._serve()

    async def _open(self) -> None:
        loop = asyncio.get_running_loop()
        keep_large_buffers()
        try:
            self._runtime.run_queue.attach(loop)
            await self._runtime.server.listen(self._sock)
            self._inbox.attach(loop)
        except BaseException:
            self._close()
            raise

    async def _serve(self) -> None:
        try:
            await self._stop_requested.wait()
            await self._runtime.stop()
        finally:
            self._close()

    def _close(self) -> None:
        if not self._runtime.is_stopping:  # it was interrupted, or cancelled
            self._runtime.abandon()
        self._is_stopping = True
        self._sock.close()
        self._inbox.close()
        _running.discard(self)
        if self._thread is None:
            self._stopped.set()

    def stop(self) -> None:
        """End all processes, let what was sent leave, and close the port and all sockets.

        Returns at once; ``join`` waits for the end.  What has not left within
        ``linger`` seconds (see :class:`compactor.Settings`) is given up and reported.
        """
        with self.lock:
            if self._is_stopping:
                return
            self._is_stopping = self._inbox.is_stopping = True
            if not self._is_started:
                self._sock.close()
                self._stopped.set()
                return
        log.info("stopping %s", self)
        self._inbox.call(self._stop_requested.set)

    def join(self, timeout: float | None = None) -> None:
        """Wait until the context has been stopped; at once when called on its own loop.

        Args:
            timeout: seconds to wait at most.

        Raises:
            RuntimeError: it was never started.
        """
        if self._inbox.on_loop or self._loop_is_running_here():
            return
        if not self._is_started and not self._is_stopping:
            raise RuntimeError("cannot join a context before it is started")
        if timeout is not None:
            timeout = min(timeout, threading.TIMEOUT_MAX)
        self._stopped.wait(timeout)
        if self._thread is not None and self._stopped.is_set():
            self._thread.join(timeout)

    def _loop_is_running_here(self) -> bool:
        try:
            return asyncio.get_running_loop() is self._loop
        except RuntimeError:
            return False

    @property
    def is_stopping(self) -> bool:
        """Whether ``stop`` has been called."""
        return self._is_stopping

    def is_alive(self) -> bool:
        """Whether the context has been started and has not ended."""
        return self._is_started and not self._stopped.is_set()

    async def __aenter__(self: Self) -> Self:
        with self.lock:
            self._check_usable()
            if self._is_started:
                raise ContextError(
                    "this context runs in its own thread already; enter it with 'async with' "
                    "before anything is spawned on it, or use it without"
                )
            self._is_started = True
        self._loop = asyncio.get_running_loop()
        await self._open()
        self._task = asyncio.create_task(self._serve())
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """Stop, and wait for the end without blocking the loop."""
        self.stop()
        if self._task is not None:
            await asyncio.shield(self._task)  # whoever waits may be cancelled; the end may not
        else:
            await asyncio.get_running_loop().run_in_executor(None, self._stopped.wait)

    def _end_in_child(self) -> None:
        """This is another program now, a copy without the thread of the loop: it has stopped."""
        self.lock = threading.Lock()  # that thread may have held the old one
        self._stopped = threading.Event()
        self._stopped.set()
        self._is_stopping = self._runtime.is_stopping = True
        self._runtime.live.clear()
        self._inbox.abandon()
        _running.discard(self)

    def _check_usable(self) -> None:
        if self._is_stopping:
            raise ContextStopped(f"{self} has been stopped; make a new one")

    def _call(self, call: Callable[..., Any], *args: Any) -> None:
        """Make a call on the loop's thread: now if this is it, else soon."""
        if not self._is_started:
            self.start()
        self._inbox.call(call, *args)

    def _ask(self, call: Callable[..., Any], *args: Any) -> None:
        """``_call`` for what other threads could go on asking for, and so put off the end.

        Raises:
            ContextStopped: ``stop`` has been called, and this is not the loop's thread.
        """
        if self._is_stopping and not self._inbox.on_loop:
            self._check_usable()
        self._call(call, *args)


def _end_in_child() -> None:
    """After a fork the contexts are the parent's."""
    for context in list(_running):
        context._end_in_child()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_end_in_child)


@atexit.register
def _stop_running() -> None:
    """Let what the program sent leave before its daemon threads are cut off."""
    contexts = list(_running)
    for context in contexts:
        context.stop()
    for context in contexts:
        context.join(3 * context._runtime.settings.linger + 1)  # processes, messages, answers
