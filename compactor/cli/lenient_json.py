"""JSON as contexts say it, those of C++ as well."""

from __future__ import annotations

import json
import re
from typing import Any

_ESCAPE = re.compile(rb"\\(?:x([0-9a-fA-F]{2})|.)", re.S)


def loads(body: bytes) -> Any:
    """What JSON says, that of C++ libprocess as well: it has controls in texts as ``\\x01``.

    Raises:
        ValueError, RecursionError: it is none.
    """
    try:
        return json.loads(body)
    except ValueError:
        return json.loads(_ESCAPE.sub(_escape_of_json, body))


def _escape_of_json(found: re.Match[bytes]) -> bytes:
    return b"\\u00" + found[1] if found[1] is not None else found[0]
