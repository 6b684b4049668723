"""Faults of hosts and of the network between them, on several hosts with their own addresses."""

from __future__ import annotations

import platform
import re
import signal
import subprocess
import time
from collections.abc import Callable

import pytest

from tests.reliability.hosts import Host, Network
from tests.reliability.programs import Program
from tests.tls_fixture import Certificates

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


@pytest.mark.parametrize("is_silent", [True, False], ids=["silent", "under traffic"])
def test_a_host_that_vanishes_behind_tls_exits_the_link_within_the_peer_timeout(
    network: Network,
    start: Start,
    certificates: Certificates,
    monkeypatch: pytest.MonkeyPatch,
    is_silent: bool,
) -> None:
    monkeypatch.setenv("LIBPROCESS_SSL_ENABLED", "true")
    for name in ("KEY", "CERT"):
        file = certificates.folder / f"host.{'key' if name == 'KEY' else 'pem'}"
        monkeypatch.setenv(f"LIBPROCESS_SSL_{name}_FILE", str(file))
    near, far = network.add_host(), network.add_host()
    linker, linked = start(near, settings=QUICK), start(far, settings=QUICK)
    linker.tell("link", to=linked.pid)
    linker.send(linked.pid, "hello")
    assert linked.take("message")["body"] == "hello"
    far.cable.is_cut = True
    told = linker.tell("connections") if is_silent else linker.send(linked.pid, "lost")
    exited = linker.take("exited")
    assert (exited["pid"], exited["reason"]) == (linked.pid, "timeout")
    assert exited["at"] - told <= PEER_TIMEOUT + SLACK


def test_what_waits_for_a_vanished_host_is_reported_and_the_link_resumes_when_it_is_back(
    pair: tuple[Program, Program, Host],
) -> None:
    linker, linked, far = pair
    far.cable.is_cut = True
    flood = 64  # messages of 256 KiB: more than the kernel takes
    linker.tell("count", to=linked.pid, count=flood, size=256 * 1024)
    assert linker.take("exited")["reason"] == "timeout"
    letters = [linker.take("letter") for _ in range(max(1, linker.seen("letter")))]
    assert {letter["reason"] for letter in letters} == {"timeout"}
    far.cable.is_cut = False
    linker.tell("link", to=linked.pid)
    linker.send(linked.pid, "again")
    assert linked.take("message")["body"] == "again"
    linked.kill()
    assert linker.take("exited")["reason"] in ("closed", "reset")


def kernel() -> tuple[int, ...]:
    return tuple(int(part) for part in re.findall(r"\d+", platform.release())[:2])


@pytest.mark.skipif(kernel() < (6, 15), reason="older kernels ask for room every two minutes only")
def test_a_host_that_vanishes_while_it_makes_no_room_exits_the_link_within_the_peer_timeout(
    pair: tuple[Program, Program, Host],
) -> None:
    linker, linked, far = pair
    linked.signal(signal.SIGSTOP)
    linker.tell("count", to=linked.pid, count=64, size=256 * 1024)
    linker.say_nothing("exited", PEER_TIMEOUT * 1.5)  # its buffers are full: its machine says so
    far.cable.is_cut = True
    told = time.monotonic()
    exited = linker.take("exited")
    assert (exited["pid"], exited["reason"]) == (linked.pid, "timeout")
    assert exited["at"] - told <= PEER_TIMEOUT + 1.0 + SLACK  # a second until the next question


def test_a_host_that_comes_back_in_time_has_lost_nothing_and_exits_nobody(
    pair: tuple[Program, Program, Host],
) -> None:
    linker, linked, far = pair
    far.cable.is_cut = True
    linker.tell("count", to=linked.pid, count=1000, size=100)
    linker.say_nothing("exited", PEER_TIMEOUT / 2)
    far.cable.is_cut = False
    assert linked.take("counted") | {"at": 0} == {
        "event": "counted",
        "at": 0,
        "count": 1000,
        "in_order": True,
    }
    assert not linker.seen("exited")
    assert not linker.seen("letter")


@pytest.mark.parametrize(
    ("loss", "delay", "jitter", "count"),
    [(0.3, 0.0, 0.0, 300), (0.0, 0.2, 0.0, 20_000), (0.0, 0.01, 0.1, 20_000)],
    ids=["30 % loss", "200 ms delay", "reordering"],
)
def test_a_bad_network_delays_messages_and_loses_none(
    network: Network, start: Start, loss: float, delay: float, jitter: float, count: int
) -> None:
    here, far = network.add_host(), network.add_host()
    far.cable.loss, far.cable.delay, far.cable.jitter = loss, delay, jitter
    patient = {"peer_timeout": 60, "connect_timeout": 30}
    linker, linked = start(here, settings=patient), start(far, settings=patient)
    linker.tell("link", to=linked.pid)
    linker.tell("count", to=linked.pid, count=count, size=100)
    counted = linked.take("counted", timeout=50)
    assert (counted["count"], counted["in_order"]) == (count, True)
    assert not linker.seen("exited")
    assert not linker.seen("letter")
    assert not loss or network.dropped


def test_a_silent_link_outlives_its_peer_timeout_while_the_peers_machine_answers(
    pair: tuple[Program, Program, Host],
) -> None:
    linker, linked, _ = pair
    linked.signal(signal.SIGSTOP)
    linker.say_nothing("exited", PEER_TIMEOUT * 2)
    linked.signal(signal.SIGCONT)
    linker.send(linked.pid, "still here")
    assert linked.take("message")["body"] == "still here"
    assert not linker.seen("exited")


@pytest.mark.parametrize("is_told", [False, True], ids=["silent", "told of an end"])
def test_a_vanished_linker_leaves_no_half_open_connection_behind(
    network: Network, start: Start, is_told: bool
) -> None:
    here, far = network.add_host(), network.add_host()
    linker, linked = start(here, settings=QUICK), start(far, settings=QUICK)
    linker.tell("link", to=linked.pid)
    linker.send(linked.pid, "first")
    linked.take("message")
    count, end = 0, time.monotonic() + SLACK
    while count < 2 and time.monotonic() < end:  # one for messages, one for notices
        linked.tell("connections")
        count = linked.take("connections")["count"]
    assert count == 2
    here.cable.is_cut = True
    if is_told:
        linked.tell("end")
    end = time.monotonic() + PEER_TIMEOUT + SLACK
    while count and time.monotonic() < end:
        linked.tell("connections")
        count = linked.take("connections")["count"]
    assert count == 0


@pytest.mark.parametrize("is_restarted", [False, True], ids=["gone", "restarted"])
def test_a_half_open_link_exits_with_reset_once_the_peer_s_machine_is_back(
    pair: tuple[Program, Program, Host], start: Start, is_restarted: bool
) -> None:
    """Power lost and back: the program's end was never told."""
    linker, linked, far = pair
    far.cable.is_cut = far.cable.is_mute = True
    linked.kill()
    if is_restarted:
        again = start(far, port=linked.port, settings=QUICK)
    far.cable.is_cut = False
    told = linker.send(linked.pid, "into the half-open connection")
    exited = linker.take("exited")
    assert (exited["pid"], exited["reason"]) == (linked.pid, "reset")
    assert exited["at"] - told <= PEER_TIMEOUT + SLACK
    linker.tell("link", to=linked.pid)
    linker.send(linked.pid, "second")
    if is_restarted:
        assert again.take("message")["body"] == "second"
    else:
        assert linker.take("exited")["reason"] == "refused"
        assert linker.take("letter")["reason"] == "refused"


def test_a_host_that_is_not_there_exits_a_link_within_the_connect_timeout(
    network: Network, start: Start
) -> None:
    here, far = network.add_host(), network.add_host()
    far.cable.is_cut = True
    linker = start(here, settings={"connect_timeout": 1.0})
    nobody = f"node@{far.ip}:5050"
    told = linker.tell("link", to=nobody)
    linker.send(nobody, "lost")
    exited = linker.take("exited")
    assert (exited["pid"], exited["reason"]) == (nobody, "timeout")
    assert exited["at"] - told <= 1.0 + SLACK
    assert linker.take("letter")["reason"] == "timeout"


def test_a_neighbour_whose_interface_goes_down_exits_the_link(
    network: Network, start: Start
) -> None:
    """On one Ethernet the neighbour's address cannot be found any more: there is no route."""
    here, far = network.add_host(), network.add_host()
    for number, host in enumerate((here, far), 1):
        name = f"e{number}-{far.name[-8:]}"
        if number == 1:
            peer = f"e2-{far.name[-8:]}"
            words = ["ip", "link", "add", name, "type", "veth", "peer", "name", peer]
            subprocess.run(words, check=True, capture_output=True)
        subprocess.run(["ip", "link", "set", name, "netns", host.name], check=True)
        host.run("ip", "addr", "add", f"198.19.0.{number}/24", "dev", name)
        host.run("ip", "link", "set", name, "up")
    linker = start(here, settings=QUICK, ip="198.19.0.1")
    linked = start(far, settings=QUICK, ip="198.19.0.2")
    linker.tell("link", to=linked.pid)
    linker.send(linked.pid, "first")
    linked.take("message")
    far.run("ip", "link", "set", f"e2-{far.name[-8:]}", "down")
    told = linker.tell("connections")
    exited = linker.take("exited")
    assert exited["reason"] in ("timeout", "unreachable")
    assert exited["at"] - told <= PEER_TIMEOUT + SLACK
