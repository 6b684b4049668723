"""``Happenings``: what has happened in a world, what is awaited, and what must hold."""

from __future__ import annotations

import asyncio
import contextlib
import math
from collections.abc import Callable, Iterator
from typing import Any

from compactor.metrics.dead_letters import DeadLetter
from compactor.pid import PID
from compactor.testing.simulated.errors import SimulationError
from compactor.testing.simulated.filters import Filter, Pattern, pid_of
from compactor.testing.simulated.observing import Observer, SimulatedExit, SimulatedMessage
from compactor.testing.simulated.virtual_loop import VirtualLoop
from compactor.testing.trace import DELIVER, DROP, EXIT, FAULT, LINK, SEND, TIMER, Trace

PATIENCE = 60.0
"""Virtual seconds that are waited for a message or an exit, unless told otherwise."""

_MOST_TEXTS = 10_000  # of pids, that are remembered
_SHOWN = 12  # messages that an error names


class Happenings(Observer):
    """What has happened on one loop.

    Args:
        loop: has all contexts.
        trace: is told.

    Attributes:
        messages: those that handlers were given; where a trace remembers the last ones only, no
            fewer than those.
        dead_letters: the messages that were not handled.
        exits: those that processes were told of.
    """

    def __init__(self, loop: VirtualLoop, trace: Trace) -> None:
        self.loop = loop
        self.trace = trace
        self.messages: list[SimulatedMessage] = []
        self._handled = 0  # messages
        self._most = 2 * trace.keep if trace.keep is not None else math.inf
        self.dead_letters: list[DeadLetter] = []
        self.exits: list[SimulatedExit] = []
        self._filters: list[Filter] = []
        self._waiting: list[tuple[Any, asyncio.Future[Any]]] = []
        self._checks: list[Callable[[], object]] = []
        self._expected: list[list[BaseException]] = []
        self._texts: dict[PID, str] = {}

    @property
    def time(self) -> float:
        """Seconds since the world began."""
        return self.loop.now

    # What has happened, and what is awaited

    async def message(
        self,
        name: str | None = None,
        to: Any = None,
        sender: Any = None,
        body: bytes | Callable[[bytes], bool] | None = None,
        timeout: float = PATIENCE,
    ) -> SimulatedMessage:
        """Wait for the next message that a handler is given.

        Args:
            name: of the message; None for any, as with all of these.
            to: whom it is for, a pid or a process.
            sender: whom it is from.
            body: its content; or a function that is given it, and returns whether it fits.
            timeout: virtual seconds.

        Raises:
            SimulationError: none has come; the text says what has.
        """
        pattern = Pattern(name, to, sender, body)
        before = self._handled
        message = await self._wait(pattern, timeout)
        if message is None:
            count = self._handled - before
            seen = self.messages[-count:] if count else []
            raise SimulationError(
                f"no {pattern} was handled within {timeout} s; "
                + _told([f"{m.name!r} to {m.to} from {m.sender}" for m in seen], "message")
            )
        found: SimulatedMessage = message
        return found

    async def exit(
        self, pid: Any = None, linker: Any = None, timeout: float = PATIENCE
    ) -> SimulatedExit:
        """Wait until the next process is told of an exit.

        Args:
            pid: what has ended.
            linker: who is told.
            timeout: virtual seconds.

        Raises:
            SimulationError: nobody was told; the text says who was of what.
        """
        pid, linker = pid_of(pid, "pid"), pid_of(linker, "linker")
        before = len(self.exits)
        found = await self._wait((pid, linker), timeout)
        if found is None:
            seen = [f"{e.pid} to {e.linker}: {e.reason}" for e in self.exits[before:]]
            raise SimulationError(
                f"no exit of {pid or 'any process'} was told to {linker or 'anybody'} within "
                f"{timeout} s; " + _told(seen, "exit")
            )
        exit_: SimulatedExit = found
        return exit_

    async def _wait(self, what: Any, timeout: float) -> Any:
        self.loop.check_open()
        entry = what, self.loop.create_future()
        self._waiting.append(entry)
        try:
            done, _ = await asyncio.wait([entry[1]], timeout=timeout)
            return entry[1].result() if done else None
        finally:
            if entry in self._waiting:
                self._waiting.remove(entry)

    def _awaited(self, found: Any, fits: Callable[[Any], bool]) -> None:
        for entry in list(self._waiting):
            if fits(entry[0]) and not entry[1].done():
                self._waiting.remove(entry)
                entry[1].set_result(found)

    def drop(self, name: str | None = None, *, times: int | None = None, **which: Any) -> Filter:
        """Drop messages on their way to handlers, as if they had been lost.

        Args:
            name: of the messages; None for all.
            which: ``to``, ``sender`` and ``body``, as for ``message``.
            times: how many; None for all.

        Returns:
            The filter; ``cancel`` ends it, and so does the end of a ``with`` block.
        """
        return self._filter(Filter(Pattern(name, **which), None, times))

    def delay(
        self, seconds: float, name: str | None = None, *, times: int | None = None, **which: Any
    ) -> Filter:
        """Hand messages to their handlers so many seconds later; others overtake them.

        Args:
            seconds: how much later.
            name: of the messages; None for all.
            times: how many; None for all.
            which: ``to``, ``sender`` and ``body``, as for ``message``.
        """
        if not seconds > 0:
            raise ValueError(f"a delay takes time: seconds must be positive, got {seconds!r}")
        return self._filter(Filter(Pattern(name, **which), seconds, times))

    def duplicate_connection(
        self, name: str | None = None, *, times: int | None = None, **which: Any
    ) -> Filter:
        """Have messages come once more, as when somebody on the way, or the sender, cannot know
        whether what was written on one connection has arrived, and writes it on another.

        What has not left its context is not concerned: TCP has nothing to do with it.

        Args:
            name: of the messages; None for all.
            times: how many; None for all.
            which: ``to``, ``sender`` and ``body``, as for ``message``.
        """
        return self._filter(Filter(Pattern(name, **which), None, times, repeats=True))

    def _filter(self, new: Filter) -> Filter:
        self.loop.check_open()
        self._filters.append(new)
        return new

    # What must hold

    def always(self, check: Callable[[], object]) -> None:
        """Have a check made after every event: it fails if it raises, or returns False."""
        self.loop.check_open()
        self._checks.append(check)
        self.loop.after_turn = self._check

    def _check(self) -> None:
        for check in self._checks:
            if check() is False:
                name = getattr(check, "__name__", repr(check))
                raise AssertionError(f"{name} does not hold any more at {self.time:.6f} s")

    @contextlib.contextmanager
    def expect_failure(self) -> Iterator[list[BaseException]]:
        """Let handlers raise within a ``with`` block, which is given what they raise.

        Raises:
            AssertionError: none has raised.
        """
        failures: list[BaseException] = []
        self._expected.append(failures)
        try:
            yield failures
        finally:
            self._expected.remove(failures)
        if not failures:
            raise AssertionError("no handler has raised, which was expected")

    # Of observers

    def sent(self, sender: PID, to: PID, name: str) -> None:
        self._add(self.loop.turns.name, SEND, sender, to, name)

    def comes(self, message: SimulatedMessage, again: Callable[[], object]) -> bool:
        self.loop.done += 1
        for each in self._filters:
            if each.repeats:
                self._repeat(each, message, again)
            elif each.catches(message):
                how = "dropped" if each.delay is None else f"delayed by {each.delay} s"
                self._add_message(DROP, message, how)
                if each.delay is not None:
                    self.loop.call_later(each.delay, again)
                return False
        self.handled(message)
        return True

    def _repeat(
        self, filter_: Filter, message: SimulatedMessage, again: Callable[[], object]
    ) -> None:
        seconds = self._way_seconds(message.sender, message.to)
        if seconds is not None and filter_.catches(message):
            self._add_message(LINK, message, "on a second connection, too")
            self.loop.call_later(seconds, again)

    def _way_seconds(self, sender: PID, to: PID) -> float | None:
        """How long what is sent now is on its way; None if it is on none."""
        return None

    def handled(self, message: SimulatedMessage) -> None:
        self.messages.append(message)
        self._handled += 1
        if len(self.messages) > self._most:
            del self.messages[: -self.trace.keep]  # type: ignore[operator]
        self._add_message(DELIVER, message, f"{len(message.body)} bytes")
        if self._waiting:
            self._awaited(message, lambda what: isinstance(what, Pattern) and what.fits(message))

    def timer_over(self, pid: PID, name: str) -> None:
        self._add(self.loop.turns.name, TIMER, "", pid, name)

    def exits_told(self, told: SimulatedExit) -> None:
        self.exits.append(told)
        self._add(self.loop.turns.name, EXIT, told.pid, told.linker, "", str(told.reason))
        if self._waiting:
            self._awaited(told, lambda what: isinstance(what, tuple) and _fits(what, told))

    def dead(self, letter: DeadLetter) -> None:
        self.dead_letters.append(letter)
        self._add(
            self.loop.turns.name,
            DROP,
            letter.sender,
            letter.to,
            letter.name or "",
            str(letter.reason),
        )

    def failed(self, pid: PID, error: BaseException) -> None:
        if self._expected and not isinstance(error, AssertionError):
            self._expected[-1].append(error)
        elif self.loop.failure is None:
            self.loop.failure = error
        self._add(self.loop.turns.name, FAULT, pid, "", "failure", repr(error))

    def _add_message(self, kind: str, message: SimulatedMessage, detail: str) -> None:
        self._add(self.loop.turns.name, kind, message.sender, message.to, message.name, detail)

    def _add(
        self, host: str, kind: str, sender: Any, to: Any, name: str = "", detail: str = ""
    ) -> None:
        """Have the trace remember an event."""
        if type(sender) is not str:
            sender = self._texts.get(sender) or self._text(sender)
        if type(to) is not str:
            to = self._texts.get(to) or self._text(to)
        self.trace.note((self.loop.now, host, kind, sender, to, name, detail))

    def _text(self, pid: PID | None) -> str:
        text = "" if pid is None else str(pid)
        if type(pid) is PID:  # no temporary one, of which there are many
            if len(self._texts) >= _MOST_TEXTS:
                self._texts.clear()
            self._texts[pid] = text
        return text


def _fits(what: tuple[PID | None, PID | None], told: SimulatedExit) -> bool:
    pid, linker = what
    return (pid is None or pid == told.pid) and (linker is None or linker == told.linker)


def _told(seen: list[str], kind: str) -> str:
    """What has happened instead, in words."""
    if not seen:
        return f"nor was any other {kind}"
    more = f", and {len(seen) - _SHOWN} more" if len(seen) > _SHOWN else ""
    return f"what did come: {', '.join(seen[:_SHOWN])}{more}"
