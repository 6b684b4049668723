"""``Member``: one worker, as its parent knows it: an OS process, from its start to its end."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import multiprocessing
import signal
import threading
from collections.abc import Callable, Iterable
from multiprocessing.connection import wait
from typing import Any, NamedTuple

from compactor.context import Context
from compactor.errors import ContextStopped
from compactor.metrics.logs import logger
from compactor.pid import PID, Address
from compactor.system import clock
from compactor.workers.child import run_worker
from compactor.workers.lines import Line
from compactor.workers.plan import Plan

log = logger("workers")

STARTING, READY, LEAVING, ENDED = "starting", "ready", "leaving", "ended"

_MOST_TOLD = 100  # messages that the loop has not looked at yet; the worker waits then
_UNHEARD = 5.0  # seconds in which an OS process ends behind its last word
_REAPED = 1.0  # seconds in which the status and last words of an OS process are known


class Failure(NamedTuple):
    """Why a worker has not become ready.

    Attributes:
        why: in words.
        is_port_taken: whether another one may have the port.
    """

    why: str
    is_port_taken: bool = False


class Member:
    """One OS process.

    Args:
        plan: what it is to do.
        ended: called with this, on the loop, once it has ended.

    Attributes:
        plan: what it is to do.
        os_pid: the number by which the operating system knows it.
        state: how far it has come.
        address: where it listens, once it is ready.
        counts: what it has told of itself.
        heard: when it has told anything, in seconds of ``clock.now()``.
        is_stuck: whether an alarm was given for it.
        was_told_to_stop: whether its end is meant.
        over: is done once it has ended, with its exit status; a negative one is a signal's.
        ready: is done once it is ready, with None, or will not be, with the reason.
    """

    def __init__(self, plan: Plan, ended: Callable[[Member], None]) -> None:
        self.plan = plan
        self.state = STARTING
        self.address: Address = ("", 0)
        self.counts: dict[str, float] = {}
        self.heard = clock.now()
        self.is_stuck = False
        self.was_told_to_stop = False
        self._has_ended = ended
        self._failure: Failure | None = None
        self._dropped = 0
        self._room = threading.Semaphore(_MOST_TOLD)
        loop = self._loop = asyncio.get_running_loop()
        self.ready: asyncio.Future[Failure | None] = loop.create_future()
        self.over: asyncio.Future[int] = loop.create_future()
        spawning = multiprocessing.get_context("spawn")
        here, there = spawning.Pipe()
        name = f"worker-{plan.worker.number}"
        self._process = spawning.Process(target=run_worker, args=(plan, there), name=name)
        try:
            self._process.start()
        except BaseException:
            here.close()
            raise
        finally:
            there.close()
        self.os_pid = self._process.pid or 0
        self._line = Line(here, name)
        self._listening = threading.Thread(target=self._listen, name=f"{name}-listen", daemon=True)
        self._listening.start()
        threading.Thread(target=self._wait, name=f"{name}-wait", daemon=True).start()

    def __str__(self) -> str:
        return f"worker {self.plan.worker.number} (OS process {self.os_pid})"

    def stop(self) -> None:
        """Have it drain, and end."""
        if self.state in (STARTING, READY):
            self.state = LEAVING
            self.was_told_to_stop = True
            self._line.tell("stop")

    def hang_up(self) -> None:
        """Have it end, for its parent does; from any thread, and without a loop."""
        self._line.tell("stop")

    def kill(self) -> None:
        """End it at once."""
        if self.state != ENDED:
            self._process.kill()

    # Threads

    def _listen(self) -> None:
        why = "it has closed its pipe"
        try:
            for message in self._line:
                if message.get("kind") == "log":
                    self._log(message)
                else:
                    self._post_in_turn(checked(message))
        except (TypeError, ValueError, OverflowError) as error:
            why = f"it has sent what no worker sends: {str(error)[:200]!r}"
        if not wait([self._process.sentinel], _UNHEARD):
            log.error("%s is killed, for it can tell its parent nothing any more: %s", self, why)
            self.kill()

    def _wait(self) -> None:
        process = self._process
        process.join()
        until = clock.now() + _REAPED
        while process.exitcode is None and clock.now() < until:  # another thread has reaped it
            threading.Event().wait(0.001)
        self._listening.join(_REAPED)  # its last words
        self._line.shut()  # a child of its own may keep the pipe open
        self._listening.join(_REAPED)
        self._post(self._end, process.exitcode)

    def _post(self, call: Callable[..., Any], *args: Any) -> None:
        try:
            self._loop.call_soon_threadsafe(call, *args)
        except RuntimeError:  # the loop has ended before its worker
            return

    def _post_in_turn(self, message: dict[str, Any]) -> None:
        """Have the loop look at a message, once it has looked at most of those before."""
        while not self._room.acquire(timeout=1.0):
            if self._loop.is_closed():
                return
        self._post(self._told, message)

    def _log(self, message: dict[str, Any]) -> None:
        """Log what a worker has logged, as if it had happened here."""
        logger = logging.getLogger(str(message.get("name", "")))
        level = message.get("level")
        if not isinstance(level, int) or not logger.isEnabledFor(level):
            return
        where, line = str(message.get("file", "")), message.get("line", 0)
        text = f"[worker {self.plan.worker.number}] {message.get('text', '')}"
        record = logger.makeRecord(logger.name, level, where, int(line), text, (), None)
        record.processName, record.process = self._process.name, self.os_pid
        record.exc_text = str(message.get("traceback") or "") or None
        created = message.get("created")
        if isinstance(created, float):
            record.created = created
        try:
            logger.handle(record)
        except Exception:  # of a filter, which is this program's
            logging.Handler().handleError(record)

    # On the loop

    def _told(self, message: dict[str, Any]) -> None:
        self._room.release()
        self.heard = clock.now()
        kind = message.get("kind")
        if kind == "ready" and self.state == STARTING:
            self.state = READY
            self.address = (message["ip"], message["port"])
            _settle(self.ready, None)
        elif kind == "beat":
            self.is_stuck = False
            self.counts = message["counts"]
            if message["dropped"] > self._dropped:
                log.warning("%s has left out %s messages", self, message["dropped"] - self._dropped)
                self._dropped = message["dropped"]
        elif kind == "failed":
            why = message.get("traceback") or message.get("why")
            self._failure = Failure(str(why).strip(), bool(message.get("is_port_taken")))
        elif kind == "stuck":
            self.alarm(message["seconds"], message["stack"])

    def alarm(self, seconds: float, stack: str = "") -> None:
        """Say that it does not get on; once until it does."""
        if not self.is_stuck and self.state == READY:
            self.is_stuck = True
            # Shown as the text of an error, the only one that may have several lines.
            where = RuntimeError(stack) if stack else None
            log.error(
                "%s is stuck: its loop has not turned for %s s",
                self,
                f"{seconds:.1f}",
                exc_info=where,
            )

    def _end(self, status: int | None) -> None:
        self.state = ENDED
        self._line.close(0)
        with contextlib.suppress(ValueError):  # another thread has reaped it
            self._process.close()  # its pipes too, which would be left to the garbage collector
        failure = self._failure or Failure(f"it ended with {told(status)} before it was ready")
        _settle(self.ready, failure)
        if not self.over.done():
            self.over.set_result(1 if status is None else status)
        self._has_ended(self)


def checked(message: dict[str, Any]) -> dict[str, Any]:
    """What a worker has told, but for its logs, with values that can be used.

    Raises:
        TypeError, ValueError, OverflowError: it is nothing that a worker tells.
    """
    kind = message.get("kind")
    if kind == "ready":
        pid = PID(message.get("ip", ""), message.get("port", 0), "worker")
        return {"kind": kind, "ip": pid.ip, "port": pid.port}
    if kind == "beat":
        counts = message.get("counts")
        if not isinstance(counts, dict):
            raise TypeError(f"it counts {str(counts)[:100]}")
        counts = {name: each for name, each in counts.items() if isinstance(each, int | float)}
        return {"kind": kind, "counts": counts, "dropped": int(message.get("dropped", 0))}
    if kind == "failed":
        return message
    if kind == "stuck":
        seconds, stack = float(message.get("seconds", 0)), str(message.get("stack", ""))
        return {"kind": kind, "seconds": seconds, "stack": stack}
    raise ValueError(f"a message of the kind {str(kind)[:100]!r}")


def told(status: int | None) -> str:
    """An exit status in words."""
    if status is None:
        return "a status that is not known"
    if status < 0:
        try:
            return f"signal {signal.Signals(-status).name}"
        except ValueError:
            return f"signal {-status}"
    return f"status {status}"


def _settle(future: asyncio.Future[Failure | None], failure: Failure | None) -> None:
    if not future.done():
        future.set_result(failure)


def hang_up_all(members: Iterable[Member]) -> None:
    """Have all end, for the program does."""
    for member in list(members):
        member.hang_up()


def kill_all(members: Iterable[Member]) -> None:
    """End all at once."""
    for member in list(members):
        member.kill()


def disconnect(context: Context, member: Member) -> None:
    """Have nobody wait for a worker that has ended; a child of its own may hold connections."""
    ip, port = member.address
    if port:
        with contextlib.suppress(ContextStopped):
            context.disconnect(PID(ip, port, "worker"))
