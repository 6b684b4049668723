"""``HostTask``: a task of a host, and the end of one that will not go on."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any

_MOST_AWAITS = 100  # in the end of a coroutine that is closed


class HostTask(asyncio.Task[Any]):
    """A task; its steps belong to the host that has begun it.

    Attributes:
        turns: of that host.
        number: in the order in which tasks were begun.
    """

    def __init__(self, coro: Any, *, loop: Any, **kw: Any) -> None:
        self.turns = loop.turns
        self.number = next(loop.order)
        super().__init__(coro, loop=loop, **kw)


def new_task(loop: Any, coro: Coroutine[Any, Any, Any], **kw: Any) -> HostTask:
    """What loops make tasks by."""
    return HostTask(coro, loop=loop, **kw)


def close_unbegun(callback: Any) -> None:
    """Forget a coroutine that was to become a task by ``run_coroutine_threadsafe``."""
    for cell in getattr(callback, "__closure__", None) or ():
        if asyncio.iscoroutine(cell.cell_contents):
            cell.cell_contents.close()


def close(coroutine: Any) -> None:
    """Have a coroutine run what it does at its end, without waiting for anything there."""
    for _ in range(_MOST_AWAITS):
        try:
            coroutine.close()
            return
        except RuntimeError:  # it waits for something
            continue
        except BaseException:
            return
