"""Routes of 0.3.0 that yield what the real tornado makes."""

from __future__ import annotations

import json
from collections.abc import Callable, Generator
from typing import Any

import pytest

from compactor import Context, Process
from tests.actors import spawned
from tests.raw import read_answer

tornado = pytest.importorskip("tornado", reason="tornado is not installed")
concurrent = pytest.importorskip("tornado.concurrent")
gen = pytest.importorskip("tornado.gen")


class Old(Process):
    """Waits as programs did that had a tornado handler."""

    def later(self, value: Any, callback: Callable[[Any], None]) -> None:
        callback(value)

    def task(self, value: Any) -> Any:
        """What ``gen.Task`` makes, up to tornado 5; a future since."""
        if hasattr(gen, "Task"):
            return gen.Task(self.later, value)
        future = concurrent.Future()
        future.set_result(value)
        return future

    @gen.coroutine
    def coroutine(self, value: Any) -> Generator[Any, Any, Any]:
        if tornado.version_info >= (5,):  # those before wait on a loop of their own
            yield gen.sleep(0.001)
        raise gen.Return(value)

    @gen.coroutine
    def failing(self) -> Generator[Any, Any, Any]:
        yield self.task(None)
        raise LookupError("failed")

    @Process.route("/all")
    def all(self, handler: Any) -> Generator[Any, Any, None]:
        one = yield self.task(1)
        many = yield [self.task(2), self.coroutine(3)]
        named = yield {"a": self.coroutine(4), "b": [self.task(5)]}
        try:
            yield self.failing()
        except LookupError as error:
            handler.write({"all": [one, many, named, str(error)]})

    @Process.route("/coroutine")
    @gen.coroutine
    def all_at_once(self, handler: Any) -> Generator[Any, Any, None]:
        handler.write((yield self.coroutine("made")))


def test_futures_of_tornado_are_awaited(context: Context, connect: Callable[..., Any]) -> None:
    spawned(context, Old("old"))
    sock = connect(context)
    sock.sendall(b"GET /old/all HTTP/1.1\r\nHost: x\r\n\r\n")
    status, body = read_answer(sock)
    assert (status, json.loads(body)) == (200, {"all": [1, [2, 3], {"a": 4, "b": [5]}, "failed"]})
    sock.sendall(b"GET /old/coroutine HTTP/1.1\r\nHost: x\r\n\r\n")
    assert read_answer(sock) == (200, b"made")
