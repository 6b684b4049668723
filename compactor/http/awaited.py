"""Routes that are awaited: coroutines, futures, and generators as 0.3.0 ran them."""

from __future__ import annotations

import asyncio
import contextlib
import inspect
from collections.abc import Callable, Coroutine, Generator
from typing import Any

from compactor.errors import Reason
from compactor.http.compressing import compressed_stream
from compactor.http.response import Late, Response, Streamed
from compactor.http.streams import Place, StreamEnded


class Apart(Coroutine[Any, Any, Any]):
    """What a route returns that is not to hold the mailbox of its process.

    It stands where a coroutine does, and begins when there is a place for it.

    Args:
        call: calls the route.
        begin: called with the exchange, with what then begins the route and returns what is left to
            await, and with the mailbox; returns what holds the mailbox.
    """

    __slots__ = ("_begin", "_call")

    def __init__(self, call: Callable[[], Any], begin: Callable[[Any, Any, Any], Any]) -> None:
        self._call = call
        self._begin = begin

    def begin(self, exchange: Any, mailbox: Any) -> Any:
        """Give an ``Exchange`` what the route returns, beside the mailbox."""

        def start() -> Any:
            try:
                result = self._call()
                if isinstance(result, Coroutine):
                    return _finish(exchange, result, mailbox)
                exchange.answer(result)
            except BaseException as error:
                exchange.fail(error)
            return None

        exchange.place = Place(mailbox, self._begin)
        return self._begin(exchange, start, mailbox)

    def send(self, value: Any) -> Any:
        raise TypeError("nobody steps through it: it begins")

    def throw(self, *error: Any) -> Any:
        raise TypeError("nobody steps through it: it begins")

    def close(self) -> None:
        pass

    def __await__(self) -> Generator[Any, None, Any]:
        raise TypeError("nobody awaits it: it begins")


def finish(exchange: Any, rest: Coroutine[Any, Any, Any], mailbox: Any) -> Any:
    """What gives an ``Exchange`` what is left of its route, as far as that holds the mailbox."""
    return (
        rest.begin(exchange, mailbox) if type(rest) is Apart else _finish(exchange, rest, mailbox)
    )


async def _finish(exchange: Any, coroutine: Coroutine[Any, Any, Any], mailbox: Any) -> None:
    """Give an ``Exchange`` what a coroutine of its route returns."""
    try:
        exchange.answer(await coroutine)
    except asyncio.CancelledError as error:
        if not mailbox.drop(exchange):
            exchange.fail(error)
        raise
    except BaseException as error:
        exchange.fail(error)


async def drive(generator: Generator[Any, Any, Any]) -> Any:
    """Run a generator route as 0.3.0 did: what it yields is awaited."""
    send: Callable[[Any], Any] = generator.send
    value: Any = None
    while True:
        try:
            yielded = send(value)
        except StopIteration as stop:
            return stop.value
        try:
            value = await result_of(yielded)
            send = generator.send
        except Exception as error:
            value = error
            send = generator.throw


async def result_of(value: Any) -> Any:
    """The result of what a route yielded, or of each in a list or dict of such; the others wait."""
    if isinstance(value, dict):
        return dict(zip(value, await result_of(list(value.values())), strict=True))
    if isinstance(value, (list, tuple)):
        return list(await asyncio.gather(*map(result_of, value)))
    has_result = hasattr(value, "add_done_callback") and hasattr(value, "result")
    if has_result and not asyncio.isfuture(value):  # tornado 4.3 to 4.5 suspend their loop only
        return await _foreign_result(value)
    if inspect.isawaitable(value):
        return await value
    return value


async def _foreign_result(future: Any) -> Any:
    """The result of a future that no loop knows, such as tornado's; any thread may set it."""
    loop = asyncio.get_running_loop()
    is_done = asyncio.Event()

    def done(_: Any) -> None:
        with contextlib.suppress(RuntimeError):  # the loop is closed, and nobody waits any more
            loop.call_soon_threadsafe(is_done.set)

    future.add_done_callback(done)
    await is_done.wait()
    return future.result()  # no coroutine lets a StopIteration out: it becomes a RuntimeError


async def begin(exchange: Any, request: Any, late: Late) -> None:
    """Give an ``Exchange`` an answer once its head is there."""
    await asyncio.sleep(0)  # never at once, also where tasks begin so: it is waited for
    try:
        if not exchange.is_oldest and exchange.answered is not None:
            # Or a client that sends many requests would have as many files opened and read.
            late.turn = asyncio.get_running_loop().create_future()
            await late.turn
        if exchange.is_abandoned or (exchange.is_left and late.ends_with_client):
            exchange.late = None
            exchange.answer(Response.error(400, "A stream ends when its client sends no more."))
            return
        place = exchange.place if isinstance(exchange.place, Place) else Place(exchange.place)
        try:
            response = await late.begun(request, place)
            if exchange.takes_gzip and type(response) is Streamed:
                response = await compressed_stream(response, request.method)
        except StreamEnded:
            exchange.late = None
            exchange.answer(Response.error(500))
        except Exception as error:
            place.mailbox.put_event(Failed(exchange, error))
        else:
            exchange.begun(response)
    finally:
        exchange.late = None


class Failed:
    """The event of a process that the answer of its route could not be begun."""

    __slots__ = ("_error", "_exchange")

    def __init__(self, exchange: Any, error: Exception) -> None:
        self._exchange = exchange
        self._error = error

    def serve(self, mailbox: Any) -> None:
        self._exchange.fail(self._error)

    def discard(self, reason: Reason) -> None:
        self._exchange.discard(reason)

    def __str__(self) -> str:
        return str(self._exchange)
