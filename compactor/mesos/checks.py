"""Checks of what callers give."""

from __future__ import annotations

import math
from typing import Any


def check_session(seconds: Any) -> float:
    """Seconds that a session may have.

    Raises:
        ValueError: they are no positive, finite number.
    """
    is_number = isinstance(seconds, (int, float)) and not isinstance(seconds, bool)
    if is_number and 0.001 <= seconds <= 86_400:
        return float(seconds)
    raise ValueError(f"session must be seconds from 0.001 to 86400, got {seconds!r}")


def check_timeout(seconds: Any) -> float | None:
    """Seconds that a caller waits, or None for ever.

    Raises:
        ValueError: they are a negative number, or none.
    """
    if seconds is None:
        return None
    is_number = isinstance(seconds, (int, float)) and not isinstance(seconds, bool)
    if is_number and seconds >= 0 and not math.isnan(seconds):
        return min(float(seconds), 1e9)
    raise ValueError(f"timeout must be seconds, at least 0, or None, got {seconds!r}")
