"""``Readiness``: who waits for processes to be initialized, and how those failed that did."""

from __future__ import annotations

from collections import OrderedDict

from compactor.actor.mailbox import CLOSED, Mailbox
from compactor.actor.promises import Promise
from compactor.errors import InvalidProcess, ProcessTerminated, Reason
from compactor.pid import PID
from compactor.runtime.registry import Registry

_MAX_FAILURES = 32  # that are remembered: an error keeps the frames that it went through


class Readiness:
    """The beginnings of processes; touched on the loop's thread.

    Args:
        registry: the processes that live, or are about to.

    Attributes:
        is_used: whether the beginning of a plain process concerns anybody.
    """

    def __init__(self, registry: Registry) -> None:
        self.is_used = False
        self._registry = registry
        self._initializing: set[Mailbox] = set()  # on the loop
        self._waiting: dict[Mailbox, dict[Promise[PID], None]] = {}
        self._failures: OrderedDict[str, BaseException] = OrderedDict()

    def wait(self, promise: Promise[PID], pid: PID) -> None:
        """Keep a promise once a process is initialized."""
        mailbox = self._registry.mailbox_of(pid)
        if mailbox is None:
            here = f"Context({self._registry.ip}:{self._registry.port})"
            unknown = InvalidProcess(f"Unknown process {pid}: it does not live on {here}")
            promise.fail(self._failures.get(pid.id) or unknown)
        elif mailbox.state == CLOSED or mailbox in self._initializing:
            self._waiting.setdefault(mailbox, {})[promise] = None
            self.is_used = True
        else:
            promise.keep(pid)

    def forget(self, promise: Promise[PID]) -> None:
        """Nobody waits for it any more."""
        for mailbox, promises in list(self._waiting.items()):
            promises.pop(promise, None)
            if not promises:
                del self._waiting[mailbox]

    def begun(self, mailbox: Mailbox) -> None:
        """An ``async def initialize`` goes on on the loop."""
        self._initializing.add(mailbox)

    def ended(self, mailbox: Mailbox, error: BaseException | None = None) -> None:
        """A process is initialized, or will never be."""
        pid = mailbox.pid
        self._failures.pop(pid.id, None)
        if error is not None and mailbox in self._initializing:  # nobody else was told
            self._failures[pid.id] = error
            if len(self._failures) > _MAX_FAILURES:
                self._failures.popitem(last=False)
        self._initializing.discard(mailbox)
        for promise in self._waiting.pop(mailbox, ()):
            if error is None:
                promise.keep(pid)
            else:
                promise.fail(error)
        self.is_used = bool(self._waiting or self._failures)

    def abandon(self) -> None:
        """Nothing more will be initialized: the context stops."""
        for mailbox in list(self._waiting):
            self.ended(mailbox, ProcessTerminated(f"initialize: {Reason.STOPPED}"))
