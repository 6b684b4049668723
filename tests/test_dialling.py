"""Connections that are given up while they are being made."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import Callable

import pytest

from compactor import Context
from tests.actors import Receiver, spawned, wait_until
from tests.tls_fixture import Certificates

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
