"""A few of the runs of ``convergence.py``."""

from __future__ import annotations

import pytest

from compactor.testing import World
from tests.cluster.convergence import scenario


@pytest.mark.simulation(seeds=24)
async def test_whatever_fails_one_leads_and_all_see_the_same_in_the_end(world: World) -> None:
    terms, asks = await scenario(world)
    assert terms
    assert asks > 50
