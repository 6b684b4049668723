"""``Principal``: who has sent a request, once that was found out."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any


@dataclass(frozen=True)
class Principal:
    """Who has sent a request, as libprocess knows it: a name, claims, or both.

    Attributes:
        value: the name; None if there are claims alone.
        claims: what else is known, as the claims of a token.

    Raises:
        ValueError: it has neither.
    """

    value: str | None = None
    claims: Mapping[str, Any] = field(default_factory=dict, hash=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "claims", MappingProxyType(dict(self.claims)))
        if not self.value and not self.claims:
            raise ValueError("a principal has a name, or claims")

    def __str__(self) -> str:
        return self.value or ""

    def __repr__(self) -> str:
        names = f", claims: {', '.join(sorted(map(str, self.claims)))}" if self.claims else ""
        return f"<Principal {self.value!r}{names}>"
