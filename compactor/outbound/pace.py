"""``Pace``: how soon an address may be dialled again."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Hashable

_FIRST = 0.01  # seconds from a dial to the next, if that follows at once; then twice as many
_LONGEST = 1.0  # a program that is started again is reached as soon as its users expect
_QUIET = 2  # times the last pause, without a dial behind it, make the next one a first again
_MAX_KEYS = 1024  # addresses that are remembered; each dial costs more than a new place here


class Pace:
    """The pauses between the dials of one address: none before the first, then ever longer ones.

    A process that links again whenever it hears of an exit, to an address that refuses, would have
    a core dial for nothing else.
    """

    def __init__(self) -> None:
        self._last: OrderedDict[Hashable, tuple[float, float]] = OrderedDict()

    def pause(self, key: Hashable, now: float) -> float:
        """Seconds to wait before a dial, which then counts as made.

        Args:
            key: tells what is dialled from all else.
            now: seconds of a clock that only goes forward.
        """
        due, pause = self._last.pop(key, (0.0, 0.0))
        waits = max(due - now, 0.0)
        pause = _FIRST if now > due + pause * _QUIET else min(pause * 2, _LONGEST)
        self._last[key] = now + waits + pause, pause
        if len(self._last) > _MAX_KEYS:
            self._last.popitem(last=False)
        return waits
