"""Context: its end, by ``stop`` and ``join``, and calls after it."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import os
import socket
import subprocess
import sys
import threading
from collections.abc import Callable
from typing import Any

import pytest

from compactor import PID, Context, Process, Reason, Settings, install
from compactor.errors import ContextError, ContextStopped
from tests.actors import (
    TIMEOUT,
    Events,
    Receiver,
    dead_letters,
    duration,
    settle,
    take_letter,
    wait_until,
)
from tests.ports import own_port
from tests.raw import accept_notices, connects

ContextFactory = Callable[..., Context]


@pytest.mark.smoke
def test_stop_closes_port_and_sockets(context: Context) -> None:
    receiver = Receiver()
    context.spawn(receiver)
    settle(receiver)
    with socket.create_connection((context.ip, context.port), timeout=TIMEOUT) as peer:
        peer.sendall(b"GET /nothing HTTP/1.1\r\nHost: x\r\n\r\n")
        assert peer.recv(12) == b"HTTP/1.1 404"
        context.stop()
        context.join(TIMEOUT)

        while peer.recv(4096):
            pass
    assert not connects(context.ip, context.port)


def test_connection_that_is_accepted_while_the_context_stops_is_closed(
    make_context: ContextFactory,
) -> None:
    for _ in range(30):
        context = make_context()
        socket.create_connection((context.ip, context.port)).close()
        with socket.create_connection((context.ip, context.port), timeout=TIMEOUT) as peer:
            context.stop()
            with contextlib.suppress(ConnectionResetError):
                assert peer.recv(1) == b""
        context.join(TIMEOUT)
    del context
    gc.collect()  # complains of transports and sockets that nobody closed


@pytest.mark.parametrize("retire", ["disconnect", "reconnect"])
def test_stop_closes_connections_that_were_given_up_before(
    make_context: ContextFactory, retire: str
) -> None:
    context, watcher = make_context(settings=Settings(linger=0.1)), Receiver("watcher")
    context.spawn(watcher)
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(TIMEOUT)
        silent = PID("127.0.0.1", server.getsockname()[1], "silent")
        watcher.link(silent)
        peers = [server.accept()[0], accept_notices(server)[0]]
        if retire == "disconnect":
            context.disconnect(silent)
            watcher.exits.take()
        else:
            watcher.link(silent, reconnect=True)
            peers.append(server.accept()[0])
        context.stop()
        context.join(TIMEOUT)
        assert not context.is_alive()
        gc.collect()  # complains of transports and sockets that nobody closed
        for peer in peers:
            with peer:
                peer.settimeout(TIMEOUT)
                assert peer.recv(1) == b""


def test_port_can_be_bound_again_after_join(context: Context, make_context: ContextFactory) -> None:
    receiver, sender = Receiver(), Receiver("sender")
    context.spawn(receiver)
    make_context().spawn(sender)
    sender.link(receiver.pid)
    sender.send(receiver.pid, "message", b"1")
    receiver.received.take()
    context.stop()
    context.join(TIMEOUT)
    sender.exits.take()
    wait_until(lambda: not sender.context._runtime.outgoing)  # the end of the connection, too

    again, second = make_context(port=context.port), Receiver()
    again.spawn(second)
    assert second.pid == receiver.pid

    sender.send(second.pid, "message", b"2")
    assert second.received.take() == (sender.pid, b"2")


def test_idle_context_stops_at_once(make_context: ContextFactory) -> None:
    context = make_context(settings=Settings(linger=TIMEOUT))
    receiver = Receiver()
    context.spawn(receiver)
    settle(receiver)

    assert duration(context.stop) < TIMEOUT / 4
    assert duration(lambda: context.join(TIMEOUT)) < TIMEOUT / 4
    assert not context.is_alive()


def test_stop_and_join_can_be_repeated_from_many_threads(context: Context) -> None:
    context.spawn(Receiver())
    threads = [
        threading.Thread(target=call)
        for _ in range(4)
        for call in (context.stop, lambda: context.join(TIMEOUT))
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(TIMEOUT)

    assert not any(thread.is_alive() for thread in threads)
    assert not context.is_alive()
    context.stop()
    context.join(TIMEOUT)


def test_join_returns_after_its_timeout(context: Context) -> None:
    context.spawn(Receiver())

    assert 0.04 < duration(lambda: context.join(0.05)) < TIMEOUT / 4
    assert context.is_alive()


def test_join_of_a_context_that_was_never_started_is_an_error() -> None:
    context = Context(ip="127.0.0.1", port=0)

    with pytest.raises(RuntimeError, match="started"):
        context.join(TIMEOUT)
    context.stop()
    context.join(TIMEOUT)


def test_context_that_was_never_started_frees_its_port_when_stopped() -> None:
    context = Context(ip="127.0.0.1", port=own_port())
    context.stop()

    assert not connects(context.ip, context.port)


@pytest.mark.parametrize("name", ["stop", "stop-async"])
def test_handler_stops_and_joins_its_own_context(context: Context, name: str) -> None:
    joined = Events()

    class Stopping(Process):
        @install("stop")
        def stop(self, from_pid: PID, body: bytes) -> None:
            self.context.stop()
            self.context.join()
            joined.put("joined")

        @install("stop-async")
        async def stop_async(self, from_pid: PID, body: bytes) -> None:
            self.stop(from_pid, body)

    process = Stopping("stopping")
    context.spawn(process)
    process.send(process.pid, name)

    assert joined.take() == "joined"
    context.join(TIMEOUT)
    assert not context.is_alive()


def test_initialize_may_stop_its_context(context: Context) -> None:
    class Stopping(Process):
        def initialize(self) -> None:
            self.context.stop()

    context.spawn(Stopping("stopping"))
    context.join(TIMEOUT)

    assert not context.is_alive()


def test_process_can_be_spawned_elsewhere_after_its_context_ended_while_spawning(
    make_context: ContextFactory,
) -> None:
    class Stopping(Receiver):
        def initialize(self) -> None:
            if self.context is first:
                self.context.stop()
                self.context.join(TIMEOUT)

    first, second = make_context(), make_context()
    process = Stopping()
    with pytest.raises(ContextStopped):
        first.spawn(process)

    second.spawn(process)
    process.send(process.pid, "message")
    assert process.received.take() == (process.pid, b"")


def test_async_initialize_of_a_context_that_stops_is_not_left_behind(context: Context) -> None:
    class Late(Process):
        def initialize(self) -> Any:
            context.stop()
            wait_until(lambda: context._life.is_ending)
            return self.go_on()

        async def go_on(self) -> None:
            raise AssertionError("it has been stopped")

    context.spawn(Late("late"))
    context.join(TIMEOUT)
    gc.collect()  # pytest makes an error of a coroutine that was never awaited


FORK = """
import os, sys
import compactor
from compactor import Process

class Here(Process):
    def where(self):
        return os.getpid()

here = Here("here")
pid = compactor.spawn(here)
context = here.context
assert context.dispatch(pid, "where").result(5) == os.getpid()
child = os.fork()
if child == 0:
    assert not context.is_alive()
    for call in (context.post, here.send):
        try:
            call(pid, "message")
        except (context.Stopped, context.InvalidProcess):
            pass
        else:
            sys.exit("it was taken, and will never be sent")
    context.terminate(pid)
    context.stop()
    context.join()
    other = compactor.spawn(here)
    assert other != pid
    assert here.context.dispatch(other, "where").result(5) == os.getpid()
    sys.exit(0)
status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
assert context.dispatch(pid, "where").result(5) == os.getpid()
sys.exit(status)
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no forks here")
def test_a_forked_child_has_no_contexts_but_its_own() -> None:
    program = [sys.executable, "-W", "ignore::DeprecationWarning", "-c", FORK]
    done = subprocess.run(program, capture_output=True, text=True, timeout=30)
    assert (done.returncode, done.stderr) == (0, "")


def test_two_contexts_stop_each_other_from_handlers(make_context: ContextFactory) -> None:
    one, other = make_context(), make_context()
    a, b = Receiver("a"), Receiver("b")
    one.spawn(a)
    other.spawn(b)
    a.link(b.pid)
    b.link(a.pid)
    settle(a, b)
    both_in_handlers = threading.Barrier(2)

    def stop(victim: Context) -> None:
        both_in_handlers.wait(TIMEOUT)
        victim.stop()

    for process, victim in ((a, other), (b, one)):
        process.context.dispatch(process.pid, stop, victim)
    one.join(TIMEOUT)
    other.join(TIMEOUT)

    assert not one.is_alive()
    assert not other.is_alive()


def test_stop_gives_up_on_a_handler_that_does_not_end(
    make_context: ContextFactory, caplog: pytest.LogCaptureFixture
) -> None:
    context = make_context(settings=Settings(linger=0.1))
    entered = Events()

    class Stubborn(Process):
        @install("hang")
        async def hang(self, from_pid: PID, body: bytes) -> None:
            entered.put("entered")
            while True:
                try:
                    await asyncio.Event().wait()
                except asyncio.CancelledError:
                    if not entered.is_empty:
                        raise
                    entered.put("cancelled")

    process = Stubborn("stubborn")
    context.spawn(process)
    process.send(process.pid, "hang")
    entered.take()
    context.stop()

    assert duration(lambda: context.join(TIMEOUT)) < TIMEOUT / 4
    assert not context.is_alive()
    assert "stubborn" in caplog.text


def test_messages_sent_right_before_stop_still_leave(make_context: ContextFactory) -> None:
    here, there = make_context(), make_context()
    sender, receiver = Process("sender"), Receiver()
    here.spawn(sender)
    there.spawn(receiver)

    for number in range(5000):
        sender.send(receiver.pid, "message", b"%d" % number)
    here.stop()
    here.join(TIMEOUT)

    assert [body for _, body in receiver.received.take_many(5000)] == [
        b"%d" % n for n in range(5000)
    ]


def test_message_that_cannot_leave_before_the_end_is_a_dead_letter(
    make_context: ContextFactory, deaf_port: int
) -> None:
    context = make_context(settings=Settings(linger=0.05))
    letters, sender = dead_letters(context), Process("sender")
    context.spawn(sender)
    sender.send(PID("127.0.0.1", deaf_port, "x"), "message", b"x")
    context.stop()
    context.join(TIMEOUT)

    letter = take_letter(letters)
    assert (letter.name, letter.reason) == ("message", Reason.STOPPED)
    assert not context.is_alive()


def test_calls_on_a_stopped_context_are_errors(context: Context) -> None:
    process = Receiver()
    pid = context.spawn(process)
    context.stop()
    context.join(TIMEOUT)

    with pytest.raises(ContextStopped, match="stopped"):
        context.spawn(Process("late"))
    with pytest.raises(ContextStopped, match="stopped"):
        context.start()
    for call in (
        lambda: process.send(pid, "message"),
        lambda: process.link(pid),
        lambda: context.dispatch(pid, "initialize"),
        lambda: context.delay(0, pid, "initialize"),
        lambda: context.send(pid, pid, "message"),
        lambda: context.post(pid, "message"),
    ):
        with pytest.raises(ContextStopped, match="make a new one"):
            call()
    process.terminate()
    context.terminate(pid)
    with pytest.raises(ContextError, match="none"):
        _ = context.pid


def test_context_that_was_stopped_before_its_start_takes_no_process() -> None:
    context = Context(ip="127.0.0.1", port=0)
    context.stop()
    process = Process("name")

    with pytest.raises(ContextStopped, match="make a new one"):
        context.spawn(process)
    with pytest.raises(Process.UnboundProcess):
        _ = process.pid


def test_dispatches_and_delays_that_wait_at_stop_are_over(context: Context) -> None:
    process, fired = Receiver(), Events()
    context.spawn(process)
    context.delay(3600, process.pid, fired.put, "fired")
    forever = context.dispatch(process.pid, asyncio.sleep, 3600)
    waiting = context.dispatch(process.pid, fired.put, "served")
    context.stop()
    context.join(TIMEOUT)

    for future in (forever, waiting):
        with pytest.raises(Process.Error):
            future.result(TIMEOUT)
    assert fired.is_empty
