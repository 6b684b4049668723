"""Signal handlers: what they may call, wherever they interrupt a thread, the loop's own too."""

from __future__ import annotations

import asyncio
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator

import pytest

from compactor import Context
from compactor.pid import NOBODY
from tests.actors import TIMEOUT, wait_until

LoopFactory = Callable[[], asyncio.AbstractEventLoop]

pytestmark = pytest.mark.skipif(not hasattr(signal, "SIGUSR1"), reason="signals are POSIX's")

AT_EVERY_LINE = """
import asyncio, contextlib, faulthandler, itertools, sys
import compactor
from compactor import Context, Process, Settings

settings = Settings(linger=0.01)  # whoever joins in the middle of spawn, waits for its process
faulthandler.dump_traceback_later(100, exit=True)

class Interrupted:
    'Makes a call that a signal handler interrupts at one of its lines; whether it has so many.'
    def __init__(self, handler, at):
        self.handler, self.left = handler, at
        self.tracer = self.trace  # kept: CPython 3.11 may call it once more when it is gone
    def trace(self, frame, event, arg):
        if "compactor" not in frame.f_code.co_filename and frame.f_code.co_filename != "<string>":
            return None
        self.left -= 1
        if self.left == 0:
            with contextlib.suppress(compactor.CompactorError):
                self.handler()
        return self.tracer
    def __call__(self, call):
        sys.settrace(self.tracer)
        try:
            with contextlib.suppress(compactor.CompactorError, RuntimeError):
                call()
        finally:
            sys.settrace(None)
        return self.left <= 0

def at_every_line(make, call, handler, step=1):
    for at in itertools.count(1, step):
        context = make()
        is_reached = Interrupted(lambda: handler(context), at)(lambda: call(context))
        context.stop()
        context.join(5)
        assert not context.is_alive(), (call, handler, at)
        assert context._sock.fileno() == -1
        if not is_reached:
            print(at, end=" ")
            return

def stop_and_join(context):
    context.stop()
    context.join()

def start_and_stop(context):
    context.start()
    context.stop()

def spawn(context):
    context.spawn(Process("other"))

def run(context):
    context._loop = asyncio.new_event_loop()
    context._loop.call_soon(context.stop)
    context.run()

def new():
    return Context(ip="127.0.0.1", settings=settings)

for handler in (Context.stop, stop_and_join, spawn):
    for call in (Context.start, start_and_stop, lambda c: c.spawn(Process("p"))):
        at_every_line(new, call, handler)

at_every_line(new, run, stop_and_join, 7)

def fresh():
    if compactor._context is not None:
        compactor._context.stop()
    compactor.initialize(ip="127.0.0.1", settings=settings)
    compactor._context.stop()
    compactor._context.join(5)
    return compactor._context

def spawn_on_the_global_one(context):
    compactor.spawn(Process("p"))

def another_on_the_global_one(context):
    compactor.spawn(Process("q"))

at_every_line(fresh, spawn_on_the_global_one, another_on_the_global_one)
"""


def test_a_signal_handler_may_call_anything_at_every_line_of_every_call() -> None:
    done = subprocess.run(
        [sys.executable, "-c", AT_EVERY_LINE], capture_output=True, text=True, timeout=120
    )

    assert done.returncode == 0, done.stderr
    assert "Traceback" not in done.stderr
    assert len(done.stdout.split()) == 11
    assert all(int(lines) > 10 for lines in done.stdout.split())


@pytest.fixture
def stop_soon() -> Iterator[Callable[[Context], None]]:
    """What sends a signal, whose handler stops a context, to this thread once its loop sleeps."""
    if threading.current_thread() is not threading.main_thread():
        pytest.skip("signals are handled by main threads")
    me = threading.get_ident()
    senders: list[threading.Thread] = []
    slept_on: list[Context] = []

    def send(context: Context) -> None:
        wait_until(lambda: context._portal.thread)
        time.sleep(0.05)  # the loop has nothing to do from here on
        signal.pthread_kill(me, signal.SIGUSR1)
        context.join(TIMEOUT)
        if context.is_alive():
            slept_on.append(context)
            context.post(NOBODY, "message")  # wakes it

    def stop(context: Context) -> None:
        signal.signal(signal.SIGUSR1, lambda *_: context.stop())
        senders.append(threading.Thread(target=send, args=[context]))
        senders[-1].start()

    before = signal.getsignal(signal.SIGUSR1)
    yield stop
    for sender in senders:
        sender.join()
    signal.signal(signal.SIGUSR1, before)
    assert not slept_on


def test_a_signal_handler_stops_a_context_that_runs_on_its_thread(
    new_loop: LoopFactory, stop_soon: Callable[[Context], None]
) -> None:
    context = Context(ip="127.0.0.1", loop=new_loop())
    stop_soon(context)

    context.run()

    assert not context.is_alive()


def test_a_signal_handler_stops_a_context_in_the_loop_of_its_thread(
    new_loop: LoopFactory, stop_soon: Callable[[Context], None]
) -> None:
    async def main() -> None:
        async with Context(ip="127.0.0.1") as context:
            stop_soon(context)
            assert context._task is not None
            await context._task

    loop = new_loop()
    try:
        loop.run_until_complete(main())
    finally:
        loop.close()
