"""``Strangers``: addresses that are dialled for nothing but an answer; who asks may name any."""

from __future__ import annotations

from collections.abc import Callable

from compactor.outbound.peer import Peer
from compactor.pid import Address
from compactor.system import clock

MOST_DIALLED = 1000
"""Addresses for which answers wait, until they are connected."""

_PAUSE = 0.05  # seconds between two looks at all of them


class Strangers:
    """The addresses for which answers wait.

    Args:
        peer: leads to the peer at an address.
        most_bytes: of answers that wait, in all.
    """

    def __init__(self, peer: Callable[[Address], Peer], most_bytes: int) -> None:
        self._peer = peer
        self._most_bytes = most_bytes
        self._bytes = 0
        self._waiting: dict[Address, tuple[Peer, int]] = {}  # and the bytes that wait for each
        self._look_after = 0.0

    def may_have(self, address: Address, size: int) -> bool:
        """Whether an answer of this size may be sent to an address, which then waits or leaves."""
        peer = self._peer(address)
        if peer.is_connected:
            return True
        if not self._has_room(address, size):
            self._look()
            if not self._has_room(address, size):
                return False
        self._bytes += size
        self._waiting[address] = peer, self._waiting.get(address, (peer, 0))[1] + size
        return True

    def _has_room(self, address: Address, size: int) -> bool:
        return (address in self._waiting or len(self._waiting) < MOST_DIALLED) and (
            not self._bytes or self._bytes + size <= self._most_bytes
        )

    def _look(self) -> None:
        """Forget those that are connected or lost by now."""
        now = clock.now()
        if now >= self._look_after:
            self._look_after = now + _PAUSE
            for address, (peer, size) in list(self._waiting.items()):
                if peer.is_connected or peer.is_idle:
                    del self._waiting[address]
                    self._bytes -= size
