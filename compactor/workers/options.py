"""``Options``: what ``Workers`` are given, checked; and the plan of each worker, which follows."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any

from compactor.actor.supervision import Escalate, Restart, Restarts, Stop, check_time
from compactor.context import Context
from compactor.runtime.arguments import check_drain
from compactor.workers.plan import Plan, Worker, check_ports

BEAT = 1.0  # seconds between two signs of life

_MOST = 1024  # workers


@dataclass(frozen=True)
class Options:
    """What workers are given; see ``Workers``.

    Raises:
        TypeError, ValueError: one cannot be used.
    """

    make: str
    count: int
    context: Context
    ports: str | Iterable[int] | None
    policy: Restart | Stop | Escalate
    cluster: str | None
    drain: float
    start_timeout: float
    stuck_after: float
    kill_stuck: bool

    def __post_init__(self) -> None:
        if not isinstance(self.context, Context):
            raise TypeError(f"context={self.context!r} must be the Context that asks the workers")
        object.__setattr__(self, "ports", check_ports(self.ports, self.count))
        policy = self.policy
        if not isinstance(policy, Restart | Stop | Escalate):
            raise TypeError(f"on_failure takes Restart(...), Stop() or Escalate(), got {policy!r}")
        check_drain(self.drain)
        check_time("start_timeout", self.start_timeout)
        check_time("stuck_after", self.stuck_after)
        if self.cluster is not None:
            from compactor.cluster import Cluster

            Cluster(self.cluster, self.context)

    @property
    def free_ports(self) -> tuple[int, ...]:
        """The ports that workers may have; empty for any."""
        ports: Any = self.ports
        return tuple(ports)

    def new_restarts(self) -> Restarts | None:
        """Counts the restarts of one worker; None if there are none."""
        return Restarts(self.policy) if isinstance(self.policy, Restart) else None

    @property
    def beat(self) -> float:
        """Seconds between two signs of life."""
        return min(BEAT, self.stuck_after / 4)

    def plan(self, worker: Worker, port: int) -> Plan:
        """What one worker is to do."""
        context = self.context
        tls = context._tls
        settings = replace(
            context.settings,
            port=port,
            advertise_port=None,
            warn_unprotected=False,  # the parent has
        )
        return Plan(
            make=self.make,
            worker=worker,
            port=port,
            settings=settings,
            tls=tls.settings if tls is not None else False,
            cluster=self.cluster,
            drain=self.drain,
            beat=self.beat,
            stuck_after=self.stuck_after,
            level=logging.root.getEffectiveLevel(),
        )


def check_count(count: Any) -> int:
    """How many workers there are to be; None for one on each core.

    Raises:
        ValueError: so many cannot be.
    """
    if count is None:
        if hasattr(os, "sched_getaffinity"):
            return len(os.sched_getaffinity(0))
        return os.cpu_count() or 1
    if not isinstance(count, int) or isinstance(count, bool) or not 0 < count <= _MOST:
        raise ValueError(f"count={count!r} must be a number of workers from 1 to {_MOST}")
    return count
