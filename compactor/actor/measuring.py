"""``Measuring``: the metrics that a process has of its own."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, overload

if TYPE_CHECKING:
    from compactor.metrics.user_metrics import UserMetrics

_ATTRIBUTE = "_Measuring__metrics"  # a name without "__" belongs to subclasses


class OwnMetrics:
    """The metrics of a process, unless a subclass or an instance has something else there."""

    @overload
    def __get__(self, process: None, cls: type | None = None) -> OwnMetrics: ...
    @overload
    def __get__(self, process: Any, cls: type | None = None) -> UserMetrics: ...
    def __get__(self, process: Any, cls: type | None = None) -> Any:
        if process is None:
            return self
        found = vars(process).get(_ATTRIBUTE)
        if found is None:
            from compactor.metrics.user_metrics import UserMetrics  # most programs have none

            found = vars(process).setdefault(_ATTRIBUTE, UserMetrics())
        return found


class Measuring:
    """The part of ``Process`` that measures."""

    metrics = OwnMetrics()
    """Counters, gauges and timers of this process: see ``UserMetrics``."""


def metrics_of(process: Any) -> UserMetrics | None:
    """What a process measures; None if it measures nothing."""
    found: UserMetrics | None = getattr(process, "__dict__", {}).get(_ATTRIBUTE)
    return found
