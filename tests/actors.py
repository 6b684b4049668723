"""What tests of processes share: a receiver that records, and ways to wait for events."""

from __future__ import annotations

import itertools
import queue
import time
from collections.abc import Callable
from typing import Any, TypeVar

from compactor import PID, Context, DeadLetter, Process, install

SomeProcess = TypeVar("SomeProcess", bound=Process)

_watchers = itertools.count(1)

TIMEOUT = 5.0  # seconds until something that should have happened at once counts as missing


class Events:
    """What happened, in order: handlers put, tests take."""

    def __init__(self) -> None:
        self._items: queue.Queue[Any] = queue.Queue()

    def put(self, item: Any) -> None:
        """Record ``item``."""
        self._items.put(item)

    def take(self, timeout: float = TIMEOUT) -> Any:
        """The oldest item that was not taken; fails if none comes."""
        try:
            return self._items.get(timeout=timeout)
        except queue.Empty:
            raise AssertionError(f"nothing happened within {timeout} s") from None

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
    deadline = time.monotonic() + TIMEOUT
    while not condition():
        assert time.monotonic() < deadline, "it did not come about in time"
        time.sleep(0.005)


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
