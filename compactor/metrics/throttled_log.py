"""``ThrottledLog``: which lines of the log are due, where strangers could cause any number."""

from __future__ import annotations

import math

from compactor.system import clock


class ThrottledLog:
    """Lets a line of each kind through now and then, and counts the others.

    Args:
        interval: seconds between two lines of one kind; infinity for one line.
        max_kinds: kinds that are remembered.  With more, all are forgotten, so that as many lines
            again may be due.
        forget_interval: seconds between two times of that; lines of new kinds are left out
            meanwhile.
    """

    __slots__ = ("_forget_interval", "_forgotten", "_interval", "_logged", "_max_kinds")

    def __init__(self, interval: float, max_kinds: int, forget_interval: float) -> None:
        self._interval = interval
        self._max_kinds = max_kinds
        self._forget_interval = forget_interval
        self._logged: dict[tuple[object, object], tuple[float, int]] = {}
        self._forgotten = -math.inf

    def due(self, about: object, what: object) -> str | None:
        """Whether a line may be logged, and what to add to it.

        Args:
            about: whom the line is about, any hashable.
            what: what it says; both together are the kind of the line.

        Returns:
            How many lines of the kind were left out since the last one, in words; None if this one
            is to be left out.
        """
        now, kind = clock.now(), (about, what)
        last, skipped = self._logged.get(kind, (-math.inf, 0))
        if now - last < self._interval:
            self._logged[kind] = (last, skipped + 1)
            return None
        if kind not in self._logged and len(self._logged) >= self._max_kinds:
            if now - self._forgotten < self._forget_interval:
                return None
            self._forgotten = now
            self._logged.clear()
        self._logged[kind] = (now, 0)
        return f"; {skipped} more like it since the last line" if skipped else ""

    def forget(self, about: object) -> None:
        """Have the next line about somebody be due, whatever it says."""
        for kind in [kind for kind in self._logged if kind[0] == about]:
            del self._logged[kind]
