"""Asks through nginx and HAProxy, which take the numbers of asks away, and share connections.

A proxy waits for the answer to each request, and messages of libprocess get none.  So it is told
to take away what they are known by, as docs/wire.md says.
"""

from __future__ import annotations

import asyncio
import contextlib
import pathlib
import re
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from compactor import PID, AskFailed, Context, Process, Reason, RemoteError, answer, install
from compactor.outbound.send_queue import ASKED
from tests.actors import TIMEOUT, Events, peer_of, spawned, wait_until
from tests.ports import own_port

from .test_proxies import ONE_CONNECTION, REUSED, haproxy, nginx

MakeContext = Callable[..., Context]
KINDS = ["nginx", "nginx with HTTP/1.0", "haproxy"]
PAGE = pathlib.Path(__file__).parents[2] / "docs" / "wire.md"


class Store(Process):
    """Answers whoever asks, and keeps in which form that came."""

    def __init__(self, name: str = "store") -> None:
        super().__init__(name)
        self.senders = Events()

    @answer("get")
    async def get(self, from_pid: PID, key: bytes) -> bytes:
        self.senders.put(from_pid)
        await asyncio.sleep(0)
        if key.startswith(b"bad"):
            raise KeyError(key)
        return b"value of " + key

    @install("installed")
    def installed(self, from_pid: PID, key: bytes) -> None:
        self.send(from_pid, "any", b"value of " + key)


class User(Process):
    async def question(self, to: PID, name: str, keys: list[bytes]) -> list[Any]:
        asked = [self.ask(to, name, key) for key in keys]
        return await asyncio.gather(*asked, return_exceptions=True)


@contextlib.contextmanager
def before(kind: str, home: pathlib.Path, port: int, to: int) -> Iterator[None]:
    """A proxy before a context, with the lines of the documentation."""
    home.mkdir()
    for_nginx, for_haproxy = re.findall(r"`([^`\n]*User-Agent[^`\n]*)` in", PAGE.read_text())
    if kind == "haproxy":
        proxy = haproxy(home, port, to, for_haproxy)
    else:
        version = for_nginx + (REUSED if kind == "nginx" else "")
        proxy = nginx(home, port, ONE_CONNECTION.format(port=port, to=to, version=version))
    with proxy:
        yield


@pytest.fixture(params=KINDS)
def proxied(
    request: pytest.FixtureRequest, tmp_path: pathlib.Path, make_local: MakeContext
) -> Iterator[Callable[[], Context]]:
    """What makes contexts, each behind a proxy of its own, which all others reach it by."""
    with contextlib.ExitStack() as proxies:

        def make() -> Context:
            port, to = own_port(), own_port()
            proxies.enter_context(before(request.param, tmp_path / str(port), port, to))
            return make_local(port=to, advertise_port=port)

        yield make


def numbers_of(process: Process, to: Process) -> int:
    queue = peer_of(process.context, to.pid).send_queue
    return int(queue.numbers)


def test_each_ask_has_its_own_answer_in_the_form_that_passes(
    proxied: Callable[[], Context],
) -> None:
    """Two users ask at once, so that their asks share the connection of the proxy to the store."""
    store = spawned(proxied(), Store())
    users = [spawned(proxied(), User(f"user{number}")) for number in range(2)]
    for name in ("get", "installed", "get"):
        keys = [[b"%d of %d" % (key, user) for key in range(100)] for user in range(2)]
        asked = [
            user.context.dispatch(user.pid, "question", store.pid, name, keys[number])
            for number, user in enumerate(users)
        ]
        for number, each in enumerate(asked):
            assert each.result(TIMEOUT) == [b"value of " + key for key in keys[number]]
    for user in users:  # it was tried, and did not arrive
        assert (numbers_of(user, store), numbers_of(store, user)) == (ASKED, ASKED)
    assert {sender.id[:12] for sender in store.senders.take_many(400)} == {"__req_res__("}


def test_what_cannot_be_answered_is_told_through_a_proxy(proxied: Callable[[], Context]) -> None:
    store, user = spawned(proxied(), Store()), spawned(proxied(), User("user"))
    context = user.context

    def ask(to: PID, name: str, *keys: bytes) -> Any:
        return context.dispatch(user.pid, "question", to, name, list(keys)).result(TIMEOUT)

    bad, good = ask(store.pid, "get", b"bad", b"good")
    assert (type(bad), good) == (RemoteError, b"value of good")
    (missing,) = ask(store.pid, "unknown", b"")
    assert (type(missing), missing.reason) == (AskFailed, Reason.NO_HANDLER)
    (nobody,) = ask(PID(*store.pid.address, "nobody"), "get", b"")
    assert (type(nobody), nobody.reason) == (AskFailed, Reason.NO_PROCESS)
    wait_until(lambda: not context._runtime.asks.waiting)
