"""What connections ask of TCP, so that vanished hosts are noticed and slow programs are not ended.

That they are noticed in time, hosts of their own show: tests/reliability/test_hosts.py.
"""

from __future__ import annotations

import logging
import math
import socket
import sys
from collections.abc import Callable
from typing import Any

import pytest

from compactor import Context, Settings
from compactor.net import keepalive
from compactor.system import sockets
from tests.actors import Receiver, spawned

MakeContext = Callable[..., Context]

KEEPALIVE = ("TCP_KEEPIDLE", "TCP_KEEPINTVL", "TCP_KEEPCNT")


def asked(sock: Any) -> tuple[int, ...]:
    """Whether keepalive is on, and its three times."""
    times = [sock.getsockopt(socket.IPPROTO_TCP, getattr(socket, name)) for name in KEEPALIVE]
    return (int(sock.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE) != 0), *times)


def socket_of(transport: Any) -> Any:
    return transport.get_extra_info("socket")


@pytest.mark.skipif(sys.platform != "linux", reason="other systems spell the options differently")
@pytest.mark.parametrize(
    ("timeout", "idle", "interval", "count"),
    [(60.0, 20, 4, 10), (3, 1, 1, 2), (0.1, 1, 1, 1), (3600, 1200, 240, 10)],
)
def test_probes_end_a_silent_connection_at_the_peer_timeout(
    timeout: float, idle: int, interval: int, count: int
) -> None:
    with socket.socket() as sock:
        keepalive.probe(sock, timeout)
        assert asked(sock) == (1, idle, interval, count)


def test_an_infinite_peer_timeout_leaves_connections_to_the_kernel() -> None:
    with socket.socket() as sock:
        keepalive.probe(sock, math.inf)
        assert not sock.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)


def test_a_system_without_the_options_says_so_once_and_still_keeps_alive(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(sockets, "_IDLE", None)
    monkeypatch.setattr(sockets, "_COUNT", 10**6)  # known to Python, not to this kernel
    keepalive._tell_missing.cache_clear()
    with caplog.at_level(logging.DEBUG, "compactor"), socket.socket() as sock:
        for _ in range(2):
            keepalive.probe(sock, 60.0)
        assert sock.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)
    lines = [line for line in caplog.messages if line.startswith("TCP_KEEP")]
    assert [line.split()[0] for line in lines] == ["TCP_KEEPIDLE", "TCP_KEEPCNT"]


@pytest.mark.skipif(sys.platform != "linux", reason="other systems spell the options differently")
def test_connections_of_both_directions_keep_alive(
    make_context: MakeContext,
) -> None:
    settings = Settings(peer_timeout=30)
    context = make_context(settings=settings)
    here = spawned(context, Receiver())
    there = spawned(make_context(settings=settings), Receiver("there"))
    here.link(there.pid)
    here.send(there.pid, "message")
    there.received.take()
    expected = (1, 10, 2, 10)

    def outgoing() -> list[tuple[int, ...]]:
        runtime = context._runtime
        notices = runtime.peers[there.pid.address].links._connection
        return [asked(socket_of(c.transport)) for c in [*runtime.outgoing, notices]]

    def incoming() -> list[tuple[int, ...]]:
        connections = there.context._runtime.server.connections
        return [asked(socket_of(c._transport)) for c in connections]

    assert context.dispatch(here.pid, outgoing).result(5) == [expected] * 2
    assert there.context.dispatch(there.pid, incoming).result(5) == [expected] * 2


def test_a_peer_that_puts_acknowledgements_off_has_not_vanished(
    make_context: MakeContext,
) -> None:
    context = make_context(settings=Settings(peer_timeout=0.02))
    here, there = spawned(context, Receiver()), spawned(make_context(), Receiver("there"))
    here.link(there.pid)
    for number in range(20):  # no two at once, for then the system answers at once
        context.delay(0.03 * number, here.pid, here.send, there.pid, "message")
    there.received.take_many(20)
    assert here.exits.is_empty
