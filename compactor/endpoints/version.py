"""``/version``: what serves here."""

from __future__ import annotations

import platform
from typing import Any

from compactor._version import __version__
from compactor.endpoints.endpoint import Endpoint
from compactor.endpoints.json_answer import json_answer
from compactor.http.request import Request
from compactor.http.response import Response


def _version(request: Request, owner: Any) -> Response:
    told = {
        "hot_path": owner.backend.kind,
        "name": "compactor",
        "python": platform.python_version(),
        "version": __version__,
    }
    return json_answer(request, told)


ENDPOINTS = (
    Endpoint(
        "/version",
        _version,
        "Shows the version of compactor.",
        """Texts by name:

>        name                 compactor
>        version              Its version
>        hot_path             python, or cython if it is compiled
>        python               The version of Python
""",
    ),
)
