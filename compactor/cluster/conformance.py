"""``ClusterConformance``: what every engine has to do, as tests for pytest.

A subclass says how its engine is reached::

    class TestEtcd(ClusterConformance):
        def url(self):
            return "etcd://127.0.0.1:2379/" + self.fresh()

What an engine cannot do, by its ``capabilities``, is skipped.  Each test takes some sessions; they
run on real time, unless ``run``, ``hold`` and ``other`` say otherwise.
"""

from __future__ import annotations

import asyncio
import contextlib
import sys
import uuid
from collections.abc import AsyncIterator, Callable, Coroutine
from typing import Any, ClassVar

from compactor.cluster.cluster import Cluster
from compactor.cluster.engine import LEAD, NAMES, REGISTER, Engine
from compactor.cluster.errors import ClusterError, Fenced, LeadershipLost, NobodyFound
from compactor.cluster.groups import Watch
from compactor.cluster.records import Member
from compactor.cluster.terms import Fence, Term
from compactor.context import Context
from compactor.errors import InvalidProcess
from compactor.pid import PID
from compactor.process import Process

_LONGEST = 30.0  # seconds that anything may take
_QUICK = 0.3  # seconds besides those of the session and the engine


class _Conformance:
    """What a subclass says, and what all tests need."""

    session: ClassVar[float] = 1.0
    granularity: ClassVar[float] = 0.5

    # What a subclass says

    def url(self) -> Any:
        """A URL, or what makes engines, at a place that nothing else uses; asked once a test."""
        raise NotImplementedError("a subclass says where its engine is: def url(self): ...")

    def fresh(self) -> str:
        """A part of a path that nobody else has."""
        return uuid.uuid4().hex

    def run(self, check: Callable[[], Coroutine[Any, Any, None]]) -> None:
        """Run what a test does."""
        asyncio.run(asyncio.wait_for(check(), 2 * _LONGEST))

    def context(self) -> Context:
        """A new context, not started yet."""
        return Context(ip="127.0.0.1", port=0)

    async def hold(self, seconds: float) -> None:
        """Have this program do nothing, as if its loop, or its machine, stood still."""
        self._block(seconds)

    def _block(self, seconds: float) -> None:
        import time

        time.sleep(seconds)

    def capabilities(self) -> frozenset[str]:
        """What the engine can do."""
        return Engine.capabilities

    def _run(self, check: Callable[[Any], Coroutine[Any, Any, None]], *capabilities: str) -> None:
        async def run() -> None:
            await check(self.url())

        if lacking := set(capabilities) - self.capabilities():
            _skip(f"the engine has no {', '.join(sorted(lacking))}")
        self.run(run)

    @contextlib.asynccontextmanager
    async def _cluster(self, url: Any) -> AsyncIterator[tuple[Cluster, PID]]:
        """A cluster of a context of its own, and a process there."""
        async with self.context() as context:
            pid = context.spawn(Process("worker"))
            async with Cluster(url, context, session=self.session) as cluster:
                yield cluster, pid


class KnownNamesConformance(_Conformance):
    """Tests of an engine on which nobody registers: names stand there, written by others.

    Attributes:
        known: a name, and the pids that it stands for, in their order; they should be linkable.
    """

    known: tuple[str, list[str]]

    def capabilities(self) -> frozenset[str]:
        return frozenset({NAMES})

    def test_what_was_written_down_is_found(self) -> None:
        """And nothing else can be done."""
        self._run(self._check_known, NAMES)

    async def _check_known(self, url: Any) -> None:
        name, pids = self.known
        async with self._cluster(url) as (cluster, pid):
            expected = [PID.from_string(each) for each in pids]
            await _until(cluster.watch(name), lambda members: [m.pid for m in members] == expected)
            assert await cluster.find(name) == expected[0]
            with _raises(NobodyFound):
                await cluster.find("nobody-at-all", timeout=0.05)
            with _raises(ClusterError):
                cluster.register(name, pid)
            with _raises(ClusterError):
                cluster.lead(name, pid)
            with _raises(ClusterError):
                cluster.watch_leader(name)


class ClusterConformance(_Conformance):
    """Tests of an engine that has sessions, by capability.

    Attributes:
        session: seconds of the sessions that are asked for; take short ones.
        granularity: seconds that the engine may take, beyond a session, to drop what it held.
    """

    @contextlib.asynccontextmanager
    async def other(self, url: str) -> AsyncIterator[Callable[[], None]]:
        """Another program, which has registered and leads ``"doomed"``.

        Yields:
            What kills it, so that it cannot do anything about that.
        """
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "compactor.cluster.conformance", url, str(self.session)),
            stdout=asyncio.subprocess.PIPE,
            stdin=asyncio.subprocess.PIPE,
        )
        try:
            assert process.stdout is not None
            assert await asyncio.wait_for(process.stdout.readline(), _LONGEST) == b"ready\n"
            yield process.kill
        finally:
            with contextlib.suppress(ProcessLookupError):
                process.kill()
            await process.wait()

    # The tests

    def test_a_name_is_found_as_long_as_it_is_registered(self) -> None:
        """Also with what was registered along with it."""
        self._run(self._check_names, NAMES, REGISTER)

    def test_several_bear_one_name_and_who_comes_back_is_another_member(self) -> None:
        """Sets are whole, and the one who came first is the first."""
        self._run(self._check_sets, NAMES, REGISTER)

    def test_a_process_that_ends_leaves_at_once(self) -> None:
        """The engine need not wait for its session."""
        self._run(self._check_ends, NAMES, REGISTER)

    def test_names_of_any_characters_are_kept_apart(self) -> None:
        """Those that users may give, which are more than some engines have in keys."""
        self._run(self._check_characters, NAMES, REGISTER)

    def test_what_cannot_be_registered_is_refused(self) -> None:
        """With an error that says what would be right."""
        self._run(self._check_refusals, REGISTER)

    def test_one_leads_at_a_time_and_terms_grow(self) -> None:
        """And the leader is known to all."""
        self._run(self._check_leaders, LEAD)

    def test_who_does_not_wait_any_more_is_not_elected(self) -> None:
        """A candidate that was cancelled does not hold up those behind it."""
        self._run(self._check_withdrawal, LEAD)

    def test_leadership_is_lost_with_its_process(self) -> None:
        """And the next candidate leads."""
        self._run(self._check_lost_process, LEAD)

    def test_a_program_that_stands_still_has_lost_its_leadership(self) -> None:
        """By its own clock, and what it has registered is registered again."""
        self._run(self._check_hold, NAMES, REGISTER, LEAD)

    def test_a_program_that_is_killed_leaves_within_its_session(self) -> None:
        """As a member, and as a leader."""
        self._run(self._check_kill, NAMES, REGISTER, LEAD)

    # What they do

    async def _check_names(self, url: Any) -> None:
        async with self._cluster(url) as (here, pid), self._cluster(url) as (there, _):
            with _raises(NobodyFound):
                await there.find("orders", timeout=0.05)
            async with here.register("orders", pid, metadata={"zone": "a", "weight": 2}):
                for cluster in (here, there):
                    assert await cluster.find("orders") == pid
                    assert await cluster.find("orders", route="random") == pid
                    assert await cluster.find("orders", key="any") == pid
                (member,) = await _first(there.watch("orders"))
                assert (member.pid, member.metadata) == (pid, {"zone": "a", "weight": 2})
            await _until(there.watch("orders"), lambda members: not members)
            with _raises(NobodyFound):
                await there.find("orders", timeout=0.05)

    async def _check_sets(self, url: Any) -> None:
        async with self._cluster(url) as (here, pid), self._cluster(url) as (there, other):
            watch = here.watch("orders")
            await _until(watch, lambda members: not members)
            async with there.register("orders", other):
                (first,) = await _until(watch, lambda members: len(members) == 1)
                async with here.register("orders", pid):
                    both = await _until(there.watch("orders"), lambda members: len(members) == 2)
                    assert [member.pid for member in both] == [other, pid]
                    await _until(watch, lambda members: len(members) == 2)
                    assert len({await here.find("orders", key=key) for key in range(64)}) == 2
            await _until(watch, lambda members: not members)
            async with there.register("orders", other):
                (again,) = await _until(watch, lambda members: len(members) == 1)
            assert again.pid == first.pid
            assert again.id != first.id

    async def _check_ends(self, url: Any) -> None:
        async with self._cluster(url) as (here, pid), self._cluster(url) as (there, _):
            async with here.register("orders", pid):
                watch = there.watch("orders")
                await _until(watch, lambda members: len(members) == 1)
                here.context.terminate(pid)
                await _until(watch, lambda members: not members, self.session / 2)
            with _raises(InvalidProcess):
                here.register("orders", pid)

    async def _check_characters(self, url: Any) -> None:
        names = ["orders", "Orders", "größe", "50%", "a.b", "a*", ">", "=20", "x" * 200, "Ω(1)"]
        async with self._cluster(url) as (cluster, _), contextlib.AsyncExitStack() as stack:
            for number, name in enumerate(names):
                pid = cluster.context.spawn(Process(f"p{number}"))
                await stack.enter_async_context(cluster.register(name, pid))
            for number, name in enumerate(names):
                assert (await cluster.find(name)).id == f"p{number}", name

    async def _check_refusals(self, url: Any) -> None:
        async with self._cluster(url) as (cluster, pid):
            for name in ("", "a/b", "a\0b", "a b", ".", "..", "x" * 201):
                with _raises(ValueError):
                    cluster.register(name, pid)
            with _raises(ValueError):
                cluster.register("orders", pid, metadata={"large": "x" * (1 << 24)})
            bad: list[Any] = [{"list": [1]}, {1: "a"}, "text"]
            for metadata in bad:
                with _raises(TypeError):
                    cluster.register("orders", pid, metadata=metadata)
            with _raises(InvalidProcess):
                cluster.register("orders", PID("192.0.2.1", 5050, "elsewhere"))

    async def _check_leaders(self, url: Any) -> None:
        terms: list[Term] = []
        fence = Fence()
        async with self._cluster(url) as (here, pid), self._cluster(url) as (there, other):

            async def lead(cluster: Cluster, own: PID, leads: asyncio.Event) -> None:
                async with cluster.lead("scheduler", own) as term:
                    assert not [each for each in terms if each.valid]
                    terms.append(term)
                    fence.check(term)
                    leads.set()
                    await asyncio.sleep(self.session / 2)
                    assert term.valid

            events = [asyncio.Event(), asyncio.Event()]
            first = asyncio.ensure_future(lead(here, pid, events[0]))
            await asyncio.wait_for(events[0].wait(), _LONGEST)
            watch = there.watch_leader("scheduler")
            leader = await _until(watch, lambda leader: leader is not None)
            assert (leader.pid, leader.term) == (pid, terms[0])
            with _raises(ClusterError):
                async with here.lead("scheduler", pid):
                    pass
            second = asyncio.ensure_future(lead(there, other, events[1]))
            await first
            await asyncio.wait_for(events[1].wait(), _LONGEST)
            await _until(watch, lambda leader: leader is not None and leader.pid == other)
            assert await here.leader("scheduler") in (pid, other)
            await second
        assert terms[0] < terms[1] == fence.newest
        assert not any(term.valid for term in terms)
        with _raises(Fenced):
            fence.check(terms[0])

    async def _check_withdrawal(self, url: Any) -> None:
        async with self._cluster(url) as (here, pid), self._cluster(url) as (there, other):
            async with here.lead("scheduler", pid):
                waits = asyncio.ensure_future(there.lead("scheduler", other).__aenter__())
                await asyncio.sleep(self.session / 2)
                assert not waits.done()
                waits.cancel()
                await asyncio.wait({waits})
            async with here.lead("scheduler", pid) as term:
                assert term.valid

    async def _check_lost_process(self, url: Any) -> None:
        async with self._cluster(url) as (here, pid), self._cluster(url) as (there, other):
            with _raises(LeadershipLost):
                async with here.lead("scheduler", pid) as term:
                    here.context.terminate(pid)
                    await asyncio.sleep(_LONGEST)
            async with there.lead("scheduler", other) as next_term:
                assert next_term.valid
                assert next_term > term

    async def _check_hold(self, url: Any) -> None:
        async with self._cluster(url) as (cluster, pid), cluster.register("orders", pid) as own:
            first, negotiated = own.id, cluster.session or self.session
            with _raises(LeadershipLost):
                async with cluster.lead("scheduler", pid) as term:
                    await self.hold(negotiated + 0.2)
                    assert not term.valid
                    await asyncio.sleep(_LONGEST)
            assert not term.valid
            watch = cluster.watch("orders")
            await _until(watch, lambda members: [m.id for m in members if m.id != first] != [])
            async with cluster.lead("scheduler", pid) as again:
                assert again > term

    async def _check_kill(self, url: Any) -> None:
        async with self._cluster(url) as (cluster, pid), self.other(url) as kill:
            loop = asyncio.get_running_loop()
            watch, leaders = cluster.watch("doomed"), cluster.watch_leader("doomed")
            await _until(watch, lambda members: len(members) == 1)
            await _until(leaders, lambda leader: leader is not None)
            elected = asyncio.ensure_future(cluster.lead("doomed", pid).__aenter__())
            most = (cluster.session or 0) + self.granularity + _QUICK
            began = loop.time()
            kill()
            await _until(watch, lambda members: not members)
            await asyncio.wait_for(elected, _LONGEST)
            assert loop.time() - began < most, f"{loop.time() - began:.2f} s, not {most} s"


async def _first(watch: Watch[tuple[Member, ...]]) -> tuple[Member, ...]:
    return await asyncio.wait_for(watch.__anext__(), _LONGEST)


async def _until(watch: Watch[Any], holds: Callable[[Any], bool], seconds: float = _LONGEST) -> Any:
    """What a watch yields, once something holds of it."""

    async def wait() -> Any:
        async for shown in watch:
            if holds(shown):
                return shown
        raise AssertionError("the watch has ended")

    return await asyncio.wait_for(wait(), seconds)


@contextlib.contextmanager
def _raises(kind: type[BaseException]) -> Any:
    try:
        yield
    except kind:
        return
    raise AssertionError(f"{kind.__name__} was not raised")


def _skip(why: str) -> None:
    import pytest

    pytest.skip(why)


async def _doomed(url: str, session: float) -> None:
    """What the other program does."""
    async with Context(ip="127.0.0.1", port=0) as context:
        pid = context.spawn(Process("doomed"))
        async with (
            Cluster(url, context, session=session) as cluster,
            cluster.register("doomed", pid),
            cluster.lead("doomed", pid),
        ):
            print("ready", flush=True)
            await asyncio.sleep(600)


if __name__ == "__main__":
    asyncio.run(_doomed(sys.argv[1], float(sys.argv[2])))
