"""Failures of dispatches that nobody was told of: they are reported, those of others are not.

They are kept among the steps of a dispatch, a list that any thread may append to at any time.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

_TOLD = "told"


class _Untold:
    """A failure, which is reported with the end of the future that holds it."""

    __slots__ = ("report",)

    def __init__(self, report: Callable[[], Any]) -> None:
        self.report: Callable[[], Any] | None = report

    def __del__(self) -> None:
        if self.report is not None:
            self.report()


def keep_untold(steps: list[Any], report: Callable[[], Any]) -> None:
    """Have a failure reported when nobody can be told of it any more, and nobody was."""
    steps.append(_Untold(report))
    if _TOLD in steps:  # meanwhile, in another thread
        tell(steps)


def tell(steps: list[Any]) -> None:
    """Somebody is told of the failure, and so handles it."""
    steps.append(_TOLD)
    for step in steps:
        if type(step) is _Untold:
            step.report = None
