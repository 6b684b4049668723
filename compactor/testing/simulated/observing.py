"""What a world sees of its contexts: messages sent and handled, exits, dead letters, failures.

It is seen from where it costs others nothing, so that the ways of messages are those of real
programs: a process sends by ``Context.send`` when that was replaced, and what hands a message to a
handler is bound once for each name.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from compactor.actor.mailbox import Mailbox
from compactor.actor.routes import Call
from compactor.actor.timers import Timer
from compactor.errors import Reason
from compactor.metrics.dead_letters import DeadLetter
from compactor.pid import PID
from compactor.process import Process
from compactor.testing.simulated.virtual_loop import VirtualLoop


class SimulatedMessage(NamedTuple):
    """A message that a handler was given, or that a filter has dropped.

    Attributes:
        seconds: of the world, when.
        sender, to: of the message.
        name: of the message.
        body: its content.
    """

    seconds: float
    sender: PID
    to: PID
    name: str
    body: bytes


class SimulatedExit(NamedTuple):
    """An exit that a process was told of.

    Attributes:
        seconds: of the world, when.
        linker: the process that is told.
        pid: what has ended.
        reason: why.
    """

    seconds: float
    linker: PID
    pid: PID
    reason: Reason


class SeenCall:
    """What a timer of a process calls, which is told before.

    Attributes:
        pid: of the process.
        name: of the method that will be called.
    """

    __slots__ = ("_call", "_over", "name", "pid")

    def __init__(
        self, call: Callable[[], Any], pid: PID, method: Any, over: Callable[[PID, str], object]
    ) -> None:
        self.pid = pid
        self.name = method if isinstance(method, str) else getattr(method, "__name__", repr(method))
        self._call = call
        self._over = over

    def __call__(self) -> Any:
        self._over(self.pid, self.name)
        return self._call()


class Observer:
    """What is told of all that can be seen; a world is one.

    Attributes:
        loop: of all contexts that it sees.
    """

    loop: VirtualLoop

    def sent(self, sender: PID, to: PID, name: str) -> None:
        """A process has sent a message."""

    def comes(self, message: SimulatedMessage, again: Callable[[], object]) -> bool:
        """A message comes to its handler; whether the handler shall have it now.

        Args:
            again: hands it over later.
        """
        return True

    def handled(self, message: SimulatedMessage) -> None:
        """A message that was held back is handed to its handler."""

    def timer_over(self, pid: PID, name: str) -> None:
        """A timer of a process is over, which calls this method."""

    def exits_told(self, told: SimulatedExit) -> None:
        """A process is told that another one has ended."""

    def dead(self, letter: DeadLetter) -> None:
        """A message will not be handled."""

    def failed(self, pid: PID, error: BaseException) -> None:
        """A handler has raised."""


def observe(context: Any, observer: Observer) -> None:
    """Have a context seen, from the moment on when it is made."""
    runtime = context._runtime
    _see_sends(context, observer)
    _see_timers(context, observer)
    _see_handling(runtime, observer)
    _see_exits(runtime, observer)
    context.on_dead_letter(observer.dead)
    handler_failed = runtime.handler_failed

    def failed(mailbox: Mailbox, entry: Any, error: BaseException) -> Any:
        observer.failed(mailbox.pid, error)
        return handler_failed(mailbox, entry, error)

    runtime.handler_failed = failed


def _see_sends(context: Any, observer: Observer) -> None:
    send = context.send

    def seen(from_pid: PID, to_pid: PID, method: Any, *body: Any, **kw: Any) -> None:
        send(from_pid, to_pid, method, *body, **kw)
        name = method if isinstance(method, str) else type(method).__qualname__
        observer.sent(from_pid, to_pid, name)

    context.send = seen


def _see_timers(context: Any, observer: Observer) -> None:
    def seeing(make: Callable[..., Timer]) -> Callable[..., Timer]:
        def started(seconds: float, pid: PID, method: Any, *args: Any) -> Timer:
            timer = make(seconds, pid, method, *args)
            if timer._call is not None:
                timer._call = SeenCall(timer._call, pid, method, observer.timer_over)
            return timer

        return started

    context.delay = seeing(context.delay)
    context.every = seeing(context.every)


def _see_handling(runtime: Any, observer: Observer) -> None:
    bind = runtime.bind
    loop = observer.loop

    def bound(process: Process, name: str) -> Call | None:
        call = bind(process, name)
        return None if call is None else seen(call, process.pid, name)

    def seen(call: Call, to: PID, name: str) -> Call:
        def later(sender: PID, body: bytes) -> Any:
            observer.handled(SimulatedMessage(loop.now, sender, to, name, body))
            return call(sender, body)

        def handle(sender: PID, body: bytes) -> Any:
            def again() -> None:
                mailbox = runtime.registry.live.get(to.id)
                if mailbox is not None:
                    mailbox.put_message(later, sender, body)

            message = SimulatedMessage(loop.now, sender, to, name, body)
            return call(sender, body) if observer.comes(message, again) else None

        if hasattr(call, "answers"):
            handle.answers = later.answers = True  # type: ignore[attr-defined]
        return handle

    runtime.bind = bound


def _see_exits(runtime: Any, observer: Observer) -> None:
    watches, registry, loop = runtime.watches, runtime.registry, observer.loop
    tell_linkers = watches._tell_linkers

    def told(pid: PID, linkers: Any, reason: Reason, detail: str = "") -> None:
        for linker in linkers:
            mailbox = registry.live.get(linker) if isinstance(linker, str) else None
            if mailbox is not None:
                observer.exits_told(SimulatedExit(loop.now, mailbox.pid, pid, reason))
        tell_linkers(pid, linkers, reason, detail)

    watches._tell_linkers = told
