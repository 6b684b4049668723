"""``IsolatedContext``: a context without a port, whose messages to others are written down.

Mailboxes, handlers, timers, links, supervision and asks are those of every context.  What would
leave for another address ends here instead.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from compactor.actor.answer_forms import AnswerForm
from compactor.actor.entries import Entry
from compactor.actor.mailbox import SUSPENDED, Mailbox
from compactor.actor.timers import Timer
from compactor.context import Context
from compactor.metrics.dead_letters import DeadLetter
from compactor.outbound.ask_ways import AskWays
from compactor.pid import PID, Address, temporary_at
from compactor.runtime.answers import Answers
from compactor.runtime.runtime import Runtime
from compactor.settings import Settings
from compactor.testing.isolated_records import AskedOther, Sent, StartedTimer
from compactor.testing.stepped_loop import SteppedLoop
from compactor.wire.encoder import Body

HERE = "127.0.0.1", 1
"""The address of every isolated process; nobody listens there."""


class _NoSocket:
    """The socket of a context that has no port."""

    def close(self) -> None:
        pass


class _Elsewhere:
    """The peer at any other address: it takes everything, and tells nothing."""

    is_connected = is_idle = True
    is_told = False

    @property
    def links(self) -> _Elsewhere:
        return self

    def link(self, id_: str) -> None:
        pass

    def disconnect(self) -> None:
        pass


class _Ways(AskWays):
    """Has asks of others written down."""

    _owner: Any

    def ask(
        self, asker: PID | None, number: int, to: PID, name: str, body: bytes
    ) -> Mailbox | None:
        sender = temporary_at(self._here, number, asker)
        if to.address == self._here.address:
            self._owner.deliver(sender, to, name, body)
            return self._live.get(to.id)
        self._owner.note_ask(sender, to, name, body)
        return None


class IsolatedRuntime(Runtime):
    """Writes down what its processes send, and what goes wrong in them.

    Attributes:
        sent, asked: what left for others, in order.
        failures: what handlers have raised, and nobody has asked for.
        asking: how the answer is written to what is being asked.
    """

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self.sent: list[Sent] = []
        self.asked: list[AskedOther] = []
        self.failures: list[BaseException] = []
        self.asking: AnswerForm | None = None
        self.types: Any = None  # of the context
        self.step: Any = None  # drives the loop

    def _init_asks(self, address: Address) -> None:
        live, most = self.registry.live, self.settings.max_mailbox_events
        ways = _Ways(PID(*address, ""), self, self.observers.is_told, live, most)
        told = self.observers.refused, self._tell_given_up
        self.asks = self.backend.Asks(address, self.run_queue, self.watches, ways, *told)
        self.metrics.hooks.append(self.asks.not_delivered)
        self.answers = Answers(self, ways)

    def forward(self, sender: PID, to: PID, name: str, body: bytes, outbox: object = None) -> None:
        self.sent.append(Sent(to, str(name), body, sender, self.types))
        if self.registry.is_local(to):
            self.send_locally(sender, to, str(name), body)
        elif (reason := self.undialable(to)) is not None:
            self.metrics.dead_letter(DeadLetter(reason, to, sender, str(name), len(body)))

    def note_ask(self, sender: PID, to: PID, name: str, body: bytes) -> None:
        """A process asks somebody at another address."""
        how = self.asks, self.asking, self.step
        self.asked.append(AskedOther(to, str(name), body, sender, self.types, *how))

    def peer(self, address: Address) -> Any:
        return _Elsewhere()

    def deliver(self, sender: PID, to: PID, name: str, body: bytes) -> None:
        """A message from elsewhere has come."""
        self.send_locally(sender, to, str(name), body)  # without what is written beside it

    def _is_told(self, mailbox: Any, entry: Entry, error: BaseException) -> bool:
        is_told = super()._is_told(mailbox, entry, error)
        if not is_told:
            self.failures.append(error)
        return is_told


class _Asker:
    """The way of a process to ask: there is no short one."""

    def __init__(self, context: IsolatedContext, pid: PID) -> None:
        self._context = context
        self._pid = pid

    def ask(self, *args: Any) -> Any:
        return self._context._ask_from(self._pid, *args)


class IsolatedContext(Context):
    """A context without a port, on a loop that is driven step by step.

    Args:
        settings: as for ``Context``.
    """

    _new_runtime = IsolatedRuntime
    _runtime: IsolatedRuntime

    def __init__(self, settings: Settings | None) -> None:
        self.loop = SteppedLoop()
        self.timers: list[StartedTimer] = []
        super().__init__(loop=self.loop, settings=settings, tls=False)
        self._runtime.types = self._types
        self._life.begin([])
        self._runtime.run_queue.attach(self.loop)
        self._portal.attach(self.loop)
        self.loop.settle()

    def _listen(self, is_secure: bool) -> tuple[Any, Address]:
        return _NoSocket(), HERE

    @property
    def portal(self) -> Any:
        """The way to its loop."""
        return self._portal

    def message(self, name: Any, body: Any) -> tuple[str, bytes]:
        """The name and the bytes of what is sent: a name and a body, or a message of a type."""
        return self._types.message(name, body)

    def decoder(self, name: Any, reply: Any) -> Callable[[str, bytes], Any] | None:
        """What reads the answer to a message; None if that is bytes."""
        form = self._types.answers(name if isinstance(name, str) else type(name), reply)
        return None if form is None else form.decode

    def is_suspended(self, pid: PID) -> bool:
        """Whether a process is in the middle of an ``async`` handler."""
        mailbox = self._registry.mailbox_of(pid)
        return mailbox is not None and mailbox.state == SUSPENDED

    @property
    def runtime(self) -> IsolatedRuntime:
        """What writes everything down."""
        return self._runtime

    def _send(self, mailbox: Any, to: PID, name: str, body: bytes) -> None:
        self._runtime.forward(mailbox.pid, to, name, body)

    def _new_asker(self, pid: PID) -> Any:
        return _Asker(self, pid)

    def _ask_from(
        self,
        asker: PID | None,
        to: PID,
        name: Any,
        body: Body | None,
        timeout: float | None,
        reply: Any = None,
    ) -> Any:
        runtime = self._runtime
        kind = name if isinstance(name, str) else type(name)
        runtime.asking = self._types.answers(kind, reply)
        try:
            return super()._ask_from(asker, to, name, body, timeout, reply)
        finally:
            runtime.asking = None

    def delay(self, amount: float, pid: PID, method: str | Callable[..., Any], *args: Any) -> Timer:
        timer = super().delay(amount, pid, method, *args)
        self._note(StartedTimer(timer, pid, method, args, None))
        return timer

    def every(
        self, seconds: float, pid: PID, method: str | Callable[..., Any], *args: Any
    ) -> Timer:
        timer = super().every(seconds, pid, method, *args)
        self._note(StartedTimer(timer, pid, method, args, float(seconds)))
        return timer

    def _note(self, timer: StartedTimer) -> None:
        self.timers = [each for each in self.timers if each.is_pending]
        self.timers.append(timer)

    def stop(self, drain: float | None = None) -> None:
        """End all processes; there is nothing else to stop."""
        super().stop(drain)
        self.loop.call_soon(self._end)

    def _end(self) -> None:
        for mailbox in list(self._registry.live.values()):
            mailbox.terminate(inject=True)
