"""Connections that are given up while they are being made."""

from __future__ import annotations

import asyncio
import gc
import socket
import sys
from collections.abc import Callable
from typing import Any, cast

import pytest

from compactor import PID, Context, Reason, Settings
from compactor.outbound import dial
from compactor.system.system import System
from tests.actors import TIMEOUT, Receiver, spawned, wait_until
from tests.raw import dead_port
from tests.tls_fixture import Certificates

LoopFactory = Callable[[], asyncio.AbstractEventLoop]
MakeContext = Callable[..., Context]


@pytest.mark.parametrize("secure", [False, True], ids=["plain", "tls"])
def test_disconnected_in_any_turn_of_dialling_nothing_is_left(
    make_context: MakeContext,
    certificates: Certificates,
    caplog: pytest.LogCaptureFixture,
    secure: bool,
) -> None:
    tls = certificates.settings() if secure else False
    context, there = make_context(tls=tls), spawned(make_context(tls=tls), Receiver("there"))
    here = spawned(context, Receiver("here"))
    pid = there.pid

    async def link_and_disconnect(turns: int) -> None:
        here.link(pid)
        for _ in range(turns):
            await asyncio.sleep(0)
        context.disconnect(pid)

    for turns in range(16):
        context.dispatch(here.pid, link_and_disconnect, turns).result(10)
        assert here.exits.take()[0] == pid
        wait_until(lambda: not context._runtime.outgoing)
        peer = context._runtime.peers.get(pid.address)
        assert peer is None or peer.is_idle
    gc.collect()
    assert "never retrieved" not in caplog.text


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux has all of 127.0.0.0/8")
def test_an_address_that_answers_nothing_leaves_time_to_the_next(
    make_context: MakeContext, deaf_port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def addresses_of(self: System, host: str, port: int) -> list[str]:
        return ["127.0.0.1", "127.0.0.2"]

    monkeypatch.setattr(System, "addresses_of", addresses_of)
    here = spawned(make_context(settings=Settings(connect_timeout=1)), Receiver())
    with socket.create_server(("127.0.0.2", deaf_port)) as server:
        server.settimeout(TIMEOUT)
        here.link(PID("two.example", deaf_port, "x"))
        connection, _ = server.accept()
        connection.close()
    assert here.exits.take()[1] in (Reason.CLOSED, Reason.RESET)


def test_a_socket_does_not_keep_the_number_of_a_connection_that_broke_at_once(
    new_loop: LoopFactory, listener: socket.socket, monkeypatch: pytest.MonkeyPatch
) -> None:
    """When it is collected it would close, and another connection may have the number by then."""
    sockets: list[socket.socket] = []
    connect_socket = dial._connect_socket

    async def seen(*args: Any) -> socket.socket:
        sockets.append(await connect_socket(*args))
        return sockets[-1]

    class Broken(asyncio.Protocol):
        def connection_made(self, transport: asyncio.BaseTransport) -> None:
            cast(asyncio.Transport, transport).abort()

    async def main() -> None:
        loop = asyncio.get_running_loop()
        await dial.dial(loop, listener.getsockname(), Broken, TIMEOUT, None)
        await asyncio.sleep(0)
        await asyncio.sleep(0)

    monkeypatch.setattr(dial, "_connect_socket", seen)
    loop = new_loop()
    loop.run_until_complete(main())
    loop.close()
    assert [each.fileno() for each in sockets] == [-1]


def test_a_socket_that_connects_to_itself_has_reached_nobody(
    new_loop: Callable[[], asyncio.AbstractEventLoop], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The kernel may choose the very port that is dialled, and that nobody listens at."""

    class Unlucky(socket.socket):
        def connect(self, address: Any) -> None:
            self.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            self.bind(address)
            super().connect(address)

    class Brief(asyncio.Protocol):
        def connection_made(self, transport: Any) -> None:
            transport.abort()

    port, loop = dead_port(), new_loop()
    monkeypatch.setattr(dial.socket, "socket", Unlucky)
    try:
        with pytest.raises(ConnectionRefusedError):
            loop.run_until_complete(dial.dial(loop, ("127.0.0.1", port), Brief, TIMEOUT, None))
    finally:
        loop.close()
