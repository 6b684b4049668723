"""Notices between compactors: the stream that a linker asks for, from both ends of it."""

from __future__ import annotations

import asyncio
import re
import socket
from collections.abc import Callable, Iterator
from typing import Any, cast
from unittest.mock import Mock

import pytest

from compactor import PID, Context, Reason, Settings
from compactor.actor.run_queue import RunQueue
from compactor.actor.slices import Slices
from compactor.errors import RemoteProtocolError
from compactor.inbound.notice_stream import NoticeStream
from compactor.inbound.observers import Observers
from compactor.outbound import remote_links
from compactor.outbound.notice_connection import NoticeConnection
from compactor.wire import notices
from tests.actors import TIMEOUT, Receiver, dead_letters, settle, spawned, take_letter, wait_until
from tests.raw import (
    accept_notices,
    frame,
    have_no_notices,
    pid_at,
    read_answer,
    read_bytes,
    read_head,
    read_until_end,
)

MakeContext = Callable[..., Context]
Connect = Callable[[Context], socket.socket]
NAME = "0123456789abcdef"


class Observer:
    """Asks a context for notices."""

    def __init__(self, sock: socket.socket, name: str = NAME) -> None:
        sock.settimeout(TIMEOUT)
        self.sock = sock
        self.name = name
        sock.sendall(notices.request("there:1", "@127.0.0.1:7", name))
        self.head = read_head(sock)

    def next(self) -> list[str]:
        """The next notice."""
        line = b""
        while not line.endswith(b"\n"):
            line += read_bytes(self.sock, 1)
        return notices.decode(line[:-1])


def ask(sock: socket.socket, to: PID, name: str = NAME) -> int:
    """Send a link frame; the status that answers it."""
    sock.sendall(
        f"POST /{to.id}/compactor.link HTTP/1.1\r\nLibprocess-From: @127.0.0.1:7\r\n"
        f"Compactor-Link: {name}\r\n\r\n".encode()
    )
    return read_answer(sock)[0]


# What a context tells


def test_ends_are_told_on_the_stream_and_nowhere_else(context: Context, connect: Connect) -> None:
    there = spawned(context, Receiver("a(b)+\u20ac"))
    observer, sock = Observer(connect(context)), connect(context)
    assert observer.head.startswith(b"HTTP/1.1 200 OK\r\n")
    assert b"Compactor-Notices: 15\r\n" in observer.head
    quoted = PID(context.ip, context.port, "a(b)%2B%E2%82%AC")
    assert ask(sock, quoted) == 202
    word, id_, mark = observer.next()
    assert (word, id_) == ("lives", there.pid.id)
    assert ask(sock, PID(context.ip, context.port, "nobody")) == 202
    assert observer.next() == ["exited", "nobody", "no such process"]
    pid = there.pid
    there.terminate()
    assert observer.next() == ["exited", pid.id, "terminated"]
    again = spawned(context, Receiver(pid.id))
    assert ask(sock, quoted) == 202
    assert observer.next()[2] != mark
    sock.sendall(frame(PID("x", 1, "nobody"), "any", b"1"))  # nothing else came in between
    assert read_answer(sock) == (404, b"404 Not Found.")
    assert observer.next() == ["refused", "nobody", "any", "no such process"]
    again.terminate()


@pytest.mark.parametrize("name", ["1", "unknown-unknown-unknown"])
def test_whoever_has_not_asked_for_notices_is_told_nothing(
    context: Context, connect: Connect, name: str
) -> None:
    """As frames of a proxy's clients, and those of older compactors, which called it 1."""
    there, sock = spawned(context, Receiver("there")), connect(context)
    letters = dead_letters(context)
    assert ask(sock, there.pid, name) == 202
    there.terminate()
    sock.sendall(frame(PID("x", 1, "nobody")))
    assert read_answer(sock)[0] == 404
    assert take_letter(letters).to == PID(context.ip, context.port, "nobody")
    sock.sendall(b"GET /x HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
    assert read_until_end(sock).count(b"HTTP/1.1") == 1


def test_a_stream_ends_the_watching_when_it_is_lost(context: Context, connect: Connect) -> None:
    there = spawned(context, Receiver("there"))
    observer, sock = Observer(connect(context)), connect(context)
    ask(sock, there.pid)
    assert observer.next()[0] == "lives"
    other = Observer(connect(context))  # of the same name
    assert observer.sock.recv(1) == b""
    ask(sock, there.pid)
    assert other.next()[0] == "lives"
    observers = context._runtime.observers
    assert len(observers._streams) == 1
    other.sock.close()
    wait_until(lambda: not observers._streams)
    assert not observers.watched[there.pid.id].streams
    there.terminate()
    wait_until(lambda: not observers.watched)


def test_a_notice_comes_at_least_once_in_an_interval(
    make_context: MakeContext, connect: Connect
) -> None:
    context = make_context(settings=Settings(notice_interval=0.05))
    observer = Observer(connect(context))
    assert b"Compactor-Notices: 0.05\r\n" in observer.head
    assert [observer.next() for _ in range(3)] == [["alive"]] * 3


@pytest.mark.parametrize(
    "wrong",
    [
        (b"GET", b"POST"),
        (b"Libprocess-From: @127.0.0.1:7\r\n", b""),
        (NAME.encode(), b"short"),
        (NAME.encode(), b"x" * 65),
    ],
)
def test_what_is_no_request_for_notices_is_not_found(
    context: Context, connect: Connect, wrong: tuple[bytes, bytes]
) -> None:
    sock = connect(context)
    request = notices.request("127.0.0.1", "@127.0.0.1:7", NAME).replace(*wrong)
    sock.sendall(request.replace(b"POST /", b"PUT /"))
    assert read_answer(sock)[0] == 404
    assert not context._runtime.observers._streams


def test_notices_that_nobody_reads_are_bounded(
    make_context: MakeContext,
    connect: Connect,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    context = make_context()
    monkeypatch.setattr("compactor.inbound.notice_stream._MAX_UNREAD", 100_000)
    Observer(connect(context))
    sock, streams = connect(context), context._runtime.observers._streams
    link = (
        "POST /%b/x HTTP/1.1\r\nUser-Agent: libprocess/x@127.0.0.1:7\r\n"
        f"Compactor-Link: {NAME}\r\n\r\n"
    )
    wait_until(lambda: streams)
    while streams:
        sock.sendall(link.encode() % (b"x" * 30_000) * 20)
    assert "leaves more than 100000 bytes of notices unread" in caplog.text


def test_links_of_others_are_bounded_and_whoever_links_and_the_log_are_told(
    make_context: MakeContext, caplog: pytest.LogCaptureFixture
) -> None:
    there = make_context(settings=Settings(max_remote_links=2))
    watched = [spawned(there, Receiver(name)) for name in "abc"]
    here, other = (spawned(make_context(), Receiver("here")) for _ in range(2))
    observers = there._runtime.observers
    for count, each in enumerate(watched[:2], 1):
        here.link(each.pid)
        here.link(each.pid)
        wait_until(lambda count=count: observers._links == count)
    other.link(watched[0].pid)
    assert other.exits.take() == (watched[0].pid, Reason.OVERFLOW)
    assert "a link from 127.0.0.1 is refused: max_remote_links=2 are watched" in caplog.text
    pid = watched[1].pid
    watched[1].terminate()
    assert here.exits.take() == (pid, Reason.TERMINATED)
    other.link(watched[0].pid)
    wait_until(lambda: observers._links == 2)
    for context in (here.context, other.context):
        context.stop()
    wait_until(lambda: observers._links == 0)
    assert other.exits.is_empty


def test_unread_notices_count_among_all_that_is_unread(
    make_context: MakeContext, connect: Connect
) -> None:
    context = make_context(settings=Settings(max_unread_bytes_in_all=2_000_000))
    names = [f"{number:032}" for number in range(3)]
    observers = [Observer(connect(context), name) for name in names]
    sock, streams = connect(context), context._runtime.observers._streams
    wait_until(lambda: len(streams) == len(observers))
    while len(streams) == len(observers):  # each may leave 4 MiB unread, and all together less
        for name in names:
            link = f"POST /{'x' * 30_000}/x HTTP/1.1\r\nUser-Agent: libprocess/x@127.0.0.1:7\r\n"
            sock.sendall(f"{link}Compactor-Link: {name}\r\n\r\n".encode())
    wait_until(lambda: context.metrics.cut_connections)


class Wire:
    """A transport that keeps what is written to it."""

    def __init__(self) -> None:
        self.written: list[list[str]] = []
        self.is_cut = False

    def write(self, data: bytes) -> None:
        self.written += [notices.decode(line) for line in data.splitlines()]

    def abort(self) -> None:
        self.is_cut = True

    def is_closing(self) -> bool:
        return self.is_cut

    def get_write_buffer_size(self) -> int:
        return 0

    def get_extra_info(self, name: str) -> None:
        return None


def opened(observers: Observers, name: bytes, wire: Wire) -> NoticeStream:
    """A stream on that wire."""
    transport = cast(asyncio.Transport, wire)
    return observers.open(name, None, transport, 60.0, lambda: None, lambda why: None)


@pytest.fixture
def slices(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[], Slices]]:
    """What makes slices on the running loop; each is over when the clock is looked at first."""
    monkeypatch.setattr("compactor.actor.slices.TURN_SECONDS", -1.0)

    def make() -> Slices:
        run_queue = RunQueue()
        run_queue.attach(asyncio.get_running_loop())
        return Slices(run_queue)

    return make


def test_an_end_that_many_watch_is_told_in_slices_and_to_each_before_what_comes_later(
    slices: Callable[[], Slices],
) -> None:
    async def main() -> None:
        live, count = {"x"}, 1000
        observers = Observers(live, slices(), 1 << 20)
        wires = [Wire() for _ in range(count)]
        streams = [opened(observers, b"%d" % number, wire) for number, wire in enumerate(wires)]
        for stream in streams:
            observers.watch("x", stream)
        while not all(wire.written for wire in wires):
            await asyncio.sleep(0)
        live.discard("x")
        observers.ended("x", Reason.TERMINATED, "")
        ends = sum(len(wire.written) for wire in wires) - count
        assert ends == 0  # it leaves at the end of the turn
        assert sum("x" not in stream.observed for stream in streams) < 100
        live.add("x")
        for stream in streams[::2]:  # whether they know the end or not
            observers.watch("x", stream)
        turns = 0
        while len(wires[0].written) < 3 or not all(len(wire.written) > 1 for wire in wires):
            await asyncio.sleep(0)
            turns += 1
        assert turns > 10
        for wire, stream in zip(wires, streams, strict=True):
            words = [notice[0] for notice in wire.written]
            assert words == ["lives", "exited", "lives"][: 3 if "x" in stream.observed else 2]
            stream.close()

    asyncio.run(main())


def test_a_stream_that_watched_many_is_forgotten_in_slices(
    slices: Callable[[], Slices],
) -> None:
    async def main() -> None:
        live = {f"x{number}" for number in range(1000)}
        observers = Observers(live, slices(), 1 << 20)
        stream = opened(observers, b"name", Wire())
        for id_ in live:
            observers.watch(id_, stream)

        def watching() -> int:
            return sum(stream in each.streams for each in observers.watched.values())

        observers.closed(b"name", stream)
        turns = 0
        assert watching() > 900
        for id_ in list(live)[::2]:  # some end before they are forgotten
            observers.ended(id_, Reason.TERMINATED, "")
        while watching():
            await asyncio.sleep(0)
            turns += 1
        assert turns > 10

    asyncio.run(main())


def test_notices_for_which_there_is_no_memory_end_their_stream(
    slices: Callable[[], Slices],
) -> None:
    class Full(Wire):
        def write(self, data: bytes) -> None:
            raise MemoryError

    async def main() -> None:
        observers = Observers({"x"}, slices(), 1 << 20)
        wires = [Full(), Wire()]
        for number, wire in enumerate(wires):
            stream = opened(observers, b"%d" % number, wire)
            observers.watch("x", stream)
            await asyncio.sleep(0.0)
        while not wires[1].written:
            await asyncio.sleep(0)
        assert wires[0].is_cut
        stream.close()

    asyncio.run(main())


# What a context makes of it


@pytest.fixture
def tell(context: Context, listener: socket.socket) -> Iterator[Callable[..., None]]:
    """A linked peer whose notices are what the test tells; the first lives."""
    here = spawned(context, Receiver("here"))
    here.link(pid_at(listener))
    connection, _ = listener.accept()
    asked, _name = accept_notices(listener)
    asked.sendall(b"HTTP/1.1 200 OK\r\nCompactor-Notices: 15\r\nConnection: close\r\n\r\n")
    connection.settimeout(TIMEOUT)
    assert read_head(connection).startswith(b"POST /x/compactor.link HTTP/1.1\r\n")

    def tell(*values: str) -> None:
        asked.sendall(notices.encode(*values))

    with connection, asked:
        yield tell


def test_a_refused_message_is_a_letter_that_names_it(
    context: Context, tell: Callable[..., None], listener: socket.socket
) -> None:
    letters = dead_letters(context)
    tell("refused", "x", "message", "sender refused")
    letter = take_letter(letters)
    assert (letter.to, letter.name) == (pid_at(listener), "message")
    assert letter.reason is Reason.SENDER_REFUSED
    tell("refused", "x", "message", "sender refused")  # more than was sent
    tell("something", "new")
    tell("exited", "other", "terminated")
    tell("exited", "x", "terminated")
    wait_until(lambda: not context._links)
    assert letters.is_empty


@pytest.fixture
def linked(make_context: MakeContext) -> tuple[Receiver, Receiver]:
    """A process that watches another one, which knows it."""
    here, there = spawned(make_context(), Receiver("here")), spawned(make_context(), Receiver("x"))
    here.link(there.pid)
    wait_until(lambda: there.context._runtime.observers.watched)
    return here, there


def cut_stream(there: Receiver) -> None:
    """Cut the stream of notices, as a proxy may."""
    streams = there.context._runtime.observers._streams
    (stream,) = streams.values()
    there.context._portal.call(stream.cut)
    wait_until(lambda: stream not in streams.values())


def accept_stream(context: Context, listener: socket.socket, pid: PID) -> socket.socket:
    """Answer as the peer of a context, and tell that the process lives that it has linked to."""
    asked, _ = accept_notices(listener)
    asked.sendall(b"HTTP/1.1 200 OK\r\nCompactor-Notices: 15\r\n\r\nlives x 1\n")
    wait_until(lambda: context._runtime.peers[pid.address].links._marks)
    return asked


def test_a_stream_that_is_cut_is_asked_for_again(linked: tuple[Receiver, Receiver]) -> None:
    here, there = linked
    observers = there.context._runtime.observers
    for _ in range(3):
        cut_stream(there)
        wait_until(lambda: observers._streams)
        wait_until(lambda: observers.watched["x"].streams)
    settle(here)
    assert here.exits.is_empty
    pid = there.pid
    there.terminate()
    assert here.exits.take() == (pid, Reason.TERMINATED)


@pytest.mark.parametrize("has_successor", [False, True])
def test_an_end_while_the_stream_is_cut_is_told_by_the_next(
    linked: tuple[Receiver, Receiver], has_successor: bool
) -> None:
    here, there = linked
    pid, context = there.pid, there.context
    peer = here.context._runtime.peers[pid.address]
    wait_until(lambda: peer.links._marks)
    (stream,) = context._runtime.observers._streams.values()

    def cut_and_end() -> None:
        stream.cut()
        context.terminate(pid)
        if has_successor:
            watcher.link(pid)

    class Watcher(Receiver):
        def exited(self, pid: PID, reason: object) -> None:
            context.spawn(Receiver("x"))

    watcher = spawned(context, Watcher("watcher"))
    context.dispatch(watcher.pid, cut_and_end).result(TIMEOUT)
    assert here.exits.take() == (pid, Reason.TERMINATED)
    settle(here)
    assert here.exits.is_empty


def test_a_stream_that_cannot_be_had_again_is_an_exit(
    context: Context, listener: socket.socket, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(remote_links, "_MAX_PATIENCE", 0.2)
    here = spawned(context, Receiver("here"))
    pid = pid_at(listener)
    here.link(pid)
    connection, _ = listener.accept()
    asked = accept_stream(context, listener, pid)
    asked.close()
    listener.close()
    assert here.exits.take() == (pid, Reason.REFUSED)
    here.send(pid, "message")  # its connection goes on
    connection.settimeout(TIMEOUT)
    seen = b""
    while b"/x/message" not in seen:
        seen += connection.recv(4096)
    connection.close()


def test_a_stream_cannot_be_had_again_from_a_name_that_has_no_address_any_more(
    context: Context, listener: socket.socket, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(remote_links, "_MAX_PATIENCE", 0.2)
    addresses = {"there.invalid": "127.0.0.1"}
    getaddrinfo = socket.getaddrinfo

    def look_up(host: str, *args: Any) -> Any:
        return getaddrinfo(addresses.get(host, host), *args)

    monkeypatch.setattr(socket, "getaddrinfo", look_up)
    here = spawned(context, Receiver("here"))
    pid = PID("there.invalid", pid_at(listener).port, "x")
    here.link(pid)
    connection, _ = listener.accept()
    asked = accept_stream(context, listener, pid)
    addresses.clear()
    asked.close()
    assert here.exits.take() == (pid, Reason.UNRESOLVED)
    connection.close()


def test_all_links_are_asked_for_again_also_if_the_answer_is_there_at_once(
    context: Context, listener: socket.socket
) -> None:
    here, count = spawned(context, Receiver("here")), 1000
    for number in range(count):
        here.link(pid_at(listener, f"x{number}"))
    connection, _ = listener.accept()
    connection.settimeout(TIMEOUT)
    asked, _name = accept_notices(listener)
    for _ in range(3):
        asked.sendall(b"HTTP/1.1 200 OK\r\nCompactor-Notices: 15\r\n\r\n")
        seen = b""
        while seen.count(b"/compactor.link ") < count:
            seen += connection.recv(65536)
        asked.close()
        asked, _ = listener.accept()
    asked.close()
    connection.close()


def test_links_that_are_asked_for_often_are_parked_once(
    context: Context, listener: socket.socket
) -> None:
    here = spawned(context, Receiver("here"))
    here.send(pid_at(listener), "message", bytes(20_000_000))  # which nobody reads
    here.link(pid_at(listener))
    connection, _ = listener.accept()
    asked, _name = accept_notices(listener)
    for _ in range(4):
        asked.sendall(b"HTTP/1.1 200 OK\r\nCompactor-Notices: 15\r\n\r\n")
        asked.close()
        asked, _name = accept_notices(listener)
    assert context._runtime.peers[pid_at(listener).address].send_queue.parked == 1
    asked.close()
    connection.close()


@pytest.mark.parametrize(
    "begins", [b"Content-Length: 0\r\n\r\n", b"Content-Length: 8\r\n\r\nlives x\n"]
)
def test_one_answer_brings_all_notices(
    context: Context, listener: socket.socket, caplog: pytest.LogCaptureFixture, begins: bytes
) -> None:
    """Each that says to bring some has all links asked for."""
    spawned(context, Receiver("here")).link(pid_at(listener))
    connection, _ = listener.accept()
    asked, _name = accept_notices(listener)
    asked.sendall((b"HTTP/1.1 200 OK\r\nCompactor-Notices: 15\r\n" + begins) * 2)
    assert not read_until_end(asked)
    assert "no notices are understood of 127.0.0.1" in caplog.text
    connection.close()
    asked.close()


def test_a_mark_that_is_no_short_word_is_not_kept(
    context: Context, tell: Callable[..., None], listener: socket.socket
) -> None:
    marks = context._runtime.peers[pid_at(listener).address].links._marks
    tell("lives", "x", "m" * 1000)
    tell("lives", "x", "1")
    wait_until(lambda: marks)
    assert marks == {"x": "1"}
    assert context._links


def test_a_silent_stream_is_asked_for_again(context: Context, listener: socket.socket) -> None:
    here = spawned(context, Receiver("here"))
    here.link(pid_at(listener))
    connection, _ = listener.accept()
    for _ in range(2):
        asked, _name = accept_notices(listener)
        with asked:
            asked.sendall(b"HTTP/1.1 200 OK\r\nCompactor-Notices: 0.02\r\n\r\n")
            assert asked.recv(1) == b""
    assert here.exits.is_empty
    connection.close()


@pytest.mark.usefixtures("links_are_not_waited_for")
def test_messages_behind_a_link_leave_when_the_peer_is_known_or_does_not_say(
    context: Context, listener: socket.socket
) -> None:
    here = spawned(context, Receiver("here"))
    here.send(pid_at(listener), "before")
    here.link(pid_at(listener))
    here.send(pid_at(listener), "message")
    connection, _ = listener.accept()
    connection.settimeout(TIMEOUT)
    with connection:
        asked, _name = accept_notices(listener)
        asked.sendall(b"HTTP/1.1 200 OK\r\nCompactor-Notices: 15\r\n\r\n")
        heads = [read_head(connection).split(b" ")[1] for _ in range(3)]
        assert heads == [b"/x/before", b"/x/compactor.link", b"/x/message"]
        here.link(pid_at(listener), reconnect=True)
        here.send(pid_at(listener), "message")
        second, _ = listener.accept()
        second.settimeout(TIMEOUT)
        assert read_head(second).startswith(b"POST /x/message ")
        second.close()
    asked.close()


def test_a_link_made_often_is_asked_for_once(
    context: Context, tell: Callable[..., None], listener: socket.socket
) -> None:
    here = context._processes[PID(context.ip, context.port, "here")]
    for _ in range(100):
        here.link(pid_at(listener))
    peer = context._runtime.peers[pid_at(listener).address]
    settle(here)
    assert peer.send_queue.written + peer.send_queue.parked == 1


def test_a_foreign_peer_is_asked_once_and_sees_no_link(
    context: Context, listener: socket.socket
) -> None:
    here = spawned(context, Receiver("here"))
    for id_ in "abc":
        here.link(pid_at(listener, id_))
        here.send(pid_at(listener, id_), "message")
    connection, _ = listener.accept()
    have_no_notices(listener)
    connection.settimeout(TIMEOUT)
    here.link(pid_at(listener, "d"))
    here.send(pid_at(listener, "d"), "message")
    heads = [read_head(connection).split(b" ")[1] for _ in range(4)]
    assert heads == [b"/a/message", b"/b/message", b"/c/message", b"/d/message"]
    connection.close()
    assert {here.exits.take()[0].id for _ in range(4)} == set("abcd")


@pytest.mark.parametrize(
    "flood",
    [
        b"HTTP/1.1 100 \r\n\r\n" * 3000,
        b"HTTP/1.1 200 OK\r\nCompactor-Notices: 9\r\nTransfer-Encoding: chunked\r\n\r\n"
        + b"1\r\na\r\n" * 1000,
    ],
    ids=["interim answers", "chunks"],
)
def test_a_flood_without_lines_is_read_in_turns(
    monkeypatch: pytest.MonkeyPatch, flood: bytes
) -> None:
    monkeypatch.setattr("compactor.outbound.notice_connection.TURN_SECONDS", -1.0)

    async def turns() -> int:
        run_queue, count = RunQueue(), 0
        run_queue.attach(asyncio.get_running_loop())
        connection = NoticeConnection(("127.0.0.1", 1), b"", Mock(), run_queue, 60)
        connection.connection_made(Mock(get_extra_info=lambda name: None))
        connection.data_received(flood)
        while connection._reader.has_more:
            count += 1
            await asyncio.sleep(0)
        connection.connection_lost(None)
        return count

    assert asyncio.run(turns()) > 1


# Words


def test_notices_survive_any_value_and_any_cut() -> None:
    values = [
        ("exited", "a b\n\u20ac%\udcff", ""),
        ("alive",),
        ("refused", "x", "n", "no such process"),
    ]
    data = b"".join(notices.encode(*each) for each in values)
    assert re.fullmatch(rb"[!-~ \n]*", data)
    for size in (1, 2, 7, len(data)):
        lines, found = notices.Lines(), []
        for at in range(0, len(data), size):
            lines.add(data[at : at + size])
            found += [tuple(notices.decode(line)) for line in lines]
        assert found == values


def test_lines_without_words_are_lines_each_of_which_may_end_a_turn() -> None:
    lines = notices.Lines()
    lines.add(b"\n\nalive\n\n")
    assert list(lines) == [b"", b"", b"alive", b""]


def test_a_line_without_end_is_refused() -> None:
    lines = notices.Lines()

    def add_without_end() -> None:
        for _ in range(100):
            lines.add(bytes(65536))
            assert not list(lines)

    with pytest.raises(RemoteProtocolError, match="exceeds"):
        add_without_end()


def test_two_contexts_leave_no_task_and_no_socket_behind(make_context: MakeContext) -> None:
    here, there = spawned(make_context(), Receiver("here")), spawned(make_context(), Receiver("x"))
    here.link(there.pid)
    wait_until(lambda: there.context._runtime.observers.watched)
    here.context.stop()
    here.context.join(TIMEOUT)
    wait_until(lambda: not there.context._runtime.observers._streams)
    wait_until(lambda: not there.context._runtime.server.connections)
