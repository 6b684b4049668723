"""``notifying``: what systemd is told, on a socket of its kind."""

from __future__ import annotations

import asyncio
import os
import socket
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from compactor import Context
from compactor.systemd import notifying
from tests.actors import TIMEOUT

pytestmark = pytest.mark.skipif(not hasattr(socket, "AF_UNIX"), reason="systemd is Linux's")


@pytest.fixture
def manager(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[socket.socket]:
    """The socket of a service manager."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
        path = str(tmp_path / "notify")
        sock.bind(path)
        sock.settimeout(TIMEOUT)
        monkeypatch.setenv("NOTIFY_SOCKET", path)
        yield sock


def told(manager: socket.socket) -> list[str]:
    return manager.recv(4096).decode().split("\n")


def test_a_program_is_ready_lives_and_stops(
    manager: socket.socket, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WATCHDOG_USEC", "40000")
    monkeypatch.setenv("WATCHDOG_PID", str(os.getpid()))

    async def main() -> None:
        async with Context(ip="127.0.0.1") as context, notifying(context, "two\nlines"):
            assert told(manager) == ["READY=1", "STATUS=two lines"]
            assert told(manager) == ["WATCHDOG=1"]
            await asyncio.sleep(0.03)
            assert told(manager) == ["WATCHDOG=1"]
            manager.setblocking(False)
            while True:  # what else has come by now
                try:
                    told(manager)
                except BlockingIOError:
                    break
            time.sleep(0.05)  # noqa: ASYNC251 - the loop is held, and lags behind by more than half of the time
            await asyncio.sleep(0)
            await asyncio.sleep(0)
            with pytest.raises(BlockingIOError):
                told(manager)
            await context.aclose(drain=1)
            while (line := told(manager)) == ["WATCHDOG=1"]:
                pass
            assert line == ["STOPPING=1"]

    asyncio.run(main())


def test_the_end_of_the_block_is_told_once(manager: socket.socket) -> None:
    async def main() -> None:
        async with Context(ip="127.0.0.1") as context:
            async with notifying(context):
                assert told(manager) == ["READY=1"]
            assert told(manager) == ["STOPPING=1"]
            await context.aclose(drain=1)
        manager.setblocking(False)
        with pytest.raises(BlockingIOError):
            told(manager)

    asyncio.run(main())


def test_a_watchdog_of_another_program_is_not_fed(
    manager: socket.socket, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WATCHDOG_USEC", "1000")
    monkeypatch.setenv("WATCHDOG_PID", "1")

    async def main() -> None:
        async with Context(ip="127.0.0.1") as context, notifying(context):
            await asyncio.sleep(0.01)
        assert [told(manager), told(manager)] == [["READY=1"], ["STOPPING=1"]]

    asyncio.run(main())


@pytest.mark.parametrize("path", ["/nobody/is/here", "no path", "@compactor-nobody"])
def test_a_manager_that_cannot_be_told_is_a_line_in_the_log(
    path: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("NOTIFY_SOCKET", path)

    async def main() -> None:
        async with Context(ip="127.0.0.1") as context, notifying(context):
            pass

    asyncio.run(main())
    assert "systemd cannot be told READY=1" in caplog.text


def test_without_a_manager_nothing_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NOTIFY_SOCKET", raising=False)

    async def main() -> None:
        async with Context(ip="127.0.0.1") as context, notifying(context):
            assert not context._runtime.leaving.hooks

    asyncio.run(main())
