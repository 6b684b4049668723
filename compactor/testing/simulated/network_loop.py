"""``NetworkLoop``: what a loop asks the network for; it is that of the host with its turn."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from compactor.testing.simulated.host_sockets import HostServer
from compactor.testing.simulated.refusals import RefusingLoop, refuse
from compactor.testing.simulated.turns import Turns


class NetworkLoop(RefusingLoop):
    """The part of the loop that has to do with connections.

    Attributes:
        turns: of the host that has its turn.
    """

    turns: Turns

    async def create_server(  # type: ignore[override]
        self,
        protocol_factory: Callable[[], asyncio.BaseProtocol],
        host: Any = None,
        port: Any = None,
        *,
        sock: Any = None,
        start_serving: bool = True,
        **kw: Any,
    ) -> HostServer:
        if kw.get("ssl"):
            refuse("TLS of asyncio", "contexts bring their own")
        sock = sock or self.turns.system.bind(host or "0.0.0.0", port or 0)
        server = HostServer(self, sock, protocol_factory)
        if start_serving:
            await server.start_serving()
        return server

    async def create_connection(
        self,
        protocol_factory: Callable[[], Any],
        host: Any = None,
        port: Any = None,
        *,
        sock: Any = None,
        **kw: Any,
    ) -> tuple[asyncio.Transport, Any]:
        if kw.get("ssl"):
            refuse("TLS of asyncio", "contexts bring their own")
        if sock is None:
            system = self.turns.system
            (ip, *_) = await system.addresses_of(host, port)
            sock = await system.connect(self, ip, port)
        protocol = protocol_factory()
        sock.transport.open(protocol)
        return sock.transport, protocol

    async def getaddrinfo(self, host: Any, port: Any, **_: Any) -> Any:
        ips = await self.turns.system.addresses_of(host, port)
        return [(2, 1, 6, "", (ip, port or 0)) for ip in ips]  # IPv4, a stream, TCP
