"""``Supervisor``: a process that does nothing but keep its children running, as in OTP."""

from __future__ import annotations

import asyncio
import functools
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, Literal, get_args

from compactor.actor.bound import Bound, check_bound
from compactor.actor.supervision import GaveUp, Rate, Stop, check_count, check_time
from compactor.errors import Reason
from compactor.metrics.logs import logger
from compactor.pid import PID
from compactor.process import Process
from compactor.system import clock

log = logger("process")

Strategy = Literal["one_for_one", "one_for_all", "rest_for_one"]
Kind = Literal["permanent", "transient", "temporary"]


@dataclass(frozen=True)
class ChildSpec:
    """How a supervisor starts a child, and when it does so again.

    Args:
        start: makes the process.
        restart: ``"permanent"``: whenever it has ended; ``"transient"``: if it has failed;
            ``"temporary"``: never.
        mailbox: as for ``Context.spawn``.

    Raises:
        TypeError, ValueError: an argument cannot be used.
    """

    start: Callable[[], Process]
    restart: Kind = "permanent"
    mailbox: Bound | None = None

    def __post_init__(self) -> None:
        if isinstance(self.start, Process) or not callable(self.start):
            raise TypeError(
                "ChildSpec takes a callable that makes a process, as in "
                f"ChildSpec(lambda: Worker('worker')), got {self.start!r}"
            )
        _check_choice("restart", self.restart, get_args(Kind))
        check_bound(self.mailbox)


class _Child:
    """One child: how it is started, its pid while it lives, and which of its lives that is."""

    __slots__ = ("life", "pid", "spec")

    def __init__(self, spec: ChildSpec) -> None:
        self.spec = spec
        self.pid: PID | None = None
        self.life: object = None


class Supervisor(Process):
    """Starts its children in order, and starts them anew when they end::

        context.spawn(
            Supervisor(
                "pool",
                [ChildSpec(Connection), ChildSpec(lambda: Worker("worker"), restart="transient")],
                strategy="rest_for_one",
            )
        )

    A child whose handler raises ends with ``Reason.FAILED``.  What waited in its mailbox becomes
    dead letters, and its linkers are told: the one that follows is another process of that name.
    Children end with the supervisor, the last one first.

    Args:
        name: as for ``Process``.
        children: what is started.
        strategy: what is started anew when a child has to be: ``"one_for_one"``: that child;
            ``"one_for_all"``: all; ``"rest_for_one"``: that child and those behind it.  The
            others of them are ended before.
        intensity: restarts within ``period``; one more, and the supervisor ends its children and
            itself, with ``Reason.FAILED``, or does what its own ``on_failure`` says.
        period: seconds.

    Raises:
        TypeError, ValueError: an argument cannot be used.
    """

    def __init__(
        self,
        name: str | None = None,
        children: Iterable[ChildSpec] = (),
        *,
        strategy: Strategy = "one_for_one",
        intensity: int = 1,
        period: float = 5.0,
    ) -> None:
        super().__init__(name)
        if not isinstance(children, Iterable):
            raise TypeError(
                f"the children of a Supervisor are a list of ChildSpec, got {children!r}"
            )
        self.__children = [_Child(_checked(spec)) for spec in children]
        _check_choice("strategy", strategy, get_args(Strategy))
        check_count("intensity", intensity)
        check_time("period", period)
        self.__strategy = strategy
        self.__rate = Rate(intensity, period)
        self.__bound = f"{intensity} times within {period:g} s"

    def initialize(self) -> Any:
        """Start all children; if one cannot be, none is."""
        for child in self.__children:
            self.__start(child)

    def start_child(self, spec: ChildSpec) -> PID:
        """Start one more child, as the last one; to be called in a handler or by ``dispatch``.

        Returns:
            Its pid.

        Raises:
            TypeError: ``spec`` is no ``ChildSpec``.
        """
        child = _Child(_checked(spec))
        pid = self.__start(child)
        self.__children.append(child)
        return pid

    def __start(self, child: _Child) -> PID:
        life = child.life = object()
        ended = functools.partial(self.defer(self.__has_ended), child, life)
        spec = child.spec
        pid: PID = self.context._spawn_child(self, spec.start, Stop(), spec.mailbox, ended)
        child.pid = pid
        return pid

    async def __has_ended(self, child: _Child, life: object, reason: Reason, cause: str) -> None:
        if child.life is not life:
            return  # it was ended here
        child.life = child.pid = None
        kind = child.spec.restart
        if kind == "temporary":
            self.__children.remove(child)
        elif kind == "permanent" or reason is not Reason.TERMINATED:
            await self.__start_anew(child, f"{reason}: {cause}" if cause else str(reason))

    async def __start_anew(self, failed: _Child, why: str) -> None:
        """Start anew what the strategy says, until all of it runs."""
        while True:
            if self.__rate.is_exceeded(clock.now()):
                raise GaveUp(f"children were to start anew more than {self.__bound}; last {why}")
            affected = self.__affected(failed)
            running = [child.pid for child in affected if child.pid is not None]
            for child in affected:
                child.life = child.pid = None
                if child.spec.restart == "temporary":
                    self.__children.remove(child)
            await self.context._runtime.supervision.end_all(running)
            try:
                for child in affected:
                    if child.spec.restart != "temporary":
                        self.__start(child)
            except Exception as error:
                log.exception("supervisor %s cannot start a child anew", self.pid)
                why = f"{type(error).__name__}: {error}"
                await asyncio.sleep(0)
            else:
                return

    def __affected(self, failed: _Child) -> list[_Child]:
        if self.__strategy == "one_for_one":
            return [failed]
        first = self.__children.index(failed) if self.__strategy == "rest_for_one" else 0
        return self.__children[first:]


def _checked(spec: ChildSpec) -> ChildSpec:
    if not isinstance(spec, ChildSpec):
        raise TypeError(f"the children of a Supervisor are given as ChildSpec(...), got {spec!r}")
    return spec


def _check_choice(name: str, value: object, choices: tuple[str, ...]) -> None:
    if value not in choices:
        raise ValueError(f"{name}={value!r} must be one of {', '.join(map(repr, choices))}")
