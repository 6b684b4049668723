"""What authenticators are, and what they say of a request."""

from __future__ import annotations

from collections.abc import Awaitable, Mapping
from dataclasses import dataclass, field
from typing import ClassVar, TypeAlias

from compactor.http.principal import Principal
from compactor.http.request import Request

__all__ = ["Authenticator", "Forbidden", "Principal", "Said", "Unauthorized"]


@dataclass(frozen=True)
class Unauthorized:
    """A request does not show who sends it; answered with 401 and a challenge.

    Args:
        why: what is wrong with the credentials that came, for the log; empty if none came.  It
            never quotes them.
        parameters: of the challenge, besides ``realm``.
        scheme: of the challenge; by default that of the authenticator.
    """

    why: str = ""
    parameters: Mapping[str, str] = field(default_factory=dict)
    scheme: str = ""


@dataclass(frozen=True)
class Forbidden:
    """Who sends a request is known, and may not; answered with 403.

    Args:
        why: for the log.
    """

    why: str = ""


Said: TypeAlias = "Principal | str | Unauthorized | Forbidden | None"
"""What an authenticator says: a ``str`` is the name of a principal, None as ``Unauthorized()``."""


class Authenticator:
    """Finds out who has sent a request; subclass it, or use ``Basic`` or ``Jwt``.

    Attributes:
        scheme: of the challenge that those who show nothing get.
        reads_body: whether it looks at the body of a request.  If not, those that it refuses are
            answered before their body has come.
    """

    scheme: ClassVar[str] = "Bearer"
    reads_body: ClassVar[bool] = True

    def authenticate(self, request: Request) -> Said | Awaitable[Said]:
        """Who has sent a request.

        It is called on the loop of the context; what takes longer than a millisecond is ``async``.
        """
        raise NotImplementedError
