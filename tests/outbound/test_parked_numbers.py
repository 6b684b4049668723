"""Asks and answers with numbers that are parked when the connection changes, or leads elsewhere."""

from __future__ import annotations

import contextlib
import re
import socket
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from compactor import PID, AskFailed, Context, Process, answer, install
from compactor.outbound.send_queue import ASKED, BROKE, TAKEN
from compactor.outbound.unnumbered import unnumbered
from compactor.wire import notices
from compactor.wire.encoder import (
    TypedName,
    encode_message,
    encode_numbered,
    message_prefix,
)
from compactor.wire.request_decoder import RequestDecoder
from tests.actors import TIMEOUT, Receiver, peer_of, spawned, wait_until
from tests.ports import own_port
from tests.raw import frame, have_no_notices, pid_at, read_bytes
from tests.relay import Relay

MakeContext = Callable[..., Context]


class Store(Receiver):
    @answer("get")
    def get(self, from_pid: PID, key: bytes) -> bytes:
        return b"value of " + key


class User(Receiver):
    async def question(self, to: PID, key: bytes) -> Any:
        return await self.ask(to, "get", key)

    async def move_on(self, to: PID, keys: list[bytes]) -> list[Any]:
        """Ask, and have it all leave on another connection."""
        asked = [self.ask(to, "get", key) for key in keys]
        self.send(to, "message", b"among them")
        self.link(to, reconnect=True)
        return [await each for each in asked]


class Answering(Receiver):
    """Answers many at once, and links in the same turn."""

    waiting: tuple[Any, ...] = ()

    @install("get")
    def get(self, from_pid: PID, key: bytes) -> None:
        self.waiting = (*self.waiting, (self.defer_reply(), key))
        self.received.put(key)

    def answer_all(self, linked: PID) -> None:
        for reply, key in self.waiting:
            reply(b"value of " + key)
        self.link(linked, reconnect=True)


class Pair:
    """A user, and a store that it reaches through a relay."""

    def __init__(
        self, make_context: MakeContext, relays: tuple[Relay, Relay], store: Process
    ) -> None:
        self.to_store, self.to_user = relays
        self.to_store.to, self.to_user.to = own_port(), own_port()
        there = make_context(port=self.to_store.to, advertise_port=self.to_store.port)
        here = make_context(port=self.to_user.to, advertise_port=self.to_user.port)
        self.store = spawned(there, store)
        self.user = spawned(here, User("user"))

    def dispatch(self, name: str, *args: Any) -> Any:
        return self.user.context.dispatch(self.user.pid, name, *args)


@pytest.fixture
def pair(make_context: MakeContext) -> Iterator[Pair]:
    with Relay() as to_store, Relay() as to_user:
        yield Pair(make_context, (to_store, to_user), Store("store"))


def queue_of(process: Process, to: Process) -> Any:
    """What leads from the context of a process to that of another."""
    return peer_of(process.context, to.pid).send_queue


def told_peer(pair: Pair) -> Any:
    """The peer of the user that leads to the store, once that tells of its processes.

    The loop alone may make one: two threads would make two.
    """
    peers, address = pair.user.context._runtime.peers, pair.store.pid.address
    wait_until(lambda: address in peers and peers[address].links.is_told)
    return peers[address]


def warm_up(pair: Pair) -> None:
    def is_known() -> bool:
        assert pair.dispatch("question", pair.store.pid, b"k").result(TIMEOUT) == b"value of k"
        return bool(queue_of(pair.user, pair.store).numbers == TAKEN)

    wait_until(is_known)


KEYS = [b"", b"k", b"x" * 700]


def accepted_behind_notices(listener: socket.socket) -> socket.socket:
    """The connection for messages, of a peer that has no notices."""
    sock, _ = listener.accept()
    sock.settimeout(TIMEOUT)
    have_no_notices(listener)
    return sock


@pytest.mark.each_combination
def test_asks_that_move_to_a_connection_to_a_stranger_have_no_numbers(
    pair: Pair, listener: socket.socket
) -> None:
    warm_up(pair)
    pair.to_store.to = listener.getsockname()[1]  # another program has its address now
    asked = pair.dispatch("move_on", pair.store.pid, KEYS)
    with accepted_behind_notices(listener) as sock, sock.makefile("rb") as stream:
        for number, key in enumerate(KEYS):
            path, sender, body = read_message_or_none(stream)
            assert (path, body) == ("/store/get", key)
            assert sender.startswith("__req_res__(")
            to = PID.from_string(sender)
            reply = frame(to, "answer", b"%d" % number)
            with socket.create_connection(to.address, TIMEOUT) as back:
                back.sendall(reply)
                assert back.recv(1000).startswith(b"HTTP/1.1 202")
        assert read_message_or_none(stream)[0] == "/store/message"
        assert asked.result(TIMEOUT) == [b"0", b"1", b"2"]


def read_message_or_none(stream: Any) -> tuple[str, str, bytes]:
    """The next message, which may have no body at all."""
    head = b""
    while not head.endswith(b"\r\n\r\n"):
        head += stream.read(1)
    path = head.split()[1].decode()
    (sender,) = re.findall(rb"Libprocess-From: (\S+)", head)
    body = b""
    if b"chunked" in head:
        size = stream.readline()
        assert re.fullmatch(rb"[0-9a-f]+\r\n", size), size
        body = stream.read(int(size, 16))
        assert stream.read(7) == b"\r\n0\r\n\r\n"
    return path, sender.decode(), body


@pytest.mark.each_combination
def test_any_number_of_asks_moves_to_a_new_connection(pair: Pair) -> None:
    """More than a block of them, and a large message among them."""
    warm_up(pair)
    queue = queue_of(pair.user, pair.store)
    keys = [b"%d" % number * 200 for number in range(1000)]
    large = bytes(100_000)

    async def move_on() -> list[bytes]:
        queue.is_full = True  # as a transport tells that takes no more
        asked = [pair.user.ask(pair.store.pid, "get", key) for key in keys[:500]]
        pair.user.send(pair.store.pid, "message", large)
        asked += [pair.user.ask(pair.store.pid, "get", key) for key in keys[500:]]
        before = queue.parked
        pair.user.link(pair.store.pid, reconnect=True)
        assert queue.parked == before + 1  # the link
        found = [await each for each in asked]
        assert (queue.parked, queue.size) == (0, 0)
        return found

    asked = pair.user.context.dispatch(pair.user.pid, move_on)
    assert asked.result(TIMEOUT) == [b"value of " + key for key in keys]
    assert pair.store.received.take() == (pair.user.pid, large)
    warm_up(pair)


def test_what_was_tried_of_another_connection_is_not_moved(
    pair: Pair, listener: socket.socket
) -> None:
    """The frame that asks whether numbers arrive is for whoever has shown to be a compactor."""
    pair.user.link(pair.store.pid)
    peer = told_peer(pair)
    pair.to_store.to = listener.getsockname()[1]
    asked = pair.dispatch("move_on", pair.store.pid, [b"k"])
    with accepted_behind_notices(listener) as sock, sock.makefile("rb") as stream:
        assert read_message_or_none(stream)[0] == "/store/get"
        assert read_message_or_none(stream)[0] == "/store/message"
        assert peer.send_queue.numbers == 0
    with pytest.raises(AskFailed):
        asked.result(TIMEOUT)


def test_answers_that_move_to_a_new_connection_arrive(make_context: MakeContext) -> None:
    with Relay() as to_store, Relay() as to_user:
        pair = Pair(make_context, (to_store, to_user), Answering("store"))
        store, context = pair.store, pair.user.context

        def is_known() -> bool:
            asked = context.ask(store.pid, "get", b"k")
            store.received.take()
            store.context.dispatch(store.pid, store.waiting[-1][0], b"v").result(TIMEOUT)
            assert asked.result(TIMEOUT) == b"v"
            return bool(queue_of(store, pair.user).numbers == TAKEN)

        assert isinstance(store, Answering)
        wait_until(is_known)
        store.waiting = ()
        asked = [context.ask(store.pid, "get", key) for key in KEYS]
        for _ in KEYS:
            store.received.take()
        to_user.carried = b""
        store.context.dispatch(store.pid, "answer_all", pair.user.pid).result(TIMEOUT)
        assert [each.result(TIMEOUT) for each in asked] == [b"value of " + key for key in KEYS]
        assert b";r=" not in to_user.carried
        assert len(re.findall(rb"POST /__req_res__\(\d+\)/get HTTP", to_user.carried)) == 3


def test_a_frame_keeps_all_that_is_not_its_number() -> None:
    store = PID("127.0.0.1", 7, "store(1)")
    asker, temporary = PID("127.0.0.1", 8, "user"), PID("127.0.0.1", 8, "__req_res__(17)")
    typed = TypedName("Add", "application/json")
    answered = PID("127.0.0.1", 7, "__req_res__")
    numbers = notices.numbers_prefix(asker, store)
    given = [
        encode_message(message_prefix(asker, store, "a"), b"17;a=17"),
        encode_numbered(message_prefix(asker, store, "b"), b"a", 17, b"x"),
        encode_numbered(message_prefix(asker, store, typed), b"a", 17, b""),
        encode_numbered(numbers, b"a", 0, b"-"),
        encode_numbered(message_prefix(asker, answered, typed), b"r", 17, b"\r\n;r=1\r\n"),
        encode_message(message_prefix(asker, store, typed), b""),
    ]
    assert unnumbered(given, store.address, RequestDecoder) == [
        given[0],
        encode_message(message_prefix(temporary, store, "b"), b"x"),
        encode_message(message_prefix(temporary, store, typed), b""),
        encode_message(
            message_prefix(asker, PID("127.0.0.1", 7, temporary.id), typed), b"\r\n;r=1\r\n"
        ),
        given[5],
    ]


# Programs that break on numbers, as 0.3.0 does


def test_a_peer_that_breaks_on_numbers_is_tried_once(
    context: Context, listener: socket.socket
) -> None:
    """Somebody has asked for notices in its name, so it seems to be a compactor."""
    store = spawned(context, Store("store"))
    asker = pid_at(listener, "__req_res__(17)")
    seen = []
    with socket.create_connection(store.pid.address, TIMEOUT) as sock:
        sock.sendall(notices.request(f"127.0.0.1:{context.port}", pid_at(listener, ""), "x" * 32))
        assert read_bytes(sock, 12) == b"HTTP/1.1 200"
        for _ in range(3):
            with socket.create_connection(store.pid.address, TIMEOUT) as asking:
                asking.sendall(frame(store.pid, "get", b"k", sender=asker))
            peer, _ = listener.accept()
            with peer, peer.makefile("rb") as stream, contextlib.suppress(ValueError):
                peer.settimeout(TIMEOUT)
                head = stream.readline()
                if b"compactor.link" not in head:
                    seen.append(head)
                    continue
                while b";" not in stream.readline():
                    pass
                seen.append(b"a number")
    assert seen[0] == b"a number"
    assert seen[1:] == [b"POST /__req_res__(17)/get HTTP/1.1\r\n"] * 2
    queue = peer_of(context, asker).send_queue
    wait_until(lambda: queue.numbers == BROKE)


def test_a_compactor_that_ends_while_it_is_tried_is_tried_again(
    make_context: MakeContext,
) -> None:
    with Relay() as to_store, Relay() as to_user:
        pair = Pair(make_context, (to_store, to_user), Store("store"))
        pair.user.link(pair.store.pid)
        peer = told_peer(pair)
        queue = peer.send_queue

        def end() -> None:
            queue.numbers = ASKED
            transport = peer._connection.transport
            transport.abort()

        pair.user.context._portal.call(end)
        wait_until(lambda: queue.numbers == BROKE)
        warm_up(pair)
