"""Slices by themselves: reports in turns, one for each destination."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import pytest

from compactor.actor.run_queue import RunQueue
from compactor.actor.slices import Slices


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
        slices = slices_on_this_loop()
        made = report(reported, "a", 10_000)
        slices.work(made, "a")
        turns = 0
        while slices._unfinished:
            assert slices._unfinished["a"] is made
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
        slices = slices_on_this_loop()
        slices.work(report(reported, "a", 10_000), "a")
        slices.work(report(reported, "b", 1000), "b")
        assert len(reported) < 100
        await slices.finished("b")
        assert reported.count(("b", 999)) == 1
        assert ("a", 9999) not in reported
        await slices.finished("a")
        await slices.finished("c")
        assert len(reported) == 11_000

    asyncio.run(main())


@pytest.mark.usefixtures("in_no_time")
def test_an_earlier_report_of_a_destination_comes_first(reported: list[tuple[str, int]]) -> None:
    async def main() -> None:
        slices = slices_on_this_loop()
        slices.work(report(reported, "a", 1000), "a")
        slices.work(report(reported, "again", 1000), "a")
        await slices.finished("a")
        assert reported == [(of, number) for of in ("a", "again") for number in range(1000)]

    asyncio.run(main())


@pytest.mark.usefixtures("in_no_time")
def test_all_is_reported_once_closed_and_at_once_from_then_on(
    reported: list[tuple[str, int]],
) -> None:
    async def main() -> None:
        slices = slices_on_this_loop()
        slices.work(report(reported, "a", 1000), "a")
        slices.close()
        assert len(reported) == 1000
        slices.work(report(reported, "a", 1000), "a")
        assert len(reported) == 2000

    asyncio.run(main())


@pytest.mark.usefixtures("in_no_time")
def test_work_of_nothing_else_waits_for_no_other(reported: list[tuple[str, int]]) -> None:
    async def main() -> None:
        slices = slices_on_this_loop()
        for of in "ab":
            slices.work(report(reported, of, 1000))
        assert len(reported) < 100
        while slices._unfinished:
            await asyncio.sleep(0)
        assert len(reported) == 2000

    asyncio.run(main())


@pytest.mark.usefixtures("in_no_time")
def test_a_step_that_fails_stops_no_other_work(reported: list[tuple[str, int]]) -> None:
    def failing() -> Iterator[None]:
        for _ in range(50):
            yield
        raise MemoryError

    async def main() -> None:
        asyncio.get_running_loop().set_exception_handler(lambda loop, context: None)
        slices = slices_on_this_loop()
        slices.work(failing())
        slices.work(report(reported, "a", 1000))
        while slices._unfinished:
            await asyncio.sleep(0)
        assert len(reported) == 1000

    asyncio.run(main())


@pytest.fixture
def in_no_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """A turn is over whenever the clock is looked at."""
    monkeypatch.setattr("compactor.actor.slices.TURN_SECONDS", -1.0)


def slices_on_this_loop() -> Slices:
    run_queue = RunQueue()
    run_queue.attach(asyncio.get_running_loop())
    return Slices(run_queue)
