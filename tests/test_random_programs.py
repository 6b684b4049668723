"""Random programs of processes run alike on both backends, in one context and between two."""

from __future__ import annotations

import contextlib
import itertools
import json
import math
import sys
from collections.abc import Iterator, Sequence
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from compactor import PID, Context, DeadLetter, Process, install
from compactor.runtime import hot_path
from compactor.runtime.hot_path import Backend
from tests.actors import TIMEOUT, Events, wait_until
from tests.backends import backends, both

ACTORS = 4

numbers = st.integers(0, ACTORS - 1)
simple = st.one_of(
    st.tuples(st.just("spawn"), numbers),
    st.tuples(st.just("link"), numbers),
    st.tuples(st.just("terminate"), numbers, st.booleans()),
    st.tuples(st.just("delegate"), st.sampled_from(range(1, ACTORS, 2))),  # to an Heir: no circle
    st.tuples(st.just("fail")),
)


def sends(actions: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    """Messages that have the receiver do more."""
    names = st.sampled_from(["do", "do", "do", "other", "unhandled"])
    return st.tuples(st.just("send"), numbers, names, st.lists(actions, max_size=3))


programs = st.lists(
    st.one_of(simple, sends(st.one_of(simple, sends(st.one_of(simple, sends(simple)))))),
    min_size=1,
    max_size=15,
)


@contextlib.contextmanager
def context_of(backend: Backend) -> Iterator[Context]:
    """A started context on a backend."""
    chosen = hot_path.chosen
    hot_path.chosen = backend
    try:
        context = Context(ip="127.0.0.1", port=0)
    finally:
        hot_path.chosen = chosen
    context.start()
    try:
        yield context
    finally:
        context.stop()
        context.join(TIMEOUT)


# In one context: everything happens on one thread, and so in one order, which only the time that a
# turn takes could change.


@contextlib.contextmanager
def turns_without_end(backend: Backend) -> Iterator[None]:
    """Turns of this backend's mailboxes end by what they have served, not by the clock."""
    module: Any = sys.modules[backend.RunQueue.__module__]
    usual = module.TURN_SECONDS
    module.TURN_SECONDS = math.inf
    try:
        yield
    finally:
        module.TURN_SECONDS = usual


class World:
    """A context, its actors, and all that has happened, in order."""

    def __init__(self, context: Context) -> None:
        self.context = context
        self.trace: list[tuple[Any, ...]] = []
        self.lives = itertools.count()
        context.on_dead_letter(self.dropped)

    def pid(self, number: int) -> PID:
        return PID(self.context.ip, self.context.port, f"actor{number}")

    def actor(self, number: int) -> Actor:
        return Heir(self, number) if number % 2 else Actor(self, number)

    def dropped(self, letter: DeadLetter) -> None:
        to = letter.to.id if letter.to is not None else None
        self.trace.append(("dropped", to, letter.name, letter.size, str(letter.reason)))

    def perform(self, actor: Process, action: Sequence[Any]) -> None:
        what, *args = action
        try:
            if what == "fail":
                raise LookupError(actor.pid.id)
            if what == "spawn":
                self.context.spawn(self.actor(args[0]))
            elif what == "send":
                number, name, actions = args
                actor.send(self.pid(number), name, json.dumps(actions).encode())
            elif what == "link":
                actor.link(self.pid(args[0]))
            elif what == "delegate":
                actor.delegate("other", self.pid(args[0]))
            else:
                self.context.terminate(self.pid(args[0]), inject=args[1])
        except Context.Error as error:
            self.trace.append(("refused", actor.pid.id, what, type(error).__name__))

    def is_quiet(self) -> bool:
        """Whether nothing is left to do; only on the loop this has an answer."""
        return not any(mailbox.queue for mailbox in self.context._runtime.registry.live.values())


class Actor(Process):
    """Does what messages say, and records it."""

    def __init__(self, world: World, number: int) -> None:
        super().__init__(f"actor{number}")
        self.world = world
        self.life = next(world.lives)

    def record(self, *what: Any) -> None:
        self.world.trace.append((self.life, *what))

    @install("do")
    def do(self, from_pid: PID, body: bytes) -> None:
        self.record("does", self.pid.id, from_pid.id, body)
        for action in json.loads(body):
            self.world.perform(self, action)

    def exited(self, pid: PID, reason: Any) -> None:
        self.record("exited", pid.id, str(reason))

    def finalize(self) -> None:
        self.record("finalize")


class Heir(Actor):
    """Handles what others delegate."""

    @install("other")
    def other(self, from_pid: PID, body: bytes) -> None:
        self.record("inherits", self.pid.id, from_pid.id, body)


def run_in_one_context(backend: Backend, program: Sequence[Sequence[Any]]) -> list[Any]:
    with turns_without_end(backend), context_of(backend) as context:
        world = World(context)
        root = Actor(world, ACTORS)
        context.spawn(root)
        for number in range(ACTORS // 2):
            context.spawn(world.actor(number))

        def start() -> None:
            for action in program:
                with contextlib.suppress(LookupError):
                    world.perform(root, action)

        context.dispatch(root.pid, start).result(TIMEOUT)
        wait_until(lambda: context.dispatch(root.pid, world.is_quiet).result(TIMEOUT))
        metrics = context.metrics
        counts = (metrics.handler_failures, sorted(context._runtime.registry.live))
        return [*world.trace, counts]


@given(programs)
@settings(max_examples=100, deadline=None)
def test_a_program_takes_the_same_course_on_both_backends(program: list[Any]) -> None:
    python, cython = (run_in_one_context(backend, program) for backend in both())
    assert python == cython


# Between two contexts: what one sender's messages are to one receiver has an order.


class Member(Process):
    """Records what it is sent, and who has ended."""

    def __init__(self, number: int) -> None:
        super().__init__(f"member{number}")
        self.heard = Events()
        self.lost = Events()

    @install("say")
    def say(self, from_pid: PID, body: bytes) -> None:
        self.heard.put((from_pid.id, body))

    def exited(self, pid: PID, reason: Any) -> None:
        self.lost.put((pid.id, str(reason)))


MEMBERS = 4
members = st.integers(0, MEMBERS - 1)
bodies = st.one_of(st.binary(max_size=5), st.sampled_from([b"", bytes(5000), bytes(70_000)]))
phases = st.lists(
    st.one_of(
        st.lists(st.tuples(members, members, bodies), min_size=1, max_size=20),
        st.tuples(st.just("link"), members, members),
        st.tuples(st.just("end"), members),
    ),
    max_size=8,
)


def run_in_two_contexts(pair: Sequence[Backend], program: list[Any]) -> None:
    """Run a program, and compare all that happens with what must happen."""
    with context_of(pair[0]) as here, context_of(pair[1]) as there:
        cast = [Member(number) for number in range(MEMBERS)]
        for number, member in enumerate(cast):
            (here, there)[number % 2].spawn(member)
        living = set(range(MEMBERS))
        links: set[tuple[int, int]] = set()
        for phase in program:
            if isinstance(phase, list):
                wanted: dict[tuple[int, int], list[bytes]] = {}
                for a, b, body in phase:
                    if a in living and b in living:
                        cast[a].send(cast[b].pid, "say", body)
                        wanted.setdefault((a, b), []).append(body)
                for b in living:
                    count = sum(len(sent) for (_, to), sent in wanted.items() if to == b)
                    heard = cast[b].heard.take_many(count)
                    for a in living:
                        from_a = [body for id_, body in heard if id_ == f"member{a}"]
                        assert from_a == wanted.get((a, b), [])
            elif phase[0] == "link":
                a, b = phase[1:]
                if a not in living or a == b:
                    continue
                cast[a].link(cast[b].pid)
                if b in living:
                    links.add((a, b))
                    # Behind the link on the same way: whoever hears it knows of the link.
                    cast[a].send(cast[b].pid, "say", b"linked")
                    assert cast[b].heard.take() == (f"member{a}", b"linked")
                else:
                    assert cast[a].lost.take()[0] == f"member{b}"
            elif phase[1] in living:
                gone = phase[1]
                living.discard(gone)
                cast[gone].context.terminate(cast[gone].pid)
                for a in living:
                    if (a, gone) in links:
                        assert cast[a].lost.take() == (f"member{gone}", "terminated")
        for number in living:
            assert cast[number].heard.is_empty
            assert cast[number].lost.is_empty


@given(phases)
@settings(max_examples=25, deadline=None)
def test_two_contexts_do_what_they_are_told_whatever_backend_each_has(program: list[Any]) -> None:
    for pair in itertools.product(backends(), repeat=2):
        run_in_two_contexts(pair, program)
