"""While a simulation runs on a thread, clocks, chance and system are those of its hosts.

``time.time`` and ``time.monotonic`` of user code follow, too, where they are looked up in ``time``.
Other threads, and the contexts that run there, notice nothing.
"""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Iterator
from threading import get_ident

from compactor.system import clock, system
from compactor.testing.simulated.errors import SimulationError
from compactor.testing.simulated.virtual_loop import VirtualLoop

EPOCH = 1_767_225_600.0
"""The date at the beginning of each world: the first second of 2026."""

_loops: dict[int, VirtualLoop] = {}  # by the idents of the threads that they run on
_lock = threading.Lock()

_now, _date = clock.now, clock.date
_time, _monotonic = time.time, time.monotonic


def _simulated_now() -> float:
    loop = _loops.get(get_ident())
    return _now() if loop is None else loop.look()


def _simulated_date() -> float:
    loop = _loops.get(get_ident())
    return _date() if loop is None else _date_on(loop)


def _simulated_time() -> float:
    loop = _loops.get(get_ident())
    return _time() if loop is None else _date_on(loop)


def _simulated_monotonic() -> float:
    loop = _loops.get(get_ident())
    return _monotonic() if loop is None else loop.time()


def _date_on(loop: VirtualLoop) -> float:
    return EPOCH + loop.time() + loop.turns.date_offset


def _system_here() -> system.System | None:
    loop = _loops.get(get_ident())
    return None if loop is None else loop.turns.system


def _nowhere_else() -> system.System | None:
    return None


@contextlib.contextmanager
def simulated(loop: VirtualLoop) -> Iterator[None]:
    """Have this thread live in the world of a loop.

    Raises:
        SimulationError: it lives in another one.
    """
    ident = get_ident()
    with _lock:
        if ident in _loops:
            raise SimulationError("a simulation runs on this thread already, and has its clock")
        _loops[ident] = loop
        _replace()
    try:
        yield
    finally:
        with _lock:
            del _loops[ident]
            _replace()


def _replace() -> None:
    is_used = bool(_loops)
    clock.now = _simulated_now if is_used else _now
    clock.date = _simulated_date if is_used else _date
    time.time = _simulated_time if is_used else _time
    time.monotonic = _simulated_monotonic if is_used else _monotonic
    system.elsewhere = _system_here if is_used else _nowhere_else
