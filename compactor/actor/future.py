"""``Future``: what ``dispatch``, ``wait`` and ``ready`` return, for threads and for coroutines."""

from __future__ import annotations

import asyncio
import concurrent.futures
from collections.abc import Generator
from typing import Any, Generic, NoReturn, TypeVar

Result = TypeVar("Result")


class Future(concurrent.futures.Future[Result], Generic[Result]):
    """A result that is still to come: threads call ``result(timeout)``, coroutines ``await`` it."""

    def __await__(self) -> Generator[Any, None, Result]:
        return (yield from asyncio.wrap_future(self).__await__())

    def __reduce__(self) -> NoReturn:
        raise TypeError(f"cannot pickle {self!r}: it is a result that is still to come")
