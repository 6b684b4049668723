"""What tests of processes share: a receiver that records, and ways to wait for events."""

from __future__ import annotations

import itertools
import queue
import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any, TypeVar

from compactor import PID, Context, DeadLetter, Process, install

SomeProcess = TypeVar("SomeProcess", bound=Process)

_watchers = itertools.count(1)

TIMEOUT = 20.0  # seconds until something that should have happened at once counts as missing


class Patience:
    """Time that is waited in steps.  One that takes longer, as the machine was paused or busy with
    others, counts as little more than itself.

    Attributes:
        step: seconds to wait before ``is_over`` is asked the next time.
    """

    def __init__(self, seconds: float, step: float = 0.1) -> None:
        self.step = min(step, seconds)
        self._left = seconds
        self._asked = time.monotonic()

    @property
    def is_over(self) -> bool:
        """Whether all of it has been waited."""
        now = time.monotonic()
        self._left -= min(now - self._asked, 2 * self.step)
        self._asked = now
        return self._left <= 0


def peer_of(context: Context, to: PID) -> Any:
    """What a context has for the address of a pid.

    Its loop makes it: this thread would make another one, and the loop may not have begun.
    """
    peer: Future[Any] = Future()
    context._portal.post(lambda: peer.set_result(context._runtime.peer(to.address)))
    return peer.result(TIMEOUT)


class Events:
    """What happened, in order: handlers put, tests take.

    Attributes:
        taken: the last items that were.
    """

    def __init__(self) -> None:
        self._items: queue.Queue[Any] = queue.Queue()
        self.taken: deque[Any] = deque(maxlen=10)

    def put(self, item: Any) -> None:
        """Record ``item``."""
        self._items.put(item)

    def take(self, timeout: float = TIMEOUT) -> Any:
        """The oldest item that was not taken; fails if none comes."""
        patience = Patience(timeout)
        while True:
            try:
                item = self._items.get(timeout=patience.step)
            except queue.Empty:
                assert not patience.is_over, f"nothing happened within {timeout} s"
            else:
                self.taken.append(item)
                return item

    def take_many(self, count: int) -> list[Any]:
        """The ``count`` oldest items that were not taken."""
        return [self.take() for _ in range(count)]

    @property
    def is_empty(self) -> bool:
        """Whether everything that was recorded has been taken."""
        return self._items.empty()


class Receiver(Process):
    """Records its messages, named ``message``, and its exits."""

    def __init__(self, name: str = "receiver") -> None:
        super().__init__(name)
        self.received = Events()
        self.exits = Events()

    @install("message")
    def message(self, from_pid: PID, body: bytes) -> None:
        self.received.put((from_pid, body))

    def exited(self, pid: PID, reason: Any) -> None:
        self.exits.put((pid, reason))


def spawned(context: Context, process: SomeProcess) -> SomeProcess:
    """The process, now live."""
    context.spawn(process)
    return process


def settle(*processes: Process) -> None:
    """Wait until each process has served what was put into its mailbox before this call."""
    for process in processes:
        process.context.dispatch(process.pid, lambda: None).result(TIMEOUT)


def wait_until(condition: Callable[[], object]) -> None:
    """Wait for what no event tells."""
    patience = Patience(TIMEOUT, step=0.005)
    while not condition():
        assert not patience.is_over, "it did not come about in time"
        time.sleep(patience.step)


def end(process: Process, inject: bool = True) -> None:
    """Terminate a process and wait until it has ended."""
    context = process.context
    watcher = Receiver(f"watcher({next(_watchers)})")
    context.spawn(watcher)
    watcher.link(process.pid)
    context.terminate(process.pid, inject)
    assert watcher.exits.take() == (process.pid, "terminated")
    context.terminate(watcher.pid)


def dead_letters(context: Context) -> Events:
    """The dead letters of a context, from now on."""
    letters = Events()
    context.on_dead_letter(letters.put)
    return letters


def take_letter(letters: Events) -> DeadLetter:
    """The next dead letter."""
    letter = letters.take()
    assert isinstance(letter, DeadLetter)
    return letter


def duration(call: Callable[[], Any]) -> float:
    """The seconds that a call takes."""
    begin = time.monotonic()
    call()
    return time.monotonic() - begin
