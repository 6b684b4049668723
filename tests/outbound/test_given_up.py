"""Connections that were given up while the program of the peer, not its machine, is silent."""

from __future__ import annotations

import pytest

from compactor import Process
from compactor.testing.simulated.world import World
from tests.testing.worlds import Counter


@pytest.mark.parametrize("is_read", [True, False])
async def test_what_a_machine_has_taken_and_its_program_has_not_is_told_when_it_is_given_up(
    world: World, caplog: pytest.LogCaptureFixture, is_read: bool
) -> None:
    """Found by the ledger, simulated: the messages were gone, and nobody said so."""
    a, b = world.host("a"), world.host("b")
    context = a.context()
    context.spawn(here := Process("here"))
    there = b.context().spawn(Counter("there"))
    here.send(there, "count", b"read")
    await world.sleep(1)
    if not is_read:
        b.pause()
    here.send(there, "count", b"taken by the machine")
    await world.sleep(1)
    a.do(context.disconnect, there)
    await world.sleep(60)
    told = [line for line in caplog.messages if line.startswith("nothing is read any more by")]
    why = "what its machine has taken, and its program has not read, is lost"
    assert told == (
        [] if is_read else [f"nothing is read any more by 10.0.0.2:{there.port}: {why}"]
    )
