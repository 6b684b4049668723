"""The contexts that run when a program ends or forks."""

from __future__ import annotations

import asyncio
import atexit
import contextlib
import os
import sys
import weakref
from typing import NoReturn, Protocol

from compactor.system import clock

_PRIORITY = -100  # behind the finalizers of multiprocessing itself, whose queues have -5


class EndingOwner(Protocol):
    """A context that runs."""

    @property
    def seconds_to_end(self) -> float: ...  # 0 if nobody runs its loop, and it can only give up
    def stop(self) -> None: ...
    def join(self, timeout: float | None = None) -> None: ...
    def end_in_child(self) -> None: ...


_running: weakref.WeakSet[EndingOwner] = weakref.WeakSet()
_is_registered = False
_is_finalizer = False
_is_child = False  # of a fork


def add(owner: EndingOwner) -> None:
    """Stop a context when the program ends, unless it has been discarded by then."""
    global _is_registered, _is_finalizer
    _running.add(owner)
    if not _is_registered:
        _is_registered = True
        atexit.register(_Last())
    if not _is_finalizer and _is_forked_by_multiprocessing():
        from multiprocessing import util

        _is_finalizer = True
        util.Finalize(None, stop_all, exitpriority=_PRIORITY)


def discard(owner: EndingOwner) -> None:
    """The context has ended."""
    _running.discard(owner)


def stop_all() -> None:
    """Let messages leave before the daemon threads of the program are cut off.

    All contexts end at the same time; this waits as long as the slowest of them may take.
    """
    owners = [owner for owner in list(_running) if owner.seconds_to_end]
    until = clock.now() + max((owner.seconds_to_end for owner in owners), default=0)
    for owner in owners:
        owner.stop()
    for owner in owners:
        owner.join(max(until - clock.now(), 0))


def leave(error: BaseException) -> NoReturn:
    """End a forked child, as an error that nobody catches would.

    The child stands on a copy of its parent's loop, whose sockets both have: it must not go back.
    """
    status = error.code if isinstance(error, SystemExit) else 1
    if status is not None and not isinstance(status, int):
        print(status, file=sys.stderr)
        status = 1
    try:
        atexit._run_exitfuncs()
        for stream in (sys.stdout, sys.stderr):
            if stream is not None:
                stream.flush()
    finally:
        os._exit((status or 0) & 0xFF)


class _Last:
    """Stops all contexts after everything that is registered with ``atexit``.

    What was registered first is called last.  It may have a last message to send, even if there
    were no contexts when it was registered.  So this waits until CPython has called all functions
    and drops them, which is when threads can still run.
    """

    def __call__(self) -> None:
        if sys.implementation.name != "cpython":  # only CPython calls ``__del__`` then
            stop_all()

    def __del__(self) -> None:
        global _is_registered
        _is_registered = False
        stop_all()
        if _is_child:
            _have_libuv_make_threads()


def _is_forked_by_multiprocessing() -> bool:
    """Whether this process ends without calling what is registered with ``atexit``."""
    multiprocessing = sys.modules.get("multiprocessing")
    if multiprocessing is None or multiprocessing.parent_process() is None:
        return False
    return bool(multiprocessing.get_start_method(allow_none=True) != "spawn")


def _have_libuv_make_threads() -> None:
    """libuv ends by joining the threads of its pool, in which uvloop looks names up.

    A forked child has none of those that its parent had, and dies by SIGSEGV unless it has made its
    own.  One that is asked for an address makes them.
    """
    uvloop = sys.modules.get("uvloop")
    if uvloop is None or asyncio._get_running_loop() is not None:
        return  # what leaves while a loop runs does so by os._exit
    with contextlib.suppress(Exception), contextlib.closing(uvloop.new_event_loop()) as loop:
        loop.run_until_complete(loop.getaddrinfo("127.0.0.1", 0))


def _forget() -> None:
    """After a fork the contexts are the parent's."""
    global _is_child, _is_finalizer
    _is_child = True
    _is_finalizer = False
    for owner in list(_running):
        _running.discard(owner)
        owner.end_in_child()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget)
