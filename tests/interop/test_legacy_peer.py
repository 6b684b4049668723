"""compactor 0.3.0 on Python 2.7 is our live peer."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from compactor import PID, AskFailed, Context, Reason
from compactor.process import Process

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
