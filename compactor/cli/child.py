"""A command in an OS process of its own: ``Child`` for who starts it, ``tell`` for itself.

It writes one line per event to its standard output, and ends when its standard input does: so none
is left behind, however its parent ends.
"""

from __future__ import annotations

import os
import queue
import subprocess
import sys
import threading
from collections.abc import Mapping
from typing import IO


class ChildError(Exception):
    """A child did not do what was waited for."""


class Child:
    """One OS process, and the events that it reports.

    Args:
        name: what it is called.
        args: the arguments of the ``compactor`` command that it runs.
        stderr: where its standard error goes.
        environ: environment variables to set; those that are None are not set.
    """

    def __init__(
        self,
        name: str,
        args: list[str],
        stderr: IO[bytes],
        environ: Mapping[str, str | None] | None = None,
    ) -> None:
        self.name = name
        variables = {**os.environ, **(environ or {})}
        self._process = subprocess.Popen(
            [sys.executable, "-m", "compactor.cli", *args],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=stderr,
            env={
                name: value
                for name, value in variables.items()
                if value is not None and not name.startswith(("LIBPROCESS_", "SSL_"))
            },
        )
        # No SimpleQueue: its get(timeout=...) can wait for ever (CPython 3.10).
        self._events: queue.Queue[list[str]] = queue.Queue()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    @property
    def os_pid(self) -> int:
        """The number by which the operating system knows it."""
        return self._process.pid

    def _read(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            self._events.put(line.decode().rstrip("\r\n").split("\t"))
        self._events.put(["end"])

    def expect(self, event: str, timeout: float) -> list[str]:
        """The arguments of its next event, which must be ``event``.

        Raises:
            ChildError: another event came, or none in time.
        """
        try:
            found, *args = self._events.get(timeout=timeout)
        except queue.Empty:
            raise ChildError(f"{self.name} did not report {event!r} within {timeout:g} s") from None
        if found != event:
            raise ChildError(f"{self.name} reported {[found, *args]} instead of {event!r}")
        return args

    def kill(self) -> None:
        """End it at once: SIGKILL, where there are signals."""
        self._process.kill()
        self._process.wait()

    def dismiss(self) -> None:
        """Tell it that all is over."""
        assert self._process.stdin is not None
        self._process.stdin.close()

    def expect_end(self, timeout: float) -> None:
        """Wait for it to end by itself.

        Raises:
            ChildError: it did not end in time, or not with status 0.
        """
        try:
            status = self._process.wait(timeout)
        except subprocess.TimeoutExpired:
            raise ChildError(f"{self.name} did not end within {timeout:g} s") from None
        if status != 0:
            raise ChildError(f"{self.name} ended with status {status}")

    def close(self) -> None:
        """Make sure that nothing of it is left."""
        if self._process.poll() is None:
            self.kill()
        self._reader.join()
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                pipe.close()


def tell(event: str, *args: object) -> None:
    """Report an event to the parent."""
    sys.stdout.write("\t".join([event, *map(str, args)]) + "\n")
    sys.stdout.flush()


def wait_for_parent() -> None:
    """Wait until the parent dismisses this child, or has ended."""
    while os.read(0, 1024):
        pass
