"""``/logging/toggle``: what is logged in more detail, for a while."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import re
import threading
from typing import Any

from compactor.endpoints.durations import duration
from compactor.endpoints.endpoint import READWRITE, Endpoint
from compactor.http.request import Request
from compactor.http.response import Response
from compactor.metrics.logs import log

_NUMBER = re.compile(r"[+-]?[0-9]{1,10}", re.ASCII)
_MOST = 2**31 - 1  # what libprocess reads as an int
_BY_NUMBER = (logging.INFO, logging.DEBUG, 1)  # of 1, 2 and 3
_BY_NAME = {
    "debug": logging.DEBUG,
    "info": logging.INFO,
    "warning": logging.WARNING,
    "error": logging.ERROR,
    "critical": logging.CRITICAL,
}
_SHOWN = 80  # characters of what is no level
_LEVELS = "A level is a number from 0 to 3, or debug, info, warning, error or critical.\n"
_DURATIONS = "A duration is a number with a unit, such as 30secs or 5mins.\n"


def number_of(level: int) -> int:
    """The number that libprocess would have for a level of ``logging``."""
    return sum(level <= known for known in _BY_NUMBER)


class Verbosity:
    """The level of a logger of this program, whichever of its contexts is asked to change it.

    Args:
        logger: whose.
    """

    def __init__(self, logger: logging.Logger) -> None:
        self._logger = logger
        self._lock = threading.Lock()  # contexts have threads of their own
        self._before: int | None = None  # what was set before it was changed
        self._changed_by: _Change | None = None

    @property
    def level(self) -> int:
        """What is logged now."""
        return self._logger.getEffectiveLevel()

    @property
    def original(self) -> int:
        """What is logged when nobody has changed that."""
        with self._lock:
            return self._original()

    def _original(self) -> int:
        if self._before is None:
            return self._logger.getEffectiveLevel()
        if self._before != logging.NOTSET or self._logger.parent is None:
            return self._before
        return self._logger.parent.getEffectiveLevel()

    def change(self, level: int, changed_by: _Change) -> _Change | None:
        """Log what is at least of that level, until whoever has changed this last reverts it.

        Returns:
            Who did before, and has nothing to revert any more.
        """
        with self._lock:
            if self._before is None:
                self._before = self._logger.level
            former, self._changed_by = self._changed_by, changed_by
            self._logger.setLevel(level)
            return former

    def revert(self, changed_by: _Change) -> None:
        """Log what was logged before, unless somebody else has changed that since."""
        with self._lock:
            if self._before is not None and self._changed_by is changed_by:
                self._logger.setLevel(self._before)
                self._before = self._changed_by = None


verbosity = Verbosity(log)


class _Change:
    """A change that is reverted by itself."""

    def __init__(self, level: int, seconds: float, owner: Any) -> None:
        loop: asyncio.AbstractEventLoop = owner.run_queue.loop
        self._loop = loop
        self._closing: list[Any] = owner.pages.endpoints().closing
        self._closing.append(self.revert)
        self._timer = loop.call_later(seconds, self.revert)
        former = verbosity.change(level, self)
        if former is not None and former._loop is loop:
            former._forget()
        elif former is not None:
            with contextlib.suppress(RuntimeError):  # that loop is closed
                former._loop.call_soon_threadsafe(former._forget)

    def revert(self) -> None:
        """Log what was logged before, also if the context stops."""
        self._forget()
        verbosity.revert(self)

    def _forget(self) -> None:
        self._timer.cancel()
        if self.revert in self._closing:
            self._closing.remove(self.revert)


def _toggle(request: Request, owner: Any) -> Response:
    query = request.query
    if "level" not in query and "duration" not in query:
        return Response(f"{number_of(verbosity.level)}\n")
    for name in ("level", "duration"):
        if name not in query:
            return Response.error(400, f"Expecting '{name}=value' in query.\n")
    try:
        level = _level(query["level"], verbosity.original)
    except ValueError as error:
        return Response.error(400, f"{error}.\n{_LEVELS}")
    try:
        seconds = duration(query["duration"])
    except ValueError as error:
        return Response.error(400, f"{error}.\n{_DURATIONS}")
    _Change(level, seconds, owner)
    log.info("%s has set the level to %s for %g s", request.peer[0], level, seconds)
    return Response()


def _level(text: str, original: int) -> int:
    """The level of ``logging`` that is asked for.

    Raises:
        ValueError: there is none, or less would be logged than without it.
    """
    shown = text[:_SHOWN]
    level = _BY_NAME.get(text.lower())
    if level is not None:
        if level > original:
            raise ValueError(f"'{shown}' < original level")
        return level
    if not _NUMBER.fullmatch(text) or not -_MOST <= int(text) <= _MOST:
        raise ValueError(f"Failed to convert '{shown}' to number")
    number = int(text)
    if number < 0:
        raise ValueError(f"Invalid level '{shown}'")
    if number < number_of(original):
        raise ValueError(f"'{shown}' < original level")
    if number == number_of(original):
        return original
    return _BY_NUMBER[min(number, len(_BY_NUMBER)) - 1]


ENDPOINTS = (
    Endpoint(
        "/logging/toggle",
        _toggle,
        "Logs more for a while.",
        """Without a query the answer is the level, as a number:

>        0                    What was configured
>        1                    logging.INFO and above
>        2                    logging.DEBUG and above
>        3                    Everything

Query parameters, both of which are needed to change it:

>        level=VALUE          Such a number, or debug, info, warning, error or critical
>        duration=VALUE       After which it is what it was before, as 30secs or 5mins

No level can be set at which less is logged than without it. It is that of the logger `compactor`,
so handlers that the program has must let such records through.
""",
        realm=READWRITE,
        changes=True,
    ),
)
