"""Sockets and transports of simulated hosts, as ``System`` and asyncio know them."""

from __future__ import annotations

import asyncio
import errno
import os
from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from compactor.testing.memory_transport import MemoryTransport
from compactor.testing.segments import Way

if TYPE_CHECKING:
    from compactor.testing.simulated.host import Host
    from compactor.testing.simulated.turns import Turns

Address = tuple[str, int]

_STATES: dict[Any, str] = {errno.ECONNRESET: "reset", errno.ETIMEDOUT: "timed out"}
"""Of connections that have ended, by the number of the error."""


class HostSocket:
    """A socket of a simulated host: bound, listening or connected.

    Args:
        host: the host that it belongs to.
        local: its address.

    Attributes:
        transport: of a connected one.
        idle: seconds without a sign of life after which TCP keepalive asks for one.
        silence: seconds without a sign of life after which TCP keepalive ends a connection; None
            for never.
    """

    family = 2  # AF_INET, as numbers are the same everywhere in a trace

    def __init__(self, host: Host, local: Address) -> None:
        self.host = host
        self.local = local
        self.transport: HostTransport | None = None
        self.idle = 0.0
        self.silence: float | None = None
        self.is_closed = False
        self.is_listening = False
        self.waiting: deque[HostSocket] = deque()  # of a listening one: connected, not accepted
        self.accept_soon: Callable[[], object] | None = None

    def __repr__(self) -> str:
        return f"<HostSocket {self.local[0]}:{self.local[1]} of {self.host.name}>"

    def getsockname(self) -> Address:
        return self.local

    def getpeername(self) -> Address:
        if self.transport is None:
            raise OSError(errno.ENOTCONN, os.strerror(errno.ENOTCONN))
        peer: Address = self.transport.get_extra_info("peername")
        return peer

    def fileno(self) -> int:
        return -1

    def setblocking(self, flag: bool) -> None:
        """It never blocks."""

    def setsockopt(self, *_: Any) -> None:
        """What TCP of a simulated network does is not asked for by options."""

    def listen(self, backlog: int = 1024) -> None:
        if self.is_closed:
            raise OSError(errno.EBADF, os.strerror(errno.EBADF))
        self.is_listening = True

    def connected(self, sock: HostSocket) -> None:
        """Another host has connected to a listening socket."""
        sock.idle, sock.silence = self.idle, self.silence
        self.waiting.append(sock)
        if self.accept_soon is not None:
            self.accept_soon()

    def detach(self) -> int:
        return -1

    def shutdown(self, how: int) -> None:
        self.close()

    def close(self) -> None:
        if self.is_closed:
            return
        self.is_closed = True
        self.host.network.unbind(self)
        for sock in self.waiting:
            sock.close()
        self.waiting.clear()
        if self.transport is not None:
            self.transport.abort()  # does nothing after an end in order


class HostTransport(MemoryTransport):
    """One end of a connection between simulated hosts.

    Attributes:
        sock: the socket of this end.
        stuck: what has left and did not get through, in order.
        retry: seconds until it is sent again.
        is_silent: whether the other machine cannot be heard.
        is_forgotten: whether nothing gets through any more, though both ends think it does.
        crashes: how many times the machine had crashed when this was made.
        salvaged: what had arrived and was not read when the connection broke.
    """

    def __init__(self, sock: HostSocket, peername: Address, loop: Any, window: int) -> None:
        extra = {"socket": sock, "sockname": sock.local, "peername": peername}
        super().__init__(loop, extra, window=window)
        self.sock = sock
        self.host = sock.host
        self.turns: Turns = sock.host.turns
        self._world = loop
        self.is_forgotten = self.is_silent = False
        self.crashes: int = sock.host.crashes
        self._unacknowledged = 0
        self._heard: float = loop.now
        self._acks: deque[tuple[float, int]] = deque()
        self.salvaged: list[bytes] = []
        self.last_arrival = 0.0
        self.stuck: list[tuple[int, Callable[[], None]]] = []
        self.retry: float | None = None
        sock.transport = self

    @property
    def is_gone(self) -> bool:
        """Whether the host has crashed since, or this end is closed."""
        return self.turns.is_over or self._is_closed

    @property
    def addresses(self) -> str:
        """Those of this end and of the other one."""
        return " to ".join(
            f"{ip}:{port}" for ip, port in (self.sock.local, self.sock.getpeername())
        )

    def _can_read(self) -> bool:
        return self.host.reads and super()._can_read()

    @property
    def in_kernel(self) -> int:
        """Bytes that the system holds until the other machine has them."""
        held = self._unsent_bytes - self.get_write_buffer_size() if not self._is_closed else 0
        return held + self.unacknowledged

    # Acknowledgements are looked at when somebody asks, so that none takes an event.

    def sent(self, size: int) -> None:
        """So many bytes have left, and are to be acknowledged."""
        self._unacknowledged += size

    def will_hear(self, when: float, size: int) -> None:
        """The other machine acknowledges so many bytes, which is known here at that time."""
        acks = self._acks
        if acks:
            when = max(when, acks[-1][0])
            if acks[0][0] <= self._world.now:
                self._hear()
        acks.append((when, size))

    def _hear(self) -> None:
        acks, now = self._acks, self._world.now
        while acks and acks[0][0] <= now:
            self._heard, size = acks.popleft()
            self._unacknowledged -= size

    @property
    def unacknowledged(self) -> int:
        """Bytes that have left, and that the other machine has not acknowledged."""
        self._hear()
        return self._unacknowledged

    def acknowledged(self) -> tuple[bool, float]:
        """Whether an acknowledgement is due, and seconds since the last one."""
        acks, now = self._acks, self._world.now
        if acks and acks[0][0] <= now:
            self._hear()
        return self._unacknowledged > 0, now - self._heard

    @property
    def heard(self) -> float:
        """The time of the world when the other machine was last heard of."""
        self._hear()
        return self._heard

    def came(self) -> None:
        """Something of the other machine has arrived."""
        self._heard = self._world.now

    def probed(self) -> None:
        """Up to now the other machine has answered when TCP keepalive has asked it."""
        ago = self._world.now - self.heard
        if 0 < self.sock.idle < ago:
            self._heard = self._world.now - ago % self.sock.idle

    def carry(self, size: int, arrive: Callable[[], None]) -> object:
        self.host.network.carry(self, size, arrive)
        return None

    def segment_size(self, available: int) -> int:
        return self.host.network.segment_size(available)

    def answer_with_reset(self) -> None:
        """The host was started anew, and knows nothing of this connection."""
        self.drop_what_is_on_its_way()
        self._has_reset = False
        self._send_reset()

    def drop_what_is_on_its_way(self) -> None:
        """What has left this end does not arrive."""
        self.stuck.clear()
        self._way = Way()

    def close_for_dead_program(self) -> None:
        """The program has ended without closing it: the system sends what it holds, and the end."""
        self._send()
        if not self._is_closed:
            self._close_now(None)

    def read_on(self) -> None:
        """The host reads again."""
        self._read_soon()

    def break_off(self, error: OSError) -> None:
        """The system gives the connection up."""
        if not self._is_closed:
            self._lose(error)

    def _lose(self, error: BaseException | None) -> None:
        self.salvaged += [content for content in self._unread if type(content) is bytes]
        network = self.host.network
        network.forget(self)
        if not self._is_closed:
            number = getattr(error, "errno", None)
            state = "closed" if error is None else _STATES.get(number, "broken")
            network.tell(self.host, self.peer.host, state, self.addresses)  # type: ignore[attr-defined]
        super()._lose(error)


class HostServer(asyncio.AbstractServer):
    """A listening socket whose connections are accepted."""

    def __init__(
        self, loop: Any, sock: HostSocket, make: Callable[[], asyncio.BaseProtocol]
    ) -> None:
        self._loop = loop
        self._sock = sock
        self._make = make
        self._turns = loop.turns
        self._closed: asyncio.Future[None] = loop.create_future()

    @property
    def sockets(self) -> tuple[HostSocket, ...]:
        return () if self._sock.is_closed else (self._sock,)

    def get_loop(self) -> Any:
        return self._loop

    def is_serving(self) -> bool:
        return self._sock.accept_soon is not None and not self._sock.is_closed

    async def start_serving(self) -> None:
        self._sock.listen()
        self._sock.accept_soon = self._accept_soon
        if self._sock.waiting:
            self._accept_soon()

    async def serve_forever(self) -> None:
        await self.start_serving()
        await asyncio.shield(self._closed)

    def close(self) -> None:
        self._sock.close()
        if not self._closed.done():
            self._closed.set_result(None)

    async def wait_closed(self) -> None:
        await asyncio.shield(self._closed)

    def _accept_soon(self) -> None:
        self._loop.put_call(self._turns, self._accept)

    def _accept(self) -> None:
        while self._sock.waiting:
            sock = self._sock.waiting.popleft()
            try:
                protocol = self._make()
            except Exception as error:
                sock.close()
                self._loop.call_exception_handler(
                    {"message": "a connection could not be accepted", "exception": error}
                )
                return
            assert sock.transport is not None
            sock.transport.open(protocol)
