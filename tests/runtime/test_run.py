"""``compactor.run`` and ``Context.run``: programs that end well, in processes that get signals."""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from typing import Any

import pytest

import compactor
from compactor import Context, Process
from compactor.errors import SocketError
from tests.actors import TIMEOUT, Receiver, spawned
from tests.backends import why_missing

pytestmark = pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="signals are POSIX's")

BEGIN = """
import asyncio, contextlib, os, signal, sys, time
import compactor
from compactor import Context, PID, Process, install

signal.signal(signal.SIGINT, signal.default_int_handler)  # shells have what is aside ignore it

def say(*words):
    print(*words, flush=True)

def loop():
    if sys.argv[1] == "asyncio":
        return asyncio.new_event_loop()
    import uvloop
    return uvloop.new_event_loop()

class Worker(Process):
    @install("job")
    async def job(self, from_pid, body):
        await asyncio.sleep(0.005)
        say("did", body.decode())
    @install("block")
    def block(self, from_pid, body):
        say("blocking")
        time.sleep(60)
    @install("hang")
    async def hang(self, from_pid, body):
        say("hanging")
        await asyncio.Event().wait()
    def finalize(self):
        say("finalized")
        if len(sys.argv) > 2:
            self.send(PID.from_string(sys.argv[2]), "message", b"last words")
"""

RUN = """
async def main(context):
    worker = context.spawn(Worker("worker"))
    for number in range(3):
        context.post(worker, "job", b"%d" % number)
    say("up")
    try:
        await asyncio.Event().wait()
    finally:
        say("main ends")

say("returned", compactor.run(main, ip="127.0.0.1", loop=loop()))
"""

ENVIRONS = [
    pytest.param({"COMPACTOR_NO_SPEEDUPS": "1"}, "asyncio", id="asyncio-python"),
    pytest.param({}, "uvloop", id="uvloop-cython"),
]
each_kind = pytest.mark.parametrize(("environ", "loop"), ENVIRONS)


@contextlib.contextmanager
def program(
    source: str, environ: dict[str, str], loop: str, *args: Any
) -> Iterator[subprocess.Popen[str]]:
    """A program with a loop and a backend, in an OS process of its own."""
    if loop == "uvloop":
        pytest.importorskip("uvloop")
        if why_missing("cython"):
            pytest.skip("there are no extensions")
    with subprocess.Popen(
        [sys.executable, "-c", BEGIN + source, loop, *map(str, args)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ | environ,
    ) as started:
        try:
            yield started
        finally:
            started.kill()


def line(started: subprocess.Popen[str]) -> str:
    assert started.stdout is not None
    return started.stdout.readline().rstrip()


def rest(started: subprocess.Popen[str]) -> tuple[list[str], str]:
    """What else a program prints until it ends, and what it complains about."""
    # Not communicate(), which leaves out what readline() has read ahead.
    assert started.stdout is not None
    assert started.stderr is not None
    guard = threading.Timer(60, started.kill)
    guard.start()
    try:
        out, err = started.stdout.read(), started.stderr.read()
        started.wait()
    finally:
        guard.cancel()
    return out.splitlines(), err


@each_kind
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_a_program_well(
    environ: dict[str, str], loop: str, number: int, context: Context
) -> None:
    receiver = spawned(context, Receiver())
    with program(RUN, environ, loop, receiver.pid) as started:
        assert line(started) == "up"
        started.send_signal(number)
        out, err = rest(started)

    assert sorted(out[:-2]) == ["did 0", "did 1", "did 2", "main ends"]
    assert out[-2:] == ["finalized", "returned None"]
    assert (started.returncode, err) == (0, "")
    assert receiver.received.take()[1] == b"last words"


@each_kind
def test_a_program_whose_main_returns_ends_well(environ: dict[str, str], loop: str) -> None:
    source = """
async def main(context):
    worker = context.spawn(Worker("worker"))
    for number in range(3):
        context.post(worker, "job", b"%d" % number)
    return "result"
say("returned", compactor.run(main, ip="127.0.0.1", loop=loop()))
"""
    with program(source, environ, loop) as started:
        out, err = rest(started)
    assert out == ["did 0", "did 1", "did 2", "finalized", "returned result"]
    assert (started.returncode, err) == (0, "")


@each_kind
@pytest.mark.parametrize("what", ["hang", "block"])
def test_a_second_control_c_cuts_the_end_short(
    environ: dict[str, str], loop: str, what: str
) -> None:
    """Finalizers run all the same, also when a plain handler blocks the loop."""
    source = f"""
async def main(context):
    worker = context.spawn(Worker("worker"))
    context.post(worker, "{what}")
    await asyncio.Event().wait()
compactor.run(main, ip="127.0.0.1", loop=loop(), drain=3600)
"""
    with program(source, environ, loop) as started:
        assert line(started) == f"{what}ing"
        started.send_signal(signal.SIGINT)
        with pytest.raises(subprocess.TimeoutExpired):
            started.wait(0.3)  # it is handled, and ends nothing
        started.send_signal(signal.SIGINT)
        out, err = rest(started)
    assert out == ["finalized"]
    assert started.returncode == 130, err


@each_kind
def test_sigterm_twice_is_sigterm_once(environ: dict[str, str], loop: str) -> None:
    source = """
class Slow(Worker):
    async def finalize(self):
        os.kill(os.getpid(), signal.SIGTERM)
        await asyncio.sleep(0.01)
        say("finalized")
async def main(context):
    context.spawn(Slow("slow"))
    os.kill(os.getpid(), signal.SIGTERM)
    await asyncio.Event().wait()
compactor.run(main, ip="127.0.0.1", loop=loop())
"""
    with program(source, environ, loop) as started:
        out, err = rest(started)
    assert out == ["finalized"]
    assert (started.returncode, err) == (0, "")


@each_kind
def test_main_may_use_the_context_while_it_is_cancelled(environ: dict[str, str], loop: str) -> None:
    source = """
async def main(context):
    worker = context.spawn(Worker("worker"))
    say("up")
    try:
        await asyncio.Event().wait()
    finally:
        await asyncio.sleep(0)
        context.post(worker, "job", b"last")
        await context.dispatch(worker, say, "dispatched")
compactor.run(main, ip="127.0.0.1", loop=loop())
"""
    with program(source, environ, loop) as started:
        assert line(started) == "up"
        started.send_signal(signal.SIGTERM)
        out, err = rest(started)
    assert out == ["did last", "dispatched", "finalized"]
    assert (started.returncode, err) == (0, "")


@each_kind
def test_a_main_that_does_not_end_is_left_when_the_drain_is_over(
    environ: dict[str, str], loop: str
) -> None:
    source = """
async def main(context):
    context.spawn(Worker("worker"))
    say("up")
    with contextlib.suppress(asyncio.CancelledError):
        await asyncio.Event().wait()
    await asyncio.Event().wait()
compactor.run(main, ip="127.0.0.1", loop=loop(), drain=0.01)
"""
    with program(source, environ, loop) as started:
        assert line(started) == "up"
        started.send_signal(signal.SIGTERM)
        out, err = rest(started)
    assert out == ["finalized"]
    assert (started.returncode, err) == (0, "")


@each_kind
def test_a_program_that_loses_something_says_what_and_ends_with_1(
    environ: dict[str, str], loop: str
) -> None:
    source = """
async def main(context):
    worker = context.spawn(Worker("worker"))
    for name in ("hang", "job", "job"):
        context.post(worker, name)
    await asyncio.Event().wait()
compactor.run(main, ip="127.0.0.1", loop=loop(), drain=0.05)
"""
    with program(source, environ, loop) as started:
        assert line(started) == "hanging"
        started.send_signal(signal.SIGTERM)
        out, err = rest(started)
    assert out == ["finalized"]
    assert started.returncode == 1
    told = err.splitlines()
    assert told[-2] == "compactor: lost within the 0.05 s of the drain:"
    assert told[-1].startswith("  worker@127.0.0.1:")
    assert told[-1].endswith(": 2 events wait, and a handler is cancelled")


@each_kind
def test_what_main_returns_when_it_is_cancelled_counts(environ: dict[str, str], loop: str) -> None:
    source = """
async def main(context):
    say("up")
    try:
        await asyncio.Event().wait()
    except asyncio.CancelledError:
        return 7
sys.exit(compactor.run(main, ip="127.0.0.1", loop=loop()))
"""
    with program(source, environ, loop) as started:
        assert line(started) == "up"
        started.send_signal(signal.SIGINT)
        rest(started)
    assert started.returncode == 7


@each_kind
def test_context_run_finalizes_when_it_is_interrupted(
    environ: dict[str, str], loop: str, context: Context
) -> None:
    receiver = spawned(context, Receiver())
    source = """
context = Context(ip="127.0.0.1", loop=loop())
context._portal.post(lambda: context.spawn(Worker("worker")))
context._portal.post(say, "up")
try:
    context.run()
except KeyboardInterrupt:
    say("interrupted", context.is_alive())
"""
    with program(source, environ, loop, receiver.pid) as started:
        assert line(started) == "up"
        started.send_signal(signal.SIGINT)
        out, err = rest(started)
    assert out == ["finalized", "interrupted False"]
    assert (started.returncode, err) == (0, "")
    assert receiver.received.take()[1] == b"last words"


@each_kind
def test_control_c_of_context_run_loses_nothing_wherever_it_is_pressed(
    environ: dict[str, str], loop: str
) -> None:
    """It is no exception in the middle of what the loop does."""
    source = """
class Busy(Process):
    count = 0
    def initialize(self):
        self.send(self.pid, "again")
    @install("again")
    def again(self, from_pid, body):
        self.count += 1
        self.send(self.pid, "again")
    def finalize(self):
        say("finalized", self.context.metrics.handler_failures)
for number in range(25):
    context = Context(ip="127.0.0.1", loop=loop())
    busy = Busy("busy")
    def press():
        while busy.count < 10 * number:
            time.sleep(0.0001)
        os.kill(os.getpid(), signal.SIGINT)
    pressing = threading.Thread(target=press)
    context._portal.post(lambda: context.spawn(busy))
    context._portal.post(pressing.start)
    try:
        context.run()
    except KeyboardInterrupt:
        say("interrupted", context.is_alive())
    pressing.join()
assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
"""
    with program("import threading\n" + source, environ, loop) as started:
        out, err = rest(started)
    assert started.returncode == 0, err
    assert out == ["finalized 0", "interrupted False"] * 25, err


@each_kind
def test_a_second_control_c_interrupts_the_handler_that_blocks_context_run(
    environ: dict[str, str], loop: str
) -> None:
    source = """
context = Context(ip="127.0.0.1", loop=loop())
worker = Worker("worker")
context._portal.post(lambda: context.post(context.spawn(worker), "block"))
try:
    context.run()
except KeyboardInterrupt:
    say("interrupted", context.is_alive())
"""
    with program(source, environ, loop) as started:
        assert line(started) == "blocking"
        started.send_signal(signal.SIGINT)
        with pytest.raises(subprocess.TimeoutExpired):
            started.wait(0.3)  # it is handled, and ends nothing
        started.send_signal(signal.SIGINT)
        out, _ = rest(started)
    assert out == ["finalized", "interrupted False"]
    assert started.returncode == 0


def in_main_thread(**kw: Any) -> dict[str, Any]:
    return {"ip": "127.0.0.1", **kw}


def test_the_result_of_main_is_returned_and_its_error_raised() -> None:
    variable = contextvars.ContextVar("variable", default="unset")
    variable.set("set")

    async def main(context: Context) -> tuple[str, bool]:
        return variable.get(), context.is_alive()

    async def fail(context: Context) -> None:
        process.context = context  # type: ignore[misc]
        raise LookupError("broken")

    class Kept(Process):
        context: Any = None

    process = Kept("kept")
    before = signal.getsignal(signal.SIGTERM), signal.getsignal(signal.SIGINT)
    assert compactor.run(main, **in_main_thread()) == ("set", True)
    with pytest.raises(LookupError, match="broken"):
        compactor.run(fail, **in_main_thread())
    assert not process.context.is_alive()
    assert (signal.getsignal(signal.SIGTERM), signal.getsignal(signal.SIGINT)) == before


def test_main_may_stop_the_context_and_end_the_program() -> None:
    async def stop(context: Context) -> str:
        context.stop()
        await asyncio.sleep(0)
        return "stopped"

    async def leave(context: Context) -> None:
        sys.exit(3)

    async def cancelled(context: Context) -> None:
        raise asyncio.CancelledError

    assert compactor.run(stop, **in_main_thread()) == "stopped"
    with pytest.raises(SystemExit) as caught:
        compactor.run(leave, **in_main_thread())
    assert caught.value.code == 3
    with pytest.raises(asyncio.CancelledError):
        compactor.run(cancelled, **in_main_thread())


async def idle(context: Context) -> None:
    pass


@pytest.mark.parametrize(
    ("main", "text"),
    [
        (5, "takes an async function of a context, got 5"),
        (None, "takes an async function of a context, got None"),
        (lambda context: 5, "returned 5"),
        (lambda: None, "takes 0 positional arguments"),
    ],
)
def test_what_is_no_main_is_refused(main: Any, text: str) -> None:
    with pytest.raises(TypeError, match=text):
        compactor.run(main, **in_main_thread())


def test_a_coroutine_is_no_main() -> None:
    coroutine: Any = idle(None)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match=r"run\(main\), not run\(main\(\)\)"):
        compactor.run(coroutine, **in_main_thread())


@pytest.mark.parametrize("drain", [-1, float("nan"), float("inf"), "5"])
def test_a_drain_that_is_no_time_is_refused(drain: Any) -> None:
    with pytest.raises(ValueError, match="drain="):
        compactor.run(idle, drain=drain, **in_main_thread())


def test_run_refuses_other_threads_and_running_loops() -> None:
    errors: list[Exception] = []

    def run() -> None:
        try:
            compactor.run(idle, **in_main_thread())
        except RuntimeError as error:
            errors.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    thread.join(TIMEOUT)

    async def within() -> None:
        run()

    asyncio.run(within())
    assert [str(error).partition(",")[0].partition(";")[0] for error in errors] == [
        "run() answers signals",
        "run() has a loop of its own",
    ]


def test_bad_arguments_of_the_context_are_its_errors() -> None:
    before = signal.getsignal(signal.SIGTERM)
    with pytest.raises(TypeError):
        compactor.run(idle, prot=5)
    with taken_port() as port, pytest.raises(SocketError):
        compactor.run(idle, **in_main_thread(port=port))
    assert signal.getsignal(signal.SIGTERM) is before


@contextlib.contextmanager
def taken_port() -> Iterator[int]:
    context = Context(ip="127.0.0.1")
    try:
        yield context.port
    finally:
        context.stop()
