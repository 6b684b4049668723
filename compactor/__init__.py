"""compactor: actors that speak libprocess, the wire of Apache Mesos.

Subclass :class:`Process`, install methods, :func:`spawn` it, and send messages to its pid.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Coroutine
from typing import TYPE_CHECKING, Any, TypeVar

from compactor._version import __version__
from compactor.actor.answering import Reply
from compactor.actor.bound import Bound
from compactor.actor.future import Future
from compactor.actor.messages import Ask
from compactor.actor.supervision import Escalate, Policy, Restart, Resume, Stop
from compactor.actor.timers import Timer
from compactor.context import Context
from compactor.errors import (
    AskFailed,
    AskTimeout,
    CompactorError,
    Draining,
    Reason,
    RemoteError,
)
from compactor.http.forms import Form, Upload
from compactor.http.headers import ResponseHeaders
from compactor.http.request import Request
from compactor.http.response import Response
from compactor.metrics.dead_letters import DeadLetter
from compactor.metrics.metrics import Metrics
from compactor.pid import PID
from compactor.process import Process, ProtobufProcess
from compactor.runtime.program import run_program
from compactor.runtime.speedups import Speedups, speedups
from compactor.settings import Settings
from compactor.supervisor import ChildSpec, Supervisor

if TYPE_CHECKING:
    from compactor.metrics.user_metrics import UserMetrics
    from compactor.tls.settings import TlsSettings

__all__ = [
    "PID",
    "Ask",
    "AskFailed",
    "AskTimeout",
    "Bound",
    "ChildSpec",
    "CompactorError",
    "Context",
    "DeadLetter",
    "Draining",
    "Escalate",
    "Form",
    "Future",
    "Metrics",
    "Process",
    "ProtobufProcess",
    "Reason",
    "RemoteError",
    "Reply",
    "Request",
    "Response",
    "ResponseHeaders",
    "Restart",
    "Resume",
    "Settings",
    "Speedups",
    "Stop",
    "Supervisor",
    "Timer",
    "TlsSettings",
    "Upload",
    "UserMetrics",
    "__version__",
    "answer",
    "health_check",
    "initialize",
    "install",
    "join",
    "route",
    "run",
    "spawn",
    "speedups",
]

_Result = TypeVar("_Result")

answer = Process.answer
health_check = Process.health_check
install = Process.install
route = Process.route

_context: Context | None = None


def __getattr__(name: str) -> Any:
    if name == "UserMetrics":  # most programs have none
        from compactor.metrics.user_metrics import UserMetrics

        return UserMetrics
    if name == "TlsSettings":  # most contexts have no TLS
        from compactor.tls.settings import TlsSettings

        return TlsSettings
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def initialize(delegate: str = "", **kw: Any) -> None:
    """Make and start the global context; nothing happens if it exists.

    Args:
        delegate: id of the process that serves HTTP requests to unknown paths.
        kw: what :class:`Context` takes.

    Raises:
        RuntimeError: it exists, with another delegate or other arguments than those given.
    """
    global _context
    _context = Context.singleton(delegate=delegate, **kw)


def spawn(
    process: Process | Callable[[], Process],
    *,
    on_failure: Policy | None = None,
    mailbox: Bound | None = None,
) -> PID:
    """Spawn a process on the global context, and make that context if there is none.

    Args:
        process, on_failure, mailbox: as for :meth:`Context.spawn`.

    Returns:
        The pid of the process.
    """
    if _context is None or _context.is_stopping:
        initialize()
    assert _context is not None
    return _context.spawn(process, on_failure=on_failure, mailbox=mailbox)


def join() -> None:
    """Wait until the global context has been stopped.

    Raises:
        RuntimeError: there is no global context.
    """
    if _context is None:
        raise RuntimeError("there is no global context to join; initialize() or spawn() makes it")
    _context.join()


def run(
    main: Callable[[Context], Coroutine[Any, Any, _Result]],
    *,
    drain: float = 10.0,
    **context_arguments: Any,
) -> _Result | None:
    """Run a program: a context, a loop of its own in the main thread, and a coroutine on it.

    It ends well when ``main`` returns, and on SIGTERM and Control-C: ``main`` is cancelled, nothing
    more is taken from outside, what waits in mailboxes is handled, finalizers run, and what was
    sent last leaves.  A second Control-C cuts that short::

        async def main(context):
            context.spawn(Service("service"))
            await asyncio.Event().wait()

        if __name__ == "__main__":
            compactor.run(main, port=5050)

    Args:
        main: an ``async`` function that is given the context.
        drain: seconds in which ``main``, what waits in mailboxes, and what was asked may end.
        context_arguments: what :class:`Context` takes.

    Returns:
        What ``main`` returns; None if a signal has cancelled it.

    Raises:
        SystemExit: with status 130, after a second Control-C; with 1, and a list, if something was
            lost within the drain.
        RuntimeError: this is not the main thread, or a loop runs in it.
        TypeError: ``main`` is no ``async`` function.
        ValueError: ``drain`` is no number of seconds.
    """
    result: _Result | None = run_program(
        functools.partial(Context, **context_arguments), main, drain
    )
    return result
