"""Losses by themselves: reports in turns, one for each destination."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import pytest

from compactor.losses import Losses
from compactor.run_queue import RunQueue


@pytest.fixture
def reported() -> list[tuple[str, int]]:
    return []


def report(reported: list[tuple[str, int]], of: str, count: int) -> Iterator[None]:
    for number in range(count):
        reported.append((of, number))
        yield


@pytest.mark.usefixtures("in_no_time")
def test_a_report_of_any_length_is_the_same_in_each_turn(reported: list[tuple[str, int]]) -> None:
    async def main() -> None:
        losses = losses_on_this_loop()
        made = report(reported, "a", 10_000)
        losses.report("a", made)
        turns = 0
        while losses._unfinished:
            assert losses._unfinished["a"] is made
            await asyncio.sleep(0)
            turns += 1
        assert turns > 100
        assert reported == [("a", number) for number in range(10_000)]

    asyncio.run(main())


@pytest.mark.usefixtures("in_no_time")
def test_destinations_have_their_turns_and_can_be_waited_for(
    reported: list[tuple[str, int]],
) -> None:
    async def main() -> None:
        losses = losses_on_this_loop()
        losses.report("a", report(reported, "a", 10_000))
        losses.report("b", report(reported, "b", 1000))
        assert len(reported) < 100
        await losses.reported("b")
        assert reported.count(("b", 999)) == 1
        assert ("a", 9999) not in reported
        await losses.reported("a")
        await losses.reported("c")
        assert len(reported) == 11_000

    asyncio.run(main())


@pytest.mark.usefixtures("in_no_time")
def test_an_earlier_report_of_a_destination_comes_first(reported: list[tuple[str, int]]) -> None:
    async def main() -> None:
        losses = losses_on_this_loop()
        losses.report("a", report(reported, "a", 1000))
        losses.report("a", report(reported, "again", 1000))
        await losses.reported("a")
        assert reported == [(of, number) for of in ("a", "again") for number in range(1000)]

    asyncio.run(main())


@pytest.mark.usefixtures("in_no_time")
def test_all_is_reported_once_closed_and_at_once_from_then_on(
    reported: list[tuple[str, int]],
) -> None:
    async def main() -> None:
        losses = losses_on_this_loop()
        losses.report("a", report(reported, "a", 1000))
        losses.close()
        assert len(reported) == 1000
        losses.report("a", report(reported, "a", 1000))
        assert len(reported) == 2000

    asyncio.run(main())


@pytest.fixture
def in_no_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """A turn is over whenever the clock is looked at."""
    monkeypatch.setattr("compactor.losses.TURN_SECONDS", -1.0)


def losses_on_this_loop() -> Losses:
    run_queue = RunQueue()
    run_queue.attach(asyncio.get_running_loop())
    return Losses(run_queue)
