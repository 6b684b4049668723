"""Protocol buffers that are answered with nothing: an error, for nothing parses as an empty one."""

from __future__ import annotations

import http.client
from typing import Any

import pytest
from google.protobuf.wrappers_pb2 import Int32Value, StringValue

from compactor import PID, Context, Process, ProtobufProcess, RemoteError, answer, install
from tests.actors import TIMEOUT, spawned


class Forgetful(ProtobufProcess):
    """Forgets to return something."""

    @ProtobufProcess.answer(StringValue)
    def text(self, from_pid: PID, message: StringValue) -> Any:
        return StringValue() if message.value else None

    @ProtobufProcess.answer(Int32Value)
    async def number(self, from_pid: PID, message: Int32Value) -> Any:
        return None


class Plain(Process):
    """The same of a plain process."""

    @answer(StringValue)
    def text(self, from_pid: PID, message: StringValue) -> Any:
        if message.value:
            self.reply(StringValue())

    @install(Int32Value)
    def number(self, from_pid: PID, message: Int32Value) -> None:
        self.reply(None)

    @answer("raw")
    def raw(self, from_pid: PID, body: bytes) -> None:
        pass


@pytest.mark.each_combination
@pytest.mark.parametrize("kind", [Forgetful, Plain])
def test_nothing_is_no_protocol_buffer(
    contexts: tuple[Context, Context], kind: type[Process]
) -> None:
    here, there = contexts
    pid = spawned(there, kind("process")).pid
    for message in (StringValue(), Int32Value()):
        with pytest.raises(RemoteError) as caught:
            here.ask(pid, message, reply=type(message), timeout=TIMEOUT).result(TIMEOUT)
        assert caught.value.type == "TypeError"
        assert "is answered with a protocol buffer, not with None" in caught.value.text
    asked = here.ask(pid, StringValue(value="x"), reply=StringValue, timeout=TIMEOUT)
    assert asked.result(TIMEOUT) == StringValue()


def test_over_http_it_is_an_error_too(context: Context) -> None:
    forgetful = spawned(context, Forgetful("forgetful"))
    connection = http.client.HTTPConnection(context.ip, context.port, timeout=TIMEOUT)
    connection.request("POST", f"/{forgetful.pid.id}/google.protobuf.StringValue", b"")
    assert connection.getresponse().status == 500
    connection.close()


def test_bytes_may_be_nothing(context: Context) -> None:
    plain = spawned(context, Plain("plain"))
    assert context.ask(plain.pid, "raw", timeout=TIMEOUT).result(TIMEOUT) == b""
