"""``SteppedLoop``: an event loop without sockets and threads, whose time goes on as it is told.

It runs within a call, inside of another loop too, so tests need not be coroutines.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable
from threading import get_ident
from typing import Any, NoReturn

_MOST_TURNS = 100_000  # without any time going by


class _NoSockets:
    """The selector of a loop that has nothing to select from."""

    def select(self, timeout: float | None) -> list[Any]:
        return []


class SteppedLoop(asyncio.BaseEventLoop):
    """A loop that does what is due, and no more, each time it is asked to.

    All of it is used by one thread.
    """

    def __init__(self) -> None:
        super().__init__()
        self._now = 0.0
        self._selector = _NoSockets()

    def time(self) -> float:
        """Seconds since the loop was made, as far as ``advance`` has gone."""
        return self._now

    def check_idle(self) -> None:
        """Raise ``RuntimeError`` if a step is being taken."""
        if self.is_running():
            raise RuntimeError("an isolated process cannot be driven by what it runs itself")

    def settle(self) -> None:
        """Do all that is due now, and what comes of it.

        Raises:
            RuntimeError: there is no end of it; or the loop is doing so already.
        """
        self.check_idle()
        around = asyncio._get_running_loop()
        asyncio._set_running_loop(self)
        self._thread_id = get_ident()
        try:
            for _ in range(_MOST_TURNS):
                if not self._ready and not self._is_due(self._now):
                    return
                self._run_once()  # type: ignore[attr-defined]
        finally:
            self._thread_id = None
            asyncio._set_running_loop(around)
        raise RuntimeError(
            f"an isolated process has not come to rest within {_MOST_TURNS} turns of its loop: "
            "does it send messages to itself for ever?"
        )

    def advance(self, seconds: float) -> None:
        """Let time go on, from one timer to the next.

        Raises:
            RuntimeError: as ``settle``.
        """
        end = self._now + seconds
        self.settle()
        while self._is_due(end):
            self._go_to(max(self._now, self._scheduled[0].when()))
            self.settle()
        self._go_to(end)

    def _go_to(self, when: float) -> None:
        self._now = when
        self._clock_resolution = max(1e-9, 2 * math.ulp(when))  # timers end when it is their time

    def _is_due(self, when: float) -> bool:
        """Whether a timer ends until then."""
        return bool(self._scheduled) and self._scheduled[0].when() <= when

    def create_task(self, coro: Any, **kw: Any) -> asyncio.Task[Any]:
        task = super().create_task(coro, **kw)
        task._log_destroy_pending = False  # type: ignore[attr-defined]
        return task  # which a test may forget in the middle of it

    # What loops of asyncio need

    _ready: Any
    _scheduled: Any
    _thread_id: int | None

    def _process_events(self, event_list: list[Any]) -> None:
        pass

    def _write_to_self(self) -> None:
        pass  # whoever calls from another thread is heard in the next step

    def __del__(self) -> None:
        pass  # there is nothing to close

    # What it does not have

    def _refuse(self, *_: Any, **__: Any) -> NoReturn:
        raise RuntimeError(
            "an isolated process has no sockets, threads and subprocesses: give it a stand-in, or "
            "test it in a context"
        )

    run_in_executor: Callable[..., Any] = _refuse  # type: ignore[assignment]
    create_connection: Callable[..., Any] = _refuse
    create_server: Callable[..., Any] = _refuse
    create_datagram_endpoint: Callable[..., Any] = _refuse
    create_unix_connection: Callable[..., Any] = _refuse
    create_unix_server: Callable[..., Any] = _refuse
    connect_accepted_socket: Callable[..., Any] = _refuse
    subprocess_exec: Callable[..., Any] = _refuse
    subprocess_shell: Callable[..., Any] = _refuse
    run_forever: Callable[..., Any] = _refuse
    sock_connect: Callable[..., Any] = _refuse
    sock_recv: Callable[..., Any] = _refuse
    sock_sendall: Callable[..., Any] = _refuse
    sock_accept: Callable[..., Any] = _refuse
    add_reader: Callable[..., Any] = _refuse  # type: ignore[assignment]
    add_writer: Callable[..., Any] = _refuse  # type: ignore[assignment]
