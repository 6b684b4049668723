"""Sending: what arrives of bodies, names and ids; ``post``."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from enum import Enum
from typing import Any

import pytest

from compactor import PID, Context, Process, install
from tests.actors import Receiver, spawned

Contexts = tuple[Context, Context]
ContextFactory = Callable[..., Context]


class Body(bytes):
    """Some bytes, of a class of their own."""


class Name(str, Enum):
    """Names, as members of a class of their own."""

    RECEIVER = "receiver"
    MESSAGE = "message"


@pytest.mark.parametrize("body", [b"x", bytearray(b"x"), memoryview(b"x"), Body(b"x")])
def test_bodies_arrive_as_bytes(sender: Process, there: Context, body: Any) -> None:
    receiver = spawned(there, Receiver())

    sender.send(receiver.pid, "message", body)

    from_pid, received = receiver.received.take()
    assert (from_pid, received, type(received)) == (sender.pid, b"x", bytes)


@pytest.mark.parametrize("on_loop", [False, True])
def test_names_and_ids_may_be_members_of_a_str_enum(
    sender: Process, there: Context, on_loop: bool
) -> None:
    receiver = spawned(there, Receiver(Name.RECEIVER))
    assert str(receiver.pid) == f"receiver@{there.ip}:{there.port}"

    def send() -> None:
        sender.send(receiver.pid, Name.MESSAGE, Body(b"x" * 70_000))
        sender.send(PID(there.ip, there.port, Name.RECEIVER), Name.MESSAGE, b"y")

    if on_loop:
        sender.context.dispatch(sender.pid, send)
    else:
        send()

    assert [len(body) for _, body in receiver.received.take_many(2)] == [70_000, 1]


def test_pids_that_came_through_text_or_pickle_take_the_short_way(
    sender: Process, there: Context, monkeypatch: pytest.MonkeyPatch
) -> None:
    receiver = spawned(there, Receiver())
    sender.send(receiver.pid, "message", b"first")
    assert receiver.received.take() == (sender.pid, b"first")

    def taken_at_length(*_: Any) -> None:
        raise AssertionError("it was sent the general way")

    monkeypatch.setattr(Context, "send", taken_at_length)
    for copy in (PID.from_string(str(receiver.pid)), pickle.loads(pickle.dumps(receiver.pid))):
        sender.send(copy, "message", b"from a thread")
        sender.context.dispatch(sender.pid, sender.send, copy, "message", b"here").result(5)
        assert [body for _, body in receiver.received.take_many(2)] == [b"from a thread", b"here"]
    elsewhere = PID("192.0.2.1", receiver.pid.port, receiver.pid.id)
    with pytest.raises(AssertionError, match="general way"):
        sender.context.dispatch(sender.pid, sender.send, elsewhere, "message").result(5)


def test_body_may_be_reused_by_the_sender_at_once(context: Context) -> None:
    receiver, body = Receiver(), bytearray(b"before")
    context.spawn(receiver)

    receiver.send(receiver.pid, "message", body)
    body[:] = b"after!"

    assert receiver.received.take() == (receiver.pid, b"before")


def test_local_send_returns_before_it_is_handled(context: Context) -> None:
    receiver = spawned(context, Receiver())

    def send() -> None:
        receiver.send(receiver.pid, "message", b"later")
        receiver.received.put("sent")

    context.dispatch(receiver.pid, send)

    assert receiver.received.take_many(2) == ["sent", (receiver.pid, b"later")]


def test_missing_body_arrives_as_empty_bytes(sender: Process, there: Context) -> None:
    receiver = spawned(there, Receiver())

    sender.send(receiver.pid, "message")
    sender.send(receiver.pid, "message", None)
    sender.send(receiver.pid, "message", b"")

    assert receiver.received.take_many(3) == [(sender.pid, b"")] * 3


@pytest.mark.parametrize("name", ["a/b", "a+b", "a%20b", "mesos.internal.X", "a&b=c;d", "~!$'()*,"])
def test_unusual_message_names_arrive(sender: Process, there: Context, name: str) -> None:

    class Unusual(Receiver):
        pass

    setattr(Unusual, "unusual", install(name)(lambda s, f, b: s.received.put((f, b))))  # noqa: B010
    receiver = spawned(there, Unusual())

    sender.send(receiver.pid, name, b"x")

    assert receiver.received.take() == (sender.pid, b"x")


@pytest.mark.parametrize(
    "id_", ["slave(1)", "a/b", "a+b", "a%2Fb", "a?b#c", "\u00fc\u4e2d", "\xa0"]
)
def test_unusual_ids_send_and_receive(contexts: Contexts, id_: str) -> None:
    here, there = contexts
    sender = spawned(here, Receiver(id_ + "-sender"))
    receiver = spawned(there, Receiver(id_))

    sender.send(receiver.pid, "message", b"x")
    assert receiver.received.take() == (sender.pid, b"x")

    receiver.send(sender.pid, "message", b"y")
    assert sender.received.take() == (receiver.pid, b"y")


def test_post_names_no_sender(context: Context) -> None:
    receiver = Receiver()
    context.spawn(receiver)

    context.post(receiver.pid, "message", b"x")

    from_pid, body = receiver.received.take()
    assert (str(from_pid), body) == ("@0.0.0.0:0", b"x")


def test_post_reaches_another_context(make_context: ContextFactory) -> None:
    here, there = make_context(), make_context()
    receiver = Receiver()
    there.spawn(receiver)

    here.post(receiver.pid, "message", b"x")

    from_pid, body = receiver.received.take()
    assert (from_pid.id, body) == ("", b"x")


class _Recording(Context):
    """Sees every message that a process hands to it."""

    def __init__(self, **arguments: Any) -> None:
        super().__init__(**arguments)
        self.sent: list[bytes | None] = []

    def send(self, from_pid: PID, to_pid: PID, method: str, body: bytes | None = None) -> None:
        self.sent.append(body)
        super().send(from_pid, to_pid, method, body)


@pytest.mark.parametrize("way", ["to itself", "to another context"])
def test_a_context_with_its_own_send_sees_every_message(there: Context, way: str) -> None:
    context = _Recording(ip="127.0.0.1")
    try:
        sender = spawned(context, Receiver("sender"))
        receiver = sender if way == "to itself" else spawned(there, Receiver())

        def send() -> None:  # on the loop: where messages could go a shorter way
            for number in range(3):
                sender.send(receiver.pid, "message", b"%d" % number)

        context.dispatch(sender.pid, send)

        bodies = [b"0", b"1", b"2"]
        assert [body for _, body in receiver.received.take_many(3)] == bodies
        assert context.sent == bodies
    finally:
        context.stop()
