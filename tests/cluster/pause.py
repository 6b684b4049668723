"""How long NATS takes no writes when the server is killed that leads the bucket:
``python -m tests.cluster.pause 5``.

A bucket of three replicas is written to all the time.  In each round the leader of its stream gets
``kill -9``; the time is that from the kill to the next write that is acknowledged.
"""

from __future__ import annotations

import asyncio
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import nats as library

from tests.cluster.nats_servers import NatsCluster, nats

_BETWEEN = 0.05  # seconds between two writes, and that one may take


async def one_round(servers: NatsCluster, keys: Any) -> float:
    """Kill the server that leads, and have all be back at the end."""
    leader = await asyncio.to_thread(servers.leader_of, "KV_pause")
    began = time.monotonic()
    leader.kill()
    while True:
        try:
            await keys.put("key", b"value")
            break
        except Exception:  # no leader, no answer, no connection
            await asyncio.sleep(_BETWEEN)
    taken = time.monotonic() - began
    await asyncio.to_thread(servers.start)
    return taken


async def measure(servers: NatsCluster, rounds: int) -> list[float]:
    """The seconds of each round."""

    async def quiet(error: Exception) -> None:
        return None

    client = await library.connect(
        servers.url("").removeprefix("nats://").split(","),
        error_cb=quiet,
        max_reconnect_attempts=-1,
        reconnect_time_wait=_BETWEEN,
    )
    try:
        await client.jetstream(timeout=60).create_key_value(bucket="pause", replicas=3)
        keys = await client.jetstream(timeout=0.5).key_value("pause")
        return [await one_round(servers, keys) for _ in range(rounds)]
    finally:
        await client.close()


def main(rounds: int) -> None:
    with nats(Path(tempfile.mkdtemp()), 3) as servers:
        taken = sorted(asyncio.run(measure(servers, rounds)))
    print("writes stopped for", ", ".join(f"{each:.1f}" for each in taken), "s")


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
