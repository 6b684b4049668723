"""Back-pressure, end to end: a slow handler, a full mailbox, a held socket, a sender that waits."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import Callable
from typing import Any

import pytest

import compactor.inbound.listen
from compactor import PID, Context, Process, Settings, install
from compactor.actor.future import Future
from compactor.errors import ProcessError
from tests.actors import TIMEOUT, Events, Receiver, dead_letters, spawned, wait_until
from tests.raw import dead_port

ContextFactory = Callable[..., Context]
LoopFactory = Callable[[], asyncio.AbstractEventLoop]

KIB = 1024
SMALL = Settings(parked_high_water_bytes=64 * KIB, mailbox_high_water=100)


@pytest.fixture(autouse=True)
def _little_room_in_the_system(monkeypatch: pytest.MonkeyPatch) -> None:
    """Else megabytes fit into it before a sender has to wait."""

    def listen(*args: Any) -> Any:
        sock, address = compactor.inbound.listen.listen(*args)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 64 * KIB)  # accepted ones inherit it
        return sock, address

    monkeypatch.setattr("compactor.context.listen", listen)


class Slow(Process):
    """Handles nothing until it is let to; then counts."""

    def __init__(self) -> None:
        super().__init__("slow")
        self._may_go_on = Future[None]()
        self.count = 0

    def go_on(self) -> None:
        """Let it handle what waits and what comes."""
        self._may_go_on.set_result(None)

    @install("work")
    async def work(self, from_pid: PID, body: bytes) -> None:
        if not self._may_go_on.done():
            await self._may_go_on
        self.count += 1


class Sender(Process):
    """Sends as fast as it is let to."""

    def __init__(self, name: str = "sender") -> None:
        super().__init__(name)
        self.sent = 0
        self.events = Events()

    async def feed(self, to: PID, count: int, size: int) -> int:
        for _ in range(count):
            self.send(to, "work", bytes(size))
            self.sent += 1
            await self.drained(to)
        return self.sent


def standstill(sender: Sender) -> int:
    """How many messages a sender has sent when it sends no more."""
    seen = [-1]

    def is_standing() -> bool:
        seen.append(sender.sent)
        return len(seen) > 20 and len(set(seen[-20:])) == 1

    wait_until(is_standing)
    return sender.sent


@pytest.mark.parametrize("size", [100, 10 * KIB, 100 * KIB])
def test_a_sender_waits_for_a_slow_receiver_and_nothing_is_lost(
    make_context: ContextFactory, size: int
) -> None:
    here, there = make_context(settings=SMALL), make_context(settings=SMALL)
    letters = dead_letters(here)
    pressure = Events()
    here.on_backed_up(lambda address, is_backed_up: pressure.put((address, is_backed_up)))
    sender, slow = spawned(here, Sender()), spawned(there, Slow())
    count = (30_000_000 + 150 * size) // (size + 1000)

    done = here.dispatch(sender.pid, sender.feed, slow.pid, count, size)

    assert pressure.take() == (slow.pid.address, True)
    assert 0 < standstill(sender) < count
    assert here.metrics.snapshot()["backed_up"] == 1
    parked = here._runtime.peers[slow.pid.address].send_queue.size
    assert parked <= 64 * KIB + size + KIB
    slow.go_on()
    assert done.result(TIMEOUT * 6) == count
    wait_until(lambda: slow.count == count)
    assert pressure.take() == (slow.pid.address, False)
    wait_until(lambda: here.metrics.snapshot()["backed_up"] == 0)
    assert letters.is_empty


def test_a_local_sender_waits_too(make_context: ContextFactory) -> None:
    context = make_context(settings=SMALL)
    sender, slow = spawned(context, Sender()), spawned(context, Slow())

    done = context.dispatch(sender.pid, sender.feed, slow.pid, 1000, 10)

    assert 100 < standstill(sender) < 110
    slow.go_on()
    assert done.result(TIMEOUT) == 1000
    wait_until(lambda: slow.count == 1000)


@pytest.mark.parametrize(
    ("is_local", "size", "bounds"),
    [
        (False, 1000, {"max_parked_bytes": 400_000, "parked_high_water_bytes": 300_000}),
        (False, 1000, {"max_parked_bytes": 400_000}),
        (False, 100_000, {"max_parked_bytes": 400_000}),
        (False, 1000, {"max_parked_bytes": 1}),
        (True, 10, {"max_mailbox_events": 100}),
        (True, 10, {"max_mailbox_events": 1}),
    ],
    ids=str,
)
def test_a_sender_that_waits_loses_nothing_whatever_the_bounds(
    make_context: ContextFactory, is_local: bool, size: int, bounds: dict[str, int]
) -> None:
    here = make_context(settings=Settings(**bounds))  # type: ignore[arg-type]
    there = here if is_local else make_context(settings=SMALL)
    sender, slow = spawned(here, Sender()), spawned(there, Slow())
    count = (10_000_000 + 150 * size) // (size + 1000)

    done = here.dispatch(sender.pid, sender.feed, slow.pid, count, size)

    assert standstill(sender) < count
    slow.go_on()
    assert done.result(TIMEOUT * 6) == count
    wait_until(lambda: slow.count == count)
    assert here.metrics.snapshot()["dead_letters"] == 0


@pytest.mark.parametrize("is_local", [False, True])
def test_waits_that_are_cancelled_leave_nothing_behind(
    make_context: ContextFactory, is_local: bool
) -> None:
    class Impatient(Sender):
        async def look(self, to: PID) -> None:
            self.send(to, "work", b"")
            for _ in range(20):
                with contextlib.suppress(asyncio.TimeoutError):
                    await asyncio.wait_for(self.drained(to), 0.001)

    here = make_context(settings=SMALL)
    there = here if is_local else make_context(settings=SMALL)
    sender, slow = spawned(here, Impatient()), spawned(there, Slow())
    done = here.dispatch(sender.pid, sender.feed, slow.pid, 10_000, 1000)
    standstill(sender)
    full: Any = (
        here._runtime.registry.live["slow"] if is_local else here._runtime.peers[slow.pid.address]
    )
    assert len(full.feeders) == 1
    other = spawned(here, Impatient("other"))
    here.dispatch(other.pid, other.look, slow.pid).result(TIMEOUT)
    assert len(full.feeders) == 1
    slow.go_on()
    assert done.result(TIMEOUT * 6) == 10_000


def test_what_was_sent_before_the_loop_had_a_turn_counts(new_loop: LoopFactory) -> None:
    async def main() -> None:
        async with Context(ip="127.0.0.1", settings=SMALL) as context:
            sender, slow = spawned(context, Sender()), spawned(context, Slow())
            for _ in range(1000):
                sender.send(slow.pid, "work", b"")
            asyncio.get_running_loop().call_later(0.1, slow.go_on)
            await sender.drained(slow.pid)
            assert slow.count >= 1000 - 100 // 4

    loop = new_loop()
    loop.run_until_complete(main())
    loop.close()


def test_a_sender_that_waits_goes_on_when_the_receiver_ends(make_context: ContextFactory) -> None:
    context = make_context(settings=SMALL)
    letters = dead_letters(context)
    sender, slow = spawned(context, Sender()), spawned(context, Slow())
    done = context.dispatch(sender.pid, sender.feed, slow.pid, 1000, 10)
    standstill(sender)

    context.terminate(slow.pid)

    assert done.result(TIMEOUT) == 1000
    reasons = {str(letters.take().reason.value) for _ in range(900)}
    assert reasons <= {"terminated", "no such process"}


def test_a_sender_that_waits_goes_on_when_the_address_is_lost(
    make_context: ContextFactory,
) -> None:
    here, there = make_context(settings=SMALL), make_context(settings=SMALL)
    sender, slow = spawned(here, Sender()), spawned(there, Slow())
    done = here.dispatch(sender.pid, sender.feed, slow.pid, 10_000, 1000)
    standstill(sender)

    here.disconnect(slow.pid)

    before = sender.sent
    wait_until(lambda: sender.sent > before)
    slow.go_on()
    assert done.result(TIMEOUT * 6) == 10_000
    dropped = here.metrics.snapshot()["dead_letters/disconnected"]
    assert 0 < dropped < 10_000


def test_a_sender_that_waits_can_be_terminated(make_context: ContextFactory) -> None:
    here, there = make_context(settings=SMALL), make_context(settings=SMALL)
    sender, slow = spawned(here, Sender()), spawned(there, Slow())
    done = here.dispatch(sender.pid, sender.feed, slow.pid, 10_000, 1000)
    standstill(sender)

    here.terminate(sender.pid)

    with pytest.raises(ProcessError, match="terminated"):
        done.result(TIMEOUT)
    slow.go_on()


def test_nothing_to_wait_for_is_no_wait(make_context: ContextFactory) -> None:
    here, there = make_context(), make_context()
    sender = spawned(here, Sender())
    for to in (spawned(here, Receiver()).pid, spawned(there, Receiver()).pid):
        assert here.dispatch(sender.pid, sender.feed, to, 10, 10).result(TIMEOUT)
    nobody = PID("127.0.0.1", dead_port(), "nobody")
    assert here.dispatch(sender.pid, sender.feed, nobody, 10, 10).result(TIMEOUT)


def test_misuse_is_named(context: Context) -> None:
    sender = spawned(context, Sender())
    for to, error, text in (
        (sender.pid, ProcessError, "would wait for itself"),
        ("nobody", TypeError, "expected a PID"),
    ):
        with pytest.raises(error, match=text):
            context.dispatch(sender.pid, sender.drained, to).result(TIMEOUT)
    with pytest.raises(Context.Error, match="awaited on the context's loop"):
        asyncio.run(sender.drained(PID("127.0.0.1", 1, "x")))
    with pytest.raises(Process.UnboundProcess):
        asyncio.run(Sender().drained(sender.pid))


def test_a_failing_hook_harms_nothing(make_context: ContextFactory) -> None:
    here, there = make_context(settings=SMALL), make_context(settings=SMALL)
    here.on_backed_up(lambda address, is_backed_up: 1 / 0)
    sender, slow = spawned(here, Sender()), spawned(there, Slow())
    slow.go_on()
    assert here.dispatch(sender.pid, sender.feed, slow.pid, 5000, 1000).result(TIMEOUT) == 5000
    wait_until(lambda: slow.count == 5000)


def test_links_that_wait_count_like_messages(
    make_context: Callable[..., Context], deaf_port: int
) -> None:
    here = spawned(make_context(settings=SMALL), Receiver())

    def link_many() -> tuple[bool, int]:
        for number in range(2000):
            here.link(PID("127.0.0.1", deaf_port, f"x{number}"))
        send_queue = here.context._runtime.peers["127.0.0.1", deaf_port].send_queue
        return send_queue.is_backed_up, send_queue.size

    is_backed_up, size = here.context.dispatch(here.pid, link_many).result(TIMEOUT)
    assert is_backed_up
    assert size > 64 * KIB
