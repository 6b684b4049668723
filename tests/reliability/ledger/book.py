"""``Book``: what was sent, what became of it, and which faults excuse what became of nothing."""

from __future__ import annotations

import itertools
import math
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from compactor import Reason

MODULUS = 10_000
"""Bodies are as long as their message's number, plus a multiple of this: no two in a run are of
one size, so that a dead letter, which knows the size, tells which message it was."""


_AT_THE_RECEIVER = {Reason.TERMINATED, Reason.NO_PROCESS, Reason.NO_HANDLER}
_WITH_A_CONNECTION = {Reason.REFUSED, Reason.RESET, Reason.CLOSED, Reason.DISCONNECTED}


@dataclass
class Sent:
    """One message."""

    number: int
    at: float
    source: int  # the host that sent it
    target: int  # the host that it was sent to
    sender: str
    to: str
    handled: list[float] = field(default_factory=list)
    letters: list[str] = field(default_factory=list)

    @property
    def is_accounted(self) -> bool:
        return bool(self.handled or self.letters)

    @property
    def has_arrived(self) -> bool:
        return bool(self.handled or _AT_THE_RECEIVER.intersection(self.letters))


class Book:
    """The ledger of one run.  Hosts are numbers: contexts or programs, in all their lives.

    Args:
        is_exact: whether messages and connections were entered in the order in which they came to
            be, as on one loop.
        now: a clock; where much happens at one time, any that goes on by each look.
    """

    def __init__(self, is_exact: bool = False, now: Callable[[], float] = time.monotonic) -> None:
        self._is_exact = is_exact
        self._now = now
        self.sent: list[Sent] = []
        self.strange: list[str] = []
        self._handled: defaultdict[tuple[str, str], list[Sent]] = defaultdict(list)
        self._losses: list[tuple[float, int | None, int]] = []  # when, from whom, to whom
        self._changes: list[tuple[float, int, int]] = []
        self._moves: set[float] = set()  # changes to which what was parked went along
        self._down: set[int] = set()
        self._outages: list[tuple[int, float]] = []  # who, until when

    # What happens

    def send(self, source: int, target: int, sender: str, to: str) -> Sent:
        """A message is about to be sent."""
        message = Sent(len(self.sent), self._now(), source, target, sender, to)
        assert message.number < MODULUS
        self.sent.append(message)
        return message

    def handle(self, sender: str, receiver: str, size: int) -> None:
        """A message was handled."""
        message = self._message(size)
        if message is None or (message.sender, message.to) != (sender, receiver):
            self.strange.append(f"{receiver} handled {size} bytes of {sender}")
            return
        message.handled.append(self._now())
        self._handled[sender, receiver].append(message)

    def letter(self, reason: str, size: int, name: str | None = "message") -> None:
        """A message was reported as a dead letter."""
        message = self._message(size)
        if message is None or name not in ("message", "unhandled"):
            self.strange.append(f"a dead letter ({reason}) {name!r} of {size} bytes")
        else:
            message.letters.append(reason)

    def _message(self, size: int) -> Sent | None:
        number = size % MODULUS
        return self.sent[number] if number < len(self.sent) else None

    def loses(self, source: int | None, target: int) -> None:
        """What is on its way to a host, from one or from all, may be lost."""
        self._losses.append((self._now(), source, target))

    def changes(
        self, source: int, target: int, at: float | None = None, moves: bool = False
    ) -> None:
        """From some time on, by default now, another connection leads from a host to a host.

        Args:
            moves: what was parked is written to the new connection, not reported.
        """
        at = self._now() if at is None else at
        self._changes.append((at, source, target))
        if moves:
            self._moves.add(at)

    def goes_down(self, host: int) -> None:
        """A host ends; from now on it may lose what reaches it."""
        self._down.add(host)

    def comes_up(self, host: int) -> None:
        """A host lives again."""
        if host in self._down:
            self._down.remove(host)
            self._outages.append((host, self._now()))

    # What is to be said of it

    def is_excused(self, message: Sent) -> bool:
        """Whether a fault explains that nothing became of a message."""
        if message.target in self._down:
            return True
        ends = [end for host, end in self._outages if host == message.target]
        ends += [
            at
            for at, source, target in self._losses
            if target == message.target and source in (None, message.source)
        ]
        return any(message.at <= self._noticed(message.source, message.target, at) for at in ends)

    def _noticed(self, source: int, target: int, at: float) -> float:
        """When a host noticed that its connection was lost at some time, if it had one."""
        changes = (when for when, *ends in self._changes if when >= at and ends == [source, target])
        return min(changes, default=math.inf)

    def missing(self) -> list[Sent]:
        """Messages of which nothing became, without an excuse."""
        return [m for m in self.sent if not m.is_accounted and not self.is_excused(m)]

    def problems(self) -> Iterator[str]:
        """Everything that must not be."""
        yield from self.strange
        for m in self.sent:
            if len(m.handled) + len(m.letters) > 1:
                yield f"{m} was accounted for more than once"
        for m in self.missing():
            yield f"{m} vanished"
        if self._is_exact:
            yield from self._torn()
        for handled in self._handled.values():
            newest = -1
            for m in handled:
                if m.number < newest and not self._may_be_late(m):
                    yield f"{m} was handled behind number {newest}"
                newest = max(newest, m.number)

    def _torn(self) -> Iterator[str]:
        """A connection that breaks loses what was written last: all before it has arrived, and all
        behind it, which was still parked, is reported.
        """
        ends = {(m.source, m.target) for m in self.sent}
        for source, target in ends:
            changes = sorted(at for at, *between in self._changes if between == [source, target])
            sent = [m for m in self.sent if (m.source, m.target) == (source, target)]
            for begin, end in itertools.pairwise([-math.inf, *changes, math.inf]):
                lost = reported = None
                for m in (m for m in sent if begin < m.at <= end):
                    if not m.is_accounted:
                        lost = m
                        if reported is not None:
                            yield f"{m} vanished, sent behind {reported}"
                    elif m.has_arrived and lost is not None and end not in self._moves:
                        yield f"{lost} vanished, sent before {m}"
                    elif _WITH_A_CONNECTION.intersection(m.letters):
                        reported = m

    def _may_be_late(self, message: Sent) -> bool:
        return any(
            message.at <= at <= message.handled[0]
            and (source, target) == (message.source, message.target)
            for at, source, target in self._changes
        )

    def totals(self) -> dict[str, int]:
        """Messages by what became of them."""
        found = {"handled": 0, "reported": 0, "in flight at a fault": 0}
        for m in self.sent:
            what = "handled" if m.handled else "reported" if m.letters else "in flight at a fault"
            found[what] += 1
        return found
