"""``ended_within``: waiting for something in the same number of turns on every Python."""

from __future__ import annotations

import asyncio

import pytest

from compactor.net.event_loop import ended_within
from compactor.testing.simulated.world import World


async def test_what_ends_in_time_has_ended(world: World) -> None:
    assert await ended_within(2.0, asyncio.sleep(1.0))
    assert world.time == 1.0


async def test_what_takes_longer_is_cancelled(world: World) -> None:
    ended: list[str] = []

    async def slow() -> None:
        try:
            await asyncio.sleep(100)
        finally:
            await asyncio.sleep(1)
            ended.append("slow")

    assert not await ended_within(2.0, slow())
    assert (world.time, ended) == (3.0, ["slow"])


async def test_what_is_raised_is_raised(world: World) -> None:
    async def fails() -> None:
        raise KeyError("x")

    with pytest.raises(KeyError):
        await ended_within(2.0, fails())


async def test_who_is_cancelled_cancels_what_is_waited_for(world: World) -> None:
    inner = asyncio.ensure_future(asyncio.sleep(100))
    waiting = asyncio.ensure_future(ended_within(200.0, inner))
    await asyncio.sleep(1)
    waiting.cancel()
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert waiting.cancelled()
    assert inner.cancelled()
