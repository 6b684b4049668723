"""What stands in a response: its types, JSON, and what can be sent of it."""

from __future__ import annotations

import json
import re
from typing import Any, Final, NoReturn

from compactor.errors import LocalProtocolError

TEXT: Final = "text/plain; charset=utf-8"
JSON: Final = "application/json"


LEAST_IN_GZIP: Final = 1024
"""Bytes of an answer that is compressed, as in libprocess."""

_COMPRESSIBLE = re.compile(
    r"text/(?!event-stream)|application/(?:json|javascript|xml|[^;,]*\+(?:json|xml))\b|image/svg"
)


def is_compressible(kind: str) -> bool:
    """Whether what has that type becomes smaller in gzip.

    Server-sent events are short, their streams are open for long, and most have nothing to send.
    """
    return _COMPRESSIBLE.match(kind.lower()) is not None


def _no_json(value: Any) -> NoReturn:
    raise TypeError(
        f"JSON has no form for {value!r}; "
        "a route returns a Response, str, bytes or JSON, in one piece"
    )


to_json: Final = json.JSONEncoder(allow_nan=False, default=_no_json).encode
"""A value as JSON; TypeError or ValueError if JSON has no form for it."""


def check_status(status: Any) -> int:
    """The status of a response that a route gave.

    Raises:
        LocalProtocolError: it cannot be sent.
    """
    if not isinstance(status, int) or not 200 <= status <= 599:
        raise LocalProtocolError(f"the status of a response must be 200 to 599, got {status!r}")
    return status


def body_of(body: object) -> bytes:
    """The bytes of a body.

    Raises:
        TypeError: it is neither ``str`` nor ``bytes``.
    """
    if isinstance(body, str):
        return body.encode()
    if isinstance(body, bytes):
        return body
    raise TypeError(
        f"the body of a response must be str or bytes, got {body!r}; "
        "Response.json(value) makes one of JSON"
    )
