"""compactor 0.3.0 on Python 2.7 is our live peer."""

from __future__ import annotations

import socket
import time
from collections.abc import Callable

import pytest

from compactor import PID, AskFailed, AskTimeout, Context, Reason, answer
from compactor.outbound.send_queue import BROKE, TAKEN
from compactor.process import Process
from compactor.wire import notices
from tests.actors import peer_of
from tests.ports import own_port
from tests.raw import frame
from tests.relay import Relay

from .events import Events
from .programs import TIMEOUT, Program

ALL_BYTES = bytes(range(256))

LegacyPeer = Callable[[], Program]


class Ours(Process):
    """What it receives goes into ``events``."""

    def __init__(self, name: str = "ours(1)") -> None:
        super().__init__(name)
        self.events = Events()

    @Process.install("echoed")
    def echoed(self, from_pid: PID, body: bytes) -> None:
        self.events.add("echoed", from_pid, body)

    @Process.install("note")
    def note(self, from_pid: PID, body: bytes) -> None:
        self.events.add("note", from_pid, body)

    @answer("asked")
    def asked(self, from_pid: PID, body: bytes) -> bytes:
        self.events.add("asked", from_pid, body)
        return b"answer to " + body

    def exited(self, pid: PID, reason: Reason) -> None:
        self.events.add("exited", pid, reason)


def started(context: Context, program: Program) -> tuple[Ours, PID]:
    """A process of ours, and the pid of theirs."""
    ours = Ours()
    context.spawn(ours)
    return ours, PID.from_string(program.expect("PID")[0])


def test_our_messages_reach_it_and_its_answers_reach_us(
    context: Context, legacy_peer: LegacyPeer
) -> None:
    peer = legacy_peer()
    ours, theirs = started(context, peer)
    for body in (b"hello", ALL_BYTES, ALL_BYTES * 1000):
        ours.send(theirs, "echo", body)
        assert peer.expect("GOT") == ["echo", str(ours.pid), body.hex()]
        assert ours.events.expect("echoed") == (theirs, body)


def test_message_without_content_arrives_empty_both_ways(
    context: Context, legacy_peer: LegacyPeer
) -> None:
    peer = legacy_peer()
    ours, theirs = started(context, peer)
    ours.send(theirs, "echo")
    assert peer.expect("GOT") == ["echo", str(ours.pid), ""]
    assert ours.events.expect("echoed") == (theirs, b"")
    peer.tell("send", ours.pid, "note")
    assert ours.events.expect("note") == (theirs, b"")


def test_its_burst_arrives_whole_and_in_order(context: Context, legacy_peer: LegacyPeer) -> None:
    peer = legacy_peer()
    ours, theirs = started(context, peer)
    peer.tell("burst", ours.pid, "note", 300)
    expected = [(theirs, b"%d" % number) for number in range(300)]
    assert ours.events.expect_all("note", 300) == expected


def test_our_burst_arrives_whole_and_in_order(context: Context, legacy_peer: LegacyPeer) -> None:
    peer = legacy_peer()
    ours, theirs = started(context, peer)
    for number in range(300):
        ours.send(theirs, "note", b"%d" % number)
    got = [peer.expect("GOT") for _ in range(300)]
    assert [words[2] for words in got] == [(b"%d" % number).hex() for number in range(300)]


def test_link_to_it_stays_until_it_is_killed(context: Context, legacy_peer: LegacyPeer) -> None:
    peer = legacy_peer()
    ours, theirs = started(context, peer)
    ours.link(theirs)
    ours.send(theirs, "echo", b"x")
    ours.events.expect("echoed")
    ours.send(theirs, "unknown")  # it answers 405, to an id it does not know too
    ours.send(theirs, "fail")  # it answers 500
    ours.send(theirs, "echo", b"y")
    ours.events.expect("echoed")
    assert ours.events.seen("exited") == []
    peer.kill()
    pid, reason = ours.events.expect("exited")
    assert pid == theirs
    assert reason in (Reason.CLOSED, Reason.RESET)
    assert len(ours.events.seen("exited")) == 1


def test_link_alone_notices_that_it_is_killed(context: Context, legacy_peer: LegacyPeer) -> None:
    peer = legacy_peer()
    ours, theirs = started(context, peer)
    ours.link(theirs)
    peer.kill()
    assert ours.events.expect("exited")[0] == theirs


def test_its_link_to_us_breaks_when_our_context_stops(
    context: Context, legacy_peer: LegacyPeer
) -> None:
    peer = legacy_peer()
    ours, _ = started(context, peer)
    peer.tell("link", ours.pid)
    peer.tell("send", ours.pid, "note")  # its link connects by sending only
    ours.events.expect("note")
    context.stop()
    assert peer.expect("EXITED") == [str(ours.pid)]


def test_new_one_is_reached_after_the_first_was_killed(
    context: Context, legacy_peer: LegacyPeer
) -> None:
    peer = legacy_peer()
    ours, theirs = started(context, peer)
    ours.link(theirs)
    peer.kill()
    ours.events.expect("exited")
    peer = legacy_peer()
    theirs = PID.from_string(peer.expect("PID")[0])
    ours.link(theirs)
    ours.send(theirs, "echo", b"again")
    assert ours.events.expect("echoed") == (theirs, b"again")
    peer.kill()
    assert ours.events.expect("exited")[0] == theirs


def test_it_is_asked_and_answers(context: Context, legacy_peer: LegacyPeer) -> None:
    peer = legacy_peer()
    theirs = PID.from_string(peer.expect("PID")[0])
    for body in (b"question", ALL_BYTES):
        question = context.ask(theirs, "echo", body)
        assert peer.expect("GOT")[2] == body.hex()
        assert question.result(TIMEOUT) == body
    with pytest.raises(AskFailed) as failed:
        context.ask(theirs, "unknown").result(TIMEOUT)
    assert failed.value.reason is Reason.REJECTED


def test_many_asks_at_once_are_answered_on_one_connection_that_stays(
    context: Context, legacy_peer: LegacyPeer
) -> None:
    """What compactors try between each other is not tried with it: it would break on that."""
    peer = legacy_peer()
    ours, theirs = started(context, peer)
    ours.link(theirs)
    bodies = [b"%d" % number for number in range(100)]

    async def ask_all() -> list[bytes]:
        return [await each for each in [ours.ask(theirs, "echo", body) for body in bodies]]

    assert context.dispatch(ours.pid, ask_all).result(TIMEOUT) == bodies
    assert ours.events.seen("exited") == []
    with pytest.raises(AskTimeout):
        context.ask(theirs, "note", b"answers nothing", timeout=0.2).result(TIMEOUT)
    with pytest.raises(AskFailed) as failed:
        context.ask(theirs, "fail").result(TIMEOUT)  # it answers 500
    assert failed.value.reason is Reason.REJECTED
    assert context.ask(theirs, "echo", b"still there").result(TIMEOUT) == b"still there"
    assert ours.events.seen("exited") == []


def test_its_messages_to_a_method_that_answers_are_handled(
    context: Context, legacy_peer: LegacyPeer
) -> None:
    peer = legacy_peer()
    ours, theirs = started(context, peer)
    peer.tell("send", ours.pid, "asked", b"x".hex())
    assert ours.events.expect("asked") == (theirs, b"x")
    assert context.ask(ours.pid, "asked", b"y").result(TIMEOUT) == b"answer to y"


class Echo(Process):
    """A compactor of today that is called as theirs is."""

    @answer("echo")
    def echo(self, from_pid: PID, body: bytes) -> bytes:
        return body


def test_an_address_that_it_takes_over_is_asked_as_it_understands(
    new_context: Callable[..., Context], legacy_peer: LegacyPeer
) -> None:
    """Of asks that wait, too, none has the form that it would break on."""
    program = legacy_peer()
    theirs = PID.from_string(program.expect("PID")[0])
    with Relay() as relay:
        relay.to = own_port()
        there = new_context(port=relay.to, advertise_port=relay.port)
        here, ours = new_context(), Ours()
        here.spawn(ours)
        to = there.spawn(Echo(theirs.id))

        async def ask(*bodies: bytes) -> list[bytes]:
            return [await each for each in [ours.ask(to, "echo", body) for body in bodies]]

        async def ask_anew() -> list[bytes]:
            asked = [ours.ask(to, "echo", b"%d" % number) for number in range(50)]
            ours.link(to, reconnect=True)
            return [await each for each in asked]

        deadline = time.monotonic() + TIMEOUT
        queue = peer_of(here, to).send_queue
        while queue.numbers != TAKEN:
            assert here.dispatch(ours.pid, ask, b"x").result(TIMEOUT) == [b"x"]
            assert time.monotonic() < deadline
        relay.to = theirs.port
        expected = [b"%d" % number for number in range(50)]
        assert here.dispatch(ours.pid, ask_anew).result(TIMEOUT) == expected
        assert here.dispatch(ours.pid, ask, *expected).result(TIMEOUT) == expected
        assert ours.events.seen("exited") == []


def test_whoever_asks_for_notices_in_its_name_has_one_connection_to_it_broken(
    context: Context, legacy_peer: LegacyPeer
) -> None:
    """A program on its machine may say that it is a compactor.  It is believed once."""
    peer = legacy_peer()
    ours, theirs = started(context, peer)
    nobody = PID(*theirs.address, "")
    asked = frame(ours.pid, "asked", b"z", sender=PID(*theirs.address, "__req_res__(17)"))
    queue = peer_of(context, theirs).send_queue
    with socket.create_connection(ours.pid.address, TIMEOUT) as sock:
        sock.sendall(notices.request(f"127.0.0.1:{context.port}", nobody, "x" * 32))
        assert sock.recv(12) == b"HTTP/1.1 200"
        with socket.create_connection(ours.pid.address, TIMEOUT) as asking:
            asking.sendall(asked)
            deadline = time.monotonic() + TIMEOUT
            while queue.numbers != BROKE:
                assert time.monotonic() < deadline
                time.sleep(0.01)
            asking.sendall(asked)
            for number in range(20):
                ours.send(theirs, "echo", b"%d" % number)
                assert ours.events.expect("echoed") == (theirs, b"%d" % number)
    assert len(ours.events.seen("asked")) == 2
