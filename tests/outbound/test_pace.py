"""The pace of dials: the first at once, those that follow each other at growing intervals."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable
from typing import Any

import pytest

from compactor import PID, Context
from compactor.outbound.pace import Pace
from tests.actors import TIMEOUT, Receiver, spawned, wait_until
from tests.raw import dead_port, pid_at


def test_dials_that_follow_each_other_wait_twice_as_long_each_time() -> None:
    pace, now, waited = Pace(), 100.0, []
    for _ in range(10):
        waited.append(pace.pause("there", now))
        now += waited[-1]
    assert waited == pytest.approx([0, 0.01, 0.02, 0.04, 0.08, 0.16, 0.32, 0.64, 1, 1])
    assert pace.pause("elsewhere", now) == 0
    assert pace.pause("there", now + 5) == 0
    assert pace.pause("there", now + 5) == pytest.approx(0.01)


def test_dials_with_some_time_between_them_are_not_delayed() -> None:
    pace = Pace()
    assert [pace.pause("there", 100 + number / 20) for number in range(100)] == [0] * 100


def test_addresses_that_are_remembered_are_bounded() -> None:
    pace = Pace()
    for number in range(5000):
        pace.pause(number, 100.0)
    assert len(pace._last) <= 1024


class Stubborn(Receiver):
    """Links again whenever it hears of an exit."""

    def __init__(self) -> None:
        super().__init__("stubborn")
        self.count = 0

    def exited(self, pid: PID, reason: Any) -> None:
        self.count += 1
        self.link(pid)


@pytest.mark.parametrize("how", ["refuses", "closes"])
def test_a_link_made_again_in_exited_spins_no_core(
    context: Context, listener: socket.socket, how: str
) -> None:
    def accept_and_close() -> None:
        while True:
            try:
                listener.accept()[0].close()
            except OSError:
                return

    accepting = threading.Thread(target=accept_and_close)
    accepting.start()
    stubborn = spawned(context, Stubborn())
    before = time.monotonic()
    stubborn.link(pid_at(listener) if how == "closes" else PID("127.0.0.1", dead_port(), "x"))
    wait_until(lambda: stubborn.count >= 7)
    passed = time.monotonic() - before
    listener.shutdown(socket.SHUT_RDWR)
    accepting.join(TIMEOUT)
    # The first at once, then 10, 20, 40, 80 and 160 ms later; on a busy machine 10 ms again.
    assert passed > 0.05


def test_what_is_parked_leaves_when_the_pause_is_over(
    make_context: Callable[..., Context],
) -> None:
    here, port = spawned(make_context(), Receiver("here")), dead_port()
    pid = PID("127.0.0.1", port, "there")
    for _ in range(3):
        here.link(pid)
        here.exits.take()
    there = spawned(make_context(port=port), Receiver("there"))
    here.send(pid, "message", b"late")
    assert there.received.take() == (here.pid, b"late")
