"""A Mesos master that checks whether messages come from the address of their sender."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator

import pytest

from compactor import PID, Context, Reason
from tests.actors import dead_letters, take_letter
from tests.ports import own_port

from . import protos
from .mesos_fixture import Cluster, Mesos
from .test_mesos_framework import Framework, started, wait_until

CHECKED = {"LIBPROCESS_REQUIRE_PEER_ADDRESS_IP_MATCH": "true"}
MESSAGES = 50


@pytest.fixture(scope="module")
def strict(mesos: Mesos, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """A running master with an agent, that check who sends to them."""
    port = own_port()
    program = mesos.run("local", tmp_path_factory.mktemp("strict"), port, more=CHECKED)
    cluster = Cluster(program, port)
    cluster.wait_until_ready()
    yield cluster
    program.kill()


def test_all_that_it_refuses_is_reported_and_linkers_hear_of_it(
    new_context: Callable[..., Context], strict: Cluster, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    context = new_context(advertise_ip="127.0.0.2")  # it dials from 127.0.0.1
    framework, master = Framework(), PID.from_string(strict.master)
    letters = dead_letters(context)
    pid = context.spawn(framework)
    framework.link(master)
    wait_until(lambda: master.address in context._runtime.peers)
    wait_until(lambda: context._runtime.peers[master.address].links._is_foreign)
    for _ in range(MESSAGES):
        framework.register(master)
    name = protos.RegisterFrameworkMessage.DESCRIPTOR.full_name
    for _ in range(MESSAGES):
        letter = take_letter(letters)
        assert (letter.reason, letter.name) == (Reason.SENDER_REFUSED, name)
        assert (letter.to, letter.sender) == (master, pid)
    assert framework.events.expect("exited") == (master, Reason.SENDER_REFUSED)
    assert context.metrics.snapshot()["dead_letters/sender refused"] == MESSAGES
    assert 0 < sum("address of their sender" in line for line in caplog.messages) < 5
    assert len(caplog.messages) < MESSAGES // 5

    framework.link(master)  # what it says to the next message ends this one
    framework.register(master)
    assert framework.events.expect("exited") == (master, Reason.SENDER_REFUSED)
    assert len(framework.events.seen("exited")) == 2
    assert strict.program.is_alive


def test_it_takes_what_comes_from_the_address_of_its_sender(
    context: Context, strict: Cluster
) -> None:
    framework, master, framework_id = started(context, strict)
    framework.link(master)
    framework.reconcile(master, framework_id, ["task"])
    framework.events.expect("update")
    assert framework.events.seen("exited") == []
