"""``ContextWaiting``: what a context is asked to wait for: beginnings and ends of processes."""

from __future__ import annotations

from compactor.actor.future import Future
from compactor.actor.promises import Exit, Promise
from compactor.errors import InvalidProcess
from compactor.pid import PID, check_pid
from compactor.runtime.loop_owner import LoopOwner


class ContextWaiting(LoopOwner):
    """The part of ``Context`` that waits for processes."""

    def wait(self, pid: PID) -> Exit:
        """Wait for the end of a process, here or elsewhere.

        Once it is told, the id of a local process can be used again.

        Args:
            pid: the process; one that does not live has ended with ``NO_PROCESS``.

        Returns:
            A future for the reason, as ``exited`` would be told: ``result(timeout)`` in a thread,
            ``await`` in a coroutine on any loop.  It is ``STOPPED`` if this context is stopped
            before.  Once it is done, its ``detail`` is the text of the cause, where that is known:
            the type and the text of the error, if the process has failed; else it is empty.

        Raises:
            ContextStopped: the context was stopped.
        """
        check_pid(pid)
        watches = self._runtime.watches
        promise = Exit(f"the end of {pid}", self._portal, watches.links.drop)
        self._ask(watches.wait, promise, pid)
        return promise

    def ready(self, pid: PID) -> Future[PID]:
        """Wait until a process of this context is initialized, be its ``initialize`` async or not.

        Returns:
            A future for the pid: ``result(timeout)`` in a thread, ``await`` in a coroutine on any
            loop.  It fails with what ``initialize`` has raised, with ``ProcessTerminated`` if the
            process ended before, and with ``InvalidProcess`` if there is none.

        Raises:
            InvalidProcess: the pid belongs to another context.
            ContextStopped: the context was stopped.
        """
        check_pid(pid)
        if not self._runtime.registry.is_local(pid):
            raise InvalidProcess(f"{pid} does not live on {self}: only its own processes are ready")
        readiness = self._runtime.readiness
        promise: Promise[PID] = Promise(f"{pid} to be ready", self._portal, readiness.forget)
        self._ask(readiness.wait, promise, pid)
        return promise
