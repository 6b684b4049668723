"""``Samples``: how long handlers took and messages waited, by some of them."""

from __future__ import annotations

from compactor.metrics.histogram import Histogram

_SOONER, _LATER = 0.001, 0.004  # seconds between two samples: fewer are taken, or more
_LONGEST_INTERVAL = 1024


class Times:
    """What is timed of the events of mailboxes.

    Attributes:
        handler: from when one began to be handled until the next one could be.
        wait: from when one was put into a mailbox until then.
    """

    __slots__ = ("handler", "wait")

    def __init__(self) -> None:
        self.handler = Histogram()
        self.wait = Histogram()


class Samples:
    """The times of one context.

    A look at the clock takes as long as a small handler, so with many events one in 1024 is timed,
    and stands for the others.  With less than some hundred events a second each one is.

    Args:
        is_by_process: whether each process has times of its own.

    Attributes:
        times: of all processes.
        loop_lag: how long the loop took to come to what it was asked to do next.
        interval: events of one process from one that is timed to the next, for now.
    """

    __slots__ = ("_last", "interval", "is_by_process", "loop_lag", "times")

    def __init__(self, is_by_process: bool = False) -> None:
        self.is_by_process = is_by_process
        self.times = Times()
        self.loop_lag = Histogram()
        self.interval = 1
        self._last = 0.0

    def taken(self, now: float) -> int:
        """An event is being timed now; after how many the next one of its process is."""
        passed, self._last = now - self._last, now
        if passed < _SOONER:
            self.interval = min(self.interval * 2, _LONGEST_INTERVAL)
        elif passed > _LATER:
            self.interval = max(self.interval // 2, 1)
        return self.interval

    def own_times(self) -> Times | None:
        """The times of a new process, if it has any of its own."""
        return Times() if self.is_by_process else None
