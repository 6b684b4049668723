"""``/compactor/reach``: whether a client can be reached from here, and under which address.

Who asks is connected to, and told how that went.  It can be had for the address that the request
comes from only, and for requests that no proxy has passed on: nobody has us look at others.
"""

from __future__ import annotations

import asyncio
import socket
from typing import Any

from compactor.endpoints.access import is_forwarded
from compactor.endpoints.endpoint import READONLY, Endpoint
from compactor.endpoints.json_answer import json_answer
from compactor.http.request import Request
from compactor.http.response import Response
from compactor.system.system import system

_SECONDS = 3.0  # to connect; whoever asks waits a little longer


async def _reach(request: Request, owner: Any) -> Response:
    address = f"[{owner.ip}]:{owner.port}" if ":" in owner.ip else f"{owner.ip}:{owner.port}"
    told: dict[str, Any] = {"advertised": address, "client": request.peer[0]}
    text = request.query.get("port")
    if text is not None:
        port = int(text) if text.isascii() and text.isdigit() and len(text) < 6 else 0
        if not 0 < port <= 65535:
            return Response.error(400, "port is a number from 1 to 65535.\n")
        if is_forwarded(request):
            told["outcome"] = "proxy"
        else:
            told["outcome"] = await _outcome(request.peer[0], port)
    return json_answer(request, told)


async def _outcome(ip: str, port: int) -> str:
    """How an attempt to connect ends: in a word."""
    loop = asyncio.get_running_loop()
    connecting = loop.create_task(system().connect(loop, ip, port))
    connecting.add_done_callback(_close)
    try:
        await asyncio.wait([connecting], timeout=_SECONDS)
        if not connecting.done():
            return "timeout"
    finally:
        connecting.cancel()
    error = connecting.exception()
    if error is None:
        return "connected"
    return "refused" if isinstance(error, ConnectionRefusedError) else "unreachable"


def _close(connecting: asyncio.Task[socket.socket]) -> None:
    if not connecting.cancelled() and connecting.exception() is None:
        connecting.result().close()


ENDPOINTS = (
    Endpoint(
        "/compactor/reach",
        _reach,
        "Tells whether the client can be reached from here.",
        """With `port=N` in the query, that port of the address that the request comes from is
connected to, and the connection closed at once. Of requests that a proxy has passed on nothing is
connected. Texts by name:

>        advertised           The address of this context in its pids
>        client               The address that the request comes from
>        outcome              connected, refused, timeout, unreachable, or proxy; only with a port
""",
        realm=READONLY,
    ),
)
