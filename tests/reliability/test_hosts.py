"""Faults of hosts and of the network between them, on several hosts with their own addresses."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.reliability.hosts import Host, Network
from tests.reliability.programs import Program

pytestmark = pytest.mark.slow

Start = Callable[..., Program]

PEER_TIMEOUT = 3.0
QUICK = {"peer_timeout": PEER_TIMEOUT}
SLACK = 1.5  # seconds for timers of the kernel, and for programs that share a busy machine


@pytest.fixture
def pair(network: Network, start: Start) -> tuple[Program, Program, Host]:
    """A linked pair on two hosts: the linker, the linked, and the host of the latter."""
    here, far = network.add_host(), network.add_host()
    linker, linked = start(here, settings=QUICK), start(far, settings=QUICK)
    linker.tell("link", to=linked.pid)
    linker.send(linked.pid, "first")
    assert linked.take("message")["body"] == "first"
    return linker, linked, far


def test_a_host_that_vanishes_from_a_silent_link_exits_it_within_the_peer_timeout(
    pair: tuple[Program, Program, Host],
) -> None:
    linker, linked, far = pair
    far.cable.is_cut = True
    told = linker.tell("connections")
    exited = linker.take("exited")
    assert (exited["pid"], exited["reason"]) == (linked.pid, "timeout")
    assert exited["at"] - told <= PEER_TIMEOUT + SLACK


def test_a_host_that_vanishes_under_traffic_exits_the_link_within_the_peer_timeout(
    pair: tuple[Program, Program, Host],
) -> None:
    linker, linked, far = pair
    far.cable.is_cut = True
    told = linker.send(linked.pid, "lost")
    exited = linker.take("exited")
    assert (exited["pid"], exited["reason"]) == (linked.pid, "timeout")
    assert exited["at"] - told <= PEER_TIMEOUT + SLACK
