"""``memory_pair``: two protocols, connected in memory."""

from __future__ import annotations

import asyncio
from typing import Any

from compactor.testing.memory_transport import WINDOW, Carry, MemoryTransport
from compactor.testing.segments import Cuts


def memory_pair(
    client: asyncio.BaseProtocol,
    server: asyncio.BaseProtocol,
    *,
    loop: asyncio.AbstractEventLoop | None = None,
    addresses: tuple[Any, Any] = (("127.0.0.1", 50001), ("127.0.0.1", 50002)),
    window: int = WINDOW,
    cuts: Cuts = None,
    carry: Carry | None = None,
) -> tuple[MemoryTransport, MemoryTransport]:
    """Connect two protocols by transports in memory; both have been told when this returns.

    Args:
        client, server: protocols of asyncio, buffered ones too.
        loop: calls them; None for the running one.
        addresses: of the client and of the server, as ``get_extra_info`` tells them.
        window, cuts, carry: as for ``MemoryTransport``, of both.

    Returns:
        The transports of the client and of the server.

    Raises:
        RuntimeError: there is neither a loop nor a running one.
        ValueError, TypeError: as for ``MemoryTransport``; or one of the protocols is none.
    """
    _check(client, server, addresses)
    here, there = addresses
    loop = loop or asyncio.get_running_loop()
    ends = [
        MemoryTransport(loop, extra, window=window, cuts=cuts, carry=carry)
        for extra in (
            {"sockname": here, "peername": there},
            {"sockname": there, "peername": here},
        )
    ]
    ends[0].join(ends[1])
    ends[0].open(client)
    ends[1].open(server)
    return ends[0], ends[1]


def _check(client: Any, server: Any, addresses: Any) -> None:
    for protocol in (client, server):
        if not isinstance(protocol, asyncio.BaseProtocol):
            raise TypeError(f"a protocol of asyncio is connected, as an object, got {protocol!r}")
    if len(addresses) != 2:
        raise ValueError(f"addresses are two, of client and server, got {addresses!r}")
