"""The loads that every contestant carries: a source that keeps a window full, a sink that counts.

Both are mixins over whatever a contestant calls an actor; it only needs `send`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from benchmarks.meters import Meter

BODY = b"x" * 64
WINDOW_BYTES = 16 * 1024 * 1024  # of bodies under way, at most
SIZES = {"64 B": 64, "1 KiB": 1024, "64 KiB": 65536, "1 MiB": 1048576}


@dataclass(frozen=True)
class Load:
    """What a source sends.

    Args:
        size: bytes of a body.
        burst: messages from one run of a handler.
        ack_every: messages that one ack stands for; also how often a sink marks its meter.
        window: messages under way, at most.
    """

    size: int
    burst: int
    ack_every: int
    window: int


def load_of(size: int) -> Load:
    """A load of bodies of that size that keeps both sides busy and memory bounded."""
    window = min(40_000, WINDOW_BYTES // size)
    return Load(size, burst=max(1, min(1_000, window // 8)), ack_every=window // 4, window=window)


SMALL = load_of(len(BODY))


class Source:
    """Sends 'work' in bursts, up to a window ahead of the sink's acks."""

    load = SMALL
    body = BODY
    sink: Any
    outstanding = 0
    waiting = False

    send: Any  # of the actor that this is mixed into
    again: Any  # has `pump` called once more, after the loop had its turn

    def carry(self, load: Load) -> None:
        self.load = load
        self.body = b"x" * load.size

    def pump(self) -> None:
        for _ in range(self.load.burst):
            self.send(self.sink, "work", self.body)
        self.outstanding += self.load.burst
        self.waiting = self.outstanding >= self.load.window
        if not self.waiting:
            self.again()

    def ack(self, from_pid: Any, body: bytes) -> None:
        self.outstanding -= self.load.ack_every
        if self.waiting and self.outstanding < self.load.window:
            self.pump()


class Sink:
    """Counts 'work', marks the meter and, where asked to, acks every so many messages."""

    load = SMALL
    meter: Meter
    acks = True
    count = 0

    send: Any  # of the actor that this is mixed into

    def work(self, from_pid: Any, body: bytes) -> None:
        self.count += 1
        if self.count % self.load.ack_every == 0:
            self.meter.mark(self.count)
            if self.acks:
                self.send(from_pid, "ack", b"")
