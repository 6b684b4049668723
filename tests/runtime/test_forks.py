"""Children of a program that has contexts: how they end, and that their last messages arrive."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="nothing forks here")


def run(program: str, *args: str, cwd: Path | None = None) -> str:
    """What a program prints; nothing goes to its standard error."""
    quiet = ["-W", "ignore::DeprecationWarning"]  # Python 3.12 warns of forks beside threads
    done = subprocess.run(
        [sys.executable, *quiet, program, *args],
        capture_output=True,
        text=True,
        timeout=60,
        cwd=cwd,
    )
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout


LEAVING = """
import asyncio, importlib, logging, os, queue, sys
from compactor import Context, Process, install

logging.getLogger("compactor").disabled = True
package = importlib.import_module(sys.argv[1])
heard = queue.Queue()

class Part(Process):
    @install("say")
    def say(self, from_pid, body):
        heard.put(body)

    @install("fork")
    def fork(self, from_pid, body):
        self.leave(body)

    @install("fork_later")
    async def fork_later(self, from_pid, body):
        self.leave(body)

    async def look_up(self):  # uvloop does it in threads that no child has
        await asyncio.get_running_loop().getaddrinfo("localhost", 80)

    def leave(self, body):
        child = os.fork()
        if not child:
            sys.exit(int(body))
        heard.put(child)

def pair():
    a, b = Part("a"), Part("b")
    for part in (a, b):
        Context(ip="127.0.0.1", loop=package.new_event_loop()).spawn(part)
    return a, b

def talk(a, b):
    for here, there in ((a, b), (b, a)):
        here.send(there.pid, "say", b"hello")
        assert heard.get(timeout=10) == b"hello"

def status_of(child):
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])

a, b = pair()
talk(a, b)
seen = []
for way in ("exit", "raise", "end", "exit at once"):
    child = os.fork()
    if not child:
        sys.stderr = open(os.devnull, "w")
        if way != "exit at once":
            talk(*pair())
        if way == "raise":
            raise KeyError(way)
        if way != "end":
            sys.exit(3)
        break
    seen.append(status_of(child))
    talk(a, b)
else:
    for name in ("fork", "fork_later"):
        a.send(b.pid, name, b"5")
        seen.append(status_of(heard.get(timeout=10)))
        talk(a, b)
    a.context.dispatch(a.pid, a.look_up).result(10)
    child = os.fork()
    if not child:
        sys.exit(6)
    seen.append(status_of(child))
    print(*seen)
"""


@pytest.mark.parametrize("package", ["asyncio", "uvloop"])
def test_a_forked_child_ends_clean_whichever_way_it_leaves(package: str, tmp_path: Path) -> None:
    if package == "uvloop":
        pytest.importorskip("uvloop")
    program = tmp_path / "leaving.py"
    program.write_text(LEAVING)
    assert run(str(program), package) == "3 1 0 3 5 5 6\n"


LAST_MESSAGES = """
import multiprocessing, queue, sys
from concurrent.futures import ProcessPoolExecutor
import compactor
from compactor import Process, install

heard = queue.Queue()

class Parent(Process):
    @install("say")
    def say(self, from_pid, body):
        heard.put(body)

class Child(Process):
    def finalize(self):
        self.send(self.to, "say", b"finalized")

def say(to):
    child = Child("child")
    child.to = to
    compactor.spawn(child)
    child.send(to, "say", b"last words")

if __name__ == "__main__":
    parent, other = Parent("parent"), Process("other")
    compactor.spawn(parent)
    compactor.Context(ip="127.0.0.1").spawn(other)
    other.send(parent.pid, "say", b"hello")  # with something dialled
    print(heard.get(timeout=10))
    child = multiprocessing.get_context(sys.argv[1]).Process(target=say, args=(parent.pid,))
    child.start()
    print(heard.get(timeout=20), heard.get(timeout=20))
    child.join()
    print(child.exitcode)
    with ProcessPoolExecutor(1, multiprocessing.get_context(sys.argv[1])) as pool:
        pool.submit(say, parent.pid).result()
    print(heard.get(timeout=20), heard.get(timeout=20))
"""


@pytest.mark.parametrize("method", ["fork", "forkserver", "spawn"])
def test_last_messages_of_multiprocessing_arrive(method: str, tmp_path: Path) -> None:
    program = tmp_path / "last_messages.py"
    program.write_text(LAST_MESSAGES)
    assert run(str(program), method) == (
        "b'hello'\nb'last words' b'finalized'\n0\nb'last words' b'finalized'\n"
    )


OF_THE_PARENT = """
import os
from compactor import Context, Process
from compactor.errors import ContextStopped
context, process = Context(ip="127.0.0.1"), Process("process")
pid = context.spawn(process)
if os.fork():
    os.wait()
    context.stop()
else:
    calls = [
        lambda: context.spawn(Process("other")),
        lambda: context.dispatch(pid, "initialize"),
        lambda: context.start(),
        lambda: process.send(pid, "message"),
        lambda: process.delay(1, "initialize"),
        lambda: context.wait(pid),
    ]
    for call in calls:
        try:
            call()
        except ContextStopped as error:
            print(str(error).partition(" ")[2], flush=True)
    os._exit(0)
"""


def test_the_error_of_a_context_of_the_parent_names_the_fork(tmp_path: Path) -> None:
    program = tmp_path / "of_the_parent.py"
    program.write_text(OF_THE_PARENT)
    text = "is that of the program that forked this one; make one here, after the fork\n"
    assert run(str(program)) == 6 * text
