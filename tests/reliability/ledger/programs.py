"""Runs of the ledger with programs that are killed; each program is ``python -m`` this module.

A program says on its output what it is about to send, what it handled, and what was reported to
it; what it has said survives it.
"""

from __future__ import annotations

import json
import logging
import queue
import random
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

from compactor import PID, Context, DeadLetter, Process, install
from tests.ports import own_port
from tests.reliability.ledger.book import MODULUS, Book
from tests.reliability.ledger.contexts import PATIENCE, SIZES

ROOT = Path(__file__).parents[3]
STARTING = 20.0  # seconds


def say(what: str, *words: Any) -> None:
    """Print one line; the kernel has it before this returns."""
    sys.stdout.write(json.dumps([what, *words]) + "\n")
    sys.stdout.flush()


class Node(Process):
    """Sends what it is told to, and says what it handles."""

    @install("message")
    def message(self, from_pid: PID, body: bytes) -> None:
        say("handled", str(from_pid), str(self.pid), len(body))

    def burst(self, to: str, sizes: list[int]) -> None:
        """Send messages of these sizes in one turn."""
        for size in sizes:
            self.send(PID.from_string(to), "message", bytes(size))


def lettered(letter: DeadLetter) -> None:
    """Say what was reported."""
    if letter.sender is not None:  # else a peer tells what it has reported itself
        say("letter", str(letter.reason), letter.size, letter.name)


class Host:
    """One port in all its lives, and the program that listens there."""

    def __init__(self, number: int, run: Run) -> None:
        self.number = number
        self.run = run
        self.port = own_port()
        self.pid = ""
        self._process: subprocess.Popen[str] | None = None
        self._reader: threading.Thread | None = None

    def start(self) -> None:
        """Start its program, and wait until it listens."""
        command = [sys.executable, "-m", "tests.reliability.ledger.programs", str(self.port)]
        process = self._process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=ROOT
        )
        assert process.stdout is not None
        _, self.pid = json.loads(process.stdout.readline())
        self._reader = threading.Thread(target=self._read, args=(process,), daemon=True)
        self._reader.start()
        self.run.book.comes_up(self.number)

    def _read(self, process: subprocess.Popen[str]) -> None:
        assert process.stdout is not None
        for line in process.stdout:
            if line.endswith("\n"):  # the last one may be cut off by a kill
                self.run.said.put((self, json.loads(line)))

    def tell(self, *words: Any) -> None:
        """Have the program do something."""
        assert self._process is not None
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(words) + "\n")
        self._process.stdin.flush()

    def signal(self, number: signal.Signals) -> None:
        """Send the program a signal."""
        assert self._process is not None
        self._process.send_signal(number)

    def kill(self) -> None:
        """End the program at once; all that it has said is read."""
        process, self._process = self._process, None
        if process is None:
            return
        book = self.run.book
        book.goes_down(self.number)
        process.kill()
        process.wait(STARTING)
        for target in range(len(self.run.hosts)):
            book.loses(self.number, target)
        assert self._reader is not None
        self._reader.join(STARTING)
        for stream in (process.stdin, process.stdout):
            assert stream is not None
            try:
                stream.close()
            except BrokenPipeError:
                continue


class Run:
    """One random run of programs, some of which are killed or stopped in it."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)
        self.book = Book()
        # No SimpleQueue: its get(timeout=...) can wait for ever (CPython 3.10).
        self.said: queue.Queue[tuple[Host, list[Any]]] = queue.Queue()
        self.hosts = [Host(number, self) for number in range(self.random.randint(2, 3))]

    def play(self) -> None:
        """Start everything, do random things, and see that every message is accounted for."""
        try:
            for host in self.hosts:
                host.start()
            for _ in range(self.random.randint(20, 60)):
                self._do_something(self.random.choice(self.hosts))
                self._hear()
            end = time.monotonic() + PATIENCE
            while self.book.missing() and time.monotonic() < end:
                self._hear(0.005)
            self.book.strange += [f"{message} vanished" for message in self.book.missing()]
            self._hear(0.05)
        finally:
            for host in self.hosts:
                host.kill()
            self._hear()

    def _do_something(self, host: Host) -> None:
        pick = self.random.random()
        other = self.random.choice(self.hosts)
        if pick < 0.6:
            numbers = range(self.random.choice((1, 10, 100)))
            sent = [self.book.send(host.number, other.number, host.pid, other.pid) for _ in numbers]
            units = self.random.choice(SIZES)
            host.tell("burst", other.pid, [message.number + units * MODULUS for message in sent])
        elif pick < 0.75:
            host.tell("link", other.pid)
        elif pick < 0.9:
            time.sleep(self.random.choice((0.001, 0.01)))
        elif pick < 0.95:
            host.signal(signal.SIGSTOP)
            time.sleep(0.05)
            host.signal(signal.SIGCONT)
        else:
            host.kill()
            host.start()

    def _hear(self, seconds: float = 0.0) -> None:
        """Enter what the programs have said, for a while."""
        end = time.monotonic() + seconds
        while True:
            try:
                host, (what, *words) = self.said.get(timeout=max(0.0, end - time.monotonic()))
            except queue.Empty:
                return
            if what == "handled":
                self.book.handle(*words)
            elif what == "letter":
                self.book.letter(*words)
            else:
                target = next((h.number for h in self.hosts if h.port == words[0]), None)
                if target is not None:
                    self.book.changes(host.number, target, words[1])


def run(seed: int) -> Book:
    """Make one run; its book says what was wrong."""
    made = Run(seed)
    made.play()
    return made.book


def main() -> None:
    """Do what the lines of the input say, until it ends."""
    logging.disable(logging.CRITICAL)
    context = Context(ip="127.0.0.1", port=int(sys.argv[1]))
    context.on_dead_letter(lettered)
    watches = context._runtime.watches
    lost = watches.lost

    def peer_lost(address: Any, reason: Any) -> None:
        say("lost", address[1], time.monotonic())
        lost(address, reason)

    watches.lost = peer_lost  # type: ignore[method-assign]
    node = Node("node")
    say("started", str(context.spawn(node)))
    for line in sys.stdin:
        what, *words = json.loads(line)
        if what == "burst":
            context.dispatch(node.pid, "burst", *words)
        else:
            node.link(PID.from_string(words[0]))
    context.stop()
    context.join(10)


if __name__ == "__main__":
    main()
