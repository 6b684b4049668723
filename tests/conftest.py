"""Fixtures of the whole suite: both backends and event loops, contexts that end, raw sockets."""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import sys
import threading
import time
from collections.abc import Callable, Generator, Iterator
from typing import Any

import pytest

from compactor import Context, Metrics, Process
from compactor.cli.source_tree import stale
from compactor.outbound import remote_links
from compactor.runtime import hot_path
from compactor.runtime.hot_path import Backend
from tests.actors import TIMEOUT, Receiver
from tests.backends import EACH_KIND, is_chosen, why_missing
from tests.ports import own_port
from tests.telling import tell, watch
from tests.tls_fixture import Certificates

try:
    import httptools  # noqa: F401
except ImportError:
    collect_ignore = ["test_benchmarks.py"]  # their floors are made of httptools

# Tests start hundreds of programs; each would compile all that it imports.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
sys.dont_write_bytecode = False

LoopFactory = Callable[[], asyncio.AbstractEventLoop]

KEPT_TOGETHER = {
    "tests/cluster/test_nats.py",  # they share servers
    "tests/cluster/test_zookeeper.py",
    "tests/mesos/test_zookeeper.py",
    "tests/test_build.py",
    "tests/test_errors_page.py",
    "tests/test_types.py",
}
MOST_PROCESSES = 8  # tests of the time that something takes suffer from more


def cores() -> int:
    """How many this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def pytest_configure(config: pytest.Config) -> None:
    """Run no test on extensions that do not fit their sources."""
    if hasattr(config, "workerinput"):  # the process that has started this one has looked
        return
    if not why_missing("cython") and (wrong := stale()):
        raise pytest.UsageError(wrong)


@pytest.hookimpl(tryfirst=True)
def pytest_cmdline_main(config: pytest.Config) -> None:
    """Run the whole suite in twice as many processes as there are cores, unless ``-n`` says
    otherwise: tests wait for more than half of their time.
    """
    option = config.option
    # What takes some seconds in one process takes longer to begin in several.
    is_short = option.markexpr == "smoke"
    is_whole = config.args_source is pytest.Config.ArgsSource.TESTPATHS and not is_short
    is_watched = option.collectonly or option.usepdb or option.capture == "no"
    is_worker = "PYTEST_XDIST_WORKER" in os.environ  # is one of those processes, or started by one
    if is_watched or is_worker or not (is_whole and config.pluginmanager.hasplugin("xdist")):
        return
    if option.numprocesses is None and option.dist == "no":
        option.numprocesses = min(2 * cores(), MOST_PROCESSES)
        option.dist = "loadscope"


def scope_of(nodeid: str) -> str:
    """Tests of one scope run in one process: each by itself, or with those of its file."""
    file = nodeid.partition("::")[0]
    return file if file in KEPT_TOGETHER else nodeid


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """Keep tests together that share what is expensive.  With groups of xdist 3.8 it is made in
    every process: pytest 9.2 no longer asks for the names that these put the groups in.
    """
    if config.option.dist != "loadscope":
        return None
    from xdist.scheduler import LoadScopeScheduling

    class Scheduling(LoadScopeScheduling):  # type: ignore[misc]
        def _split_scope(self, nodeid: str) -> str:
            return scope_of(nodeid)

    return Scheduling(config, log)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out combinations of backend and loop that tell nothing more about most tests, and slow
    tests unless they are asked for.
    """
    for item in items:
        if " at 0x" in item.nodeid:  # each process of a run would call it something else
            raise pytest.UsageError(f"the name of a test contains an address: {item.nodeid}")
    left_out = [item for item in items if not is_chosen(item)]
    if "slow" not in config.option.markexpr:
        left_out += [item for item in items if item.get_closest_marker("slow")]
    if left_out:
        config.hook.pytest_deselected(items=left_out)
        gone = set(left_out)
        items[:] = [item for item in items if item not in gone]


_began = pytest.StashKey[float]()


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Remember when a test began."""
    item.stash[_began] = time.monotonic()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item,
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Have a test that failed tell what its contexts know."""
    report = yield
    if report.failed:
        report.sections.append((f"Contexts at the end of {report.when}", tell(item.stash[_began])))
    return report


@pytest.fixture(autouse=True)
def loopback_and_no_thread_left(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Contexts bind loopback unless told otherwise, and none outlives its test."""
    for name in [name for name in os.environ if name.startswith(("LIBPROCESS_", "SSL_"))]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("LIBPROCESS_IP", "127.0.0.1")
    before = set(threading.enumerate())
    yield
    left = [t for t in set(threading.enumerate()) - before if t.name.startswith("CompactorContext")]
    for thread in left:
        thread.join(5)
    assert not [thread for thread in left if thread.is_alive()]


@pytest.fixture(autouse=True)
def links_keep_their_place(monkeypatch: pytest.MonkeyPatch) -> None:
    """A link goes ahead of the messages behind it, however busy the machine is.

    Without this what is sent behind a link leaves half a second later at the latest, and the peer
    hears of the link when its process may be gone.
    """
    monkeypatch.setattr(remote_links, "_MAX_HOLD", TIMEOUT)


@pytest.fixture
def links_are_not_waited_for(links_keep_their_place: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """Messages wait behind a link for hardly any time: the peer is silent on purpose."""
    monkeypatch.setattr(remote_links, "_MAX_HOLD", 0.02)


@pytest.fixture
def tells_slow_handlers() -> None:
    """A test is about slow handlers; in others they are those of a busy machine."""


@pytest.fixture(autouse=True)
def no_line_for_slow_handlers(
    request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Tests of what is logged are not about how busy the machine is."""
    if "tells_slow_handlers" not in request.fixturenames:
        monkeypatch.setattr(Metrics, "slow_handler", lambda *_: None)


@pytest.fixture(params=EACH_KIND)
def backend(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Backend:
    """Each backend; it is also what new contexts use."""
    found = hot_path.backend(request.param)
    monkeypatch.setattr(hot_path, "chosen", found)
    return found


@pytest.fixture(params=["asyncio", "uvloop"])
def new_loop(request: pytest.FixtureRequest, backend: Backend) -> LoopFactory:
    """What makes a fresh event loop of each library, for contexts of each backend."""
    if request.param == "asyncio":
        return asyncio.new_event_loop
    factory: LoopFactory = pytest.importorskip("uvloop").new_event_loop
    return factory


@pytest.fixture
def make_context(new_loop: LoopFactory) -> Iterator[Callable[..., Context]]:
    """What makes started contexts; they are stopped at the end."""
    made: list[Context] = []

    def make(**kw: Any) -> Context:
        context = Context(**{"ip": "127.0.0.1", "port": own_port(), "loop": new_loop(), **kw})
        context.start()
        made.append(watch(context))
        return context

    yield make
    for context in made:
        context.stop()
    for context in made:
        context.join(10)
        assert not context.is_alive()


@pytest.fixture
def context(make_context: Callable[..., Context]) -> Context:
    """A started context on loopback."""
    return make_context()


@pytest.fixture(params=["local", "remote"])
def contexts(
    request: pytest.FixtureRequest, make_context: Callable[..., Context]
) -> tuple[Context, Context]:
    """Where a sender and where a receiver lives: the same context, or two."""
    here = make_context()
    return here, here if request.param == "local" else make_context()


@pytest.fixture
def sender(contexts: tuple[Context, Context]) -> Process:
    """A live process, in the first of ``contexts``."""
    sender = Process("sender")
    contexts[0].spawn(sender)
    return sender


@pytest.fixture
def there(contexts: tuple[Context, Context]) -> Context:
    """Where the receiver lives: with ``sender``, or in another context."""
    return contexts[1]


@pytest.fixture
def pair(make_context: Callable[..., Context]) -> tuple[Receiver, Receiver]:
    """Two live processes, each in a context of its own."""
    here, there = Receiver("here"), Receiver("there")
    make_context().spawn(here)
    make_context().spawn(there)
    return here, there


@pytest.fixture
def listener() -> Iterator[socket.socket]:
    """A foreign peer: a socket that accepts, and is no compactor."""
    with socket.create_server(("127.0.0.1", own_port())) as sock:
        sock.settimeout(TIMEOUT)
        yield sock


@pytest.fixture(scope="session")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    """Certificates for TLS; the test is skipped where none can be made."""
    pytest.importorskip("cryptography", reason="certificates are made with cryptography")
    return Certificates(tmp_path_factory.mktemp("certificates"))


@pytest.fixture
def deaf_ports() -> Iterator[Callable[[], int]]:
    """What makes ports of 127.0.0.1 that answer nobody: Linux drops what a full backlog cannot
    take.
    """
    if sys.platform != "linux":
        pytest.skip("only Linux leaves connections unanswered while a backlog is full")
    with contextlib.ExitStack() as opened:

        def make() -> int:
            full = opened.enter_context(socket.create_server(("127.0.0.1", own_port()), backlog=0))
            for _ in range(8):
                filler = opened.enter_context(socket.socket())
                filler.setblocking(False)
                filler.connect_ex(full.getsockname())
            port: int = full.getsockname()[1]
            return port

        yield make


@pytest.fixture
def deaf_port(deaf_ports: Callable[[], int]) -> int:
    """A port of 127.0.0.1 that answers nobody."""
    return deaf_ports()


@pytest.fixture
def connect() -> Iterator[Callable[[Context], socket.socket]]:
    """What opens raw connections to a context."""
    opened: list[socket.socket] = []

    def open_one(context: Context) -> socket.socket:
        opened.append(socket.create_connection((context.ip, context.port), timeout=10))
        return opened[-1]

    yield open_one
    for sock in opened:
        sock.close()
