"""``/metrics/snapshot``: all metrics as libprocess shows them, in one JSON object."""

from __future__ import annotations

import asyncio
from typing import Any

from compactor.endpoints.durations import duration
from compactor.endpoints.endpoint import READONLY, Endpoint
from compactor.endpoints.json_answer import json_answer
from compactor.http.request import Request
from compactor.http.response import Response
from compactor.metrics.readings import flat
from compactor.system.system import system

_SECONDS = 5.0  # for gauges, where the request does not say; in C++ there is no end
_MOST_SECONDS = 60.0
_PART = 128  # readings that are looked at in a turn of the loop
_SHOWN = 80  # characters of what is no duration
_OF_SYSTEM = (
    "cpus_total",
    "load_15min",
    "load_1min",
    "load_5min",
    "mem_free_bytes",
    "mem_total_bytes",
)


async def _snapshot(request: Request, owner: Any) -> Response:
    seconds, given = _SECONDS, request.query.get("timeout")
    if given is not None:
        try:
            seconds = min(duration(given), _MOST_SECONDS)
        except ValueError as error:
            # The text is libprocess's.
            end = "" if str(error).endswith(".") else "."
            return Response.error(400, f"Invalid timeout '{given[:_SHOWN]}': {error}{end}\n")
    readings = await owner.metrics.take_all(seconds)
    found: dict[str, float] = {}
    async with owner.metrics.turns:
        for first in range(0, len(readings), _PART):
            part = flat(readings[first : first + _PART])
            found.update({name: float(value) for name, value in part.items()})
            await asyncio.sleep(0)
        for name, value in system().load().items():
            short = name.removeprefix("avg_")
            if short in _OF_SYSTEM:
                found[f"system/{short}"] = float(value)
        answer = json_answer(request, found)
        await asyncio.sleep(0)
    return answer


ENDPOINTS = (
    Endpoint(
        "/metrics/snapshot",
        _snapshot,
        "Provides a snapshot of the current metrics.",
        """This endpoint provides information regarding the current metrics
tracked by the system.

The optional query parameter `timeout` determines the maximum
amount of time the endpoint will take to respond, as in `timeout=500ms`. If the
timeout is exceeded, some metrics may not be included in the response.

The key is the metric name, and the value is a double-type.
""",
        realm=READONLY,
    ),
)
