"""``LoopOwner``: whose thread the loop of a context runs on, from start to stop and join."""

from __future__ import annotations

import asyncio
import concurrent.futures
import contextlib
import socket
import threading
from collections.abc import Callable
from typing import Any, TypeVar

from compactor.errors import ContextError, ContextStopped
from compactor.metrics.logs import logger
from compactor.net.event_loop import (
    check_threads,
    keep_read_buffers,
    new_event_loop,
    wind_up,
)
from compactor.runtime import at_exit
from compactor.runtime.arguments import check_drain, check_loop, check_timeout
from compactor.runtime.control_c import first_control_c
from compactor.runtime.life import CLOSED, STOPPED, STOPPING
from compactor.runtime.runtime import Runtime
from compactor.system.system import system

log = logger("context")

Self = TypeVar("Self", bound="LoopOwner")


class LoopOwner:
    """Runs a runtime on one loop: in a daemon thread, on the calling thread, or in a given loop.

    A signal handler may interrupt any step of a call and make another one on the same thread.  So
    nothing here waits for a lock, but for that of ``Life.stopped``, which a thread may take twice.

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
        self._runtime = runtime
        self._life = runtime.life
        self._sock = sock
        self._loop = loop
        run_queue = runtime.run_queue
        self._portal = runtime.backend.Portal(run_queue.begin_turn, run_queue.run)
        self._thread: threading.Thread | None = None
        self._task: asyncio.Task[None] | None = None
        self._owns_loop = False
        self._stop_requested = asyncio.Event()
        system().made(self)

    def start(self) -> None:
        """Run the loop in a daemon thread; nothing happens if it runs already.

        Raises:
            ContextStopped: the context was stopped.
            ContextError: threads are greenlets, which the loop would block.
            ValueError: its loop has been closed meanwhile.
        """
        self._check_startable()
        if not self._life.is_started:
            check_loop(self._loop)
        starter = [threading.get_ident()]
        if not self._life.begin(starter):
            self._check_usable()  # it may have been stopped meanwhile
            return
        at_exit.add(self)
        loop = self._loop = self._loop or system().own_loop()
        if loop is not None and loop.is_running():
            main = asyncio.run_coroutine_threadsafe(self._main(), loop)
            main.add_done_callback(self._main_is_done)
            starter.clear()
            return
        self._owns_loop = True
        if loop is None:
            # Made here, for a thread may not import any more while the interpreter ends.
            loop = self._loop = new_event_loop()
        self._thread = threading.Thread(target=self._run, name=self.name, daemon=True)
        try:
            self._thread.start()
        except RuntimeError as error:  # there are too many
            self._thread, self._owns_loop, self._life.failure = None, False, error
            self._close()
            loop.close()
            raise
        starter.clear()

    def run(self) -> None:
        """Run the loop on the calling thread until the context is stopped.

        Control-C stops it, too: the handler that runs goes on to its end, finalizers run, what was
        sent leaves, and then ``KeyboardInterrupt`` is raised.  A second one interrupts the handler,
        a third one the finalizers.

        Raises:
            RuntimeError: the loop runs already.
            ContextStopped: the context was stopped.
            ValueError: its loop has been closed meanwhile.
        """
        if not self._life.is_started:
            check_loop(self._loop)
        if not self._life.begin([threading.get_ident()]):
            self._check_usable()
            raise RuntimeError(f"the loop of {self} runs already, in a thread of its own")
        self._owns_loop = True
        at_exit.add(self)
        with first_control_c(lambda: self.stop(drain=0)):
            self._run()

    def _run(self) -> None:
        loop = self._loop or new_event_loop()
        asyncio.set_event_loop(loop)
        main = loop.create_task(self._main())
        try:
            self._complete(loop, main)
        except KeyboardInterrupt:
            if not main.done():
                self.stop(drain=0)
                self._complete(loop, main)
            raise
        except Exception as error:
            if self._life.is_copy:  # uvloop does not bear that its thread is now the main one
                at_exit.leave(error)
            log.exception("%s failed", self)
        finally:
            self._close()
            try:
                self._complete(loop, loop.create_task(wind_up(self._runtime.settings.linger)))
            except Exception:
                log.exception("what is left on the loop of %s cannot be ended", self)
            finally:
                asyncio.set_event_loop(None)
                try:
                    loop.close()
                finally:
                    self._life.reach(STOPPED)

    def _complete(self, loop: asyncio.AbstractEventLoop, task: asyncio.Task[None]) -> None:
        """Run the loop until a task is done.

        ``SystemExit`` and ``KeyboardInterrupt`` of an ``async`` handler pass through the loop.
        They are reported like any other error of a handler, and the loop goes on; only Control-C
        in a main thread ends it.
        """
        while True:
            try:
                return loop.run_until_complete(task)
            except MemoryError:  # of the loop itself; what it was about to do, it does again
                if task.done():
                    raise
            except (SystemExit, KeyboardInterrupt) as error:
                if self._life.is_copy:
                    at_exit.leave(error)
                is_main = threading.current_thread() is threading.main_thread()
                if task.done() or (is_main and isinstance(error, KeyboardInterrupt)):
                    raise

    def _main_is_done(self, main: concurrent.futures.Future[None]) -> None:
        self._close()  # it may have been cancelled before it ran
        if not main.cancelled() and main.exception() is not None:
            log.error("%s failed", self, exc_info=main.exception())

    async def _main(self) -> None:
        await self._open()
        await self._serve()

    async def _open(self) -> None:
        loop = asyncio.get_running_loop()
        keep_read_buffers()
        try:
            self._runtime.run_queue.attach(loop)
            await self._runtime.server.listen(self._sock)
            self._portal.attach(loop)
        except BaseException as error:
            self._life.failure = error
            self._close()
            raise

    async def _serve(self) -> None:
        try:
            await self._stop_requested.wait()
            log.info("stopping %s", self)
            await self._runtime.handle_what_waits()
            await self._runtime.stop()
        finally:
            self._close()

    def _close(self) -> None:
        self._runtime.abandon()  # what is left if it was interrupted, or cancelled
        self._life.reach(CLOSED)
        self._sock.close()
        self._portal.close()
        at_exit.discard(self)
        if not self._owns_loop:
            self._life.reach(STOPPED)

    def stop(self, drain: float | None = None) -> None:
        """End all processes, let what was sent leave, and close the port and all sockets.

        Returns at once; ``join`` waits for the end.  What has not left within
        ``linger`` seconds (see :class:`compactor.Settings`) is given up and reported.  Signal
        handlers may call it on every thread, the loop's own too.

        Args:
            drain: seconds in which what waits in mailboxes is handled first, while nothing more
                is taken from outside; it takes no longer than needed.  What is left then is
                dropped and counted, as all is without a drain.  If several are asked for, the
                shortest counts; 0 cuts one short.

        Raises:
            ValueError: ``drain`` is no number of seconds, negative or infinite.
        """
        check_drain(drain)
        if self._life.stopped.done():
            return
        # All of it again with each call: the one before may have been interrupted by this one.
        self._runtime.drain.ask(drain)
        self._life.reach(STOPPING)
        self._portal.is_stopping = True
        if self._life.never_begin():
            self._sock.close()
            self._life.reach(STOPPED)
        else:
            self._portal.interrupt(self._stop_on_loop)

    def _stop_on_loop(self) -> None:
        self._stop_requested.set()
        self._runtime.drain.look_again()

    def join(self, timeout: float | None = None) -> None:
        """Wait until the context has stopped.

        Returns at once where it could not stop meanwhile: on its own loop, and in a signal handler
        that interrupts its start.

        Args:
            timeout: seconds to wait at most.

        Raises:
            RuntimeError: it was never started.
        """
        check_timeout(timeout)
        if self._portal.on_loop or self._loop_is_running_here() or self._life.is_starting_here:
            return
        if self._life.is_new:
            raise RuntimeError("cannot join a context before it is started")
        if timeout is not None:
            timeout = min(timeout, threading.TIMEOUT_MAX)
        with contextlib.suppress(concurrent.futures.TimeoutError):
            self._life.stopped.result(timeout)
        if self._thread is not None and self._life.stopped.done():
            self._thread.join(timeout)

    def _loop_is_running_here(self) -> bool:
        try:
            return asyncio.get_running_loop() is self._loop
        except RuntimeError:
            return False

    @property
    def seconds_to_end(self) -> float:
        """What the end takes at most, from ``stop`` on; 0 if no thread runs the loop."""
        if not self._owns_loop and not (self._loop is not None and self._loop.is_running()):
            return 0
        # Processes, messages, answers; tasks, generators and threads that are left on the loop.
        return self._runtime.drain.seconds + 6 * self._runtime.settings.linger + 1

    @property
    def is_stopping(self) -> bool:
        """Whether ``stop`` has been called."""
        return self._life.is_stopping

    def is_alive(self) -> bool:
        """Whether the context has been started and has not ended."""
        return self._life.is_alive

    async def __aenter__(self: Self) -> Self:
        self._check_usable()
        if not self._life.begin([]):
            self._check_usable()
            raise ContextError(
                "this context runs in its own thread already; enter it with 'async with' "
                "before anything is spawned on it, or use it without"
            )
        at_exit.add(self)
        self._loop = asyncio.get_running_loop()
        await self._open()
        self._task = asyncio.create_task(self._serve())
        self._task.add_done_callback(lambda _: self._close())  # it may be cancelled before it runs
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.aclose()

    async def aclose(self, drain: float | None = None) -> None:
        """Stop, and wait for the end without blocking the loop.

        Args:
            drain: as for ``stop``.
        """
        self.stop(drain)
        task = self._task
        if task is not None and self._loop_is_running_here():
            await asyncio.wait([task])  # whoever waits may be cancelled; the end may not
            if not task.cancelled():
                task.result()
        else:
            await asyncio.wrap_future(self._life.stopped)  # no thread waits: all may be taken

    def end_in_child(self) -> None:
        """This is another program now, a copy without the thread of the loop: it has stopped."""
        self._life.become_copy()
        self._runtime.registry.live.clear()
        self._runtime.server.withdraw()
        self._portal.abandon()

    def _check_startable(self) -> None:
        """Raise what ``start`` would raise."""
        self._check_usable()
        if not self._life.is_started and not (self._loop is not None and self._loop.is_running()):
            check_threads(self._loop)

    @property
    def _is_draining_here(self) -> bool:
        """Whether this is a handler that still does what was asked for before ``stop``."""
        is_draining = self._runtime.drain.seconds > 0 and not self._life.is_ending
        return is_draining and self._portal.on_loop

    def _check_usable(self) -> None:
        failure = self._life.failure
        if failure is not None:
            raise ContextStopped(f"{self} could not start: {failure!r}") from failure
        if self._life.is_copy:
            raise ContextStopped(
                f"{self} is that of the program that forked this one; make one here, after the fork"
            )
        if self._life.is_stopping:
            raise ContextStopped(f"{self} has been stopped; make a new one")

    def _call(self, call: Callable[..., Any], *args: Any) -> None:
        """Make a call on the loop's thread: now if this is it, else soon."""
        if not self._life.is_started:
            self.start()
        self._portal.call(call, *args)

    def _ask(self, call: Callable[..., Any], *args: Any) -> None:
        """``_call``, until ``stop``: other threads could put off the end by asking for ever more.

        Raises:
            ContextStopped: ``stop`` has been called, and this is not the loop's thread.
        """
        if self._life.is_stopping and not self._portal.on_loop:
            self._check_usable()
        self._call(call, *args)
