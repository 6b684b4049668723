"""``Asks``: what the processes of one context have asked and were not answered yet.

An ask is a message from a sender of its own, ``__req_res__(N)``, as libprocess sends it, and any
message to that pid answers it.  So C++ actors and 0.3.0 answer without knowing what an ask is.  N
cannot be guessed, so nobody else answers.  An ask that can get no answer fails as soon as that is
known: by a dead letter from its sender, by the end of whom was asked, or by the end of its time.
"""

from __future__ import annotations

import asyncio
import math
import struct
from collections.abc import Callable
from heapq import heapify, heappop, heappush
from typing import Any

from compactor.actor.asks_owner import Watching, Ways
from compactor.actor.inquiries import Inquiries
from compactor.actor.pending import FAILED, TOLD, Pending, told_failure
from compactor.actor.run_queue import RunQueue
from compactor.errors import AskTimeout, Reason
from compactor.metrics.dead_letters import DeadLetter
from compactor.pid import NOBODY, PID, TEMPORARY, Address, Temporary, number_in
from compactor.system.system import system

from .asked import Asked

_RANDOM = struct.Struct("=512Q")  # numbers that are made at a time
_MAX_LEFT = 1024  # addresses that have said that they stop
_MAX_TARGETS = 1024  # that are watched without being waited for
_FEW = 64  # entries of the heap that nobody waits for, and that it is not made anew for
_BATCH = 256  # asks that end at a time because they are late

GIVEN_UP = "compactor.ask.given_up"
"""The name of a message of a temporary sender: whom it has asked need not answer any more."""


class Target:
    """A process that was asked: it is watched for all asks at once.

    Attributes:
        waiting: the asks that it has not answered, by number.
    """

    __slots__ = ("_asks", "pid", "waiting")

    def __init__(self, pid: PID, asks: Asks) -> None:
        self.pid = pid
        self.waiting: dict[int, Pending] = {}
        self._asks = asks

    def exited(self, pid: PID, reason: Reason) -> None:
        """It has ended."""
        self._asks.target_ended(self, reason)


class Asks:
    """The asks of one context.

    Args:
        here: the advertised (ip, port).
        run_queue: the turns of the loop.
        watches: tells of the ends of those who were asked.
        ways: on which asks and answers leave.
        refuse: tells the address of a sender that a message of a name to an id is not handled.
        tell_given_up: tells whom a temporary sender has asked that it waits no more.

    Attributes:
        inquiries: what is asked here, and handled.
        leaving: the addresses that are about to stop, and take no more asks.
        left: those that have stopped after they had said so, and where nobody was met since.
        answers, failures, timeouts, unanswered: asks that ended with an answer, with the failure of
            the handler, for they took too long, and for there will be no answer.
    """

    __slots__ = (
        "_due",
        "_here",
        "_last",
        "_numbers",
        "_refuse",
        "_run_queue",
        "_targets",
        "_tell_given_up",
        "_time",
        "_timer",
        "_waiting",
        "_wakes_at",
        "_watches",
        "_ways",
        "answers",
        "failures",
        "inquiries",
        "leaving",
        "left",
        "timeouts",
        "unanswered",
    )

    def __init__(
        self,
        here: Address,
        run_queue: RunQueue,
        watches: Watching,
        ways: Ways,
        refuse: Callable[[PID, str, str, Reason], None],
        tell_given_up: Callable[[PID, PID], None],
    ) -> None:
        self.inquiries = Inquiries()
        self.leaving: set[Address] = set()
        self.left: set[Address] = set()
        self.answers = self.failures = self.timeouts = self.unanswered = 0
        self._here = here
        self._run_queue = run_queue
        self._watches = watches
        self._ways = ways
        self._refuse = refuse
        self._tell_given_up = tell_given_up
        self._waiting: dict[int, Target] = {}
        self._targets: dict[tuple[str, str, int], Target] = {}
        self._last: Target | None = None  # of those, who was asked last
        self._numbers: list[int] = []
        self._due: list[tuple[float, int, float]] = []  # a heap: when, number, after how long
        self._time: Callable[[], float] | None = None  # of the loop, once it runs
        self._timer: asyncio.TimerHandle | None = None
        self._wakes_at = math.inf

    @property
    def waiting(self) -> int:
        """How many asks wait for an answer."""
        return len(self._waiting)

    def is_waiting(self, number: int) -> bool:
        """Whether the ask of that number waits for an answer."""
        return number in self._waiting

    def ask_unless_done(self, asked: Pending, body: bytes, timeout: float) -> None:
        """``ask``, of another thread, which may have cancelled it meanwhile."""
        if not asked.done():
            self.ask(asked, asked.asker, asked.to, asked.name, body, timeout)

    def ask(
        self,
        asked: Pending,
        asker: PID | None,
        to: PID,
        name: str,
        body: bytes,
        timeout: float,
    ) -> None:
        """Send the message of an ask, on the loop's thread.

        Who answers it is watched on afterwards, as those who are asked once mostly are again.

        Args:
            asked: what waits for the answer; ``asker``, ``to`` and ``name`` are its own.
            timeout: seconds.
        """
        target = self._last
        is_new = False
        if target is None or target.pid is not to:
            target = self._targets.get((to.id, to.ip, to.port))
            is_new = target is None
            if target is None:
                target = self._new_target(to)
            self._last = target
        number = self._new_number()
        own: Any = asked if type(asked) is Asked else None  # type: ignore[comparison-overlap]
        if own is None:
            asked.number = number
        else:
            own.number = number
        target.waiting[number] = asked
        self._waiting[number] = target
        self._set_time(number, timeout)
        if is_new and not self._may_be_there(target, to, asked):
            return
        mailbox = self._ways.ask(asker, number, to, name, body)
        if own is not None:
            own.mailbox = mailbox

    def _may_be_there(self, target: Target, to: PID, asked: Pending) -> bool:
        """Watch who is asked for the first time; False if it is known that there is nobody."""
        if self.leaving and to.address in self.leaving:
            self.forget(asked)
            asked.fail_for(Reason.DRAINING)
            return False
        self._watches.wait(target, to)
        return asked.number in self._waiting

    def _new_number(self) -> int:
        if not self._numbers:
            self._numbers = list(_RANDOM.unpack(system().random_bytes(_RANDOM.size)))
        return self._numbers.pop() >> 1  # as many bits as peers of all languages take

    def _set_time(self, number: int, timeout: float) -> None:
        """Have the ask of a number end once its time is over."""
        if self._time is None:
            self._time = self._run_queue.loop.time
        when = self._time() + timeout
        due = self._due
        if due and due[(len(due) - 1) // 2][0] > when:
            heappush(due, (when, number, timeout))
        else:  # as mostly: the heap is one without a call
            due.append((when, number, timeout))
        if when < self._wakes_at:
            self._wake_at(when)
        elif len(due) > 2 * len(self._waiting) + _FEW:
            self._due = [each for each in due if each[1] in self._waiting]
            heapify(self._due)

    def _new_target(self, to: PID) -> Target:
        if len(self._targets) >= _MAX_TARGETS:
            for target in [each for each in self._targets.values() if not each.waiting]:
                self._drop(target)
        target = self._targets[to.id, to.ip, to.port] = Target(to, self)
        return target

    def close(self, address: Address) -> list[Target]:
        """Ask nobody at an address any more, for it is about to stop; return those there who have
        not answered all that was asked before.
        """
        self.leaving.add(address)
        found = [target for target in self._targets.values() if target.pid.address == address]
        for target in found:
            if target.waiting:  # it is watched on; whoever asks next finds it closed
                self._forget_target(target)
            else:
                self._drop(target)
        return [target for target in found if target.waiting]

    def has_left(self, address: Address) -> None:
        """The connection to an address is lost."""
        if address in self.leaving:
            self.leaving.discard(address)
            if len(self.left) >= _MAX_LEFT:
                self.left.clear()
            self.left.add(address)

    def is_back(self, address: Address) -> None:
        """A program tells of its processes at an address."""
        self.leaving.discard(address)
        self.left.discard(address)

    def _why(self, reason: Reason, to: PID) -> Reason:
        """Why an ask fails: what finds nobody there any more was not handled, either."""
        is_gone = self.left and reason is Reason.REFUSED and to.address in self.left
        return Reason.DRAINING if is_gone else reason

    @property
    def are_open_here(self) -> bool:
        """Whether a process of this context was asked, and has not answered."""
        targets = self._targets.values()
        return any(target.waiting and target.pid.address == self._here for target in targets)

    def _drop(self, target: Target) -> None:
        """Watch a process no more that nobody waits for."""
        if self._forget_target(target):
            self._watches.links.drop(target)

    def _forget_target(self, target: Target) -> bool:
        """Who is asked next there is asked for the first time; False if that is so already."""
        if self._last is target:
            self._last = None
        pid = target.pid
        is_known = self._targets.get((pid.id, pid.ip, pid.port)) is target
        if is_known:
            del self._targets[pid.id, pid.ip, pid.port]
        return is_known

    def target_ended(self, target: Target, reason: Reason) -> None:
        """A process has ended that was asked."""
        self._forget_target(target)
        reason = self._why(reason, target.pid)
        waiting, target.waiting = target.waiting, {}
        for number, asked in waiting.items():
            del self._waiting[number]
            self.unanswered += 1
            asked.fail_for(reason)

    def give_up(self, asked: Pending) -> None:
        """Wait for an answer no more, and tell whom was asked."""
        if asked.number in self._waiting:
            self.forget(asked)
            self._tell_given_up(PID(*self._here, f"{TEMPORARY}{asked.number})"), asked.to)

    def forget(self, asked: Pending) -> None:
        """Wait for an answer no more."""
        target = self._waiting.pop(asked.number, None)
        if target is not None:
            del target.waiting[asked.number]
            if not target.waiting:
                self._drop(target)

    # In time

    def _wake_at(self, when: float) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._wakes_at = when
        self._timer = self._run_queue.loop.call_at(when, self._look)

    def _look(self) -> None:
        """End those whose time is over, some at a time."""
        self._timer = None
        self._wakes_at = math.inf
        now = self._run_queue.loop.time()
        due = self._due
        for _ in range(_BATCH):
            if not due or (due[0][0] > now and due[0][1] in self._waiting):
                break
            _, number, timeout = heappop(due)
            target = self._waiting.get(number)
            if target is not None:
                self._is_late(target.waiting[number], timeout)
        if due and due[0][0] < self._wakes_at:
            self._wake_at(due[0][0])

    def _is_late(self, asked: Pending, timeout: float) -> None:
        self.give_up(asked)
        self.timeouts += 1
        asked.fail(
            AskTimeout(f"{asked.name!r} was not answered by {asked.to} within {timeout:g} s")
        )

    # What comes of it

    def answer(self, process: Any, to: PID, name: str, body: bytes, content_type: str) -> bool:
        """Give an answer of a process here to a temporary sender.

        Returns:
            False if there is no short way.
        """
        if type(to) is Temporary:
            temporary = to
            if temporary.port == self._here[1] and temporary.ip == self._here[0]:
                return self.answered(temporary.number, name, body, content_type)
        return self._ways.answer_shortly(process.pid, to, name, body)

    def answered(self, number: int, name: str, body: bytes, content_type: str = "") -> bool:
        """A message for the temporary pid here of a number has come.

        Returns:
            False if that does not wait any more; of another pid, the number is -1.
        """
        target = self._waiting.pop(number, None)
        if target is None:
            return False
        asked = target.waiting.pop(number)
        if name == FAILED:
            self.failures += 1
            asked.fail(told_failure(asked, body))
        else:
            self.answers += 1
            asked.take(name, body, content_type)
        return True

    def failed(self, number: int, error: BaseException) -> bool:
        """A handler here has raised; False if that is for others to report, too."""
        target = self._waiting.pop(number, None)
        if target is None:
            return False
        self.failures += 1
        return target.waiting.pop(number).raised(error)

    def not_delivered(self, letter: DeadLetter) -> None:
        """A message has become a dead letter, perhaps that of an ask: whoever has asked is told."""
        sender, to = letter.sender, letter.to
        if sender is None or not sender.id.startswith(TEMPORARY):
            return
        if sender.address == self._here:
            number = number_in(sender)
            target = self._waiting.get(number)
            if target is not None:
                asked = target.waiting[number]
                self.forget(asked)
                self.unanswered += 1
                asked.fail_for(self._why(letter.reason, asked.to))
        elif to is not None and to.address == self._here and letter.reason in TOLD:
            self._refuse(sender, to.id, letter.name or "", letter.reason)

    def end_those_of(self, askers: set[str]) -> None:
        """Processes of these ids are made anew, and their successors have asked nothing yet."""
        self._end(Reason.TERMINATED, askers)

    def abandon(self) -> None:
        """The context stops."""
        self._end(Reason.STOPPED, None)
        if self._timer is not None:
            self._timer.cancel()

    def _end(self, reason: Reason, askers: set[str] | None) -> None:
        """End all asks, or those of some processes."""
        for number, target in list(self._waiting.items()):
            asked = target.waiting.get(number)
            if asked is not None and (askers is None or (asked.asker or NOBODY).id in askers):
                self.forget(asked)
                self.unanswered += 1
                asked.fail_for(reason)
