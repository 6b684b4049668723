"""Real ZooKeeper servers for tests: Debian's package, one server or an ensemble, in a folder.

``with zookeeper(tmp_path) as ensemble`` starts one; the test is skipped where none is installed.
Servers listen on loopback, their ticks are 200 ms, and a session may have 0.4 to 20 seconds.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from tests.ports import own_port

TICK_MS = 200
MOST_SESSION_MS = 60_000
START_SECONDS = 60.0
"""How long servers may take to begin, on a busy machine; two seconds on a quiet one."""

_LIBRARIES = Path("/usr/share/java")
_MAIN = "org.apache.zookeeper.server.quorum.QuorumPeerMain"
# Servers of tests are small and short-lived: no time for the good compiler, no heap to speak of.
_JVM = (
    "-Xms16m", "-Xmx128m", "-Xshare:auto", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1",
    "-Dzookeeper.forceSync=no",  # what is killed here is a process, never the machine
    "-Dzookeeper.preAllocSize=64",
    "-Dzookeeper.cnxTimeout=500",  # of an election: a server that is gone is not waited for
)  # fmt: skip


def why_missing() -> str:
    """Why no server can be started on this machine; empty if one can."""
    if sys.platform != "linux":
        return "ZooKeeper of Debian is for Linux"
    if shutil.which("java") is None or not (_LIBRARIES / "zookeeper.jar").exists():
        return "no ZooKeeper on this machine: apt install zookeeper"
    return ""


def skip_if_missing() -> None:
    """Skip the test where ZooKeeper is not installed, unless ``COMPACTOR_REQUIRE_INTEROP`` is set,
    as it fails without other peers then.
    """
    if reason := why_missing():
        if os.environ.get("COMPACTOR_REQUIRE_INTEROP"):
            pytest.fail(f"COMPACTOR_REQUIRE_INTEROP is set, but: {reason}")
        pytest.skip(reason)


class Server:
    """One server, which may be stopped, killed, paused and started again with what it had stored.

    Attributes:
        number: from 1, as in its configuration.
        port: where clients connect, on 127.0.0.1.
        log: the file of what it prints.

    On another host, ``prefix`` runs what is behind it there; what asks it has to be there as well.
    """

    def __init__(
        self,
        home: Path,
        number: int,
        port: int,
        peers: list[str],
        ip: str = "127.0.0.1",
        prefix: Sequence[str] = (),
    ) -> None:
        self.number = number
        self.port = port
        self.log = home / "log"
        self._home = home
        self._prefix = prefix
        self._popen: subprocess.Popen[bytes] | None = None
        (home / "data").mkdir(parents=True)
        (home / "data" / "myid").write_text(str(number))
        lines = [
            f"tickTime={TICK_MS}", f"maxSessionTimeout={MOST_SESSION_MS}", f"dataDir={home}/data",
            f"clientPortAddress={ip}", f"clientPort={port}", "maxClientCnxns=0",
            "initLimit=20", "syncLimit=5", "admin.enableServer=false",
            "4lw.commands.whitelist=*", *(peers if len(peers) > 1 else []),
        ]  # fmt: skip
        (home / "zoo.cfg").write_text("\n".join([*lines, ""]))

    @property
    def address(self) -> str:
        """``host:port`` for clients."""
        return f"127.0.0.1:{self.port}"

    @property
    def pid(self) -> int:
        """Of its OS process."""
        assert self._popen is not None, "it has not been started"
        return self._popen.pid

    @property
    def is_alive(self) -> bool:
        """Whether the OS still runs it."""
        return self._popen is not None and self._popen.poll() is None

    def start(self) -> None:
        """Start it, which :meth:`wait_until_ready` waits for."""
        assert not self.is_alive, "it runs"
        libraries = f"{self._home}:{_LIBRARIES}/zookeeper.jar:{_LIBRARIES}/slf4j-simple.jar"
        java = ["java", *_JVM, "-cp", libraries, _MAIN, str(self._home / "zoo.cfg")]
        command = [*self._prefix, *java]
        if shutil.which("setpriv"):  # outlives no test run
            command = ["setpriv", "--pdeathsig", "KILL", *command]
        with self.log.open("ab") as log:
            self._popen = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd=self._home
            )

    def ask(self, word: str) -> str:
        """What it answers to a word of four letters such as ``srvr``; empty if nothing."""
        with (
            contextlib.suppress(OSError),
            socket.create_connection(("127.0.0.1", self.port), timeout=5) as sock,
        ):
            sock.sendall(word.encode())
            return b"".join(iter(lambda: sock.recv(65_536), b"")).decode()
        return ""

    @property
    def mode(self) -> str:
        """``standalone``, ``leader`` or ``follower``; empty while it serves nobody."""
        lines = [line for line in self.ask("srvr").splitlines() if line.startswith("Mode: ")]
        return lines[0].removeprefix("Mode: ") if lines else ""

    def wait_until_ready(self) -> None:
        """Wait until it serves clients."""
        deadline = time.monotonic() + START_SECONDS
        while not self.mode:
            if not self.is_alive or time.monotonic() > deadline:
                log = self.log.read_text(errors="replace")[-2000:]
                raise AssertionError(f"ZooKeeper does not come up; its log: {log}")
            time.sleep(0.02)

    def stop(self) -> None:
        """End it as operators do, by SIGTERM, and wait for that."""
        self._end(signal.SIGTERM)

    def kill(self) -> None:
        """``kill -9``, and wait until the OS is done with it."""
        self._end(signal.SIGKILL)

    def pause(self) -> None:
        """Have it do nothing, though its sockets stay."""
        os.kill(self.pid, signal.SIGSTOP)

    def resume(self) -> None:
        """Let a server go on that was paused."""
        os.kill(self.pid, signal.SIGCONT)

    def _end(self, number: signal.Signals) -> None:
        if self._popen is not None:
            if self.is_alive:
                self._popen.send_signal(number)
            self._popen.wait(20)


class Ensemble:
    """Servers of one ensemble, or one by itself.

    Attributes:
        servers: all of them, those that have ended too.
    """

    def __init__(self, home: Path, count: int = 1) -> None:
        ports = [own_port() for _ in range(count)]
        peers = [f"server.{n + 1}=127.0.0.1:{own_port()}:{own_port()}" for n in range(count)]
        self.servers = [
            Server(home / f"server{n + 1}", n + 1, port, peers) for n, port in enumerate(ports)
        ]

    @property
    def hosts(self) -> str:
        """All addresses, as in a URL: ``127.0.0.1:10001,127.0.0.1:10002``."""
        return ",".join(server.address for server in self.servers)

    def url(self, path: str, user: str = "") -> str:
        """``zk://...`` for a path such as ``/mesos``, with ``user:password`` if there is one."""
        return f"zk://{user}{'@' if user else ''}{self.hosts}{path}"

    @property
    def leader(self) -> Server:
        """The server that leads, or the only one; waits until there is one."""
        deadline = time.monotonic() + START_SECONDS
        while time.monotonic() < deadline:
            for server in self.servers:
                if server.is_alive and server.mode in ("leader", "standalone"):
                    return server
            time.sleep(0.05)
        raise AssertionError("no server leads")

    def start(self) -> None:
        """Start those that do not run, and wait until all serve clients."""
        for server in self.servers:
            if not server.is_alive:
                server.start()
        for server in self.servers:
            server.wait_until_ready()

    def kill(self) -> None:
        """``kill -9`` for all, also for those that are paused."""
        for server in self.servers:
            server.kill()


@contextlib.contextmanager
def zookeeper(home: Path, count: int = 1) -> Iterator[Ensemble]:
    """``count`` running servers with all that they store below ``home``; killed at the end."""
    skip_if_missing()
    ensemble = Ensemble(home, count)
    try:
        ensemble.start()
        yield ensemble
    finally:
        ensemble.kill()
