"""The global context, and the end of a program that has one."""

from __future__ import annotations

import re
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest

import compactor
from compactor import Context, Settings
from tests.actors import TIMEOUT, Events, Receiver
from tests.ports import own_port


@pytest.fixture
def no_global_context(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """There is no global context, and the one that the test makes ends with it."""
    monkeypatch.setattr(Context, "_singleton", None)
    monkeypatch.setattr(compactor, "_context", None)
    yield
    context = Context._singleton
    if context is not None:
        context.stop()
        context.join(TIMEOUT)


@pytest.mark.usefixtures("no_global_context")
class TestGlobal:
    def test_spawn_makes_and_starts_it(self) -> None:
        receiver = Receiver()
        pid = compactor.spawn(receiver)
        receiver.send(pid, "message", b"x")

        assert receiver.received.take() == (pid, b"x")
        assert Context.singleton() is receiver.context

    def test_the_same_arguments_and_fewer_are_as_good_as_none_once_it_is_made(self) -> None:
        settings = Settings(linger=0.5)
        given: dict[str, Any] = {"port": 0, "advertise_port": 7, "settings": settings}
        compactor.initialize(delegate="master", **given)
        context = Context.singleton(delegate="master")

        assert context.is_alive()
        assert (context.delegate, context.port) == ("master", 7)
        for kw in (given, {"port": 7}, {"advertise_port": 7}, {"ip": context.ip}, {"ip": None}):
            assert Context.singleton(delegate="master", **kw) is context

    @pytest.mark.parametrize(
        ("kw", "text"),
        [
            ({"port": 5051}, "it has port=5050, not 5051"),
            ({"port": -1}, "it has port=5050, not -1"),
            ({"advertise_port": 8}, "it has advertise_port=7, not 8"),
            ({"ip": "127.0.0.2"}, "it has ip='127.0.0.1', not '127.0.0.2'"),
            ({"settings": Settings(linger=2)}, "it was made with another settings"),
            ({"tls": False}, "it was made with another tls"),
            ({"prot": 1}, "it was made with another prot"),
        ],
    )
    def test_other_arguments_are_an_error_once_it_is_made(
        self, kw: dict[str, Any], text: str
    ) -> None:
        port = own_port()
        context = Context.singleton(port=port, advertise_port=7)

        with pytest.raises(RuntimeError, match=re.escape(text.replace("5050", str(port)))):
            compactor.initialize(**kw)
        assert Context.singleton() is context

    def test_another_delegate_is_an_error(self) -> None:
        context = Context.singleton(delegate="master")

        with pytest.raises(RuntimeError, match=r"'master'.*'other'"):
            Context.singleton(delegate="other")
        with pytest.raises(RuntimeError, match="different singleton"):
            compactor.initialize()
        assert Context.singleton(delegate="master") is context

    def test_it_is_made_anew_after_it_was_stopped(self) -> None:
        first = Receiver()
        compactor.spawn(first)
        first.context.stop()
        compactor.join()
        second = Receiver()
        compactor.spawn(second)

        assert second.context is not first.context
        assert Context.singleton() is second.context

    def test_join_without_it_is_an_error(self) -> None:
        with pytest.raises(RuntimeError, match="no global context"):
            compactor.join()

    def test_threads_that_ask_at_once_get_the_same(self) -> None:
        found = Events()
        threads = [
            threading.Thread(target=lambda: found.put(Context.singleton())) for _ in range(8)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

        assert len(set(found.take_many(8))) == 1


_LAST_WORDS = """
import asyncio
from compactor import *
{loop}
context = Context(loop=loop)
client = Process("client")
context.spawn(client)
for number in range(100):
    client.send(PID.from_string({pid!r}), "message", b"%d" % number)
"""


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
@pytest.mark.parametrize("loop", ["asyncio", "uvloop", "default"])
def test_last_words_of_a_program_leave(host: str, loop: str) -> None:
    made = {
        "asyncio": "loop = asyncio.new_event_loop()",
        "uvloop": "import uvloop; loop = uvloop.new_event_loop()",
        "default": "loop = None",
    }[loop]
    if loop == "uvloop":
        pytest.importorskip("uvloop")
    context = Context(ip="127.0.0.1", port=0)
    receiver = Receiver()
    context.spawn(receiver)
    program = _LAST_WORDS.format(loop=made, pid=f"receiver@{host}:{context.port}")
    try:
        done = subprocess.run(
            [sys.executable, "-c", program], capture_output=True, timeout=4 * TIMEOUT, check=False
        )
        assert (done.returncode, done.stderr.decode()) == (0, "")
        assert [b for _, b in receiver.received.take_many(100)] == [b"%d" % n for n in range(100)]
    finally:
        context.stop()
        context.join(TIMEOUT)


_INTERRUPTED = """
import asyncio
from compactor import Context, Process
class Interrupted(Process):
    @Process.install("x")
    def x(self, from_pid, body): raise KeyboardInterrupt
loop = asyncio.new_event_loop()
context = Context(ip="127.0.0.1", loop=loop)
process = Interrupted("p")
loop.call_soon(lambda: (context.spawn(process), process.send(process.pid, "x")))
try:
    context.run()
except KeyboardInterrupt:
    print(context.is_alive(), context.is_stopping)
"""


def test_control_c_in_a_handler_ends_a_context_that_runs_on_the_main_thread() -> None:
    done = subprocess.run(
        [sys.executable, "-c", _INTERRUPTED], capture_output=True, text=True, timeout=4 * TIMEOUT
    )

    assert done.stdout.split() == ["False", "True"]


def test_program_that_leaves_a_context_running_exits_at_once() -> None:
    program = (
        "import time\nfrom compactor import *\nspawn(Process('p'))\nspawn(Process('q'))\n"
        "print(time.monotonic())"  # imports take long where others need the processor
    )
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", program], capture_output=True, text=True, check=True
    )

    assert time.monotonic() - float(done.stdout) < 4
