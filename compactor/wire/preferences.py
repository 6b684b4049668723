"""What ``Accept`` and ``Accept-Encoding`` say that a client would rather have."""

from __future__ import annotations

_MAX_BYTES = 1024  # of a header that is looked at


def weights(header: str) -> dict[str, float]:
    """How much each thing in a header is wanted, from 0 to 1; nothing in what is too long."""
    found: dict[str, float] = {}
    if len(header) > _MAX_BYTES:
        return found
    for item in header.lower().split(","):
        name, *parameters = (part.strip(" \t") for part in item.split(";"))
        weight = 1.0
        for parameter in parameters:
            if parameter.startswith("q="):
                weight = _number(parameter[2:])
        if name:
            found.setdefault(name, weight)
    return found


def _number(text: str) -> float:
    """The number of a weight, 0 if it is none."""
    is_number = len(text) <= 5 and text.replace(".", "", 1).isdecimal() and text.isascii()
    return min(float(text), 1.0) if is_number else 0.0


def takes_gzip(header: str) -> bool:
    """Whether a client takes answers in gzip."""
    wanted = weights(header)
    return wanted.get("gzip", wanted.get("x-gzip", wanted.get("*", 0.0))) > 0
