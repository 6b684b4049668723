"""``nats://``: keys of a JetStream bucket, by nats-py; each expires unless it is written again.

A session is the TTL of the bucket, and its heartbeats write all keys that it holds.  A leader holds
one key, which is taken over by its revision, so that the server decides who is first: the term is
the revision of that write.
"""

from __future__ import annotations

import asyncio
import contextlib
import importlib
import re
from collections.abc import Callable, Coroutine
from typing import Any

from compactor.cluster.engine import Engine, Feeds, Record, Told
from compactor.cluster.errors import (
    ClusterError,
    ClusterRefused,
    ClusterUnreachable,
    SessionExpired,
)
from compactor.cluster.urls import ClusterUrl, is_loopback
from compactor.errors import MissingPackage

_PORT = 4222
_LEAST_VERSION = (2, 11)
_MARKERS = 60.0  # seconds for which the server tells that a key has expired
_QUIET = 5.0  # sessions after which a watch that tells nothing is begun anew
_PLAIN = re.compile(r"[-_A-Za-z0-9]")


def _nats() -> Any:
    try:
        for module in ("errors", "js.api", "js.errors"):
            importlib.import_module(f"nats.{module}")
        return importlib.import_module("nats")
    except ImportError as error:
        raise MissingPackage(
            "nats:// needs the package nats-py: pip install 'compactor[nats]'"
        ) from error


class _Own:
    """A key that this session holds."""

    def __init__(self, id: str, value: bytes, revision: int) -> None:
        self.id = id
        self.value = value
        self.order = self.revision = revision


class NatsEngine(Engine):
    """One session on a bucket.

    Args:
        url: ``nats://[user:password@]host:port,.../bucket``, with ``?replicas=3`` for more than one
            copy of the bucket if it does not exist yet.
    """

    max_value = 500_000  # a server takes 1 MiB, unless told otherwise

    def __init__(self, url: ClusterUrl) -> None:
        self._nats = _nats()
        hosts = url.need(_PORT, ("replicas",))
        self._servers = [
            f"nats://[{host}]:{port}" if ":" in host else f"nats://{host}:{port}"
            for host, port in hosts
        ]
        self._auth = {"user": url.user, "password": url.password} if url.user else {}
        self._name = url.text
        self._bucket = "/".join(url.place())
        if not re.fullmatch(r"[-_A-Za-z0-9]+", self._bucket):
            raise ValueError(
                f"{url.text!r} is no URL of a cluster: its path is the name of a bucket, of "
                "letters, digits, _ and -"
            )
        replicas = url.options.get("replicas", "1")
        if replicas not in ("1", "2", "3", "4", "5"):
            raise ValueError(
                f"{url.text!r} is no URL of a cluster: replicas is from 1 to 5, got {replicas!r}"
            )
        self._replicas = int(replicas)
        self.serves_this_machine_alone = all(is_loopback(host) for host, _ in hosts)
        self._ttl = 0.0
        self._client: Any = None
        self._keys: Any = None
        self._own: dict[str, _Own] = {}
        self._feeds = Feeds(self._feed)

    # Sessions

    async def begin(self, session: float) -> float:
        pause = min(0.5, session / 10)

        async def quiet(error: Exception) -> None:
            """What fails is told to who has asked."""

        try:
            self._client = self._nats.NATS()  # so that it is closed if this is cancelled
            await self._client.connect(
                self._servers,
                **self._auth,
                max_reconnect_attempts=-1,
                reconnect_time_wait=pause,
                connect_timeout=max(1.0, pause),
                error_cb=quiet,
            )
        except self._nats.errors.Error as error:
            raise self._failure(error) from error
        version = self._client.connected_server_version
        if (version.major, version.minor) < _LEAST_VERSION:
            raise ClusterRefused(
                f"{self._name} is nats-server {version.major}.{version.minor}, which tells nobody "
                "that a key has expired: it needs 2.11 or newer"
            )
        stream = self._client.jetstream(timeout=max(1.0, session / 2))
        self._keys = await self._try(self._open(stream, session))
        return self._ttl

    async def _open(self, stream: Any, session: float) -> Any:
        """The bucket, which is made if there is none."""
        errors, api = self._nats.js.errors, self._nats.js.api
        try:
            keys = await stream.key_value(self._bucket)
        except errors.BucketNotFoundError:
            config = api.KeyValueConfig(
                bucket=self._bucket,
                description="names and leaders of compactor",
                ttl=session,
                history=1,
                storage=api.StorageType.FILE,
                replicas=self._replicas,
                limit_marker_ttl=_MARKERS,
            )
            try:
                keys = await stream.create_key_value(config)
            except errors.BadRequestError:  # somebody else has made it right now, or it cannot be
                keys = await stream.key_value(self._bucket)
        status = await keys.status()
        if not status.ttl or not status.marker_ttl:
            raise ClusterRefused(
                f"{self._name} is a bucket without a TTL or without markers of it, so nothing "
                "would expire there: name one that does not exist yet"
            )
        self._ttl = float(status.ttl)
        return keys

    async def renew(self) -> None:
        if not self._own:
            await self._try(self._keys.status())
            return
        await asyncio.gather(*(self._renew(key) for key in list(self._own)))

    async def leave(self) -> None:
        if len(self._client.servers) > 1:
            await self._client.force_reconnect()

    async def _renew(self, key: str) -> None:
        own = self._own.get(key)
        if own is None:
            return
        value = _written(own.order, own.id, own.value)
        try:
            revision = await self._try(self._keys.update(key, value, last=own.revision))
        except self._nats.js.errors.KeyWrongLastSequenceError:
            found = await self._held(key, own.id)
            if found is None:
                if self._own.get(key) is own:
                    raise SessionExpired(f"{self._name} has dropped {key}") from None
                return
            own.revision = found  # an earlier heartbeat, whose acknowledgement was lost
            revision = await self._try(self._keys.update(key, value, last=found))
        own.revision = revision

    async def _held(self, key: str, id: str) -> int | None:
        """The revision of a key, if it holds what we have written."""
        try:
            entry = await self._try(self._keys.get(key))
        except self._nats.js.errors.KeyNotFoundError:
            return None
        record = _read(entry)
        return entry.revision if record is not None and record.id == id else None

    async def end(self) -> None:
        await self._feeds.close()
        client = self._client
        if client is None:
            return
        with contextlib.suppress(ClusterError, self._nats.errors.Error):
            if self._keys is not None and client.is_connected:
                await asyncio.gather(*(self._delete(key) for key in list(self._own)))
        await client.close()

    # Records

    async def put(self, place: str, id: str, value: bytes) -> Record:
        key = f"{_key(place)}.{id}"
        order = await self._take(key, id, value, 0)
        if order is None:  # an earlier try, of which we did not hear
            order = await self._held(key, id)
        if order is None:
            raise SessionExpired(f"{self._name} has dropped {key}")
        self._own[key] = _Own(id, value, order)
        return Record(id, order, value)

    async def _take(self, key: str, id: str, value: bytes, last: int) -> int | None:
        """Write a key whose last revision is known; None if that has changed."""
        try:
            revision: int = await self._try(
                self._keys.update(key, _written(0, id, value), last=last)
            )
        except self._nats.js.errors.KeyWrongLastSequenceError:
            return None
        return revision

    async def remove(self, place: str, id: str) -> None:
        for key in (f"{_key(place)}.{id}", _key(place)):
            revision = await self._held(key, id)
            self._own.pop(key, None)
            if revision is not None:
                with contextlib.suppress(self._nats.js.errors.APIError):  # it has changed hands
                    await self._try(self._keys.delete(key, last=revision))

    async def _delete(self, key: str) -> None:
        own = self._own.pop(key)
        with contextlib.suppress(self._nats.js.errors.APIError):
            await self._try(self._keys.delete(key, last=own.revision))

    # Leaders

    async def campaign(self, place: str, id: str, value: bytes) -> int:
        key = _key(place)
        while True:
            watcher = await self._try(self._keys.watch(key))
            try:
                order = await self._elected(watcher, key, id, value)
            finally:
                with contextlib.suppress(self._nats.errors.Error):
                    await watcher.stop()
            if order is not None:
                self._own[key] = _Own(id, value, order)
                return order

    async def _elected(self, watcher: Any, key: str, id: str, value: bytes) -> int | None:
        """Wait until the key is free, and take it; None if it is better to look again."""
        last = 0
        while True:
            try:
                entry = await asyncio.wait_for(watcher.__anext__(), _QUIET * self._ttl)
            except (asyncio.TimeoutError, StopAsyncIteration):
                return None
            if entry is not None:
                record = _read(entry)
                if record is not None and record.id == id:
                    return record.order  # of an earlier try, of which we did not hear
                last = -1 if record is not None else entry.revision
            # After the last entry that was there comes None; a marker may be taken over at once.
            if last > 0 or (entry is None and last == 0):
                order = await self._take(key, id, value, last)
                if order is not None:
                    return order
                last = -1

    # Watches

    def watch(self, place: str, told: Told) -> Callable[[], None]:
        return self._feeds.watch(place, told)

    async def _feed(self, place: str, told: Told) -> None:
        kind = place.partition("/")[0]
        keys = _key(place) if kind == "leaders" else f"{_key(place)}.*"
        while True:
            try:
                watcher = await self._try(self._keys.watch(keys))
            except ClusterError:
                await asyncio.sleep(self._ttl / 10)
                continue
            try:
                await self._follow(watcher, told)
            finally:
                with contextlib.suppress(self._nats.errors.Error):
                    await watcher.stop()

    async def _follow(self, watcher: Any, told: Told) -> None:
        """Tell what a watcher tells, until that has been quiet for long."""
        found: dict[str, Record] = {}
        shown: dict[str, str] | None = None
        is_whole = False
        while True:
            try:
                entry = await asyncio.wait_for(watcher.__anext__(), _QUIET * self._ttl)
            except (asyncio.TimeoutError, StopAsyncIteration):
                return
            if entry is None:
                is_whole = True
            else:
                record = _read(entry)
                if record is None:
                    found.pop(entry.key, None)
                else:
                    found[entry.key] = record
            ids = {key: record.id for key, record in found.items()}
            if is_whole and ids != shown:
                shown = ids
                told(list(found.values()))

    # nats-py

    async def _try(self, work: Coroutine[Any, Any, Any]) -> Any:
        """Do something, with errors that the cluster knows."""
        errors = self._nats.js.errors
        try:
            return await work
        except (errors.KeyWrongLastSequenceError, errors.KeyNotFoundError):
            raise
        except (self._nats.errors.Error, OSError) as error:
            raise self._failure(error) from error

    def _failure(self, error: Exception) -> ClusterError:
        errors = self._nats.errors
        what = f"{self._name}: {type(error).__name__} {error}".rstrip()
        refusals = errors.AuthorizationError, errors.InvalidUserCredentialsError
        if isinstance(error, (*refusals, self._nats.js.errors.BadRequestError)):
            return ClusterRefused(what)
        if "Authorization Violation" in str(error) or "Permissions Violation" in str(error):
            return ClusterRefused(what)
        return ClusterUnreachable(what)


def _key(place: str) -> str:
    """A place as a key, whose characters are few."""
    kind, _, name = place.partition("/")
    return f"{kind}.{''.join(map(_escaped, name))}"


def _escaped(character: str) -> str:
    if _PLAIN.fullmatch(character):
        return character
    return "".join(f"={byte:02X}" for byte in character.encode())


def _written(order: int, id: str, value: bytes) -> bytes:
    return b"%d %s %s" % (order, id.encode(), value)


def _read(entry: Any) -> Record | None:
    """The record of an entry; None if it tells that there is none any more."""
    if entry.operation is not None:
        return None
    order, _, rest = (entry.value or b"").partition(b" ")
    id_, _, value = rest.partition(b" ")
    is_ours = order.isdigit() and len(order) < 20
    number = int(order) if is_ours else 0
    return Record(id_.decode(errors="replace") or entry.key, number or entry.revision, value)
