"""What is told of workers; and ``Board``, a process of the parent that shows it as JSON."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from compactor.http.request import Request
from compactor.http.response import Response
from compactor.process import Process
from compactor.workers.member import Member


class Board(Process):
    """Answers ``/workers/status.json``: each worker, and what all have counted together.

    Args:
        name: None for one of its own.
        status: tells of each.
        counts: tells of all.
    """

    def __init__(
        self,
        name: str | None,
        status: Callable[[], list[dict[str, Any]]],
        counts: Callable[[], dict[str, float]],
    ) -> None:
        super().__init__(name)
        self._status = status
        self._counts = counts

    @Process.route("/status.json")
    def show(self, request: Request) -> Response:
        """All that is known."""
        return Response.json({"workers": self._status(), "counts": self._counts()})


def in_order(members: Iterable[Member]) -> list[Member]:
    """Some workers by their numbers."""
    return sorted(members, key=lambda member: member.plan.worker.number)


def told_of(member: Member) -> dict[str, Any]:
    """What is known of a worker."""
    worker, (ip, port) = member.plan.worker, member.address
    return {
        "number": worker.number,
        "generation": worker.generation,
        "state": "stuck" if member.is_stuck else member.state,
        "os_pid": member.os_pid,
        "address": f"{ip}:{port}" if port else "",
        "counts": dict(member.counts),
    }


def sums_of(members: Iterable[Member]) -> dict[str, float]:
    """What some workers have counted, together."""
    sums: dict[str, float] = {}
    for member in members:
        for name, value in member.counts.items():
            sums[name] = sums.get(name, 0) + value
    return sums
