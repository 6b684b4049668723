"""HTTP requests without a sender ask for typed messages."""

from __future__ import annotations

import json
from dataclasses import dataclass

import pytest

from compactor import PID, Ask, Context, Process, answer
from tests.actors import spawned
from tests.http.test_asking_over_http import asked
from tests.http.test_http_clients import run

pytest.importorskip("msgspec", reason="typed messages are written by msgspec")


@dataclass
class Add(Ask[int]):
    a: int
    b: int


@dataclass
class Shut(Ask[int]):
    a: int


class Calculator(Process):
    @answer(Add)
    def add(self, from_pid: PID, message: Add) -> int:
        return message.a // message.b

    @answer(Shut, http=False)
    def shut(self, from_pid: PID, message: Shut) -> int:
        return message.a


def test_typed_messages_over_http(context: Context, caplog: pytest.LogCaptureFixture) -> None:
    calculator = spawned(context, Calculator("calculator"))
    url = f"http://{calculator.pid.host}/calculator/Add"
    said = run("curl", "-sS", "-i", "-d", '{"a": 7, "b": 2}', url)
    head, _, body = said.partition("\n\n")
    assert body == "3"
    assert "Content-Type: application/json" in head.split("\n")
    assert not caplog.records
    status, why = asked(context, "/calculator/Add", b'{"a": 1, "b": "x"}')
    assert status == 400
    assert b"$.b" in why  # the path of the bad field
    assert context.metrics.handler_failures == 1
    assert "failed in request POST /calculator/Add from 127.0.0.1" in caplog.text
    status, why = asked(context, "/calculator/Add", b'{"a": 1, "b": 0}')
    assert (status, json.loads(why)) == (500, {"error": "ZeroDivisionError"})
    assert asked(context, "/calculator/Shut", b'{"a": 1}')[0] == 404
