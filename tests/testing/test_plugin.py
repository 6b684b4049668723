"""The pytest plugin and the test case, as users run them: in programs of their own."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from importlib.metadata import distributions
from pathlib import Path

import pytest

PREAMBLE = """
import asyncio
import pytest
from compactor import Process, install
"""


class Pytest:
    """Runs pytest on one file of tests."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def __call__(self, tests: str, *args: str, plugin: bool = True) -> tuple[int, str]:
        """The exit status, and what was printed."""
        (self._path / "test_it.py").write_text(PREAMBLE + tests)
        command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "-q", *args]
        if not _is_installed():
            command[3:3] = ["-p", "compactor.testing.plugin"]
        done = subprocess.run(
            command,
            cwd=self._path,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=120,
        )
        return done.returncode, done.stdout


def _is_installed() -> bool:
    """Whether pytest finds the plugin by itself."""
    points = (point for each in distributions() for point in each.entry_points)
    return any(point.value == "compactor.testing.plugin" for point in points)


@pytest.fixture
def run_pytest(tmp_path: Path) -> Pytest:
    return Pytest(tmp_path)


def test_async_tests_that_take_a_world_run_in_virtual_time(run_pytest: Pytest) -> None:
    status, printed = run_pytest(
        """
async def test_hours(world):
    began = world.time
    await asyncio.sleep(3600)
    assert world.time - began == 3600

class TestGroup:
    @pytest.mark.parametrize("hours", [1, 2])
    async def test_more(self, world, hours, tmp_path):
        assert tmp_path.exists()
        await world.sleep(hours * 3600)
        assert world.time == hours * 3600

def test_plain(simulation):
    async def scenario(world):
        await world.sleep(5)
    assert simulation.run(scenario).seconds == 5

def test_context(context):
    assert context.spawn(Process("x")).ip == "127.0.0.1"
"""
    )
    assert (status, re.findall(r"\d+ passed", printed)) == (0, ["5 passed"]), printed


def test_plugins_for_real_loops_leave_them_alone(run_pytest: Pytest) -> None:
    pytest.importorskip("pytest_asyncio")
    status, printed = run_pytest(
        """
async def test_virtual(world):
    await asyncio.sleep(3600)

async def test_real():
    await asyncio.sleep(0)
""",
        "-o",
        "asyncio_mode=auto",
    )
    assert (status, re.findall(r"\d+ passed", printed)) == (0, ["2 passed"]), printed


def test_anyio_leaves_them_alone(run_pytest: Pytest) -> None:
    pytest.importorskip("anyio")
    status, printed = run_pytest(
        """
pytestmark = pytest.mark.anyio

@pytest.fixture(params=["asyncio"])
def anyio_backend(request):
    return request.param

async def test_virtual(world):
    await asyncio.sleep(3600)

@pytest.mark.anyio
@pytest.mark.parametrize("hours", [1, 2])
async def test_marked(world, hours):
    await world.sleep(3600 * hours)

async def test_real():
    await asyncio.sleep(0)
""",
        "-vv",
    )
    names = re.findall(r"::(\S+) PASSED", printed)
    assert (status, names) == (
        0,
        ["test_virtual", "test_marked[1]", "test_marked[2]", "test_real[asyncio]"],
    ), printed


def test_a_failure_tells_its_seed_and_the_command_that_replays_it(run_pytest: Pytest) -> None:
    tests = """
@pytest.mark.simulation(seeds=50)
async def test_luck(world):
    world.host("a").context().spawn(Process("p"))
    await world.sleep(1)
    assert world.random.random() > 0.2
"""
    status, printed = run_pytest(tests)
    assert status == 1
    replay = re.search(r"Replay: pytest '(\S+)' --simulation-seed (\d+)", printed)
    assert replay is not None, printed
    status, again = run_pytest(tests, replay[1], "--simulation-seed", replay[2])
    assert (status, replay[0] in again) == (1, True)


def test_the_marker_or_an_option_says_how_many_seeds(run_pytest: Pytest, tmp_path: Path) -> None:
    tests = """
@pytest.mark.simulation(seeds=3, latency=0.5)
async def test_it(world):
    with open("seeds", "a") as file:
        print(world.random.random(), file=file)
"""
    seen = tmp_path / "seeds"
    for args, count in (((), 3), (("--simulation-seeds", "5"), 5), (("--simulation-seed=1",), 1)):
        seen.write_text("")
        status, printed = run_pytest(tests, *args)
        assert not status, printed
        assert len(set(seen.read_text().split())) == count


def test_it_works_with_tests_that_are_spread(run_pytest: Pytest) -> None:
    pytest.importorskip("xdist")
    status, printed = run_pytest(
        """
@pytest.mark.parametrize("n", range(10))
async def test_many(world, n):
    await world.sleep(n)
""",
        "-n2",
    )
    assert (status, re.findall(r"\d+ passed", printed)) == (0, ["10 passed"]), printed


def test_mistakes_are_told(run_pytest: Pytest) -> None:
    status, printed = run_pytest(
        """
def test_plain(world): pass

@pytest.mark.simulation(seeds=0)
async def test_none(world): pass

@pytest.mark.simulation(latenzy=1)
async def test_misspelt(world): pass

async def test_right(world): pass
"""
    )
    assert status
    assert re.findall(r"\d+ passed", printed) == ["1 passed"], printed
    assert "world is for tests that are 'async def'" in printed
    assert "seeds of @pytest.mark.simulation must be at least 1, got 0" in printed
    assert "unexpected keyword argument 'latenzy'" in printed
    status, printed = run_pytest("async def test_it(world): pass", "--simulation-seeds=0")
    assert status
    assert "must be at least 1, got 0" in printed


def test_unittest_has_a_test_case(tmp_path: Path) -> None:
    (tmp_path / "test_it.py").write_text(
        """
import asyncio, unittest
from compactor import Process
from compactor.testing import SimulationTestCase

class Test(SimulationTestCase):
    seeds = 3
    worlds = []

    async def test_virtual(self):
        await asyncio.sleep(3600)
        self.assertEqual(self.world.time, 3600)
        self.worlds.append(self.world.random.random())
        self.assertEqual(len(set(self.worlds)), len(self.worlds))

    def test_plain(self):
        self.assertTrue(True)

    async def test_fails(self):
        self.fail("as it should")
"""
    )
    done = subprocess.run(
        [sys.executable, "-m", "unittest", "test_it"],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=120,
    )
    assert "Ran 3 tests" in done.stdout
    assert "FAILED (failures=1)" in done.stdout
    assert "as it should" in done.stdout


def test_the_core_does_not_import_pytest() -> None:
    code = "import sys, compactor, compactor.testing; sys.exit('pytest' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0
