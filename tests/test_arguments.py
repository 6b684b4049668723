"""What processes and contexts refuse to be given."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import pytest

from compactor import PID, Context, Process, ProtobufProcess, install, route
from compactor.errors import LocalProtocolError
from tests.actors import Receiver, end

ContextFactory = Callable[..., Context]


@pytest.mark.parametrize("name", ["a b", "a\n", "a\r", "a\0", "a@b", "\t", "\x7f"])
def test_process_name_that_cannot_stand_in_a_pid_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match="must not contain"):
        Process(name)


@pytest.mark.parametrize("name", [None, 5, b"name"])
def test_process_name_that_is_no_str_is_refused(name: Any) -> None:
    with pytest.raises(TypeError, match="str"):
        Process(name)


BAD_NAMES = ["", "a b", "a\n", "a\r\nX: y", "a\0", "a?b", "a#b", "\u00fc", "\x7f", "\t"]


@pytest.mark.parametrize("name", BAD_NAMES)
def test_message_name_that_cannot_be_sent_is_refused(context: Context, name: str) -> None:
    receiver = Receiver()
    context.spawn(receiver)

    with pytest.raises(LocalProtocolError, match="message name"):
        receiver.send(receiver.pid, name)
    with pytest.raises(LocalProtocolError, match="message name"):
        context.post(receiver.pid, name)
    with pytest.raises(ValueError, match="message name"):
        install(name)

    receiver.send(receiver.pid, "message", b"after")
    assert receiver.received.take() == (receiver.pid, b"after")


@pytest.mark.parametrize("name", [None, 5, b"message", Receiver.message])
def test_message_name_that_is_no_str_is_refused(context: Context, name: Any) -> None:
    receiver = Receiver()
    context.spawn(receiver)

    with pytest.raises(TypeError, match="message name"):
        receiver.send(receiver.pid, name)
    with pytest.raises(TypeError, match="message name"):
        install(name)


@pytest.mark.parametrize("body", ["text", 5, ["x"], object(), {}])
def test_body_that_is_no_bytes_is_refused(context: Context, body: Any) -> None:
    receiver = Receiver()
    context.spawn(receiver)

    with pytest.raises(TypeError, match="Body must be a sequence of bytes"):
        receiver.send(receiver.pid, "message", body)
    with pytest.raises(TypeError, match="Body must be a sequence of bytes"):
        context.post(receiver.pid, "message", body)


@pytest.mark.parametrize("to", [None, "x@127.0.0.1:5050", 5, ("127.0.0.1", 1, "x")])
def test_receiver_that_is_no_pid_is_refused(context: Context, to: Any) -> None:
    process = Process("name")
    context.spawn(process)

    for call in (
        functools.partial(process.send, to, "message"),
        functools.partial(process.link, to),
        functools.partial(context.post, to, "message"),
        functools.partial(context.send, process.pid, to, "message"),
        functools.partial(context.send, to, process.pid, "message"),
        functools.partial(context.link, process.pid, to),
        functools.partial(context.link, to, process.pid),
        functools.partial(context.terminate, to),
        functools.partial(context.dispatch, to, "initialize"),
        functools.partial(context.delay, 0, to, "initialize"),
        functools.partial(context.disconnect, to),
    ):
        with pytest.raises(TypeError, match="expected a PID"):
            call()


def test_process_does_nothing_before_it_is_spawned() -> None:
    process, pid = Process("name"), PID("127.0.0.1", 1, "x")

    for call in (
        lambda: process.pid,
        lambda: process.context,
        lambda: process.send(pid, "message"),
        lambda: process.link(pid),
        lambda: process.terminate(),
        lambda: ProtobufProcess("name").link(pid),
    ):
        with pytest.raises(Process.UnboundProcess, match="unbound"):
            call()  # type: ignore[no-untyped-call]
    assert repr(process) == "<Process name>"


@pytest.mark.parametrize("context", [None, object(), "127.0.0.1:5050"], ids=repr)
def test_bind_takes_only_a_context(context: Any) -> None:
    with pytest.raises(TypeError, match="Context"):
        Process("name").bind(context)


def test_only_a_live_process_of_the_context_can_send_or_link(make_context: ContextFactory) -> None:
    one, other = make_context(), make_context()
    process, foreign = Process("process"), Process("foreign")
    one.spawn(process)
    other.spawn(foreign)

    with pytest.raises(Context.InvalidProcess, match="foreign"):
        one.send(foreign.pid, process.pid, "message")
    with pytest.raises(Context.InvalidProcess, match="foreign"):
        one.link(foreign.pid, process.pid)
    with pytest.raises(Context.InvalidProcess, match="foreign"):
        one.terminate(foreign.pid)
    end(process)
    with pytest.raises(Context.InvalidProcess, match="process"):
        process.send(foreign.pid, "message")
    with pytest.raises(Context.InvalidProcess, match="process"):
        process.link(foreign.pid)
    process.terminate()


@pytest.mark.parametrize("path", ["", "a", "a/b", "/a/", "//", None, 5, b"/a"])
def test_route_path_that_cannot_match_is_refused(path: Any) -> None:
    with pytest.raises(ValueError, match="Routes must"):
        route(path)
