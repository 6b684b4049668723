"""What a loop reads into takes no new pages of the kernel each time."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from tests.backends import why_missing

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="this is how glibc allocates")

BYTES = 64 * 1024 * 1024
PROGRAM = f"""
import asyncio, resource, socket, sys, threading
from compactor import Context, Process, install

class Sink(Process):
    count = 0
    all_are_here = threading.Event()
    @install("work")
    def work(self, from_pid, body):
        self.count += 1
        if self.count == messages:
            self.all_are_here.set()

if sys.argv[1] == "asyncio":
    loop = asyncio.new_event_loop()
else:
    import uvloop
    loop = uvloop.new_event_loop()
context = Context(ip="127.0.0.1", loop=loop)
context.start()
sink = Sink("sink")
pid = context.spawn(sink)
head = b"POST /sink/work HTTP/1.1\\r\\nUser-Agent: libprocess/x@127.0.0.1:1\\r\\n"
frames = (head + b"Content-Length: 64\\r\\n\\r\\n" + bytes(64)) * 5000
rounds = {BYTES} // len(frames)
messages = 5000 * rounds
client = socket.create_connection((context.ip, context.port))
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(rounds):
    client.sendall(frames)
assert sink.all_are_here.wait(100)
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
client.close()
context.stop()
"""


@pytest.mark.parametrize("loop", ["asyncio", "uvloop"])
def test_a_flood_of_small_messages_makes_few_page_faults(loop: str) -> None:
    """Blocks of 256 KiB have 64 pages each, and half a million messages fill 256 of them."""
    environ = os.environ | {"COMPACTOR_NO_SPEEDUPS": "1" if why_missing("cython") else ""}
    if loop == "uvloop":
        pytest.importorskip("uvloop")
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, loop],
        env=environ,
        capture_output=True,
        text=True,
        check=True,
    )
    assert int(done.stdout) < 4000
