"""A small framework of Mesos: it follows the leading master, and keeps its id when either ends.

python mesos_framework.py zk://host:2181/mesos framework.id

It registers, declines what it is offered, and asks about a task.  The file keeps its id: started
again, it takes over from the one that was killed.  Without arguments it plays against a master of
its own, which is none.
"""

import asyncio
import pathlib
import sys
import tempfile

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

from compactor import Context, ProtobufProcess
from compactor.mesos import MasterDetector

# Of Mesos' messages what a framework needs, with the numbers of their fields; "..." is repeated.
# With Mesos' own .proto files, protoc makes these classes.
MESSAGES = """
mesos FrameworkID value=1
mesos OfferID value=1
mesos SlaveID value=1
mesos TaskID value=1
mesos FrameworkInfo user=1 name=2 id=3:FrameworkID failover_timeout=4:double
mesos Offer id=1:OfferID framework_id=2:FrameworkID slave_id=3:SlaveID hostname=4
mesos Filters refuse_seconds=1:double
mesos TaskStatus task_id=1:TaskID state=2:int32 message=4
mesos Subscribe framework_info=1:FrameworkInfo force=2:bool
mesos Decline offer_ids=1:OfferID... filters=2:Filters
mesos ReconcileTask task_id=1:TaskID
mesos Reconcile tasks=1:ReconcileTask...
mesos StatusUpdate framework_id=1:FrameworkID status=4:TaskStatus timestamp=5:double
mesos.scheduler Call framework_id=1:FrameworkID type=2:int32 subscribe=3:Subscribe decline=5:Decline reconcile=9:Reconcile
mesos.internal FrameworkRegisteredMessage framework_id=1:FrameworkID
mesos.internal FrameworkReregisteredMessage framework_id=1:FrameworkID
mesos.internal FrameworkErrorMessage message=2
mesos.internal ResourceOffersMessage offers=1:Offer...
mesos.internal StatusUpdateMessage update=1:StatusUpdate
"""  # noqa: E501
SUBSCRIBE, DECLINE, RECONCILE = 1, 5, 9  # before Mesos 1.11, as now
SCALARS = {"": "TYPE_STRING", "double": "TYPE_DOUBLE", "bool": "TYPE_BOOL", "int32": "TYPE_INT32"}


def made_messages():
    """The classes of those messages, by name."""
    pool, names, files = descriptor_pool.DescriptorPool(), {}, {}
    for line in MESSAGES.split("\n")[1:-1]:
        package, message, *fields = line.split()
        file = files.setdefault(package, descriptor_pb2.FileDescriptorProto(package=package))
        made, names[message] = file.message_type.add(name=message), f"{package}.{message}"
        for text in fields:
            name, _, rest = text.partition("=")
            number, _, kind = rest.removesuffix("...").partition(":")
            field = made.field.add(name=name, number=int(number))
            field.label = field.LABEL_REPEATED if rest.endswith("...") else field.LABEL_OPTIONAL
            if kind in SCALARS:
                field.type = getattr(field, SCALARS[kind])
            else:
                field.type, field.type_name = field.TYPE_MESSAGE, f".mesos.{kind}"
    for package, file in files.items():
        file.name = f"{package}.proto"
        file.dependency.extend(["mesos.proto"] if package != "mesos" else [])
        pool.AddSerializedFile(file.SerializeToString())
    return {
        message: message_factory.GetMessageClass(pool.FindMessageTypeByName(name))
        for message, name in names.items()
    }


M = type("M", (), made_messages())


class Framework(ProtobufProcess):
    """Registers with each leading master.

    Args:
        file: keeps the id that the first master gave.
    """

    def __init__(self, file):
        super().__init__("scheduler(1)")
        self.file = file
        self.framework_id = file.read_text() if file.exists() else ""
        self.leader = None
        self.is_registered = False
        self.asked = asyncio.Event()

    def follow(self, leader):
        """Called with each leading master, and with None where there is none."""
        self.leader, self.is_registered = leader, False
        print("the leading master is", leader, flush=True)
        if leader is not None:
            self.link(leader)
            self.subscribe(leader)

    def subscribe(self, leader):
        if leader != self.leader or self.is_registered:
            return
        call = M.Call(type=SUBSCRIBE)
        info = call.subscribe.framework_info
        info.user, info.name, info.failover_timeout = "root", "example", 3600
        if self.framework_id:
            info.id.value = call.framework_id.value = self.framework_id
            call.subscribe.force = True  # whoever has this id now is to give way
        self.send(leader, call)
        self.delay(1, "subscribe", leader)  # what is sent may be lost

    def call(self, kind, **fields):
        self.send(
            self.leader, M.Call(type=kind, framework_id={"value": self.framework_id}, **fields)
        )

    @ProtobufProcess.install(M.FrameworkRegisteredMessage)
    def registered(self, from_pid, message):
        self.is_registered, self.framework_id = True, message.framework_id.value
        self.file.write_text(self.framework_id)
        print("registered as", self.framework_id, flush=True)
        self.call(RECONCILE, reconcile={"tasks": [{"task_id": {"value": "task-1"}}]})

    @ProtobufProcess.install(M.FrameworkReregisteredMessage)
    def reregistered(self, from_pid, message):  # whom the master has known
        self.registered(from_pid, message)

    @ProtobufProcess.install(M.ResourceOffersMessage)
    def offered(self, from_pid, message):
        print("offered", len(message.offers), flush=True)
        ids = [offer.id for offer in message.offers]
        self.call(DECLINE, decline={"offer_ids": ids, "filters": {"refuse_seconds": 5}})

    @ProtobufProcess.install(M.StatusUpdateMessage)
    def updated(self, from_pid, message):
        status = message.update.status
        print("status of", status.task_id.value, "is", status.state, flush=True)
        self.asked.set()

    @ProtobufProcess.install(M.FrameworkErrorMessage)
    def refused(self, from_pid, message):
        print("refused:", message.message, flush=True)

    def exited(self, pid, reason):
        if pid == self.leader:  # the detector tells who is next, be it the same one
            print("lost the master:", reason, flush=True)
            self.is_registered = False
            self.delay(1, "subscribe", pid)


async def run(master, framework):
    """Follow the masters of a URL, for ever."""
    async with Context() as context, MasterDetector(master) as detector:
        pid = context.spawn(framework)
        async for found in detector:
            await context.dispatch(pid, "follow", found and found.pid)


class NoMaster(ProtobufProcess):
    """Answers as a master would, for a play without Mesos."""

    @ProtobufProcess.install(M.Call)
    def called(self, from_pid, call):
        if call.type == SUBSCRIBE:
            self.send(from_pid, M.FrameworkRegisteredMessage(framework_id={"value": "example-1"}))
            offer = M.Offer(id={"value": "offer-1"}, hostname="agent.example")
            self.send(from_pid, M.ResourceOffersMessage(offers=[offer]))
        elif call.type == RECONCILE:
            status = M.TaskStatus(task_id=call.reconcile.tasks[0].task_id, state=5)
            self.send(from_pid, M.StatusUpdateMessage(update={"status": status}))


async def play():
    with tempfile.TemporaryDirectory() as folder:
        async with Context(ip="127.0.0.1", port=0) as context:
            master = context.spawn(NoMaster("master"))
            framework = Framework(pathlib.Path(folder, "framework.id"))
            running = asyncio.create_task(run(str(master), framework))
            await asyncio.wait_for(framework.asked.wait(), 10)
            running.cancel()
            await asyncio.wait([running])


if __name__ == "__main__":
    if len(sys.argv) == 3:
        asyncio.run(run(sys.argv[1], Framework(pathlib.Path(sys.argv[2]))))
    else:
        asyncio.run(play())
