"""What becomes of a process whose handler has raised: the policies that a spawn is given."""

from __future__ import annotations

import math
import sys
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

from compactor.errors import ProcessError
from compactor.system.system import system

_JITTER = 1.25  # processes that fail together do not come back together
_MOST_DOUBLINGS = 64


class _Plain:
    """A policy without arguments: one is as good as another."""

    __slots__ = ()

    def __eq__(self, other: object) -> bool:
        return type(other) is type(self)

    def __hash__(self) -> int:
        return hash(type(self))

    def __repr__(self) -> str:
        return f"{type(self).__name__}()"


class Resume(_Plain):
    """Go on with the next event, in the state that the failure has left: what is done by default.

    A process that cannot be initialized stops.
    """

    __slots__ = ()


class Stop(_Plain):
    """End the process with ``Reason.FAILED``."""

    __slots__ = ()


class Escalate(_Plain):
    """End the process with ``Reason.FAILED``, and have its parent fail with the same error.

    Without a parent it is ``Stop``.
    """

    __slots__ = ()


@dataclass(frozen=True)
class Restart:
    """Make the process anew; it keeps its pid, its linkers and the messages that wait.

    Args:
        limit: failures within ``within`` that are followed by a restart; one more ends the process
            with ``Reason.FAILED``.  None for any number.
        within: seconds.
        backoff: seconds before the first restart.  They double with each failure, up to a quarter
            of them is added by chance, and it is the first again once the process has lived for
            ``within`` seconds.
        max_backoff: the most seconds before a restart.

    Raises:
        TypeError, ValueError: an argument cannot be used.
    """

    limit: int | None = 5
    within: float = 60.0
    backoff: float = 0.1
    max_backoff: float = 30.0

    def __post_init__(self) -> None:
        if self.limit is not None:
            check_count("limit", self.limit)
        for name in ("within", "backoff", "max_backoff"):
            check_time(name, getattr(self, name), may_be_zero=name != "within")
        if self.backoff > self.max_backoff:
            raise ValueError(
                f"backoff={self.backoff!r} must be at most max_backoff={self.max_backoff!r}"
            )


Policy = Resume | Stop | Escalate | Restart


class GaveUp(ProcessError):
    """A supervisor has started its children anew too often; it ends with ``Reason.FAILED``."""


def check_count(name: str, value: object) -> None:
    """Raise ``ValueError`` for what is no number of failures."""
    if not isinstance(value, int) or isinstance(value, bool) or value < 0:
        raise ValueError(f"{name}={value!r} must be a whole number, 0 or more")


def check_time(name: str, value: object, may_be_zero: bool = False) -> None:
    """Raise ``ValueError`` for what is no time."""
    if (
        isinstance(value, bool)
        or not isinstance(value, (int, float))
        or not 0 <= value <= sys.float_info.max
        or (not value and not may_be_zero)
    ):
        least = "0 or more" if may_be_zero else "above 0"
        raise ValueError(f"{name}={value!r} must be a finite number of seconds, {least}")


def check_policy(policy: object, has_factory: bool) -> None:
    """Raise ``TypeError`` for what cannot be the ``on_failure`` of a spawn."""
    if policy is not None and not isinstance(policy, Policy):
        raise TypeError(
            f"on_failure takes Resume(), Stop(), Restart(...) or Escalate(), got {policy!r}"
        )
    if isinstance(policy, Restart) and not has_factory:
        raise TypeError(
            "Restart needs a callable that makes the process anew, as in "
            "spawn(lambda: Worker('worker'), on_failure=Restart()), not a process"
        )


class Rate:
    """How often something may happen.

    Args:
        limit: so many times within ``within`` seconds; None for any number.
    """

    __slots__ = ("_limit", "_times", "_within")

    def __init__(self, limit: int | None, within: float) -> None:
        self._limit = limit
        self._within = within
        self._times: deque[float] = deque()

    def is_exceeded(self, now: float) -> bool:
        """Count one, and tell whether it is one too many."""
        if self._limit is None:
            return False
        times = self._times
        times.append(now)
        while times[0] < now - self._within:
            times.popleft()
        return len(times) > self._limit


class Restarts:
    """What a ``Restart`` says about one process.

    Args:
        policy: the rule.
        chance: gives numbers from 0 to 1; None for that of the system.
    """

    __slots__ = ("_chance", "_policy", "_rate", "_settled", "_streak")

    def __init__(self, policy: Restart, chance: Callable[[], float] | None = None) -> None:
        self._policy = policy
        self._chance = chance or system().chance
        self._rate = Rate(policy.limit, policy.within)
        self._streak = 0
        self._settled = -math.inf  # when the process will have lived for long enough

    def pause(self, now: float) -> float | None:
        """The seconds before the restart after a failure; None if there is none any more."""
        policy = self._policy
        if self._rate.is_exceeded(now):
            return None
        if now >= self._settled:
            self._streak = 0
        base = min(policy.backoff * 2.0**self._streak, policy.max_backoff)
        self._streak = min(self._streak + 1, _MOST_DOUBLINGS)
        most = min(base * _JITTER, policy.max_backoff)
        least = max(most / _JITTER, policy.backoff)
        pause = least + (most - least) * self._chance()
        self._settled = now + pause + policy.within
        return pause
