"""Typed messages: objects that are sent, asked and answered, locally and between contexts."""

from __future__ import annotations

import asyncio
import enum
import http.client
import socket
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timezone
from typing import Any, ClassVar, Generic, NamedTuple, TypeVar

import pytest
from google.protobuf.wrappers_pb2 import Int32Value, StringValue

from compactor import PID, Ask, AskFailed, Context, Process, RemoteError, answer, install
from compactor.actor.protobuf import DoesNotParse
from compactor.errors import InvalidProcess
from tests.actors import (
    TIMEOUT,
    Receiver,
    dead_letters,
    end,
    settle,
    spawned,
    take_letter,
    wait_until,
)
from tests.raw import frame, pid_at

msgspec = pytest.importorskip("msgspec", reason="typed messages are written by msgspec")
attrs = pytest.importorskip("attrs")
pydantic = pytest.importorskip("pydantic")

MakeContext = Callable[..., Context]
T = TypeVar("T")


@dataclass
class Add(Ask[int]):
    a: int
    b: int


@dataclass(slots=True)
class Slotted(Ask[int]):
    a: int


@dataclass(frozen=True)
class Note:
    text: str
    tags: list[str] = field(default_factory=list)


class Struct(msgspec.Struct, Ask[float]):  # type: ignore[misc]
    a: int


class Packed(msgspec.Struct, Ask["list[Packed | None]"]):  # type: ignore[misc]
    __message_codec__ = "msgpack"

    data: bytes


@attrs.define
class Attrs(Ask[dict[str, int]]):
    a: int


class Model(pydantic.BaseModel, Ask["Model"]):  # type: ignore[misc]
    a: int
    inner: list[int] = pydantic.Field(default_factory=list)


@pydantic.dataclasses.dataclass
class ModelDataclass(Ask[None]):
    a: int


class Point(NamedTuple):
    x: int
    y: int


class Color(enum.Enum):
    RED = "red"


@dataclass
class Named:
    __message_name__: ClassVar[str] = "another.name"

    a: int


class Outer:
    @dataclass
    class Inner:
        a: int


@dataclass
class Choose(Ask["Note | Add | StringValue | int | None"]):
    what: str


@dataclass
class Raw(Ask[bytes]):
    data: bytes


@dataclass
class Bare(Ask):  # type: ignore[type-arg]
    value: Any


@dataclass
class Generically(Ask[list[T]], Generic[T]):
    value: int


@dataclass
class Special(Generically[str]):
    pass


@dataclass
class Buffer(Ask[StringValue]):
    text: str


@dataclass
class When(Ask[datetime]):
    pass


@dataclass
class Mixed(Ask[dict[str, Color]]):
    model: Model


CHOICES = {
    "note": Note("n", ["t"]),
    "add": Add(1, 2),
    "buffer": StringValue(value="b"),
    "int": 5,
    "none": None,
}


class Server(Receiver):
    def __init__(self, name: str = "server") -> None:
        super().__init__(name)

    @install(Note)
    @install(Point)
    @install(Named)
    @install(Outer.Inner)
    @install(Int32Value)
    def keep(self, from_pid: PID, message: Any) -> None:
        self.received.put((from_pid, message))

    @answer(Add)
    def add(self, from_pid: PID, message: Add) -> int:
        self.received.put(from_pid)
        return message.a + message.b

    @answer(Slotted)
    async def slotted(self, from_pid: PID, message: Slotted) -> int:
        await asyncio.sleep(0)
        return message.a

    @answer(Struct)
    def struct(self, from_pid: PID, message: Struct) -> float:
        return message.a

    @answer(Packed)
    def packed(self, from_pid: PID, message: Packed) -> list[Packed | None]:
        return [message, None]

    @answer(Attrs)
    def attrs(self, from_pid: PID, message: Attrs) -> dict[str, int]:
        return {"a": message.a}

    @answer(Model)
    def model(self, from_pid: PID, message: Model) -> Model:
        return Model(a=message.a + 1, inner=message.inner)

    @answer(ModelDataclass)
    def model_dataclass(self, from_pid: PID, message: ModelDataclass) -> None:
        assert message.a == 1

    @answer(Choose)
    def choose(self, from_pid: PID, message: Choose) -> Any:
        return CHOICES.get(message.what, message.what)

    @answer(Raw)
    def raw(self, from_pid: PID, message: Raw) -> bytes:
        return message.data

    @answer(Bare)
    def bare(self, from_pid: PID, message: Any) -> Any:
        return message.value

    @answer(Special)
    def special(self, from_pid: PID, message: Special) -> list[str]:
        return ["x"] * message.value

    @answer(Buffer)
    def buffer(self, from_pid: PID, message: Buffer) -> StringValue:
        return StringValue(value=message.text)

    @answer(StringValue)
    def text(self, from_pid: PID, message: StringValue) -> Int32Value:
        return Int32Value(value=len(message.value))

    @answer(When)
    def when(self, from_pid: PID, message: When) -> datetime:
        return datetime(2026, 1, 2, tzinfo=timezone.utc)

    @answer(Mixed)
    def mixed(self, from_pid: PID, message: Mixed) -> dict[str, Color]:
        assert message.model.a == 7
        return {"red": Color.RED}


class User(Process):
    async def question(self, *args: Any, **kw: Any) -> Any:
        return await self.ask(*args, **kw)


@pytest.fixture
def server(there: Context) -> Server:
    return spawned(there, Server())


def asked(context: Context, *args: Any, **kw: Any) -> Any:
    return context.ask(*args, **kw).result(TIMEOUT)


@pytest.mark.parametrize(
    "message",
    [Note("text", ["a", "b"]), Point(1, -2), Named(3), Outer.Inner(4), Int32Value(value=5)],
    ids=lambda message: type(message).__name__,
)
def test_what_is_sent_is_handled_as_it_was(
    sender: Process, server: Server, contexts: Any, message: Any
) -> None:
    sent = [message] * 3
    for one in sent:
        sender.send(server.pid, one)  # from another thread
    contexts[0].dispatch(sender.pid, lambda: [sender.send(server.pid, one) for one in sent])
    assert server.received.take_many(6) == [(sender.pid, message)] * 6
    contexts[0].send(sender.pid, server.pid, message)
    assert server.received.take() == (sender.pid, message)
    contexts[0].post(server.pid, message)
    assert server.received.take()[1] == message


def test_names_on_the_wire() -> None:
    assert set(Server().message_names) >= {
        "Note",
        "another.name",
        "Outer.Inner",
        "google.protobuf.StringValue",
        "message",
    }


@pytest.mark.parametrize(
    ("message", "expected"),
    [
        (Add(1, 2), 3),
        (Slotted(4), 4),
        (Struct(a=2), 2.0),
        (Packed(data=b"\x00\xff"), [Packed(data=b"\x00\xff"), None]),
        (Attrs(a=5), {"a": 5}),
        (Model(a=1, inner=[2]), Model(a=2, inner=[2])),
        (ModelDataclass(a=1), None),
        (Raw(b"\x00raw"), b"\x00raw"),
        (Bare({"a": [1, None]}), {"a": [1, None]}),
        (Special(2), ["x", "x"]),
        (Buffer("text"), StringValue(value="text")),
        (When(), datetime(2026, 1, 2, tzinfo=timezone.utc)),
        (Mixed(Model(a=7)), {"red": Color.RED}),
        *((Choose(name), value) for name, value in CHOICES.items()),
    ],
    ids=str,
)
def test_what_is_asked_is_answered_as_it_says(
    contexts: tuple[Context, Context], server: Server, message: Any, expected: Any
) -> None:
    here = contexts[0]
    user = spawned(here, User("user"))
    for found in (
        asked(here, server.pid, message),
        here.dispatch(user.pid, user.question, server.pid, message).result(TIMEOUT),
    ):
        assert found == expected
        assert type(found) is type(expected)


def test_a_protocol_buffer_asks_with_the_type_of_its_answer(
    contexts: tuple[Context, Context], server: Server
) -> None:
    question = StringValue(value="four")
    assert asked(contexts[0], server.pid, question, reply=Int32Value).value == 4
    assert asked(contexts[0], server.pid, question) == Int32Value(value=4).SerializeToString()
    with pytest.raises(DoesNotParse, match=r"the answer is 'google.protobuf.Int32Value', and not"):
        asked(contexts[0], server.pid, question, reply=StringValue)


def test_bytes_can_ask_for_a_type(contexts: tuple[Context, Context], server: Server) -> None:
    assert asked(contexts[0], server.pid, "Add", b'{"a": 1, "b": 2}', reply=int) == 3
    assert asked(contexts[0], server.pid, "Add", b'{"a": 1, "b": 2, "later": 3}') == b"3"


@pytest.mark.parametrize(
    ("name", "body", "where"),
    [
        ("Add", b'{"a": 1, "b": "x"}', r"Add: Expected `int`, got `str` - at `\$\.b`"),
        ("Add", b'{"a": 1}', r"Object missing required field `b`"),
        ("Add", b"", r"0 bytes do not parse as Add"),
        ("Add", b"[" * 100_000, r"do not parse as Add"),
        ("Add", b'{"a": 1, "b": 1e999}', r"do not parse as Add"),
        ("Packed", b"\xff", r"do not parse as Packed"),
        ("Model", b'{"a": "x", "inner": [1, "y"]}', r"at `\$\.a`; .* at `\$\.inner\[1\]`"),
        ("Model", b"{", r"do not parse as Model"),
        ("google.protobuf.StringValue", b"\xff", r"google\.protobuf\.StringValue"),
        ("Mixed", b'{"model": {"a": "x"}}', r"do not parse as Mixed"),
    ],
)
def test_what_does_not_parse_reaches_no_handler(
    contexts: tuple[Context, Context],
    server: Server,
    sender: Process,
    caplog: pytest.LogCaptureFixture,
    name: str,
    body: bytes,
    where: str,
) -> None:
    with pytest.raises(RemoteError, match=where) as caught:
        asked(contexts[0], server.pid, name, body)
    assert caught.value.type == "DoesNotParse"
    metrics = contexts[1].metrics
    wait_until(lambda: metrics.handler_failures == 1)
    sender.send(server.pid, name, body)
    wait_until(lambda: metrics.handler_failures == 2)
    assert server.received.is_empty
    line = caplog.records[0].getMessage()
    assert line.startswith(f"process {server.pid} failed in message {name!r}")
    assert "\n" not in line
    assert not contexts[0].metrics.dead_letters


def test_an_answer_of_another_type_is_an_error_of_the_asker(
    contexts: tuple[Context, Context], server: Server
) -> None:
    with pytest.raises(RemoteError, match=r"Choose is answered with .*not with 'other'"):
        asked(contexts[0], server.pid, Choose("other"))


class Liar(Process):
    """Answers by sending, whatever the type of the answer should be."""

    @install(Add)
    def add(self, from_pid: PID, message: Add) -> None:
        self.send(from_pid, "any.name", b'"no int"')

    @install(Model)
    def model(self, from_pid: PID, message: Model) -> None:
        self.send(from_pid, Note("no model"))

    @install(Struct)
    def struct(self, from_pid: PID, message: Struct) -> None:
        self.send(from_pid, "any.name", b"2.5")

    @install(ModelDataclass)
    def nothing(self, from_pid: PID, message: ModelDataclass) -> None:
        self.send(from_pid, "done")


def test_who_answers_by_sending_answers_typed_asks(contexts: tuple[Context, Context]) -> None:
    here, there = contexts
    liar = there.spawn(Liar("liar"))
    assert asked(here, liar, Struct(a=1)) == 2.5
    assert asked(here, liar, ModelDataclass(a=1)) is None
    with pytest.raises(DoesNotParse, match=r"8 bytes do not parse as int: Expected `int`"):
        asked(here, liar, Add(1, 2))
    with pytest.raises(DoesNotParse, match=r"the answer is 'Note', and not Model"):
        asked(here, liar, Model(a=1))


def test_the_head_of_a_typed_message_says_what_its_bytes_are(
    context: Context, listener: socket.socket
) -> None:
    user = spawned(context, User("user"))
    to = pid_at(listener, "peer")
    for message in (Add(1, 2), Add(3, 4), StringValue(value="x"), Packed(data=b"p")):
        user.send(to, message)
    user.send(to, "Add", b"raw")
    settle(user)
    connection, _ = listener.accept()
    data = b""
    with connection:
        connection.settimeout(TIMEOUT)
        while data.count(b"POST ") < 5 or not data.endswith(b"\r\n0\r\n\r\n"):
            data += connection.recv(65536)
    heads = [part.split(b"\r\n\r\n")[0] for part in data.split(b"POST ")[1:]]
    types = [
        [line for line in head.split(b"\r\n") if line.startswith(b"Content-Type")] for head in heads
    ]
    json = [b"Content-Type: application/json"]
    assert types == [json, json, [], [b"Content-Type: application/x-msgpack"], []]
    assert heads[0] == heads[1]
    assert b'\r\n{"a":1,"b":2}\r\n' in data


def test_a_peer_that_knows_no_types_sends_them(context: Context, connect: Any) -> None:
    server = spawned(context, Server())
    connect(context).sendall(frame(server.pid, "Note", b'{"text": "from far"}'))
    assert server.received.take()[1] == Note("from far")


@pytest.mark.parametrize(
    ("name", "body", "status", "content_type", "answer"),
    [
        ("Add", b'{"a": 1, "b": 2}', 200, "application/json", b"3"),
        ("Raw", b'{"data": "cmF3"}', 200, "application/octet-stream", b"raw"),
        ("Model", b'{"a": 1}', 200, "application/json", b'{"a":2,"inner":[]}'),
        ("Packed", b"\x81\xa4data\xc4\x00", 200, "application/x-msgpack", None),
        ("Buffer", b'{"text": ""}', 200, "application/x-protobuf; proto=google.protobuf.Str", b""),
        ("Add", b'{"a": "x"}', 400, "text/plain", None),
        ("Choose", b'{"what": "other"}', 500, "application/json", b'{"error":"TypeError"}'),
    ],
)
def test_typed_messages_are_asked_over_http(
    context: Context, name: str, body: bytes, status: int, content_type: str, answer: bytes | None
) -> None:
    server = spawned(context, Server())
    connection = http.client.HTTPConnection(context.ip, context.port, timeout=TIMEOUT)
    connection.request("POST", f"/{server.pid.id}/{name}", body)
    response = connection.getresponse()
    found = response.read()
    connection.close()
    assert response.status == status
    assert response.headers["Content-Type"].startswith(content_type)
    assert answer is None or found.replace(b" ", b"") == answer
    assert context.metrics.handler_failures == (status != 200)


class Twice(Receiver):
    """Has raw and typed messages of one name sent at it."""

    @install("Note")
    def note(self, from_pid: PID, body: bytes) -> None:
        self.received.put(body)


def test_raw_and_typed_messages_of_one_name_keep_their_order(
    contexts: tuple[Context, Context], sender: Process
) -> None:
    twice = spawned(contexts[1], Twice())

    def send() -> None:
        for _ in range(3):
            sender.send(twice.pid, "Note", b"raw")
            sender.send(twice.pid, Note("typed"))

    contexts[0].dispatch(sender.pid, send)
    typed = b'{"text":"typed","tags":[]}'
    assert twice.received.take_many(6) == [b"raw", typed] * 3


def test_large_typed_messages_arrive(contexts: tuple[Context, Context], sender: Process) -> None:
    server = spawned(contexts[1], Server())
    note = Note("x" * 300_000)
    contexts[0].dispatch(sender.pid, lambda: [sender.send(server.pid, note) for _ in range(3)])
    assert server.received.take_many(3) == [(sender.pid, note)] * 3


def test_a_typed_message_that_cannot_be_delivered_is_a_dead_letter(context: Context) -> None:
    letters = dead_letters(context)
    sender = spawned(context, Process("sender"))
    for to in (PID(context.ip, context.port, "nobody"), PID("0.0.0.0", 0, "nobody")):
        sender.send(to, Note("lost"))
        letter = take_letter(letters)
        assert (letter.name, type(letter.name), letter.to) == ("Note", str, to)


def test_an_ended_process_sends_nothing_typed(context: Context) -> None:
    server, sender = spawned(context, Server()), spawned(context, Process("sender"))
    sender.send(server.pid, Note("first"))
    server.received.take()
    end(sender)
    with pytest.raises(InvalidProcess, match="Unknown process"):
        sender.send(server.pid, Note("second"))


class Forwarding(Process):
    """Sees every message before its handler does."""

    seen: ClassVar[list[str]] = []

    def handle_message(self, name: str, from_pid: PID, body: bytes) -> Any:
        self.seen.append(name)
        return super().handle_message(name, from_pid, body)

    @answer(Add)
    def add(self, from_pid: PID, message: Add) -> int:
        return message.a * message.b


def test_a_process_that_sees_every_message_has_typed_ones(
    contexts: tuple[Context, Context],
) -> None:
    pid = contexts[1].spawn(Forwarding("forwarding"))
    Forwarding.seen.clear()
    assert asked(contexts[0], pid, Add(3, 4)) == 12
    assert Forwarding.seen == ["Add"]
    with pytest.raises(RemoteError, match="do not parse as Add"):
        asked(contexts[0], pid, "Add", b"{}")


def test_an_ask_of_nobody_fails_with_the_reason(context: Context) -> None:
    pid = spawned(context, Process("quiet")).pid
    with pytest.raises(AskFailed, match=r"'Add' was not answered by quiet@.*: no handler"):
        asked(context, pid, Add(1, 2))


# What cannot be a message


@dataclass
class Unwritable:
    it: Any


@pytest.mark.parametrize("value", [5, 5.0, [1], {"a": 1}, None, object(), b"x", Note, Ask[int]])
def test_what_is_no_message_cannot_be_sent(context: Context, value: Any) -> None:
    sender = spawned(context, Process("sender"))
    with pytest.raises(TypeError, match=r"message|codec"):
        sender.send(sender.pid, value)
    with pytest.raises(TypeError, match=r"message|codec"):
        context.post(sender.pid, value)
    with pytest.raises(TypeError, match=r"message|codec"):
        context.ask(sender.pid, value)


@pytest.mark.parametrize("way", ["ask", "post"])
def test_a_class_is_no_object_of_it(context: Context, way: str) -> None:
    receiver = spawned(context, Process("receiver"))
    with pytest.raises(
        TypeError, match=r"Note is a type of messages.*: send an object .*Note\(\.\.\.\)"
    ):
        getattr(context, way)(receiver.pid, Note)


@pytest.mark.parametrize("reply", [5, "int", [int], {}, b"", ...], ids=repr)
def test_what_is_no_type_is_no_reply(context: Context, reply: Any) -> None:
    receiver = spawned(context, Process("receiver"))
    for asked in ("name", Note("text")):
        with pytest.raises(TypeError, match="reply takes the type of the answer"):
            context.ask(receiver.pid, asked, reply=reply)
    assert not context._runtime.asks.waiting


@pytest.mark.parametrize("reply", [int, int | None, list[str], dict[str, int], Any], ids=repr)
def test_whatever_stands_for_a_type_is_a_reply(context: Context, reply: Any) -> None:
    asked = context.ask(spawned(context, Process("receiver")).pid, "name", reply=reply)
    assert isinstance(asked.exception(TIMEOUT), AskFailed)


def test_a_message_is_sent_without_a_body(context: Context) -> None:
    sender = spawned(context, Process("sender"))
    for call in (sender.send, context.post, context.ask):
        with pytest.raises(TypeError, match="Note is a message by itself: it is sent without a"):
            call(sender.pid, Note(""), b"body")  # type: ignore[operator]


def test_a_message_with_what_nobody_can_write_is_not_sent(context: Context) -> None:
    sender = spawned(context, Process("sender"))
    with pytest.raises(TypeError, match=r"object has no codec: context\.codec\("):
        sender.send(sender.pid, Unwritable(object()))


def test_a_local_class_needs_a_name(context: Context) -> None:
    @dataclass
    class Local:
        a: int

    sender = spawned(context, Process("sender"))
    with pytest.raises(TypeError, match=r"<locals>\.Local cannot be sent .* __message_name__"):
        sender.send(sender.pid, Local(1))
    Local.__message_name__ = "local"  # type: ignore[attr-defined]
    sender.send(sender.pid, Local(1))


# Codecs


class Image:
    def __init__(self, pixels: bytes) -> None:
        self.pixels = pixels

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Image) and self.pixels == other.pixels

    def to_bytes(self) -> bytes:
        return b"image:" + self.pixels

    @classmethod
    def from_bytes(cls, data: bytes) -> Image:
        if not data.startswith(b"image:"):
            raise ValueError("this is no image")
        return cls(data[6:])


@dataclass
class Turn(Ask[Image]):
    image: Image


@dataclass
class TurnPacked(Ask["Image | None"]):
    __message_codec__ = "msgpack"

    image: Image


class Gallery(Receiver):
    @install(Image)
    def image(self, from_pid: PID, message: Image) -> None:
        self.received.put(message)

    @answer(Turn)
    def turn(self, from_pid: PID, message: Turn) -> Image:
        return Image(message.image.pixels[::-1])

    @answer(TurnPacked)
    def turn_packed(self, from_pid: PID, message: TurnPacked) -> Image | None:
        return Image(message.image.pixels[::-1]) if message.image.pixels else None


def give_codec(context: Context) -> None:
    context.codec(Image, Image.to_bytes, Image.from_bytes, "image/x-test")


def test_a_codec_writes_messages_answers_and_parts(
    contexts: tuple[Context, Context], sender: Process
) -> None:
    here, there = contexts
    for context in {here, there}:
        give_codec(context)
    gallery = spawned(there, Gallery("gallery"))
    sender.send(gallery.pid, Image(b"ab"))
    assert gallery.received.take() == Image(b"ab")
    assert asked(here, gallery.pid, Turn(Image(b"ab"))) == Image(b"ba")
    assert asked(here, gallery.pid, TurnPacked(Image(b"ab"))) == Image(b"ba")
    assert asked(here, gallery.pid, TurnPacked(Image(b""))) is None
    for name, body in {"Image": b"x", "Turn": b'{"image": "eA=="}'}.items():
        with pytest.raises(RemoteError, match="this is no image"):
            asked(here, gallery.pid, name, body)


def test_a_type_without_a_codec_is_an_error_at_the_spawn(context: Context) -> None:
    with pytest.raises(TypeError, match=r"Image can be no message: Image has no codec: context\.c"):
        context.spawn(Gallery("gallery"))
    give_codec(context)
    context.spawn(Gallery("gallery"))


@pytest.mark.parametrize(
    ("args", "error"),
    [
        ((5, bytes, bytes, "a/b"), "a codec is that of a class"),
        ((Image, 5, bytes, "a/b"), "a codec is two functions"),
        ((Image, bytes, bytes, "text"), "a content type is like"),
        ((Image, bytes, bytes, "a/b\r\nX: y"), "a content type is like"),
        ((Image, bytes, bytes, None), "a content type is like"),
    ],
)
def test_a_codec_that_is_none_is_an_error(context: Context, args: Any, error: str) -> None:
    with pytest.raises((TypeError, ValueError), match=error):
        context.codec(*args)


def test_a_class_has_one_codec(context: Context) -> None:
    give_codec(context)
    with pytest.raises(ValueError, match="Image has a codec already"):
        give_codec(context)


def test_a_codec_that_makes_no_bytes_is_an_error(context: Context) -> None:
    context.codec(Image, lambda image: "text", Image.from_bytes, "a/b")  # type: ignore[arg-type]
    sender = spawned(context, Process("sender"))
    with pytest.raises(TypeError, match="the codec of Image has made 'text', not bytes"):
        sender.send(sender.pid, Image(b""))


def test_numpy_arrays_are_messages_by_a_codec(context: Context) -> None:
    numpy = pytest.importorskip("numpy")

    @dataclass
    class Sum(Ask[float]):
        __message_name__ = "sum"

        numbers: numpy.ndarray

    class Summing(Process):
        @answer(Sum)
        def sum(self, from_pid: PID, message: Any) -> float:
            return float(message.numbers.sum())

    context.codec(
        numpy.ndarray, lambda a: a.tobytes(), lambda data: numpy.frombuffer(data), "application/x-n"
    )
    Sum.__annotations__["numbers"] = numpy.ndarray
    pid = context.spawn(Summing("summing"))
    assert asked(context, pid, Sum(numpy.arange(4.0))) == 6.0
