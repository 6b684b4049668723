"""The global context of a program, which whoever asks first makes and starts."""

from __future__ import annotations

import os
import threading
from typing import Any
from weakref import WeakKeyDictionary

from compactor.runtime.legacy import port_of
from compactor.settings import ADDRESS

_lock = threading.RLock()  # a signal handler may interrupt its own thread
_given: WeakKeyDictionary[Any, dict[str, Any]] = WeakKeyDictionary()  # to each global context


def singleton(kind: Any, delegate: str, **kw: Any) -> Any:
    """The global context of a kind; ``kind._singleton`` keeps it.

    Args:
        kind: a class of contexts.
        delegate, kw: what it takes.

    Raises:
        RuntimeError: there is one with another delegate, or with other arguments than those given.
    """
    with _lock:
        context = kind._singleton
        if context is None or context.is_stopping:
            made = kind(delegate=delegate, **kw)
            if kind._singleton not in (None, context):
                made.stop()
                return singleton(kind, delegate, **kw)  # a signal handler has made one meanwhile
            context = kind._singleton = made
            _given[made] = kw
            context.start()
        elif context.delegate != delegate:
            raise RuntimeError(
                "Attempting to construct different singleton context: it has delegate "
                f"{context.delegate!r}, not {delegate!r}"
            )
        else:
            _check_same(context, kw)
        return context


def _check_same(context: Any, kw: dict[str, Any]) -> None:
    """Raise ``RuntimeError`` if a context is not what these arguments would make."""
    given = _given.get(context, {})
    for name, value in kw.items():
        if value is None or (name in given and given[name] == value):
            continue
        if name not in ADDRESS:
            raise RuntimeError(
                "Attempting to construct different singleton context: it was made with another "
                f"{name}; initialize it once, before anything is spawned"
            )
        bound, carried = getattr(context.settings, name), getattr(context, name.split("_")[-1])
        if port_of(value) not in (bound, carried, 0):  # a port of 0 is any
            raise RuntimeError(
                "Attempting to construct different singleton context: it has "
                f"{name}={bound or carried!r}, not {value!r}; initialize it once, before anything "
                "is spawned"
            )


def _renew_lock() -> None:
    """After a fork: another thread of the parent may have held the old one."""
    global _lock
    _lock = threading.RLock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_renew_lock)
