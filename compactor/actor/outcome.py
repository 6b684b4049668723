"""How what is awaited ends."""

from __future__ import annotations

from typing import Any


def end_with(result: Any) -> None:
    """Have ``__next__`` end with a result; for a bare ``raise StopIteration`` behind it.

    Compiled, that one ends with what was set here, and no traceback is made on the way.
    """
    raise StopIteration(result)
