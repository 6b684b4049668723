"""What the OS processes of the demo do: the leader and its followers, which tell what they see."""

from __future__ import annotations

import threading

from compactor.cli.child import tell, wait_for_parent
from compactor.context import Context
from compactor.errors import Reason
from compactor.pid import PID
from compactor.process import Process


class Leader(Process):
    """Answers every follower that registers, and watches it."""

    def __init__(self) -> None:
        super().__init__("leader")
        self.followers: dict[PID, str] = {}

    @Process.install("register")
    def register(self, from_pid: PID, body: bytes) -> None:
        self.followers[from_pid] = body.decode()
        self.link(from_pid)
        self.send(from_pid, "registered")
        tell("registered", body.decode())

    def exited(self, pid: PID, reason: Reason) -> None:
        tell("exited", self.followers.pop(pid), reason)
        for follower in self.followers:
            self.send(follower, "ping")

    @Process.install("pong")
    def pong(self, from_pid: PID, body: bytes) -> None:
        tell("pong", self.followers[from_pid])


class Follower(Process):
    """Registers with a leader and watches it; ends when the leader does."""

    def __init__(self, name: str, leader: PID) -> None:
        super().__init__(name)
        self.leader = leader
        self.over = threading.Event()

    def initialize(self) -> None:
        tell("pid", self.pid)  # before anything can come of what is sent
        self.send(self.leader, "register", self.name.encode())

    @Process.install("registered")
    def registered(self, from_pid: PID, body: bytes) -> None:
        self.link(from_pid)
        tell("linked")

    @Process.install("ping")
    def ping(self, from_pid: PID, body: bytes) -> None:
        self.send(from_pid, "pong")

    def exited(self, pid: PID, reason: Reason) -> None:
        tell("exited", pid.id, reason)
        self.over.set()


def run_leader() -> int:
    """Play the leader; return the exit status."""
    context = Context(ip="127.0.0.1", port=0)
    tell("pid", context.spawn(Leader()))
    wait_for_parent()
    context.stop()
    context.join()
    return 0


def run_follower(name: str, leader: str) -> int:
    """Play a follower; return the exit status."""
    context = Context(ip="127.0.0.1", port=0)
    follower = Follower(name, PID.from_string(leader))
    context.spawn(follower)
    threading.Thread(target=_set_without_parent, args=(follower.over,), daemon=True).start()
    follower.over.wait()
    context.stop()
    context.join()
    return 0


def _set_without_parent(over: threading.Event) -> None:
    wait_for_parent()
    over.set()
