"""Asks and answers on the wire: heads repeat where numbers arrive, others are libprocess's own."""

from __future__ import annotations

import re
import socket
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from compactor import PID, AskTimeout, Context, Process, Reason, answer, install
from compactor.outbound.send_queue import ASKED, TAKEN
from compactor.pid import Temporary
from compactor.wire.encoder import encode_numbered, message_prefix
from tests.actors import TIMEOUT, Receiver, dead_letters, settle, spawned, take_letter, wait_until
from tests.ports import own_port
from tests.raw import SENDER, frame, have_no_notices, pid_at, read_answer
from tests.relay import Relay

MakeContext = Callable[..., Context]


class Store(Receiver):
    @answer("get")
    def get(self, from_pid: PID, key: bytes) -> bytes:
        self.received.put(from_pid)
        return b"value of " + key

    @answer("fail")
    async def fail(self, from_pid: PID, key: bytes) -> bytes:
        raise KeyError(key)

    @answer("nothing")
    def nothing(self, from_pid: PID, key: bytes) -> None: ...

    @install("installed")
    def installed(self, from_pid: PID, body: bytes) -> None:
        self.received.put(from_pid)
        self.send(from_pid, "whatever", b"by " + body)

    @install("keep")
    def keep(self, from_pid: PID, body: bytes) -> None:
        self.received.put(from_pid)


class User(Receiver):
    async def question(self, to: PID, name: str, body: bytes | None = None) -> Any:
        return await self.ask(to, name, body)


class Pair:
    """A store and a user, in two contexts that reach each other through relays."""

    def __init__(self, make_context: MakeContext, *relays: Relay) -> None:
        self.to_store, self.to_user = relays
        self.to_store.to, self.to_user.to = own_port(), own_port()
        there = make_context(port=self.to_store.to, advertise_port=self.to_store.port)
        here = make_context(port=self.to_user.to, advertise_port=self.to_user.port)
        self.store = spawned(there, Store("store"))
        self.user = spawned(here, User("user"))

    def ask(self, name: str, body: bytes | None = None) -> Any:
        context = self.user.context
        asked = context.dispatch(self.user.pid, "question", self.store.pid, name, body)
        return asked.result(TIMEOUT)

    def numbers(self) -> tuple[int, int]:
        """What is known of numbers at either end."""
        return numbers_of(self.user, self.store), numbers_of(self.store, self.user)

    def warm_up(self) -> None:
        """Ask until both ends have been told what they wanted to know."""

        def is_known() -> bool:
            self.ask("get", b"k")
            return ASKED not in self.numbers() and 0 not in self.numbers()

        wait_until(is_known)
        self.forget()

    def forget(self) -> None:
        self.to_store.carried = self.to_user.carried = b""
        while not self.store.received.is_empty:
            self.store.received.take()


def numbers_of(process: Process, to: Process) -> int:
    """What the context of a process knows about the connection to that of another."""
    peer = process.context._runtime.peers.get(to.pid.address)
    return 0 if peer is None else peer.send_queue.numbers


@pytest.fixture
def pair(make_context: MakeContext) -> Iterator[Pair]:
    with Relay() as to_store, Relay() as to_user:
        yield Pair(make_context, to_store, to_user)


def heads(carried: bytes) -> set[bytes]:
    """The heads of the messages in what was carried."""
    return set(re.findall(rb"POST /.*?\r\n\r\n", carried, re.DOTALL))


@pytest.mark.each_combination
def test_where_numbers_arrive_heads_repeat(pair: Pair) -> None:
    pair.warm_up()
    for key in (b"a", b"", b"c" * 700):
        assert pair.ask("get", key) == b"value of " + key
        assert pair.store.received.take() == pair.user.pid
    assert pair.ask("nothing") == b""
    asks, answers = pair.to_store.carried, pair.to_user.carried
    assert len(heads(asks)) == len(heads(answers)) == 2  # a head for each name
    sizes = re.findall(rb"\r\n([0-9a-f]+);a=(\d+)\r\n", asks)
    assert [size for size, _ in sizes] == [b"1", b"0", b"2bc", b"0"]
    assert re.findall(rb"\r\n[0-9a-f]+;r=(\d+)\r\n", answers) == [number for _, number in sizes]
    assert len({number for _, number in sizes}) == 4
    assert b"/user/" not in answers


def test_the_first_asks_are_those_of_libprocess(pair: Pair) -> None:
    assert pair.ask("get", b"k") == b"value of k"
    asks, answers = pair.to_store.carried, pair.to_user.carried
    (number,) = re.findall(rb"Libprocess-From: __req_res__\((\d+)\)@", asks)
    assert re.search(rb"POST /__req_res__\(%b\)/get HTTP/1.1\r\n" % number, answers)
    assert pair.store.received.take().id == f"__req_res__({number.decode()})"
    pair.warm_up()
    assert pair.ask("get", b"k") == b"value of k"
    assert b"__req_res__(" not in pair.to_store.carried + pair.to_user.carried


def test_what_has_no_answer_and_what_fails_has_a_number_as_well(pair: Pair) -> None:
    pair.warm_up()
    with pytest.raises(Exception, match="KeyError: b'k'"):
        pair.ask("fail", b"k")
    with pytest.raises(Exception, match="no handler"):
        pair.ask("unknown", b"k")
    assert b";r=" in pair.to_user.carried
    assert b"__req_res__(" not in pair.to_store.carried + pair.to_user.carried


def test_an_installed_handler_is_given_a_pid_that_answers_in_either_form(pair: Pair) -> None:
    for _ in range(2):
        assert pair.ask("installed", b"hand") == b"by hand"
        sender = pair.store.received.take()
        assert sender.id.startswith("__req_res__(")
        assert sender.address == pair.user.pid.address
        pair.warm_up()
    assert sender.asker == pair.user.pid


def test_asks_of_no_process_have_numbers_as_well(pair: Pair) -> None:
    pair.warm_up()
    assert pair.user.context.ask(pair.store.pid, "get", b"k").result(TIMEOUT) == b"value of k"
    assert type(pair.store.received.take()) is Temporary
    assert b";a=" in pair.to_store.carried


def test_a_proxy_that_takes_numbers_away_is_noticed(make_context: MakeContext) -> None:
    def strip(data: bytes) -> bytes:
        return re.sub(rb";[ar]=\d+", b"", data)

    with Relay(strip) as to_store, Relay(strip) as to_user:
        pair = Pair(make_context, to_store, to_user)

        def is_known() -> bool:
            assert pair.ask("get", b"k") == b"value of k"
            return pair.numbers() == (ASKED, ASKED)

        wait_until(is_known)
        for _ in range(5):
            assert is_known()
        for carried in (to_store.carried, to_user.carried):
            assert len(re.findall(rb";[ar]=\d", carried)) == 1  # the one that was tried
        assert pair.ask("installed", b"hand") == b"by hand"


def test_each_direction_is_found_out_by_itself(make_context: MakeContext) -> None:
    def strip(data: bytes) -> bytes:
        return re.sub(rb";[ar]=\d+", b"", data)

    with Relay(strip) as to_store, Relay() as to_user:
        pair = Pair(make_context, to_store, to_user)

        def is_known() -> bool:
            assert pair.ask("get", b"k") == b"value of k"
            return pair.numbers() == (ASKED, TAKEN)

        wait_until(is_known)
        pair.forget()
        assert pair.ask("get", b"k") == b"value of k"
        assert b";r=" in to_user.carried
        assert b"Libprocess-From: __req_res__(" in to_store.carried


def test_another_connection_is_asked_again(pair: Pair) -> None:
    pair.warm_up()
    pair.user.context.disconnect(pair.store.pid)
    settle(pair.user)
    assert numbers_of(pair.user, pair.store) == 0
    pair.warm_up()
    assert pair.ask("get", b"k") == b"value of k"
    assert b";a=" in pair.to_store.carried


def test_whoever_does_not_ask_sends_nothing_of_this(pair: Pair) -> None:
    pair.user.link(pair.store.pid)
    pair.user.send(pair.store.pid, "message", b"1")
    assert pair.store.received.take() == (pair.user.pid, b"1")
    assert pair.numbers() == (0, 0)
    assert b";" not in pair.to_store.carried


def test_peers_that_are_no_compactors_are_not_tried(
    context: Context, listener: socket.socket
) -> None:
    foreign, process = pid_at(listener, "foreign"), spawned(context, Receiver())
    first = context.ask(foreign, "get", b"k")
    accepted, _ = listener.accept()
    have_no_notices(listener)
    with accepted:
        others = [context.ask(foreign, "get", b"k") for _ in range(3)]
        process.send(foreign, "end")
        accepted.settimeout(TIMEOUT)
        carried = b""
        while b"/end" not in carried:
            carried += accepted.recv(1 << 16)
        assert b";" not in carried
        assert b"compactor.link" not in carried
        assert len(set(re.findall(rb"Libprocess-From: (__req_res__\(\d+\))@", carried))) == 4
        for question in (first, *others):
            question.cancel()


# Numbers that strangers have made up


def numbered(to: PID, kind: bytes, number: bytes, name: str = "get", sender: PID = SENDER) -> bytes:
    whole = encode_numbered(message_prefix(sender, to, name), kind, 1, b"forged")
    whole = whole.replace(b";%b=1\r\n" % kind, b";%b=%b\r\n" % (kind, number))
    return whole.replace(b"User-Agent: libprocess/", b"X: ")  # whose messages are not answered


MADE_UP = [b"0", b"17", b"-1", b"x", b"9" * 19, b"9" * 30, b"", b"17;r=18", b"1_7"]


@pytest.mark.parametrize("number", MADE_UP)
def test_answers_that_are_made_up_are_dead_letters(context: Context, number: bytes) -> None:
    store = spawned(context, Store("store"))
    letters = dead_letters(context)
    question = context.ask(store.pid, "keep")
    store.received.take()
    with socket.create_connection(store.pid.address, TIMEOUT) as sock:
        sock.sendall(numbered(PID(context.ip, context.port, "__req_res__"), b"r", number))
        assert read_answer(sock) == (404, b"404 Not Found.")
        sock.sendall(frame(store.pid, "message", b"the connection lives on"))
        assert read_answer(sock)[0] == 202
    assert take_letter(letters).reason is Reason.NO_PROCESS
    assert not question.done()
    assert store.received.take() == (SENDER, b"the connection lives on")
    question.cancel()


def test_an_answer_for_a_process_is_a_message_for_it(context: Context) -> None:
    store = spawned(context, Store("store"))
    question = context.ask(store.pid, "keep")
    number = str(store.received.take().id[12:-1]).encode()
    with socket.create_connection(store.pid.address, TIMEOUT) as sock:
        sock.sendall(numbered(store.pid, b"r", number, "message"))
        assert read_answer(sock)[0] == 202
    assert store.received.take() == (SENDER, b"forged")
    assert not question.done()
    question.cancel()


def test_the_right_number_answers_whoever_sends_it_and_once(context: Context) -> None:
    store = spawned(context, Store("store"))
    question = context.ask(store.pid, "keep")
    number = str(store.received.take().id[12:-1]).encode()
    letters = dead_letters(context)
    forged = numbered(PID(context.ip, context.port, "__req_res__"), b"r", number)
    with socket.create_connection(store.pid.address, TIMEOUT) as sock:
        sock.sendall(forged + forged)
        assert read_answer(sock)[0] == 202
        assert question.result(TIMEOUT) == b"forged"
        assert read_answer(sock)[0] == 404
    assert take_letter(letters).reason is Reason.NO_PROCESS


@pytest.mark.parametrize("number", [b"-1", b"x", b"9" * 30, b"", b"17;a=18", b"1_7"])
def test_a_number_that_is_none_does_not_ask(context: Context, number: bytes) -> None:
    store = spawned(context, Store("store"))
    with socket.create_connection(store.pid.address, TIMEOUT) as sock:
        sock.sendall(numbered(store.pid, b"a", number))
        assert read_answer(sock)[0] == 202
    assert store.received.take() == SENDER


def test_an_ask_that_is_made_up_is_answered_where_it_says_it_comes_from(
    context: Context, listener: socket.socket
) -> None:
    """As one of libprocess is; numbers that no compactor has, too, and in libprocess's form."""
    store = spawned(context, Store("store"))
    asker = pid_at(listener, "asker")
    with socket.create_connection(store.pid.address, TIMEOUT) as sock:
        for number in (b"17", b"0", b"9" * 20, b"007"):
            sock.sendall(numbered(store.pid, b"a", number, sender=asker))
            assert read_answer(sock)[0] == 202
            assert store.received.take() == asker
    accepted, _ = listener.accept()
    with accepted:
        accepted.settimeout(TIMEOUT)
        carried = b""
        while carried.count(b"value of forged") < 4:
            carried += accepted.recv(1 << 16)
    paths = re.findall(rb"POST (\S+) HTTP", carried)
    assert paths == [
        b"/__req_res__(%b)/get" % number for number in (b"17", b"0", b"9" * 20, b"007")
    ]


def test_an_answer_that_comes_late_is_a_dead_letter_of_its_own_ask_only(pair: Pair) -> None:
    pair.warm_up()
    context = pair.user.context
    with pytest.raises(AskTimeout):
        context.ask(pair.store.pid, "keep", timeout=0.01).result(TIMEOUT)
    late = pair.store.received.take()
    letters = dead_letters(context)
    other = context.ask(pair.store.pid, "keep")
    right = pair.store.received.take()
    pair.store.send(late, "get", b"late")
    assert take_letter(letters).reason is Reason.NO_PROCESS
    pair.store.send(right, "get", b"right")
    assert other.result(TIMEOUT) == b"right"
