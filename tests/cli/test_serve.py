"""``compactor serve``: workers from a shell."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
import time
import urllib.request

import pytest

from compactor import Context, Process
from compactor.cluster import Cluster, MemoryServer
from tests.actors import TIMEOUT, spawned
from tests.cli.running import command
from tests.ports import own_port

pytestmark = pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="signals are POSIX's")

PARTS = "tests.workers.parts"


def serve(*args: str, **environ: str) -> subprocess.Popen[str]:
    environ = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), **environ}
    return subprocess.Popen(
        [sys.executable, "-m", "compactor.cli", "serve", *args],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environ,
    )


def test_workers_are_served_registered_and_end_well() -> None:
    first, parent = own_port(), own_port()

    async def find(url: str, context: Context) -> bytes:
        async with Cluster(url, context) as cluster:
            pid = await cluster.find("part", timeout=TIMEOUT)
            assert pid.port == first
            return await context.ask(pid, "who", timeout=TIMEOUT)

    async def main() -> None:
        async with Context(ip="127.0.0.1") as context:
            spawned(context, MemoryServer())
            spawned(context, Process("other"))
            url = f"memory://{context.ip}:{context.port}/shop"
            args = ("--workers", "1", "--ports", f"{first}-{first}", "--port", str(parent))
            with serve(f"{PARTS}:make", *args, "--cluster", url, "--drain", "5") as program:
                assert program.stdout is not None
                assert program.stderr is not None
                line = await asyncio.to_thread(program.stdout.readline)
                assert line.startswith(f"worker 0 listens at 127.0.0.1:{first}, OS process ")
                assert (await find(url, context)).startswith(b"0 of 1, 0, ")
                page = f"http://127.0.0.1:{parent}/workers/status.json"
                shown = await asyncio.to_thread(lambda: urllib.request.urlopen(page).read())
                assert json.loads(shown)["workers"][0]["address"] == f"127.0.0.1:{first}"
                done = await asyncio.to_thread(command, "ps", f"127.0.0.1:{parent}")
                assert f"  worker 0, 127.0.0.1:{first}  part" in done.output
                program.send_signal(signal.SIGTERM)
                assert await asyncio.to_thread(program.wait, TIMEOUT) == 0
                assert "stopping" in program.stderr.read()

    asyncio.run(main())


@pytest.mark.parametrize(
    ("args", "code", "why"),
    [
        (("shop", "--workers", "1"), 2, "module:function"),
        ((f"{PARTS}:make", "--workers", "0"), 2, "0 is not in the range"),
        ((f"{PARTS}:make", "--workers", "2", "--ports", "5051"), 2, "a range such as"),
        ((f"{PARTS}:make", "--workers", "1", "--cluster", "foo://x"), 2, "no URL of a cluster"),
        (("tests.no_module:make", "--workers", "1"), 1, "No module named 'tests.no_module'"),
    ],
)
def test_bad_input(args: tuple[str, ...], code: int, why: str) -> None:
    began = time.monotonic()
    with serve(*args, "--ip", "127.0.0.1") as program:
        _, told = program.communicate(timeout=TIMEOUT)
    assert program.returncode == code
    assert why in told
    assert time.monotonic() - began < TIMEOUT
