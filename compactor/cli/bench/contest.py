"""``Bench``: has both backends and a bare event loop measured by turns, each in OS processes."""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from statistics import median

from compactor.cli.child import Child, ChildError
from compactor.net.event_loop import loop_package
from compactor.runtime import hot_path

PATIENCE = 30.0  # seconds to wait for a child, besides those that it measures

COMPILED = "compactor, compiled"
PURE = "compactor, pure Python"


@dataclass
class Contestant:
    """Who is measured, and the medians of what its rounds gave.

    Attributes:
        prefix: of the names of its roles.
        environ: the environment variables of its children; None for one that must not be set.
        rates: messages per second, one way, round by round.
        trips: (median, 99th percentile) of round trips in microseconds, round by round.
    """

    name: str
    prefix: str = ""
    environ: Mapping[str, str | None] = field(default_factory=dict)
    rates: list[float] = field(default_factory=list)
    trips: list[tuple[float, float]] = field(default_factory=list)

    @property
    def rate(self) -> float:
        return median(self.rates)

    @property
    def p50(self) -> float:
        return median(p50 for p50, _ in self.trips)

    @property
    def p99(self) -> float:
        return median(p99 for _, p99 in self.trips)


class Bench:
    """One benchmark of this machine.

    Args:
        seconds: how long each measurement takes.
        rounds: how often each is made; the contestants take turns, so that whatever else the
            machine does meets all of them.
        tell: is given the name of each contestant as its turn comes.

    Attributes:
        floor: a bare event loop, which moves the same bytes and does nothing else.
        ours: compactor with each backend that this installation has.
    """

    def __init__(self, seconds: float, rounds: int, tell: Callable[[str], None]) -> None:
        self.floor = Contestant(f"bare {loop_package()}", "bare-")
        self.ours = [Contestant(PURE, environ=_environ(pure=True))]
        with contextlib.suppress(ImportError):
            hot_path.backend("cython")
            self.ours.insert(0, Contestant(COMPILED, environ=_environ(pure=False)))
        self._seconds = seconds
        self._rounds = rounds
        self._tell = tell

    def run(self) -> None:
        """Measure.

        Raises:
            ChildError: a child did not do what it should.
        """
        for number in range(self._rounds):
            for contestant in (self.floor, *self.ours):
                self._tell(f"round {number + 1} of {self._rounds}: {contestant.name}")
                (rate,) = self._measure(contestant, "sink", "source", by_first=True)
                p50, p99 = self._measure(contestant, "ponger", "pinger", by_first=False)
                contestant.rates.append(rate)
                contestant.trips.append((p50, p99))

    def _measure(
        self, contestant: Contestant, first: str, second: str, by_first: bool
    ) -> list[float]:
        """What one of two children measures, the second of which connects to the first."""
        with ExitStack() as stack:
            stderr = stack.enter_context(tempfile.TemporaryFile())

            def start(role: str, cpu: str, to: str) -> Child:
                args = ["bench-part", contestant.prefix + role, cpu, str(self._seconds), to]
                child = Child(role, args, stderr, contestant.environ)
                stack.callback(child.close)
                return child

            try:
                server = start(first, "first", "")
                (address,) = server.expect("ready", PATIENCE)
                client = start(second, "last", address)
                measuring = server if by_first else client
                return [*map(float, measuring.expect("measured", PATIENCE + 2 * self._seconds))]
            except ChildError as error:
                stderr.seek(0)
                said = stderr.read().decode(errors="replace").strip()
                raise ChildError(f"{contestant.name}: {error}\n{said}".strip()) from None

    def results(self) -> list[dict[str, str | float]]:
        """What was measured, of the floor and of each of ours."""
        return [
            {
                "name": each.name,
                "messages_per_second": each.rate,
                "round_trip_us": each.p50,
                "round_trip_p99_us": each.p99,
            }
            for each in (self.floor, *self.ours)
        ]

    def table(self) -> list[str]:
        """The lines of a table: the floor, and each of ours next to it."""
        rows = [("", "one-way", "of floor", "round trip", "p99", "of floor")]
        for each in (self.floor, *self.ours):
            rate, trip = each.rate / self.floor.rate, self.floor.p50 / each.p50
            rows.append(
                (
                    each.name,
                    f"{each.rate:,.0f} msg/s",
                    "" if each is self.floor else f"{rate:.2f}",
                    f"{each.p50:.1f} us",
                    f"{each.p99:.1f} us",
                    "" if each is self.floor else f"{trip:.2f}",
                )
            )
        widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
        return [
            "  ".join([row[0].ljust(widths[0]), *map(str.rjust, row[1:], widths[1:])]).rstrip()
            for row in rows
        ]


def _environ(pure: bool) -> dict[str, str | None]:
    if pure:
        return {"COMPACTOR_NO_SPEEDUPS": "1", "COMPACTOR_REQUIRE_SPEEDUPS": None}
    return {"COMPACTOR_NO_SPEEDUPS": None, "COMPACTOR_REQUIRE_SPEEDUPS": "1"}
