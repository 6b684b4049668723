"""How long a cluster is without a leader that was killed: ``python -m tests.cluster.takeover 20``.

In each round one program leads and another one waits; the first gets ``kill -9``.  The time is that
from the kill to the block of the next one.
"""

from __future__ import annotations

import asyncio
import sys
import tempfile
import time
from pathlib import Path

from compactor import Context, Process
from compactor.cluster import Cluster
from compactor.cluster.conformance import ClusterConformance
from tests.cluster.nats_servers import nats
from tests.zookeeper import zookeeper

SESSION = 1.0


class Rounds(ClusterConformance):
    session = SESSION


async def measure(url: str, rounds: int) -> tuple[float, list[float]]:
    """The session that was agreed to, and the seconds of each round."""
    taken = []
    suite = Rounds()
    async with Context(ip="127.0.0.1") as context:
        pid = context.spawn(Process("next"))
        async with Cluster(url, context, session=SESSION) as cluster:
            agreed = cluster.session or SESSION
            for _ in range(rounds):
                async with suite.other(url) as kill:
                    waits = cluster.lead("doomed", pid)
                    elected = asyncio.ensure_future(waits.__aenter__())
                    await asyncio.sleep(0.5)
                    began = time.monotonic()
                    kill()
                    term = await elected
                    assert term.valid
                    taken.append(time.monotonic() - began)
                    await waits.__aexit__(None, None, None)
    return agreed, taken


def main(rounds: int) -> None:
    for name, servers in (("ZooKeeper", zookeeper), ("NATS", nats)):
        with servers(Path(tempfile.mkdtemp())) as running:
            agreed, taken = asyncio.run(measure(running.url("/takeover"), rounds))
        print(
            f"{name}: session {agreed:g} s, {rounds} rounds: "
            f"median {sorted(taken)[rounds // 2]:.2f} s, "
            f"maximum {max(taken):.2f} s"
        )


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
