"""``Counts``: what one process has counted, and which of its events are timed.

Whoever handles an event counts it, at the cost of an addition, or of one for many.  Sums are made
when somebody asks: of the messages that came in, those that were handled and those that wait.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from compactor.metrics.samples import Samples

_NEVER = -1.0  # of times
_MAX_MARKS = 64


class Counts:
    """The counts of one process, on the loop's thread only.

    A process that has nothing to count yet has those that all of its context begin with.

    Args:
        samples: those of its context.
        is_shared: whether these are the ones that all begin with.

    Attributes:
        left: events until one is timed.
        target: events that will have been handled then.
        others: events that were put, and are no messages.
        arrived, bytes_in: messages from other contexts, and bytes of their bodies.
        sent, bytes_out: messages to other contexts, and bytes of their bodies.
        local: messages to processes of its own context.
        deepest: events that waited at a time, at most.
        failures, restarts: events whose handler raised, and how often it was made anew.
        letters: dead letters that were for it, by reason; None if there were none.
        began: when the event that is timed began to be handled; negative if none is.
        is_marking: whether it is of interest since when the next event waits that finds none.
        times: of this process alone; None unless a setting asks for them.
    """

    __slots__ = (
        "_marks",
        "_samples",
        "_timed",
        "_weight",
        "arrived",
        "began",
        "bytes_in",
        "bytes_out",
        "deepest",
        "failures",
        "is_marking",
        "is_shared",
        "left",
        "letters",
        "local",
        "others",
        "restarts",
        "sent",
        "target",
        "times",
    )

    def __init__(self, samples: Samples, is_shared: bool = False) -> None:
        self.is_shared = is_shared
        self.left = self.target = 1 if is_shared else samples.interval
        self.others = self.arrived = self.bytes_in = self.sent = self.bytes_out = self.local = 0
        self.deepest = self.failures = self.restarts = 0
        self.letters: Any = None
        self.began = _NEVER
        self.is_marking = not is_shared
        self.times: Any = None if is_shared else samples.own_times()
        self._samples = samples
        self._timed = 0  # how many were handled when the last was timed
        self._weight = 1
        self._marks: list[tuple[int, float]] = []  # how many had been put, at least, and when

    def own(self, mailbox: Any) -> Counts:
        """Those of one process alone, from its first event on."""
        if self.is_shared:
            self.left = 1
            mailbox.counts = Counts(self._samples)
        counts: Counts = mailbox.counts
        return counts

    @property
    def handled(self) -> int:
        """Events that were handled, messages and all others."""
        return self.target - self.left

    # Handling

    def first_look(self, waiting: int, planned: int, clock: Callable[[], float]) -> int:
        """Some events that wait are about to be handled.

        Args:
            planned: of these, after how many the clock is to be looked at.
            clock: the one.

        Returns:
            The same; 1 if the first of the events is timed.
        """
        if waiting > self.deepest:
            self.deepest = waiting
        if waiting < self.left or not waiting:
            return planned
        self.begin(clock())
        if self._marks:
            self._tell_wait()
        elif waiting > 1:  # since when is not known, but all that wait have been put by now
            self._marks = [(self._timed + waiting, self.began)]
        return 1

    def served(self, number: int, waiting: int, clock: Callable[[], float]) -> None:
        """So many events were taken from the queue, and others wait."""
        self.left -= number
        if self.left <= 0:
            self._renew()
        if self._marks:
            self._mark_more(waiting, clock)

    def came(self, size: int) -> None:
        """A message of so many bytes has come from another context, and will be put."""
        self.arrived += 1
        self.bytes_in += size

    def took(self, number: int, queued: int, size: int) -> None:
        """So many messages have come from another context.

        Args:
            queued: of these, how many were put, and not handled at once.
            size: bytes of their bodies.
        """
        self.arrived += number
        self.bytes_in += size
        self.left -= number - queued
        if self.left <= 0:
            self._renew()

    def _renew(self) -> None:
        self.target += 1 - self.left
        self.left = 1

    def serve_timed(
        self, mailbox: Any, clock: Callable[[], float], call: Any, a: Any, b: Any
    ) -> None:
        """Have an idle mailbox serve an event at once, which was counted, and time it."""
        if self.is_shared:
            self = self.own(mailbox)
            self.left -= 1
        if not self.left:
            self.left = 1  # it is counted once
            self.begin(clock())
            self.left -= 1
            self.waited(0.0)
        mailbox.serve_now(call, a, b)
        if self.began >= 0 and mailbox._task is None:
            self.end(clock())

    def begin(self, now: float) -> None:
        """Time the event that is handled next."""
        handled = self.target - self.left
        self._weight = max(handled - self._timed, 1)
        self._timed = handled
        self.left = self._samples.taken(now)
        self.target = handled + self.left
        self.began = now
        self.is_marking = True

    def end(self, now: float) -> None:
        """The event that is timed has been handled."""
        seconds, self.began = now - self.began, _NEVER
        self._samples.times.handler.record(seconds, self._weight)
        if self.times is not None:
            self.times.handler.record(seconds, self._weight)

    # Waiting

    def mark(self, now: float) -> None:
        """An event waits from now on, as the only one."""
        self.is_marking = False
        self._marks = [(self.handled + 1, now)]

    def _mark_more(self, waiting: int, clock: Callable[[], float]) -> None:
        """All that wait had been put by now; until none does."""
        if not waiting:
            self._marks = []
            return
        handled, marks = self.handled, self._marks
        while len(marks) > 1 and marks[1][0] <= handled:
            del marks[0]
        if marks[len(marks) - 1][0] < handled + waiting:
            if len(marks) == _MAX_MARKS:
                del marks[1::2]
            marks.append((handled + waiting, clock()))

    def _tell_wait(self) -> None:
        """The event that is timed has waited since it was put, at a time between two marks."""
        before = self._marks[0][1]
        for number, when in self._marks:
            if number > self._timed:
                self.waited(self.began - (before + when) / 2)
                return
            before = when
        self.waited(self.began - before)

    def waited(self, seconds: float) -> None:
        """An event has waited for so long before it was handled."""
        seconds = max(seconds, 0.0)
        self._samples.times.wait.record(seconds, self._weight)
        if self.times is not None:
            self.times.wait.record(seconds, self._weight)
