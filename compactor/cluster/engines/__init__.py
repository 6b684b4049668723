"""Engines: each in a file of its own, imported when a URL asks for it."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from compactor.cluster.engine import Engine
from compactor.cluster.urls import ClusterUrl

if TYPE_CHECKING:
    from compactor.context import Context

Make = Callable[[], Engine]


def of_url(text: str, context: Context) -> tuple[Make, str]:
    """What makes engines of a URL, and the URL as it is shown.

    Raises:
        ValueError: there is no such engine, or it cannot use the URL.
        MissingPackage: what speaks with it is not installed.
    """
    url = ClusterUrl.parse(text)
    if url.scheme == "memory":
        from compactor.cluster.engines.memory import MemoryEngine

        return lambda: MemoryEngine(url, context), url.text
    if url.scheme == "static":
        from compactor.cluster.engines.static import StaticEngine

        return lambda: StaticEngine(url), url.text
    if url.scheme == "zk":
        from compactor.cluster.engines.zookeeper import ZooKeeperEngine

        return lambda: ZooKeeperEngine(url), url.text
    if url.scheme == "dns+srv":
        from compactor.cluster.engines.dns import DnsEngine

        return lambda: DnsEngine(url), url.text
    if url.scheme == "nats":
        from compactor.cluster.engines.nats import NatsEngine

        return lambda: NatsEngine(url), url.text
    raise ValueError(
        f"{url.text!r} is no URL of a cluster: its scheme must be zk, nats, dns+srv, memory or "
        f"static, got {url.scheme!r}"
    )
