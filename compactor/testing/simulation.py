"""``Simulation``: runs a scenario in a world of its own, in virtual time, replayed from a seed."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from typing import Any

from compactor.testing.simulated.chaos import Fault
from compactor.testing.simulated.clocks import simulated
from compactor.testing.simulated.world import World, span
from compactor.testing.trace import Trace

_MOST_RUNS = 200  # of a scenario that is made smaller

Scenario = Callable[[World], Coroutine[Any, Any, Any]]


@dataclass(frozen=True)
class Run:
    """What a scenario has done.

    Attributes:
        digest: hexadecimal digits that are the same for the same run, event for event.
        trace: what happened.
        seconds: of the world, that it took.
        result: what the scenario has returned.
    """

    digest: str
    trace: Trace
    seconds: float
    result: Any


class Simulation:
    """Runs scenarios, each in a new world.

    Args:
        seed: an integer, or a text; the same seed gives the same run.
        latency: seconds of every way from one host to another, least and most.
        keep: how many of the last events traces remember, and ``world.messages`` at least; None
            for all.
        max_events: so many callbacks and messages without any time passing are a loop that never
            ends.
        max_block: real seconds that a single turn of a host may take.
        strict: whether a scenario that leaves tasks or timers behind fails: its own, and those of
            programs and processes on hosts that are up.
        replay: the command that runs the same again, for the note of a failure.

    Raises:
        TypeError: the seed is something else, or what must be a number is none.
        ValueError: a number is out of its range, or the seed has no text in UTF-8.
    """

    def __init__(
        self,
        seed: int | str = 0,
        *,
        latency: float | tuple[float, float] = (0.0005, 0.001),
        keep: int | None = None,
        max_events: int = 1_000_000,
        max_block: float = 10.0,
        strict: bool = False,
        replay: str = "",
    ) -> None:
        if isinstance(seed, bool) or not isinstance(seed, (int, str)):
            raise TypeError(f"a seed is an integer or a text, got {seed!r}")
        _check_seed(seed)
        for name, value in (("max_events", max_events), ("max_block", max_block)):
            if not isinstance(value, (int, float)):
                raise TypeError(f"{name} must be a number, got {value!r}")
            if not value > 0:
                raise ValueError(f"{name} must be positive, got {value!r}")
        Trace(keep)  # refuses what no trace would take
        self.seed = seed
        self._latency = span(latency)
        self._keep = keep
        self._max_events = max_events
        self._max_block = max_block
        self._strict = strict
        self._replay = replay or f"Simulation(seed={seed!r})"

    def run(self, scenario: Scenario) -> Run:
        """Run a scenario to its end.

        Args:
            scenario: ``async def scenario(world)``.

        Raises:
            TypeError: it is no ``async`` function.
            SimulationError: nothing can happen any more, a loop never ends, something was asked
                for that cannot be simulated, or is left over in spite of ``strict``.
            Exception: what the scenario, a program of a host, or a handler has raised; it has the
                end of the trace as a note.
        """
        world = self._new_world()
        try:
            result = self._run_in(world, scenario)
        except BaseException as error:
            report = world.trace.report(replay=self._replay)
            if world.faults and isinstance(error, Exception):
                needed = self.smallest(scenario)
                lines = [f"  {fault}" for fault in needed] or ["  none"]
                report += "\n".join(["Faults that it needs:", *lines, ""])
            _note(error, report)
            raise
        return Run(world.trace.digest, world.trace, world.time, result)

    def smallest(self, scenario: Scenario) -> list[Fault]:
        """The faults of chaos without which a scenario that fails would not.

        It is run again and again, each time without one more fault, as long as it fails with an
        error of the same type.

        Returns:
            Those that are left; none if it needs none, or does not fail.
        """
        world, failure = self._try(scenario, frozenset())
        if failure is None:
            return []
        without: frozenset[int] = frozenset()
        left, untried, runs = world.faults, world.faults, 0
        while untried and runs < _MOST_RUNS:
            fewer = without | {untried.pop().number}
            tried, error = self._try(scenario, fewer)
            runs += 1
            if type(error) is type(failure):
                without, left = fewer, tried.faults
                untried = [fault for fault in untried if fault in left]
        return left

    def _try(self, scenario: Scenario, without: frozenset[int]) -> tuple[World, Exception | None]:
        world = self._new_world(without)
        try:
            self._run_in(world, scenario)
        except Exception as error:
            return world, error
        return world, None

    def _new_world(self, without: frozenset[int] = frozenset()) -> World:
        return World(
            self.seed,
            Trace(self._keep),
            self._latency,
            self._max_events,
            self._max_block,
            without,
        )

    def _run_in(self, world: World, scenario: Scenario) -> Any:
        loop = world.loop
        try:
            with simulated(loop):
                try:
                    result = loop.run_until_complete(_begun(scenario, world))
                    world.check_programs()
                    if self._strict:
                        world.check_nothing_left()
                    return result
                finally:
                    world.end()
        finally:
            loop.close()


def _check_seed(seed: int | str) -> None:
    """Refuse what no source of chance can be made of, before a run would."""
    try:
        f"{seed}".encode()
    except ValueError as error:
        raise ValueError(f"a seed must have a text in UTF-8: {error}") from None


def _begun(scenario: Scenario, world: World) -> Coroutine[Any, Any, Any]:
    coroutine = scenario(world) if callable(scenario) else None
    if not asyncio.iscoroutine(coroutine):
        raise TypeError(f"a scenario is an async function that takes a world, got {scenario!r}")
    return coroutine


def _note(error: BaseException, report: str) -> None:
    """Have an error tell what happened before it."""
    if sys.version_info >= (3, 11):
        error.add_note(report)
    else:  # as that would; tracebacks of Python 3.10 do not show it
        error.__notes__ = [*getattr(error, "__notes__", ()), report]  # type: ignore[attr-defined]
