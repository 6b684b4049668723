"""What a scenario has begun and not ended: its tasks and timers, and those of hosts that are up."""

from __future__ import annotations

import functools
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from compactor.actor.timers import Ticks
from compactor.testing.simulated.observing import SeenCall
from compactor.testing.simulated.virtual_loop import VirtualLoop

_PACKAGE = Path(__file__).parents[2].as_posix()
_TESTING = Path(__file__).parents[1].as_posix()

_OF_TASKS = ("asyncio.futures", "asyncio.tasks", "asyncio.timeouts", "_asyncio")
"""Where the timers of asyncio have their callbacks: tasks wait for them, which are told anyhow."""


def left_over(loop: VirtualLoop) -> list[str]:
    """Tasks and timers that are not those of compactor itself, in words, in the order of their
    beginning.
    """
    return [*_tasks(loop), *_timers(loop)]


def _tasks(loop: VirtualLoop) -> Iterator[str]:
    for task in loop.tasks():
        coroutine = task.get_coro()
        if not _is_ours(coroutine):
            name = getattr(coroutine, "__qualname__", repr(coroutine))
            yield f"task {task.get_name()!r} of {_host(task.turns)}: {name}()"


def _is_ours(coroutine: Any) -> bool:
    """Whether a coroutine is one of compactor's own, those of its help for tests excepted."""
    code = getattr(coroutine, "cr_code", None) or getattr(coroutine, "gi_code", None)
    if code is None:
        return type(coroutine).__module__.startswith("compactor.")
    path = Path(code.co_filename).as_posix()
    if path.startswith(_TESTING):
        return False
    return path.startswith((_PACKAGE, "compactor/"))  # compiled code tells where it was built


def _timers(loop: VirtualLoop) -> Iterator[str]:
    for handle, turns in loop.timers():
        callback = handle._callback  # type: ignore[attr-defined]
        while isinstance(callback, functools.partial):
            callback = callback.func
        timer = getattr(callback, "__self__", None)
        call = getattr(timer, "_call", None)
        if isinstance(call, SeenCall):
            every = f", every {timer._interval:g} s" if isinstance(timer, Ticks) else ""
            yield f"timer {call.name!r} of {call.pid}{every}"
            continue
        module = getattr(callback if timer is None else type(timer), "__module__", "") or ""
        if not module.startswith(("compactor.", *_OF_TASKS)):
            name = getattr(callback, "__qualname__", repr(callback))
            yield f"timer of {_host(turns)}: {name}()"


def _host(turns: Any) -> str:
    return f"host {turns.name!r}" if turns.name else "the scenario"
