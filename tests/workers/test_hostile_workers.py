"""Workers that do what no worker does: their parent tells of it, and keeps nothing of them."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import signal
import socket
import stat
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from compactor import AskFailed, Context, Restart
from compactor.workers import Workers, lines, member
from compactor.workers.lines import Line
from tests.actors import TIMEOUT, wait_until
from tests.workers.test_workers import PARTS, is_there, run, until, who

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="descriptors and forks are POSIX's")


def framed(text: bytes) -> bytes:
    """As multiprocessing writes a message."""
    return len(text).to_bytes(4, "big") + text


def pipes() -> int:
    """How many ends of pipes and socket pairs this program holds."""
    count = 0
    for name in os.listdir("/proc/self/fd"):
        with contextlib.suppress(OSError):  # that of the list itself is gone
            mode = os.stat(int(name)).st_mode
            count += stat.S_ISFIFO(mode)
            if stat.S_ISSOCK(mode):
                with socket.socket(fileno=os.dup(int(name))) as end:
                    count += end.family == socket.AF_UNIX
    return count


def test_a_worker_that_its_parent_cannot_hear_is_killed_and_replaced(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(member, "_UNHEARD", 0.1)
    closed, garbled = "it has closed its pipe", "it has sent what no worker sends: 'Expecting value"
    contents = [(b"", closed), (framed(b"?"), garbled), (b"", closed)]

    async def body(context: Context) -> None:
        policy = Restart(limit=100, within=60, backoff=0.01)
        async with Workers(f"{PARTS}:make", count=1, context=context, on_failure=policy) as workers:
            pool = workers.pool("part")
            kept = []
            for generation, (content, why) in enumerate(contents):
                if sys.platform == "linux":
                    kept.append((pipes(), threading.active_count()))
                caplog.clear()
                await pool.ask("pipe", content, timeout=TIMEOUT)
                await until(lambda: not pool.members)
                await until(lambda: pool.members)
                assert f"it can tell its parent nothing any more: {why}" in caplog.text
                assert (await who(pool, 1))[0][0] == generation + 1
            assert len(set(kept)) <= 1, "something is left of those that are gone"

    run(body)


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (b"\x7f\xff\xff\xff", "bad message length"),
        (framed(b"?"), "Expecting value"),
        (framed(b"\xff\xff"), "codec can't decode"),
        (framed(b"[" * 100_000), "nested too deeply"),
        (framed(b"[]"), "no object, but list"),
        (framed(b'{"kind": "hello"}'), "a message of the kind 'hello'"),
        (framed(b'{"kind": "ready", "ip": "127.0.0.1", "port": "many"}'), "port"),
        (framed(b'{"kind": "beat", "counts": 5}'), "it counts 5"),
        (framed(b'{"kind": "beat", "counts": {}, "dropped": []}'), "list"),
        (framed(b'{"kind": "stuck", "seconds": "long"}'), "could not convert"),
    ],
)
def test_what_no_worker_sends_is_no_message(content: bytes, why: str) -> None:
    here, there = multiprocessing.Pipe()
    with here, there:
        os.write(there.fileno(), content)
        with pytest.raises((TypeError, ValueError), match=why):
            member.checked(next(iter(Line(here, "parent"))))


def test_what_a_worker_has_left_out_is_told(caplog: pytest.LogCaptureFixture) -> None:
    async def body(context: Context) -> None:
        async with Workers(f"{PARTS}:make", count=1, context=context) as workers:
            await workers.pool("part").ask("drop", b"3", timeout=TIMEOUT)
            await until(lambda: "has left out 3 messages" in caplog.text)

    run(body)


def test_a_child_of_a_worker_that_keeps_its_pipe_holds_up_nobody() -> None:
    async def body(context: Context) -> None:
        policy = Restart(backoff=0.01)
        async with Workers(f"{PARTS}:make", count=1, context=context, on_failure=policy) as workers:
            pool = workers.pool("part")
            (first,) = workers._alive
            child = int(await pool.ask("fork", timeout=TIMEOUT))
            try:
                with pytest.raises(AskFailed):
                    await pool.ask("end", b"kill", timeout=TIMEOUT)
                await until(lambda: not pool.members)
                await until(lambda: pool.members)
                await until(lambda: not first._listening.is_alive())
                assert is_there(child)
            finally:
                os.kill(child, signal.SIGKILL)

    run(body)


def test_what_waits_for_a_parent_that_does_not_read_is_bounded() -> None:
    here, there = multiprocessing.Pipe()
    line = Line(there, "worker")
    for _ in range(1000):
        line.tell("log", text="é" * 1_000_000)
    assert line._bytes <= lines._MOST_BYTES
    assert line.dropped >= 1000 - lines._MOST_BYTES / len("é".encode()) / lines._MOST_TEXT - 2
    told = next(iter(Line(here, "parent")))["text"]
    assert told == "[934464 characters left out] " + "é" * 65_536
    here.close()
    wait_until(lambda: not line._thread.is_alive())
    there.close()


PROGRAM = """
import compactor
from compactor import Settings
from compactor.workers import Workers

async def main(context):
    async with Workers("hangs:make", count=1, context=context, drain=0):
        pass

if __name__ == "__main__":
    compactor.run(main, ip="127.0.0.1", settings=Settings(linger=0.01))
"""
HANGS = "import os, time\nprint(os.getpid(), flush=True)\ntime.sleep(600)\n"


def test_a_worker_that_hangs_in_an_import_ends_with_its_parent(tmp_path: Path) -> None:
    (tmp_path / "program.py").write_text(PROGRAM)
    (tmp_path / "hangs.py").write_text(HANGS)
    environ = os.environ | {"PYTHONPATH": os.pathsep.join([str(tmp_path), *sys.path])}
    command: list[Any] = [sys.executable, tmp_path / "program.py"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, env=environ, text=True) as program:
        assert program.stdout is not None
        os_pid = int(program.stdout.readline())
        program.kill()
        end = time.monotonic() + 3 * TIMEOUT
        while is_there(os_pid):
            assert time.monotonic() < end
            time.sleep(0.05)
