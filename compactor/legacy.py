"""What programs written for 0.3.0 reach for although it was private: ``context._connections``."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping

from compactor.links import Address
from compactor.peers import Peer
from compactor.pid import PID


class Connection:
    """An open connection, as far as 0.3.0's users touched one."""

    def __init__(self, pid: PID, disconnect: Callable[[PID], None]) -> None:
        self._pid = pid
        self._disconnect = disconnect

    def close(self) -> None:
        """Cut the connection; linkers of all pids at its address see an exit."""
        self._disconnect(self._pid)


class Connections(Mapping[PID, Connection]):
    """The open connections by pid: every pid at a connected address has one.

    Args:
        peers: the peers by address.
        disconnect: cuts the connection to the address of a pid.
    """

    def __init__(self, peers: Mapping[Address, Peer], disconnect: Callable[[PID], None]) -> None:
        self._peers = peers
        self._disconnect = disconnect

    def __getitem__(self, pid: PID) -> Connection:
        if not self._peers[pid.address].is_connected:
            raise KeyError(pid)
        return Connection(pid, self._disconnect)

    def __iter__(self) -> Iterator[PID]:
        return (PID(*address, "") for address, peer in self._peers.items() if peer.is_connected)

    def __len__(self) -> int:
        return sum(1 for _ in self)
