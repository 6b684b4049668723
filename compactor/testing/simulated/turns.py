"""``Turns``: what is ready on one simulated host, and what its clocks show."""

from __future__ import annotations

from collections import deque
from typing import Any

from compactor.system.system import System
from compactor.testing.simulated.handles import HostHandle

LOOK = 1e-5
"""Seconds that the clock of a host goes on by each look at it.  Turns of contexts, which end when
2 ms are over, are so counted in looks instead of being timed.
"""


class Turns:
    """What is ready on one host, until it crashes.

    Args:
        name: of the host.
        system: its operating system.

    Attributes:
        portals: of the contexts that run here, and whether each can be called directly.
        is_paused: whether nothing is done, though it may be ready.
        is_over: whether nothing will be done any more.
        clock: what the clock of turns showed last.
        offset: seconds that the clocks of the host are ahead of the time of the world.
        rate: seconds of the clocks of the host in a second of the world.
        rated_since: the time of the world when the rate last changed.
        date_offset: seconds that the date was set forward.
    """

    __slots__ = (
        "clock",
        "date_offset",
        "is_over",
        "is_paused",
        "name",
        "offset",
        "portals",
        "rate",
        "rated_since",
        "ready",
        "system",
    )

    def __init__(self, name: str, system: System) -> None:
        self.name = name
        self.system = system
        self.ready: deque[HostHandle] = deque()
        self.portals: dict[Any, bool] = {}
        self.is_paused = self.is_over = False
        self.clock = 0.0
        self.offset = 0.0
        self.rate = 1.0
        self.rated_since = 0.0
        self.date_offset = 0.0

    def renewed(self) -> Turns:
        """Those of the same host, with nothing to do: its programs have ended, its clocks go on."""
        new = Turns(self.name, self.system)
        new.clock = self.clock
        new.offset, new.rate, new.rated_since = self.offset, self.rate, self.rated_since
        new.date_offset = self.date_offset
        return new

    def monotonic(self, now: float) -> float:
        """The clock of the host that only goes on, at a time of the world."""
        if self.rate == 1.0:
            return now + self.offset
        return self.rated_since + (now - self.rated_since) * self.rate + self.offset

    def world_time(self, when: float) -> float:
        """The time of the world at which the clock of the host shows ``when``."""
        if self.rate == 1.0:
            return when - self.offset
        return self.rated_since + (when - self.offset - self.rated_since) / self.rate

    def set_rate(self, rate: float, now: float) -> None:
        """Have the clocks go faster or slower from now on; they do not jump."""
        shown = self.monotonic(now)
        self.rate, self.rated_since = rate, now
        self.offset = shown - now
