"""Fixtures of the whole suite: both backends and event loops, contexts that end, raw sockets."""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import sys
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from compactor import Context, Process, wire
from compactor.wire import Backend
from tests.actors import TIMEOUT, Receiver
from tests.backends import EACH_KIND, stale
from tests.tls_fixture import Certificates

try:
    import httptools  # noqa: F401
except ImportError:
    collect_ignore = ["test_benchmarks.py"]  # their floors are made of httptools

LoopFactory = Callable[[], asyncio.AbstractEventLoop]


def pytest_configure() -> None:
    """Run no test on extensions that do not fit their sources."""
    if wrong := stale():
        raise pytest.UsageError(wrong)


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


@pytest.fixture(params=EACH_KIND)
def backend(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Backend:
    """Each backend; it is also what new contexts use."""
    found = wire.backend(request.param)
    monkeypatch.setattr(wire, "chosen", found)
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
        context = Context(**{"ip": "127.0.0.1", "port": 0, "loop": new_loop(), **kw})
        context.start()
        made.append(context)
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
    with socket.create_server(("127.0.0.1", 0)) as sock:
        sock.settimeout(TIMEOUT)
        yield sock


@pytest.fixture(scope="session")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    """Certificates for TLS; the test is skipped where none can be made."""
    pytest.importorskip("cryptography", reason="certificates are made with cryptography")
    return Certificates(tmp_path_factory.mktemp("certificates"))


@pytest.fixture
def deaf_port() -> Iterator[int]:
    """A port of 127.0.0.1 that answers nobody: Linux drops what a full backlog cannot take.

    Nobody else gets it on another address of loopback; servers that reuse addresses can.
    """
    if sys.platform != "linux":
        pytest.skip("only Linux leaves connections unanswered while a backlog is full")
    with contextlib.ExitStack() as opened:
        kept, full = opened.enter_context(socket.socket()), opened.enter_context(socket.socket())
        for sock in (kept, full):
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        kept.bind(("0.0.0.0", 0))
        full.bind(("127.0.0.1", kept.getsockname()[1]))
        full.listen(0)
        for _ in range(8):
            filler = opened.enter_context(socket.socket())
            filler.setblocking(False)
            filler.connect_ex(full.getsockname())
        yield full.getsockname()[1]


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
