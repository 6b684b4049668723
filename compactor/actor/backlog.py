"""``Backlog``: the bytes of what is large in all mailboxes of one context, and what each may have.

Up to a bound, each mailbox has a mark of its own.  Beyond it, whoever adds to a mailbox in which
something large waits rests until nothing large waits there any more.  So those rest who feed slow
processes, and quick processes go on receiving.
"""

from __future__ import annotations


class Backlog:
    """Counts what waits, and says where a mailbox is full.

    Args:
        high_water: bytes in one mailbox beyond which those who feed it rest.
        bound: bytes in all mailboxes beyond which they rest for any.

    Attributes:
        total: bytes that wait.
        high_water: what a mailbox may hold now.
        low_water: what it holds at most when those who rest go on.
    """

    __slots__ = ("_bound", "_high_water", "high_water", "low_water", "total")

    def __init__(self, high_water: int, bound: int) -> None:
        self._high_water = high_water
        self._bound = bound
        self.total = 0
        self.add(0)

    def add(self, size: int) -> None:
        """So many bytes more wait, or fewer."""
        self.total += size
        self.high_water = self._high_water if self.total <= self._bound else 0
        self.low_water = self.high_water // 4
