"""How commands end whatever happens: in programs of their own, where that matters."""

from __future__ import annotations

import os
import signal
import subprocess
import sys

import pytest

from compactor import Process
from tests.actors import spawned, wait_until

COMMAND = [sys.executable, "-W", "error", "-m", "compactor.cli"]


def test_control_c_is_quiet(context):
    worker = spawned(context, Process("worker"))
    with subprocess.Popen(
        [*COMMAND, "watch", str(worker.pid)], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as program:
        wait_until(lambda: context._runtime.observers._links)
        program.send_signal(signal.SIGINT)
        assert program.communicate(timeout=20) == (b"", b"")
        assert program.returncode == 130


@pytest.mark.skipif(os.name != "posix", reason="pipes break in this way on POSIX")
def test_a_reader_that_leaves_is_no_error():
    reading, writing = os.pipe()
    os.close(reading)
    done = subprocess.run([*COMMAND, "settings"], stdout=writing, stderr=subprocess.PIPE)
    os.close(writing)
    assert (done.returncode, done.stderr) == (141, b"")


QUICK = """
import sys
sys.argv = ["compactor", "version"]
try:
    from compactor.cli import main
    main()
except SystemExit:
    pass
slow = ["http.client", "rich", "textual", "cryptography", "compactor.cli.bench.contest"]
print([name for name in slow if name in sys.modules])
"""


def test_a_command_imports_what_it_needs_alone():
    done = subprocess.run([sys.executable, "-c", QUICK], capture_output=True, text=True, timeout=60)
    assert done.stdout.splitlines()[-1] == "[]", done.stderr


def test_shells_complete_commands_and_options():
    environ = {**os.environ, "_COMPACTOR_COMPLETE": "bash_complete", "COMP_CWORD": "1"}
    program = "import sys; sys.argv = ['compactor']; from compactor.cli import main; main()"
    for words, found in (
        ("compactor wa", "plain,watch"),
        ("compactor send --cre", "--credentials"),
    ):
        environ |= {"COMP_WORDS": words, "COMP_CWORD": str(len(words.split()) - 1)}
        done = subprocess.run(
            [sys.executable, "-c", program], env=environ, capture_output=True, text=True, timeout=60
        )
        assert found in done.stdout, done.stderr


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="only Linux has a device that is full")
def test_an_output_that_is_full_is_told():
    with open("/dev/full", "wb") as full:
        done = subprocess.run(
            [*COMMAND, "settings"], stdout=full, stderr=subprocess.PIPE, text=True
        )
    assert done.returncode == 1
    assert done.stderr.splitlines()[0] == "Error: [Errno 28] No space left on device"
    assert "Traceback" not in done.stderr


@pytest.mark.skipif(os.name != "posix", reason="of shells of POSIX")
def test_without_standard_streams_there_is_no_traceback(context):
    worker = spawned(context, Process("worker"))
    for args, streams in ((f"send {worker.pid} x -", "<&-"), ("metrics 127.0.0.1:1", ">&-")):
        line = f"{sys.executable} -m compactor.cli {args} {streams}"
        done = subprocess.run(line, shell=True, capture_output=True, text=True, timeout=60)
        assert done.returncode in (2, 3), done.stderr
        assert done.stderr.startswith("Error: ")
        assert "Traceback" not in done.stderr
