"""What the ``Accept`` headers of a client say that it would rather have."""

from __future__ import annotations

from compactor.wire.preferences import weights

_JSON = "application/json"
_TEXTS = ("text/plain", "text/html", "text/*")


def prefers_json(header: str) -> bool:
    """Whether a client names JSON, and wants no text more than that."""
    if _JSON not in header.lower():
        return False
    wanted = weights(header)
    json = wanted.get(_JSON, 0.0)
    return json > 0 and all(json >= wanted.get(text, 0.0) for text in _TEXTS)
