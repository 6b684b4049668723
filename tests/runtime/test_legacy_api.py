"""What programs written for compactor 0.3.0 find: names, signatures, and its README's examples."""

from __future__ import annotations

import inspect
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import pytest

import compactor
from compactor import Context, context, pid, process, request, testing
from tests.actors import Receiver, settle
from tests.ports import own_port

# The parameters of 0.3.0, in order, without self and cls; "=" has a default.
SIGNATURES: list[tuple[Callable[..., Any], str]] = [
    (compactor.initialize, "delegate= **kw"),
    (compactor.join, ""),
    (compactor.spawn, "process"),
    (compactor.route, "path"),
    (compactor.install, "mbox"),
    (pid.PID, "ip port id_"),
    (pid.PID.from_string, "pid"),
    (pid.PID.as_url, "endpoint="),
    (context.Context, "delegate= loop= ip= port="),
    (context.Context.singleton, "delegate= **kw"),
    (context.Context.get_ip_port, "ip= port="),
    (context.Context.start, ""),
    (context.Context.run, ""),
    (context.Context.stop, ""),
    (context.Context.join, "timeout="),
    (context.Context.is_alive, ""),
    (context.Context.spawn, "process"),
    (context.Context.dispatch, "pid method *args"),
    (context.Context.delay, "amount pid method *args"),
    (context.Context.send, "from_pid to_pid method body="),
    (context.Context.link, "pid to"),
    (context.Context.terminate, "pid"),
    (process.Process, "name="),
    (process.Process.route, "path"),
    (process.Process.install, "mbox"),
    (process.Process.bind, "context"),
    (process.Process.iter_routes, ""),
    (process.Process.iter_handlers, ""),
    (process.Process.delegate, "name pid"),
    (process.Process.handle_message, "name from_pid body"),
    (process.Process.handle_http, "route handler *args **kw"),
    (process.Process.initialize, ""),
    (process.Process.exited, "pid"),
    (process.Process.send, "to method body="),
    (process.Process.link, "to"),
    (process.Process.terminate, ""),
    (process.ProtobufProcess.install, "message_type"),
    (process.ProtobufProcess.send, "to message"),
    (
        request.encode_request,
        "from_pid to_pid method body= content_type= legacy=",
    ),
    (testing.ephemeral_context, "**kw"),
]


def _spell(parameter: inspect.Parameter) -> str:
    stars = {parameter.VAR_POSITIONAL: "*", parameter.VAR_KEYWORD: "**"}.get(parameter.kind, "")
    return f"{stars}{parameter.name}{'' if parameter.default is parameter.empty else '='}"


@pytest.mark.parametrize(
    ("function", "signature"), SIGNATURES, ids=lambda v: getattr(v, "__qualname__", "")
)
def test_signature_is_that_of_0_3_0_with_optional_additions(
    function: Callable[..., Any], signature: str
) -> None:
    parameters = [
        p for p in inspect.signature(function).parameters.values() if p.name not in ("self", "cls")
    ]
    expected = signature.split()
    found = [_spell(p) for p in parameters]

    assert [name for name in found if name in expected] == expected
    positional = [name for name in expected if "*" not in name]
    assert found[: len(positional)] == positional
    for added in (p for p in parameters if _spell(p) not in expected):
        assert "=" in _spell(added) or "*" in _spell(added)


@pytest.mark.parametrize(
    ("owner", "name"),
    [
        (context.Context, "Error"),
        (context.Context, "SocketError"),
        (context.Context, "InvalidProcess"),
        (context.Context, "InvalidMethod"),
        (process.Process, "Error"),
        (process.Process, "UnboundProcess"),
    ],
)
def test_errors_hang_where_0_3_0_had_them(owner: Any, name: str) -> None:
    error = getattr(owner, name)

    assert issubclass(error, Exception)
    assert issubclass(error, owner.Error)


def test_names_are_where_0_3_0_had_them() -> None:
    assert {"initialize", "install", "join", "route", "spawn"} <= set(compactor.__all__)
    assert compactor.Context is context.Context
    assert compactor.Process is process.Process
    assert process.Process.ROUTE_ATTRIBUTE == "__route__"
    assert process.Process.INSTALL_ATTRIBUTE == "__mailbox__"
    assert isinstance(context.Context.CONNECT_TIMEOUT_SECS, int)
    assert issubclass(testing.EphemeralContextTestCase.failureException, AssertionError)


def test_encode_request_is_that_of_0_3_0_byte_for_byte() -> None:
    sender, to = pid.PID("127.0.0.1", 1, "a"), pid.PID("127.0.0.1", 2, "b")

    assert request.encode_request(sender, to, "ping", body=b"xy") == (
        b"POST /b/ping HTTP/1.0\r\nConnection: Keep-Alive\r\nContent-Length: 2\r\n"
        b"Libprocess-From: a@127.0.0.1:1\r\n\r\nxy"
    )
    assert request.encode_request(sender, to, "ping", content_type="text/x", legacy=True) == (
        b"POST /b/ping HTTP/1.0\r\nConnection: Keep-Alive\r\nContent-Length: 0\r\n"
        b"User-Agent: libprocess/a@127.0.0.1:1\r\nContent-Type: text/x\r\n\r\n"
    )
    with pytest.raises(TypeError, match="bytes"):
        request.encode_request(sender, to, "ping", body="text")  # type: ignore[arg-type]


def test_a_port_may_be_text_as_in_0_3_0(make_context: Callable[..., Context]) -> None:
    first = make_context(port=str(own_port()))
    first.stop()
    first.join()

    assert make_context(port=str(first.port)).port == first.port
    assert context.Context.get_ip_port("192.0.2.7", "80") == ("192.0.2.7", 80)  # type: ignore[arg-type]
    assert make_context(port="0").port > 0
    for port in ("http", "-1", "65536", "\u0663", ""):
        with pytest.raises(Context.Error, match="port="):
            Context(ip="127.0.0.1", port=port)  # type: ignore[arg-type]


def test_keyword_arguments_of_0_3_0_work(context: Context) -> None:
    receiver = Receiver()
    context.spawn(process=receiver)
    context.send(from_pid=receiver.pid, to_pid=receiver.pid, method="message", body=b"1")
    receiver.send(to=receiver.pid, method="message", body=b"2")
    context.link(pid=receiver.pid, to=receiver.pid)

    assert receiver.received.take_many(2) == [(receiver.pid, b"1"), (receiver.pid, b"2")]
    context.terminate(pid=receiver.pid)


def test_private_attributes_that_pesos_reaches_for_still_work(
    make_context: Callable[..., Context],
) -> None:
    here, there = make_context(), make_context()
    watcher, watched = Receiver("watcher"), Receiver("watched")
    here.spawn(watcher)
    there.spawn(watched)
    watcher.link(watched.pid)
    watcher.send(watched.pid, "message")
    watched.received.take()
    settle(watcher)

    assert here._processes == {watcher.pid: watcher}
    assert here._links == {watcher.pid: {watched.pid}}
    here._connections[watched.pid].close()

    assert watcher.exits.take() == (watched.pid, "disconnected")
    with pytest.raises(KeyError):
        here._connections[pid.PID("127.0.0.1", 1, "x")]


# The examples of the README, as they were written.

PING = """
import threading

from compactor import install, spawn, Process

class PingProcess(Process):
  def initialize(self):
    self.pinged = threading.Event()

  @install('ping')
  def ping(self, from_pid, body):
    self.pinged.set()

# construct the process
ping_process = PingProcess('ping_process')

# spawn the process, binding it to the current global context
spawn(ping_process)

# send a message to the process
client = Process('client')
spawn(client)
client.send(ping_process.pid, 'ping')

# ensure the message was delivered
ping_process.pinged.wait()
"""

LEADER = """
import threading
import uuid
from compactor import install
from compactor.process import Process

class Leader(Process):
  def __init__(self):
    super(Leader, self).__init__('leader')
    self.followers = set()

  @install('register')
  def register(self, from_pid, uuid):
    self.send(from_pid, 'registered', uuid)

class Follower(Process):
  def __init__(self, name, leader_pid):
    super(Follower, self).__init__(name)
    self.leader_pid = leader_pid
    self.uuid = uuid.uuid4().bytes
    self.registered = threading.Event()

  def initialize(self):
    super(Follower, self).initialize()
    self.send(self.leader_pid, 'register', self.uuid)

  def exited(self, from_pid):
    self.registered.clear()

  @install('registered')
  def registered(self, from_pid, uuid):
    if uuid == self.uuid:
      self.link(from_pid)
      self.registered.set()

from compactor import Context

leader_context = Context(port=5051)
leader = Leader()
leader_context.spawn(leader)

follower_context = Context()
follower = Follower('follower1', leader_context.pid)
follower_context.spawn(follower)

follower.registered.wait()
"""

PROTOBUF = """
import sys, types
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
file = descriptor_pb2.FileDescriptorProto(name='service.proto', package='service')
file.message_type.add(name='ServiceRequestMessage')
file.message_type.add(name='ServiceResponseMessage')
pool = descriptor_pool.DescriptorPool()
pool.Add(file)
sys.modules['service_pb2'] = types.SimpleNamespace(**{
  name: message_factory.GetMessageClass(pool.FindMessageTypeByName('service.' + name))
  for name in ('ServiceRequestMessage', 'ServiceResponseMessage')})

from compactor.process import ProtobufProcess
from service_pb2 import ServiceRequestMessage, ServiceResponseMessage

class Service(ProtobufProcess):
  @ProtobufProcess.install(ServiceRequestMessage)
  def request(self, from_pid, message):
    # message is a deserialized protobuf ServiceRequestMessage
    response = ServiceResponseMessage()
    # self.send automatically serializes the response, a protocol buffer, over the wire.
    self.send(from_pid, response)

import threading
from compactor import spawn

class Client(ProtobufProcess):
  answered = threading.Event()

  @ProtobufProcess.install(ServiceResponseMessage)
  def response(self, from_pid, message):
    self.answered.set()

service, client = Service('service'), Client('client')
spawn(service)
spawn(client)
client.send(service.pid, ServiceRequestMessage())
client.answered.wait()
"""


def _run(program: str) -> str:
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", program],
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout


@pytest.mark.parametrize("program", [PING, PROTOBUF], ids=["ping", "protobuf"])
def test_example_of_the_readme_runs(program: str) -> None:
    _run(program)


def test_leader_and_follower_of_the_readme_run() -> None:
    # 5051 is the port of a Mesos agent, which may run here.
    output = _run(
        LEADER.replace("port=5051", f"port={own_port()}")
        + """
assert follower.registered.is_set()
cleared, clear = threading.Event(), follower.registered.clear
follower.registered.clear = lambda: (clear(), cleared.set())
leader_context.stop()
leader_context.join()
cleared.wait(5)
print(follower.registered.is_set(), leader_context.ip)
"""
    )

    assert output == "False 127.0.0.1\n"


def test_import_brings_no_protobuf_and_touches_no_policy() -> None:
    output = _run(
        "import asyncio, sys\n"
        "import compactor, compactor.testing\n"
        "print([m for m in sys.modules if m.startswith(('google.protobuf', 'uvloop', 'click'))])\n"
        "loop = asyncio.new_event_loop()\n"
        "print(type(loop).__module__.split('.')[0])\n"
        "loop.close()\n"
    )

    assert output == "[]\nasyncio\n"
