"""We are a framework of a live Mesos 1.11 master, which is C++ libprocess."""

from __future__ import annotations

import socket
import time
from collections.abc import Callable
from typing import Any

import pytest

from compactor import PID, AskFailed, AskTimeout, Context, Reason
from compactor.process import ProtobufProcess
from compactor.wire.encoder import encode_numbered, message_prefix
from tests.ports import own_port
from tests.raw import SENDER, read_answer

from . import protos
from .events import Events
from .mesos_fixture import POLL_SECONDS, Cluster
from .programs import TIMEOUT


def framework_info(**more: Any) -> Any:
    return protos.FrameworkInfo(user="root", name="compactor", failover_timeout=60, **more)


class Framework(ProtobufProcess):
    """What the master tells goes into ``events``."""

    def __init__(self, name: str = "scheduler(1)") -> None:
        super().__init__(name)
        self.events = Events()

    def register(self, master: PID) -> None:
        self.send(master, protos.RegisterFrameworkMessage(framework=framework_info()))

    def reregister(self, master: PID, framework_id: str) -> None:
        info = framework_info(id={"value": framework_id})
        self.send(master, protos.ReregisterFrameworkMessage(framework=info, failover=False))

    async def enquire(self, master: PID, role: str) -> Any:
        request = protos.RegisterFrameworkMessage(framework=framework_info(role=role))
        return await self.ask(master, request, reply=protos.FrameworkErrorMessage)

    def decline(self, master: PID, offer: Any) -> None:
        call = protos.Call(framework_id=offer.framework_id, type=protos.Call.DECLINE)
        call.decline.offer_ids.append(offer.id)
        call.decline.filters.refuse_seconds = 0.01
        self.send(master, call)

    def reconcile(self, master: PID, framework_id: str, task_ids: list[str]) -> None:
        call = protos.Call(type=protos.Call.RECONCILE)
        call.framework_id.value = framework_id
        for task_id in task_ids:
            call.reconcile.tasks.add().task_id.value = task_id
        self.send(master, call)

    def flood(self, master: PID, messages: list[Any]) -> None:
        for message in messages:
            self.send(master, message)

    @ProtobufProcess.install(protos.FrameworkRegisteredMessage)
    def registered(self, from_pid: PID, message: Any) -> None:
        self.events.add("registered", from_pid, message)

    @ProtobufProcess.install(protos.FrameworkReregisteredMessage)
    def reregistered(self, from_pid: PID, message: Any) -> None:
        self.events.add("registered", from_pid, message)

    @ProtobufProcess.install(protos.ResourceOffersMessage)
    def offered(self, from_pid: PID, message: Any) -> None:
        self.events.add("offers", from_pid, list(message.offers))

    @ProtobufProcess.install(protos.StatusUpdateMessage)
    def updated(self, from_pid: PID, message: Any) -> None:
        self.events.add("update", from_pid, message.update.status)

    @ProtobufProcess.install(protos.FrameworkErrorMessage)
    def failed(self, from_pid: PID, message: Any) -> None:
        self.events.add("error", from_pid, message.message)

    def exited(self, pid: PID, reason: Reason) -> None:
        self.events.add("exited", pid, reason)


def started(context: Context, cluster: Cluster) -> tuple[Framework, PID, str]:
    """A framework that has registered, the master's pid, and the framework's id."""
    framework, master = Framework(), PID.from_string(cluster.master)
    context.spawn(framework)
    framework.register(master)
    _, message = framework.events.expect("registered")
    return framework, master, message.framework_id.value


def wait_until(is_so: Callable[[], bool]) -> None:
    deadline = time.monotonic() + TIMEOUT
    while not is_so():
        assert time.monotonic() < deadline, "it did not come about"
        time.sleep(POLL_SECONDS)


def test_framework_registers_with_the_master(context: Context, cluster: Cluster) -> None:
    framework, master = Framework(), PID.from_string(cluster.master)
    pid = context.spawn(framework)
    framework.register(master)
    from_pid, message = framework.events.expect("registered")
    assert from_pid == master
    assert message.master_info.pid == str(master)
    assert message.master_info.version == "1.11.0"
    known = cluster.framework(message.framework_id.value)
    assert (known["name"], known["pid"], known["active"]) == ("compactor", str(pid), True)


def test_the_master_answers_what_it_is_asked(context: Context, cluster: Cluster) -> None:
    framework = context.spawn(Framework())
    for role in ("/first", "/second"):
        answer = context.dispatch(framework, "enquire", PID.from_string(cluster.master), role)
        assert f"'{role}'" in answer.result(TIMEOUT).message


def test_declined_offer_is_made_again(context: Context, cluster: Cluster) -> None:
    framework, master, _ = started(context, cluster)
    from_pid, (first,) = framework.events.expect("offers")
    assert from_pid == master
    assert {resource.name for resource in first.resources} >= {"cpus", "mem"}
    framework.decline(master, first)
    _, (second,) = framework.events.expect("offers")
    assert second.id != first.id
    assert second.slave_id == first.slave_id


def test_reconciled_tasks_are_reported_in_order(context: Context, cluster: Cluster) -> None:
    framework, master, framework_id = started(context, cluster)
    task_ids = [f"task-{number}" for number in range(500)]
    framework.reconcile(master, framework_id, task_ids)
    updates = framework.events.expect_all("update", len(task_ids))
    assert [status.task_id.value for _, status in updates] == task_ids
    assert {from_pid for from_pid, _ in updates} == {master}
    assert all("Task is unknown" in status.message for _, status in updates)


def test_unlinked_burst_of_the_master_arrives_whole(context: Context, cluster: Cluster) -> None:
    """The master links to frameworks that it accepts only, so these answers come unlinked."""
    framework, master = Framework(), PID.from_string(cluster.master)
    pid = context.spawn(framework)
    roles = [f"/{number}" for number in range(300)]
    messages = [
        protos.RegisterFrameworkMessage(framework=framework_info(role=role)) for role in roles
    ]
    context.dispatch(pid, "flood", master, messages).result(TIMEOUT)
    errors = [text for _, text in framework.events.expect_all("error", len(roles))]
    assert sorted(text.split("'")[3] for text in errors) == sorted(roles)


@pytest.mark.parametrize("is_same_address", [True, False], ids=["same address", "other address"])
def test_framework_survives_kill_9_of_the_master(
    context: Context, mesos_cluster: Callable[..., Cluster], is_same_address: bool
) -> None:
    cluster = mesos_cluster()
    framework, master, framework_id = started(context, cluster)
    context.dispatch(framework.pid, framework.link, master).result(TIMEOUT)
    framework.events.expect("offers")
    cluster.program.kill()
    pid, reason = framework.events.expect("exited")
    assert pid == master
    assert reason in (Reason.CLOSED, Reason.RESET)

    cluster = mesos_cluster(cluster.port if is_same_address else own_port())
    new_master = PID.from_string(cluster.master)
    framework.link(new_master)
    framework.reregister(new_master, framework_id)
    from_pid, message = framework.events.expect("registered")
    assert from_pid == new_master
    assert message.framework_id.value == framework_id
    _, (offer,) = framework.events.expect("offers")
    framework.decline(new_master, offer)
    framework.reconcile(new_master, framework_id, ["task"])
    framework.events.expect("update")
    assert len(framework.events.seen("exited")) == 1
    cluster.program.kill()
    assert framework.events.expect("exited")[0] == new_master


def test_killed_master_is_reported_to_a_linker_that_never_sent(
    context: Context, cluster: Cluster
) -> None:
    framework, master = Framework(), PID.from_string(cluster.master)
    context.spawn(framework)
    framework.link(master)
    wait_until(lambda: master.address in context._runtime.peers)
    links = context._runtime.peers[master.address].links
    wait_until(lambda: links._is_foreign)
    cluster.program.kill()
    assert framework.events.expect("exited")[0] == master


def test_link_to_the_master_stays_and_does_the_master_no_harm(
    context: Context, cluster: Cluster
) -> None:
    framework, master, framework_id = started(context, cluster)
    nobody = PID("127.0.0.1", cluster.port, "nobody")
    for _ in range(3):
        framework.link(master)
    # What the master answers about the links comes before what it answers about this one.
    framework.link(nobody)
    context.send(framework.pid, nobody, "message")
    assert framework.events.expect("exited")[0] == nobody
    framework.reconcile(master, framework_id, ["task"])
    framework.events.expect("update")
    assert [pid for pid, _ in framework.events.seen("exited")] == [nobody]
    assert cluster.program.is_alive
    assert cluster.framework(framework_id)["active"]


def test_an_unknown_id_at_the_master_is_reported_with_the_first_message(
    context: Context, cluster: Cluster
) -> None:
    framework, master, framework_id = started(context, cluster)
    nobody = PID("127.0.0.1", cluster.port, "nobody(1)")
    for _ in range(2):
        framework.link(nobody)
        context.send(framework.pid, nobody, "message")
        assert framework.events.expect("exited") == (nobody, Reason.NO_PROCESS)
    framework.reconcile(master, framework_id, ["task"])
    framework.events.expect("update")
    assert cluster.program.is_alive


def test_messages_that_the_master_does_not_know_do_it_no_harm(
    context: Context, cluster: Cluster
) -> None:
    framework, master, framework_id = started(context, cluster)
    unknown = protos.Offer.DESCRIPTOR.full_name
    context.send(framework.pid, master, unknown, b"\xff" * 10)
    context.send(framework.pid, master, protos.Call.DESCRIPTOR.full_name, b"\xff" * 10)
    context.send(framework.pid, PID("127.0.0.1", cluster.port, "nobody"), unknown, b"x")
    framework.reconcile(master, framework_id, ["task"])
    framework.events.expect("update")
    assert cluster.program.is_alive


def test_master_sees_that_our_context_has_stopped(context: Context, cluster: Cluster) -> None:
    _, _, framework_id = started(context, cluster)
    assert cluster.framework(framework_id)["active"]
    context.stop()
    context.join(TIMEOUT)
    wait_until(lambda: not cluster.framework(framework_id)["active"])


def test_many_asks_at_once_end_and_break_no_link(context: Context, cluster: Cluster) -> None:
    framework, master, _ = started(context, cluster)
    framework.link(master)

    async def enquire_many() -> list[Any]:
        roles = [f"/role{number}" for number in range(50)]
        return [await each for each in [framework.enquire(master, role) for role in roles]]

    for number, answered in enumerate(
        context.dispatch(framework.pid, enquire_many).result(TIMEOUT)
    ):
        assert f"'/role{number}'" in answered.message
    with pytest.raises(AskTimeout):  # it takes messages of any name, and drops those it has none of
        context.ask(master, "no.such.message", b"", timeout=0.3).result(TIMEOUT)
    with pytest.raises(AskFailed) as failed:
        context.ask(PID(*master.address, "nobody"), "x").result(TIMEOUT)
    assert failed.value.reason is Reason.NO_PROCESS
    answer = context.dispatch(framework.pid, "enquire", master, "/again")
    assert "'/again'" in answer.result(TIMEOUT).message
    assert framework.events.seen("exited") == []


@pytest.mark.parametrize("kind", [b"a", b"r"])
def test_numbers_of_asks_are_taken_for_what_they_are_not(cluster: Cluster, kind: bytes) -> None:
    """They are no more than chunk extensions to it, if ever they come there."""
    master = PID.from_string(cluster.master)
    with socket.create_connection(master.address, TIMEOUT) as sock:
        for body in (b"", b"x", b"x" * 1000):
            prefix = message_prefix(SENDER, master, "no.such.message")
            prefix = prefix.replace(b"User-Agent: libprocess/", b"X: ")  # whom it does not answer
            sock.sendall(encode_numbered(prefix, kind, 17, body))
            assert read_answer(sock)[0] == 202
