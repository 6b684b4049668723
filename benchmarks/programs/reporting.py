"""What programs of peers print, how they time round trips and count them; standard library only."""

import asyncio
import json
import time


def say(report):
    """Print one line of JSON."""
    print(json.dumps(report), flush=True)


async def time_trips(trip):
    """Await `trip()` for ever, and say how many seconds each took, a hundred at a time."""
    while True:
        trips = []
        for _ in range(100):
            begun = time.perf_counter()
            await trip()
            trips.append(time.perf_counter() - begun)
        say(trips)


async def count_trips(trip, lines):
    """Await `trip()` for ever in so many lines at a time, and say now and again how many ended."""
    count = 0

    async def line():
        nonlocal count
        while True:
            await trip()
            count += 1
            if count % 100 == 0:
                say(count)

    await asyncio.gather(*(line() for _ in range(lines)))
