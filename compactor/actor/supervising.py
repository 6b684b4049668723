"""``Supervising``: what a process has to do with its children, and with failures of its own."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from compactor.pid import PID

if TYPE_CHECKING:
    from compactor.actor.bound import Bound
    from compactor.actor.supervision import Policy


class _Children:
    """The pids of the live children, unless a subclass or an instance has something else there."""

    def __get__(self, process: Any, cls: type | None = None) -> Any:
        if process is None:
            return self
        return process.context._children_of(process) if process.is_bound else []


class Supervising:
    """The part of ``Process`` that supervises."""

    if TYPE_CHECKING:

        @property
        def context(self) -> Any: ...

    children: Any = _Children()
    """The pids of the children that live, in the order in which they were spawned."""

    def spawn(
        self,
        process: Any | Callable[[], Any],
        *,
        on_failure: Policy | None = None,
        mailbox: Bound | None = None,
    ) -> PID:
        """Spawn a child: a process that ends when this one ends, before it.

        Args:
            process, on_failure, mailbox: as for ``Context.spawn``.

        Raises:
            UnboundProcess: this process has not been spawned.
            InvalidProcess: this process has ended; or as ``Context.spawn``.
            ContextStopped, ContextError, TypeError: as ``Context.spawn``.
        """
        pid: PID = self.context._spawn_child(self, process, on_failure, mailbox)
        return pid

    def failed(self, error: BaseException) -> Any:
        """Called when a handler has raised, before the policy of ``on_failure`` acts.

        It is called only for processes that were spawned with ``on_failure``, and may be ``async``.
        """
