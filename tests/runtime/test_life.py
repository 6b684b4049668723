"""The states that contexts go through, by each way that a life can take."""

from __future__ import annotations

import os
import subprocess
import sys
from itertools import pairwise

import pytest

from compactor import Context
from compactor.runtime.life import (
    CLOSED,
    ENDING,
    NEW,
    NEXT,
    STARTED,
    STOPPED,
    STOPPING,
    Life,
    State,
)
from tests.actors import TIMEOUT


def path_of(context: Context) -> list[State]:
    """The states in the order in which they were reached, each of which may follow the last."""
    path = list(context._life._reached)
    assert all(after in NEXT[state] for state, after in pairwise(path))
    return path


def test_a_state_leads_to_later_ones_only() -> None:
    assert list(NEXT) == list(State)
    assert all(after > state for state, others in NEXT.items() for after in others)
    assert {state for others in NEXT.values() for state in others} == set(State) - {NEW}


def test_a_context_that_is_started_and_stopped_goes_through_all_states() -> None:
    context = Context(ip="127.0.0.1")
    assert path_of(context) == [NEW]
    context.start()
    assert path_of(context) == [NEW, STARTED]
    context.stop()
    context.join(TIMEOUT)
    context.stop()
    assert path_of(context) == [NEW, STARTED, STOPPING, ENDING, CLOSED, STOPPED]
    assert context._life.state is STOPPED


def test_a_context_that_is_stopped_before_it_is_started_does_nothing_else() -> None:
    context = Context(ip="127.0.0.1")
    context.stop()
    assert path_of(context) == [NEW, STOPPING, STOPPED]
    assert not context._life.is_started


def test_a_context_that_cannot_start_ends_though_nobody_has_stopped_it() -> None:
    context = Context(ip="127.0.0.1")
    context._sock.close()
    context.start()
    context.join(TIMEOUT)
    assert path_of(context) == [NEW, STARTED, ENDING, CLOSED, STOPPED]
    assert context.is_stopping


FORK = """
import os
from compactor import Context
context = Context(ip="127.0.0.1")
context.start()
if os.fork():
    os.wait()
    context.stop()
else:
    print(context._life, context._life.is_alive, context.is_stopping)
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="forks are POSIX's")
def test_a_context_is_a_copy_in_a_forked_child_and_says_so() -> None:
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", FORK], capture_output=True, text=True, timeout=60
    )
    assert done.stdout == "<Life: NEW, STARTED, ENDING, CLOSED, STOPPED, COPY> False True\n", (
        done.stderr
    )


def test_who_begins_is_decided_once() -> None:
    life, by = Life(), [1]
    assert life.begin(by)
    assert not life.begin([2])
    assert not life.never_begin()
    assert life.is_started


def test_what_is_decided_never_to_begin_does_not() -> None:
    life = Life()
    assert life.never_begin()
    assert life.never_begin()
    assert not life.begin([])
    assert not life.is_started
