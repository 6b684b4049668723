"""``zk://``: sessions and records of ZooKeeper, by kazoo, whose threads stay outside of the loop.

Each record is an ephemeral, sequential node below ``path/names/<name>`` or ``path/leaders/<name>``.
Its order, and so the term of a leader, is its czxid: the number of the transaction that made it.
What kazoo's threads tell is handed to the loop, and heartbeats are sent by the loop: those of kazoo
keep a session that the loop may have lost already.
"""

from __future__ import annotations

import asyncio
import contextlib
import importlib
import socket
import threading
from collections.abc import Callable, Sequence
from typing import Any
from urllib.parse import quote

from compactor.cluster.engine import Engine, Feeds, Record, Told
from compactor.cluster.errors import (
    ClusterError,
    ClusterRefused,
    ClusterUnreachable,
    SessionExpired,
)
from compactor.cluster.urls import ClusterUrl, is_loopback
from compactor.errors import MissingPackage

_PORT = 2181
_LEAST_PATIENCE = 1.0  # seconds for one step of connecting, or a third of a shorter session
_MOST_READS = 64  # at once, of the nodes of one place
_OF_MESOS = ("json.info_", "info_", "log_replicas")


def _kazoo() -> Any:
    try:
        for module in ("client", "exceptions", "retry", "security"):
            importlib.import_module(f"kazoo.{module}")
        return importlib.import_module("kazoo")
    except ImportError as error:
        raise MissingPackage(
            "zk:// needs the package kazoo: pip install 'compactor[zookeeper]'"
        ) from error


class ZooKeeperEngine(Engine):
    """One session of ZooKeeper.

    Args:
        url: ``zk://[user:password@]host:port,.../path``; with a user, all that is made belongs to
            that one, and everybody may read it.
    """

    max_value = 1_000_000  # a server takes 1 MiB at most, with all that is around the value

    def __init__(self, url: ClusterUrl) -> None:
        self._kazoo = _kazoo()
        hosts = url.need(_PORT)
        self._hosts = ",".join(_host(*each) for each in hosts)
        self._servers = len(hosts)
        self.serves_this_machine_alone = all(is_loopback(host) for host, _ in hosts)
        self._name = url.text
        self._root = "/" + "/".join(map(_quoted, url.place()))
        self._auth = (url.user, url.password) if url.user else None
        self._acl: Any = None
        self._client: Any = None
        self._negotiated = 0.0
        self._is_expired = False
        self._loop: asyncio.AbstractEventLoop
        self._connected: asyncio.Event
        self._feeds = Feeds(self._feed)
        self._changes: dict[str, tuple[asyncio.Event, Callable[[Any], None]]] = {}
        self._tried: set[str] = set()
        self._nodes: dict[str, str] = {}  # of the own records, by their ids

    # Sessions

    async def begin(self, session: float) -> float:
        self._loop = asyncio.get_running_loop()
        self._connected = asyncio.Event()
        self._client = self._new_client(session)
        self._client.add_listener(self._has_state)
        self._client.start_async()
        await self._connected.wait()
        self._check_session()
        await self._prepare()
        return self._negotiated

    def _new_client(self, session: float) -> Any:
        kazoo = self._kazoo
        if self._auth is not None:
            everything = kazoo.security.make_digest_acl(*self._auth, all=True)
            self._acl = [everything, kazoo.security.make_acl("world", "anyone", read=True)]
        # It comes back well within a session, and for as long as somebody wants it.
        pause = min(1.0, session / 10)
        retry = kazoo.retry.KazooRetry(max_tries=-1, delay=pause / 4, max_delay=pause)
        client = kazoo.client.KazooClient(
            hosts=self._hosts,
            timeout=session,
            default_acl=self._acl,
            auth_data=[("digest", ":".join(self._auth))] if self._auth else None,
            connection_retry=retry,
        )
        # kazoo waits for a whole session for a server that takes connections and says nothing,
        # as ZooKeeper may while it starts, and tells nobody what the server has agreed to.
        connection, handler = client._connection, client.handler
        invoke, connect = connection._invoke, handler.create_connection

        def connected(*args: Any, **kw: Any) -> Any:
            try:
                found = connect(*args, **{**kw, "timeout": self._patience(session)})
            except OSError as error:
                self.trouble = error.strerror or str(error)
                raise
            self.trouble = ""
            return found

        def invoked(timeout: float, *args: Any, **kw: Any) -> Any:
            answer = invoke(min(timeout, self._patience(session)), *args, **kw)
            agreed = getattr(answer[0], "time_out", 0) if isinstance(answer, tuple) else 0
            if agreed > 0:
                self._negotiated = agreed / 1000.0
            return answer

        handler.create_connection, connection._invoke = connected, invoked
        return client

    def _patience(self, session: float) -> float:
        """Seconds that one server has for each step of the way to a session: once a heartbeat was
        not answered, a third of the session is left for all of them.
        """
        third = (self._negotiated or session) / 3
        return max(third / self._servers, min(third, _LEAST_PATIENCE))

    def _has_state(self, state: str) -> None:
        """A thread of kazoo tells how the connection is."""
        if state == "LOST":
            self._is_expired = True
            self._tell(self.doubt)
        if state != "SUSPENDED":
            self._tell(self._connected.set)

    def _tell(self, call: Callable[..., object], *args: Any) -> None:
        with contextlib.suppress(RuntimeError):  # the loop is gone
            self._loop.call_soon_threadsafe(call, *args)

    async def _prepare(self) -> None:
        """Make the own path, where that may be done."""
        found = await self._unless_missing(self._client.get_children_async(self._root))
        if found is None:
            await self._call(self._client.ensure_path_async(self._root))
        elif any(child.startswith(_OF_MESOS) for child in found):
            raise ClusterRefused(
                f"{self._name} is where a Mesos elects its masters, which find what is not theirs "
                "there: take another path"
            )

    async def renew(self) -> None:
        await self._call(self._client.exists_async(self._root))

    async def leave(self) -> None:
        client = self._client
        if self._servers > 1 and client is not None and client.connected:
            with contextlib.suppress(OSError, AttributeError):  # it has gone by itself
                client._connection._socket.shutdown(socket.SHUT_RDWR)

    async def end(self) -> None:
        await self._feeds.close()
        client, self._client = self._client, None
        if client is None:
            return
        self._is_expired = True
        stopped: asyncio.Future[None] = self._loop.create_future()

        def stop() -> None:
            for end in (client.stop, client.close):
                with contextlib.suppress(Exception):  # its connection did not close in time
                    end()
            self._tell(lambda: None if stopped.done() else stopped.set_result(None))

        threading.Thread(target=stop, name="compactor-kazoo-stop", daemon=True).start()
        await stopped

    # Records

    async def put(self, place: str, id: str, value: bytes) -> Record:
        directory = self._at(place)
        if id in self._tried:  # we did not hear whether it is there
            found = await self._found(directory, id)
            if found is not None:
                stat = await self._call(self._client.exists_async(f"{directory}/{found}"))
                if stat is not None:
                    return Record(id, stat.czxid, value)
        self._tried.add(id)
        try:
            order = await self._create(directory, id, value)
        except self._kazoo.exceptions.NoNodeError:
            await self._call(self._client.ensure_path_async(directory))
            order = await self._create(directory, id, value)
        self._tried.discard(id)
        return Record(id, order, value)

    async def _create(self, directory: str, id: str, value: bytes) -> int:
        self._nodes[id], stat = await self._call(
            self._client.create_async(
                f"{directory}/{id}-", value, ephemeral=True, sequence=True, include_data=True
            )
        )
        order: int = stat.czxid
        return order

    async def remove(self, place: str, id: str) -> None:
        node = self._nodes.get(id)
        if node is None:
            directory = self._at(place)
            found = await self._found(directory, id)
            node = f"{directory}/{found}" if found is not None else None
        if node is not None:
            await self._unless_missing(self._client.delete_async(node))
        self._tried.discard(id)
        self._nodes.pop(id, None)

    async def _found(self, directory: str, id: str) -> str | None:
        """The node of a record."""
        children = await self._unless_missing(self._client.get_children_async(directory))
        return next((child for child in children or () if _id_of(child) == id), None)

    def watch(self, place: str, told: Told) -> Callable[[], None]:
        return self._feeds.watch(place, told)

    async def _feed(self, place: str, told: Told) -> None:
        directory = self._at(place)
        changed, has_changed = self._change_of(directory)
        known: dict[str, Record] = {}
        while True:
            changed.clear()
            try:
                known = await self._read(directory, known, has_changed)
            except SessionExpired:
                return
            except ClusterError:
                await asyncio.sleep(0.1)
                continue
            told(list(known.values()))
            await changed.wait()

    def _change_of(self, directory: str) -> tuple[asyncio.Event, Callable[[Any], None]]:
        """One watcher of each place, or kazoo would keep one for each time that it is watched."""
        change = self._changes.get(directory)
        if change is None:
            event = asyncio.Event()
            change = self._changes[directory] = event, lambda _: self._tell(event.set)
        return change

    async def _read(
        self, directory: str, known: dict[str, Record], has_changed: Callable[[Any], None]
    ) -> dict[str, Record]:
        """The records of a place; those that are known do not change, and are not read again."""
        client = self._client
        children = await self._unless_missing(
            client.get_children_async(directory, watch=has_changed)
        )
        if children is None:
            if await self._call(client.exists_async(directory, watch=has_changed)) is not None:
                return await self._read(directory, known, has_changed)  # it was made meanwhile
            return {}
        new = [child for child in children if child not in known]
        found = {child: known[child] for child in children if child in known}
        for at in range(0, len(new), _MOST_READS):
            found.update(await self._records(directory, new[at : at + _MOST_READS]))
        return found

    async def _records(self, directory: str, children: Sequence[str]) -> dict[str, Record]:
        asked = [self._client.get_async(f"{directory}/{child}") for child in children]
        found = {}
        for child, answer in zip(children, asked, strict=True):
            try:
                told = await self._unless_missing(answer)
            except ClusterRefused:  # somebody else's, who lets nobody read it
                continue
            if told is not None:
                value, stat = told
                found[child] = Record(_id_of(child), stat.czxid, value)
        return found

    # kazoo

    def _at(self, place: str) -> str:
        kind, _, name = place.partition("/")
        return f"{self._root}/{kind}/{_quoted(name)}"

    def _check_session(self) -> None:
        if self._is_expired or self._client is None:
            raise SessionExpired(f"{self._name} has ended the session")

    async def _unless_missing(self, asked: Any) -> Any:
        """What was asked, or None if there is no such node."""
        try:
            return await self._call(asked)
        except self._kazoo.exceptions.NoNodeError:
            return None

    async def _call(self, asked: Any) -> Any:
        """Wait for what kazoo was asked, whose threads tell it."""
        answered: asyncio.Future[None] = self._loop.create_future()

        def settle() -> None:
            if not answered.done():
                answered.set_result(None)

        asked.rawlink(lambda _: self._tell(settle))
        await answered
        self._check_session()
        error = asked.exception
        if error is None:
            return asked.value
        exceptions = self._kazoo.exceptions
        if isinstance(error, exceptions.NoNodeError):
            raise error
        if isinstance(error, (exceptions.NoAuthError, exceptions.AuthFailedError)):
            who = self._auth[0] if self._auth else "who signs in as nobody"
            what = type(error).__name__
            raise ClusterRefused(f"{self._name} refuses {who}: {what}, by its ACLs") from error
        if isinstance(error, exceptions.SessionExpiredError):
            raise SessionExpired(f"{self._name} has ended the session") from error
        raise ClusterUnreachable(f"{self._name}: {type(error).__name__} {error}") from error


def _quoted(name: str) -> str:
    """A name as the name of a node: some characters cannot stand there."""
    return quote(name, safe="()!$&'*+,;=:~")


def _id_of(child: str) -> str:
    """The id of the record in a node, without the number that the server has added."""
    return child.rpartition("-")[0] or child


def _host(host: str, port: int) -> str:
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
