"""The section "On two hosts" of docs/cluster.md, as its reader follows it: its files and commands,
in order, on two hosts with the addresses that it names, beside a real ZooKeeper.

Each host has one shell.  ``<!-- first host -->`` above a block is where it is typed, or where it is
to be read; ``<!-- prints -->`` is where the block before it was typed.
"""

from __future__ import annotations

import contextlib
import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.reliability.hosts import Host, make_network
from tests.test_docs import BLOCK, ROOT
from tests.zookeeper import START_SECONDS, Server, skip_if_missing

pytest.importorskip("kazoo", reason="zk:// needs kazoo")

SECTION = re.search(
    r"^## On two hosts\n(.*?)^## ",
    (ROOT / "docs" / "cluster.md").read_text("utf-8"),
    re.MULTILINE | re.DOTALL,
)
SECONDS = 60.0  # for anything to be printed, on a busy machine
ADDRESSES = {"first host": "192.0.2.1", "second host": "192.0.2.2"}
PORT = 2181


class Shell:
    """A shell on a host: what its reader types, and what is printed to its terminal."""

    def __init__(self, host: Host, folder: Path) -> None:
        environ = {n: v for n, v in os.environ.items() if not n.startswith(("LIBPROCESS_", "SSL_"))}
        environ["PATH"] = os.pathsep.join([str(Path(sys.executable).parent), environ["PATH"]])
        environ["PYTHONPATH"] = str(ROOT)
        self._popen = subprocess.Popen(
            [*host.prefix, "sh"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            cwd=folder,
            env=environ,
            start_new_session=True,
        )
        self._lines: list[str] = []
        self._read = 0  # lines before the last one that was expected
        self._more = threading.Condition()
        self._thread = threading.Thread(target=self._listen, daemon=True)
        self._thread.start()

    def type(self, commands: str) -> None:
        assert self._popen.stdin is not None
        self._popen.stdin.write(commands.encode())
        self._popen.stdin.flush()

    def expect(self, start: str) -> None:
        """Wait for a line that begins so, behind the one that was expected before."""
        deadline = time.monotonic() + SECONDS
        with self._more:
            while True:
                for number in range(self._read, len(self._lines)):
                    if self._lines[number].startswith(start):
                        self._read = number + 1
                        return
                assert self._more.wait(deadline - time.monotonic()), (
                    f"not printed: {start!r}, but: {self.printed}"
                )

    @property
    def printed(self) -> str:
        return "\n".join(self._lines)

    def _listen(self) -> None:
        assert self._popen.stdout is not None
        for line in self._popen.stdout:
            with self._more:
                self._lines.append(line.decode().rstrip("\n"))
                self._more.notify()

    def close(self) -> None:
        """End all that was started there."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._popen.pid, signal.SIGKILL)
        self._popen.wait(20)
        self._thread.join(20)
        for pipe in (self._popen.stdin, self._popen.stdout):
            assert pipe is not None
            pipe.close()


@pytest.fixture
def shells(tmp_path: Path) -> Iterator[dict[str, Shell]]:
    """One shell for each host, and a ZooKeeper that the page says is there."""
    skip_if_missing()
    with contextlib.ExitStack() as stack:
        network = stack.enter_context(contextlib.contextmanager(make_network)())
        hosts = {name: network.add_host(ip) for name, ip in ADDRESSES.items()}
        first = hosts["first host"]
        server = Server(tmp_path / "zookeeper", 1, PORT, [], first.ip, first.prefix)
        stack.callback(server.kill)
        server.start()
        _wait_for(server, first)
        shells = {}
        for name, host in hosts.items():
            folder = tmp_path / name
            folder.mkdir()
            shells[name] = Shell(host, folder)
            stack.callback(shells[name].close)
        yield shells


def _wait_for(server: Server, host: Host) -> None:
    """Wait until a server serves clients on its host."""
    deadline = time.monotonic() + START_SECONDS
    connect = f"import socket; socket.create_connection(({host.ip!r}, {PORT}), timeout=1)"
    while True:
        try:
            return host.run(sys.executable, "-S", "-c", connect)
        except subprocess.CalledProcessError:
            if not server.is_alive or time.monotonic() > deadline:
                raise AssertionError(server.log.read_text()[-2000:]) from None
            time.sleep(0.1)


@pytest.mark.slow
def test_the_page_can_be_followed_on_two_hosts(shells: dict[str, Shell], tmp_path: Path) -> None:
    assert SECTION is not None
    shell = None
    for block in BLOCK.finditer(SECTION[1]):
        note, language, text = block["note"] or "", block["language"], block["text"]
        if language == "python":
            file = re.match(r"not run: (\w+\.py), run on two hosts", note)
            assert file is not None, note
            for name in shells:
                (tmp_path / name / file[1]).write_text(text, "utf-8")
            continue
        if note != "prints":
            shell = shells[note]
        assert shell is not None
        if language == "sh":
            shell.type(text)
        else:
            for line in text.splitlines():
                shell.expect(line)
    for each in shells.values():
        assert "Traceback" not in each.printed
    customer = [line for line in shells["first host"].printed.splitlines() if "answered by" in line]
    assert customer == [
        "answered by 192.0.2.1 192.0.2.2 - 0 lost",
        "answered by 192.0.2.1 - 0 lost",
    ]
