"""What runs in a worker: its context, and all that it tells its parent."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import inspect
import logging
import os
import signal
import sys
import threading
import traceback
from collections.abc import AsyncIterator
from multiprocessing.connection import Connection
from typing import Any

from compactor.context import Context
from compactor.errors import SocketError
from compactor.metrics.logs import logger
from compactor.runtime.program import run_program
from compactor.system import clock
from compactor.workers.lines import Line
from compactor.workers.plan import Plan, load_target

log = logger("workers")

_GRACE = 5.0  # seconds, beside drain and linger, after which a worker without a parent is ended
_FLUSH = 2.0  # seconds for the last words to leave
_OF_PROCESSES = "processes/"  # what is counted for each, which is no sum
_OF_THE_PARENT = ("LIBPROCESS_PORT", "LIBPROCESS_ADVERTISE_PORT")


def run_worker(plan: Plan, connection: Connection) -> None:
    """Be a worker, until the parent says that it is enough, or is gone."""
    for variable in _OF_THE_PARENT:
        os.environ.pop(variable, None)
    if hasattr(signal, "SIGHUP"):
        signal.signal(signal.SIGHUP, signal.SIG_IGN)  # of a terminal; the parent restarts workers
    line = Line(connection, "worker")
    _forward_logs(line, plan.level)
    status = 1
    try:
        _Child(plan, line).run()
        status = 0
    except SystemExit as error:
        status = error.code if isinstance(error.code, int) else 1
        if isinstance(error.code, str):
            log.error("a worker has lost something: %s", " ".join(error.code.split()))
    except SocketError as error:
        line.tell("failed", why=str(error), is_port_taken=True)
    except BaseException as error:
        line.tell("failed", why=_told(error), traceback=traceback.format_exc())
    line.close(_FLUSH)
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status if 0 <= status < 256 else 1)  # threads of the program may be left


def _told(error: BaseException) -> str:
    return "".join(traceback.format_exception_only(type(error), error)).strip()


class _Child:
    """One worker.

    Args:
        plan: what it is to do.
        line: leads to its parent.
    """

    def __init__(self, plan: Plan, line: Line) -> None:
        self._plan = plan
        self._line = line
        self._is_over = threading.Event()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._stop: asyncio.Event
        self._ticked = clock.now()
        self._context: Context
        self._main_thread = threading.get_ident()

    def run(self) -> None:
        """Make a context, have it filled, and run it until it is enough."""
        plan = self._plan
        # First, as an import may never end, and the parent may.
        for target, name in ((self._listen, "worker-listen"), (self._watch, "worker-watch")):
            threading.Thread(target=target, name=name, daemon=True).start()
        self._make = load_target(plan.make)
        make = functools.partial(Context, port=plan.port, settings=plan.settings, tls=plan.tls)
        run_program(make, self._main, plan.drain)

    async def _main(self, context: Context) -> None:
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # Control-C is for the parent, which tells us
        self._context = context
        self._loop = loop = asyncio.get_running_loop()
        self._stop = asyncio.Event()
        if self._is_over.is_set():
            return
        made = self._make(context, self._plan.worker)
        if not inspect.isawaitable(made):
            raise TypeError(f"{self._plan.make} must be an async function, and returned {made!r}")
        making, stopping = asyncio.ensure_future(made), loop.create_task(self._stop.wait())
        try:
            await asyncio.wait((making, stopping), return_when=asyncio.FIRST_COMPLETED)
            if making.done():
                making.result()
                async with self._registered(context):
                    self._ticked = clock.now()
                    self._line.tell("ready", ip=context.ip, port=context.port)
                    self._tick()
                    await stopping
        finally:
            making.cancel()
            stopping.cancel()

    @contextlib.asynccontextmanager
    async def _registered(self, context: Context) -> AsyncIterator[None]:
        """Have all processes be found in the cluster, if there is one."""
        url = self._plan.cluster
        if url is None:
            yield
            return
        from compactor.cluster import Cluster

        async with contextlib.AsyncExitStack() as stack:
            cluster = await stack.enter_async_context(Cluster(url, context))
            for mailbox in list(context._registry.live.values()):
                await stack.enter_async_context(cluster.register(mailbox.pid.id, mailbox.pid))
            context.on_drain(stack.aclose)
            yield

    # Threads

    def _listen(self) -> None:
        """Wait for the word of the parent, or its end."""
        with contextlib.suppress(ValueError):  # no message of a parent: there is none any more
            for message in self._line:
                if message.get("kind") == "stop":
                    break
        self._is_over.set()
        loop = self._loop
        if loop is not None:
            loop.call_soon_threadsafe(self._stop.set)
        linger = self._plan.settings.linger
        threading.Event().wait(self._plan.drain + 6 * linger + _GRACE)
        os._exit(1)  # it is stuck, and nobody may be there to see it

    def _watch(self) -> None:
        """Have the loop tell that it turns, and tell where it stands if it does not."""
        plan = self._plan
        is_told = False
        while not self._is_over.wait(plan.beat):
            loop = self._loop
            idle = clock.now() - self._ticked
            if loop is None:
                continue
            if idle < plan.stuck_after:
                is_told = False
            elif not is_told:
                is_told = True
                frame = sys._current_frames().get(self._main_thread)
                stack = "".join(traceback.format_stack(frame)) if frame else ""
                self._line.tell("stuck", seconds=idle, stack=stack)
            try:
                loop.call_soon_threadsafe(self._tick)
            except RuntimeError:  # it has ended
                return

    def _tick(self) -> None:
        now = clock.now()
        if now - self._ticked >= self._plan.beat / 2:  # else one of many that waited
            self._ticked = now
            self._line.tell("beat", counts=counts(self._context), dropped=self._line.dropped)


def counts(context: Context) -> dict[str, float]:
    """What is told of a context from time to time."""
    told = {
        name: value
        for name, value in context.metrics.snapshot().items()
        if not name.startswith(_OF_PROCESSES)
    }
    return {
        **told,
        "processes": len(context._registry.live),
        "asks_outstanding": context._runtime.asks.waiting,
    }


def _forward_logs(line: Line, level: int) -> None:
    """Have the parent handle all that is logged here."""
    root = logging.getLogger()
    root.handlers[:] = [_Forward(line)]
    root.setLevel(level)


class _Forward(logging.Handler):
    """Sends each record to the parent."""

    def __init__(self, line: Line) -> None:
        super().__init__()
        self._line = line
        self._formatter = logging.Formatter()

    def emit(self, record: logging.LogRecord) -> None:
        try:
            text = record.exc_text
            if not text and record.exc_info and record.exc_info[0] is not None:
                text = self._formatter.formatException(record.exc_info)
            told: dict[str, Any] = {
                "name": record.name,
                "level": record.levelno,
                "text": record.getMessage(),
                "file": record.pathname,
                "line": record.lineno,
                "created": record.created,
                "traceback": text or "",
            }
            self._line.tell("log", **told)
        except Exception:
            self.handleError(record)
