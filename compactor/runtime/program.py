"""``run_program``: a program that is one coroutine and its context, and ends well on a signal."""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import inspect
import signal
import threading
from collections.abc import Awaitable, Callable, Iterator
from types import FrameType
from typing import Any, NoReturn

from compactor.errors import ContextStopped
from compactor.runtime.arguments import check_drain
from compactor.runtime.loop_owner import LoopOwner

_MOST_TOLD = 20  # lines of what was lost
_INTERRUPTED = 130  # the exit status of what Control-C ends: 128 and the number of SIGINT

Main = Callable[[Any], Awaitable[Any]]


def run_program(make: Callable[[], LoopOwner], main: Main, drain: float) -> Any:
    """Run a coroutine function on a context and its loop, in the main thread.

    Args:
        make: makes the context.
        main: is called with it.
        drain: seconds in which what waits is handled at the end.

    Raises:
        RuntimeError: this is no main thread, or a loop runs in it.
        TypeError: ``main`` is no coroutine function.
        ValueError: ``drain`` is no number of seconds.
        SystemExit: Control-C was pressed again.
    """
    if inspect.iscoroutine(main):
        main.close()
        raise TypeError("run() takes the coroutine function itself: run(main), not run(main())")
    if not callable(main):
        raise TypeError(f"run() takes an async function of a context, got {main!r}")
    check_drain(drain)
    if threading.current_thread() is not threading.main_thread():
        raise RuntimeError("run() answers signals, so it is called in the main thread")
    if asyncio._get_running_loop() is not None:
        raise RuntimeError(
            "run() has a loop of its own; in a running one use 'async with Context()'"
        )
    return _Program(make(), main, drain).run()


class _Program:
    """One run.

    Args:
        context, main, drain: as for ``run_program``.
    """

    def __init__(self, context: LoopOwner, main: Main, drain: float) -> None:
        self._context = context
        self._main = main
        self._drain = drain
        self._variables = contextvars.copy_context()
        self._task: asyncio.Task[Any] | None = None
        self._is_signalled = False
        self._is_hurried = False

    def run(self) -> Any:
        """Run it, and return what ``main`` returns; None if a signal cancelled it."""
        context = self._context
        context._portal.post(self._begin)
        try:
            with self._signals():
                context.run()
        except KeyboardInterrupt:
            self._take_failure()
            if self._is_hurried:
                raise SystemExit(_INTERRUPTED) from None
            raise
        except ContextStopped:
            if not self._is_signalled:  # before it began
                raise
        task = self._task
        if task is None or (task.cancelled() and self._is_signalled):
            failure = context._life.failure
            if failure is not None:
                raise failure
            result = None
        elif task.done():
            result = task.result()
        else:
            result = None
        self._check_lost()
        return result

    def _check_lost(self) -> None:
        """End the program with the status 1 if something was lost although it was given time."""
        lost = list(self._context._runtime.drain.lost)
        if self._task is not None and not self._task.done():
            lost.insert(0, f"{self._main!r} has not ended")
        if not lost or not self._drain:
            return
        told = lost[:_MOST_TOLD]
        if len(lost) > len(told):
            told.append(f"and {len(lost) - len(told)} more")
        lines = "".join(f"\n  {line}" for line in told)
        raise SystemExit(f"compactor: lost within the {self._drain:g} s of the drain:{lines}")

    def _begin(self) -> None:
        """Start ``main``: the first thing that is done on the loop."""
        loop = asyncio.get_running_loop()
        task = self._task = self._variables.run(loop.create_task, self._call_main())
        self._context._runtime.drain.wait_for(task)
        task.add_done_callback(lambda _: self._context.stop(self._drain))

    async def _call_main(self) -> Any:
        result = self._main(self._context)
        if not inspect.isawaitable(result):
            raise TypeError(
                f"run() takes an async function, and {self._main!r} returned {result!r}"
            )
        return await result

    def _take_failure(self) -> None:
        """Have asyncio not say that nobody asked how ``main`` ended."""
        if self._task is not None and self._task.done() and not self._task.cancelled():
            self._task.exception()

    # Signals

    @contextlib.contextmanager
    def _signals(self) -> Iterator[None]:
        before = {
            number: signal.signal(number, handler)
            for number, handler in (
                (signal.SIGTERM, self._terminated),
                (signal.SIGINT, self._interrupted),
            )
        }
        try:
            yield
        finally:
            for number, handler in before.items():
                if handler is not None:  # else it was not set by Python, and cannot be
                    signal.signal(number, handler)

    def _terminated(self, number: int, frame: FrameType | None) -> None:
        self._is_signalled = True
        self._context.stop(self._drain)
        self._context._portal.interrupt(self._cancel_main)

    def _interrupted(self, number: int, frame: FrameType | None) -> None:
        if self._is_signalled:
            self._hurry()
        self._terminated(number, frame)

    def _hurry(self) -> NoReturn:
        """Interrupt whatever runs; ``LoopOwner.run`` calls the finalizers, unless again."""
        self._is_hurried = True
        signal.signal(signal.SIGINT, signal.default_int_handler)
        raise KeyboardInterrupt

    def _cancel_main(self) -> None:
        if self._task is not None:
            self._task.cancel()
