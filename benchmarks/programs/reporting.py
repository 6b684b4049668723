"""What programs of peers print, and how they time round trips; standard library only."""

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
