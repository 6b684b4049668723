"""What processes and contexts refuse to be given."""

from __future__ import annotations

import asyncio
import functools
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest

from compactor import (
    PID,
    Context,
    Process,
    ProtobufProcess,
    Request,
    Response,
    Settings,
    install,
    route,
)
from compactor.errors import LocalProtocolError
from tests.actors import Receiver, end

ContextFactory = Callable[..., Context]


@pytest.mark.parametrize("name", ["a b", "a\n", "a\r", "a\0", "a@b", "\t", "\x7f"])
def test_process_name_that_cannot_stand_in_a_pid_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match="must not contain"):
        Process(name)


@pytest.mark.parametrize("name", [5, b"name"])
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


def test_what_is_nearly_right_is_told_what_would_be(context: Context) -> None:
    process: Any = Process("name")
    given: Any = "x@127.0.0.1:5050"
    with pytest.raises(TypeError, match=r"got <Process name>$"):
        context.terminate(process)
    context.spawn(process)
    with pytest.raises(TypeError, match=r"give its pid, which it has as \.pid$"):
        context.terminate(process)
    with pytest.raises(TypeError, match=r"PID\.from_string makes one of text$"):
        process.send(given, "message")
    with pytest.raises(TypeError, match=r"encode it, as by text\.encode\(\)$"):
        process.send(process.pid, "message", given)


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


@pytest.mark.parametrize(
    "context",
    [
        None,
        object(),
        "127.0.0.1:5050",
        SimpleNamespace(ip="127.0.0.1", port=5050, link=print),  # it cannot send
    ],
)
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


def closed_loop() -> asyncio.AbstractEventLoop:
    loop = asyncio.new_event_loop()
    loop.close()
    return loop


@pytest.mark.parametrize(("given", "error", "text"), [
    ({"delegate": 5}, TypeError, "delegate=5 must be the id of a process"),
    ({"delegate": PID("127.0.0.1", 1, "x")}, TypeError, "delegate=PID.*must be the id"),
    ({"delegate": "a b"}, ValueError, "delegate='a b' must be the id"),
    ({"loop": 5}, TypeError, "loop=5 must be an event loop"),
    ({"loop": closed_loop()}, ValueError, "loop=.* is closed"),
    ({"settings": {}}, TypeError, "settings must be"),
    ({"tls": 5}, TypeError, "tls must be"),
    ({"port": "x"}, ValueError, "port='x' must be"),
    ({"ip": 5}, ValueError, "ip=5 must be"),
])  # fmt: skip
def test_a_context_names_the_argument_that_it_cannot_use(
    given: dict[str, Any], error: type[Exception], text: str
) -> None:
    with pytest.raises(error, match=text):
        Context(**{"ip": "127.0.0.1", **given})


def test_no_delegate_can_be_said_by_none() -> None:
    context = Context(ip="127.0.0.1", delegate=None)  # type: ignore[arg-type]
    assert context.delegate == ""
    context.stop()


@pytest.mark.parametrize("begin", [Context.start, Context.run])
def test_a_loop_that_was_closed_meanwhile_cannot_be_begun_on(
    begin: Callable[[Context], None],
) -> None:
    loop = asyncio.new_event_loop()
    context = Context(ip="127.0.0.1", loop=loop)
    loop.close()
    with pytest.raises(ValueError, match="is closed"):
        begin(context)
    context.stop()


async def awaited(*_args: Any) -> None:
    """A hook whose result nobody would await."""


@pytest.mark.parametrize("hook", [None, 5, "print", awaited])
def test_a_hook_that_cannot_be_called_is_refused(context: Context, hook: Any) -> None:
    with pytest.raises(TypeError, match=r"hook\(dead_letter\)"):
        context.on_dead_letter(hook)
    with pytest.raises(TypeError, match=r"hook\(address, is_backed_up\)"):
        context.on_backed_up(hook)


@pytest.mark.parametrize("method", [None, 5, b"initialize"])
def test_a_method_that_is_no_name_is_refused(context: Context, method: Any) -> None:
    pid = context.spawn(Process("name"))
    with pytest.raises(TypeError, match="by its name, or a callable"):
        context.dispatch(pid, method)
    with pytest.raises(TypeError, match="by its name, or a callable"):
        context.delay(1, pid, method)


def test_other_arguments_are_named_as_well(context: Context) -> None:
    pid = context.spawn(Process("name"))
    calls: list[tuple[Callable[[], object], str]] = [
        (lambda: context.join("5"), "timeout='5'"),  # type: ignore[arg-type]
        (lambda: pid.as_url(5), "endpoint"),  # type: ignore[arg-type]
        (lambda: Settings.from_environ(5), "environ must be"),  # type: ignore[arg-type]
        (lambda: Response("x", headers=5), "headers must be"),  # type: ignore[arg-type]
    ]
    for call, text in calls:
        with pytest.raises(TypeError, match=text):
            call()
    with pytest.raises(LocalProtocolError, match="status"):
        Request("GET", "/").set_status("200")  # type: ignore[arg-type]
