"""Programs of tests, each an OS process with one compactor process, here or on another host."""

from __future__ import annotations

import json
import queue
import signal
import subprocess
import sys
import threading
import time
from collections import defaultdict
from pathlib import Path
from typing import Any

from tests.ports import own_port
from tests.reliability.hosts import Host

ROOT = Path(__file__).parents[2]
PATIENCE = 20.0  # seconds for what should happen soon


class Program:
    """A running ``tests.reliability.node``.

    Args:
        host: where it runs, or None for this host.
        options: what the node is told: port, settings, log.
    """

    def __init__(self, host: Host | None = None, prefix: tuple[str, ...] = (), **options: Any):
        self.ip = host.ip if host else "127.0.0.1"
        command = [*(host.prefix if host else ()), *prefix, sys.executable, "-W", "ignore", "-m"]
        given = json.dumps({"ip": self.ip, "port": own_port(), **options})
        self._process = subprocess.Popen(
            [*command, "tests.reliability.node", given],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            cwd=ROOT,
        )
        self._events: defaultdict[str, queue.Queue[dict[str, Any]]] = defaultdict(queue.Queue)
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()
        started = self.take("started")
        self.pid: str = started["pid"]
        self.os_pid: int = started["process"]
        self.port = int(self.pid.rpartition(":")[2])

    def _read(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            event = json.loads(line)
            self._events[event["event"]].put(event)

    def tell(self, do: str, **fields: Any) -> float:
        """Have it do something; the time when it was told."""
        assert self._process.stdin is not None
        now = time.monotonic()
        self._process.stdin.write(json.dumps({"do": do, **fields}) + "\n")
        self._process.stdin.flush()
        return now

    def send(self, to: str, body: str, name: str = "message") -> float:
        """Have it send a message."""
        return self.tell("send", to=to, name=name, body=body)

    def take(self, event: str, timeout: float = PATIENCE) -> dict[str, Any]:
        """The next event of a kind; fails if there is none in time."""
        try:
            return self._events[event].get(timeout=timeout)
        except queue.Empty:
            raise AssertionError(f"no {event!r} event within {timeout} s") from None

    def say_nothing(self, event: str, seconds: float) -> None:
        """Fail as soon as there is an event of a kind, within so many seconds."""
        try:
            found = self._events[event].get(timeout=seconds)
        except queue.Empty:
            return
        raise AssertionError(f"{found} should not have come")

    def seen(self, event: str) -> int:
        """How many events of a kind have come and were not taken."""
        return self._events[event].qsize()

    def signal(self, number: signal.Signals) -> float:
        """Send a signal; the time when it was sent."""
        self._process.send_signal(number)
        return time.monotonic()

    def kill(self) -> float:
        """End it at once, as a crash does; the time when it was ended."""
        self._process.kill()
        now = time.monotonic()
        self._process.wait(PATIENCE)
        return now

    def finish(self) -> None:
        """Have it stop its context, and wait until it has ended by itself."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        self.take("stopped")
        assert self._process.wait(PATIENCE) == 0

    def close(self) -> None:
        """End it and free what it held."""
        if self._process.poll() is None:
            self._process.send_signal(signal.SIGCONT)
            self._process.kill()
        self._process.wait(PATIENCE)
        self._reader.join(PATIENCE)
        for stream in (self._process.stdin, self._process.stdout):
            assert stream is not None
            try:
                stream.close()
            except BrokenPipeError:
                continue
