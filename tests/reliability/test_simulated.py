"""Runs of the ledger and of the model of links on simulated hosts, and that they would notice.

Thousands: ``python -m tests.reliability.simulated --runs 10000``.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from typing import Any

import pytest

from compactor import PID, Reason
from compactor.runtime.watches import Watches
from tests.reliability import simulated_links
from tests.reliability.ledger import simulated as simulated_ledger
from tests.reliability.simulated import problems_of

FIRST = 1_000_000  # the number of the first run; others are made by hand

FOUND = (71, 180, 1887, 4631, 1002, 1617, 1752)
"""Seeds that have failed: what a machine has taken was lost and not told of; keepalive that did not
ask while all was well; and mistakes of the ledger."""


@pytest.fixture(autouse=True)
def _quiet() -> Iterator[None]:
    logging.disable(logging.WARNING)
    yield
    logging.disable(logging.NOTSET)


def check(seeds: range | tuple[int, ...]) -> None:
    for seed in seeds:
        assert problems_of(seed)[0] == [], f"seed {seed}"


def test_random_runs_on_simulated_hosts() -> None:
    check(FOUND)
    check(range(FIRST, FIRST + 15))


@pytest.mark.slow
def test_many_random_runs_on_simulated_hosts() -> None:
    check(range(FIRST + 15, FIRST + 315))


@pytest.mark.parametrize("run", [simulated_ledger.Run, simulated_links.Run])
def test_a_run_is_the_same_again(run: Any) -> None:
    first, again = run(FIRST).play(), run(FIRST).play()
    assert (first.digest, first.trace.count) == (again.digest, again.trace.count)


@pytest.mark.parametrize(
    ("fault", "problem"), [("drop", "vanished"), ("duplicate", "more than once")]
)
def test_the_ledger_notices_a_message_that_is_lost_or_comes_twice(fault: str, problem: str) -> None:
    def problems(seed: int) -> str:
        made = simulated_ledger.Run(seed)
        scenario = made._scenario

        async def with_fault(world: Any) -> None:
            begin = world.drop if fault == "drop" else world.duplicate_connection
            begin("message", times=1)
            await scenario(world)

        made._scenario = with_fault  # type: ignore[method-assign]
        made.play()
        return " ".join(made.book.problems())

    assert any(problem in problems(seed) for seed in range(FIRST, FIRST + 5))


@pytest.mark.parametrize("times", [0, 2])
def test_the_model_notices_exits_that_do_not_come_or_come_twice(
    monkeypatch: pytest.MonkeyPatch, times: int
) -> None:
    lost = Watches._tell_linkers

    def told(self: Watches, pid: PID, linkers: Any, reason: Reason, detail: str = "") -> None:
        for _ in range(times if reason is Reason.TIMEOUT else 1):
            lost(self, pid, list(linkers), reason, detail)

    monkeypatch.setattr(Watches, "_tell_linkers", told)
    problems = [problem for seed in range(8) for problem in simulated_links.run(seed)]
    assert ("has not heard of" if times == 0 else "not due") in " ".join(problems)
