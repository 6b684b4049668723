"""``/health``: whether all processes that can tell are well."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
from collections.abc import Callable, Coroutine, Iterator
from typing import Any

from compactor.actor.concurrent import put_next
from compactor.endpoints.endpoint import Endpoint
from compactor.endpoints.json_answer import json_answer
from compactor.endpoints.pieces import work
from compactor.errors import Reason
from compactor.http.request import Request
from compactor.http.response import Response

_HEALTH = "health"  # under which its doctor is kept
_MOST_REASONS = 20  # that are told; the rest is counted
_MOST_WAITING = 1000  # processes that are examined at a time
_BATCH = 500  # processes that are looked at before it is asked how many are examined
_LONGEST = 200  # characters of a reason


class Report:
    """What one round of checks has found.

    Attributes:
        checks: how many there are.
        failed: how many of them found something.
    """

    def __init__(self) -> None:
        self.checks = 0
        self.failed = 0
        self._reasons: list[tuple[int, dict[str, str]]] = []

    def add(self, number: int, id_: str, check: str, reason: str) -> None:
        """A check of one of the processes, which have numbers, has found something."""
        self.failed += 1
        if len(self._reasons) < _MOST_REASONS:
            told = {"process": id_[:_LONGEST], "check": check, "reason": reason[:_LONGEST]}
            self._reasons.append((number, told))

    def told(self) -> dict[str, Any]:
        """All of it, as JSON has it; the first reasons to be found, by process."""
        reasons = [reason for _, reason in sorted(self._reasons, key=lambda one: one[0])]
        counts = {"healthy": not self.failed, "checks": self.checks, "failed": self.failed}
        return {**counts, "reasons": reasons}


class Examination:
    """The event of a process that its health checks are.

    Args:
        id_: of the process.
        checks: the names of its methods.
        owner: the runtime.
        over: called once, with this, when all have told or can tell no more.

    Attributes:
        id: of the process.
        found: the checks that have found something, and what.
        current: the check that is under way; empty before the first.
        report: of the last round that waits for it, and its number there.
    """

    __slots__ = ("_checks", "_is_over", "_over", "_owner", "current", "found", "id", "report")

    def __init__(
        self, id_: str, checks: tuple[str, ...], owner: Any, over: Callable[[Examination], None]
    ) -> None:
        self.id = id_
        self._checks = checks
        self._owner = owner
        self._over = over
        self.current = ""
        self.found: dict[str, str] = {}
        self._is_over = False
        self.report: tuple[Report, int] = (Report(), 0)

    def serve(self, mailbox: Any) -> Any:
        rest = iter(self._checks)
        for check in rest:
            result = self._begun(mailbox, check)
            if isinstance(result, Coroutine):
                return self._await(mailbox, check, result, rest)
            self._take(check, result)
        self._end()
        return None

    def _begun(self, mailbox: Any, check: str) -> Any:
        self.current = check
        try:
            return getattr(mailbox.process, check)()
        except Exception as error:
            return self._why(mailbox, check, error)
        except BaseException as error:
            self.found[check] = type(error).__name__
            self._end()
            raise

    async def _await(self, mailbox: Any, check: str, result: Any, rest: Iterator[str]) -> None:
        """Await the rest of a check, and then the others."""
        try:
            while True:
                if isinstance(result, Coroutine):
                    result = await self._in_time(mailbox, check, result)
                self._take(check, result)
                check = next(rest, "")
                if not check:
                    return
                result = self._begun(mailbox, check)
        finally:
            self._end()

    async def _in_time(self, mailbox: Any, check: str, rest: Coroutine[Any, Any, Any]) -> Any:
        timeout = self._owner.settings.health_timeout
        try:
            return await asyncio.wait_for(rest, timeout)
        except asyncio.TimeoutError as error:
            late = f"it has no result after {timeout:g} s"
            return late if error.args == () else self._why(mailbox, check, error)
        except Exception as error:
            return self._why(mailbox, check, error)

    def _why(self, mailbox: Any, check: str, error: Exception) -> str:
        """What is told of an error, which may quote secrets."""
        self._owner.metrics.check_failed(mailbox.pid, check, error)
        name = type(error).__name__
        return f"{name}: {error}" if self._owner.settings.http_error_text else name

    def _take(self, check: str, result: Any) -> None:
        if result is None or result is True:
            return
        if result is False:
            self.found[check] = "it is false"
        elif isinstance(result, str):
            self.found[check] = result or "it is empty"
        else:
            kind = type(result).__name__
            self.found[check] = f"it returns a {kind}, not None, a bool or a reason as str"

    def _end(self) -> None:
        if not self._is_over:
            self._is_over = True
            self._over(self)

    def discard(self, reason: Reason) -> None:
        """The process ends, and with it what was wrong."""
        self._end()

    def moved(self, mailbox: Any, page_of: Any) -> bool:
        """The process that was made anew is examined as well."""
        return True

    def __str__(self) -> str:
        return "health checks"


class Doctor:
    """Has all processes of a context examined, for any number of requests in one round.

    Args:
        owner: the runtime.
    """

    def __init__(self, owner: Any) -> None:
        self._owner = owner
        self._turn = asyncio.Lock()
        self._rounds = 0  # that have begun
        self._report = Report()
        self._waiting: dict[str, Examination] = {}  # of processes that have not answered
        self._one_is_over = asyncio.Event()

    async def report(self) -> Report:
        """What a round finds that begins now or later."""
        before = self._rounds
        async with self._turn:
            if self._rounds == before:
                self._rounds += 1
                self._report = await self._examine()
            return self._report

    async def _examine(self) -> Report:
        report = Report()
        timeout = self._owner.settings.health_timeout
        steps = self._begin(report)
        turns = self._owner.pages.endpoints().crowd.turns
        while not await work(turns, itertools.islice(steps, _BATCH)):
            if not await self._are_waiting_less_than(_MOST_WAITING):
                report.add(0, "", "", f"{len(self._waiting)} processes have no result in time")
                return report
        await self._are_waiting_less_than(1)
        for examination in self._waiting.values():
            known, number = examination.report
            if known is report:
                check = examination.current
                what = "it has no result" if check else "the process is busy with something else"
                report.add(number, examination.id, check, f"{what} after {timeout:g} s")
        return report

    def _begin(self, report: Report) -> Iterator[str]:
        """Have each process that can tell be examined, unless it still is."""
        live = self._owner.registry.live
        for number, id_ in enumerate(list(live)):
            yield ""
            mailbox = live.get(id_)
            checks = () if mailbox is None else mailbox.process.__handlers__().checks
            if mailbox is None or not checks:
                continue
            report.checks += len(checks)
            examination = self._waiting.get(id_)
            if examination is None:
                examination = Examination(id_, checks, self._owner, self._ended)
                self._waiting[id_] = examination
                _put(mailbox, examination)
            examination.report = report, number

    def _ended(self, examination: Examination) -> None:
        if self._waiting.get(examination.id) is examination:
            del self._waiting[examination.id]
        report, number = examination.report
        for check, reason in examination.found.items():
            report.add(number, examination.id, check, reason)
        self._one_is_over.set()

    async def _are_waiting_less_than(self, most: int) -> bool:
        """Wait for this, unless it takes too long; whether it is so."""
        loop = asyncio.get_running_loop()
        end = loop.time() + self._owner.settings.health_timeout
        while len(self._waiting) >= most and loop.time() < end:
            self._one_is_over.clear()
            with contextlib.suppress(asyncio.TimeoutError):
                await asyncio.wait_for(self._one_is_over.wait(), end - loop.time())
        return len(self._waiting) < most


def _put(mailbox: Any, examination: Examination) -> None:
    """Have a process be examined before it does what waits, unless it has failed."""
    queue = mailbox.queue
    if queue and getattr(queue[0][1], "comes_first", False):
        mailbox.put_event(examination)
    else:
        put_next(mailbox, examination)


async def _health(request: Request, owner: Any) -> Response:
    kept = owner.pages.endpoints().kept
    if _HEALTH not in kept:
        kept[_HEALTH] = Doctor(owner)
    report = await kept[_HEALTH].report()
    return json_answer(request, report.told(), 503 if report.failed else 200)


ENDPOINTS = (
    Endpoint(
        "/health",
        _health,
        "Tells whether all processes are well, by 200 or 503.",
        """The checks are the methods of processes that are decorated with `health_check`. A process
that is busy with something else for too long is not well either. An object:

>        healthy              Whether no check has found something
>        checks               How many there are
>        failed               How many have found something
>        reasons              What, with process and check, of the first of these
""",
        at_once=1_000_000,  # they share their rounds, and a 503 would mean something else
    ),
)
