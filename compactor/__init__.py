"""compactor: actors that speak libprocess, the wire of Apache Mesos.

Subclass :class:`Process`, install methods, :func:`spawn` it, and send messages to its pid.
"""

from __future__ import annotations

from typing import Any

from compactor._version import __version__
from compactor.acceleration import Speedups, speedups
from compactor.context import Context
from compactor.errors import CompactorError, Reason
from compactor.http import Request, Response
from compactor.messages import Future
from compactor.metrics import DeadLetter
from compactor.pid import PID
from compactor.process import Process, ProtobufProcess
from compactor.settings import Settings
from compactor.tls_settings import TlsSettings

__all__ = [
    "PID",
    "CompactorError",
    "Context",
    "DeadLetter",
    "Future",
    "Process",
    "ProtobufProcess",
    "Reason",
    "Request",
    "Response",
    "Settings",
    "Speedups",
    "TlsSettings",
    "__version__",
    "initialize",
    "install",
    "join",
    "route",
    "spawn",
    "speedups",
]

install = Process.install
route = Process.route

_context: Context | None = None


def initialize(delegate: str = "", **kw: Any) -> None:
    """Make and start the global context; nothing happens if it exists.

    Args:
        delegate: id of the process that serves HTTP requests to unknown paths.
        kw: what :class:`Context` takes; counts only when the context is made.

    Raises:
        RuntimeError: it exists and has another delegate.
    """
    global _context
    _context = Context.singleton(delegate=delegate, **kw)


def spawn(process: Process) -> PID:
    """Spawn a process on the global context, and make that context if there is none.

    Returns:
        The pid of the process.
    """
    if _context is None or _context.is_stopping:
        initialize()
    assert _context is not None
    return _context.spawn(process)


def join() -> None:
    """Wait until the global context has been stopped.

    Raises:
        RuntimeError: there is no global context.
    """
    if _context is None:
        raise RuntimeError("there is no global context to join; initialize() or spawn() makes it")
    _context.join()
