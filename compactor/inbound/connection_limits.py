"""``Admission``: how many connections a server takes, and from whom."""

from __future__ import annotations

import sys
from collections import Counter

from compactor.settings import Settings


class Admission:
    """Counts accepted connections, and says which would be too many.

    Args:
        settings: the bounds.

    Attributes:
        total: connections that were taken and have not ended.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self.total = 0
        self._by_ip: Counter[str] = Counter()

    def refusal(self, ip: str, descriptor: int) -> str | None:
        """Why a connection cannot be taken, or None if it can.

        Args:
            ip: its peer's address.
            descriptor: its own; the system gives the lowest free one, so it tells what is left.
        """
        settings = self._settings
        if self.total >= settings.max_connections:
            return f"max_connections={settings.max_connections} are open"
        if self._by_ip[ip] >= settings.max_connections_per_ip:
            return f"max_connections_per_ip={settings.max_connections_per_ip} are open from {ip}"
        if descriptor >= _descriptor_limit() - settings.spare_descriptors:
            return f"only spare_descriptors={settings.spare_descriptors} of the program are left"
        return None

    def enter(self, ip: str) -> None:
        """A connection was taken."""
        self.total += 1
        self._by_ip[ip] += 1

    def leave(self, ip: str) -> None:
        """A connection that was taken has ended."""
        self.total -= 1
        self._by_ip[ip] -= 1
        if self._by_ip[ip] <= 0:
            del self._by_ip[ip]


def _descriptor_limit() -> float:
    """How many file descriptors this program may have open."""
    if sys.platform == "win32":
        return float("inf")
    import resource

    limit = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    return float("inf") if limit == resource.RLIM_INFINITY else limit
