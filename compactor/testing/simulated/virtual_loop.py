"""``VirtualLoop``: an event loop for many hosts, on which no time passes but that of timers.

What is ready stands in the ``Turns`` of a host.  One host after the other, chosen by chance, has
its turn: all that was ready when it began, as in a turn of a loop of its own.  When nobody has
anything to do, the time is that of the next timer at once.

A callback belongs to the host whose turn asks for it.  Two do not: the steps of a task belong to
the host that began it, whoever wakes it; and what other threads would ask of a context by its
portal is done by the host of that context.  For this, the contexts of a host are closed to direct
calls while another host has its turn, as if each ran in a thread of its own.
"""

from __future__ import annotations

import asyncio
import contextvars
import heapq
import itertools
import math
from collections.abc import Callable
from random import Random
from threading import get_ident
from time import perf_counter as real_clock
from typing import Any

from compactor.system.system import System
from compactor.testing.simulated.errors import SimulationError
from compactor.testing.simulated.handles import HostHandle
from compactor.testing.simulated.network_loop import NetworkLoop
from compactor.testing.simulated.tasks import HostTask, close, close_unbegun, new_task
from compactor.testing.simulated.turns import LOOK, Turns

_TURNS_AT_ONCE = 100  # until asyncio's own loop is asked whether to go on


class VirtualLoop(NetworkLoop):
    """One loop, in one thread, for all hosts of a world.

    Args:
        chance: decides whose turn is next.
        nowhere: the operating system of what runs on no host.
        max_events: callbacks and messages without any time passing; more are taken for a loop that
            never ends.
        max_block: real seconds of one turn that are told.
        blocked: told of the name of a host whose turn took longer, and how long.

    Attributes:
        turns: of the host that has its turn.
        done: callbacks and messages since time has passed.
        now: the time of the world, in seconds.
        after_turn: called after each turn.
        failure: what a turn has failed with, which ends all.
    """

    _stopping: bool

    def __init__(
        self,
        chance: Random,
        nowhere: System,
        max_events: int,
        max_block: float,
        blocked: Callable[[str, float], object],
    ) -> None:
        super().__init__()
        self.now = 0.0
        self.outside = self.turns = Turns("", nowhere)  # the scenario; what no host has begun
        self._chance = chance.random
        self._max_events = max_events
        self._max_block = max_block
        self._blocked = blocked
        self.done = 0
        self._waiting: list[Turns] = []
        self._due: list[tuple[float, int, Any, Turns | None]] = []  # a heap
        self.order = itertools.count()  # of timers and tasks
        self._dropped = 0  # timers in the heap that were cancelled
        self._homes: dict[int, Turns] = {}  # by the id of portals
        self._ident = get_ident()
        self._left: list[asyncio.Task[Any]] = []  # of hosts that have crashed
        self._settling: list[asyncio.Future[None]] = []
        self.after_turn: Callable[[], object] | None = None
        self.failure: BaseException | None = None
        self.set_task_factory(new_task)  # type: ignore[arg-type]

    # Time

    def time(self) -> float:
        """The clock of the host that has its turn."""
        turns = self.turns
        return self.now if not turns.offset and turns.rate == 1.0 else turns.monotonic(self.now)

    def look(self) -> float:
        """The clock of turns of the host that has its turn: each look takes time."""
        turns = self.turns
        turns.clock = clock = max(turns.clock + LOOK, self.now)
        return clock

    def at(self, when: float, call: Callable[[], object]) -> None:
        """Have something happen in the world, not on a host, at a time of the world."""
        heapq.heappush(self._due, (when, next(self.order), call, None))

    def set_rate(self, turns: Turns, rate: float) -> None:
        """Have the clocks of a host go faster or slower from now on, and its timers with them."""
        turns.set_rate(rate, self.now)
        for index, (_, order, what, owner) in enumerate(self._due):
            if owner is turns:
                self._due[index] = (turns.world_time(what.when()), order, what, owner)
        heapq.heapify(self._due)

    async def settled(self) -> None:
        """Wait until nothing is ready, and time would pass."""
        settled = self.create_future()
        self._settling.append(settled)
        await settled

    # What is ready

    def call_soon(  # type: ignore[override]
        self,
        callback: Callable[..., Any],
        *args: Any,
        context: contextvars.Context | None = None,
    ) -> asyncio.Handle:
        handle = HostHandle(0.0, callback, args, self, context)
        owner = getattr(callback, "__self__", None)
        self.put(owner.turns if type(owner) is HostTask else self.turns, handle)
        return handle

    def call_soon_threadsafe(  # type: ignore[override]
        self,
        callback: Callable[..., Any],
        *args: Any,
        context: contextvars.Context | None = None,
    ) -> asyncio.Handle:
        if get_ident() != self._ident:
            raise SimulationError(
                "a thread has called into a simulation: threads do not follow its time, so nothing "
                "could be replayed; use a coroutine"
            )
        owner = getattr(callback, "__self__", None)
        home = self._homes.get(id(owner))
        if home is None:
            return self.call_soon(callback, *args, context=context)
        handle = HostHandle(0.0, callback, args, self, context)
        self.put(home, handle)
        return handle

    def call_at(  # type: ignore[override]
        self,
        when: float,
        callback: Callable[..., Any],
        *args: Any,
        context: contextvars.Context | None = None,
    ) -> asyncio.TimerHandle:
        _check_time(when)
        handle = HostHandle(when, callback, args, self, context)
        handle._scheduled = True
        turns = self.turns
        due = when if not turns.offset and turns.rate == 1.0 else turns.world_time(when)
        heapq.heappush(self._due, (due, next(self.order), handle, turns))
        return handle

    def call_later(  # type: ignore[override]
        self,
        delay: float,
        callback: Callable[..., Any],
        *args: Any,
        context: contextvars.Context | None = None,
    ) -> asyncio.TimerHandle:
        turns = self.turns
        if turns.offset or turns.rate != 1.0:
            return self.call_at(self.time() + delay, callback, *args, context=context)
        when = self.now + delay
        if when != when:
            _check_time(when)
        handle = HostHandle(when, callback, args, self, context)
        handle._scheduled = True
        heapq.heappush(self._due, (when, next(self.order), handle, turns))
        return handle

    def put(self, turns: Turns, handle: HostHandle) -> None:
        """Make something ready on a host."""
        if turns.is_over:
            return
        if not turns.ready and not turns.is_paused:
            self._waiting.append(turns)
        turns.ready.append(handle)

    def put_call(self, turns: Turns, call: Callable[..., Any], *args: Any) -> None:
        """Have a host make a call in its next turn."""
        self.put(turns, HostHandle(0.0, call, args, self))

    def pause(self, turns: Turns) -> None:
        """Do nothing on a host until it is resumed."""
        turns.is_paused = True
        if turns.ready:
            self._waiting.remove(turns)

    def resume(self, turns: Turns) -> None:
        """Go on with what has become ready meanwhile."""
        turns.is_paused = False
        if turns.ready:
            self._waiting.append(turns)

    def give_up(self, turns: Turns) -> None:
        """Do nothing more on a host, ever."""
        self._left += [task for task in self.tasks() if task.turns is turns]
        turns.is_over = True
        if turns.ready and not turns.is_paused:
            self._waiting.remove(turns)
        for handle in turns.ready:
            close_unbegun(handle._callback)
        turns.ready.clear()
        for portal in turns.portals:
            self._homes.pop(id(portal), None)

    def check_open(self) -> None:
        """Raise ``SimulationError`` if the run is over."""
        if self.is_closed():
            raise SimulationError(
                "this run is over, and nothing happens in its world any more; its trace has what "
                "has happened"
            )

    def settle_in(self, portal: Any) -> None:
        """A context has begun to run on the host that has its turn."""
        self.turns.portals[portal] = False
        self._homes[id(portal)] = self.turns

    # What the loop does

    def _run_once(self) -> None:
        for _ in range(_TURNS_AT_ONCE):
            if self._waiting:
                self._take_turn()
            elif self._settling:
                self._tell_settled()
            else:
                self._go_on()
            if self._stopping:
                return

    def _tell_settled(self) -> None:
        settling, self._settling = self._settling, []
        for future in settling:
            if not future.done():
                future.set_result(None)

    def _take_turn(self) -> None:
        """Let one host do all that is ready there."""
        waiting = self._waiting
        index = int(self._chance() * len(waiting)) if len(waiting) > 1 else 0
        turns = waiting[index]
        waiting[index] = waiting[-1]
        waiting.pop()
        began = real_clock()
        ready = turns.ready
        count = len(ready)
        self._enter(turns)
        try:
            for _ in range(count):
                handle = ready.popleft()
                if not handle._cancelled:
                    try:
                        handle._context.run(handle._callback, *handle._args)
                    except (SystemExit, KeyboardInterrupt):
                        raise
                    except BaseException as error:
                        handle.failed(error)
                    if turns.is_over or turns.is_paused:
                        break
        finally:
            self._leave(turns)
            if ready and not (turns.is_paused or turns in waiting):
                waiting.append(turns)
        self.done += count
        seconds = real_clock() - began
        if (
            self.done > self._max_events
            or self.after_turn is not None
            or self.failure is not None
            or seconds > self._max_block
        ):
            self._look_back(turns, seconds)

    def _look_back(self, turns: Turns, seconds: float) -> None:
        """See what a turn has done, which took so many real seconds."""
        if self.done > self._max_events:
            raise SimulationError(
                f"{self.done} events happened at {self.now:.6f} s, the last on "
                f"{turns.name or 'no host'!r}, and no time passes: something never waits; "
                "max_events= allows more"
            )
        if self.after_turn is not None:
            self.after_turn()
        if self.failure is not None:
            raise self.failure
        if seconds > self._max_block:
            self._blocked(turns.name, seconds)

    def _enter(self, turns: Turns) -> None:
        """Begin a turn of a host."""
        self.turns = turns
        for portal, is_open in turns.portals.items():
            if is_open:
                portal.thread = self._ident

    def _leave(self, turns: Turns) -> None:
        """End a turn of a host: its contexts are closed to direct calls of others."""
        for portal in turns.portals:
            turns.portals[portal] = portal.thread is not None
            portal.thread = None
        self.turns = self.outside

    def _go_on(self) -> None:
        """Let the time be that of the next timer, and make ready what is due then."""
        due = self._due
        while due and due[0][3] is not None and due[0][2]._cancelled:
            heapq.heappop(due)
            self._dropped -= 1
        if not due or due[0][0] == math.inf:
            raise SimulationError(
                f"at {self.now:.6f} s nothing is left that could happen, and the scenario still "
                "waits: what it waits for never comes"
            )
        if due[0][0] > self.now:
            self.now = due[0][0]
            self.done = 0
        now = self.now
        while due and due[0][0] <= now:
            _, _, what, turns = heapq.heappop(due)
            if turns is None:
                what()
                self.done += 1
            elif what._cancelled:
                self._dropped -= 1
            else:
                what._scheduled = False
                self.put(turns, what)

    def _timer_handle_cancelled(self, handle: asyncio.TimerHandle) -> None:
        self._dropped += 1
        if self._dropped > 1000 and self._dropped * 2 > len(self._due):
            self._due = [
                entry for entry in self._due if entry[3] is None or not entry[2]._cancelled
            ]
            heapq.heapify(self._due)
            self._dropped = 0

    # The end

    def tasks(self) -> list[HostTask]:
        """All tasks that are not done and still go on, in the order in which they were begun."""
        tasks = [each for each in asyncio.all_tasks(self) if isinstance(each, HostTask)]
        return sorted((t for t in tasks if not t.turns.is_over), key=lambda task: task.number)

    def timers(self) -> list[tuple[asyncio.TimerHandle, Turns]]:
        """All timers that are still to end, in order."""
        return [
            (handle, turns)
            for _, _, handle, turns in sorted(self._due, key=lambda due: due[:2])
            if turns is not None and not (turns.is_over or handle._cancelled)
        ]

    def end(self) -> None:
        """Close what was begun and will not go on.

        Python would do so when it collects them, at any time: ``finally`` would be run then, and
        what awaits in it, as the end of ``async with`` does, would be an error that nobody sees.
        """
        self.failure = self.after_turn = None
        asyncio._set_running_loop(self)
        try:
            for task in self._left + list(asyncio.all_tasks(self)):
                task._log_destroy_pending = False  # type: ignore[attr-defined]
                close(task.get_coro())
        finally:
            asyncio._set_running_loop(None)
            self._left.clear()
            self._due.clear()
            self._waiting.clear()

    def _process_events(self, event_list: Any) -> None:
        """There are none."""

    def _write_to_self(self) -> None:
        """It never sleeps."""


def _check_time(when: float) -> None:
    """Refuse NaN, which has no place in the order of times."""
    if math.isnan(when):
        raise ValueError("a timer needs a number of seconds, got NaN")
