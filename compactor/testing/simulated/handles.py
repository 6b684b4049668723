"""``HostHandle``: a call that a loop is to make: an idle day has half a million of them."""

from __future__ import annotations

import asyncio
import contextvars
from collections.abc import Callable
from typing import Any


class HostHandle(asyncio.TimerHandle):
    """What ``call_soon`` and ``call_at`` return."""

    __slots__ = ()

    # As the constructors of asyncio, without their questions for a debug mode.
    def __init__(
        self,
        when: float,
        callback: Callable[..., Any],
        args: tuple[Any, ...],
        loop: Any,
        context: contextvars.Context | None = None,
    ) -> None:
        self._context = contextvars.copy_context() if context is None else context
        self._loop = loop
        self._callback = callback
        self._args = args
        self._cancelled = False
        self._repr = self._source_traceback = None
        self._when = when
        self._scheduled = False

    def failed(self, error: BaseException) -> None:
        """Tell that the call has raised."""
        self._loop.call_exception_handler(
            {
                "message": f"Exception in callback {self._callback!r}",
                "exception": error,
                "handle": self,
            }
        )
