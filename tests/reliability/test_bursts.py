"""Bursts and floods, where C++ libprocess loses messages or grows."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.reliability.programs import Program

Start = Callable[..., Program]

FLOOD = 400_000
MAX_GROWTH = 30 * 1024  # KiB


def test_a_burst_of_5000_messages_without_a_link_arrives_whole_and_in_order(start: Start) -> None:
    sender, receiver = start(), start()
    sender.tell("count", to=receiver.pid, count=5000, size=100)
    counted = receiver.take("counted")
    assert (counted["count"], counted["in_order"]) == (5000, True)


def test_fifty_bursts_of_100_messages_without_a_link_arrive_whole_and_in_order(
    start: Start,
) -> None:
    """C++ to C++, some 4,450 of them arrive: each burst has connections of its own there."""
    sender, receiver = start(), start()
    for burst in range(50):
        sender.tell("count", to=receiver.pid, count=100, size=100, first=burst * 100 + 1)
        counted = receiver.take("counted")
    assert (counted["count"], counted["in_order"]) == (5000, True)


def peak_memory(program: Program) -> int:
    """The most that a program has had resident, in KiB."""
    status = Path(f"/proc/{program.os_pid}/status").read_text()
    return int(next(line for line in status.splitlines() if line.startswith("VmHWM")).split()[1])


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
@pytest.mark.parametrize("loop", ["asyncio", "uvloop"])
def test_a_flood_of_400000_messages_does_not_grow_the_receiver(start: Start, loop: str) -> None:
    """The receiver of C++ grows to 600 MB."""
    if loop == "uvloop":
        pytest.importorskip("uvloop")
    sender, receiver = start(loop=loop), start(loop=loop)
    sender.send(receiver.pid, "first")
    receiver.take("message")
    before, sender_before = peak_memory(receiver), peak_memory(sender)
    sender.tell("flood", to=receiver.pid, count=FLOOD, size=64)
    counted = receiver.take("counted", timeout=60)
    assert (counted["count"], counted["in_order"]) == (FLOOD, True)
    growth, sender_growth = peak_memory(receiver) - before, peak_memory(sender) - sender_before
    print(f"receiver grew by {growth} KiB, sender by {sender_growth} KiB")
    assert growth < MAX_GROWTH
    assert sender_growth < MAX_GROWTH
