"""Faults of programs: killed, stopped, restarted, and another one in their place."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator

import pytest

from compactor import PID, AskFailed, Context, Process, Reason
from tests.actors import TIMEOUT, Receiver, dead_letters, settle, spawned, take_letter, wait_until
from tests.raw import pid_at
from tests.reliability.programs import Program

Start = Callable[..., Program]
MakeContext = Callable[..., Context]

STOPPED = float(os.environ.get("COMPACTOR_STOPPED_SECONDS", "5"))
"""How long programs are stopped; 60 for a minute."""

FLOOD, SIZE = 1_500, 16 * 1024  # 24 MB: more than kernels take, less than may be parked


def linked(start: Start) -> tuple[Program, Program]:
    """Two programs, the first of which is linked to the second."""
    linker, other = start(settings={"peer_timeout": 2.0}), start()
    linker.tell("link", to=other.pid)
    linker.send(other.pid, "first")
    assert other.take("message")["body"] == "first"
    return linker, other


def test_a_killed_program_exits_its_linkers_at_once(start: Start) -> None:
    linker, other = linked(start)
    told = other.kill()
    exited = linker.take("exited")
    assert exited["pid"] == other.pid
    assert exited["reason"] in ("closed", "reset")
    assert exited["at"] - told < 1.0


def test_a_program_killed_in_a_flood_exits_its_linkers_and_what_has_not_left_is_reported(
    start: Start,
) -> None:
    linker, other = linked(start)
    other.signal(signal.SIGSTOP)
    linker.tell("count", to=other.pid, count=FLOOD, size=SIZE)
    linker.tell("delay", seconds=0.0)
    linker.take("delayed")  # what the flood wrote has filled the kernel's buffers
    other.kill()
    assert linker.take("exited")["reason"] in ("closed", "reset")
    linker.tell("delay", seconds=0.0)
    linker.take("delayed")
    letters = linker.seen("letter")
    assert 0 < letters < FLOOD
    assert linker.take("letter")["reason"] in ("closed", "reset")


@pytest.mark.parametrize("is_stopped", [False, True])
def test_asks_of_a_killed_program_all_end_at_once(
    start: Start, context: Context, is_stopped: bool
) -> None:
    """Those that it has read, and those that fill what kernels take and are parked behind that."""
    other = start()
    to = PID.from_string(other.pid)
    first = context.ask(to, "message")
    other.take("message")
    if is_stopped:
        other.signal(signal.SIGSTOP)
    asked = [first, *(context.ask(to, "message", bytes(SIZE)) for _ in range(FLOOD))]
    settle(spawned(context, Receiver()))  # all of them are on their way
    other.kill()
    for question in asked:
        with pytest.raises(AskFailed) as failed:
            question.result(TIMEOUT)
        assert failed.value.reason in (Reason.CLOSED, Reason.RESET)
    assert not context._runtime.asks.waiting
    with pytest.raises(AskFailed) as failed:
        context.ask(to, "message").result(TIMEOUT)
    assert failed.value.reason is Reason.REFUSED


@pytest.mark.slow
@pytest.mark.timeout(STOPPED + 60)
def test_a_stopped_program_exits_nobody_and_has_lost_nothing_when_it_goes_on(
    start: Start,
) -> None:
    """Also longer than the peer timeout, with its receive window shut."""
    linker, other = linked(start)
    other.signal(signal.SIGSTOP)
    linker.tell("count", to=other.pid, count=FLOOD, size=SIZE)
    linker.say_nothing("exited", STOPPED)
    other.signal(signal.SIGCONT)
    counted = other.take("counted")
    assert (counted["count"], counted["in_order"]) == (FLOOD, True)
    assert not linker.seen("exited")
    assert not linker.seen("letter")


@pytest.mark.slow
def test_a_stopped_linker_takes_no_living_peer_for_a_dead_one(start: Start) -> None:
    linker, other = linked(start)
    linker.send(other.pid, "second")
    linker.signal(signal.SIGSTOP)
    linker.say_nothing("exited", STOPPED)  # longer than its own peer timeout
    linker.signal(signal.SIGCONT)
    linker.send(other.pid, "third")
    assert [other.take("message")["body"] for _ in range(2)] == ["second", "third"]
    assert not linker.seen("exited")


@pytest.mark.slow
def test_a_receiver_that_makes_no_room_for_longer_than_the_peer_timeout_exits_nobody(
    start: Start,
) -> None:
    linker, other = linked(start)
    linker.send(other.pid, str(STOPPED), name="sleep")
    other.take("sleeping")
    linker.tell("count", to=other.pid, count=FLOOD, size=SIZE)
    counted = other.take("counted", timeout=STOPPED + 20)
    assert (counted["count"], counted["in_order"]) == (FLOOD, True)
    assert not linker.seen("exited")
    assert not linker.seen("letter")


def test_a_peer_that_restarts_on_its_port_within_milliseconds_exits_each_link_once(
    make_context: MakeContext,
) -> None:
    here = spawned(make_context(), Receiver("here"))
    there = spawned(make_context(), Receiver("there"))
    pid = there.pid
    for turn in range(10):
        here.link(pid)
        here.send(pid, "message", b"%d" % turn)
        assert there.received.take()[1] == b"%d" % turn
        there.context.stop()
        there.context.join(10)
        there = spawned(make_context(port=pid.port), Receiver("there"))
        gone, reason = here.exits.take()
        assert gone == pid
        assert reason in (Reason.TERMINATED, Reason.CLOSED, Reason.RESET)  # two connections tell it
        wait_until(lambda: not here.context._runtime.outgoing)  # the connection ends behind it
        settle(here)
        assert here.exits.is_empty


@contextlib.contextmanager
def http_server(port: int) -> Iterator[None]:
    """Python's own HTTP server, which knows no POST."""
    command = [sys.executable, "-u", "-m", "http.server", "--bind", "127.0.0.1", str(port)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as server:
        try:
            assert server.stdout is not None
            assert server.stdout.readline().startswith(b"Serving HTTP on")
            yield
        finally:
            server.kill()


def test_a_port_that_another_http_server_took_over_exits_the_link(
    start: Start, context: Context
) -> None:
    other = start()
    pid = PID.from_string(other.pid)
    here = spawned(context, Receiver())
    here.link(pid)
    here.send(pid, "message", b"first")
    other.take("message")
    other.kill()
    assert here.exits.take()[0] == pid
    with http_server(pid.port):
        here.link(pid)
        here.send(pid, "message")
        assert here.exits.take() == (pid, Reason.REJECTED)  # it answers 501 and closes
        wait_until(lambda: not here.context._runtime.outgoing)
    here.link(pid)
    assert here.exits.take() == (pid, Reason.REFUSED)


def test_a_port_that_another_compactor_took_over_says_that_the_process_is_not_there(
    make_context: MakeContext,
) -> None:
    here = spawned(make_context(), Receiver("here"))
    there = spawned(make_context(), Receiver("there"))
    pid = there.pid
    here.link(pid)
    there.context.stop()
    there.context.join(10)
    assert here.exits.take()[0] == pid
    wait_until(lambda: not here.context._runtime.outgoing)
    spawned(make_context(port=pid.port), Process("another"))
    letters = dead_letters(here.context)
    here.link(pid)
    here.send(pid, "message")
    assert here.exits.take() == (pid, Reason.NO_PROCESS)
    letter = take_letter(letters)  # told in a notice: messages of libprocess are not answered
    assert (letter.reason, letter.to, letter.name) == (Reason.NO_PROCESS, pid, "message")


@pytest.mark.usefixtures("links_are_not_waited_for")
def test_a_port_that_a_program_took_over_which_only_listens_keeps_the_link_until_it_ends(
    context: Context, listener: socket.socket
) -> None:
    """As with C++: such a program cannot be told from a peer that has nothing to say."""
    here = spawned(context, Receiver())
    letters = dead_letters(context)
    here.link(pid_at(listener))
    here.send(pid_at(listener), "message", b"1")
    connection, _ = listener.accept()
    connection.settimeout(TIMEOUT)
    seen = b""
    while b"POST /x/message" not in seen:
        seen += connection.recv(4096)
    settle(here)
    assert here.exits.is_empty
    pid = pid_at(listener)
    listener.close()
    connection.close()
    assert here.exits.take()[1] in (Reason.CLOSED, Reason.RESET)
    here.send(pid, "message", b"2")
    assert take_letter(letters).reason == Reason.REFUSED
