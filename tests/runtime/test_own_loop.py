"""Context: in somebody's own loop, by ``async with`` or by ``loop=``."""

from __future__ import annotations

import asyncio
import concurrent.futures
import socket
import threading
from collections.abc import Callable
from typing import Any

import pytest

from compactor import PID, Context, Process, Reason, Settings, install
from compactor.errors import ContextError, ContextStopped
from tests.actors import TIMEOUT, Receiver, duration
from tests.ports import own_port
from tests.raw import connects

LoopFactory = Callable[[], asyncio.AbstractEventLoop]


@pytest.mark.smoke
def test_async_with_runs_in_the_running_loop_and_closes_everything(new_loop: LoopFactory) -> None:
    async def main() -> None:
        async with Context(ip="127.0.0.1", port=own_port()) as context:
            receiver = Receiver()
            context.spawn(receiver)
            loop = await context.dispatch(receiver.pid, _running_loop)
            assert loop is asyncio.get_running_loop()
            assert context.is_alive()
        assert not context.is_alive()
        assert not connects(context.ip, context.port)
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
    context = Context(ip="127.0.0.1", port=own_port())

    asyncio.run(context.aclose())

    assert not connects(context.ip, context.port)


class _Closing(Receiver):
    @install("close")
    async def close(self, from_pid: PID, body: bytes) -> None:
        await self.context.aclose()


def test_handler_that_awaits_aclose_closes_port_and_sockets(new_loop: LoopFactory) -> None:
    async def main() -> None:
        context = await Context(ip="127.0.0.1", port=own_port()).__aenter__()
        process = _Closing()
        context.spawn(process)
        with socket.create_connection((context.ip, context.port)) as peer:
            peer.setblocking(False)
            loop = asyncio.get_running_loop()
            await loop.sock_sendall(peer, b"GET /nothing HTTP/1.1\r\nHost: x\r\n\r\n")
            assert (await loop.sock_recv(peer, 4096)).startswith(b"HTTP/1.1 404")
            process.send(process.pid, "close")
            assert await asyncio.wait_for(loop.sock_recv(peer, 4096), TIMEOUT) == b""
        await asyncio.wait_for(context.aclose(), TIMEOUT)
        assert not context.is_alive()
        assert not connects(context.ip, context.port)

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
            await loop.sock_sendall(peer, b"GET /nothing HTTP/1.1\r\nHost: x\r\n\r\n")
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
        assert duration(lambda: context.join(TIMEOUT)) < TIMEOUT / 4
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
