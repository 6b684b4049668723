"""Links and exits against a model: whatever is done in whatever order, each exit that is due comes
once, with a fitting reason, and no other.

The model knows which pids each linker watches.  An operation on a context, a process or a
connection tells it which exits are due; they are awaited at once, so that the model and the world
stay in step.
"""

from __future__ import annotations

import threading

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    rule,
)

from compactor import PID, Context, Reason
from tests.actors import Receiver, wait_until
from tests.ports import own_port

HOSTS = 3
NAMES = ("a", "b")
GONE = (Reason.CLOSED, Reason.RESET, Reason.TERMINATED)
"""What a linker sees of a context that ends: its processes end before it does."""


class LinkModel(RuleBasedStateMachine):
    """Three contexts of two processes each, and what each process has to hear."""

    def __init__(self) -> None:
        super().__init__()
        self.contexts: dict[int, Context] = {}
        self.ports: dict[int, int] = {}
        self.processes: dict[PID, Receiver] = {}
        self.watched: dict[PID, set[PID]] = {}  # by the linker

    @initialize()
    def start(self) -> None:
        for host in range(HOSTS):
            self._start(host)

    def teardown(self) -> None:
        for context in self.contexts.values():
            context.stop()
        for context in self.contexts.values():
            context.join(10)

    def _start(self, host: int) -> None:
        port = self.ports.setdefault(host, own_port())
        self.contexts[host] = Context(ip="127.0.0.1", port=port)
        for name in NAMES:
            self._spawn(host, name)

    def _spawn(self, host: int, name: str) -> None:
        process = Receiver(name)
        pid = self.contexts[host].spawn(process)
        self.processes[pid] = process
        self.watched[pid] = set()

    def _pid(self, host: int, name: str) -> PID:
        return PID("127.0.0.1", self.ports[host], name)

    def _is_live(self, pid: PID) -> bool:
        return pid in self.processes

    def _wait_for_end(self, pid: PID, host: int) -> None:
        """A process ends on its loop's thread, a moment after it was asked to."""
        wait_until(lambda: self.contexts[host]._runtime.registry.mailbox_of(pid) is None)

    def _gone(self, pids: set[PID], reasons: tuple[Reason, ...], only: int | None = None) -> None:
        """Pids are gone, for all linkers or those on one host: their exits are due."""
        for linker, watched in self.watched.items():
            if only is not None and linker.port != self.ports[only]:
                continue
            due = watched & pids
            watched -= due
            seen = [self.processes[linker].exits.take() for _ in due]
            assert {pid for pid, _ in seen} == due
            assert {reason for _, reason in seen} <= set(reasons), seen

    # What happens

    @rule(data=st.data(), host=st.integers(0, HOSTS - 1), to=st.integers(0, HOSTS - 1))
    def link(self, data: st.DataObject, host: int, to: int) -> None:
        linker = self._pid(host, data.draw(st.sampled_from(NAMES), label="linker"))
        target = self._pid(to, data.draw(st.sampled_from((*NAMES, "nobody")), label="target"))
        if not self._is_live(linker) or linker == target:
            return
        process = self.processes[linker]
        process.link(target, reconnect=data.draw(st.booleans(), label="reconnect"))
        self.watched[linker].add(target)
        if not self._is_live(target):
            is_down = to not in self.contexts
            reasons = (Reason.REFUSED,) if is_down else (Reason.NO_PROCESS,)
            self._gone({target}, reasons)
        elif host != to:
            process.send(target, "message")  # so that the link has arrived
            assert self.processes[target].received.take() == (linker, b"")

    @rule(host=st.integers(0, HOSTS - 1), name=st.sampled_from(NAMES), inject=st.booleans())
    def terminate(self, host: int, name: str, inject: bool) -> None:
        pid = self._pid(host, name)
        if not self._is_live(pid):
            return
        self.contexts[host].terminate(pid, inject=inject)
        del self.processes[pid], self.watched[pid]
        self._gone({pid}, (Reason.TERMINATED,))
        self._wait_for_end(pid, host)

    @rule(host=st.integers(0, HOSTS - 1), name=st.sampled_from(NAMES))
    def spawn(self, host: int, name: str) -> None:
        if host in self.contexts and not self._is_live(self._pid(host, name)):
            self._spawn(host, name)

    @rule(host=st.integers(0, HOSTS - 1))
    def stop(self, host: int) -> None:
        context = self.contexts.pop(host, None)
        if context is None:
            return
        pids = {self._pid(host, name) for name in (*NAMES, "nobody")}
        for pid in pids & set(self.processes):
            del self.processes[pid], self.watched[pid]
        context.stop()
        context.join(10)
        self._gone(pids, GONE)

    @rule(host=st.integers(0, HOSTS - 1))
    def start_again(self, host: int) -> None:
        if host not in self.contexts:
            self._start(host)

    @rule(host=st.integers(0, HOSTS - 1), to=st.integers(0, HOSTS - 1))
    def disconnect(self, host: int, to: int) -> None:
        if host == to or host not in self.contexts:
            return
        self.contexts[host].disconnect(self._pid(to, "a"))
        self._gone({self._pid(to, name) for name in NAMES}, (Reason.DISCONNECTED,), only=host)

    @rule(host=st.integers(0, HOSTS - 1))
    def kill_connections(self, host: int) -> None:
        """What a host has accepted breaks, as when something on the way forgets them."""
        context = self.contexts.get(host)
        if context is None:
            return
        pids = {self._pid(host, name) for name in NAMES}
        server = context._runtime.server
        context._portal.call(server.abort)
        for other in range(HOSTS):
            if other != host:
                self._gone(pids, (Reason.CLOSED, Reason.RESET), only=other)

    # What must hold

    def _settle(self) -> None:
        """Wait until every context has done what it was asked for."""
        for context in self.contexts.values():
            done = threading.Event()
            context._portal.call(done.set)
            assert done.wait(5)

    @invariant()
    def nobody_hears_of_an_exit_that_is_not_due(self) -> None:
        self._settle()
        for pid, process in self.processes.items():
            assert process.exits.is_empty, pid

    @invariant()
    def contexts_watch_what_the_model_says(self) -> None:
        self._settle()
        for host, context in self.contexts.items():
            links = {pid: watched for pid, watched in self.watched.items() if watched}
            mine = {pid: watched for pid, watched in links.items() if pid.port == self.ports[host]}
            assert context._links == mine


TestLinkModel = pytest.mark.timeout(110)(LinkModel.TestCase)
TestLinkModel.settings = settings(
    max_examples=60,
    stateful_step_count=25,
    deadline=None,
    database=None,
    suppress_health_check=list(HealthCheck),
)
