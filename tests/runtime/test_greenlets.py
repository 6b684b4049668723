"""Contexts in programs whose threads are greenlets: they work, or say at once what to do."""

from __future__ import annotations

import importlib.util
import subprocess
import sys

import pytest

from compactor.net.event_loop import loop_package

PROGRAM = """
import sys
package, threads = sys.argv[1], sys.argv[2] == "patched"
if package == "gevent":
    from gevent.monkey import patch_all as patch
else:
    from eventlet import monkey_patch as patch
patch(thread=threads)
import asyncio, threading
from compactor import Context, Process, install
from compactor.errors import ContextError

heard, said = [], threading.Event()

class Listener(Process):
    def initialize(self):
        heard.append("initialized")

    @install("say")
    def say(self, from_pid, body):
        heard.append(body.decode())
        said.set()

context = Context(ip="127.0.0.1")
listener = Listener("listener")
try:
    context.spawn(listener)
except ContextError as error:
    print(error)
    context.stop()
    if package == "eventlet":
        sys.exit()
    context = Context(ip="127.0.0.1", loop=asyncio.new_event_loop())
    context.spawn(listener)
listener.send(listener.pid, "say", b"hello")
said.wait(10)
print(*heard)
context.stop()
context.join(10)
"""


def run(package: str, threads: str) -> list[str]:
    if importlib.util.find_spec(package) is None:
        pytest.skip(f"{package} is not installed")
    program = [sys.executable, "-W", "ignore", "-c", PROGRAM, package, threads]
    done = subprocess.run(program, capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout.splitlines()


def test_under_gevent_uvloop_is_an_error_that_says_what_to_do() -> None:
    *errors, last = run("gevent", "patched")
    assert last == "initialized hello"
    assert len(errors) == (loop_package() == "uvloop")
    for error in errors:
        assert "gevent has made greenlets of threads" in error
        assert "use Context(loop=asyncio.new_event_loop()), or leave threads" in error


def test_under_eventlet_threads_that_are_patched_are_an_error_that_says_what_to_do() -> None:
    (error,) = run("eventlet", "patched")
    assert "leave threads as they are, with eventlet.monkey_patch(thread=False)" in error


@pytest.mark.parametrize("package", ["gevent", "eventlet"])
def test_threads_that_are_left_as_they_are_run_any_loop(package: str) -> None:
    assert run(package, "left alone") == ["initialized hello"]
