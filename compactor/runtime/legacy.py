"""What programs written for 0.3.0 reach for although it was private: pesos does, and its tests."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from compactor.outbound.peer import Peer
from compactor.pid import PID, Address
from compactor.process import Process
from compactor.runtime.runtime import Runtime
from compactor.settings import Settings


def port_of(port: Any) -> Any:
    """A port as a number: 0.3.0 took the text of one as well, as it stands in ``sys.argv``."""
    return int(port) if isinstance(port, str) and port.isascii() and port.isdigit() else port


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


class LegacyState:
    """What 0.3.0's users read of a context, most of it private."""

    ip: str
    port: int
    disconnect: Callable[[PID], None]
    _runtime: Runtime

    @property
    def _processes(self) -> dict[PID, Process]:
        return {box.pid: box.process for box in list(self._runtime.registry.live.values())}

    @property
    def _links(self) -> dict[PID, set[PID]]:
        links: dict[PID, set[PID]] = {}
        for to, linkers in self._runtime.watches.links.items():
            for linker in linkers:
                links.setdefault(PID(self.ip, self.port, linker), set()).add(to)
        return links

    @property
    def _connections(self) -> Mapping[PID, Connection]:
        return Connections(dict(self._runtime.peers), self.disconnect)

    @classmethod
    def get_ip_port(cls, ip: str | None = None, port: int | None = None) -> tuple[str, int]:
        """The address that these arguments and the environment ask to bind.

        Raises:
            SettingsError: one of them has a bad value.
        """
        settings = Settings.from_environ(ip=ip, port=port_of(port))
        return settings.ip, settings.port
