"""Routes that are awaited: coroutines, futures, and generators as 0.3.0 ran them."""

from __future__ import annotations

import asyncio
import contextlib
import inspect
from collections.abc import Callable, Coroutine, Generator
from typing import Any


async def finish(exchange: Any, coroutine: Coroutine[Any, Any, Any], mailbox: Any) -> None:
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
