"""Answers as JSON, and as scripts that call a function with it, where a page asks for that."""

from __future__ import annotations

import json
import re
from typing import Any, Final

from compactor.http.content import JSON
from compactor.http.request import Request
from compactor.http.response import Response

SCRIPT: Final = "text/javascript"

to_sorted_json: Final = json.JSONEncoder(
    ensure_ascii=False, allow_nan=False, sort_keys=True, separators=(",", ":")
).encode
"""A value as libprocess writes it: members are sorted, and nothing stands between them."""

to_json_text: Final = json.JSONEncoder(ensure_ascii=False).encode
"""A text, as it stands in JSON."""

_CALLBACK = re.compile(r"[A-Za-z_$][\w$]{0,63}(\.[A-Za-z_$][\w$]{0,63}){0,7}", re.ASCII)


def json_answer(request: Request, value: Any, status: int = 200) -> Response:
    """A value as JSON; with ``jsonp=f`` in the query, as ``f(...)``."""
    text = to_sorted_json(value)
    callback = request.query.get("jsonp")
    if callback is None:
        response = Response(text.encode("utf-8", "replace"), status, JSON)
    elif not _CALLBACK.fullmatch(callback):
        return Response.error(
            400, "jsonp is the name of a function of JavaScript, such as 'show' or 'app.show'.\n"
        )
    else:
        response = Response(f"{callback}({text})".encode("utf-8", "replace"), status, SCRIPT)
    response.headers["X-Content-Type-Options"] = "nosniff"
    return response
