"""A test that fails tells what its contexts know."""

from __future__ import annotations

import time
from collections.abc import Callable

from compactor import PID, Context
from tests.actors import Patience, Receiver, dead_letters, spawned, take_letter
from tests.raw import dead_port
from tests.telling import tell


def test_letters_exits_counters_connections_and_threads_are_told(
    make_context: Callable[..., Context],
) -> None:
    here, there = spawned(make_context(), Receiver("here")), spawned(make_context(), Receiver("b"))
    letters = dead_letters(here.context)
    here.link(there.pid)
    here.send(there.pid, "message", b"x" * 500)
    here.send(PID("127.0.0.1", dead_port(), "away"), "message", b"four")
    there.received.take()
    take_letter(letters)
    there.terminate()
    here.exits.take()
    told = tell(time.monotonic())
    for context in (here.context, there.context):
        assert f"thread {context.name}" in told
        assert f"{context}:\n    runs" in told
    assert "counters: {'dead_letters/refused': 1, 'dead_letters': 1, " in told
    assert "'messages_out': 2, " in told
    assert "name='message', size=4)" in told
    assert f"('127.0.0.1', {there.pid.port}) connected, 0 frames of 0 bytes are parked" in told
    assert "resting: False, behind: False, missing of a body: 0" in told
    assert 'exits, the last: taken ["(PID(' in told
    assert 'messages, the last: taken ["(PID(' in told
    assert "Error(" not in told
    assert f"{here.context}:\n" not in tell(time.monotonic())  # it was told already


def test_time_in_which_the_machine_was_paused_is_not_waited() -> None:
    patience = Patience(0.2, step=0.01)
    time.sleep(0.5)
    assert not patience.is_over
    for _ in range(20):
        time.sleep(patience.step)
        if patience.is_over:
            break
    assert patience.is_over
