"""``isolated``: one process without a context, driven and looked at by a test.

Everything happens within the calls of the test, on its thread: nothing runs in between, and no time
goes by but by ``advance``.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from threading import get_ident
from typing import Any, Generic, TypeVar, cast

from compactor.actor.bound import Bound
from compactor.actor.pending import Promised, type_and_text
from compactor.actor.protobuf import DoesNotParse
from compactor.actor.supervision import Policy
from compactor.errors import ProcessError, ProcessTerminated, Reason, RemoteError
from compactor.metrics.dead_letters import DeadLetter
from compactor.pid import NOBODY, PID
from compactor.process import Process
from compactor.runtime.asking import checked_timeout
from compactor.settings import Settings
from compactor.testing.isolated_context import HERE, IsolatedContext
from compactor.testing.isolated_records import AskedOther, Done, Outcome, Sent, StartedTimer
from compactor.wire.encoder import Body

P = TypeVar("P", bound=Process)

_ELSEWHERE = "127.0.0.1", 2  # where those live that are given by a name alone


class _Answer(Promised):
    """The answer for a test, which is told of the error itself, too."""

    def raised(self, error: BaseException) -> bool:
        told = RemoteError(*type_and_text(error))
        told.__cause__ = error
        self.fail(told)
        return not isinstance(error, DoesNotParse)


class Isolated(Generic[P]):
    """A process alone, as ``isolated`` makes it.

    What a handler raises is raised by the call of the test in which that happens; if there are
    several errors, the first, and all are logged.  Whatever a call returns may be awaited, so that
    tests can be coroutines, and need not be.

    Others are given by their pid, or by a name alone: that of somebody at another address.

    Attributes:
        pid: that of the process.
        sent: the messages that it has sent, or passed on, in order; a list that may be cleared.
            Those to itself and to its children arrive there as well.
        asked: what it has asked others; each has ``answer(value)`` and ``fail(error)``.
        dead_letters: the messages that it did not take, or that could not be sent.
    """

    pid: PID
    sent: list[Sent]
    asked: list[AskedOther]
    dead_letters: list[DeadLetter]

    def __init__(
        self,
        process: P | Callable[[], P],
        on_failure: Policy | None,
        mailbox: Bound | None,
        settings: Settings | None,
    ) -> None:
        self._thread = get_ident()
        self._outcomes: list[Any] = []
        self._context = context = IsolatedContext(settings)
        self._runtime = context.runtime
        self._runtime.step = self._step
        self.sent, self.asked = self._runtime.sent, self._runtime.asked
        self.dead_letters = []
        context.on_dead_letter(self.dead_letters.append)
        self.pid = context.spawn(process, on_failure, mailbox)
        self._process = self._mailbox().process
        self.settle()

    @property
    def process(self) -> P:
        """The process; the new one, if a policy has made it anew."""
        mailbox = self._runtime.registry.mailbox_of(self.pid)
        if mailbox is not None:
            self._process = mailbox.process
        return cast(P, self._process)

    @property
    def is_alive(self) -> bool:
        """Whether it has not ended."""
        return self._runtime.registry.mailbox_of(self.pid) is not None

    @property
    def is_waiting(self) -> bool:
        """Whether an ``async`` handler of it is under way, so that what else arrives waits."""
        return self._context.is_suspended(self.pid)

    @property
    def time(self) -> float:
        """Seconds since it was made, as far as ``advance`` has gone."""
        return self._context.loop.time()

    @property
    def links(self) -> frozenset[PID]:
        """The pids that it is linked to."""
        return frozenset(self._runtime.watches.links.linked.get(self.pid.id, ()))

    @property
    def timers(self) -> list[StartedTimer]:
        """The calls that are still to come of ``delay`` and ``every``, the next one first."""
        mine = [each for each in self._context.timers if each.pid == self.pid and each.is_pending]
        return sorted(mine, key=lambda each: each.when)

    def elsewhere(self, name: str) -> PID:
        """The pid of somebody at another address, as names stand for it."""
        return PID(*_ELSEWHERE, name)

    # What a test does to it

    def deliver(self, name: Any, body: Body | None = None, *, sender: PID | str = NOBODY) -> Done:
        """Have a message arrive, and be handled as far as that goes now.

        Args:
            name: of the message; or a message of a type, without a body.
            body: the content, or None for none.
            sender: who has sent it; default nobody.

        Raises:
            ProcessTerminated: the process has ended.
            ValueError: it has no handler for messages of that name.
            TypeError: the name, body, message or sender cannot be.
            Exception: whatever a handler has raised.
        """
        wire_name, content = self._context.message(name, body)
        self._check_handled(wire_name)
        from_pid = self._pid(sender)
        return self._step(lambda: self._runtime.deliver(from_pid, self.pid, wire_name, content))

    def ask(
        self,
        name: Any,
        body: Body | None = None,
        *,
        sender: PID | str | None = None,
        reply: Any = None,
        timeout: float | None = None,
    ) -> Outcome[Any]:
        """Ask, as others do by ``Process.ask``.

        Args:
            name, body: as for ``deliver``.
            sender: who asks; default somebody who is no process.
            reply: the type of the answer, where the type of the message does not say it.
            timeout: seconds of ``advance``; default the setting ``ask_timeout``.

        Returns:
            What has the answer.  If the handler has raised, that is a ``RemoteError``, whose
            ``__cause__`` is what was raised.

        Raises:
            ProcessTerminated, ValueError, TypeError: as ``deliver``.
        """
        context = self._context
        wire_name, content = context.message(name, body)
        self._check_handled(wire_name)
        seconds = context.settings.ask_timeout if timeout is None else checked_timeout(timeout)
        asker = None if sender is None else self._pid(sender)
        promised = _Answer(
            self.pid,
            wire_name,
            asker,
            context.decoder(name, reply),
            context.portal,
            self._runtime.asks.give_up,
        )
        self._outcomes.append(promised)
        self._step(lambda: self._runtime.asks.ask_unless_done(promised, content, seconds))
        return Outcome(promised, f"ask {wire_name!r}")

    def dispatch(self, method: str | Callable[..., Any], *args: Any) -> Outcome[Any]:
        """Call a method of the process as an event, as ``Context.dispatch`` does.

        Returns:
            What has the result, or raises what the method has raised.

        Raises:
            ProcessTerminated: the process has ended.
            InvalidMethod: it has no such method.
        """
        self._check_alive()
        future: Any = self._context.dispatch(self.pid, method, *args)
        self._outcomes.append(future)
        self._step(lambda: None)
        return Outcome(future, f"dispatch {getattr(method, '__name__', method)!r}")

    def exited(self, pid: PID | str, reason: Reason = Reason.TERMINATED, detail: str = "") -> Done:
        """Have somebody end that the process is linked to, or has asked.

        Args:
            pid: who.
            reason, detail: what ``exited`` of the process is told.

        Raises:
            ProcessTerminated: the process has ended.
            ValueError: it is not linked to that pid, and waits for no answer; or there is no such
                reason.
            Exception: whatever a handler has raised.
        """
        self._check_alive()
        who, why = self._pid(pid), Reason(reason)
        watches = self._runtime.watches
        if who.address == HERE:
            raise ValueError(f"{who} is here: it is told of its end when it ends")
        if not watches.links.watchers(who):
            linked = ", ".join(sorted(str(each) for each in self.links)) or "nobody"
            raise ValueError(
                f"{self.pid} would hear nothing of the end of {who}: it is linked to {linked}"
            )
        return self._step(lambda: watches.exited(who.address, who.id, why, detail))

    def terminate(self, inject: bool = True) -> Done:
        """End the process; nothing happens if it has ended.

        Args:
            inject: as for ``Process.terminate``.
        """
        return self._step(lambda: self._context.terminate(self.pid, inject))

    def advance(self, seconds: float) -> Done:
        """Let time go by: timers end, one by one, each at its time; so do sleeps and timeouts.

        Raises:
            ValueError: ``seconds`` is negative, or not finite.
            TypeError: it is no number.
            Exception: whatever a handler has raised; all that time has gone by nevertheless.
        """
        if isinstance(seconds, bool) or not isinstance(seconds, (int, float)):
            raise TypeError(f"time advances by a number of seconds, got {seconds!r}")
        if not 0 <= seconds < math.inf:
            raise ValueError(f"time advances by a finite number of seconds, got {seconds!r}")
        return self._step(lambda: self._context.loop.advance(seconds))

    def settle(self) -> Done:
        """Have it do what there is to do now, after something that it waits for was set, as an
        ``asyncio.Event``.

        Raises:
            Exception: whatever a handler has raised.
        """
        return self._step(lambda: None)

    # How

    def _step(self, do: Callable[[], object]) -> Done:
        """Do something, and whatever comes of it."""
        if get_ident() != self._thread:
            raise ProcessError(f"{self!r} is driven by the thread that has made it, and no other")
        self._context.loop.check_idle()
        do()
        self._context.loop.settle()
        failures = list(self._runtime.failures)
        self._runtime.failures.clear()
        ended = [outcome for outcome in self._outcomes if outcome.done()]
        self._outcomes = [outcome for outcome in self._outcomes if not outcome.done()]
        known = [outcome.exception(0) for outcome in ended if not outcome.cancelled()]
        for error in failures:
            if not any(error is each for each in known):
                raise error
        return Done()

    def _mailbox(self) -> Any:
        return self._runtime.registry.mailbox_of(self.pid)

    def _check_alive(self) -> None:
        if not self.is_alive:
            raise ProcessTerminated(f"{self!r} has ended: nothing reaches it any more")

    def _check_handled(self, name: str) -> None:
        self._check_alive()
        process = self.process
        if (
            name not in process.message_names
            and process.__delegate_of__(name) is None
            and type(process).handle_message is Process.handle_message
        ):
            names = ", ".join(sorted(process.message_names)) or "no message at all"
            raise ValueError(f"{process!r} has no handler for {name!r}; it handles {names}")

    def _pid(self, who: PID | str) -> PID:
        if isinstance(who, PID):
            return who
        if not isinstance(who, str):
            raise TypeError(f"others are given by a PID or a name, got {who!r}")
        return PID.from_string(who) if "@" in who else self.elsewhere(who)

    def __repr__(self) -> str:
        return f"<isolated {type(self._process).__name__} {self.pid.id}>"


def isolated(
    process: P | Callable[[], P],
    *,
    on_failure: Policy | None = None,
    mailbox: Bound | None = None,
    settings: Settings | None = None,
) -> Isolated[P]:
    """Run a process alone: without a port, sockets and threads, on a time of its own.

    Its mailbox, handlers, timers, links, asks and supervision are the real ones.

    Args:
        process, on_failure, mailbox: as for ``Context.spawn``.
        settings: as for ``Context``.

    Raises:
        InvalidProcess: the process lives already.
        TypeError: it is neither a ``Process`` nor a callable that makes one.
        Exception: whatever ``initialize`` has raised.
    """
    return Isolated(process, on_failure, mailbox, settings)
