"""Durations as libprocess writes them, such as ``10secs``."""

from __future__ import annotations

from typing import Final

UNITS: Final = {
    "ns": 1e-9,
    "us": 1e-6,
    "ms": 1e-3,
    "secs": 1.0,
    "mins": 60.0,
    "hrs": 3600.0,
    "days": 86400.0,
    "weeks": 604800.0,
}
"""The seconds of each unit."""

_MOST = 2**63 * 1e-9  # seconds, which libprocess counts in nanoseconds
_SHOWN = 80  # characters of what is none


def duration(text: str) -> float:
    """The seconds of a duration.

    Raises:
        ValueError: it is none; the text is libprocess's, without what is right.
    """
    shown = text[:_SHOWN]
    digits = len(text) - len(text.lstrip("0123456789."))
    if digits == len(text):
        raise ValueError(f"Invalid duration '{shown}'")
    number = number_of(text[:digits])
    unit = text[digits:]
    if unit not in UNITS:
        raise ValueError(
            f"Unknown duration unit '{unit[:_SHOWN]}'; supported units are 'ns', 'us', 'ms', "
            "'secs', 'mins', 'hrs', 'days', and 'weeks'"
        )
    seconds = number * UNITS[unit]
    if seconds > _MOST:
        raise ValueError(f"The duration '{shown}' is longer than 292 years")
    return seconds


def number_of(text: str) -> float:
    """The number that digits and a point stand for.

    Raises:
        ValueError: none; the text is libprocess's.
    """
    try:
        return float(text) if len(text) <= _SHOWN else float("")
    except ValueError:
        raise ValueError(f"Failed to convert '{text[:_SHOWN]}' to number") from None
