"""Host names and addresses that are looked up while name servers do not answer."""

from __future__ import annotations

import asyncio
import os
import socket
import subprocess
import sys
import threading
from collections.abc import Callable
from typing import Any

import pytest

from compactor import PID, Context, Reason, Settings
from compactor.system import names
from tests.actors import TIMEOUT, Receiver, dead_letters, spawned, take_letter, wait_until
from tests.tls_fixture import Certificates

MakeContext = Callable[..., Context]


class Server:
    """A name server that answers nothing until it is told to."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.go_on = threading.Event()
        self._getaddrinfo = socket.getaddrinfo

    def getaddrinfo(self, host: str, *args: Any, **kw: Any) -> list[Any]:
        if not host.endswith(".invalid"):
            return self._getaddrinfo(host, *args, **kw)
        self.asked.append(host)
        self.go_on.wait(20)
        raise socket.gaierror(socket.EAI_NONAME, f"nobody knows {host}")


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Any:
    """What answers all look-ups of host names."""
    server = Server()
    monkeypatch.setattr(socket, "getaddrinfo", server.getaddrinfo)
    yield server
    server.go_on.set()
    wait_until(lambda: not names._lookups)


def test_any_number_of_names_takes_a_bounded_number_of_threads(
    make_context: MakeContext, server: Server
) -> None:
    context = make_context()
    here, letters = spawned(context, Receiver("here")), dead_letters(context)
    before = threading.active_count()
    for number in range(500):
        here.send(PID(f"h{number}.invalid", 5, "x"), "message")
    wait_until(lambda: len(server.asked) == names._MAX_THREADS)
    assert threading.active_count() <= before + names._MAX_THREADS
    server.go_on.set()
    assert {take_letter(letters).reason for _ in range(500)} == {Reason.UNRESOLVED}
    assert len(server.asked) == 500
    wait_until(lambda: threading.active_count() <= before)


def test_names_that_nobody_waits_for_any_more_are_not_looked_up(
    make_context: MakeContext, server: Server
) -> None:
    context = make_context(settings=Settings(connect_timeout=0.3))
    here, letters = spawned(context, Receiver("here")), dead_letters(context)
    for number in range(500):
        here.send(PID(f"h{number}.invalid", 5, "x"), "message")
    assert {take_letter(letters).reason for _ in range(500)} == {Reason.TIMEOUT}
    wait_until(lambda: len(names._lookups) == names._MAX_THREADS)
    server.go_on.set()
    wait_until(lambda: not names._lookups)
    assert len(server.asked) == names._MAX_THREADS


def test_without_another_thread_names_wait_for_those_that_look_up(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def ask() -> list[Any]:
        first = asyncio.ensure_future(names.resolve("first.invalid", 5))
        await asyncio.sleep(0)
        monkeypatch.setattr(threading.Thread, "start", refuse)
        second = asyncio.ensure_future(names.resolve("second.invalid", 5))
        await asyncio.sleep(0)
        server.go_on.set()
        return await asyncio.gather(first, second, return_exceptions=True)

    def refuse(thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    found = asyncio.run(ask())
    assert [type(error) for error in found] == [socket.gaierror] * 2
    assert server.asked == ["first.invalid", "second.invalid"]


def test_who_asked_first_does_not_take_the_same_question_away_from_who_asks_next(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def ask() -> list[str]:
        first = asyncio.ensure_future(names.resolve("127.0.0.1", 5))
        busy = asyncio.ensure_future(names.resolve("busy.invalid", 5))
        await asyncio.sleep(0)
        wait_until(lambda: server.asked)  # the only thread is at the next name; nobody woke up yet
        second = asyncio.ensure_future(names.resolve("127.0.0.1", 5))
        await first
        server.go_on.set()
        with pytest.raises(socket.gaierror):
            await busy
        return await asyncio.wait_for(second, TIMEOUT)

    monkeypatch.setattr(names, "_MAX_THREADS", 1)
    assert asyncio.run(ask()) == ["127.0.0.1"]


FORK = """
import os, queue, socket, threading
from compactor import PID, Context, Process, Settings

parent = os.getpid()
asked = threading.Semaphore(0)
getaddrinfo = socket.getaddrinfo

def never_in_the_parent(host, *args, **kw):
    if host.endswith(".invalid"):
        asked.release()
        if os.getpid() == parent:
            threading.Event().wait()
        raise socket.gaierror("nobody knows it")
    return getaddrinfo(host, *args, **kw)

socket.getaddrinfo = never_in_the_parent

class Linker(Process):
    def exited(self, pid, reason):
        exits.put(reason)

exits = queue.Queue()
def link(count):
    linker = Linker("linker")
    Context(ip="127.0.0.1", settings=Settings(connect_timeout=10)).spawn(linker)
    for number in range(count):
        linker.link(PID(f"h{number}.invalid", 5, "x"))

link(64)
for _ in range(64):
    asked.acquire()
if os.fork():
    _, status = os.wait()
    os._exit(os.waitstatus_to_exitcode(status))
link(2)
print(exits.get(timeout=5), exits.get(timeout=5), flush=True)
os._exit(0)
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="nothing forks here")
def test_a_forked_child_looks_up_what_its_parent_waits_for() -> None:
    done = subprocess.run([sys.executable, "-c", FORK], capture_output=True, text=True, timeout=20)
    assert done.stdout == "unresolved unresolved\n", done.stderr


PROGRAM = """
import importlib, socket, sys, threading
from compactor import Context, Process, TlsSettings, install

def never(*_):
    threading.Event().wait()

socket.getnameinfo = never

class Receiver(Process):
    def exited(self, pid, reason):
        print(reason, flush=True)
        self.context.stop()

key, cert, ca, package = sys.argv[1:]
tls = TlsSettings(
    key_file=key, cert_file=cert, ca_file=ca, verify_server_cert=True, handshake_timeout=0.5
)
there = Context(tls=TlsSettings(key_file=key, cert_file=cert))
pid = there.spawn(Process("there"))
here = Context(tls=tls, loop=importlib.import_module(package).new_event_loop())
linker = Receiver("here")
here.spawn(linker)
linker.link(pid)
here.join()
there.stop()
there.join()
"""


@pytest.mark.parametrize("package", ["asyncio", "uvloop"])
def test_program_ends_while_the_name_of_an_address_is_looked_up(
    certificates: Certificates, package: str
) -> None:
    if package == "uvloop":
        pytest.importorskip("uvloop")
    files = [certificates.folder / "host.key", certificates.path("host"), certificates.path("ca")]
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, *map(str, files), package],
        capture_output=True,
        text=True,
        timeout=20,
    )
    assert done.stdout == "tls\n"
    assert (
        "the handshake, and finding the name of the peer's address, took longer than 0.5 s"
        in done.stderr
    )
