"""``ContextTiming``: calls of processes that are to be made later, as a context takes them."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

from compactor.actor.dispatches import Dispatch, Dispatcher
from compactor.actor.timers import Ticks, Timer, check_interval, check_seconds
from compactor.pid import PID
from compactor.runtime.loop_owner import LoopOwner


class ContextTiming(LoopOwner):
    """The part of ``Context`` that has to do with time."""

    _dispatcher: Dispatcher

    def delay(self, amount: float, pid: PID, method: str | Callable[..., Any], *args: Any) -> Timer:
        """Dispatch after a time; not at all if the process has ended by then.

        Args:
            amount: seconds; a time that is over already is no wait.
            pid, method, args: what ``dispatch`` takes.

        Returns:
            A timer, whose ``cancel()`` calls it off from any thread.

        Raises:
            InvalidProcess, InvalidMethod, ContextStopped: as ``dispatch``, at once.
            ValueError: ``amount`` is no number, or is infinite.
        """
        check_seconds(amount, "a delay")
        event = self._dispatcher.new(pid, method, args)
        timer = Timer(self._portal, self._runtime.watches.links, event.put)
        self._ask(self._start_timer, timer, pid, max(amount, 0))
        return timer

    def every(
        self, seconds: float, pid: PID, method: str | Callable[..., Any], *args: Any
    ) -> Timer:
        """Dispatch again and again, at a fixed rate, while the process lives.

        ``Process.every`` does it, and says more.

        Args:
            seconds: from one call to the next; the first comes after as many.
            pid, method, args: what ``dispatch`` takes.

        Returns:
            A timer, whose ``cancel()`` ends it from any thread.

        Raises:
            InvalidProcess, InvalidMethod, ContextStopped: as ``dispatch``, at once.
            ValueError: ``seconds`` is no number, infinite, or not above 0.
        """
        check_interval(seconds)
        new = functools.partial(self._dispatcher.new, pid, method, args)
        new()  # what cannot be called is an error now
        registry = self._runtime.registry
        mailbox = registry.mailbox_of(pid)

        def new_if_alive() -> Dispatch | None:
            return new() if registry.mailbox_of(pid) is mailbox else None

        timer = Ticks(self._portal, self._runtime.watches.links, new_if_alive)
        self._ask(self._start_timer, timer, pid, seconds)
        return timer

    def _start_timer(self, timer: Timer, pid: PID, seconds: float) -> None:
        runtime = self._runtime
        if not self._life.is_ending and runtime.registry.mailbox_of(pid) is not None:
            timer.start(pid, runtime.run_queue.loop, seconds)
