"""Context: the addresses that it binds, advertises and dials."""

from __future__ import annotations

import asyncio
import socket
import threading
from collections.abc import Callable
from typing import Any

import pytest

from compactor import PID, Context, Process, Reason
from compactor.errors import ContextError
from compactor.testing import ephemeral_context
from tests.actors import TIMEOUT, Receiver
from tests.network import run_in_own_network
from tests.raw import connects

ContextFactory = Callable[..., Context]


def test_pid_of_a_context_names_the_processes_when_there_are_several(context: Context) -> None:
    with pytest.raises(ContextError, match=r"none.*process that you mean"):
        _ = context.pid
    one = Process("one")
    context.spawn(one)
    assert context.pid == one.pid
    context.spawn(Process("two"))
    with pytest.raises(ContextError, match=r"one@.*two@"):
        _ = context.pid


def test_ipv6_contexts_talk(make_context: ContextFactory) -> None:
    try:
        socket.create_server(("::1", 0), family=socket.AF_INET6).close()
    except OSError:
        pytest.skip("there is no IPv6 loopback here")
    here, there = make_context(ip="::1"), make_context(ip="[::1]")
    sender, receiver = Receiver("sender"), Receiver()
    here.spawn(sender)
    there.spawn(receiver)
    assert str(receiver.pid) == f"receiver@[::1]:{there.port}"

    sender.link(PID.from_string(str(receiver.pid)))
    sender.send(PID.from_string(str(receiver.pid)), "message", b"x")

    assert receiver.received.take() == (sender.pid, b"x")
    there.stop()
    assert sender.exits.take()[0] == receiver.pid


def test_message_to_another_spelling_of_the_own_address_arrives(context: Context) -> None:
    receiver = Receiver()
    context.spawn(receiver)

    receiver.send(PID("localhost", context.port, receiver.name), "message", b"x")

    assert receiver.received.take() == (receiver.pid, b"x")


_NOBODY_OUTSIDE = """
import logging
from compactor import Context
logging.basicConfig()
context = Context(ip="0.0.0.0")
print(context.ip)
context.stop()
"""


def test_context_without_a_way_out_advertises_loopback_and_says_what_helps() -> None:
    done = run_in_own_network(_NOBODY_OUTSIDE)

    assert done.stdout == "127.0.0.1\n"
    assert "LIBPROCESS_ADVERTISE_IP" in done.stderr


def test_host_names_are_resolved_without_holding_up_the_loop(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    resolving, go = threading.Event(), threading.Event()
    getaddrinfo = socket.getaddrinfo

    def slow(host: Any, *args: Any, **kw: Any) -> Any:
        if host == "slow.invalid":
            resolving.set()
            go.wait(TIMEOUT)
        return getaddrinfo(host, *args, **kw)

    monkeypatch.setattr(socket, "getaddrinfo", slow)  # asyncio's loop asks it; uvloop's has its own
    with ephemeral_context(loop=asyncio.new_event_loop()) as context:
        receiver = Receiver()
        context.spawn(receiver)
        receiver.link(PID("slow.invalid", 5050, "x"))
        assert resolving.wait(TIMEOUT)
        receiver.send(receiver.pid, "message", b"meanwhile")
        assert receiver.received.take() == (receiver.pid, b"meanwhile")
        assert receiver.exits.is_empty
        go.set()

        assert receiver.exits.take()[1] == Reason.UNRESOLVED


@pytest.mark.parametrize("ip", ["0.0.0.0", "::"])
def test_all_interfaces_advertise_an_address_that_can_be_dialled(
    make_context: ContextFactory, ip: str
) -> None:
    if ip == "::" and not socket.has_dualstack_ipv6():
        pytest.skip("there is no IPv6 here")
    context = make_context(ip=ip)

    assert context.ip not in ("0.0.0.0", "::")
    assert connects(context.ip, context.port)
