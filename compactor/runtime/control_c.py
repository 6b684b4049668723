"""``first_control_c``: Control-C as something that a loop is asked for, instead of an exception."""

from __future__ import annotations

import contextlib
import signal
import threading
from collections.abc import Callable, Iterator
from types import FrameType


@contextlib.contextmanager
def first_control_c(end: Callable[[], object]) -> Iterator[None]:
    """In a main thread, have the first Control-C call ``end``; raise it once the block is over.

    Python would raise it between any two steps, in the middle of the loop's own bookkeeping too,
    and what the loop was about to do would be lost.  The next one is raised at once, for nothing
    else interrupts what blocks the loop.  A handler of the program's own stays in charge.

    Raises:
        KeyboardInterrupt: Control-C was pressed.
    """
    own = signal.default_int_handler
    in_main_thread = threading.current_thread() is threading.main_thread()
    if not in_main_thread or signal.getsignal(signal.SIGINT) is not own:
        yield
        return
    is_pressed = False

    def pressed(number: int, frame: FrameType | None) -> None:
        nonlocal is_pressed
        is_pressed = True
        signal.signal(signal.SIGINT, own)
        end()

    signal.signal(signal.SIGINT, pressed)
    try:
        yield
    finally:
        if signal.getsignal(signal.SIGINT) is pressed:
            signal.signal(signal.SIGINT, own)
    if is_pressed:
        raise KeyboardInterrupt
