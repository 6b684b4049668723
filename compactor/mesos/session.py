"""A session with ZooKeeper on an event loop; kazoo's threads stay in here."""

from __future__ import annotations

import asyncio
import contextlib
import enum
from collections.abc import Callable
from typing import Any

from compactor.mesos.errors import MasterAccessDenied
from compactor.mesos.kazoo_client import new_client
from compactor.mesos.urls import ZooKeeperUrl
from compactor.metrics.logs import logger

log = logger("mesos")

_SECONDS_BEFORE_A_NEW_CLIENT = 1.0


class State(enum.Enum):
    """What has become of a session."""

    CONNECTED = "connected"  #: a server answers; after EXPIRED, in a new session
    SUSPENDED = "suspended"  #: no server answers; the session may end meanwhile
    EXPIRED = "expired"  #: the server has ended the session; a new one begins by itself


class Session:
    """One session, and those that come after it when it expires.

    Requests raise ``ConnectionError`` where connection or session is lost: whether the request was
    carried out is not known then.  They raise ``FileNotFoundError`` if there is nothing at the
    path, and ``MasterAccessDenied`` if ZooKeeper refuses.

    Args:
        url: where.
        seconds: how long the server is to keep it without a sign of life.
        changed: called on the loop with each new state.

    Attributes:
        seconds: what the server has granted; until then, what was asked for.
        is_connected: whether a server answers, as far as is known.
        loop: what it runs on.

    Raises:
        MissingPackage: there is no kazoo.
    """

    def __init__(self, url: ZooKeeperUrl, seconds: float, changed: Callable[[State], None]) -> None:
        self.seconds = seconds
        self.is_connected = False
        self._url = url
        self._asked_seconds = seconds
        self._changed = changed
        self.loop = asyncio.get_running_loop()
        self._connected = asyncio.Event()
        self._is_closed = False
        self._tasks: set[asyncio.Task[None]] = set()
        self._watches: dict[Callable[[], None], Callable[[object], None]] = {}
        self._client: Any = self._new_client()
        self._starting: asyncio.Future[Any] | None = None

    def start(self) -> None:
        """Begin to dial; it never ends by itself.

        Raises:
            SimulationError: the loop is that of a simulation, which has no threads.
        """
        self._starting = self.loop.run_in_executor(None, self._client.start_async)

    async def close(self) -> None:
        """End the session: a server that is reached removes at once what was ephemeral in it."""
        if self._is_closed:
            return
        self._is_closed = True
        self.is_connected = False
        for task in self._tasks:
            task.cancel()
        if self._starting is not None:  # what has not begun could not be ended
            await asyncio.wait([self._starting])
            await asyncio.to_thread(_end, self._client)

    async def connected(self) -> None:
        """Wait until a server answers."""
        await self._connected.wait()

    @property
    def session_id(self) -> int | None:
        """The number of the session, which owns what is ephemeral; None without a connection."""
        client_id: tuple[int, bytes] | None = self._client.client_id
        return client_id[0] if client_id is not None else None

    # Requests

    async def children(self, path: str, changed: Callable[[], None]) -> list[str]:
        """The names of the nodes below a path; ``changed`` is called once when there are others."""
        watch = self._watch(changed)
        found: list[str] = await self._request(
            f"list {path}", lambda client: client.get_children_async(path, watch=watch)
        )
        return found

    async def exists(self, path: str, changed: Callable[[], None]) -> bool:
        """Whether there is a node; ``changed`` is called once when that, or the node, changes."""
        watch = self._watch(changed)
        stat = await self._request(
            f"look for {path}", lambda client: client.exists_async(path, watch=watch)
        )
        return stat is not None

    async def get(self, path: str) -> tuple[bytes, int]:
        """What a node holds, and the session that owns it; 0 if it is not ephemeral."""
        data, stat = await self._request(f"read {path}", lambda client: client.get_async(path))
        return data, stat.ephemeralOwner

    async def create(self, prefix: str, data: bytes) -> str:
        """Create a node that ends with the session, and the folders above it; the name begins as
        its path says, and ZooKeeper adds a number.  With credentials nobody else may change it, and
        all may read it, as Mesos has it.
        """
        from kazoo.security import CREATOR_ALL_ACL, OPEN_ACL_UNSAFE, READ_ACL_UNSAFE

        acl = [*CREATOR_ALL_ACL, *READ_ACL_UNSAFE] if self._url.credentials else OPEN_ACL_UNSAFE
        path: str = await self._request(
            f"create a record in {self._url.path}",
            lambda client: client.create_async(
                prefix, data, acl=acl, ephemeral=True, sequence=True, makepath=True
            ),
        )
        return path.rpartition("/")[2]

    async def _request(self, what: str, begin: Callable[[Any], Any]) -> Any:
        """The result of a request, which ``begin`` hands to kazoo."""
        from kazoo import exceptions as of_kazoo

        future: asyncio.Future[Any] = self.loop.create_future()

        def done(result: Any) -> None:  # in a thread of kazoo
            self._hand_over(_settle, future, result)

        begin(self._client).rawlink(done)
        try:
            return await future
        except of_kazoo.NoNodeError:
            raise FileNotFoundError(what) from None
        except of_kazoo.NoAuthError:
            who = "these credentials" if self._url.credentials else "who has no credentials"
            raise MasterAccessDenied(f"{self._url} does not let {who} {what}") from None
        except (
            of_kazoo.ConnectionLoss,
            of_kazoo.ConnectionClosedError,
            of_kazoo.OperationTimeoutError,
            of_kazoo.SessionExpiredError,
            of_kazoo.SessionMovedError,
        ) as error:
            raise ConnectionError(repr(error)) from None

    def _watch(self, changed: Callable[[], None]) -> Callable[[object], None]:
        """What kazoo calls in a thread; the same each time, or kazoo would keep one per request."""
        return self._watches.setdefault(changed, lambda _: self._hand_over(changed))

    # From the threads of kazoo

    def _new_client(self) -> Any:
        client = new_client(
            self._url, self._asked_seconds, lambda s: self._hand_over(self._granted, s)
        )
        client.add_listener(lambda state: self._hand_over(self._state, client, state))
        return client

    def _hand_over(self, call: Callable[..., None], *args: Any) -> None:
        with contextlib.suppress(RuntimeError):  # of a loop that was closed: nobody waits
            self.loop.call_soon_threadsafe(call, *args)

    def _granted(self, seconds: float) -> None:
        self.seconds = seconds

    def _state(self, client: Any, state: str) -> None:
        """What kazoo tells of its connection, on the loop."""
        if self._is_closed or client is not self._client:
            return
        found = {"CONNECTED": State.CONNECTED, "SUSPENDED": State.SUSPENDED}.get(state)
        self.is_connected = found is State.CONNECTED
        if self.is_connected:
            self._connected.set()
        else:
            self._connected.clear()
        if found is None and client.client_state in ("CLOSED", "AUTH_FAILED"):
            task = self.loop.create_task(self._renew(client))  # its thread has given up
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
        self._changed(found or State.EXPIRED)

    async def _renew(self, ended: Any) -> None:
        await asyncio.sleep(_SECONDS_BEFORE_A_NEW_CLIENT)
        await asyncio.to_thread(_end, ended)
        self._client = self._new_client()
        self.start()


def _settle(future: asyncio.Future[Any], result: Any) -> None:
    """Hand the outcome of a request to who waits for it, on the loop."""
    if future.done():  # its waiter was cancelled
        return
    if result.exception is not None:
        future.set_exception(result.exception)
    else:
        future.set_result(result.value)


def _end(client: Any) -> None:
    """End a client, in a thread of its own: kazoo waits for those that it has started."""
    try:
        client.stop()
        client.close()
    except Exception:
        log.warning("a client of ZooKeeper did not end; its session will expire", exc_info=True)
