"""``Workers``: starts workers, keeps them running, and makes pools of what lives in them."""

from __future__ import annotations

import asyncio
import atexit
import contextlib
from collections.abc import Callable, Iterable
from types import TracebackType
from typing import Any
from weakref import WeakSet

from compactor.actor.supervision import Escalate, Restart, Stop
from compactor.context import Context
from compactor.errors import CompactorError, ContextStopped, InvalidProcess
from compactor.pid import PID
from compactor.pool import Pool, Route
from compactor.system import clock
from compactor.workers.board import Board, in_order, sums_of, told_of
from compactor.workers.hangups import Hangups
from compactor.workers.member import READY, Member, disconnect, hang_up_all, kill_all, log, told
from compactor.workers.options import Options, check_count
from compactor.workers.plan import Worker, check_target

_GRACE = 5.0  # seconds, beside drain and linger, that a worker has to end


class WorkersFailed(CompactorError):
    """Workers could not be started, or not be kept running.

    Args:
        message: the reason.
        has_no_port: whether it is that no port was free.
    """

    def __init__(self, message: str, has_no_port: bool = False) -> None:
        super().__init__(message)
        self.has_no_port = has_no_port


class Workers:
    """OS processes that each run a part of a program, on a context and a core of their own::

        async def make(context, worker):  # in the module shop.orders
            context.spawn(Resizer("resize"))

        async with Workers("shop.orders:make", count=4, context=context) as workers:
            pool = workers.pool("resize", route="least")
            answer = await pool.ask("resize", image, timeout=5)

    They are started anew, so a program that has workers is guarded by ``if __name__ ==
    "__main__"``, as with ``multiprocessing``.  A worker that ends is started anew as ``on_failure``
    says.  All end when the block does, and when this program does, however that happens.

    Args:
        make: ``"module:function"``, or that function: ``async def make(context, worker)`` spawns
            the processes of one worker, and returns.
        count: how many there are; default one for each core that this program may use.
        context: asks them; they take its settings, address and TLS.
        ports: where they listen, as ``"5051-5054"`` or numbers; default any ports that are free.
            With one more than workers, ``restart`` starts the replacement first.
        on_failure: ``Restart(...)``, for each of them; ``Stop()``: who ends is not replaced;
            ``Escalate()``: all end, and the block gets ``WorkersFailed``, as it does if there
            would be too many restarts.
        cluster: the URL of a :class:`compactor.cluster.Cluster` in which each worker registers its
            processes by their ids, until it is to end.
        drain: seconds in which a worker that is to end does what it has accepted.
        start_timeout: seconds in which a worker has to be ready.
        stuck_after: seconds without a turn of its loop, after which there is a line in the log.
        kill_stuck: whether such a worker is killed, and then started anew.

    Raises:
        TypeError, ValueError: an argument cannot be used.
    """

    def __init__(
        self,
        make: str | Callable[..., Any],
        *,
        count: int | None = None,
        context: Context,
        ports: str | Iterable[int] | None = None,
        on_failure: Restart | Stop | Escalate | None = None,
        cluster: str | None = None,
        drain: float = 10.0,
        start_timeout: float = 30.0,
        stuck_after: float = 10.0,
        kill_stuck: bool = False,
    ) -> None:
        self._options = options = Options(
            check_target(make),
            check_count(count),
            context,
            ports,
            Restart() if on_failure is None else on_failure,
            cluster,
            drain,
            start_timeout,
            stuck_after,
            kill_stuck,
        )
        self._make, self._count = options.make, options.count
        self._context, self._ports = context, options.free_ports
        self._alive: set[Member] = set()
        self._members: list[Member | None] = [None] * self._count
        self._generations = [0] * self._count
        self._restarts = [options.new_restarts() for _ in range(self._count)]
        self._pools: WeakSet[Pool] = WeakSet()
        self._tasks: set[asyncio.Task[Any]] = set()
        self._is_closing = False
        self._failure: WorkersFailed | None = None
        self._task: asyncio.Task[Any] | None = None
        self._lock = asyncio.Lock()
        self._board: PID | None = None
        self._hangups: Hangups | None = None

    def __repr__(self) -> str:
        ready = sum(1 for member in self._members if member and member.state == READY)
        return f"<Workers {self._make}: {ready} of {self._count} are ready>"

    # For programs

    def pool(self, id: str, route: Route = "least") -> Pool:
        """The processes of an id, one in each worker; workers that end leave it.

        Args:
            id: of the processes.
            route: as for :class:`compactor.pool.Pool`.

        Raises:
            ValueError: no process has such an id, or there is no such route.
        """
        PID("127.0.0.1", 1, id)
        pool = Pool(self._context, route=route, name=id)
        self._pools.add(pool)
        pool.update(self._pids(id))
        return pool

    def status(self) -> list[dict[str, Any]]:
        """What is known of each worker that runs: its number, generation, state, OS process,
        address, and what it has counted.
        """
        return [told_of(member) for member in in_order(self._alive)]

    def counts(self) -> dict[str, float]:
        """What all workers have counted, together."""
        return sums_of(self._alive)

    async def restart(self) -> None:
        """Replace all workers, one after the other, by new ones that import the program anew.

        The replacement is ready before the other one is asked to leave, unless ``ports`` has no
        other port for it.

        Raises:
            WorkersFailed: a replacement could not be started; the worker goes on.
        """
        async with self._lock:
            for number in range(self._count):
                if self._is_closing:
                    return
                await self._replace(number)

    # In a block

    async def __aenter__(self) -> Workers:
        if self._task is not None:
            raise RuntimeError("workers are started once; make new ones")
        self._task = asyncio.current_task()
        self._loop = asyncio.get_running_loop()
        self._hangups = Hangups(self._loop, self._hung_up)
        atexit.register(self._hang_up)
        try:
            starting = [self._start(number) for number in range(self._count)]
            for result in await asyncio.gather(*starting, return_exceptions=True):
                if isinstance(result, BaseException):
                    raise result
        except BaseException:
            await self._close()
            raise
        self._update()
        try:
            self._board = self._context.spawn(Board("workers", self.status, self.counts))
        except InvalidProcess:  # others of this context, or somebody else, are called so
            self._board = self._context.spawn(Board(None, self.status, self.counts))
        self._watch()
        self._hangups.listen()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self._close()
        if self._failure is not None:
            if isinstance(error, asyncio.CancelledError):
                uncancel = getattr(asyncio.current_task(), "uncancel", None)
                if uncancel is not None:  # from Python 3.11 on
                    uncancel()
            raise self._failure from None

    async def _close(self) -> None:
        """End all workers, those that do not listen too."""
        self._is_closing = True
        if self._hangups is not None:
            self._hangups.ignore()
        for task in self._tasks:
            task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.shield(self._leave(list(self._alive)))
        kill_all(self._alive)  # the wait was cancelled
        atexit.unregister(self._hang_up)
        if self._board is not None:
            with contextlib.suppress(ContextStopped):
                self._context.terminate(self._board)
        self._update()

    def _hang_up(self) -> None:
        """The program ends, and nobody has closed this."""
        hang_up_all(self._alive)

    def _hung_up(self) -> None:
        log.info("SIGHUP: %r are replaced", self)
        self._do(self._restart_and_tell())

    async def _restart_and_tell(self) -> None:
        try:
            await self.restart()
        except WorkersFailed as error:
            log.error("workers were not restarted: %s", error)

    # One worker

    async def _start(self, number: int) -> Member:
        """Start a worker, on the first port that is free, and wait until it is ready."""
        taken = {member.plan.port for member in self._alive}
        ports = [port for port in self._ports if port not in taken] if self._ports else [0]
        for port in ports:
            if any(member.plan.port == port for member in self._alive if port):
                continue  # another one was quicker
            member = self._spawn(number, port)
            try:
                failure = await asyncio.wait_for(
                    asyncio.shield(member.ready), self._options.start_timeout
                )
            except asyncio.TimeoutError:
                member.kill()
                raise WorkersFailed(
                    f"worker {number} of {self._make} was not ready within "
                    f"{self._options.start_timeout:g} s"
                ) from None
            except asyncio.CancelledError:
                member.stop()
                raise
            if failure is not None:
                if failure.is_port_taken and self._ports:
                    continue
                raise WorkersFailed(
                    f"worker {number} of {self._make} has not started: {failure.why}"
                )
            if self._is_closing:
                member.stop()
            self._members[number] = member
            return member
        first, last = self._ports[0], self._ports[-1]
        raise WorkersFailed(
            f"no port of {first} to {last} is free for worker {number}: another program has them",
            has_no_port=True,
        )

    def _spawn(self, number: int, port: int) -> Member:
        worker = Worker(number, self._count, self._generations[number])
        self._generations[number] += 1
        try:
            member = Member(self._options.plan(worker, port), self._has_ended)
        except OSError as error:
            raise WorkersFailed(f"worker {number} has no OS process: {error}") from None
        self._alive.add(member)
        return member

    async def _replace(self, number: int) -> None:
        old = self._members[number]
        try:
            await self._start(number)
        except WorkersFailed as failure:
            if old is None or not failure.has_no_port:
                raise
            await self._let_go(number, old)
            old = None
            try:
                await self._start(number)
            except WorkersFailed as error:
                self._failed(number, f"worker {number}", f"this error: {error}")
                raise
        self._update()
        if old is not None:
            await self._let_go(number, old)

    async def _let_go(self, number: int, member: Member) -> None:
        if self._members[number] is member:
            self._members[number] = None
            self._update()
        await asyncio.sleep(0)  # pools in this loop ask others from now on; what they asked leaves
        await self._leave([member])

    async def _leave(self, members: list[Member]) -> None:
        """Have some end, each in its time."""
        for member in members:
            member.stop()
        over = [member.over for member in members]
        seconds = self._options.drain + 6 * self._context.settings.linger + _GRACE
        if over:
            await asyncio.wait(over, timeout=seconds)
        for member in members:
            if not member.over.done():
                log.error("%s was killed, for it did not end within %s s", member, f"{seconds:g}")
                member.kill()
        if over:
            await asyncio.wait(over, timeout=_GRACE)

    # Supervision

    def _has_ended(self, member: Member) -> None:
        number, status = member.plan.worker.number, member.over.result()
        is_expected = member.was_told_to_stop
        self._alive.discard(member)
        if not is_expected:
            disconnect(self._context, member)
        elif status:
            log.error("%s was to end, and did with %s", member, told(status))
        if self._members[number] is not member:
            return  # it was never ready, or is replaced
        self._members[number] = None
        self._update()
        if self._is_closing or is_expected:
            return
        self._failed(number, str(member), told(status))

    def _failed(self, number: int, who: str, how: str) -> None:
        """A worker has ended by itself, or could not be started anew."""
        if isinstance(self._options.policy, Stop):
            log.error("%s ended with %s; it is not started anew", who, how)
            return
        restarts = self._restarts[number]
        pause = restarts.pause(clock.now()) if restarts is not None else None
        if pause is None:
            self._give_up(f"{who} ended with {how}")
        else:
            log.error("%s ended with %s; it is started anew in %s s", who, how, f"{pause:.2f}")
            self._do(self._start_anew(number, pause))

    async def _start_anew(self, number: int, pause: float) -> None:
        await asyncio.sleep(pause)
        async with self._lock:
            if self._members[number] is not None:
                return
            try:
                await self._start(number)
            except WorkersFailed as error:
                self._failed(number, f"worker {number}", f"this error: {error}")
            else:
                self._update()

    def _give_up(self, what: str) -> None:
        """End the block with an error."""
        if self._failure is None:
            self._failure = WorkersFailed(f"workers of {self._make} are given up: {what}")
            if self._task is not None and not self._is_closing:
                self._task.cancel()

    def _watch(self) -> None:
        """Give an alarm for workers that say nothing."""
        if self._is_closing:
            return
        now = clock.now()
        for member in list(self._alive):
            silence = now - member.heard
            if member.state == READY and silence > self._options.stuck_after + 2 * member.plan.beat:
                member.alarm(silence)
            if member.is_stuck and self._options.kill_stuck:
                member.kill()
        self._loop.call_later(self._options.beat, self._watch)

    # Pools

    def _pids(self, id: str) -> list[PID]:
        ready = [member for member in self._members if member is not None and member.state == READY]
        return [PID(*member.address, id) for member in ready]

    def _update(self) -> None:
        for pool in list(self._pools):
            pool.update(self._pids(pool.name))

    def _do(self, work: Any) -> None:
        task = self._loop.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
