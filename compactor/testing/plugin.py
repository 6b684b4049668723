"""The pytest plugin: ``async def`` tests that take ``world`` run in a simulation.

Such tests are made items of a class of their own, after all other plugins have seen them, so that
those which run coroutines on a real loop leave them alone.
"""

from __future__ import annotations

import inspect
import sys
import zlib
from collections.abc import Iterator
from typing import Any

import pytest

from compactor.context import Context
from compactor.testing.contexts import ephemeral_context
from compactor.testing.simulation import Simulation

_OTHERS = ("anyio", "asyncio", "trio")
_MARKER = "simulation(seeds=1, **arguments): how many seeds, and what Simulation takes"


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("compactor")
    group.addoption(
        "--simulation-seed", help="the only seed of all simulations, to see a failure again"
    )
    group.addoption(
        "--simulation-seeds", type=int, help="so many seeds for each test that takes a world"
    )


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", _MARKER)
    seeds = config.getoption("--simulation-seeds")
    if seeds is not None and seeds < 1:
        raise pytest.UsageError(f"--simulation-seeds must be at least 1, got {seeds}")


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_pycollect_makeitem(collector: Any, name: str, obj: Any) -> Iterator[Any]:
    made = yield
    if made is None or not inspect.iscoroutinefunction(obj):
        return made
    if "world" not in inspect.signature(obj).parameters:
        return made
    if _forget_anyio(obj):
        made = list(collector._genfunctions(name, obj))
    items = made if isinstance(made, list) else [made]
    return [_simulated(item) for item in items]


def _forget_anyio(function: Any) -> bool:
    """Take from a test the fixture by which anyio runs it once on each of its loops."""
    marks = getattr(function, "pytestmark", [])
    kept = [mark for mark in marks if "anyio_backend" not in mark.args]
    if len(kept) == len(marks):
        return False
    function.pytestmark = kept
    return True


class SimulatedTest(pytest.Function):
    """A test that is a scenario."""

    def get_closest_marker(self, name: str, default: Any = None) -> Any:
        """A marker; none of those by which others find what they run on a loop of their own."""
        return default if name in _OTHERS else super().get_closest_marker(name, default)

    def runtest(self) -> None:
        arguments = {name: self.funcargs[name] for name in self._fixtureinfo.argnames}
        for seed in seeds_of(self):

            async def scenario(world: Any) -> None:
                await self.obj(**{**arguments, "world": world})

            try:
                simulation_of(self, seed).run(scenario)
            except Exception as error:
                if sys.version_info < (3, 11):  # whose tracebacks show no notes
                    print(*getattr(error, "__notes__", ()), sep="\n", file=sys.stderr)
                raise


def _simulated(item: pytest.Function) -> pytest.Function:
    made: pytest.Function = SimulatedTest.from_parent(
        item.parent,  # pyright: ignore[reportArgumentType]
        name=item.name,
        callspec=getattr(item, "callspec", None),
        fixtureinfo=item._fixtureinfo,
        keywords=item.keywords,
        originalname=item.originalname,
    )
    made.own_markers[:] = [mark for mark in item.own_markers if mark.name not in _OTHERS]
    return made


def seeds_of(item: pytest.Item) -> list[int | str]:
    """The seeds that a test runs with.

    Raises:
        UsageError: its marker has no number of them.
    """
    only = item.config.getoption("--simulation-seed")
    if only is not None:
        return [int(only) if only.lstrip("-").isdigit() else only]
    marker = item.get_closest_marker("simulation")
    count = marker.kwargs.get("seeds", 1) if marker is not None else 1
    if not isinstance(count, int) or count < 1:
        raise pytest.UsageError(
            f"{item.nodeid}: seeds of @pytest.mark.simulation must be at least 1, got {count!r}"
        )
    first = zlib.crc32(item.name.encode())  # another one for each test, and always the same
    return [
        first + number for number in range(item.config.getoption("--simulation-seeds") or count)
    ]


def simulation_of(item: pytest.Item, seed: int | str) -> Simulation:
    """The simulation of a test, as its marker says."""
    marker = item.get_closest_marker("simulation")
    arguments = dict(marker.kwargs) if marker is not None else {}
    arguments.pop("seeds", None)
    replay = f"pytest '{item.nodeid}' --simulation-seed {seed}"
    given: dict[str, Any] = {"replay": replay, **arguments}
    return Simulation(seed, **given)


@pytest.fixture
def world(request: pytest.FixtureRequest) -> None:
    """The world of an ``async def`` test, which runs in a simulation."""
    if not isinstance(request.node, SimulatedTest):
        raise pytest.UsageError(
            "world is for tests that are 'async def', and for no fixtures; a plain test takes "
            "'simulation', and calls simulation.run(scenario)"
        )


@pytest.fixture
def simulation(request: pytest.FixtureRequest) -> Simulation:
    """A ``Simulation`` that is seeded from the name of the test."""
    return simulation_of(request.node, seeds_of(request.node)[0])


@pytest.fixture
def context() -> Iterator[Context]:
    """A context on loopback that has been started, and ends with the test."""
    with ephemeral_context(ip="127.0.0.1") as it:
        yield it
