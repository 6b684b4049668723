"""The loads that every contestant carries: a source that keeps a window full, a sink that counts.

Both are mixins over whatever a contestant calls an actor; it only needs `send`.
"""

from __future__ import annotations

from typing import Any

from benchmarks.harness import Meter

BODY = b"x" * 64
BURST = 1_000  # messages from one run of a handler
ACK_EVERY = 10_000
WINDOW = 40_000  # messages under way, at most: about 12 MB of frames


class Source:
    """Sends 'work' in bursts, up to WINDOW ahead of the sink's acks."""

    sink: Any
    outstanding = 0
    waiting = False

    send: Any  # of the actor that this is mixed into
    again: Any  # has `pump` called once more, after the loop had its turn

    def pump(self) -> None:
        for _ in range(BURST):
            self.send(self.sink, "work", BODY)
        self.outstanding += BURST
        self.waiting = self.outstanding >= WINDOW
        if not self.waiting:
            self.again()

    def ack(self, from_pid: Any, body: bytes) -> None:
        self.outstanding -= ACK_EVERY
        if self.waiting:
            self.pump()


class Sink:
    """Counts 'work', marks the meter and, where asked to, acks every ACK_EVERY messages."""

    meter: Meter
    acks = True
    count = 0

    send: Any  # of the actor that this is mixed into

    def work(self, from_pid: Any, body: bytes) -> None:
        self.count += 1
        if self.count % ACK_EVERY == 0:
            self.meter.mark(self.count)
            if self.acks:
                self.send(from_pid, "ack", b"")
