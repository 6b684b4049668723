"""``Demo``: starts its roles as OS processes, has one killed, and tells what they report."""

from __future__ import annotations

import contextlib
import sys
import tempfile
import time
from collections.abc import Callable
from types import TracebackType
from typing import IO

from compactor.cli.child import Child, ChildError

Tell = Callable[[int, str, str], None]


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
        if kind is ChildError:
            self._stderr.seek(0)
            sys.stderr.write(self._stderr.read().decode(errors="replace"))
        self._cleanup.close()

    def run(self) -> str:
        """Play it; return a sentence or two that sum it up.

        Raises:
            ChildError: a step did not happen.
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

    def _start(self, name: str, args: list[str]) -> tuple[Child, str]:
        child = Child(name, args, self._stderr)
        self._cleanup.callback(child.close)
        (address,) = child.expect("pid", self._timeout)
        self._step(name, f"starts as OS process {child.os_pid}; its address is {address}")
        return child, address

    def _meet(self, leader: Child, followers: list[Child]) -> None:
        names = sorted(leader.expect("registered", self._timeout)[0] for _ in followers)
        both = " and ".join(names)
        self._step("leader", f"gets 'register' from {both}, links to them and answers")
        for follower in followers:
            follower.expect("linked", self._timeout)
        self._step("followers", "get 'registered' and link to the leader")

    def _lose(self, leader: Child, victim: Child) -> float:
        self._step("demo", f"kills {victim.name} (SIGKILL): it has no chance to say goodbye")
        killed = time.perf_counter()
        victim.kill()
        name, reason = leader.expect("exited", self._timeout)
        seconds = time.perf_counter() - killed
        self._step("leader", f"is told that {name} has exited (reason: {reason})")
        return seconds

    def _part(self, leader: Child, follower: Child) -> None:
        self._step("demo", "tells the leader to stop")
        leader.dismiss()
        leader.expect_end(self._timeout)
        name, reason = follower.expect("exited", self._timeout)
        self._step(follower.name, f"is told that {name} has exited (reason: {reason})")
        follower.expect_end(self._timeout)
        self._step(follower.name, "ends as well, with status 0")
