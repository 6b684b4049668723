"""Fixtures: contexts on both event loops, and the foreign peers."""

from __future__ import annotations

import asyncio
import os
import ssl
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, NoReturn

import pytest

from compactor import Context
from tests.ports import own_port
from tests.telling import watch

from . import legacy_fixture, mesos_fixture
from .legacy_fixture import Legacy
from .mesos_fixture import Cluster, Mesos
from .programs import TIMEOUT, Program, Unavailable

LoopFactory = Callable[[], asyncio.AbstractEventLoop]


def _unavailable(reason: Unavailable) -> NoReturn:
    if os.environ.get("COMPACTOR_REQUIRE_INTEROP"):
        pytest.fail(f"COMPACTOR_REQUIRE_INTEROP is set, but: {reason}")
    pytest.skip(str(reason))


@pytest.fixture
def new_context(new_loop: LoopFactory) -> Iterator[Callable[..., Context]]:
    """What makes contexts; they are stopped at the end."""
    made: list[tuple[Context, asyncio.AbstractEventLoop]] = []

    def make(port: int | None = None, **kw: Any) -> Context:
        loop = new_loop()
        port = own_port() if port is None else port
        made.append((watch(Context(ip="127.0.0.1", port=port, loop=loop, **kw)), loop))
        return made[-1][0]

    yield make
    for context, _ in made:
        context.stop()
    for context, loop in made:
        context.join(TIMEOUT)
        loop.close()  # a context that was never used has not closed it


@pytest.fixture
def context(new_context: Callable[..., Context]) -> Context:
    """A context."""
    return new_context()


@pytest.fixture(scope="session")
def mesos() -> Mesos:
    """Mesos' library, prepared to run here."""
    try:
        return mesos_fixture.prepare()
    except Unavailable as reason:
        _unavailable(reason)


@pytest.fixture
def mesos_cluster(mesos: Mesos, tmp_path: Path) -> Iterator[Callable[..., Cluster]]:
    """What starts a master with an agent, on a given or any port; killed at the end."""
    started: list[Cluster] = []

    def start(
        port: int | None = None,
        more: Mapping[str, str] | None = None,
        tls: ssl.SSLContext | None = None,
    ) -> Cluster:
        port = port or own_port()
        program = mesos.run("local", tmp_path / f"cluster{len(started)}", port, more=more)
        started.append(Cluster(program, port, tls))
        started[-1].wait_until_ready()
        return started[-1]

    yield start
    for cluster in started:
        cluster.program.kill()


@pytest.fixture(scope="session")
def _clusters() -> Iterator[list[Cluster]]:
    """Those that tests of this run share, the living one last."""
    started: list[Cluster] = []
    yield started
    for cluster in started:
        cluster.program.kill()


@pytest.fixture
def cluster(
    mesos: Mesos, _clusters: list[Cluster], tmp_path_factory: pytest.TempPathFactory
) -> Cluster:
    """A running master with an agent; tests share it, until one kills it."""
    if not _clusters or not _clusters[-1].program.is_alive:
        port = own_port()
        program = mesos.run("local", tmp_path_factory.mktemp("cluster"), port)
        _clusters.append(Cluster(program, port))
        _clusters[-1].wait_until_ready()
    return _clusters[-1]


@pytest.fixture
def mesos_driver(mesos: Mesos, tmp_path: Path) -> Iterator[Callable[..., Program]]:
    """What starts Mesos' scheduler driver against the pid of a master; killed at the end."""
    started: list[Program] = []

    def start(master: object, burst: int = 0, more: Mapping[str, str] | None = None) -> Program:
        work = tmp_path / f"driver{len(started)}"
        started.append(mesos.run(str(master), work, burst=burst, more=more))
        return started[-1]

    yield start
    for program in started:
        program.kill()


@pytest.fixture(scope="session")
def legacy() -> Legacy:
    """compactor 0.3.0, installed for Python 2.7."""
    try:
        return legacy_fixture.prepare()
    except Unavailable as reason:
        _unavailable(reason)


@pytest.fixture
def legacy_peer(legacy: Legacy, tmp_path: Path) -> Iterator[Callable[[], Program]]:
    """What starts a compactor 0.3.0 with one process; killed at the end."""
    started: list[Program] = []

    def start() -> Program:
        started.append(legacy.run(tmp_path / f"legacy{len(started)}.log"))
        return started[-1]

    yield start
    for program in started:
        program.kill()
