"""What a task waits for, as far as asyncio tells."""

from __future__ import annotations

import asyncio
import types
from collections.abc import Callable, Iterable, Mapping
from typing import Any

_MOST_LOOKED_AT = 1000  # futures and tasks, at a time

# What binds a future to the one that it waits for: the variables of callbacks that asyncio adds.
_BINDINGS = {"_call_check_cancel": "source", "_outer_done_callback": "inner"}


def _all_of_wait(names: Mapping[str, Any]) -> Iterable[Any]:
    """What ``asyncio.wait`` needs all of; of several that one is enough of, none is."""
    futures: set[Any] = names["fs"]
    needs_all = names["return_when"] == asyncio.ALL_COMPLETED or len(futures) == 1
    return futures if needs_all else ()


def _children_of_group(names: Mapping[str, Any]) -> Iterable[Any]:
    children: set[Any] = names["self"]._tasks
    return children


def _future_of_wait_for(names: Mapping[str, Any]) -> Iterable[Any]:
    return (names["fut"],)


def _codes() -> dict[Any, Callable[[Mapping[str, Any]], Iterable[Any]]]:
    """What the coroutines of asyncio wait for that yield a future of their own."""
    group: Any = getattr(asyncio, "TaskGroup", None)  # from Python 3.11 on
    known: list[tuple[Any, Callable[[Mapping[str, Any]], Iterable[Any]]]] = [
        (getattr(asyncio.tasks, "_wait", None), _all_of_wait),
        (asyncio.wait_for, _future_of_wait_for),
        (getattr(group, "__aexit__", None), _children_of_group),
        (getattr(group, "_aexit", None), _children_of_group),
    ]
    codes = ((getattr(function, "__code__", None), told) for function, told in known)
    return {code: told for code, told in codes if code is not None}


_CODES = _codes()


def awaited(task: Any, goal: Any, is_ask: Callable[[Any], bool]) -> tuple[list[Any], bool]:
    """The asks that a task waits for, itself or by other tasks, each of which it needs.

    Only what keeps it waiting counts: of two of which the first is enough, neither does.

    Args:
        task: waits.
        goal: a task, or an ask.
        is_ask: whether a future is an answer that is still to come.

    Returns:
        The asks, and whether the goal is among what it waits for, or the task itself.
    """
    asks: list[Any] = []
    todo: list[Any] = [task]
    seen: set[int] = set()
    while todo and len(seen) < _MOST_LOOKED_AT:
        each = todo.pop()
        if each is goal:
            return asks, True
        if id(each) in seen or each.done():
            continue
        seen.add(id(each))
        if is_ask(each):
            asks.append(each)
        elif isinstance(each, asyncio.Task):
            waiter: Any = getattr(each, "_fut_waiter", None)
            if waiter is not None and not waiter.done():
                is_plain = type(waiter) is asyncio.Future
                todo.extend((is_plain and (_bound_to(waiter) or _of_leaf(each))) or (waiter,))
        else:
            todo.extend(getattr(each, "_children", ()))  # of ``asyncio.gather``
    return asks, False


def needs(task: Any, other: Any) -> bool:
    """Whether a task cannot go on without another one, or is that."""
    return task is other or awaited(task, other, lambda future: False)[1]


def _bound_to(future: Any) -> list[Any]:
    """What a future that ``asyncio.shield`` or ``wrap_future`` has made waits for."""
    found = []
    for callback, _ in getattr(future, "_callbacks", None) or ():
        code = getattr(callback, "__code__", None)
        if code is not None and (name := _BINDINGS.get(code.co_name)) in code.co_freevars:
            found.append(callback.__closure__[code.co_freevars.index(name)].cell_contents)
    return found


def _of_leaf(task: Any) -> list[Any]:
    """What the innermost coroutine of a task waits for, if that is one of asyncio's."""
    coroutine = task.get_coro()
    while isinstance(inner := getattr(coroutine, "cr_await", None), types.CoroutineType):
        coroutine = inner
    told = _CODES.get(getattr(coroutine, "cr_code", None))
    frame = getattr(coroutine, "cr_frame", None)
    return list(told(frame.f_locals)) if told is not None and frame is not None else []
