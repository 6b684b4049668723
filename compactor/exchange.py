"""``Exchange``: one HTTP request on its way, and its answer on the way back."""

from __future__ import annotations

import asyncio
import concurrent.futures
import inspect
from collections.abc import Callable, Coroutine, Generator
from typing import Any

from compactor.errors import Reason, RemoteProtocolError
from compactor.http import Request, Response


class Exchange:
    """A request to a route: the event of its process, and the place of its answer.

    Args:
        call: what the request is given to.
        request: the request.

    Attributes:
        response: the answer, once it is there; ``str`` and ``bytes`` stand for themselves.
        answered: called then, if somebody waits for it.
    """

    __slots__ = ("_call", "_request", "answered", "response")

    def __init__(self, call: Callable[[Request], Any], request: Request) -> None:
        self._call = call
        self._request = request
        self.response: Response | str | bytes | None = None
        self.answered: Callable[[], None] | None = None

    def _respond(self, response: Response | str | bytes) -> None:
        """Give the answer; a second one is ignored."""
        if self.response is None:
            self.response = response
            if self.answered is not None:
                self.answered()

    def serve(self, mailbox: Any) -> Any:
        try:
            result = self._call(self._request)
            if isinstance(result, (str, bytes)) and self._request.draft is None:
                if not result.isascii() and isinstance(result, str):
                    result.encode()  # raises if it cannot be sent, as a part of a path
                self._respond(result)
                return None
            if inspect.isgenerator(result):
                result = _drive(result)
            if isinstance(result, Coroutine):
                return self._finish(result)
            self._answer(result)
        except BaseException as error:
            self._fail(error)
        return None

    async def _finish(self, coroutine: Coroutine[Any, Any, Any]) -> None:
        try:
            self._answer(await coroutine)
        except BaseException as error:
            self._fail(error)

    def _fail(self, error: BaseException) -> None:
        """Answer 400 or the like to what the client did wrong, and 500 to what the route did."""
        if isinstance(error, RemoteProtocolError):
            self._respond(Response.error(error.status, str(error)))
        else:
            self._respond(Response.error(500))
            raise error

    def _answer(self, result: Any) -> None:
        self._respond(self._request.answer(result))

    def discard(self, reason: Reason) -> None:
        self._respond(Response.error(500, f"The process has ended: {reason}."))

    def __str__(self) -> str:
        return f"request {self._request.method} {self._request.uri}"


async def _drive(generator: Generator[Any, Any, Any]) -> Any:
    """Run a generator route as 0.3.0 did: what it yields is awaited."""
    send: Callable[[Any], Any] = generator.send
    value: Any = None
    while True:
        try:
            yielded = send(value)
        except StopIteration as stop:
            return stop.value
        try:
            value = await _yielded(yielded)
            send = generator.send
        except Exception as error:
            value = error
            send = generator.throw


async def _yielded(value: Any) -> Any:
    if isinstance(value, (list, tuple)):
        return [await _yielded(item) for item in value]
    if isinstance(value, concurrent.futures.Future):
        return await asyncio.wrap_future(value)
    if inspect.isawaitable(value):
        return await value
    return value
