"""``Demo``: starts the parts as OS processes, has one killed, and tells what they report."""

from __future__ import annotations

import contextlib
import os
import queue
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from types import TracebackType
from typing import IO

Tell = Callable[[int, str, str], None]


class DemoError(Exception):
    """Something that the demo waits for did not happen."""


class Part:
    """One OS process of the demo, and the events that it reports.

    Args:
        name: what it is called in the demo.
        args: the arguments of the ``compactor`` command that it runs.
        stderr: where its standard error goes.
    """

    def __init__(self, name: str, args: list[str], stderr: IO[bytes]) -> None:
        self.name = name
        environ = {n: v for n, v in os.environ.items() if not n.startswith(("LIBPROCESS_", "SSL_"))}
        self._process = subprocess.Popen(
            [sys.executable, "-m", "compactor.cli", *args],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=stderr,
            env=environ,
        )
        self._events: queue.SimpleQueue[list[str]] = queue.SimpleQueue()
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
            DemoError: another event came, or none in time.
        """
        try:
            found, *args = self._events.get(timeout=timeout)
        except queue.Empty:
            raise DemoError(f"{self.name} did not report {event!r} within {timeout:g} s") from None
        if found != event:
            raise DemoError(f"{self.name} reported {[found, *args]} instead of {event!r}")
        return args

    def kill(self) -> None:
        """End it at once: SIGKILL, where there are signals."""
        self._process.kill()
        self._process.wait()

    def dismiss(self) -> None:
        """Tell it that the demo is over."""
        assert self._process.stdin is not None
        self._process.stdin.close()

    def expect_end(self, timeout: float) -> None:
        """Wait for it to end by itself.

        Raises:
            DemoError: it did not end in time, or not with status 0.
        """
        try:
            status = self._process.wait(timeout)
        except subprocess.TimeoutExpired:
            raise DemoError(f"{self.name} did not end within {timeout:g} s") from None
        if status != 0:
            raise DemoError(f"{self.name} ended with status {status}")

    def close(self) -> None:
        """Make sure that nothing of it is left."""
        if self._process.poll() is None:
            self.kill()
        self._reader.join()
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                pipe.close()


class Demo:
    """The demo, as a context manager that leaves no process behind.

    Args:
        timeout: seconds to wait for each step.
        tell: is given the number of a step, who acts, and what happens.
    """

    def __init__(self, timeout: float, tell: Tell) -> None:
        self._timeout = timeout
        self._tell = tell
        self._steps = 0
        with contextlib.ExitStack() as cleanup:
            self._stderr: IO[bytes] = cleanup.enter_context(tempfile.TemporaryFile())
            self._cleanup = cleanup.pop_all()

    def __enter__(self) -> Demo:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if kind is DemoError:
            self._stderr.seek(0)
            sys.stderr.write(self._stderr.read().decode(errors="replace"))
        self._cleanup.close()

    def run(self) -> str:
        """Play it; return a sentence or two that sum it up.

        Raises:
            DemoError: a step did not happen.
        """
        leader, address = self._start("leader", ["demo-leader"])
        followers = [
            self._start(name, ["demo-follower", name, address])[0]
            for name in ("follower-1", "follower-2")
        ]
        self._meet(leader, followers)
        seconds = self._lose(leader, followers[0])
        (alive,) = leader.expect("pong", self._timeout)
        self._step("leader", f"sends 'ping' to {alive}, which answers 'pong': it is not affected")
        self._part(leader, followers[1])
        return (
            "Three processes found, watched and lost each other over TCP.\n"
            f"A killed process was noticed after {seconds * 1000:.0f} ms; nothing is left running."
        )

    def _step(self, who: str, what: str) -> None:
        self._steps += 1
        self._tell(self._steps, who, what)

    def _start(self, name: str, args: list[str]) -> tuple[Part, str]:
        part = Part(name, args, self._stderr)
        self._cleanup.callback(part.close)
        (address,) = part.expect("pid", self._timeout)
        self._step(name, f"starts as OS process {part.os_pid}; its address is {address}")
        return part, address

    def _meet(self, leader: Part, followers: list[Part]) -> None:
        names = sorted(leader.expect("registered", self._timeout)[0] for _ in followers)
        both = " and ".join(names)
        self._step("leader", f"gets 'register' from {both}, links to them and answers")
        for follower in followers:
            follower.expect("linked", self._timeout)
        self._step("followers", "get 'registered' and link to the leader")

    def _lose(self, leader: Part, victim: Part) -> float:
        self._step("demo", f"kills {victim.name} (SIGKILL): it has no chance to say goodbye")
        killed = time.perf_counter()
        victim.kill()
        name, reason = leader.expect("exited", self._timeout)
        seconds = time.perf_counter() - killed
        self._step("leader", f"is told that {name} has exited (reason: {reason})")
        return seconds

    def _part(self, leader: Part, follower: Part) -> None:
        self._step("demo", "tells the leader to stop")
        leader.dismiss()
        leader.expect_end(self._timeout)
        name, reason = follower.expect("exited", self._timeout)
        self._step(follower.name, f"is told that {name} has exited (reason: {reason})")
        follower.expect_end(self._timeout)
        self._step(follower.name, "ends as well, with status 0")
