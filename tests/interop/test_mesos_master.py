"""We are the master of Mesos 1.11's live scheduler driver, which is C++ libprocess."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from compactor import PID, Context, Reason
from compactor.process import ProtobufProcess

from . import protos
from .events import Events
from .programs import TIMEOUT, Program

FRAMEWORK_ID = "framework-1"
AGENT_ID = "agent-1"

Driver = Callable[..., Program]


class Master(ProtobufProcess):
    """Registers whoever subscribes, and links to it; its calls go into ``events``."""

    def __init__(self) -> None:
        super().__init__("master")
        self.events = Events()
        self.subscriber: PID | None = None

    @ProtobufProcess.install(protos.Call)
    def called(self, from_pid: PID, call: Any) -> None:
        kind = protos.Call.Type.Name(call.type)
        if call.type == protos.Call.SUBSCRIBE and from_pid != self.subscriber:
            self.subscriber = from_pid
            self.link(from_pid)
            message = protos.FrameworkRegisteredMessage(framework_id={"value": FRAMEWORK_ID})
            message.master_info.id = "master-1"
            message.master_info.ip = 0x0100007F
            message.master_info.port = self.pid.port
            message.master_info.pid = str(self.pid)
            message.master_info.hostname = "localhost"
            self.send(from_pid, message)
        self.events.add(kind, from_pid, call)

    def offer(self, to: PID, offer_id: str, agent: PID) -> None:
        offer = protos.Offer(
            id={"value": offer_id},
            framework_id={"value": FRAMEWORK_ID},
            slave_id={"value": AGENT_ID},
            hostname="agent.example",
        )
        cpus = offer.resources.add(name="cpus", type=0, role="*")
        cpus.scalar.value = 1
        self.send(to, protos.ResourceOffersMessage(offers=[offer], pids=[str(agent)]))

    def exited(self, pid: PID, reason: Reason) -> None:
        self.events.add("exited", pid, reason)


class Agent(ProtobufProcess):
    """What frameworks send to executors goes into ``events``."""

    def __init__(self) -> None:
        super().__init__("slave(1)")
        self.events = Events()

    @ProtobufProcess.install(protos.FrameworkToExecutorMessage)
    def received(self, from_pid: PID, message: Any) -> None:
        self.events.add("message", from_pid, message)


def test_driver_subscribes_and_declines_our_offer(context: Context, mesos_driver: Driver) -> None:
    master = Master()
    pid = context.spawn(master)
    driver = mesos_driver(pid)
    subscriber, call = master.events.expect("SUBSCRIBE")
    assert call.subscribe.framework_info.name == "interop"
    assert driver.expect("REGISTERED") == [FRAMEWORK_ID, "localhost", str(pid.port)]
    for offer_id in ("offer-1", "offer-2"):
        master.offer(subscriber, offer_id, PID(pid.ip, pid.port, "slave(1)"))
        assert driver.expect("OFFER") == [offer_id, "agent.example"]
        from_pid, call = master.events.expect("DECLINE")
        assert from_pid == subscriber
        assert call.framework_id.value == FRAMEWORK_ID
        assert [offer.value for offer in call.decline.offer_ids] == [offer_id]
    assert master.events.seen("exited") == []


def test_kill_9_of_the_driver_breaks_our_link(context: Context, mesos_driver: Driver) -> None:
    master = Master()
    driver = mesos_driver(context.spawn(master))
    driver.expect("REGISTERED")
    assert master.events.seen("exited") == []
    driver.kill()
    pid, reason = master.events.expect("exited")
    assert pid == master.subscriber
    assert reason in (Reason.CLOSED, Reason.RESET)


def test_second_driver_registers_after_the_first_was_killed(
    context: Context, mesos_driver: Driver
) -> None:
    master = Master()
    pid = context.spawn(master)
    subscribers = set()
    for _ in range(2):
        driver = mesos_driver(pid)
        driver.expect("REGISTERED")
        subscribers.add(master.subscriber)
        driver.kill()
        assert master.events.expect("exited")[0] == master.subscriber
    assert len(subscribers) == 2


def test_driver_goes_on_with_a_new_context_at_the_same_address(
    new_context: Callable[..., Context], mesos_driver: Driver
) -> None:
    context, master = new_context(), Master()
    pid = context.spawn(master)
    driver = mesos_driver(pid)
    driver.expect("REGISTERED")
    subscriber, _ = master.events.expect("SUBSCRIBE")
    context.stop()
    context.join(TIMEOUT)
    master = Master()
    assert new_context(port=pid.port).spawn(master) == pid
    master.offer(subscriber, "offer-1", PID(pid.ip, pid.port, "slave(1)"))
    driver.expect("OFFER")
    from_pid, _ = master.events.expect("DECLINE")
    assert from_pid == subscriber


def test_unlinked_burst_of_the_driver_arrives_whole(
    new_context: Callable[..., Context], mesos_driver: Driver
) -> None:
    """The driver links to the master only, and sends to the agent of an offer without."""
    count = 300
    master, agent = Master(), Agent()
    driver = mesos_driver(new_context().spawn(master), burst=count)
    agent_pid = new_context().spawn(agent)
    subscriber, _ = master.events.expect("SUBSCRIBE")
    driver.expect("REGISTERED")
    master.offer(subscriber, "offer-1", agent_pid)
    driver.expect("SENT")
    messages = agent.events.expect_all("message", count)
    assert sorted(int(message.data) for _, message in messages) == list(range(count))
    assert {from_pid for from_pid, _ in messages} == {subscriber}
    assert {message.executor_id.value for _, message in messages} == {"executor"}
