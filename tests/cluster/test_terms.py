"""Leases, terms and fences: the clock decides, from any thread, and what is lost stays lost."""

from __future__ import annotations

import copy
import json
import pickle
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from compactor.cluster import Fence, Fenced, Term
from compactor.cluster.lease import Lease
from compactor.testing import World


async def test_a_lease_lasts_from_before_the_last_acknowledged_heartbeat(world: World) -> None:
    lease = Lease(10.0, sent=0.0)
    term = Term(7, "scheduler", lease)
    await world.sleep(9)
    assert term.valid
    lease.renewed(sent=4.0)  # it was sent five seconds ago
    await world.sleep(4.9)
    assert term.valid
    await world.sleep(0.2)
    assert not term.valid


async def test_a_heartbeat_that_is_acknowledged_too_late_renews_nothing(world: World) -> None:
    lease = Lease(10.0, sent=0.0)
    await world.sleep(10.5)
    lease.renewed(sent=9.0)  # whether or not somebody has looked in between
    assert not lease.is_valid
    assert lease.left == 0
    assert "no heartbeat was acknowledged for the session of 10 s" in lease.why


async def test_who_holds_something_by_a_lease_is_told_once(world: World) -> None:
    lease = Lease(10.0, sent=0.0)
    told: list[str] = []
    lease.on_lost(told.append)
    lease.on_lost(told.append)()
    lease.lose("first")
    lease.lose("second")
    assert told == ["first"]
    lease.on_lost(told.append)
    assert told == ["first", "first"]


def test_a_term_that_one_thread_saw_end_is_valid_in_no_other() -> None:
    now = [0.0]
    lease = Lease(1.0, sent=0.0)
    lease.monotonic = lambda: now[0]
    lease.renewed(0.0)
    term, wrong, stop = Term(1, "x", lease), [], threading.Event()

    def look() -> None:
        ended = False
        while not stop.is_set():
            if term.valid and ended:
                wrong.append(now[0])
            ended = ended or not term.valid

    with ThreadPoolExecutor(2) as pool:
        looking = [pool.submit(look) for _ in range(2)]
        for _ in range(2000):  # heartbeats, each acknowledged in the last moment, or after it
            now[0] += 0.999
            lease.renewed(now[0])
        now[0] += 1.1
        lease.renewed(now[0])
        stop.set()
    assert [each.result() for each in looking] == [None, None]
    assert not wrong
    assert not term.valid


def test_a_term_travels_as_an_int() -> None:
    term = Term(7, "scheduler", Lease(10.0, sent=0.0))
    assert (term, term.name, term + 1, json.dumps({"term": term})) == (
        7,
        "scheduler",
        8,
        '{"term": 7}',
    )
    for other in (pickle.loads(pickle.dumps(term)), copy.copy(term), copy.deepcopy(term)):
        assert type(other) is int
        assert other == 7


def test_a_fence_lets_no_older_term_through() -> None:
    fence = Fence()
    fence.check(3)
    fence.check(3)
    fence.check(5)
    with pytest.raises(Fenced, match="term 4 is over: term 5 was accepted here") as fenced:
        fence.check(4)
    assert (fenced.value.term, fenced.value.newest, fence.newest) == (4, 5, 5)
    with pytest.raises(Fenced):
        Fence(newest=8).check(7)


@pytest.mark.parametrize("term", [None, "7", 7.0, True, b"7"])
def test_what_is_no_term_passes_no_fence(term: object) -> None:
    with pytest.raises(TypeError, match="a term is the int that lead"):
        Fence().check(term)  # type: ignore[arg-type]


def test_a_fence_is_not_negative() -> None:
    with pytest.raises(ValueError, match="not negative"):
        Fence().check(-1)
