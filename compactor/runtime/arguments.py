"""What contexts are given, checked at the call: an error names the argument and what is right."""

from __future__ import annotations

import asyncio
import inspect
import sys
from collections.abc import Callable
from typing import Any, TypeVar

from compactor.pid import check_id

SomeHook = TypeVar("SomeHook", bound=Callable[..., Any])


def check_delegate(delegate: Any) -> str:
    """The id of the process that serves unknown paths; empty, or None, for none.

    Raises:
        TypeError, ValueError: no process can have that id.
    """
    if delegate is None:
        return ""
    try:
        return check_id(delegate)
    except (TypeError, ValueError) as error:
        raise type(error)(f"delegate={delegate!r} must be the id of a process: {error}") from None


def check_loop(loop: Any) -> asyncio.AbstractEventLoop | None:
    """A loop that can run a context, or None.

    Raises:
        TypeError: it is no event loop.
        ValueError: it is closed.
    """
    if loop is None:
        return None
    if not isinstance(loop, asyncio.AbstractEventLoop):
        raise TypeError(f"loop={loop!r} must be an event loop such as asyncio.new_event_loop()")
    if loop.is_closed():
        raise ValueError(f"loop={loop!r} is closed; a context needs an open one")
    return loop


def check_access(access: Any) -> Any:
    """A ``compactor.auth.Access``, or None.

    Raises:
        TypeError: it is none.
    """
    if access is not None:
        from compactor.auth.access import Access  # few programs need it

        if not isinstance(access, Access):
            raise TypeError(
                f"access must be a compactor.auth.Access, not a {type(access).__name__}"
            )
    return access


def check_hook(hook: SomeHook, called_with: str) -> SomeHook:
    """A function that can be called with what ``called_with`` says.

    Raises:
        TypeError: it is none, or one whose result would have to be awaited.
    """
    if not callable(hook) or inspect.iscoroutinefunction(hook):
        raise TypeError(f"a hook is a function, called as hook({called_with}), got {hook!r}")
    return hook


def check_timeout(timeout: Any) -> None:
    """Raise ``TypeError`` for what is neither seconds nor None."""
    if timeout is not None and not isinstance(timeout, (int, float)):
        raise TypeError(f"timeout={timeout!r} must be a number of seconds, or None to wait")


def check_drain(drain: Any) -> None:
    """Raise ``ValueError`` for what is neither a time in which mailboxes are emptied nor None."""
    if drain is None:
        return
    if not isinstance(drain, (int, float)) or not 0 <= drain <= sys.float_info.max:
        raise ValueError(
            f"drain={drain!r} must be a finite number of seconds, 0 or more, or None for no drain"
        )
