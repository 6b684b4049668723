"""``Life``: the states of a context, and what its callers ask about them.

A context goes forward only, past those states that it has no need of.  Any thread leads it on, and
so does a signal handler that interrupts another step.  So there is no lock: to reach a state is to
add it to a dict, which nothing can interrupt, and none is ever removed.  What callers ask becomes
true with a state, and stays true.  Who begins is decided by a dict as well, and only once.
"""

from __future__ import annotations

import concurrent.futures
import contextlib
import enum
import threading


class State(enum.IntEnum):
    """How far a context has come."""

    NEW = 0  # it has a port, and nobody runs its loop
    STARTED = 1  # somebody runs it, or is about to
    STOPPING = 2  # ``stop`` was called; what was asked for before is still done, and drained
    ENDING = 3  # the loop ends the processes, and lets what was sent leave
    CLOSED = 4  # without port and sockets; what else is left on the loop may still end
    STOPPED = 5
    COPY = 6  # as STOPPED, in the child of a fork, where nobody runs the loop


NEW, STARTED, STOPPING, ENDING, CLOSED, STOPPED, COPY = State

NEXT: dict[State, tuple[State, ...]] = {
    NEW: (STARTED, STOPPING),
    STARTED: (STOPPING, ENDING),  # ENDING if it fails, or its task is cancelled
    STOPPING: (ENDING, STOPPED),  # STOPPED if it was never started
    ENDING: (CLOSED,),
    CLOSED: (STOPPED,),
    STOPPED: (COPY,),
    COPY: (),
}
"""What may follow each state.  ``stop`` may still be called later on, and changes nothing then."""

ANSWERS = {
    STARTED: "is_started",
    STOPPING: "is_stopping",
    ENDING: "is_ending",
    CLOSED: "is_stopping",
    COPY: "is_copy",
}
"""What is true from a state on."""

_NEVER: list[int] = []  # decides that a loop never runs


class Life:
    """How far one context has come.

    Attributes:
        is_started: whether the loop runs, is about to, or has run.
        is_stopping: whether other threads may ask for nothing more.
        is_ending: whether the loop does nothing any more but to end.
        is_copy: whether the program that it was started in has forked this one.
        failure: why it could not start.
        stopped: is done from ``STOPPED`` on; threads wait for it, and coroutines without a thread.
    """

    def __init__(self) -> None:
        self._reached: dict[State, None] = {NEW: None}
        self._beginning: dict[str, list[int]] = {}
        self.is_started = self.is_stopping = self.is_ending = self.is_copy = False
        self.failure: BaseException | None = None
        self.stopped = _new_end()

    def __repr__(self) -> str:
        return f"<Life: {', '.join(state.name for state in sorted(self._reached))}>"

    @property
    def state(self) -> State:
        """The furthest state that was reached."""
        return max(self._reached)

    # What leads on

    def begin(self, by: list[int]) -> bool:
        """Whether ``by`` is what decides, once for all, that the loop will run.

        Args:
            by: the ident of the thread that must go on for it; empty from then on.
        """
        is_first = self._beginning.setdefault("by", by) is by
        if is_first:
            self.reach(STARTED)
        return is_first

    def never_begin(self) -> bool:
        """Whether it is decided, by this call or one before, that the loop never runs."""
        return self._beginning.setdefault("by", _NEVER) is _NEVER

    def reach(self, state: State) -> None:
        """Go on to a state; nothing happens if it was reached before."""
        self._reached.setdefault(state)
        if state in ANSWERS:
            setattr(self, ANSWERS[state], True)
        if state is STOPPED:
            _set(self.stopped)

    def become_copy(self) -> None:
        """This is another program now, in which nobody runs the loop: it has stopped."""
        self.stopped = _new_end()  # a thread of the other may have held the lock of the old one
        for state in (ENDING, CLOSED, STOPPED, COPY):
            self.reach(state)

    # What is asked

    @property
    def is_new(self) -> bool:
        """Whether nobody has started or stopped it."""
        return len(self._reached) == 1

    @property
    def is_starting_here(self) -> bool:
        """Whether this thread must go on for the loop to run: a signal handler interrupts it."""
        return threading.get_ident() in self._beginning.get("by", _NEVER)

    @property
    def is_alive(self) -> bool:
        """Whether it was started, and has not stopped."""
        return self.is_started and not self.stopped.done()


def _new_end() -> concurrent.futures.Future[None]:
    end: concurrent.futures.Future[None] = concurrent.futures.Future()
    end.set_running_or_notify_cancel()  # who gives up waiting does not cancel it for others
    return end


def _set(end: concurrent.futures.Future[None]) -> None:
    with contextlib.suppress(concurrent.futures.InvalidStateError):  # it is set already
        end.set_result(None)
