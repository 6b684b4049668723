"""The end of a program whose contexts still run."""

from __future__ import annotations

import subprocess
import sys
import time

from compactor import Context
from tests.actors import TIMEOUT, Receiver

LAST_WORDS = """
import atexit, sys

def say(word):
    speaker.send(PID.from_string(sys.argv[1]), "message", word)

atexit.register(lambda: say(b"last"))

from compactor import PID, Context, Process

atexit.register(lambda: say(b"first"))
speaker = Process("speaker")
Context(ip="127.0.0.1").spawn(speaker)
"""


def run(program: str, *args: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", program, *args], capture_output=True, text=True, timeout=60
    )


def test_what_atexit_sends_leaves_whenever_it_was_registered() -> None:
    receiver = Receiver()
    context = Context()
    done = run(LAST_WORDS, str(context.spawn(receiver)))
    assert (done.returncode, done.stderr) == (0, "")
    assert [receiver.received.take()[1] for _ in range(2)] == [b"first", b"last"]
    context.stop()
    context.join(TIMEOUT)


BLOCKED = """
import logging, threading
from compactor import Context, Process, Settings

logging.getLogger("compactor").disabled = True
for _ in range(6):
    process = Process("blocked")
    context = Context(ip="127.0.0.1", settings=Settings(linger=0.1))
    context.spawn(process)
    entered = threading.Event()
    context.dispatch(process.pid, lambda: (entered.set(), threading.Event().wait()))
    entered.wait()
"""


def test_contexts_that_do_not_end_are_waited_for_at_the_same_time() -> None:
    started = time.monotonic()
    assert run(BLOCKED).returncode == 0
    assert time.monotonic() - started < 6 * 1.3  # what one has: three times linger, and a second
