"""``Hangups``: SIGHUP, for as long as somebody wants to hear of it."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import threading
from collections.abc import Callable


class Hangups:
    """Listens to SIGHUP, unless the program has a handler for it, or a thread runs the loop.

    Args:
        loop: the running loop.
        heard: called on it for each.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop, heard: Callable[[], object]) -> None:
        self._loop = loop
        self._heard = heard
        self._listens = False

    def listen(self) -> None:
        """Hear of it from now on."""
        if threading.current_thread() is not threading.main_thread():
            return
        if not hasattr(signal, "SIGHUP") or signal.getsignal(signal.SIGHUP) != signal.SIG_DFL:
            return
        with contextlib.suppress(NotImplementedError, RuntimeError):
            self._loop.add_signal_handler(signal.SIGHUP, self._heard)
            self._listens = True

    def ignore(self) -> None:
        """Hear of it no more."""
        if self._listens:
            self._listens = False
            self._loop.remove_signal_handler(signal.SIGHUP)
