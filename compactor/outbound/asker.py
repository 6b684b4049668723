"""``Asker``: the short way of one process to ask, in its own handlers and with bytes.

All else, and what other threads ask, goes the long way, by ``Context``, which checks the arguments.
"""

from __future__ import annotations

from threading import get_ident
from typing import Any

from compactor.actor.asks import Asks
from compactor.actor.run_queue import RunQueue
from compactor.net.portal import Portal
from compactor.pid import PID

from ..actor.asked import Asked


class Asker:
    """The short way of one process to ask.

    Args:
        pid: of the process.
        owner: its context, which knows the long way, and what closes a circle.
        asks: those of the context.
        portal: which thread is that of the loop.
        run_queue: the turns of the loop.
        plain_names: the names that need no check and no codec.
        timeout: seconds, where none are given.
    """

    __slots__ = (
        "_ask_otherwise",
        "_asks",
        "_check",
        "_forget",
        "_pid",
        "_plain_names",
        "_portal",
        "_run_queue",
        "_timeout",
    )

    def __init__(
        self,
        pid: PID,
        owner: Any,
        asks: Asks,
        portal: Portal,
        run_queue: RunQueue,
        plain_names: set[str],
        timeout: float,
    ) -> None:
        self._pid = pid
        self._asks = asks
        self._portal = portal
        self._run_queue = run_queue
        self._plain_names = plain_names
        self._timeout = timeout
        self._ask_otherwise = owner._ask_from
        self._forget = asks.give_up
        self._check = owner._circles.check

    def ask(self, to: PID, name: Any, body: Any, timeout: float | None, reply: Any) -> Any:
        """Send the message of an ask; what ``Process.ask`` returns."""
        if (
            timeout is None
            and reply is None
            and type(to) is PID
            and type(body) is bytes
            and type(name) is str
            and name in self._plain_names
            and self._portal.thread == get_ident()
        ):
            pid, target, run_queue = self._pid, to, self._run_queue
            if target.id != pid.id:
                asked: Any = Asked(to, name, pid, None, run_queue, self._forget, self._check)
                self._asks.ask(asked, pid, to, name, body, self._timeout)
                return asked
        return self._ask_otherwise(self._pid, to, name, body, timeout, reply)
