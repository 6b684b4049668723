"""``Finding``: what one check has found, and what to change."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

State = Literal["ok", "note", "problem"]


@dataclass(frozen=True)
class Finding:
    """What one check has found.

    Attributes:
        state: whether it is as it should be, worth knowing, or wrong.
        check: what was looked at, in a word.
        text: what was found.
        change: what would help; empty if nothing has to be changed.
    """

    state: State
    check: str
    text: str
    change: str = ""


def ok(check: str, text: str) -> Finding:
    """All is well."""
    return Finding("ok", check, text)


def note(check: str, text: str, change: str = "") -> Finding:
    """It is worth knowing."""
    return Finding("note", check, text, change)


def problem(check: str, text: str, change: str) -> Finding:
    """It is wrong."""
    return Finding("problem", check, text, change)
