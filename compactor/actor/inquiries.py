"""``Inquiries``: what the processes of one context are asked, and handle right now."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from contextvars import ContextVar
from typing import Any, Protocol

from compactor.pid import PID

_MAX_GIVEN_UP = 1024

current_inquiry: ContextVar[Any] = ContextVar("what a handler answers", default=None)
"""The ``Inquiry`` that is handled where this is looked at, or None."""


class Running(Protocol):
    """An ``async`` handler that is under way."""

    def give_up(self) -> None:
        """Nobody waits for it any more."""


class Inquiries:
    """Who waits for the handlers of one context, to cancel those that nobody waits for any more.

    Attributes:
        running: the ``async`` handlers that may be cancelled, by the temporary sender that waits.
    """

    def __init__(self) -> None:
        self.running: dict[PID, Running] = {}
        self._given_up: dict[PID, None] = {}  # before their turn came, as far as remembered

    def give_up(self, sender: PID) -> None:
        """A temporary sender waits no more: cancel its handler, or have it not begin."""
        inquiry = self.running.pop(sender, None)
        if inquiry is not None:
            inquiry.give_up()
            return
        if len(self._given_up) >= _MAX_GIVEN_UP:
            del self._given_up[next(iter(self._given_up))]
        self._given_up[sender] = None

    def is_given_up(self, sender: PID) -> bool:
        """Whether a sender has given up before; asked once, when its turn has come."""
        return bool(self._given_up) and self._given_up.pop(sender, 0) is None


async def finish(inquiry: Any, coroutine: Coroutine[Any, Any, Any]) -> None:
    """The rest of an ``async`` handler."""
    if not inquiry.begin(asyncio.current_task()):
        coroutine.close()
        return
    current_inquiry.set(inquiry)
    try:
        inquiry.returned(await coroutine)
    except asyncio.CancelledError:
        inquiry.cancelled()
        raise
    except BaseException as error:
        if not inquiry.handles(error):
            raise
    finally:
        inquiry.end()
