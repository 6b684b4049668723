"""``at_once``: ask several contexts at the same time."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Iterable
from typing import Any, TypeVar

from compactor.cli.exits import Fault

_MOST = 32  # that are asked at a time

Item = TypeVar("Item")
Result = TypeVar("Result")


def at_once(call: Callable[[Item], Result], items: Iterable[Item]) -> list[Result | Fault]:
    """What a call says of each of some items, in their order; a ``Fault`` stands for itself.

    Args:
        call: is made in threads of its own, which a user who interrupts does not wait for.
        items: what it is called with.
    """
    todo = deque(enumerate(items))
    results: list[Any] = [None] * len(todo)
    errors: list[BaseException] = []

    def work() -> None:
        while not errors:
            try:
                at, item = todo.popleft()
            except IndexError:
                return
            try:
                results[at] = call(item)
            except Fault as fault:
                results[at] = fault
            except BaseException as error:  # raised where somebody sees it
                errors.append(error)

    threads = [threading.Thread(target=work, daemon=True) for _ in range(min(len(todo), _MOST))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if errors:
        raise errors[0]
    return results
