"""``/ready``: whether a context takes more."""

from __future__ import annotations

from typing import Any

from compactor.endpoints.endpoint import Endpoint
from compactor.endpoints.json_answer import json_answer
from compactor.http.request import Request
from compactor.http.response import Response


def _ready(request: Request, owner: Any) -> Response:
    is_ready = not owner.life.is_stopping
    answer = json_answer(request, {"ready": is_ready})
    if not is_ready:
        answer.status = 503
    return answer


ENDPOINTS = (
    Endpoint(
        "/ready",
        _ready,
        "Tells whether more may be sent here.",
        """Answers 200, and 503 from the moment that the context is asked to stop.  That is what
readiness probes and load balancers ask for.
""",
    ),
)
