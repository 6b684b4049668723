"""Connections in memory: as those through the kernel, for contexts of one OS process."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from typing import Any

import pytest

from compactor import PID, AskFailed, Context, Process, Reason, Settings, TlsSettings, answer
from compactor.net import handover
from compactor.net.handover import Handover, Offer
from compactor.testing.simulated.world import World
from compactor.testing.simulation import Simulation
from tests.actors import (
    TIMEOUT,
    Receiver,
    dead_letters,
    settle,
    spawned,
    take_letter,
    wait_until,
)
from tests.tls_fixture import Certificates

MakeContext = Callable[..., Context]


class Echo(Receiver):
    @answer("echo")
    def echo(self, from_pid: PID, body: bytes) -> bytes:
        return body


class End(asyncio.Protocol):
    """What happens at one end."""

    def __init__(self) -> None:
        self.seen: list[Any] = []
        self.transport: Any = None

    def connection_made(self, transport: Any) -> None:
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        self.seen.append(data)

    def eof_received(self) -> bool:
        self.seen.append("end")
        return True

    def connection_lost(self, exc: Exception | None) -> None:
        self.seen.append(exc)

    def pause_writing(self) -> None:
        self.seen.append("full")

    def resume_writing(self) -> None:
        self.seen.append("room")


class Lending(asyncio.BufferedProtocol):
    """Takes some bytes into a place of its own, and then has another protocol take the rest."""

    def __init__(self, size: int, then: End) -> None:
        self.place = bytearray(size)
        self.filled = 0
        self.then = then

    def get_buffer(self, sizehint: int) -> memoryview:
        return memoryview(self.place)[self.filled :]

    def buffer_updated(self, nbytes: int) -> None:
        self.filled += nbytes
        if self.filled == len(self.place):
            self.then.transport.set_protocol(self.then)


def two_ends(body: Callable[[End, End], Any]) -> None:
    """Have something done with both ends of a connection."""

    async def main() -> None:
        loop = asyncio.get_running_loop()
        there = End()
        offer = Offer(("127.0.0.1", 1), loop, lambda: there)
        try:
            here = handover.connect(offer, loop, End)
            await turns()
            await body(here, there)
        finally:
            offer.withdraw()
        assert handover.offer_of(("127.0.0.1", 1)) is None

    asyncio.run(main())


async def turns() -> None:
    for _ in range(5):
        await asyncio.sleep(0)


def test_bytes_arrive_in_order_and_what_is_changed_later_is_not() -> None:
    async def body(here: End, there: End) -> None:
        data = bytearray(b"1")
        here.transport.write(data)
        data[0] = 0
        here.transport.writelines([b"2", memoryview(b"3")])
        here.transport.write(b"")
        there.transport.write(b"back")
        await turns()
        assert b"".join(there.seen) == b"123"
        assert here.seen == [b"back"]
        assert here.transport.get_extra_info("peername") == ("127.0.0.1", 1)
        assert there.transport.get_extra_info("peername")[0] == "127.0.0.1"

    two_ends(body)


def test_a_writer_rests_while_nothing_is_read() -> None:
    async def body(here: End, there: End) -> None:
        there.transport.pause_reading()
        assert not there.transport.is_reading()
        here.transport.write(b"x" * 100_000)
        here.transport.write(b"y")
        await turns()
        assert here.seen == ["full"]
        assert here.transport.get_write_buffer_size() == 100_001
        there.transport.resume_reading()
        await turns()
        assert here.seen == ["full", "room"]
        assert here.transport.get_write_buffer_size() == 0
        assert len(b"".join(there.seen)) == 100_001

    two_ends(body)


def test_much_is_read_in_several_turns() -> None:
    async def body(here: End, there: End) -> None:
        for _ in range(10):
            here.transport.write(b"x" * 100_000)
        await turns()
        assert sum(map(len, there.seen)) == 1_000_000
        assert max(map(len, there.seen)) <= 256 * 1024

    two_ends(body)


def test_a_protocol_may_lend_the_place() -> None:
    async def body(here: End, there: End) -> None:
        lending = Lending(6, there)
        there.transport.set_protocol(lending)
        here.transport.write(b"1234")
        await turns()
        here.transport.write(b"5678")
        await turns()
        assert lending.place == b"123456"
        assert there.seen == [b"78"]

    two_ends(body)


@pytest.mark.parametrize("how", ["close", "abort", "write_eof"])
def test_the_end_comes_behind_what_was_written(how: str) -> None:
    async def body(here: End, there: End) -> None:
        here.transport.write(b"last")
        getattr(here.transport, how)()
        here.transport.write(b"too late")
        await turns()
        assert there.seen == [b"last", "end"]
        if how == "write_eof":
            there.transport.write(b"answer")
            there.transport.close()
            await turns()
            assert here.seen == [b"answer", "end"]
        else:
            assert here.seen == [None]
            assert here.transport.is_closing()
            there.transport.write(b"to nobody")
            await turns()
            assert isinstance(there.seen[-1], ConnectionResetError)

    two_ends(body)


def test_whoever_closes_and_has_not_read_all_resets_the_other_end() -> None:
    async def body(here: End, there: End) -> None:
        there.transport.pause_reading()
        here.transport.write(b"unread")
        there.transport.close()
        await turns()
        assert [type(each) for each in here.seen] in (
            [ConnectionResetError],
            [str, ConnectionResetError],
        )

    two_ends(body)


def test_who_refuses_in_the_moment_of_the_acceptance_resets() -> None:
    async def main() -> None:
        def refuse() -> End:
            raise ConnectionAbortedError("it is closed")

        loop = asyncio.get_running_loop()
        here = handover.connect(Offer(("127.0.0.1", 1), loop, refuse), loop, End)
        await turns()
        assert [type(each) for each in here.seen] == [ConnectionResetError]

    try:
        asyncio.run(main())
    finally:
        handover._offers.clear()


def test_a_loop_that_has_ended_refuses() -> None:
    ended = asyncio.new_event_loop()
    ended.close()
    offer = Offer(("127.0.0.1", 1), ended, End)

    async def main() -> None:
        with pytest.raises(ConnectionRefusedError):
            handover.connect(offer, asyncio.get_running_loop(), End)

    try:
        asyncio.run(main())
    finally:
        offer.withdraw()


def test_who_ends_before_the_loop_has_looked_resets() -> None:
    """A loop that is about to end takes calls, and does not make them."""
    idle = asyncio.new_event_loop()
    offer = Offer(("127.0.0.1", 1), idle, End)

    async def main() -> None:
        here = handover.connect(offer, asyncio.get_running_loop(), End)
        here.transport.write(b"last")
        offer.end()
        assert handover.offer_of(("127.0.0.1", 1)) is None
        await turns()
        assert [type(each) for each in here.seen] == [ConnectionResetError]
        assert here.transport.get_write_buffer_size() == 4
        with pytest.raises(ConnectionRefusedError):  # who looked before it was withdrawn
            handover.connect(offer, asyncio.get_running_loop(), End)
        assert not offer._ends

    try:
        asyncio.run(main())
    finally:
        idle.close()


def test_who_ends_loses_what_only_closes() -> None:
    async def body(here: End, there: End) -> None:
        offer = handover.offer_of(("127.0.0.1", 1))
        assert offer is not None
        assert len(offer._ends) == 1
        there.transport.close()
        offer.end()
        assert there.seen == [None]
        assert not offer._ends
        here.transport.write(b"too late")
        assert here.transport.get_write_buffer_size() == 8  # as what is unread
        await turns()
        assert "end" in here.seen or isinstance(here.seen[-1], ConnectionResetError)
        assert there.seen == [None]

    two_ends(body)


# Contexts


def in_memory(context: Context) -> bool:
    """Whether all that was accepted came so."""
    connections = context._runtime.server.connections
    return {type(each._transport) for each in connections} == {Handover}


def test_contexts_meet_in_memory(make_context: MakeContext) -> None:
    here, there = (make_context(local_handover=True) for _ in range(2))
    echo, receiver = spawned(there, Echo("echo")), spawned(here, Receiver())
    large = os.urandom(3_000_000)
    assert here.ask(echo.pid, "echo", large).result(TIMEOUT) == large
    receiver.link(echo.pid)
    for number in range(200):
        receiver.send(echo.pid, "message", b"%d" % number)
    assert [echo.received.take()[1] for _ in range(200)] == [b"%d" % n for n in range(200)]
    assert in_memory(there)
    there.terminate(echo.pid)
    assert receiver.exits.take() == (echo.pid, Reason.TERMINATED)
    letters = dead_letters(here)
    receiver.send(PID(there.ip, there.port, "nobody"), "message")
    assert take_letter(letters).reason is Reason.NO_PROCESS


def test_the_end_of_a_context_is_seen(make_context: MakeContext) -> None:
    here, there = (make_context(local_handover=True) for _ in range(2))
    echo, receiver = spawned(there, Echo("echo")), spawned(here, Receiver())
    receiver.link(echo.pid)
    assert here.ask(echo.pid, "echo", b"1").result(TIMEOUT) == b"1"
    there.stop(drain=TIMEOUT)
    there.join(TIMEOUT)
    assert receiver.exits.take()[1] == Reason.TERMINATED
    wait_until(lambda: not here._runtime.outgoing)  # on which it could be in flight
    letters = dead_letters(here)
    receiver.send(echo.pid, "message")
    assert take_letter(letters).reason is Reason.REFUSED


def test_a_receiver_that_does_not_read_is_met_by_the_same_bounds(make_context: MakeContext) -> None:
    settings = Settings(mailbox_high_water=8, max_parked_bytes=1_000_000)
    here, there = (make_context(local_handover=True, settings=settings) for _ in range(2))
    gate = asyncio.Event()

    class Slow(Receiver):
        async def initialize(self) -> None:
            await gate.wait()

    slow, sender = spawned(there, Slow("slow")), spawned(here, Process("sender"))
    letters = dead_letters(here)
    here.dispatch(
        sender.pid, lambda: [sender.send(slow.pid, "message", bytes(10_000)) for _ in range(300)]
    ).result(TIMEOUT)
    assert take_letter(letters).reason is Reason.OVERFLOW
    there._portal.post(gate.set)  # its thread may not have begun
    lost = len(letters.taken) + letters._items.qsize()
    wait_until(lambda: slow.received._items.qsize() >= 300 - lost)
    settle(slow)


@pytest.mark.parametrize("wants", [(True, False), (False, True)])
def test_both_have_to_want_it(make_context: MakeContext, wants: tuple[bool, bool]) -> None:
    here, there = (make_context(local_handover=each) for each in wants)
    echo = spawned(there, Echo("echo"))
    assert here.ask(echo.pid, "echo", b"1").result(TIMEOUT) == b"1"
    assert not in_memory(there)


def test_tls_is_never_left_out(make_context: MakeContext, certificates: Certificates) -> None:
    tls = certificates.settings()
    assert isinstance(tls, TlsSettings)
    here, there = (make_context(local_handover=True, tls=tls) for _ in range(2))
    echo = spawned(there, Echo("echo"))
    assert here.ask(echo.pid, "echo", b"1").result(TIMEOUT) == b"1"
    assert not in_memory(there)
    assert handover.offer_of((there.ip, there.port)) is None


def test_simulated_hosts_meet_in_their_network_only() -> None:
    async def scenario(world: World) -> None:
        a, b = (world.host(name).context(local_handover=True) for name in "ab")
        echo = b.spawn(Echo("echo"))
        assert await a.ask(echo, "echo", b"1", timeout=5) == b"1"
        assert not handover._offers
        world.partition(world.hosts["a"], world.hosts["b"])
        with pytest.raises((AskFailed, TimeoutError)):
            await a.ask(echo, "echo", b"2", timeout=5)

    Simulation(3).run(scenario)


def test_many_ask_from_both_sides_at_once(make_context: MakeContext) -> None:
    contexts = [make_context(local_handover=True) for _ in range(2)]
    echoes = [spawned(context, Echo("echo")) for context in contexts]
    asked = [
        (contexts[n % 2].ask(echoes[(n + 1) % 2].pid, "echo", b"%d" % n), b"%d" % n)
        for n in range(1000)
    ]
    assert all(future.result(TIMEOUT) == body for future, body in asked)


def test_an_end_that_is_lost_before_it_began_is_none() -> None:
    async def main() -> None:
        made: list[End] = []

        def accept() -> End:
            made.append(End())
            return made[-1]

        loop = asyncio.get_running_loop()
        here = handover.connect(Offer(("127.0.0.1", 1), loop, accept), loop, End)
        here.transport.other._break(ConnectionResetError("lost"))
        await turns()
        assert made == []
        here.transport.write(b"to nobody")
        await turns()
        assert [type(each) for each in here.seen] == [ConnectionResetError]

    try:
        asyncio.run(main())
    finally:
        handover._offers.clear()


def test_what_is_written_to_a_loop_that_ends_before_it_looks_is_told_to_be_lost() -> None:
    """It has taken a call, is closed without making it, and more is written."""
    there = asyncio.new_event_loop()
    offer = Offer(("127.0.0.1", 1), there, asyncio.Protocol)
    lost: list[Exception | None] = []

    class Here(asyncio.Protocol):
        def connection_made(self, transport: Any) -> None:
            self.transport = transport

        def connection_lost(self, exc: Exception | None) -> None:
            lost.append(exc)

    async def run() -> None:
        here = handover.connect(offer, asyncio.get_running_loop(), Here)
        await asyncio.sleep(0)
        here.transport.write(b"taken")
        there.close()
        here.transport.write(b"one more")
        for _ in range(5):
            await asyncio.sleep(0)

    try:
        asyncio.run(run())
    finally:
        offer.withdraw()
    assert [type(each) for each in lost] == [ConnectionResetError]
