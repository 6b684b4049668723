"""``/system/stats.json``: the load and the memory of the machine."""

from __future__ import annotations

from typing import Any

from compactor.endpoints.endpoint import Endpoint
from compactor.endpoints.json_answer import json_answer
from compactor.http.request import Request
from compactor.http.response import Response
from compactor.system.system import system


def _stats(request: Request, owner: Any) -> Response:
    return json_answer(request, system().load())


ENDPOINTS = (
    Endpoint(
        "/system/stats.json",
        _stats,
        "Shows the load and the memory of the machine.",
        """Numbers by name:

>        avg_load_1min        Load averaged over one minute
>        avg_load_5min        Load averaged over five minutes
>        avg_load_15min       Load averaged over fifteen minutes
>        cpus_total           Cores
>        mem_total_bytes      Memory in all
>        mem_free_bytes       Memory that nothing uses, not even files that are kept there

What the system does not tell is left out. With `jsonp=NAME` in the query the answer is a script
that calls that function.
""",
    ),
)
