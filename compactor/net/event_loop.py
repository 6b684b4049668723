"""Event loops: which one to make, where one may run, and how to end what is left on one."""

from __future__ import annotations

import asyncio
import functools
import sys
from collections.abc import Awaitable
from typing import Any

from compactor.errors import ContextError
from compactor.metrics.logs import logger

log = logger("context")

_LARGE_BLOCK = 1024 * 1024  # bytes; glibc may keep twice of that

_given_up: set[asyncio.Task[None]] = set()  # kept, for collecting one may mean to wait for a thread


@functools.cache
def keep_read_buffers() -> None:
    """Have glibc use the memory of read buffers again.

    Both kinds of loops read into a new block of 256 KiB each time.  While the largest block that a
    program has freed is smaller, glibc may give each back when it is freed, and the kernel clear
    it page by page for the next: half of the time of whoever receives small messages.  Here one is
    freed that is large enough; none of its pages is ever touched.
    """
    bytes(_LARGE_BLOCK)


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


def check_threads(loop: asyncio.AbstractEventLoop | None) -> None:
    """Refuse a loop that would block the whole program when it runs in a thread.

    gevent and eventlet can put greenlets in the place of threads.  A greenlet lets others run only
    while it waits in a call that they have patched.  asyncio's own loops wait in one that gevent
    has patched; uvloop never does.

    Args:
        loop: the loop; None for one that ``new_event_loop`` makes.

    Raises:
        ContextError: it would; the text says what to do.
    """
    gevent, eventlet = sys.modules.get("gevent.monkey"), sys.modules.get("eventlet.patcher")
    if eventlet is not None and eventlet.is_monkey_patched("thread"):
        raise ContextError(
            "eventlet has made greenlets of threads, and a loop in one would block all others: "
            "leave threads as they are, with eventlet.monkey_patch(thread=False)"
        )
    if gevent is None or not gevent.is_module_patched("threading"):
        return
    if loop is None:
        gives_way = loop_package() == "asyncio"
    else:
        gives_way = isinstance(loop, asyncio.BaseEventLoop)
    if not gives_way:
        raise ContextError(
            "gevent has made greenlets of threads, and uvloop in one would block all others: use "
            "Context(loop=asyncio.new_event_loop()), or leave threads as they are, with "
            "gevent.monkey.patch_all(thread=False)"
        )


async def ended_within(seconds: float, awaitable: Awaitable[Any]) -> bool:
    """Wait for something, and cancel it when the time is over; whether it has ended by then.

    As ``asyncio.wait_for``, which takes other numbers of turns in other versions of Python: what is
    simulated would not be the same there.
    """
    task = asyncio.ensure_future(awaitable)
    try:
        done, _ = await asyncio.wait([task], timeout=seconds)
    except asyncio.CancelledError:
        task.cancel()
        raise
    if not done:
        task.cancel()
        await asyncio.wait([task])
        return False
    task.result()
    return True


async def wind_up(seconds: float) -> None:
    """End what is left on the running loop, as ``asyncio.run`` does: cancel the tasks, close the
    asynchronous generators, let the threads of the default executor finish.

    Args:
        seconds: what each of these may take; what has not ended then is given up and logged.
    """
    loop = asyncio.get_running_loop()
    until = loop.time() + seconds
    cancelled = {asyncio.current_task()}
    while left := asyncio.all_tasks() - cancelled:
        for task in left:
            task.cancel()
        cancelled |= left
        done, undone = await asyncio.wait(left, timeout=until - loop.time())
        for task in done:
            if not task.cancelled() and task.exception() is not None:
                log.error("a task failed while its loop ended: %r", task, exc_info=task.exception())
        for task in undone:
            log.warning("a task did not end within %s s: %r", seconds, task)
        if loop.time() > until:
            break  # they may start others for ever
    for what, end in (
        ("asynchronous generators", loop.shutdown_asyncgens),
        ("threads of the default executor", loop.shutdown_default_executor),
    ):
        task = loop.create_task(end())
        await asyncio.wait([task], timeout=seconds)
        if not task.done():
            _given_up.add(task)
            log.warning("the %s did not end within %s s", what, seconds)
        elif task.exception() is not None:  # there are no new threads while the interpreter ends
            log.info("the %s are left: %s", what, task.exception())
