"""Turns: what one connection has sent at once does not keep others waiting for all of it."""

from __future__ import annotations

import itertools
import socket
import threading
import time
from collections.abc import Callable

import pytest

from compactor import PID, Context, DeadLetter, Process, Reason, Request, Settings, route
from compactor.runtime import hot_path
from tests.actors import TIMEOUT, Receiver, peer_of, settle, spawned, wait_until
from tests.raw import dead_port, pid_at
from tests.tls_fixture import Certificates

pytestmark = pytest.mark.each_combination

MakeContext = Callable[..., Context]
Connect = Callable[[Context], socket.socket]

MANY = 400
LOST = 5_000
SECONDS = 0.001  # that each takes
REFUSED = b"HTTP/1.1 404 N\r\nContent-Length: 14\r\n\r\n404 Not Found."


def message(path: str, size: int = 0) -> bytes:
    """The head of a message."""
    lines = f"POST /{path} HTTP/1.1", "Libprocess-From: x@127.0.0.1:1", f"Content-Length: {size}"
    return "\r\n".join((*lines, "", "")).encode()


class Web(Receiver):
    """Counts what has been served, each of which takes a while."""

    served = 0

    def serve_one(self, _what: object = None) -> None:
        self.served += 1
        time.sleep(SECONDS)

    @route("/slow")
    def slow(self, request: Request) -> str:
        self.serve_one()
        return "slow"


class Teller(Receiver):
    """Tells how many the other one has served."""

    def __init__(self, web: Web) -> None:
        super().__init__("teller")
        self.web = web

    @route("/served")
    def served(self, request: Request) -> str:
        return str(self.web.served)


def web_on(context: Context) -> Web:
    web = spawned(context, Web("web"))
    context.spawn(Teller(web))
    context.on_dead_letter(web.serve_one)
    return web


def answer_of(client: socket.socket) -> bytes:
    client.sendall(b"GET /teller/served HTTP/1.1\r\nHost: x\r\n\r\n")
    return last_line(client)


def last_line(client: socket.socket) -> bytes:
    return client.recv(4096).rpartition(b"\r\n\r\n")[2]


@pytest.mark.parametrize("kind", ["requests", "to nobody", "without a handler"])
def test_another_connection_is_answered_before_all_of_many(
    make_context: MakeContext, connect: Connect, kind: str
) -> None:
    web = web_on(make_context(settings=Settings(max_pipelined=MANY)))
    hog, other = connect(web.context), connect(web.context)
    other.settimeout(TIMEOUT)
    assert answer_of(other) == b"0"
    if kind == "requests":
        hog.sendall(b"GET /web/slow HTTP/1.1\r\nHost: x\r\n\r\n" * MANY)
    else:
        to = "nobody" if kind == "to nobody" else "web"
        hog.sendall(b"".join(message(f"{to}/m{number}") for number in range(MANY)))
    wait_until(lambda: web.served)
    assert int(answer_of(other)) < MANY // 2
    wait_until(lambda: web.served == MANY)


def test_all_that_a_broken_connection_brought_is_served_in_turns_too(
    make_context: MakeContext, connect: Connect
) -> None:
    web = web_on(make_context())
    letters: list[DeadLetter] = []
    web.context.on_dead_letter(letters.append)
    hog, other = connect(web.context), connect(web.context)
    other.settimeout(TIMEOUT)
    assert answer_of(other) == b"0"
    hog.sendall(b"".join(message(f"nobody/m{number}") for number in range(MANY)))
    hog.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
    wait_until(lambda: web.served)
    hog.close()  # a reset
    assert int(answer_of(other)) < MANY // 2
    wait_until(lambda: len(letters) == MANY)
    assert [letter.name for letter in letters] == [f"m{number}" for number in range(MANY)]
    wait_until(lambda: len(web.context._runtime.server.connections) == 1)


def test_what_waits_for_its_turn_before_a_large_body_is_served_although_that_comes_on(
    make_context: MakeContext, connect: Connect
) -> None:
    """It waited for ever: a large body was to be read first, which was to wait for it."""
    web, body = web_on(make_context()), bytes(1 << 20)
    large = message("web/message", len(body))
    client = connect(web.context)
    slow = b"GET /web/slow HTTP/1.1\r\nHost: x\r\n\r\n" * 5  # more than a turn
    client.sendall(slow + message("web/message") + large + body)
    assert [len(body) for _, body in web.received.take_many(2)] == [0, 1 << 20]
    client.sendall(message("web/message"))
    assert web.received.take()[1] == b""


@pytest.mark.parametrize("secure", [False, True], ids=["plain", "tls"])
def test_more_than_fits_into_many_turns_is_all_served_in_order(
    make_context: MakeContext, certificates: Certificates, secure: bool
) -> None:
    tls = certificates.settings() if secure else False
    here, there = spawned(make_context(tls=tls), Receiver("a")), make_context(tls=tls)
    receiver = spawned(there, Receiver("b"))
    count = 20_000
    for number in range(count):
        here.send(receiver.pid, "message", b"%d" % number)
    received = [int(body) for _, body in receiver.received.take_many(count)]
    assert received == list(range(count))
    settle(receiver)
    assert receiver.received.is_empty


@pytest.mark.parametrize("size", [0, 200_000])
def test_tls_that_rests_after_each_piece_hands_over_all_and_then_the_end(
    make_context: MakeContext,
    certificates: Certificates,
    monkeypatch: pytest.MonkeyPatch,
    size: int,
) -> None:
    monkeypatch.setattr("compactor.tls.transport.TURN_SECONDS", -1.0)
    monkeypatch.setattr("compactor.tls.records._MAX_RECORDS", 2)
    tls = certificates.settings()
    here, there = spawned(make_context(tls=tls), Receiver("a")), make_context(tls=tls)
    receiver = spawned(there, Receiver("b"))
    here.link(receiver.pid)
    for number in range(200):
        here.send(receiver.pid, "message", b"%d" % number + bytes(size))
    received = [body.rstrip(b"\0") for _, body in receiver.received.take_many(200)]
    assert received == [b"%d" % number for number in range(200)]
    here.context.stop()
    here.context.join(TIMEOUT)
    wait_until(lambda: not there._runtime.server.connections)


def test_requests_behind_an_end_of_the_stream_are_answered(
    make_context: MakeContext, connect: Connect
) -> None:
    web = web_on(make_context())
    client = connect(web.context)
    client.settimeout(TIMEOUT)
    paths = b"".join(b"GET /%d HTTP/1.1\r\nHost: x\r\n\r\n" % number for number in range(1000))
    client.sendall(paths + b"GET /teller/served HTTP/1.1\r\nHost: x\r\n\r\n")
    client.shutdown(socket.SHUT_WR)
    seen = b""
    while data := client.recv(65536):
        seen += data
    assert seen.count(b"HTTP/1.1 404") == 1000
    assert seen.endswith(b"\r\n\r\n0")


def test_another_connection_is_answered_before_all_answers_of_a_peer_are_read(
    make_context: MakeContext, connect: Connect, listener: socket.socket
) -> None:
    count = 2000
    web = spawned(make_context(), Web("web"))
    web.context.spawn(Teller(web))
    other = connect(web.context)
    other.settimeout(TIMEOUT)

    def on_letter(_: DeadLetter) -> None:
        if not web.served:
            other.sendall(b"GET /teller/served HTTP/1.1\r\nHost: x\r\n\r\n")
        web.served += 1

    web.context.on_dead_letter(on_letter)
    to = pid_at(listener)
    for _ in range(count):
        web.send(to, "message")
    peer, _ = listener.accept()
    with peer:
        wait_until(lambda: peer_of(web.context, to).send_queue.written == count)
        peer.sendall(REFUSED * count)
        assert 0 < int(last_line(other)) < count
        wait_until(lambda: web.served == count)


@pytest.mark.usefixtures("links_are_not_waited_for")
def test_answers_of_a_connection_that_breaks_are_read_all_the_same(
    make_context: MakeContext, listener: socket.socket
) -> None:
    count = 1000
    here = spawned(make_context(), Receiver())
    letters: list[DeadLetter] = []
    here.context.on_dead_letter(letters.append)
    to = pid_at(listener)
    here.link(to)
    for _ in range(count):
        here.send(to, "message")
    peer, _ = listener.accept()
    wait_until(lambda: peer_of(here.context, to).send_queue.written == count)
    peer.sendall(REFUSED * count)
    peer.close()
    assert here.exits.take() == (to, Reason.NO_PROCESS)
    wait_until(lambda: len(letters) == count)
    assert {letter.reason for letter in letters} == {Reason.NO_PROCESS}


@pytest.mark.usefixtures("links_are_not_waited_for")
@pytest.mark.parametrize("act", ["disconnect", "reconnect", "stop"])
def test_a_connection_may_be_given_up_while_what_it_brought_is_still_read(
    make_context: MakeContext,
    listener: socket.socket,
    act: str,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("compactor.wire.response_decoder._STEP", 50)
    monkeypatch.setattr("compactor.outbound.connection.TURN_SECONDS", -1.0)
    count = 900  # which the system holds, until they are read
    here = spawned(make_context(), Receiver())
    context, to = here.context, pid_at(listener)
    letters, behind = [0], [0]  # all, and those since the connection was lost
    begun, closed, acted = threading.Event(), threading.Event(), threading.Event()

    def on_letter(_: DeadLetter) -> None:
        letters[0] += 1
        behind[0] += not context._runtime.outgoing
        if letters[0] == 1:
            begun.set()
            assert closed.wait(TIMEOUT)
        elif letters[0] == 100:  # reading rests, but writing finds that there is no peer
            here.send(to, "more")
        elif behind[0] == 100:  # of more than one turn
            acted.set()
            if act == "disconnect":
                context.disconnect(to)
            elif act == "reconnect":
                here.link(to, reconnect=True)
            else:
                context.stop()

    context.on_dead_letter(on_letter)
    here.link(to)
    for _ in range(count + 1):
        here.send(to, "message")
    peer, _ = listener.accept()
    wait_until(lambda: peer_of(context, to).send_queue.written == count + 1)
    peer.sendall(REFUSED)
    assert begun.wait(TIMEOUT)
    peer.sendall(REFUSED * count)
    peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
    peer.close()
    closed.set()
    assert acted.wait(TIMEOUT)
    if act == "stop":
        context.join(TIMEOUT)
        assert not context.is_alive()
    else:
        assert here.exits.take()[0] == to
        settle(here)
    assert "Traceback" not in caplog.text


# Losses


def ask_while_letters_come(context: Context, other: socket.socket) -> list[DeadLetter]:
    """Have a letter ask how many there are; the list has all that came."""
    letters: list[DeadLetter] = []

    class Counter(Process):
        @route("/letters")
        def count(self, request: Request) -> str:
            return str(len(letters))

    context.spawn(Counter("counter"))

    def on_letter(letter: DeadLetter) -> None:
        if not letters:
            other.sendall(b"GET /counter/letters HTTP/1.1\r\nHost: x\r\n\r\n")
        letters.append(letter)

    context.on_dead_letter(on_letter)
    return letters


def test_others_are_answered_while_what_was_parked_is_reported(
    make_context: MakeContext, connect: Connect, listener: socket.socket
) -> None:
    context = make_context()
    sender = spawned(context, Receiver())
    other = connect(context)
    other.settimeout(TIMEOUT)
    letters = ask_while_letters_come(context, other)
    to = pid_at(listener)

    def send_all() -> None:
        sender.link(to)
        for number in range(LOST):
            sender.send(to, "message", b"%d" % number)
        context.disconnect(to)

    context.dispatch(sender.pid, send_all).result(TIMEOUT)
    assert 0 < int(last_line(other)) < LOST
    wait_until(lambda: len(letters) == LOST)
    assert {(letter.reason, letter.to) for letter in letters} == {(Reason.DISCONNECTED, to)}
    assert [letter.size for letter in letters] == [len(b"%d" % n) for n in range(LOST)]


def test_a_second_loss_of_an_address_does_not_have_the_first_reported_in_one_go(
    make_context: MakeContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("compactor.actor.slices.TURN_SECONDS", 0.0)
    context = make_context()
    sender, to = spawned(context, Receiver()), PID("127.0.0.1", dead_port(), "x")
    letters: list[DeadLetter] = []
    turns: list[int] = []

    def send_many() -> None:
        for _ in range(LOST):
            sender.send(to, "message")

    def on_letter(letter: DeadLetter) -> None:
        if len(letters) == 100:
            context._runtime.run_queue.loop.call_soon(take_turns)
        letters.append(letter)

    def take_turns() -> None:
        turns.append(len(letters))
        if len(turns) == 10:
            sender.send(to, "again")
        if len(letters) < LOST + 1:
            context._runtime.run_queue.loop.call_soon(take_turns)

    context.on_dead_letter(on_letter)
    context.dispatch(sender.pid, send_many).result(TIMEOUT)
    wait_until(lambda: len(letters) == LOST + 1)
    assert letters[-1].name == "again"
    assert max(after - before for before, after in itertools.pairwise(turns)) <= 64


def test_others_are_served_while_many_linkers_hear_of_a_lost_address(
    make_context: MakeContext, listener: socket.socket, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("compactor.actor.slices.TURN_SECONDS", 0.0)
    here = spawned(make_context(), Receiver())
    pids = [pid_at(listener, f"x{number}") for number in range(1000)]

    def link_and_lose() -> int:
        for pid in pids:
            here.link(pid)
        here.context.disconnect(pids[0])
        return len(here.context._runtime.registry.live[here.pid.id].queue)

    assert here.context.dispatch(here.pid, link_and_lose).result(TIMEOUT) < 100
    assert here.exits.take_many(1000) == [(pid, Reason.DISCONNECTED) for pid in pids]


def test_a_second_loss_of_links_does_not_have_the_first_told_in_one_go(
    make_context: MakeContext, listener: socket.socket, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("compactor.actor.slices.TURN_SECONDS", 0.0)
    context = make_context()
    here, other = spawned(context, Receiver("here")), spawned(context, Receiver("other"))
    pids = [pid_at(listener, f"x{number}") for number in range(1000)]

    def link_and_lose() -> int:
        for pid in pids:
            other.link(pid)
        for _ in range(2):
            for pid in pids:
                here.link(pid)
            here.context.disconnect(pids[0])
        context.terminate(other.pid)  # who has ended is told nothing
        return len(context._runtime.registry.live[here.pid.id].queue)

    assert context.dispatch(here.pid, link_and_lose).result(TIMEOUT) < 200
    assert sorted(here.exits.take_many(2000)) == sorted(
        [(p, Reason.DISCONNECTED) for p in pids * 2]
    )
    settle(here)
    assert here.exits.is_empty
    wait_until(lambda: not context._runtime.watches.links.linked)


def test_others_are_answered_while_what_a_process_had_waiting_is_reported(
    make_context: MakeContext, connect: Connect
) -> None:
    context = make_context()
    ending, other = spawned(context, Receiver("ending")), connect(context)
    other.settimeout(TIMEOUT)
    letters = ask_while_letters_come(context, other)

    def send_all() -> None:
        for _ in range(LOST):
            ending.send(ending.pid, "message")
        ending.terminate()

    context.dispatch(ending.pid, send_all).result(TIMEOUT)
    assert 0 < int(last_line(other)) < LOST
    wait_until(lambda: len(letters) == LOST)
    assert {letter.reason for letter in letters} == {Reason.TERMINATED}


def test_all_that_is_lost_has_been_reported_when_a_context_has_stopped(
    make_context: MakeContext, listener: socket.socket
) -> None:
    context = make_context()
    sender = spawned(context, Receiver())
    letters: list[DeadLetter] = []
    context.on_dead_letter(letters.append)

    def send_and_stop() -> None:
        for _ in range(LOST):
            sender.send(pid_at(listener), "message")
        context.disconnect(pid_at(listener))
        assert len(letters) < LOST
        context.stop()

    context.dispatch(sender.pid, send_and_stop).result(TIMEOUT)
    context.join()
    assert len(letters) == LOST


def test_what_hooks_lose_while_they_are_told_of_a_loss_is_reported_too(
    make_context: MakeContext, listener: socket.socket
) -> None:
    context = make_context()
    sender = spawned(context, Receiver())
    letters: list[DeadLetter] = []
    to = pid_at(listener)

    def lose_more(letter: DeadLetter) -> None:
        letters.append(letter)
        if len(letters) in (10, LOST // 2):
            for _ in range(LOST):
                sender.send(to, "again")
            context.disconnect(to)

    context.on_dead_letter(lose_more)

    def send_all() -> None:
        for _ in range(LOST):
            sender.send(to, "message")
        context.disconnect(to)

    context.dispatch(sender.pid, send_all).result(TIMEOUT)
    wait_until(lambda: len(letters) == 3 * LOST)
    assert [letter.name for letter in letters].count("again") == 2 * LOST


# The decoder


@pytest.mark.usefixtures("backend")
@pytest.mark.parametrize(
    ("stream", "count"),
    [
        (b"".join(b"GET /%d HTTP/1.1\r\nHost: x\r\n\r\n" % number for number in range(500)), 500),
        (
            b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
            + b"1\r\nx\r\n" * 10_000
            + b"0\r\n\r\n",
            1,
        ),
        (
            b"".join(
                b"GET /%d HTTP/1.1\r\nHost: x\r\n%b\r\n" % (n, b"a:\r\n" * 999) for n in range(5)
            ),
            5,
        ),
    ],
    ids=["heads", "chunks", "fields"],
)
def test_a_decoder_takes_many_steps_for_what_takes_long(stream: bytes, count: int) -> None:
    decoder = hot_path.chosen.RequestDecoder(80 * 1024, 1 << 22)
    events, steps = decoder.feed_some(stream), 1
    while decoder.has_more:
        assert decoder.unfinished
        events += decoder.feed_some(b"")
        steps += 1
    assert steps > 1
    assert len(events) == 2 * count
    assert not decoder.unfinished
    assert decoder.error is None


@pytest.mark.usefixtures("backend")
def test_what_comes_between_two_steps_comes_behind_the_rest() -> None:
    decoder = hot_path.chosen.RequestDecoder(80 * 1024, 1 << 20)
    heads = [b"GET /%d HTTP/1.1\r\nHost: x\r\n\r\n" % number for number in range(200)]
    events = decoder.feed_some(b"".join(heads[:100]))
    assert decoder.has_more
    events += decoder.feed_some(b"".join(heads[100:]) + b"nonsense\r\n\r\n")
    events += decoder.feed(b"")
    assert [head.path for head in events[::2]] == [b"/%d" % number for number in range(200)]
    assert decoder.error is not None
    assert not decoder.has_more
