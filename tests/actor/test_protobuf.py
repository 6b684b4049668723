"""ProtobufProcess, with message types that are built at run time."""

from __future__ import annotations

import functools
import logging
from collections.abc import Callable
from typing import Any

import pytest
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
from google.protobuf.message import EncodeError

from compactor import PID, Context, Process, ProtobufProcess
from tests.actors import Events, settle, spawned


def _message_types(*names: str) -> list[Any]:
    """Types with a required field ``id`` and an optional field ``text``."""
    file = descriptor_pb2.FileDescriptorProto(
        name="compactor/tests.proto", package="compactor.tests", syntax="proto2"
    )
    for name in names:
        message = file.message_type.add(name=name)
        field = descriptor_pb2.FieldDescriptorProto
        message.field.add(name="id", number=1, type=field.TYPE_INT32, label=field.LABEL_REQUIRED)
        message.field.add(name="text", number=2, type=field.TYPE_STRING, label=field.LABEL_OPTIONAL)
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return [
        message_factory.GetMessageClass(pool.FindMessageTypeByName(f"compactor.tests.{name}"))
        for name in names
    ]


Request, Response, Other = _message_types("Request", "Response", "Other")
SENDER = PID("127.0.0.1", 1, "x")


def _counted(method: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(method)
    def wrapper(self: Any, *args: Any, **kw: Any) -> Any:
        self.events.put("counted")
        return method(self, *args, **kw)

    return wrapper


class Service(ProtobufProcess):
    def __init__(self, name: str = "service") -> None:
        self.events = Events()
        super().__init__(name)

    @ProtobufProcess.install(Request)
    def request(self, from_pid: PID, message: Any) -> None:
        self.events.put((from_pid, message))
        self.send(from_pid, Response(id=message.id, text=message.text.upper()))


class Client(ProtobufProcess):
    def __init__(self, name: str = "client") -> None:
        self.events = Events()
        super().__init__(name)

    @ProtobufProcess.install(Response)
    def response(self, from_pid: PID, message: Any) -> None:
        self.events.put((from_pid, message))


@pytest.fixture(params=["local", "remote"])
def pair(
    request: pytest.FixtureRequest, make_context: Callable[..., Context]
) -> tuple[Client, Service]:
    """A client and a service, in one context or two."""
    here = make_context()
    client, service = Client(), Service()
    here.spawn(client)
    (here if request.param == "local" else make_context()).spawn(service)
    return client, service


def test_messages_are_named_by_their_full_type_name() -> None:
    assert set(Service().message_names) == {"compactor.tests.Request"}


@pytest.mark.smoke
def test_request_and_response_are_delivered_parsed(pair: tuple[Client, Service]) -> None:
    client, service = pair
    client.send(service.pid, Request(id=7, text="hello"))

    assert service.events.take() == (client.pid, Request(id=7, text="hello"))
    from_pid, message = client.events.take()
    assert (from_pid, message) == (service.pid, Response(id=7, text="HELLO"))
    assert isinstance(message, Response)


def test_peers_cannot_fill_the_log_with_what_does_not_parse(
    pair: tuple[Client, Service], caplog: pytest.LogCaptureFixture
) -> None:
    client, service = pair
    raw = Process("raw")
    client.context.spawn(raw)
    for _ in range(200):
        raw.send(service.pid, "compactor.tests.Request", b"\xff")
    raw.send(service.pid, "compactor.tests.Request", Request(id=1).SerializeToString())

    assert service.events.take() == (raw.pid, Request(id=1))
    assert service.context.metrics.handler_failures == 200
    records = [r for r in caplog.records if r.levelno == logging.ERROR]
    assert 1 <= len(records) <= 10  # one a second
    assert all("do not parse as" in r.getMessage() and not r.exc_info for r in records)


@pytest.mark.parametrize(
    ("body", "why"),
    [
        (b"\xff\xff\xff", "do not parse as compactor.tests.Request"),
        (b"", "id missing"),
        (b"\x12\x01x", "id missing"),
        (b"\x08\x01\x12\x05abc", "do not parse as compactor.tests.Request"),
    ],
    ids=["garbage", "empty", "required field missing", "truncated"],
)
def test_what_does_not_parse_is_logged_counted_and_not_delivered(
    pair: tuple[Client, Service], body: bytes, why: str, caplog: pytest.LogCaptureFixture
) -> None:
    client, service = pair
    raw = Process("raw")
    client.context.spawn(raw)
    raw.send(service.pid, "compactor.tests.Request", body)
    message = Request(id=1)
    raw.send(service.pid, "compactor.tests.Request", message.SerializeToString())

    assert service.events.take() == (raw.pid, message)
    assert service.context.metrics.handler_failures == 1
    (record,) = [r for r in caplog.records if r.levelno == logging.ERROR]
    assert str(raw.pid) in record.getMessage()
    assert "'compactor.tests.Request'" in record.getMessage()
    assert why in record.getMessage()


@pytest.mark.parametrize("message", [None, b"bytes", "text", 5, object(), Request, Process])
def test_only_a_message_can_be_sent(context: Context, message: Any) -> None:
    service = Service()
    context.spawn(service)

    with pytest.raises(TypeError):
        service.send(service.pid, message)


def test_message_without_its_required_fields_cannot_be_sent(context: Context) -> None:
    service = Service()
    context.spawn(service)

    with pytest.raises(EncodeError, match="id"):
        service.send(service.pid, Request())


def test_nothing_is_sent_before_spawn() -> None:
    with pytest.raises(Process.UnboundProcess):
        Service().send(SENDER, Request(id=1))


def test_receiver_that_is_no_pid_is_refused(context: Context) -> None:
    service = Service()
    context.spawn(service)

    with pytest.raises(TypeError, match="expected a PID"):
        service.send(None, Request(id=1))  # type: ignore[arg-type]


@pytest.mark.parametrize("message_type", [None, "compactor.tests.Request", Process, 5, object()])
def test_only_a_message_type_can_be_installed(message_type: Any) -> None:
    with pytest.raises(TypeError, match="protobuf message type"):
        ProtobufProcess.install(message_type)


def test_stacked_installs_deliver_each_type(context: Context) -> None:
    class Stacked(Service):
        @ProtobufProcess.install(Response)
        @ProtobufProcess.install(Other)
        def either(self, from_pid: PID, message: Any) -> None:
            self.events.put(type(message))

    stacked, client = Stacked(), Client()
    context.spawn(stacked)
    context.spawn(client)
    client.send(stacked.pid, Response(id=1))
    client.send(stacked.pid, Other(id=2))

    assert stacked.events.take_many(2) == [Response, Other]
    assert set(stacked.message_names) == {
        "compactor.tests.Request",
        "compactor.tests.Response",
        "compactor.tests.Other",
    }


def test_wrapping_decorators_work_above_below_and_between_installs(context: Context) -> None:
    class Decorated(Service):
        @ProtobufProcess.install(Request)
        @_counted
        def below(self, from_pid: PID, message: Any) -> None:
            self.events.put(message)

        @_counted
        @ProtobufProcess.install(Response)
        def above(self, from_pid: PID, message: Any) -> None:
            self.events.put(message)

        @_counted
        @ProtobufProcess.install(Other)
        @_counted
        def both(self, from_pid: PID, message: Any) -> None:
            self.events.put(message)

    decorated, client = Decorated("decorated"), Client()
    context.spawn(decorated)
    context.spawn(client)
    client.send(decorated.pid, Response(id=1))
    client.send(decorated.pid, Other(id=2))

    assert decorated.events.take_many(2) == ["counted", Response(id=1)]
    assert decorated.events.take_many(3) == ["counted", "counted", Other(id=2)]


def test_static_and_class_methods_are_handlers(context: Context) -> None:
    events = Events()

    class Unbound(ProtobufProcess):
        @staticmethod
        @ProtobufProcess.install(Request)
        def inner(from_pid: PID, message: Any) -> None:
            events.put(message)

        @ProtobufProcess.install(Response)
        @classmethod
        def outer(cls, from_pid: PID, message: Any) -> None:
            events.put((cls, message))

    unbound, client = Unbound("unbound"), Client()
    context.spawn(unbound)
    context.spawn(client)
    client.send(unbound.pid, Request(id=1))
    client.send(unbound.pid, Response(id=2))
    assert events.take_many(2) == [Request(id=1), (Unbound, Response(id=2))]
    unbound.outer(client.pid, Response(id=3).SerializeToString())
    Unbound.inner(client.pid, message=Request(id=4).SerializeToString())
    assert events.take_many(2) == [(Unbound, Response(id=3)), Request(id=4)]


@pytest.mark.parametrize("form", ["message", "bytes", "bytearray"])
def test_handler_may_be_called_directly_with_message_or_bytes(context: Context, form: str) -> None:
    service, client = Service(), Client()
    context.spawn(service)
    context.spawn(client)
    message = Request(id=1, text="a")
    forms = {
        "message": message,
        "bytes": message.SerializeToString(),
        "bytearray": bytearray(message.SerializeToString()),
    }
    service.request(client.pid, forms[form])

    assert service.events.take() == (client.pid, message)
    assert client.events.take() == (service.pid, Response(id=1, text="A"))


def test_message_can_be_dispatched(context: Context) -> None:
    client = Client()
    context.spawn(client)
    context.dispatch(client.pid, "response", client.pid, Response(id=3))

    assert client.events.take() == (client.pid, Response(id=3))


def test_handlers_are_inherited_and_overridden(context: Context) -> None:
    class Derived(Service):
        def request(self, from_pid: PID, message: Any) -> None:
            self.events.put(("derived", message))

    derived, client = Derived(), Client()
    context.spawn(derived)
    context.spawn(client)
    client.send(derived.pid, Request(id=1))

    name, message = derived.events.take()
    assert name == "derived"
    assert message == Request(id=1)


def test_plain_and_protobuf_handlers_live_in_one_process(context: Context) -> None:
    class Mixed(Service):
        @Process.install("plain")
        def plain(self, from_pid: PID, body: bytes) -> None:
            self.events.put(body)

    mixed, raw = Mixed(), Process("raw")
    context.spawn(mixed)
    context.spawn(raw)
    raw.send(mixed.pid, "plain", b"x")
    raw.send(mixed.pid, "compactor.tests.Request", Request(id=1).SerializeToString())

    assert mixed.events.take() == b"x"
    assert mixed.events.take() == (raw.pid, Request(id=1))


def test_async_handler_takes_a_parsed_message(context: Context) -> None:
    class Async(Client):
        @ProtobufProcess.install(Request)
        async def request(self, from_pid: PID, message: Any) -> None:
            self.events.put(message)

    process = Async()
    context.spawn(process)
    process.send(process.pid, Request(id=1))

    assert process.events.take() == Request(id=1)
    settle(process)
    assert context.metrics.handler_failures == 0


@pytest.mark.parametrize("given", ["text", int, Request(id=1), None])
def test_what_is_no_type_of_protocol_buffers_is_told(given: Any) -> None:
    wanted = "expected a protobuf message type such as Duration, got "
    for use in (ProtobufProcess.install, ProtobufProcess.answer):
        with pytest.raises(TypeError, match=f"^{wanted}"):
            use(given)


@pytest.mark.parametrize("given", ["text", 5, Request])
def test_what_is_no_protocol_buffer_is_told(context: Context, given: Any) -> None:
    process = spawned(context, ProtobufProcess("process"))
    for use in (process.send, process.ask):
        with pytest.raises(TypeError, match=r"^expected a protobuf message, got "):
            use(process.pid, given)
