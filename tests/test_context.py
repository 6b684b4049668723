"""Context: its life from start to stop, its loop, its address, and the global one."""

from __future__ import annotations

import asyncio
import concurrent.futures
import contextlib
import gc
import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

import compactor
from compactor import PID, Context, Process, Reason, Settings, install
from compactor.errors import ContextError, ContextStopped
from compactor.testing import ephemeral_context
from tests.actors import TIMEOUT, Events, Receiver, dead_letters, settle, take_letter, wait_until
from tests.network import run_in_own_network

ContextFactory = Callable[..., Context]
LoopFactory = Callable[[], asyncio.AbstractEventLoop]


def _connects(ip: str, port: int) -> bool:
    try:
        socket.create_connection((ip, port), timeout=TIMEOUT).close()
    except OSError:
        return False
    return True


def _duration(call: Callable[[], Any]) -> float:
    begin = time.monotonic()
    call()
    return time.monotonic() - begin


# Start


def test_context_listens_before_it_is_started() -> None:
    context = Context(ip="127.0.0.1", port=0)

    assert _connects(context.ip, context.port)
    assert not context.is_alive()
    context.stop()


def test_first_call_starts_the_loop(new_loop: LoopFactory) -> None:
    context = Context(ip="127.0.0.1", port=0, loop=new_loop())
    receiver = Receiver()
    context.spawn(receiver)
    receiver.send(receiver.pid, "message", b"x")

    assert receiver.received.take() == (receiver.pid, b"x")
    assert context.is_alive()
    context.stop()
    context.join(TIMEOUT)
    assert not context.is_alive()


def test_start_can_be_repeated(context: Context) -> None:
    receiver = Receiver()
    context.start()
    context.spawn(receiver)
    context.start()
    receiver.send(receiver.pid, "message")

    assert receiver.received.take() == (receiver.pid, b"")


def test_loop_runs_in_a_daemon_thread_named_after_the_context(context: Context) -> None:
    receiver, threads = Receiver(), Events()
    context.spawn(receiver)
    context.dispatch(receiver.pid, lambda: threads.put(threading.current_thread()))

    thread = threads.take()
    assert thread.daemon
    assert thread.name == context.name == f"CompactorContext({context.ip}:{context.port})"
    assert str(context) == f"Context({context.ip}:{context.port})"


def test_given_loop_is_the_one_that_runs(new_loop: LoopFactory) -> None:
    loop = new_loop()
    context = Context(ip="127.0.0.1", port=0, loop=loop)
    receiver = Receiver()
    context.spawn(receiver)

    async def running() -> asyncio.AbstractEventLoop:
        return asyncio.get_running_loop()

    assert context.dispatch(receiver.pid, running).result(TIMEOUT) is loop
    context.stop()
    context.join(TIMEOUT)


def test_no_event_loop_policy_is_touched(context: Context) -> None:
    settle_on = Receiver()
    context.spawn(settle_on)
    settle(settle_on)

    async def running() -> str:
        return type(asyncio.get_running_loop()).__module__

    assert asyncio.run(running()).startswith("asyncio")


# Stop and join


def test_stop_closes_port_and_sockets(context: Context) -> None:
    receiver = Receiver()
    context.spawn(receiver)
    settle(receiver)
    with socket.create_connection((context.ip, context.port), timeout=TIMEOUT) as peer:
        peer.sendall(b"GET /nothing HTTP/1.1\r\n\r\n")
        assert peer.recv(12) == b"HTTP/1.1 404"
        context.stop()
        context.join(TIMEOUT)

        while peer.recv(4096):
            pass
    assert not _connects(context.ip, context.port)


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
        silent = PID("127.0.0.1", server.getsockname()[1], "silent")
        watcher.link(silent)
        peers = [server.accept()[0]]
        assert peers[0].recv(1) == b"P"
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
            peer.close()


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


def test_idle_context_stops_at_once(context: Context) -> None:
    receiver = Receiver()
    context.spawn(receiver)
    settle(receiver)

    assert _duration(context.stop) < 0.5
    assert _duration(lambda: context.join(TIMEOUT)) < 1.0
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

    assert 0.04 < _duration(lambda: context.join(0.05)) < 1.0
    assert context.is_alive()


def test_join_of_a_context_that_was_never_started_is_an_error() -> None:
    context = Context(ip="127.0.0.1", port=0)

    with pytest.raises(RuntimeError, match="started"):
        context.join(TIMEOUT)
    context.stop()
    context.join(TIMEOUT)


def test_context_that_was_never_started_frees_its_port_when_stopped() -> None:
    context = Context(ip="127.0.0.1", port=0)
    context.stop()

    assert not _connects(context.ip, context.port)


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
            wait_until(lambda: context._runtime.is_stopping)
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

    assert _duration(lambda: context.join(TIMEOUT)) < 2.0
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


# Calls after stop


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
    context.delay(0.05, process.pid, fired.put, "fired")
    forever = context.dispatch(process.pid, asyncio.sleep, 3600)
    waiting = context.dispatch(process.pid, fired.put, "served")
    context.stop()
    context.join(TIMEOUT)

    for future in (forever, waiting):
        with pytest.raises(Process.Error):
            future.result(TIMEOUT)
    assert fired.is_empty


# Somebody's own loop


def test_async_with_runs_in_the_running_loop_and_closes_everything(new_loop: LoopFactory) -> None:
    async def main() -> None:
        async with Context(ip="127.0.0.1", port=0) as context:
            receiver = Receiver()
            context.spawn(receiver)
            loop = await context.dispatch(receiver.pid, _running_loop)
            assert loop is asyncio.get_running_loop()
            assert context.is_alive()
        assert not context.is_alive()
        assert not _connects(context.ip, context.port)
        await context.aclose()
        context.stop()
        context.join(TIMEOUT)

    _run(new_loop, main)


def test_async_with_ends_the_context_when_its_body_raises(new_loop: LoopFactory) -> None:
    async def main() -> None:
        with pytest.raises(ZeroDivisionError):
            async with Context(ip="127.0.0.1", port=0) as context:
                context.spawn(Receiver())
                raise ZeroDivisionError
        assert not context.is_alive()

    _run(new_loop, main)


def test_context_that_runs_in_its_thread_cannot_be_entered(context: Context) -> None:
    async def main() -> None:
        with pytest.raises(ContextError, match="already"):
            async with context:
                pass

    context.spawn(Receiver())
    asyncio.run(main())
    assert context.is_alive()


def test_stopped_context_cannot_be_entered() -> None:
    context = Context(ip="127.0.0.1", port=0)
    context.stop()

    async def main() -> None:
        with pytest.raises(ContextStopped):
            async with context:
                pass

    asyncio.run(main())


def test_aclose_waits_for_a_context_in_a_thread(context: Context) -> None:
    context.spawn(Receiver())

    asyncio.run(context.aclose())

    assert not context.is_alive()


def test_aclose_of_a_context_that_was_never_started_returns() -> None:
    context = Context(ip="127.0.0.1", port=0)

    asyncio.run(context.aclose())

    assert not _connects(context.ip, context.port)


class _Closing(Receiver):
    @install("close")
    async def close(self, from_pid: PID, body: bytes) -> None:
        await self.context.aclose()


def test_handler_that_awaits_aclose_closes_port_and_sockets(new_loop: LoopFactory) -> None:
    async def main() -> None:
        context = await Context(ip="127.0.0.1", port=0).__aenter__()
        process = _Closing()
        context.spawn(process)
        with socket.create_connection((context.ip, context.port)) as peer:
            peer.setblocking(False)
            loop = asyncio.get_running_loop()
            await loop.sock_sendall(peer, b"GET /nothing HTTP/1.1\r\n\r\n")
            assert (await loop.sock_recv(peer, 4096)).startswith(b"HTTP/1.1 404")
            process.send(process.pid, "close")
            assert await asyncio.wait_for(loop.sock_recv(peer, 4096), TIMEOUT) == b""
        await asyncio.wait_for(context.aclose(), TIMEOUT)
        assert not context.is_alive()
        assert not _connects(context.ip, context.port)

    _run(new_loop, main)


def test_cancelled_aclose_still_closes_every_socket(new_loop: LoopFactory) -> None:
    async def hold_on() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            await asyncio.Event().wait()

    async def main() -> None:
        context = Context(ip="127.0.0.1", port=0, settings=Settings(linger=0.2))
        await context.__aenter__()
        stubborn = Receiver("stubborn")
        context.spawn(stubborn)
        context.dispatch(stubborn.pid, hold_on)
        with socket.create_connection((context.ip, context.port)) as peer:
            peer.setblocking(False)
            loop = asyncio.get_running_loop()
            await loop.sock_sendall(peer, b"GET /nothing HTTP/1.1\r\n\r\n")
            assert (await loop.sock_recv(peer, 4096)).startswith(b"HTTP/1.1 404")
            with pytest.raises(asyncio.TimeoutError):
                await asyncio.wait_for(context.aclose(), 0.05)
            assert await asyncio.wait_for(loop.sock_recv(peer, 4096), TIMEOUT) == b""
        await asyncio.wait_for(context.aclose(), TIMEOUT)
        assert not context.is_alive()

    _run(new_loop, main)


def test_given_running_loop_is_used_by_start(new_loop: LoopFactory) -> None:
    async def main() -> None:
        context = Context(ip="127.0.0.1", port=0, loop=asyncio.get_running_loop())
        process = Receiver()
        context.spawn(process)
        assert await context.dispatch(process.pid, _running_loop) is asyncio.get_running_loop()
        await context.aclose()
        assert not context.is_alive()

    _run(new_loop, main)


@pytest.mark.parametrize("is_entered", [False, True], ids=["started", "entered"])
def test_a_loop_that_ends_under_a_context_loses_nothing_silently(
    new_loop: LoopFactory, deaf_port: int, is_entered: bool
) -> None:
    letters: list[tuple[str | None, Reason]] = []
    contexts: list[Context] = []
    begun = asyncio.Event()

    class Waiting(Process):
        @install("wait")
        async def wait(self, from_pid: PID, body: bytes) -> None:
            begun.set()
            await asyncio.Event().wait()

    async def main() -> None:
        loop = None if is_entered else asyncio.get_running_loop()
        context = Context(ip="127.0.0.1", port=0, loop=loop)
        contexts.append(context)
        if is_entered:
            await context.__aenter__()
        context.on_dead_letter(lambda letter: letters.append((letter.name, letter.reason)))
        waiting = Waiting("waiting")
        context.spawn(waiting)
        for to, name in (
            (waiting.pid, "wait"),
            (waiting.pid, "behind"),
            (PID("127.0.0.1", deaf_port, "x"), "away"),
        ):
            context.dispatch(waiting.pid, waiting.send, to, name)
        await begun.wait()  # the sends came before

    loop = new_loop()
    loop.run_until_complete(main())
    tasks = asyncio.all_tasks(loop)  # as asyncio.run does
    for task in tasks:
        task.cancel()
    loop.run_until_complete(asyncio.gather(*tasks, return_exceptions=True))
    loop.close()
    assert sorted(letters) == [("away", Reason.STOPPED), ("behind", Reason.STOPPED)]
    assert not contexts[0].is_alive()


def test_join_on_the_own_loop_returns_even_before_the_context_is_open(
    new_loop: LoopFactory,
) -> None:
    async def main() -> None:
        context = Context(ip="127.0.0.1", port=0, loop=asyncio.get_running_loop())
        context.start()
        context.stop()
        assert _duration(lambda: context.join(1.0)) < 0.5
        await context.aclose()

    _run(new_loop, main)


def test_sends_from_the_loop_keep_their_order_while_the_context_opens(
    new_loop: LoopFactory,
) -> None:
    async def main() -> None:
        context = Context(ip="127.0.0.1", port=0, loop=asyncio.get_running_loop())
        process = Receiver()
        context.spawn(process)
        numbers = [b"%d" % n for n in range(500)]
        for number in numbers:
            process.send(process.pid, "message", number)
            await asyncio.sleep(0)
        await context.dispatch(process.pid, lambda: None)
        received = [process.received.take()[1] for _ in numbers]
        await context.aclose()
        assert received == numbers

    _run(new_loop, main)


async def _running_loop() -> asyncio.AbstractEventLoop:
    return asyncio.get_running_loop()


def _run(new_loop: LoopFactory, main: Callable[[], Any]) -> Any:
    """Run a coroutine on a loop of its own thread, so that one that hangs fails its test only."""
    done: concurrent.futures.Future[Any] = concurrent.futures.Future()

    def run() -> None:
        loop = new_loop()
        try:
            done.set_result(loop.run_until_complete(main()))
        except BaseException as error:
            done.set_exception(error)
        finally:
            loop.close()

    threading.Thread(target=run, daemon=True).start()
    return done.result(2 * TIMEOUT)


# Addresses


def test_pid_of_a_context_names_the_processes_when_there_are_several(context: Context) -> None:
    with pytest.raises(ContextError, match=r"none.*process that you mean"):
        _ = context.pid
    one = Process("one")
    context.spawn(one)
    assert context.pid == one.pid
    context.spawn(Process("two"))
    with pytest.raises(ContextError, match=r"one@.*two@"):
        _ = context.pid


def test_ipv6_contexts_talk(make_context: ContextFactory) -> None:
    try:
        socket.create_server(("::1", 0), family=socket.AF_INET6).close()
    except OSError:
        pytest.skip("there is no IPv6 loopback here")
    here, there = make_context(ip="::1"), make_context(ip="[::1]")
    sender, receiver = Receiver("sender"), Receiver()
    here.spawn(sender)
    there.spawn(receiver)
    assert str(receiver.pid) == f"receiver@[::1]:{there.port}"

    sender.link(PID.from_string(str(receiver.pid)))
    sender.send(PID.from_string(str(receiver.pid)), "message", b"x")

    assert receiver.received.take() == (sender.pid, b"x")
    there.stop()
    assert sender.exits.take()[0] == receiver.pid


def test_message_to_another_spelling_of_the_own_address_arrives(context: Context) -> None:
    receiver = Receiver()
    context.spawn(receiver)

    receiver.send(PID("localhost", context.port, receiver.name), "message", b"x")

    assert receiver.received.take() == (receiver.pid, b"x")


_NOBODY_OUTSIDE = """
import logging
from compactor import Context
logging.basicConfig()
context = Context(ip="0.0.0.0")
print(context.ip)
context.stop()
"""


def test_context_without_a_way_out_advertises_loopback_and_says_what_helps() -> None:
    done = run_in_own_network(_NOBODY_OUTSIDE)

    assert done.stdout == "127.0.0.1\n"
    assert "LIBPROCESS_ADVERTISE_IP" in done.stderr


def test_host_names_are_resolved_without_holding_up_the_loop(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    resolving, go = threading.Event(), threading.Event()
    getaddrinfo = socket.getaddrinfo

    def slow(host: Any, *args: Any, **kw: Any) -> Any:
        if host == "slow.invalid":
            resolving.set()
            go.wait(TIMEOUT)
        return getaddrinfo(host, *args, **kw)

    monkeypatch.setattr(socket, "getaddrinfo", slow)  # asyncio's loop asks it; uvloop's has its own
    with ephemeral_context(loop=asyncio.new_event_loop()) as context:
        receiver = Receiver()
        context.spawn(receiver)
        receiver.link(PID("slow.invalid", 5050, "x"))
        assert resolving.wait(TIMEOUT)
        receiver.send(receiver.pid, "message", b"meanwhile")
        assert receiver.received.take() == (receiver.pid, b"meanwhile")
        assert receiver.exits.is_empty
        go.set()

        assert receiver.exits.take()[1] == Reason.UNRESOLVED


@pytest.mark.parametrize("ip", ["0.0.0.0", "::"])
def test_all_interfaces_advertise_an_address_that_can_be_dialled(
    make_context: ContextFactory, ip: str
) -> None:
    if ip == "::" and not socket.has_dualstack_ipv6():
        pytest.skip("there is no IPv6 here")
    context = make_context(ip=ip)

    assert context.ip not in ("0.0.0.0", "::")
    assert _connects(context.ip, context.port)


# The global context


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

    def test_arguments_count_only_when_it_is_made(self) -> None:
        compactor.initialize(delegate="master", port=0, advertise_port=7)
        context = Context.singleton(delegate="master")

        assert context.is_alive()
        assert (context.delegate, context.port) == ("master", 7)
        compactor.initialize(delegate="master", advertise_port=8)
        assert Context.singleton(delegate="master", port=-1) is context
        assert context.port == 7

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


# The end of the program

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
    program = "from compactor import *\nspawn(Process('p'))\nspawn(Process('q'))\n"
    seconds = _duration(
        lambda: subprocess.run([sys.executable, "-W", "error", "-c", program], check=True)
    )

    assert seconds < 4
